"""The door of `python -m sagd_jax.spectrum`: the program is `programs/spectrum.py`."""

if __name__ == "__main__":
    from sagd_jax.programs.spectrum import main
    from sagd_jax.system.exits import leave

    leave(main())
