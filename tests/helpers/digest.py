"""A digest of a checkpoint's weights, read onto some devices; also as a program, for those of others."""

import hashlib

import jax
import numpy as np
from jax.experimental import multihost_utils

from sagd_jax.run.config import MeshConfig
from sagd_jax.run.layout import make_mesh
from sagd_jax.run.saved import load_run
from sagd_jax.system import processes
from sagd_jax.system.commandline import Parser


def main() -> None:
    parser = Parser(prog="digest")
    processes.add_flags(parser)
    parser.add_argument("--workdir")
    parser.add_argument("--fsdp", type=int, default=1)
    flags = parser.parse_args()
    processes.start(flags)

    print(*digest(flags.workdir, flags.fsdp))


def digest(workdir: str, fsdp: int = 1) -> tuple[str, int, int]:
    """Of the averaged and the trained weights; with it, their step and the number of devices."""
    found = hashlib.sha256()
    for ema in (True, False):
        mesh = make_mesh(MeshConfig(fsdp=fsdp), jax.device_count())
        run = load_run(workdir, ema=ema, mesh=mesh)
        for leaf in jax.tree.leaves(run.params):
            several = jax.process_count() > 1
            whole = multihost_utils.process_allgather(leaf, tiled=True) if several else leaf
            found.update(np.asarray(whole).tobytes())
    return found.hexdigest(), run.step, jax.device_count()


if __name__ == "__main__":
    main()
