"""Settings of the test process, made before jax is imported."""

import gc
import os
import subprocess
import sys

import pytest

# Nearly all the time of the suite is the compiler's; what costs it most gains nothing on tiny shapes.
QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)


def known(flags):
    """Those of the flags that this XLA knows; it ends a process that has others, and names them."""
    probe = "import jax; jax.devices()"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join(flags)}
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True)
    return [flag for flag in flags if not done.returncode or flag.encode() not in done.stderr]


# Two workers and what they start share the machine: threads that wait for small matrices only spin.
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["SAGD_JAX_DECODED_CACHE"] = "off"
os.environ["SAGD_JAX_COMPILATION_CACHE"] = "off"  # nothing is written into anybody's home
if QUICK[0] not in os.environ.get("XLA_FLAGS", ""):  # the workers have it from the first process
    os.environ["XLA_FLAGS"] = " ".join([*known(QUICK), os.environ.get("XLA_FLAGS", "")]).strip()

# A worker has a core: programs make the CPU as many devices as there are unless they are told how many.
if "device_count" not in os.environ["XLA_FLAGS"]:
    os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=1"

gc.set_threshold(50_000, 20, 50)  # traces are many small objects, few of them garbage

# Folders whose files take minutes. They come first, since a worker that begins such a file last is left
# alone with it; the examples in docstrings, many short files, come last.
LONG = ("training", "programs", "run", "system", "data")


def pytest_collection_modifyitems(items):
    """In this order, which xdist keeps (--no-loadscope-reorder) instead of counting tests."""

    def rank(item):
        if isinstance(item, pytest.DoctestItem):
            return len(LONG) + 1
        folder = item.path.parent.name
        return LONG.index(folder) if folder in LONG else len(LONG)

    items.sort(key=rank)


def pytest_collection_finish(session):
    """What is imported and collected by now stays: the collector need not visit it again."""
    gc.collect()
    gc.freeze()


def _of_all_workers(factory):
    """The temporary directory of this test run."""
    base = factory.getbasetemp()
    return base.parent if base.name.startswith("popen-") else base


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A compilation cache that all programs of this test run share, in every worker."""
    return _of_all_workers(tmp_path_factory) / "compilation_cache"


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """What a test compiles, the other worker and later tests read: a third of what they ask for.

    In a directory beside that of the programs, each of which links all that is in theirs.
    """
    import jax

    jax.config.update(
        "jax_compilation_cache_dir", str(_of_all_workers(tmp_path_factory) / "compiled_by_tests")
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """The flag that names the tiny config."""
    from programs import TINY

    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(TINY)
    return f"--config={path}"
