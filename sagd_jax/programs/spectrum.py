"""The power spectrum of a data set, as a program.

    python -m sagd_jax.spectrum --config=configs/mnist.py --out=runs/mnist_spectrum

prints the radial power spectrum with its standard errors, the power law that fits it, what stands out of
it, numbered, each with what speaks for it and a verdict (corruption, the data's own, cannot tell), and what
to do; and writes into `--out`

    spectrum.png      the plots
    spectrum.json     all the numbers
    power.npy         the power spectrum on the half grid
    equal_snr.npy     a noise spectrum proportional to the data's, tempered by --exponent
    omission.npy      a flat one with holes for the corruptions, or for those of --findings, if there are any,
                      and if the holes hold no more than --max_removed of the data's energy and a quarter of
                      the bins
    corruption.npz    N and its standard error per coordinate, for each kind of example, and the kind of each
                      example: what capped levels take; if there is a corruption that is stationary noise
    capped_config.py  the lines of a config that take it; kinds.npy, the kind of each example, where they differ
    classes.npy       with --per_class, the power spectrum of each class
    noise_config.py   the lines of a config that use the last of these

These spectra are of the Fourier basis, whose noise is periodic: it wraps around at the edges of an
example. With --basis=cosine all of it is in the cosine basis, on its whole grid, whose noise does not; what
stands out is looked for in the Fourier basis, where stationary noise has a spectrum, and holes and levels
are brought to the cosine one. A single picture or recording is cut into pieces that count as examples.
(The file is long by its docstrings.)
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax import data
from sagd_jax.data.source import DataError, Source
from sagd_jax.programs.spectrum_capped import LINES, write_capped
from sagd_jax.programs.spectrum_examples import Examples
from sagd_jax.programs.spectrum_words import describe, hertz, mirrored
from sagd_jax.run.config import RunConfig
from sagd_jax.run.config_file import read_config
from sagd_jax.show.plots import plot_spectrum
from sagd_jax.spectral import bases, spectra
from sagd_jax.spectral.analysis import Analysis, analyse
from sagd_jax.spectral.detector.advice import MOST_BINS, NEARLY_ALL
from sagd_jax.spectral.detector.finding import OWN, Finding
from sagd_jax.spectral.diagonal import from_coefficients
from sagd_jax.spectral.frequencies import BASES
from sagd_jax.spectral.half_grid import left_to_right
from sagd_jax.spectral.power_spectrum import MEANS, WINDOWS, estimate, radial_profile
from sagd_jax.system.commandline import Parser, number
from sagd_jax.system.files import writable, write_whole
from sagd_jax.system.late import require
from sagd_jax.system.places import check_outside
from sagd_jax.system.schema import field_names
from sagd_jax.system.startup import started
from sagd_jax.training.summary import hidden_energy

_ROWS = 24  # of the printed table
_EDGES = (
    "noise of these spectra is periodic, it wraps around at the edges of an example; that of "
    'basis="cosine" does not'
)

_MIRRORED = (
    "\nexamples were analysed as they are; training mirrors them at random (config.data.flip): the spectra and "
    "holes for it are of both, and what is learned with capped levels is to be trained without"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Analyses as the flags say; returns the exit status (0, 2 for bad input, 75, 130)."""
    parser = _parser()
    with started(parser, argv, several=False) as program:
        flags = program.flags
        chosen = _chosen(flags.findings)
        if flags.num_examples < 2:
            raise DataError(f"--num_examples={flags.num_examples}: expected at least 2")
        if not 0 <= flags.margin < 1e6:
            raise DataError(f"--margin={flags.margin}: expected a number of bins >= 0")
        require("matplotlib", "plotting the spectrum")
        section = read_config(flags.config, program.overrides).data
        out = Path(flags.out).expanduser()
        check_outside("--out", out, section.dir, "data.dir")
        writable(flags.out, "--out")
        # As they are: a line off the axes would be at its mirror image in half of them.
        plain = dataclasses.replace(section, flip=False, crop_padding=0)
        source = data.open_source(plain)
        if flags.per_class and not source.num_classes:
            raise DataError("--per_class: this data has no labels")
        examples = Examples(source, flags.num_examples)
        if len(source) == 1 and flags.per_class:
            raise DataError("--per_class: there is one example")
        try:
            analysis = analyse(
                examples,
                mean=flags.mean,
                window=flags.window,
                margin=flags.margin,
                basis=flags.basis,
                sample_rate=hertz(source)[0] or None,
                chosen=chosen,
                most_removed=flags.max_removed,
            )
            if section.flip:
                analysis = analysis.mirrored(flags.max_removed)
            classes = class_powers(examples, analysis, flags.mean) if flags.per_class else None
            removed = removed_energy(analysis, source)
            analysis = analysis.removing(removed, flags.max_removed)
            omit = _omits(analysis, removed, flags.max_removed, chosen)
            write(
                analysis,
                source,
                out,
                removed=removed,
                omit=omit,
                exponent=flags.exponent,
                classes=classes,
                indices=examples.indices,
                windowed=len(source) == 1
                or section.name == "audio"
                or bool(getattr(section, "array_window", ())),
                flip=section.flip,
            )
        except ValueError as error:
            raise DataError(str(error)) from error
        source.report()
        print(report(analysis, source, removed, flags.max_removed))
        if section.flip and mirrored(analysis.findings, analysis.spectrum.spatial_shape):
            print(_MIRRORED)
        print(f"\nwritten to {out}; to use the suggestion, copy the lines of noise_config.py:\n")
        print((out / "noise_config.py").read_text(), end="")
        if (out / LINES).exists():
            print(f"\nto learn from the corrupted examples instead, those of {LINES}:\n")
            print((out / LINES).read_text(), end="")
        return 0


def _parser() -> Parser:
    parser = Parser(
        fields=lambda: field_names(RunConfig),
        prog="python -m sagd_jax.spectrum",
        description="The power spectrum of a data set: the radial profile with its standard errors, the "
        "power law that fits it, and the bands, wedges and lines that stand out.",
        epilog="Writes into --out: spectrum.png, spectrum.json, power.npy; noise spectra for these data, "
        "equal_snr.npy and, where something stands out, omission.npy (--per_class: classes.npy); and "
        "noise_config.py, the lines of a config that use them. Any field of the section data of the "
        "config can be set: --config.data.dir=PICTURES.",
    )
    parser.add_argument(
        "--config", required=True, help="its section data is used: digits, or a file"
    )
    parser.add_argument("--out", required=True, help="folder for the results")
    parser.add_argument("--num_examples", type=int, default=10_000, help="at most this many")
    parser.add_argument("--mean", choices=MEANS, default="channel", help="what is subtracted")
    parser.add_argument("--window", choices=WINDOWS, default="auto", help="taper")
    parser.add_argument("--basis", choices=BASES, default="fourier", help="of the spectrum")
    parser.add_argument("--per_class", action="store_true", help="also a spectrum of each class")
    parser.add_argument("--margin", type=float, default=1.0, help="of the holes, in bins")
    parser.add_argument("--exponent", type=number(), default=1.0, help="of the equal-SNR spectrum")
    parser.add_argument(
        "--max_removed",
        type=number(0, 1),
        default=0.1,
        help="suggest no omission that removes more of the data's energy",
    )
    parser.add_argument(
        "--findings",
        default="",
        help="numbers of those to omit, as 1,3, in place of the corruptions",
    )
    return parser


def _chosen(text: str) -> tuple[int, ...] | None:
    """The numbers of `--findings`, or None where there are none."""
    if not text.strip():
        return None
    numbers = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and int(part) > 0 for part in numbers):
        raise DataError(f"--findings={text!r}: expected numbers of findings, such as 1,3")
    return tuple(int(part) for part in numbers)


def _omits(
    analysis: Analysis, removed: float, max_removed: float, chosen: tuple[int, ...] | None
) -> bool:
    """Whether an omission is suggested: asked for by number, or advised, and not of too much."""
    holes = float((analysis.kept == 0).mean())
    little = removed <= max_removed and (holes <= MOST_BINS or chosen is not None)
    return holes > 0 and little and (chosen is not None or analysis.advice[0] == "omission")


def class_powers(examples: Examples, analysis: Analysis, mean: str) -> np.ndarray:
    """The power spectrum of each class, `(classes, *grid, channels)`, as that of all is estimated.

    Raises:
      DataError: a class has fewer than two of the examples.
    """
    powers = []
    for label, own in enumerate(examples.of_classes()):
        if len(own) < 2:
            raise DataError(
                f"--per_class: class {label} has {len(own)} of the {len(examples)} examples; a "
                "spectrum needs two, give a larger --num_examples"
            )
        window, basis = analysis.spectrum.window, analysis.spectrum.basis
        powers.append(estimate(own, mean=mean, window=window, basis=basis).power)
    return np.stack(powers)


def removed_energy(analysis: Analysis, source: Source) -> float:
    """Share of the data's energy in the suggested holes, as training states it for a hole."""
    if len(source) == 1 or not (analysis.kept == 0).any():
        return analysis.removed
    return hidden_energy(_hole(analysis), source)


def _hole(analysis: Analysis) -> Any:
    shape, basis = analysis.spectrum.spatial_shape, analysis.spectrum.basis
    if basis == "fourier":
        return spectra.from_variance(analysis.kept, shape)
    return from_coefficients(analysis.kept[..., None], bases.KINDS[basis](shape))


def report(analysis: Analysis, source: Source, removed: float, max_removed: float) -> str:
    """The table for people; `removed` as `removed_energy` has it, and the most that is suggested."""
    spectrum, law = analysis.spectrum, analysis.law
    radius, power, error = radial_profile(spectrum)
    rate, hz = hertz(source)
    lines = [
        f"{_counted(analysis, source)}, values in [-1, 1]",
        "",
        f"{'cycles/sample':>13}{hz:>12}{'power':>12}{'+- s.e.':>11}{'power law':>12}",
    ]
    rows = np.unique(np.geomspace(1, len(radius), min(_ROWS, len(radius))).round().astype(int) - 1)
    for i in rows:
        in_hz = f"{radius[i] * rate:12.1f}" if rate else ""
        fitted = law.scale * radius[i] ** (2 * law.alpha)
        lines.append(f"{radius[i]:13.4f}{in_hz}{power[i]:12.4g}{error[i]:11.2g}{fitted:12.4g}")
    lines += [
        "",
        f"power law: power ~ r^(2 alpha), alpha = {law.alpha:.3f} +- {law.standard_error:.3f}",
    ]
    if not analysis.findings:
        few = "" if analysis.evidence.count >= 64 else ", as far as so few examples show it"
        lines.append(f"nothing stands out of its surroundings{few}")
    for i, finding in enumerate(analysis.findings, 1):
        lines.append(f"{i}. {describe(finding, source, spectrum.spatial_shape)}")
    if (analysis.kept == 0).any():
        holes = int((analysis.kept == 0).sum())
        lines.append(
            f"omitting what is called a corruption, or was chosen, with the margin, empties {holes} of "
            f"{analysis.kept.size} bins and removes {removed:.2%} of the data's energy (mean image left out)"
        )
    lines += [
        "",
        f"what to do: {analysis.advice[0]}",
        *(f"  {line}" for line in analysis.advice[1:]),
    ]
    if removed > max_removed:
        lines.append(
            f"the holes hold more than --max_removed={max_removed:g} of the energy: no omission is suggested "
            "(raise --max_removed to have one)"
        )
    if len(source.shape) == 2 and any(f.kind in ("line", "hum") for f in analysis.findings):
        longer = "longer examples tell"
        if source.sample_rate:
            longer = f"a longer window, --config.data.window={8 * source.shape[0]} where files are that long, tells"
        lines.append(
            f"a held note looks like a hum at this length; {longer} them apart: a hum stays one "
            "line, a note spreads over several bins"
        )
    lines.append(_EDGES)
    return "\n".join(lines)


def _counted(analysis: Analysis, source: Source) -> str:
    if len(source) == 1:
        shape = (*analysis.spectrum.spatial_shape, source.shape[-1])
        text = f"{analysis.spectrum.num_examples} pieces of shape {shape} of the one example"
    else:
        text = f"{analysis.spectrum.num_examples} of {len(source)} examples of shape {source.shape}"
    blank = f", {analysis.blank} of them blank" if analysis.blank else ""
    text += blank + f", mean {np.mean(analysis.spectrum.mean):.4f}"
    text += f", window {analysis.spectrum.window}"
    if source.scaled:
        text += (
            f"\npictures are scaled to {min(source.shape[:2])} pixels (data.image_size), and frequencies are per "
            "pixel of those; what is above half a cycle there, and JPEG blocks, are lost: pictures of one "
            "size are taken as they are with --config.data.image_size=0"
        )
    return text


def write(
    analysis: Analysis,
    source: Source,
    out: Path,
    *,
    removed: float,
    omit: bool,
    exponent: float = 1.0,
    classes: np.ndarray | None = None,
    indices: np.ndarray | None = None,
    windowed: bool = False,
    flip: bool = False,
) -> None:
    """Writes the files listed at the top of this module into `out`, which is made if need be.

    `removed` is that of `removed_energy`; `omit` says whether to suggest the omission. `classes` are the
    powers of `class_powers`, to be suggested instead. `indices` are the examples' in the source, `windowed` says
    whether these are windows of a size that can be chosen, `flip` whether training mirrors examples, which are
    analysed as they are.
    """
    out.mkdir(parents=True, exist_ok=True)
    spectrum = analysis.spectrum
    of_training = _of_both(spectrum.power, analysis) if flip else spectrum.power
    np.save(out / "power.npy", of_training)
    tempered = spectra.from_data(
        of_training, spectrum.spatial_shape, exponent, basis=spectrum.basis
    )
    np.save(out / "equal_snr.npy", np.asarray(tempered.variance))
    suggestion = "equal_snr.npy"
    (out / "omission.npy").unlink(missing_ok=True)
    if omit:
        suggestion = "omission.npy"
        np.save(out / suggestion, np.asarray(_hole(analysis).variance))
    write_capped(analysis, source, out, indices, windowed=windowed, flip=flip)
    if classes is not None:
        suggestion = "classes.npy"
        own = np.stack([_of_both(power, analysis) for power in classes]) if flip else classes
        np.save(out / suggestion, own)
    radius, power, error = radial_profile(spectrum)
    numbers = {
        "num_examples": spectrum.num_examples,
        "window": spectrum.window,
        "basis": spectrum.basis,
        "mean": spectrum.mean.tolist(),
        "radius_cycles_per_sample": radius.tolist(),
        "power": power.tolist(),
        "standard_error": error.tolist(),
        "power_law": dataclasses.asdict(analysis.law),
        "examples_without_variation": analysis.blank,
        "findings": [_numbers(n, f, indices) for n, f in enumerate(analysis.findings, 1)],
        "kinds": [list(numbers) for numbers in analysis.combinations],
        "advice": analysis.advice,
        "half_bin": [0.5 / n for n in spectrum.spatial_shape],
        "energy_removed_by_omission": removed,
        "suggestion": suggestion,
    }
    write_whole(out / "spectrum.json", json.dumps(numbers, indent=1) + "\n")
    write_whole(
        out / "noise_config.py", _snippet(analysis, source, out, removed, suggestion, exponent)
    )
    plot_spectrum(analysis, out / "spectrum.png")


def _of_both(power: np.ndarray, analysis: Analysis) -> np.ndarray:
    """The power of examples half of which are mirrored from left to right."""
    if analysis.spectrum.basis != "fourier":
        return power
    return (power + left_to_right(power, analysis.spectrum.spatial_shape)) / 2


def _numbers(number: int, finding: Finding, indices: np.ndarray | None) -> dict[str, Any]:
    arrays = ("mask", "variance", "error", "has")
    values = {
        field.name: getattr(finding, field.name)
        for field in dataclasses.fields(finding)
        if field.name not in arrays
    }
    values["slope"] = None if np.isnan(finding.slope) else finding.slope
    mean = error = None
    if finding.variance is not None and finding.error is not None and finding.mask.any():
        mean = finding.variance[finding.mask].mean(axis=0).tolist()
        error = finding.error[finding.mask].mean(axis=0).tolist()
    return {
        "number": number,
        **values,
        "bins": int(finding.mask.sum()),
        "variance_per_channel": mean,
        "error_per_channel": error,
        "examples": _who_has_it(finding, indices),
    }


def _who_has_it(finding: Finding, indices: np.ndarray | None) -> list[int] | None:
    """The examples, by their numbers in the source, of what only some have and is not the data's own; else None."""
    if finding.verdict == OWN or finding.share >= NEARLY_ALL or finding.has is None:
        return None
    own = np.flatnonzero(finding.has > 0.5)
    return sorted((own if indices is None else np.asarray(indices)[own]).tolist())


def _snippet(
    analysis: Analysis,
    source: Source,
    out: Path,
    removed: float,
    suggestion: str,
    exponent: float,
) -> str:
    if suggestion == "classes.npy":
        comments = [
            f"in each class equal signal-to-noise ratio at all frequencies, to the power of {exponent:g}"
        ]
    elif suggestion == "omission.npy":
        shape = analysis.spectrum.spatial_shape
        comments = [describe(f, source, shape) for f in analysis.findings if f.is_noise]
        comments.append(f"omitting them removes {removed:.2%} of the energy")
    else:
        comments = [
            f"equal signal-to-noise ratio at all frequencies, to the power of {exponent:g}",
            f"(the power law nearest to it: alpha = {analysis.law.alpha * exponent:.3f})",
        ]
    lines = [f"# {comment}" for comment in comments]
    file = str(out / suggestion)
    if suggestion == "classes.npy":
        lines += ['config.noise.kind = "from_data"', f"config.noise.power = {file!r}"]
        lines += [f"config.noise.exponent = {exponent!r}", "config.noise.per_class = True"]
    else:
        lines += ['config.noise.kind = "file"', f"config.noise.file = {file!r}"]
    if analysis.spectrum.basis != "fourier":
        lines.append(f"config.noise.basis = {analysis.spectrum.basis!r}")
    return "\n".join(lines) + "\n"
