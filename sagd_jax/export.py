"""The door of `python -m sagd_jax.export`: the program is `programs/export.py`."""

if __name__ == "__main__":
    from sagd_jax.programs.export import main
    from sagd_jax.system.exits import leave

    leave(main())
