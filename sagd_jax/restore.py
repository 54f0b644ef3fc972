"""The door of `python -m sagd_jax.restore`: the program is `programs/restore.py`."""

if __name__ == "__main__":
    from sagd_jax.programs.restore import main
    from sagd_jax.system.exits import leave

    leave(main())
