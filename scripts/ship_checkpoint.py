"""Puts a trained run among those that come with the package, small enough for its wheel.

    sagd train --config=digits --workdir=runs/digits
    python scripts/ship_checkpoint.py --workdir=runs/digits --name=digits

Takes the averaged weights of the newest sound checkpoint alone, and its arrays and record as they are. Weights
are rounded to the 11 significant binary digits that a float16 has, and stored as the float32 that a network
expects: what is then zero at the end of each compresses, so that the checkpoint takes little more than half,
and is read, checksums first, as any other. Prints the digest for `tests/run/test_ready.py` and the size.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile

import jax
import numpy as np

import sagd_jax as sagd
from sagd_jax.run import integrity, ready
from sagd_jax.run.checkpoints import CHECKPOINTS_FOLDER, Checkpoints

DROPPED_BITS = 13  # of the 24 of a float32


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", required=True, help="directory of a training run")
    parser.add_argument("--name", required=True, help="by which it can be asked for")
    parser.add_argument("--replace", action="store_true", help="the one that is there")
    flags = parser.parse_args()
    place = ready.READY / flags.name
    if place.exists() and not flags.replace:
        parser.error(f"--name={flags.name}: it is there; --replace replaces it")
    run = sagd.load_run(pathlib.Path(flags.workdir))
    saved = Checkpoints(flags.workdir, read_only=True).open(run.step)
    weights = jax.tree.map(rounded, jax.tree.map(np.asarray, run.params))
    with tempfile.TemporaryDirectory() as folder:
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(run.step, {"ema": weights}, arrays=saved.arrays, record=saved.record)
        shutil.rmtree(place, ignore_errors=True)
        step = place / CHECKPOINTS_FOLDER / str(run.step)
        shutil.copytree(pathlib.Path(folder) / CHECKPOINTS_FOLDER / str(run.step), step)
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    print(f"{place}: step {run.step}, {size / 1e6:.2f} MB, digest {integrity.digest(step)}")
    return 0


def rounded(x):
    """float32 values to the nearest that end in `DROPPED_BITS` zero bits; ties to even."""
    bits = x.view(np.uint32)
    half = np.uint32((1 << (DROPPED_BITS - 1)) - 1)
    even = (bits >> np.uint32(DROPPED_BITS)) & np.uint32(1)
    return ((bits + half + even) >> np.uint32(DROPPED_BITS) << np.uint32(DROPPED_BITS)).view(
        np.float32
    )


if __name__ == "__main__":
    sys.exit(main())
