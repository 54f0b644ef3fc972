"""Which examples have which corruptions, and what those add per coordinate: what capped levels take.

Kind 0 is a clean example, kind k > 0 one with the k-th combination of corruptions that occurs. N is that of
a basis' whole grid: of stationary noise N(f) in Fourier coordinates, the variance of coordinate k of a cosine
basis is sum_f N(f) |<c_k, e_f>|^2, with e_f the complex waves and c_k the cosines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagd_jax.spectral.detector.finding import CORRUPTION, Finding
from sagd_jax.spectral.half_grid import whole_from_half

_ALL = 0.9  # a corruption in so many of the examples is taken to be in each
_MOST_KINDS = 8


def kinds_of_examples(
    findings: Sequence[Finding], count: int, chosen: Sequence[int] | None = None
) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """(kind of each of `count` examples, the numbers from 1 of the findings that each kind has).

    Only stationary noise counts: what is called a corruption, or the findings chosen by number. Combinations
    beyond the eight most frequent ones are taken to have everything that any of them has.
    """
    own = [
        (number, finding)
        for number, finding in enumerate(findings, 1)
        if (number in chosen if chosen is not None else finding.verdict == CORRUPTION)
        and finding.is_noise
        and finding.has is not None
    ]
    if not own:
        return np.zeros(count, np.int32), []
    has = np.zeros((count, len(own)), bool)
    for k, (_, finding) in enumerate(own):
        assert finding.has is not None
        has[:, k] = (finding.has > 0.5) | (finding.share >= _ALL)
    patterns, inverse, sizes = np.unique(has, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    order = [k for k in np.argsort(-sizes, kind="stable") if patterns[k].any()]
    kinds = np.zeros(count, np.int32)
    combinations: list[tuple[int, ...]] = []
    for k in order[: _MOST_KINDS - 1]:
        combinations.append(tuple(own[j][0] for j in np.flatnonzero(patterns[k])))
        kinds[inverse == k] = len(combinations)
    rest = order[_MOST_KINDS - 1 :]
    if rest:
        combinations.append(tuple(number for number, _ in own))
        kinds[np.isin(inverse, rest)] = len(combinations)
    return kinds, combinations


def levels(
    findings: Sequence[Finding],
    combinations: Sequence[Sequence[int]],
    spatial_shape: Sequence[int],
    basis: str = "fourier",
    error: bool = False,
) -> np.ndarray:
    """N on the whole grid of a basis, `(kinds, *spatial, channels)`, of kinds 1, 2, ...; or its standard error."""
    total = []
    for numbers in combinations:
        parts = []
        for number in numbers:
            finding = findings[number - 1]
            values = finding.error if error else finding.variance
            assert values is not None
            parts.append(values)
        if error:
            total.append(np.sqrt(np.sum(np.square(parts), axis=0)))
        else:
            total.append(np.sum(parts, axis=0))
    whole = whole_from_half(np.stack(total), spatial_shape)
    if basis == "fourier":
        return whole
    for axis, n in enumerate(spatial_shape):
        weights = _cosines_of_waves(n)
        if error:
            whole = np.moveaxis(np.square(whole), axis + 1, -1) @ weights.T
            whole = np.sqrt(np.moveaxis(whole, -1, axis + 1))
        else:
            whole = np.moveaxis(np.moveaxis(whole, axis + 1, -1) @ weights.T, -1, axis + 1)
    return whole


def _cosines_of_waves(n: int) -> np.ndarray:
    """|<c_k, e_f>|^2 of the cosines k and the waves f of one axis; rows and columns add up to 1."""
    k, site = np.arange(n)[:, None], np.arange(n)
    cosines = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * site + 1) / (2 * n))
    cosines[0] /= np.sqrt(2)
    return np.square(np.abs(np.fft.fft(cosines, axis=1, norm="ortho")))
