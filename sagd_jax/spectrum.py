"""The door of `python -m sagd_jax.spectrum`: the program is `programs/spectrum.py`."""

import sys

if __name__ == "__main__":
    from sagd_jax.programs.spectrum import main

    sys.exit(main())
