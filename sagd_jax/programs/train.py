"""The program `train.py`: flags, and the training that they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sagd_jax.system import cores
from sagd_jax.system.commandline import Parser
from sagd_jax.system.malloc import keep_freed_memory
from sagd_jax.system.places import check_outside
from sagd_jax.system.startup import started


def main(argv: Sequence[str] | None = None) -> int:
    """Trains as the flags say; returns the exit status (0, 2 for bad input, 75, 130)."""
    parser = _parser()
    with started(parser, argv) as program:
        keep_freed_memory()
        # Imported late: a misspelt flag should not wait for the libraries.
        import jax
        from etils import epath

        from sagd_jax.data.sources import scanned
        from sagd_jax.run.config import MeshConfig
        from sagd_jax.run.config_file import read_config
        from sagd_jax.run.rounds import CHECKPOINTS_FOLDER
        from sagd_jax.training.em import train_by_em
        from sagd_jax.training.loop import train

        flags, stop = program.flags, program.stop
        config = read_config(flags.config, program.overrides)
        if config.mesh == MeshConfig():
            cores.as_devices(max(1, config.train.batch_size // config.train.accumulate), equal=True)
        workdir = epath.Path(flags.workdir)
        if "://" not in flags.workdir:
            workdir = workdir.expanduser().resolve()
        if not (workdir / CHECKPOINTS_FOLDER).exists():  # a run that is there goes on where it is
            check_outside("--workdir", Path(str(workdir)), scanned(config.data), "data.dir")
        # One process alone loses nothing before its first step; several stop together.
        stop.nothing_to_save = jax.process_count() == 1
        run = train_by_em if config.em.rounds else train
        return run(config, workdir, init_from=flags.init_from, dry_run=flags.dry_run, stop=stop)


def _reference() -> str:
    from sagd_jax.run.config import RunConfig
    from sagd_jax.system.reference import describe

    return describe(RunConfig)


def _parser() -> Parser:
    parser = Parser(
        fields=_fields,
        prog="train.py",
        description="Train a diffusion model under noise with any spectrum. Running the same "
        "command again continues the run.",
        epilog="Any field of the config can be set: --config.train.num_steps=1000; --help=config "
        "lists them all, with their defaults and allowed values. Exit status: 0 "
        "finished, 2 bad input, 75 saved after SIGTERM or out of contact with another process "
        "(requeue it), 130 saved after Ctrl-C.",
        add_help=False,
    )
    parser.add_config_help(_reference)
    parser.add_argument(
        "--config",
        required=True,
        help="a file, or the name of one of those that come with it: digits",
    )
    parser.add_argument("--workdir", required=True, help="directory of the run")
    parser.add_argument("--init_from", help="start from the weights of this other workdir")
    parser.add_argument(
        "--dry_run", action="store_true", help="say what would be trained, and stop"
    )
    return parser


def _fields() -> list[str]:
    from sagd_jax.run.config import RunConfig
    from sagd_jax.system.schema import field_names

    return field_names(RunConfig)
