"""The door of `python -m sagd_jax.inspect`: the program is `programs/inspect.py`."""

import sys

if __name__ == "__main__":
    from sagd_jax.programs.inspect import main

    sys.exit(main())
