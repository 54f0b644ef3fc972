"""Charts of radial spectra: those of data and samples, and the ratio of one to the other.

A profile is (radius, power, standard error), `(rings,)` each, as `power_spectrum.radial_profile` gives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sagd_jax.show.charts import Series, line_chart

Profile = tuple[np.ndarray, np.ndarray, np.ndarray]
_RADIUS = "radial frequency (cycles per sample)"
_SMALLEST = 1e-3  # of a power, as which the lower end of a band is drawn that would be below 0


def spectra_chart(
    profiles: Mapping[str, Profile], plain: Sequence[str] = (), *, alone: bool = False
) -> str:
    """Spectra with bands of two standard errors to both sides; those that are named `plain` without.

    >>> one = np.array([0.1, 0.2]), np.array([1.0, 0.5]), np.array([0.1, 0.1])
    >>> spectra_chart({"data": one}).count("<polygon")
    1
    """
    lines = []
    for name, (radius, power, error) in profiles.items():
        ends = (None, None) if name in plain else _band(power, error)
        lines.append(Series(name, radius, power, *ends))
    return line_chart(
        lines,
        title="radial power spectra",
        xlabel=_RADIUS,
        ylabel="power",
        log_x=True,
        log_y=True,
        alone=alone,
    )


def ratio_chart(samples: Profile, data: Profile, title: str) -> str | None:
    """The power of samples over that of data; None where they are of signals of different sizes."""
    if samples[0].shape != data[0].shape or not np.allclose(samples[0], data[0], rtol=1e-3):
        return None
    there = (data[1] > 0) & (samples[1] > 0)
    a, b = samples[1][there], data[1][there]
    over = a / b
    error = over * np.hypot(samples[2][there] / a, data[2][there] / b)
    radius = samples[0][there]
    lines = [
        Series("data", radius, np.ones_like(over)),
        Series("samples", radius, over, *_band(over, error)),
    ]
    return line_chart(lines, title=title, xlabel=_RADIUS, ylabel="ratio", log_x=True)


def _band(power: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(power - 2 * error, _SMALLEST * power), power + 2 * error
