"""The door of `python -m sagd_jax.likelihood`; as a module, the mathematics of likelihood."""

from typing import Any

from sagd_jax.diffusion import likelihood as _mathematics


def __getattr__(name: str) -> Any:
    return getattr(_mathematics, name)


if __name__ == "__main__":
    from sagd_jax.programs.likelihood import main
    from sagd_jax.system.exits import leave

    leave(main())
