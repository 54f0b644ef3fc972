"""The door of `python -m sagd_jax.explore`: the program is `programs/explore.py`."""

if __name__ == "__main__":
    from sagd_jax.programs.explore import main
    from sagd_jax.system.exits import leave

    leave(main())
