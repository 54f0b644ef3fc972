"""What the program `spectrum` writes for capped levels: N(f) of each kind of example, and who is of which.

`corruption.npz` has N and its standard error on the whole grid of the basis, `(kinds, *grid, channels)`, absolute,
as `config.schedule.corruption` reads it. Where the config says already which example is of which kind, N is that of
its kinds: each has what most of its examples were found to have. Else kinds are what occurs together, and which
example is of which is told in full only where all of them were analysed: then the lines name `kinds.npy`, unless
all are of kind 1.

A tone, whose amplitude is fixed, is not Gaussian noise of variance N, for which alone a capped example teaches the
data. With noise of variance margin N beside it the difference shows the less the larger the margin: of data of
variance N / 100 the exact network's restoration has 430 times their energy as its error at a margin of 0.1, 1.04
times at 10 (`tests/diffusion/test_capped.py`). Nothing is lost by it: below N / 10 there is little to restore.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagd_jax.data.source import Source
from sagd_jax.programs.spectrum_words import mirrored
from sagd_jax.spectral.analysis import Analysis
from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.periods import fitting, misfit

LEVELS, KINDS, LINES = "corruption.npz", "kinds.npy", "capped_config.py"
_TONES = (kinds.LINE, kinds.HUM, kinds.MOSAIC)
_MARGIN = 10.0
# Of a step: from which misfit on, and which gain of another window, is worth a word.
_BETWEEN, _WORTH = 0.25, 0.1


def write_capped(
    analysis: Analysis,
    source: Source,
    out: Path,
    indices: np.ndarray | None,
    *,
    windowed: bool = False,
    flip: bool = False,
) -> str:
    """Writes these files, or takes away those of before; returns the lines of a config, "" where N is 0.

    Args:
      indices: of the examples in the source; None: they are the first ones.
      windowed: whether examples are windows, whose size the config chooses.
      flip: whether the config mirrors examples, which are analysed as they are.
    """
    for name in (LEVELS, KINDS, LINES):
        (out / name).unlink(missing_ok=True)
    variance = analysis.corruption()
    if variance is None:
        return ""
    own = np.arange(len(analysis.kinds)) if indices is None else indices
    error, found = np.asarray(analysis.corruption_error()), analysis.kinds
    has = [tuple(numbers) for numbers in analysis.combinations]
    told = _told(source, own)
    if told is not None and source.kinds is not None:
        most = [_most(found[told == kind]) for kind in range(1, int(source.kinds.max()) + 1)]
        nothing = np.zeros_like(variance[:1])
        variance = np.concatenate([nothing, variance])[most]
        error = np.concatenate([nothing, error])[most]
        has, found = [((), *has)[k] for k in most], told
    basis = analysis.spectrum.basis
    np.savez(
        out / LEVELS,
        variance=variance,
        error=error,
        kind=found,
        index=own,
        basis=basis,
    )
    lines = [
        f"# N of {_names(has)}: capped levels learn what the data hold there too",
        'config.schedule.kind = "capped"',
        f"config.schedule.corruption = ({str(out / LEVELS)!r},)",
    ]
    if basis != "fourier":
        lines.append(f"config.schedule.basis = {basis!r}")
    named = [analysis.findings[n - 1] for n in sorted({n for numbers in has for n in numbers})]
    tones = [f for finding in named if finding.kind in _TONES for f in finding.frequencies]
    if tones and windowed:
        lines += _of_windows(tones, analysis.spectrum.spatial_shape)
    if flip and mirrored(named, analysis.spectrum.spatial_shape):
        lines += [
            "# in a mirrored example it would be at other frequencies than N says",
            "config.data.flip = False",
        ]
    if any(finding.kind in _TONES for finding in named):
        lines += [
            "# a tone keeps its amplitude, as Gaussian noise does not: noise of a small margin shows that to the",
            "# network, and what it takes for the data is then louder than the tone",
            f"config.schedule.margin = {_MARGIN}",
        ]
    lines += [
        'config.schedule.data_spectrum = "data"',
        'config.model.prediction = "v"',
        *(_who(analysis, source, out, own) if told is None else []),
    ]
    text = "\n".join(lines) + "\n"
    (out / LINES).write_text(text)
    return text


def _of_windows(tones: list[tuple[float, ...]], sizes: tuple[int, ...]) -> list[str]:
    """What to say of tones that lie between the frequencies of the windows, where other windows mend that."""
    better = fitting(tones, sizes)
    before, after = misfit(tones, sizes), misfit(tones, better)
    if before < _BETWEEN or after > before - _WORTH:
        return []
    old, new = ("x".join(map(str, own)) for own in (sizes, better))
    return [
        f"# tones lie up to {before:.2f} steps beside the frequencies of windows of {old}, which leaves part of them in what",
        f"# is learned; {after:.2f} in windows of {new}: cut the data so (data.array_window, data.window), and ask again",
    ]


def _who(analysis: Analysis, source: Source, out: Path, own: np.ndarray) -> list[str]:
    """The lines that say which examples are of which kind."""
    if len(source) == 1 and len(analysis.kinds) > 1:
        sizes = analysis.spectrum.spatial_shape
        return [
            f"# N is that of pieces of {'x'.join(map(str, sizes))}: cut the data so, with data.array_window of an "
            "array, data.window of sounds",
            "config.data.corrupted_all = True",
        ]
    if (analysis.kinds == 1).all():
        return ["config.data.corrupted_all = True"]
    if len(own) < len(source):
        return [
            f"# {len(own)} of {len(source)} examples were analysed: with --num_examples={len(source)} a line "
            "config.data.corrupted_flags says of which kind each is"
        ]
    flags = np.zeros(len(source), np.uint8)
    flags[own] = analysis.kinds
    np.save(out / KINDS, flags)
    return [f"config.data.corrupted_flags = {str(out / KINDS)!r}"]


def _told(source: Source, own: np.ndarray) -> np.ndarray | None:
    """The kinds of the analysed examples by the config; None where it names none."""
    kinds = source.kinds
    return kinds[own] if kinds is not None and kinds.any() and len(kinds) > own.max() else None


def _most(kinds: np.ndarray) -> int:
    """What occurs most often; 0 among no examples."""
    return int(np.bincount(kinds).argmax()) if len(kinds) else 0


def _names(has: list[tuple[int, ...]]) -> str:
    """What findings each kind has, by number."""
    words = [
        f"finding{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        if numbers
        else "nothing that was found"
        for numbers in has
    ]
    return "; ".join(f"kind {kind}, {own}" for kind, own in enumerate(words, 1))
