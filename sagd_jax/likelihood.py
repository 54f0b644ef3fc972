"""The door of `python -m sagd_jax.likelihood`; as a module, the mathematics of likelihood."""

import sys

from sagd_jax.diffusion.likelihood import bits_per_dim, dequantize, log_likelihood

__all__ = ["bits_per_dim", "dequantize", "log_likelihood"]

if __name__ == "__main__":
    from sagd_jax.programs.likelihood import main

    sys.exit(main())
