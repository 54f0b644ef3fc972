"""Traces that processing leaves in the pixels, which are no stationary noise: blocks, and enlargement.

Both make the strength of the second difference, |x(j-1) - 2 x(j) + x(j+1)| averaged over the other axes,
periodic in j: with period 8 by the blocks of a JPEG, with the factor's period by interpolation (Gallagher
2005). Its power at each frequency, averaged over the examples, shows the period whatever the place of a
crop; the mean over examples shows a place that all have in common. A JPEG is called so only if, at one and
the same place of the blocks' grid along both axes, more of the blocks' fine cosine coefficients are zero than
at all others. An enlargement is called so only if what it has beyond the old end are images of what lies below:
the coefficients at f and at f less the old sampling frequency have one difference of phases, up to its sign, in
each example.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.finding import CORRUPTION, UNKNOWN, Finding
from sagd_jax.spectral.half_grid import half_grid_shape, to_full_grid

_EXAMPLES = 512  # that are looked at
_BLOCK = 8
_FINEST = 256  # frequencies of the periods that are tried
_JPEG_STRENGTH = 0.08  # relative modulation of the second difference: quality 95 has less, 75 more
_SURE, _STRENGTH = 20.0, 0.015  # score and relative modulation of an interpolation's period
_HALF = 0.3  # of the modulation
_MOST_EXAMPLES = 0.7
_REPEATED = 0.3  # modulation of the first difference where pixels are repeated
_PATCH = 64  # sites, of an example's corner that is kept
_IMAGES = 1.5  # one difference of phases, over what other distances of frequencies have of it
_IMAGES_OF_REPEATED = (
    2.5  # these are as strong as what they are images of; harmonics of dots have less
)
_ASIDE = (-5, -4, 4, 5)  # bins: such distances
_FALL, _FALL_ALONE = 1.5, 3.4  # nats beyond the old end, with a period and without one
_ZERO = 0.35 / 127.5
_ACTIVE = 3.0 / 127.5  # standard deviation of a block that holds something


class Marks:
    """Gathers the pixels' second differences and blocks of images; `report` says what they show."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self.count = 0
        # Of the second and of the first difference, along both axes.
        self._strengths: list[list[np.ndarray]] = [[], [], [], []]
        self._zeros: list[np.ndarray] = []
        self._patches: list[np.ndarray] = []

    def add(self, x: np.ndarray) -> None:
        """Looks at examples `(n, height, width, channels)`; after some hundreds it looks no more."""
        x = np.asarray(x[: _EXAMPLES - self.count], np.float64)
        if len(self.shape) != 2 or min(self.shape) < 2 * _BLOCK or not len(x):
            return
        self.count += len(x)
        grey = x.mean(axis=-1)
        for axis in (0, 1):
            moved = np.moveaxis(grey, axis + 1, 1)
            second = np.abs(moved[:, 2:] - 2 * moved[:, 1:-1] + moved[:, :-2])
            for order, difference in enumerate((second, np.abs(np.diff(moved, axis=1)))):
                # Relative to what is usual, so that a few strong edges do not count for all.
                size = difference / (difference.mean(axis=(1, 2), keepdims=True) + 1e-6)
                self._strengths[2 * order + axis].append(np.minimum(size, 3.0).mean(axis=2))
        self._zeros.append(_zero_shares(grey))
        self._patches.append(grey[:, :_PATCH, :_PATCH].astype(np.float32))

    def merge(self, other: Marks) -> None:
        """Adds what another has seen."""
        self.count += other.count
        self._zeros += other._zeros
        self._patches += other._patches
        for own, more in zip(self._strengths, other._strengths, strict=True):
            own += more

    def periods(self, axis: int, order: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(frequencies of a difference's strength, amplitude relative to its mean, score)."""
        strength = np.concatenate(self._strengths[axis + 2 * (2 - order)])
        strength = strength - strength.mean(axis=1, keepdims=True)
        n = strength.shape[1]
        frequency = np.arange(1, _FINEST + 1) / (2 * _FINEST)
        window = np.hanning(n + 2)[1:-1]
        wave = np.exp(-2j * np.pi * np.outer(np.arange(n), frequency)) * window[:, None]
        power = np.square(np.abs(strength @ wave)).mean(axis=0)
        noise = _median_around(power, max(2 * _FINEST * 3 // n, 4), max(2 * _FINEST * 8 // n, 12))
        error = 1 / math.sqrt(max(len(strength), 1))
        amplitude = 2 * np.sqrt(np.maximum(power - noise, 0)) / window.sum()
        return frequency, amplitude, (power / noise - 1) / error

    def share_with(self, axis: int, order: int, frequency: float) -> float:
        """Share of the examples that show a period by themselves: power there over four times that around."""
        strength = np.concatenate(self._strengths[axis + 2 * (2 - order)])
        strength = strength - strength.mean(axis=1, keepdims=True)
        n = strength.shape[1]
        away = frequency + np.array([0, -7, -6, -5, -4, 4, 5, 6, 7]) / n
        away = away[(away > 3 / n) & (away <= 0.5)]
        wave = np.exp(-2j * np.pi * np.outer(np.arange(n), away)) * np.hanning(n + 2)[1:-1, None]
        power = np.square(np.abs(strength @ wave))
        return float((power[:, 0] > 4 * np.median(power[:, 1:], axis=1)).mean())

    def images(self, axis: int, factor: float) -> float:
        """How alike the phases of images and of what they are images of are, over that of other distances.

        About 1 where nothing was enlarged by this factor.
        """
        patches = np.moveaxis(np.concatenate(self._patches), axis + 1, 1).astype(np.float64)
        n, across = patches.shape[1:]
        patches -= patches.mean(axis=(1, 2), keepdims=True)
        rows = np.fft.rfft(patches * np.hanning(across + 2)[1:-1], axis=2)[:, :, 2 : across // 2]
        beyond = np.arange(n // 2) / n
        beyond = beyond[beyond > 1.05 * 0.5 / factor]
        below = (beyond - 1 / factor + 0.5) % 1 - 0.5
        fine = np.abs(below) > 2.5 / n
        if not fine.any():
            return 0.0

        def at(frequency: np.ndarray) -> np.ndarray:
            wave = np.exp(-2j * np.pi * np.outer(frequency, np.arange(n))) * np.hanning(n + 2)[1:-1]
            return wave @ rows

        of_images = at(beyond[fine])

        def alike(step: int) -> float:
            product = of_images * np.conj(at(below[fine] + step / n))
            # Squared: the interpolation's gain has either sign.
            turned = np.square(product / np.maximum(np.abs(product), 1e-12))
            return float(np.abs(turned.mean(axis=(1, 2))).mean())

        return alike(0) / float(np.mean([alike(step) for step in _ASIDE]))


def find_marks(marks: Marks, evidence: Evidence) -> list[Finding]:
    """A JPEG's blocks and an enlargement, where there are any."""
    if marks.count < 16:
        return []
    jpeg = _jpeg(marks, [marks.periods(axis) for axis in (0, 1)], evidence)
    enlarged = _enlarged(marks, evidence, jpeg is not None)
    return [finding for finding in (jpeg, enlarged) if finding is not None]


def _jpeg(marks: Marks, tried: list, evidence: Evidence) -> Finding | None:
    scores, amplitudes = [], []
    for frequency, amplitude, score in tried:
        own = [int(np.argmin(np.abs(frequency - k / _BLOCK))) for k in (1, 2, 3)]
        scores.append(float(np.median(score[own])))
        amplitudes.append(float(np.mean(amplitude[own])))
    zeros = np.concatenate(marks._zeros)
    zeros = zeros[np.isfinite(zeros).all(axis=(1, 2))]
    if len(zeros) < 16:
        return None
    # Of each example the place of the grid at which most coefficients are zero, against the others.
    flat = np.sort(zeros.reshape(len(zeros), -1), axis=1)
    lead = float(np.mean((flat[:, -1] - flat[:, -2]) / np.maximum(1 - flat[:, -2], 0.02)))
    usual = float(np.mean((flat[:, -2] - flat[:, -3]) / np.maximum(1 - flat[:, -3], 0.02)))
    place = zeros.reshape(len(zeros), -1).argmax(axis=1)
    most = np.bincount(place, minlength=_BLOCK**2)
    if min(scores) < 4 or min(amplitudes) < _JPEG_STRENGTH or lead < 0.1 or lead < 3 * usual:
        return None
    details: dict = {"period": _BLOCK, "strength": min(amplitudes)}
    if most.max() > 0.5 * len(zeros):
        details["phase"] = [int(k) for k in divmod(int(most.argmax()), _BLOCK)]
    return _finding(kinds.JPEG, evidence, min(scores), min(amplitudes), details)


def _enlarged(marks: Marks, evidence: Evidence, blocks: bool) -> Finding | None:
    """Periods of interpolation along both axes at one frequency, and nothing above the old end."""
    best = (0.0, 0.0, 0.0, 1.0)
    for order in (1, 2):
        first, second = (marks.periods(axis, order) for axis in (0, 1))
        frequency = first[0]
        score, amplitude = np.minimum(first[2], second[2]), np.minimum(first[1], second[1])
        usable = (frequency > 0.23) & (amplitude > _STRENGTH)
        # What has half the frequency too has twice the period: a screen's dots, blocks, a weave.
        halves = [np.interp(frequency / 2, frequency, one[1]) for one in (first, second)]
        usable &= np.maximum(*halves) < _HALF * amplitude
        if blocks:
            for k in (1, 2, 3, 4):
                usable &= np.abs(frequency - k / _BLOCK) > 0.045
        peak = int(np.argmax(np.where(usable, score, 0)))
        if usable[peak]:
            f, strength = float(frequency[peak]), float(amplitude[peak])
            share = min(marks.share_with(axis, order, f) for axis in (0, 1))
            best = max(best, (float(score[peak]), f, strength, share))
    score_, f, strength, share = best
    # What is so strong is seen in each enlarged picture; a screen's dots are in parts of them.
    if score_ > _SURE and (strength < _REPEATED or share > _MOST_EXAMPLES):
        # A period p = 1/f of the strengths is the factor, or, of factors below 2, 1 - 1/p its alias.
        factors = [1 / f] if f > 0.49 else [1 / f, 1 / (1 - f)]
        factor = factors[0] if len(factors) == 1 or _fallen(evidence, factors) else factors[1]
        repeated = strength > _REPEATED and abs(factor - round(factor)) < 0.05
        fallen = repeated or max(_emptiness(evidence, 0.5 / value) for value in factors) > _FALL
        alike = min(marks.images(axis, factor) for axis in (0, 1))
        if fallen and alike > (_IMAGES_OF_REPEATED if repeated else _IMAGES):
            details = {"factor": float(factor), "frequency": 0.5 / float(factor)}
            found = _finding(kinds.ENLARGED, evidence, score_, strength, details)
            return dataclasses.replace(found, share=share if share < _MOST_EXAMPLES else 1.0)
    falls = [(_emptiness(evidence, 0.5 / factor), factor) for factor in np.arange(1.2, 4.3, 0.1)]
    fall, factor = max(falls)
    if fall < _FALL_ALONE:
        return None
    details = {"frequency": 0.5 / float(factor), "fall_db": fall * 4.34}
    found = _finding(kinds.EMPTY, evidence, fall / 0.3, 0.0, details)
    return dataclasses.replace(found, verdict=UNKNOWN, excess_db=-fall * 4.34, seen_in="mean")


def _fallen(evidence: Evidence, factors: list[float]) -> bool:
    """Whether the power between the ends of two factors is nearer to that at the very end than to the first."""
    low, high = sorted(0.5 / factor for factor in factors)
    shares = []
    for axis in (0, 1):
        frequency, level = _along(evidence, axis)
        middle = level[(frequency > low * 1.15) & (frequency < high * 0.95)]
        first, last = level[frequency < 0.07], level[frequency > 0.46]
        if min(len(middle), len(first), len(last)) == 0:
            return False
        shares.append((np.median(middle) - last.mean()) / max(first.mean() - last.mean(), 1e-9))
    return float(np.mean(shares)) < 0.45


def _along(evidence: Evidence, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(frequencies along an axis, median log power over small frequencies along the other)."""
    shape = evidence.shape
    full = to_full_grid(np.log(evidence.mean("all") + 1e-13), shape)
    k = np.arange(1, shape[axis] // 2 + 1)
    rows = np.moveaxis(full, axis, 0)[k][:, 2 : max(shape[1 - axis] // 4, 4)]
    return k / shape[axis], np.median(rows, axis=1)


def _emptiness(evidence: Evidence, cut: float) -> float:
    """How far, in nats, the power beyond a frequency along each axis lies under the course before it."""
    falls = []
    for axis in (0, 1):
        f, rows = _along(evidence, axis)
        before, after = (f > 0.15 * cut) & (f < 0.8 * cut), f > cut * 1.12
        if before.sum() < 3 or after.sum() < 2:
            return 0.0
        line = np.polyfit(np.log(f[before]), rows[before], 1)
        falls.append(float(np.median(np.polyval(line, np.log(f[after])) - rows[after])))
    return min(falls)


def _finding(
    kind: str, evidence: Evidence, score: float, strength: float, details: dict
) -> Finding:
    return Finding(
        kind=kind,
        verdict=CORRUPTION,
        mask=np.zeros(half_grid_shape(evidence.shape), bool),
        axes=(0, 1),
        low=details.get("frequency", 0.0),
        high=0.5,
        excess_db=20 * math.log10(1 + strength),
        score=float(score),
        seen_in="pixels",
        floor=False,
        details=details,
    )


def _median_around(values: np.ndarray, inner: int, outer: int) -> np.ndarray:
    """Median over entries further than `inner` and nearer than `outer`."""
    offset = np.abs(np.arange(-outer, outer + 1))
    windows = sliding_window_view(np.pad(values, outer, mode="reflect"), 2 * outer + 1)
    return np.median(windows[:, offset > inner], axis=1)


def _zero_shares(grey: np.ndarray) -> np.ndarray:
    """Share of fine cosine coefficients that are zero, in blocks that hold something, of all 64 places.

    `(n, 8, 8)`: of grids that begin at each row and column.
    """
    n = grey.shape[0]
    k, site = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)
    rows = np.cos(np.pi * k * (2 * site + 1) / (2 * _BLOCK)) * np.sqrt(2 / _BLOCK)
    rows[0] /= np.sqrt(2)
    fine = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)) >= 6
    result = np.full((n, _BLOCK, _BLOCK), np.nan)
    for i in range(_BLOCK):
        for j in range(_BLOCK):
            height, width = (
                (size - start) // _BLOCK for size, start in zip(grey.shape[1:], (i, j), strict=True)
            )
            cut = grey[:, i : i + height * _BLOCK, j : j + width * _BLOCK]
            blocks = cut.reshape(n, height, _BLOCK, width, _BLOCK).swapaxes(2, 3)
            blocks = blocks.reshape(n, height * width, _BLOCK, _BLOCK)
            active = blocks.std(axis=(2, 3)) > _ACTIVE
            coefficients = rows @ blocks @ rows.T
            zero = (np.abs(coefficients[..., fine]) < _ZERO).mean(axis=-1)
            count = active.sum(axis=1)
            with np.errstate(invalid="ignore"):
                result[:, i, j] = np.where(count > 0, (zero * active).sum(axis=1) / count, np.nan)
    return result
