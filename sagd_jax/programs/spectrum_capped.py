"""What the program `spectrum` writes for capped levels: N(f) of each kind of example, and who is of which.

`corruption.npz` has N and its standard error on the whole grid of the basis, `(kinds, *grid, channels)`, absolute,
as `config.schedule.corruption` reads it. Which example is of which kind is told in full only where all of them were
analysed: then the lines name `kinds.npy`, unless all are of kind 1.

A tone, whose amplitude is fixed, is not Gaussian noise of variance N, for which alone a capped example teaches the
data. With noise of variance margin N beside it the difference shows the less the larger the margin: of data of
variance N / 100 the exact network's restoration has 430 times their energy as its error at a margin of 0.1, 1.04
times at 10 (`tests/diffusion/test_capped.py`). Nothing is lost by it: below N / 10 there is little to restore.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagd_jax.data.source import Source
from sagd_jax.spectral.analysis import Analysis
from sagd_jax.spectral.detector import finding as kinds

LEVELS, KINDS, LINES = "corruption.npz", "kinds.npy", "capped_config.py"
_TONES = (kinds.LINE, kinds.HUM, kinds.MOSAIC)
_MARGIN = 10.0


def write_capped(analysis: Analysis, source: Source, out: Path, indices: np.ndarray | None) -> str:
    """Writes these files, or takes away those of before; returns the lines of a config, "" where N is 0.

    Args:
      indices: of the examples in the source; None: they are the first ones.
    """
    for name in (LEVELS, KINDS, LINES):
        (out / name).unlink(missing_ok=True)
    variance = analysis.corruption()
    if variance is None:
        return ""
    own = np.arange(len(analysis.kinds)) if indices is None else indices
    basis = analysis.spectrum.basis
    np.savez(
        out / LEVELS,
        variance=variance,
        error=np.asarray(analysis.corruption_error()),
        kind=analysis.kinds,
        index=own,
        basis=basis,
    )
    lines = [
        f"# N of {_names(analysis)}: capped levels learn what the data hold there too",
        'config.schedule.kind = "capped"',
        f"config.schedule.corruption = ({str(out / LEVELS)!r},)",
    ]
    if basis != "fourier":
        lines.append(f"config.schedule.basis = {basis!r}")
    if any(analysis.findings[n - 1].kind in _TONES for kind in analysis.combinations for n in kind):
        lines += [
            "# a tone keeps its amplitude, as Gaussian noise does not: noise of a small margin shows that to the",
            "# network, and what it takes for the data is then louder than the tone",
            f"config.schedule.margin = {_MARGIN}",
        ]
    lines += [
        'config.schedule.data_spectrum = "data"',
        'config.model.prediction = "v"',
        *_who(analysis, source, out, own),
    ]
    text = "\n".join(lines) + "\n"
    (out / LINES).write_text(text)
    return text


def _who(analysis: Analysis, source: Source, out: Path, own: np.ndarray) -> list[str]:
    """The lines that say which examples are of which kind; none where the config did so before."""
    if source.kinds is not None:
        return []
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


def _names(analysis: Analysis) -> str:
    names = [
        f"kind {kind}, finding{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        for kind, numbers in enumerate(analysis.combinations, 1)
    ]
    return "; ".join(names)
