"""The door of `python -m sagd_jax.evaluate`: the program is `programs/evaluate.py`."""

if __name__ == "__main__":
    from sagd_jax.programs.evaluate import main
    from sagd_jax.system.exits import leave

    leave(main())
