"""What `real_corruption.py` measures: lines, the rest of the spectrum, notch filters, mean heart beats."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.evaluation.spectra_of_samples import distance_of_energies
from sagd_jax.spectral.power_spectrum import taper_of

CORE, GUARD, REACH = 1, 3, 8  # bins: of a line, of what is not its neighbours, and of these
DRAWS = 300  # of the windows, for intervals
NOTCH = {
    1: 1 / 360,
    2: 3 / 630,
}  # half width in cycles per sample: 1 Hz, three bins of the wider picture
LEAST = 0.01  # of the largest N: bins with less are no part of a hole
STRIPES_FROM = 1 / 32  # cycles per pixel: slower ones are the picture's
RATE = 360
BEFORE, AFTER = 90, 144  # samples around the peak of a beat
SAMPLES = 40  # in a picture


def patches(x: np.ndarray, size: Sequence[int], stack: bool = False) -> np.ndarray:
    """`(n, *size, channels)`, side by side, of one signal or a stack of them."""
    whole = x if stack else x[None]
    axes = len(size)
    counts = [n // s for n, s in zip(whole.shape[1:-1], size, strict=True)]
    whole = whole[(slice(None), *(slice(c * s) for c, s in zip(counts, size, strict=True)))]
    split = [part for pair in zip(counts, size, strict=True) for part in pair]
    whole = whole.reshape(len(whole), *split, whole.shape[-1])
    order = [0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1]
    return whole.transpose(order).reshape(-1, *size, whole.shape[-1])


def powers(x: np.ndarray) -> np.ndarray:
    """Of tapered windows about their own mean, mean over channels, on the whole grid: `(n, *size)`."""
    axes = tuple(range(1, x.ndim - 1))
    centred = (x - x.mean(axis=axes, keepdims=True)) * taper_of(x.shape[1:-1], "hann")
    return np.square(np.abs(np.fft.fftn(centred, axes=axes, norm="ortho"))).mean(axis=-1)


def distances(size: Sequence[int], finding: Mapping[str, Any]) -> list[np.ndarray]:
    """Of each line of a finding: how many bins away every bin is, the nearer of f and -f; of stripes, their axis."""
    steps = np.meshgrid(*[np.arange(n) for n in size], indexing="ij")
    if finding["kind"] == "stripes":
        rows = np.minimum(steps[0], size[0] - steps[0])
        columns = np.minimum(steps[1], size[1] - steps[1])
        return [np.where(columns < STRIPES_FROM * size[1] + 1, np.inf, rows)]
    lines = []
    for frequency in finding["frequencies"]:
        places = []
        for sign in (1, -1):
            away = [
                np.abs((k - sign * f * n + n / 2) % n - n / 2)
                for k, f, n in zip(steps, frequency, size, strict=True)
            ]
            places.append(np.max(away, axis=0))
        lines.append(np.minimum(*places))
    return lines


def level(x: np.ndarray, findings: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Of each line: energy over that of its neighbours in dB, with its 95 % interval; of stripes over like radii."""
    size = x.shape[1:-1]
    p = powers(x).reshape(len(x), -1)
    weights = np.random.default_rng(0).multinomial(len(x), np.full(len(x), 1 / len(x)), DRAWS)
    mean = np.vstack([p.mean(axis=0), weights @ p / len(x)])
    log = 10 * np.log10(mean + 1e-30)
    lines = [(f["kind"], line.reshape(-1)) for f in findings for line in distances(size, f)]
    near = np.min([line for _, line in lines], axis=0) <= GUARD
    radius = np.rint(_radius(size).reshape(-1) * max(size))
    figures = []
    for kind, line in lines:
        if kind == "stripes":  # over bins as far from zero, since pictures have less at higher ones
            rings = [(radius == n) for n in range(int(radius[line == 0].max()) + 1)]
            pairs = [(ring & (line == 0), ring & np.isfinite(line) & ~near) for ring in rings]
            own = np.mean(
                [
                    10 * np.log10(mean[:, core].mean(axis=1)) - np.median(log[:, beside], axis=1)
                    for core, beside in pairs
                    if core.any() and beside.any()
                ],
                axis=0,
            )
        else:
            core = mean[:, line <= CORE].mean(axis=1)
            beside = np.median(log[:, (line > GUARD) & (line <= REACH) & ~near], axis=1)
            own = 10 * np.log10(core + 1e-30) - beside
        figures.append([float(own[0]), *map(float, np.quantile(own[1:], [0.025, 0.975]))])
    return figures


def rings(size: Sequence[int], findings: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, ...]:
    """(radius, shares) of rings without the lines, their neighbours within three bins, and the two lowest."""
    radius = _radius(size).reshape(-1)
    number = np.rint(radius * max(size)).astype(int)
    lines = [line for f in findings for line in distances(size, f)]
    rest = (np.min(lines, axis=0).reshape(-1) > GUARD) & (radius <= 0.5)
    found = [n for n in range(2, number.max() + 1) if (rest & (number == n)).sum() >= len(size)]
    sets = np.stack([rest & (number == n) for n in found]).astype(float)
    shares = sets / sets.sum(axis=1, keepdims=True)
    return shares @ radius, shares


def rest(x: np.ndarray, data: np.ndarray, findings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The spectrum beside the lines against that of held-out windows: distance, and the share of rings within it."""
    size = x.shape[1:-1]
    radius, shares = rings(size, findings)
    own, held = (powers(z).reshape(len(z), -1) @ shares.T for z in (x, data))
    distance = distance_of_energies(own, held, np.full(len(radius), 1 / len(radius)))
    log = [np.log(e.mean(axis=0)) for e in (own, held)]
    errors = [e.std(axis=0, ddof=1) / np.sqrt(len(e)) / e.mean(axis=0) for e in (own, held)]
    inside = np.abs(log[0] - log[1]) < 1.96 * np.hypot(*errors)
    whole = powers(x).mean(axis=0)
    profile = whole[: size[0] // 2 + 1] if len(size) == 1 else _radial(whole)
    return {
        "distance": [distance.value, distance.low, distance.high],
        "inside": float(inside.mean()),
        "rings": radius.tolist(),
        "power": own.mean(axis=0).tolist(),
        "error": errors[0].tolist(),
        "profile": np.asarray(profile).tolist(),
    }


def _radius(size: Sequence[int]) -> np.ndarray:
    grids = np.meshgrid(*[np.fft.fftfreq(n) for n in size], indexing="ij")
    return np.asarray(np.sqrt(sum(g**2 for g in grids)))


def _radial(power: np.ndarray) -> np.ndarray:
    """The largest in each ring, in which a line is seen."""
    number = np.rint(_radius(power.shape) * max(power.shape)).astype(int)
    return np.array([power[number == n].max() for n in range(max(power.shape) // 2 + 1)])


def notches(x: np.ndarray, window: Sequence[int], found: Path) -> dict[str, np.ndarray]:
    """The whole file filtered in two ways: at the lines' frequencies, and in each window where N is."""
    axes = tuple(range(x.ndim - 1))
    findings = json.loads((found / "spectrum.json").read_text())
    chosen = {n for kind in findings["kinds"] for n in kind}
    keep = np.ones(x.shape[:-1])
    grids = np.meshgrid(*[np.fft.fftfreq(n) for n in x.shape[:-1]], indexing="ij")
    for finding in (findings["findings"][n - 1] for n in chosen):
        if finding["kind"] == "stripes":
            keep[(grids[0] == 0) & (np.abs(grids[1]) >= STRIPES_FROM)] = 0
        for frequency in finding["frequencies"] if finding["kind"] != "stripes" else ():
            for sign in (1, -1):
                away = [
                    (g - sign * f + 0.5) % 1 - 0.5 for g, f in zip(grids, frequency, strict=True)
                ]
                keep[np.sqrt(sum(a**2 for a in away)) <= NOTCH[len(axes)]] = 0
    whole = np.real(np.fft.ifftn(np.fft.fftn(x, axes=axes) * keep[..., None], axes=axes))
    with np.load(found / "corruption.npz") as file:
        variance = file["variance"].max(axis=0)
    hole = (variance < LEAST * variance.max())[None]
    cut = patches(x, window)
    axes = tuple(a + 1 for a in axes)
    cut = np.real(np.fft.ifftn(np.fft.fftn(cut, axes=axes) * hole, axes=axes))
    counts = [n // s for n, s in zip(x.shape[:-1], window, strict=True)]
    joined = np.array(x, np.float64)
    put = cut.reshape(*counts, *window, x.shape[-1])
    order = [
        place
        for pair in zip(range(len(counts)), range(len(counts), 2 * len(counts)), strict=True)
        for place in pair
    ]
    put = put.transpose(*order, 2 * len(counts))
    sizes = [c * s for c, s in zip(counts, window, strict=True)]
    joined[tuple(slice(n) for n in sizes)] = put.reshape(*sizes, x.shape[-1])
    return {"notch filter": _like(whole, x), "hole in windows": _like(joined, x)}


def _like(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8) if x.dtype == np.uint8 else values


def beats(files: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The mean heart beat of lead 1 in mV, by file, and how far it is from that of the data, rms in microvolt.

    Hum has another phase at every beat: what of it is left in the data's mean is its size over the root of the
    number of beats.
    """
    lead = {key: x[:, 0] for key, x in files.items()}
    clean = lead["notch filter"]
    slope = np.abs(np.diff(clean, prepend=clean[0]))
    slope = np.convolve(slope, np.ones(31) / 31, mode="same")
    limit, peaks, place = 0.4 * np.quantile(slope, 0.995), [], 0
    candidates = np.flatnonzero(slope > limit)
    while place < len(candidates):
        start = candidates[place]
        around = clean[max(start - 20, 0) : start + 60]
        peaks.append(max(start - 20, 0) + int(around.argmax()))
        place = int(np.searchsorted(candidates, start + 144))
    peaks = [p for p in peaks if BEFORE <= p < len(clean) - AFTER]
    at = np.asarray(peaks)[:, None] + np.arange(-BEFORE, AFTER)
    means = {key: signal[at].mean(axis=0) for key, signal in lead.items()}
    away = {key: mean - means["data"] for key, mean in means.items()}
    start = len(clean) // 2
    return {
        "count": len(peaks),
        "mean": {key: np.round(mean, 5).tolist() for key, mean in means.items()},
        "error": {
            key: 1000 * float(np.sqrt(np.mean((a - a.mean()) ** 2))) for key, a in away.items()
        },
        "stretch": {key: np.round(s[start : start + 360], 4).tolist() for key, s in lead.items()},
    }


def picture(
    window: Sequence[int], files: Mapping[str, np.ndarray], samples: np.ndarray
) -> dict[str, Any]:
    """What is shown: of pictures a crop of each file and samples, as PNG files in hexadecimal digits; of signals windows."""
    if len(window) == 1:
        return {"samples": np.round(samples[:6, :, 0], 4).tolist()}
    height, width = next(iter(files.values())).shape[:2]
    top, left = height // 2 - 70, width // 2 - 70
    shown = {key: _png(x[top : top + 140, left : left + 140, 0]) for key, x in files.items()}
    rows = np.concatenate(
        [np.concatenate(list(samples[i : i + 4, ..., 0]), axis=1) for i in (0, 4, 8, 12)], axis=0
    )
    return {**shown, "samples": _png(rows)}


def _png(x: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(x).save(buffer, format="PNG")
    return buffer.getvalue().hex()
