"""Settings of the test process, made before jax is imported."""

import os

# Nearly all the time of the suite is the compiler's; its costly passes gain nothing on tiny shapes.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    ]
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
