"""Settings of the test process, made before jax is imported."""

import os

import pytest

# Nearly all the time of the suite is the compiler's; its costly passes gain nothing on tiny shapes.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    ]
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A compilation cache that all programs of this test run share, in every worker."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "compilation_cache"


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """The flag that names the tiny config."""
    from programs import TINY

    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(TINY)
    return f"--config={path}"
