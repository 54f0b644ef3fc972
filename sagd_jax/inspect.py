"""The door of `python -m sagd_jax.inspect`: the program is `programs/inspect.py`."""

if __name__ == "__main__":
    from sagd_jax.programs.inspect import main
    from sagd_jax.system.exits import leave

    leave(main())
