"""Sounds as spectrograms: power over time and frequency, all on one scale of decibels.

Source: the short-time Fourier transform with a Hann window and a hop of a quarter of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.show import palette
from sagd_jax.show.plots.frame import WIDTH, WORDS, named, new_figure, small_ticks

_RANGE = 80.0  # decibels below the loudest that are shown
_TINY = 1e-20


def spectrograms(
    sounds: ArrayLike | Mapping[str, ArrayLike],
    sample_rate: float | None = None,
    *,
    window: int | None = None,
) -> Any:
    """A spectrogram of each sound; of several channels the mean power.

    Args:
      sounds: `(time, channels)` by name, floats in [-1, 1]; or one.
      sample_rate: in samples per second; without it time is in samples and frequency in cycles per sample.
      window: samples of one spectrum; by default about a sixtieth of the longest sound, at least 64.

    Returns:
      The figure.

    Raises:
      ValueError: for sounds of other axes, shorter than the window, or a rate that is not positive.

    >>> t = np.arange(8000) / 8000
    >>> figure = spectrograms({"a tone": np.sin(2 * np.pi * 1000 * t)[:, None]}, 8000)
    >>> figure.axes[0].get_ylabel(), figure.axes[1].get_ylabel()
    ('frequency (kHz)', 'dB below the loudest')
    """
    given = named("sounds", sounds, 2)
    if sample_rate is not None and not 0 < sample_rate < np.inf:
        raise ValueError(f"sample_rate={sample_rate}: expected samples per second, > 0")
    longest = max(len(x) for x in given.values())
    size = window or max(64, 2 ** int(np.log2(max(longest / 60, 1))))
    for name, x in given.items():
        if not 4 <= size <= len(x):
            raise ValueError(
                f"sounds[{name!r}]: {len(x)} samples, window={size}: expected 4 to that many"
            )
    powers = {name: _powers(np.asarray(x, np.float64), size) for name, x in given.items()}
    loudest = max(max(float(p.max()) for p in powers.values()), _TINY)
    rate = sample_rate or 1.0
    kilo = 1000.0 if sample_rate else 1.0
    figure = new_figure((WIDTH, 2.0 * len(given) + 0.5))
    axes = figure.subplots(len(given), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for axis, (name, power) in zip(axes, powers.items(), strict=True):
        decibels = 10 * np.log10(np.maximum(power, _TINY) / loudest)
        image = axis.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            extent=(0, len(given[name]) / rate, 0, rate / 2 / kilo),
            cmap=palette.ONE_SIDED,
            vmin=-_RANGE,
            vmax=0,
        )
        axis.set_title(name, fontsize=WORDS)
        axis.set_ylabel("frequency (kHz)" if sample_rate else "cycles per sample", fontsize=WORDS)
        small_ticks(axis)
    axes[-1].set_xlim(0, longest / rate)
    axes[-1].set_xlabel("time (s)" if sample_rate else "time (samples)", fontsize=WORDS)
    bar = figure.colorbar(image, ax=list(axes), extend="min")
    bar.set_label("dB below the loudest", fontsize=WORDS)
    small_ticks(bar.ax)
    return figure


def _powers(x: np.ndarray, size: int) -> np.ndarray:
    """`(spectra, frequencies)`, mean over channels."""
    frames = np.lib.stride_tricks.sliding_window_view(x, size, axis=0)[:: max(size // 4, 1)]
    spectra = np.fft.rfft(frames * np.hanning(size), axis=-1)
    return np.asarray((np.abs(spectra) ** 2).mean(axis=1))
