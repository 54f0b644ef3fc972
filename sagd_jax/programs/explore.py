"""An explorer of spectra and processes, in the browser.

    sagd explore --config=digits
    sagd explore --folder=PICTURES
    sagd explore --workdir=runs/digits

serves a page, to this machine alone, on which one chooses noise and schedule and sees at once what they do to
the data; `docs/explorer.md` shows it. Nothing is trained, nothing leaves the machine, and nothing is written but
the file of a hole, when that is asked for.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sagd_jax.system.commandline import Parser, at_least
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.files import writable
from sagd_jax.system.late import require
from sagd_jax.system.startup import started

PORT = 7860
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FIELDS = ["--config.data.field_shape=(32,32)", "--config.data.num_examples=1024"]


class ExplorerError(ForPeople, RuntimeError):
    """A page that cannot be served; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serves the page until it is interrupted; returns the exit status (2 for bad input, 130)."""
    parser = _parser()
    with started(parser, argv, several=False) as program:
        flags = program.flags
        require("gradio", "the explorer")
        given = [name for name in ("config", "workdir", "folder") if getattr(flags, name)]
        if len(given) > 1:
            parser.error(f"--{given[0]} and --{given[1]}: expected one of them")
        if flags.workdir and program.overrides:
            parser.error(f"{program.overrides[0]}: --workdir brings its own config; leave it out")
        check_port(flags.host, flags.port)
        writable(flags.out, "--out")
        page, options = _page(flags, program.overrides)
        serve(page, options, flags.host, flags.port)
        print(f"explore at {address(flags.host, flags.port)} (Ctrl-C ends it)", flush=True)
        if flags.host not in _LOOPBACK:
            print(
                "whoever can reach this machine can use the page, and write files of holes",
                flush=True,
            )
        threading.Event().wait()
        return 0


def _page(flags: Namespace, overrides: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    # Imported late: a port that is taken should not wait for the libraries.
    from sagd_jax import data
    from sagd_jax.programs import explore_page
    from sagd_jax.programs.explored import Explorer
    from sagd_jax.run.config_file import read_config

    run = None
    if flags.workdir:
        from sagd_jax.run.saved import load_run
        from sagd_jax.system.import_paths import check_allowed

        run = load_run(flags.workdir, flags.step, allow=flags.allow)
        config = run.config
        # Sampling needs neither of these; here they are made anew.
        check_allowed({"noise.kind": config.noise.kind, "data.name": config.data.name}, flags.allow)
    elif flags.folder:
        if not Path(flags.folder).expanduser().is_dir():
            raise ExplorerError(f"--folder={flags.folder}: no such folder")
        config = read_config("folder", [f"--config.data.dir={flags.folder}", *overrides])
    elif flags.config:
        config = read_config(flags.config, overrides)
    else:
        config = read_config("synthetic", [*_FIELDS, *overrides])
    explorer = Explorer(
        config,
        data.open_source(config.data),
        num_examples=flags.num_examples,
        out=Path(flags.out).expanduser(),
        run=run,
    )
    return explore_page.build(explorer)


def check_port(host: str, port: int) -> None:
    """Refuses an address that nobody can listen to.

    Raises:
      ExplorerError: the port is in use, or the host is none of this machine's; one line.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ExplorerError(
                f"--port={port}: something listens there already; give another"
            ) from None
        raise ExplorerError(f"--host={host} --port={port}: {error.strerror or error}") from None


def address(host: str, port: int) -> str:
    """The page's address.

    >>> address("127.0.0.1", 7860)
    'http://127.0.0.1:7860'
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(page: Any, options: dict[str, Any], host: str, port: int) -> None:
    """Serves a page of `explore_page.build` in threads of its own, to this machine unless `host` is another."""
    # Gradio asks its own address whether it answers, which is not for a proxy.
    own = [os.environ.get("NO_PROXY", ""), host]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, own))
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        inbrowser=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        footer_links=[],
        enable_monitoring=False,
        show_error=True,
        **options,
    )


def _parser() -> Parser:
    parser = Parser(
        fields=_fields,
        prog="python -m sagd_jax.explore",
        description="Choose the spectrum of noise, and a process, by looking: noise, spectra, noised data and "
        "signal-to-noise ratios in the browser, with the lines of a config and of Python to copy.",
        epilog="Without --config, --workdir or --folder the data are Gaussian fields of 32x32. Any field of the "
        "config can be set: --config.data.image_size=32. The page is for this machine alone unless --host "
        "says otherwise; nothing on it is loaded from elsewhere.",
    )
    parser.add_argument(
        "--config", help="data, noise and schedule to begin with: digits, or a file"
    )
    parser.add_argument(
        "--workdir", help="those of a training run, and samples from its checkpoint"
    )
    parser.add_argument(
        "--folder", help="a folder of images, at 64x64 unless data.image_size is set"
    )
    parser.add_allow()
    parser.add_argument(
        "--step", type=at_least(0), help="checkpoint of --workdir (default: the newest)"
    )
    parser.add_argument(
        "--num_examples",
        type=at_least(2),
        default=1000,
        help="that spectrum and findings are estimated from, at most; default 1000",
    )
    parser.add_argument(
        "--out", default="explored", help="folder for files of holes; default explored"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve at; default 127.0.0.1"
    )
    parser.add_argument("--port", type=at_least(1, 65535), default=PORT, help=f"default {PORT}")
    return parser


def _fields() -> Sequence[str]:
    from sagd_jax.run.config import RunConfig
    from sagd_jax.system.schema import field_names

    return field_names(RunConfig)
