"""What importing costs and needs: jax and numpy, and nothing heavy."""

import subprocess
import sys

HEAVY = (
    "tensorflow", "torch", "grain", "tensorflow_datasets", "matplotlib", "sklearn",
    "ml_collections", "orbax", "optax", "flax", "PIL", "soundfile", "tensorboardX", "safetensors",
)  # fmt: skip


def test_importing_the_package_and_the_mathematics_imports_nothing_heavy():
    code = f"""
import sys
import sagd_jax
from sagd_jax import (
    calibration, covariance, editing, frequencies, guidance, likelihood, losses, oracle,
    power_spectrum, process, samplers, schedules, spectra, time_grids, transform,
)
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr + done.stdout


def test_the_package_imports_no_other_library_than_jax_does():
    """So that it costs what its own files cost, which are few hundredths of a second."""
    code = """
import sys
import jax.numpy
before = set(sys.modules)
import sagd_jax
new = set(sys.modules) - before
others = {name.partition(".")[0] for name in new} - set(sys.stdlib_module_names) - {"sagd_jax", "jax", "numpy"}
print(sorted(others), len(new) < 200)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[] True", done.stderr + done.stdout


def test_training_never_imports_tensorflow_or_torch(tmp_path):
    code = """
import sys
from sagd_jax.programs import evaluate, inspect, likelihood, sample, spectrum, train
from sagd_jax.run.config_file import read_config
import sagd_jax.evaluation.bench, sagd_jax.evaluation.likelihood, sagd_jax.programs.evaluated_samples
import sagd_jax.run.draw, sagd_jax.training.loop
print([name for name in ("tensorflow", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr + done.stdout


def test_every_public_name_is_there():
    import sagd_jax

    for name in sagd_jax.__all__:
        assert getattr(sagd_jax, name) is not None
    assert set(sagd_jax.__all__) <= set(dir(sagd_jax))


def test_every_module_is_reachable_from_the_package():
    code = """
import pathlib
import sagd_jax as sagd

root = pathlib.Path(sagd.__file__).parent
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    found = sagd
    for name in parts[:-1] if parts[-1] == "__init__" else parts:
        found = getattr(found, name)
    assert pathlib.Path(found.__file__) == path, path
for name in ("spectral", "diffusion"):  # of the mathematics the folders need not be named
    for path in (root / name).glob("[a-z]*.py"):
        if path.stem not in ("likelihood", "bands_and_wedges", "arguments", "checks", "bound"):
            assert getattr(sagd, path.stem) is getattr(getattr(sagd, name), path.stem), path
assert sagd.likelihood.log_likelihood is sagd.log_likelihood
assert sagd.default_config().train.batch_size == 128
try:
    sagd.run.nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "module 'sagd_jax.run' has no attribute 'nothing'", done.stderr
