"""The power spectrum of a data set, as a program.

    python -m sagd_jax.spectrum --config=configs/mnist.py --out=runs/mnist_spectrum

prints the radial power spectrum with its standard errors, the power law that fits it, and the
bands, wedges and lines that stand out, with half a bin for the uncertainty of their frequencies; and
writes into `--out`

    spectrum.png      the plots
    spectrum.json     all the numbers
    power.npy         the power spectrum on the half grid
    equal_snr.npy     a noise spectrum proportional to the data's, tempered by --exponent
    omission.npy      a flat one with holes where something stands out, if anything does, and if the
                      holes hold no more than --max_removed of the data's energy
    classes.npy       with --per_class, the power spectrum of each class
    noise_config.py   the lines of a config that use the last of these

These spectra are of the Fourier basis, whose noise is periodic: it wraps around at the edges of an
example. With --basis=cosine all of it is in the cosine basis, on its whole grid, whose noise does not;
what stands out is looked for in the Fourier basis alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax import data
from sagd_jax.data.order import batch_indices
from sagd_jax.data.source import DataError, Source, normalise
from sagd_jax.run.config import RunConfig
from sagd_jax.run.config_file import read_config
from sagd_jax.show.plots import plot_spectrum
from sagd_jax.spectral import spectra
from sagd_jax.spectral.analysis import Analysis, analyse
from sagd_jax.spectral.anomalies import Anomaly
from sagd_jax.spectral.frequencies import BASES
from sagd_jax.spectral.power_spectrum import MEANS, WINDOWS, estimate, radial_profile
from sagd_jax.system.commandline import Parser, number
from sagd_jax.system.files import writable, write_whole
from sagd_jax.system.late import require
from sagd_jax.system.schema import field_names
from sagd_jax.system.startup import started
from sagd_jax.training.summary import hidden_energy

_PIECE = 256  # examples read at once
_ROWS = 24  # of the printed table
_EDGES = (
    "noise of these spectra is periodic, it wraps around at the edges of an example; that of "
    'basis="cosine" does not'
)


def main(argv: Sequence[str] | None = None) -> int:
    """Analyses as the flags say; returns the exit status (0, 2 for bad input, 75, 130)."""
    parser = _parser()
    with started(parser, argv, several=False) as program:
        flags = program.flags
        if flags.num_examples < 2:
            raise DataError(f"--num_examples={flags.num_examples}: expected at least 2")
        if not 0 <= flags.margin < 1e6:
            raise DataError(f"--margin={flags.margin}: expected a number of bins >= 0")
        require("matplotlib", "plotting the spectrum")
        section = read_config(flags.config, program.overrides).data
        out = Path(flags.out).expanduser()
        _refuse_data_folder(out, section.dir)
        writable(flags.out, "--out")
        source = data.open_source(section)
        if flags.per_class and not source.num_classes:
            raise DataError("--per_class: this data has no labels")
        examples = Examples(source, flags.num_examples)
        try:
            analysis = analyse(
                examples,
                mean=flags.mean,
                window=flags.window,
                margin=flags.margin,
                basis=flags.basis,
            )
            classes = class_powers(examples, analysis, flags.mean) if flags.per_class else None
            removed = removed_energy(analysis, source)
            omit = bool(analysis.anomalies) and removed <= flags.max_removed
            write(
                analysis,
                source,
                out,
                removed=removed,
                omit=omit,
                exponent=flags.exponent,
                classes=classes,
            )
        except ValueError as error:
            raise DataError(str(error)) from error
        source.report()
        print(report(analysis, source, removed, flags.max_removed))
        print(f"\nwritten to {out}; to use the suggestion, copy the lines of noise_config.py:\n")
        print((out / "noise_config.py").read_text(), end="")
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
    return parser


class Examples:
    """Some examples of a source, mapped to [-1, 1]; can be iterated over again and again."""

    def __init__(self, source: Source, count: int, indices: np.ndarray | None = None):
        """Up to `count` examples in a random order, or those at `indices`."""
        self._source = source
        if indices is None:
            indices = batch_indices(0, len(source), min(count, len(source)), 0)
        self._indices = indices

    def of_classes(self) -> list[Examples]:
        """Those of each class."""
        pieces = range(0, len(self), _PIECE)
        labels = np.concatenate(
            [self._source.fetch(self._indices[start : start + _PIECE])["label"] for start in pieces]
        )
        return [
            Examples(self._source, len(self), self._indices[labels == label])
            for label in range(self._source.num_classes)
        ]

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), _PIECE):
            x = self._source.fetch(self._indices[start : start + _PIECE])["x"]
            yield np.asarray(normalise(x, self._source.value_range))


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
    if not analysis.anomalies:
        return 0.0
    kept = spectra.from_variance(analysis.kept, analysis.spectrum.spatial_shape)
    return hidden_energy(kept, source)


def report(analysis: Analysis, source: Source, removed: float, max_removed: float) -> str:
    """The table for people; `removed` as `removed_energy` has it, and the most that is suggested."""
    spectrum, law = analysis.spectrum, analysis.law
    radius, power, error = radial_profile(spectrum)
    rate, hz = _hertz(source)
    lines = [
        f"{spectrum.num_examples} of {len(source)} examples of shape {source.shape}, values in "
        f"[-1, 1], mean {np.mean(spectrum.mean):.4f}, window {spectrum.window}",
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
    searched = "power" if spectrum.innovation is None else "innovation and power"
    if spectrum.basis != "fourier":
        lines.append(
            f"of the basis {spectrum.basis!r}; what stands out is looked for in 'fourier' alone"
        )
    elif not analysis.anomalies:
        lines.append(f"nothing stands out of the smooth {searched} spectrum")
    for i, anomaly in enumerate(analysis.anomalies, 1):
        lines.append(f"{i}. {describe(anomaly, source)}")
    if analysis.anomalies:
        holes = int((analysis.kept == 0).sum())
        lines.append(
            f"omitting all of it, with the margin, empties {holes} of {analysis.kept.size} bins "
            f"and removes {removed:.2%} of the data's energy (mean image left out)"
        )
    if removed > max_removed:
        lines.append(
            f"that is more than --max_removed={max_removed:g}, so that it may well be the signal "
            "itself: no omission is suggested (raise --max_removed to have one)"
        )
    if len(source.shape) == 2 and any(a.kind == "line" for a in analysis.anomalies):
        longer = "longer examples tell"
        if source.sample_rate:
            longer = f"a longer window, --config.data.window={8 * source.shape[0]}, tells"
        lines.append(
            f"a held note looks like a hum at this length; {longer} them apart: a hum stays one "
            "line, a note spreads over several bins"
        )
    lines.append(_EDGES)
    return "\n".join(lines)


def describe(anomaly: Anomaly, source: Source) -> str:
    """One line about an anomaly."""
    rate, _ = _hertz(source)
    halves = [0.5 / source.shape[axis] for axis in anomaly.axes]  # of a bin, along each axis
    if anomaly.kind == "line":
        pairs = zip(anomaly.frequency, halves, strict=True)
        where = "at " + ", ".join(f"{f:.4f} +- {half:.2g}" for f, half in pairs) + " cycles/sample"
        if rate:
            where += f" ({anomaly.frequency[0] * rate:.1f} +- {halves[0] * rate:.2g} Hz)"
    else:
        half = max(halves)
        where = f"{anomaly.low:.4f} to {anomaly.high:.4f} +- {half:.2g} cycles/sample"
        if rate:
            low, high = anomaly.low * rate, anomaly.high * rate
            where += f" ({low:.1f} to {high:.1f} +- {half * rate:.2g} Hz)"
        if anomaly.kind == "wedge":
            where += f", {anomaly.angle:.0f} +- {anomaly.width / 2:.0f} degrees"
        elif len(anomaly.axes) < len(source.shape) - 1:
            where += f" along axes {anomaly.axes}"
    return (
        f"{anomaly.kind} {where}: {10 * anomaly.excess / np.log(10):.1f} dB above the smooth "
        f"spectrum, {anomaly.score:.0f} s.e., {100 * anomaly.energy:.1f} % of the power"
    )


def write(
    analysis: Analysis,
    source: Source,
    out: Path,
    *,
    removed: float,
    omit: bool,
    exponent: float = 1.0,
    classes: np.ndarray | None = None,
) -> None:
    """Writes the files listed at the top of this module into `out`, which is made if need be.

    `removed` is that of `removed_energy`; `omit` says whether to suggest the omission. `classes` are the
    powers of `class_powers`, to be suggested instead.
    """
    out.mkdir(parents=True, exist_ok=True)
    spectrum = analysis.spectrum
    np.save(out / "power.npy", spectrum.power)
    tempered = spectra.from_data(
        spectrum.power, spectrum.spatial_shape, exponent, basis=spectrum.basis
    )
    np.save(out / "equal_snr.npy", np.asarray(tempered.variance))
    suggestion = "equal_snr.npy"
    (out / "omission.npy").unlink(missing_ok=True)
    if omit:
        suggestion = "omission.npy"
        np.save(
            out / suggestion, spectra.from_variance(analysis.kept, spectrum.spatial_shape).variance
        )
    if classes is not None:
        suggestion = "classes.npy"
        np.save(out / suggestion, classes)
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
        "anomalies": [_numbers(anomaly) for anomaly in analysis.anomalies],
        "half_bin": [0.5 / n for n in spectrum.spatial_shape],
        "energy_removed_by_omission": removed,
        "suggestion": suggestion,
    }
    write_whole(out / "spectrum.json", json.dumps(numbers, indent=1) + "\n")
    write_whole(
        out / "noise_config.py", _snippet(analysis, source, out, removed, suggestion, exponent)
    )
    plot_spectrum(analysis, out / "spectrum.png")


def _refuse_data_folder(out: Path, directory: str) -> None:
    if not directory:
        return
    where = Path(directory).expanduser().resolve()
    if where == out.resolve() or (where.is_dir() and where in out.resolve().parents):
        raise DataError(f"--out={str(out)!r}: lies in data.dir, where nothing is ever written")


def _hertz(source: Source) -> tuple[float, str]:
    """(samples per second, heading): only where every axis is in time."""
    if source.sample_rate and len(source.shape) == 2:
        return source.sample_rate, "Hz"
    return 0.0, ""


def _numbers(anomaly: Anomaly) -> dict[str, Any]:
    return {
        field.name: getattr(anomaly, field.name)
        for field in dataclasses.fields(anomaly)
        if field.name != "mask"
    } | {"bins": int(anomaly.mask.sum())}


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
        comments = [describe(anomaly, source) for anomaly in analysis.anomalies]
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
