"""Tries the package with the oldest versions that setup.cfg allows, or the newest that there are.

    python scripts/try_versions.py lowest --python=python3.11
    python scripts/try_versions.py newest --python=python3.13 tests/spectral

Makes a virtual environment in a temporary folder, installs the package with its test extra by uv (from
PyPI, into the environment itself), says which versions that gave, and runs a fast part of the tests or
the ones that are named. `lowest` takes the lower bounds of setup.cfg as they stand, and of what these
packages need in turn the newest that fits.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
# What lies on this path would count as installed.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
FAST = (
    "tests/test_imports.py",
    "tests/spectral/test_spectra.py",
    "tests/diffusion/test_process.py",
    "tests/models/test_unet.py",
    "tests/data/test_stream.py",
    "tests/data/test_image_files.py",
    "tests/show",
    "tests/run/test_config.py",
    "tests/programs/test_export.py",
)
SHOWN = ("jax", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy", "grain",
         "scikit-learn", "pillow", "matplotlib", "soundfile", "safetensors")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=("lowest", "newest"))
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment")
    parser.add_argument("tests", nargs="*", default=FAST, help="default: a fast part of them")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = f"{folder}/bin/python"
        run(flags.python, "-m", "venv", folder)
        run(python, "-m", "pip", "install", "-q", "uv")
        resolution = {"lowest": "lowest-direct", "newest": "highest"}[flags.which]
        run(python, "-m", "uv", "pip", "install", "-q", "--python", python,
            "--resolution", resolution, f"{ROOT}[test]")  # fmt: skip
        names = f"import importlib.metadata as m; print(*(f'{{n}} {{m.version(n)}}' for n in {SHOWN}), sep=', ')"
        run(python, "-c", names)
        return subprocess.call(
            [python, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *flags.tests],
            cwd=ROOT,
            env=ENVIRONMENT,
        )


def run(*command):
    subprocess.run(command, check=True, env=ENVIRONMENT)


if __name__ == "__main__":
    sys.exit(main())
