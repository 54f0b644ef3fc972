"""The program `sagd export`: a run's noise, weights or samples for other people's tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sagd_jax.system.commandline import Parser, at_least, one_line_errors
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.files import writable

WHAT = ("noise", "weights", "samples")


class NoSamplesError(ForPeople, ValueError):
    """A folder of which no pictures can be made; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exports as the flags say; returns the exit status (0, 2 for bad input)."""
    parser = _parser()
    with one_line_errors(parser.prog):
        flags = parser.parse_args(argv)
        needed = "samples" if flags.what == "samples" else "workdir"
        for name in ("samples", "workdir"):
            if (getattr(flags, name) is not None) != (name == needed):
                parser.error(
                    f"{flags.what} needs --{needed}, and that alone of --samples, --workdir"
                )
        out = Path(flags.out).expanduser()
        writable(flags.out, "--out", folder=flags.what != "noise")
        if flags.what == "samples":
            print(
                f"wrote {_write_pictures(Path(flags.samples).expanduser(), out)} pictures to {out}"
            )
            return 0
        # Imported late: a misspelt flag should not wait for the libraries.
        from sagd_jax.run.exports import export_noise, export_weights
        from sagd_jax.run.ready import words_of
        from sagd_jax.run.saved import load_run

        run = load_run(flags.workdir, flags.step, ema=not flags.no_ema, allow=flags.allow)
        {"noise": export_noise, "weights": export_weights}[flags.what](run, out)
        print(f"wrote the {flags.what} of step {run.step} of {words_of(flags.workdir)} to {out}")
        return 0


def _write_pictures(folder: Path, out: Path) -> int:
    """Writes each sample of a set as a PNG, 000000.png and so on, and nothing else; returns how many."""
    from sagd_jax.programs.sample_files import read_samples
    from sagd_jax.show import pictures

    files = sorted(folder.glob("samples*.npz"))
    if not files:
        raise NoSamplesError(
            f"--samples={folder}: no samples.npz there; expected a folder that sample wrote to"
        )
    if out.is_dir() and any(out.iterdir()):
        raise NoSamplesError(f"--out={out}: expected an empty folder, or one that does not exist")
    done = 0
    for file in files:
        samples = read_samples(file)
        if samples.ndim != 4 or samples.shape[-1] not in (1, 3):
            raise NoSamplesError(
                f"{file}: samples of shape {samples.shape[1:]} are no grey or RGB images"
            )
        for sample in samples:
            pictures.write_png(out / f"{done:06d}.png", pictures.image(sample))
            done += 1
    return done


def _parser() -> Parser:
    parser = Parser(
        prog="sagd export",
        description="Leaves something of a run to other people's tools. noise: an .npz with the amplitude "
        "of its noise, with which ten lines of NumPy or PyTorch draw the same. weights: a diffusers "
        "UNet2DModel folder, with that file beside it. samples: the samples that sample wrote, as one PNG "
        "each in a folder for themselves, for programs that compute FID.",
        epilog="sagd export noise --workdir=runs/digits --out=noise.npz. A stock pipeline of diffusers "
        "draws white noise: README.md in the folder of the weights says what to draw instead.",
    )
    parser.add_argument("what", choices=WHAT, help="what to export")
    parser.add_argument("--workdir", help="directory of a training run, for noise and weights")
    parser.add_argument("--samples", help="folder that sample wrote to, for samples")
    parser.add_argument("--out", required=True, help="file (noise) or folder to write to")
    parser.add_allow()
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    parser.add_argument("--no_ema", action="store_true", help="take the raw weights")
    return parser
