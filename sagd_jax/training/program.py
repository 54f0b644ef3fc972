"""The command line of `train.py`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sagd_jax import compilation_cache, processes
from sagd_jax.commandline import Parser, one_line_errors, set_up_logging
from sagd_jax.training.malloc import keep_freed_memory
from sagd_jax.training.signals import StopRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Trains as the flags say; returns the exit status (0, 2 for bad input, 75, 130)."""
    parser = Parser(
        prog="train.py",
        description="Train a diffusion model under noise with any spectrum. Running the same "
        "command again continues the run.",
        epilog="Any field of the config can be set: --config.train.num_steps=1000. Exit status: 0 "
        "finished, 2 bad input, 75 saved after SIGTERM or out of contact with another process "
        "(requeue it), 130 saved after Ctrl-C.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, help="a file such as configs/digits.py")
    parser.add_argument("--workdir", required=True, help="directory of the run")
    parser.add_argument("--init_from", help="start from the weights of this other workdir")
    parser.add_argument(
        "--dry_run", action="store_true", help="say what would be trained, and stop"
    )
    processes.add_flags(parser)
    with (
        one_line_errors("train.py"),
        StopRequest("train.py", nothing_to_save=True) as stop,
        compilation_cache.protected(),
    ):
        flags, overrides = parser.parse_with_overrides(argv)
        keep_freed_memory()
        processes.start(flags)
        stop.install()
        # Imported late: a misspelt flag should not wait for jax.
        import jax
        from etils import epath

        from sagd_jax.training.config import load
        from sagd_jax.training.loop import train

        config = load(flags.config, overrides)
        workdir = epath.Path(flags.workdir)
        if "://" not in flags.workdir:
            workdir = workdir.expanduser().resolve()
        if workdir.exists() and not workdir.is_dir():
            parser.error(f"--workdir={flags.workdir}: this is a file, expected a directory")
        set_up_logging(processes.log_level())
        # One process alone loses nothing before its first step; several stop together.
        stop.nothing_to_save = jax.process_count() == 1
        init_from, dry_run = flags.init_from, flags.dry_run
        return train(config, workdir, init_from=init_from, dry_run=dry_run, stop=stop)


if __name__ == "__main__":
    sys.exit(main())
