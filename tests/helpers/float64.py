"""Float64 for a few tests, while the rest of a process stays in float32."""

import contextlib

import jax


@contextlib.contextmanager
def enabled():
    """JAX's x64 mode; what was compiled in one mode must not be found in the other."""
    jax.clear_caches()
    with jax.enable_x64(True):
        yield
    jax.clear_caches()
