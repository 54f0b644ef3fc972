"""The door of `python -m sagd_jax.experiment`."""

if __name__ == "__main__":
    from sagd_jax.programs.experiment import main
    from sagd_jax.system.exits import leave

    leave(main())
