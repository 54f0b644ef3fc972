"""The door of `python -m sagd_jax.report`: the program is `programs/report.py`."""

if __name__ == "__main__":
    from sagd_jax.programs.report import main
    from sagd_jax.system.exits import leave

    leave(main())
