"""What the explorer draws of a choice: noise, data on their way, spectra, signal-to-noise ratios; no page.

With S the data's variance per coordinate f, a_t and s_t those of equation (21) of `diffusion/schedules/spectral.py`
(s_t = sigma_t sqrt(lambda)), and all means over rings of equal radius:

    spectrum      a_t^2 S and s_t^2, beside S, over the radius, and the mean square of the drawn s_t z
    levels        log(a_t^2 S / s_t^2) over time and radius, or without S; a line where it is 0
    noise         s_t z as a signal, at standard deviation 1
    noised data   x_t, and on its way from data to noise

Numbers first (`Shown`), then HTML.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import math

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.data.source import normalise
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.programs.explored import Explorer
from sagd_jax.programs.explored_choice import Choice
from sagd_jax.programs.spectrum_words import describe
from sagd_jax.show import pictures, svg
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.detector.finding import Finding
from sagd_jax.spectral.half_grid import to_full_grid
from sagd_jax.system.schema import ConfigError

WAY = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # times of the strip
_LARGEST = 10.0  # log-SNR that is told from infinity
_MOST_RINGS = 200
_MOST_VALUES = 3_000_000  # of a map over time and coordinates
_MOST_TIMES = 41
_ROWS = 64  # of the map
_STRIP_SIDE = 96  # of the strip's pictures, in pixels
_IMAGE_LIMIT = 1.25  # what is white, of images and clips in [-1, 1]
_NOISE_LIMIT = 2.5  # standard deviations
_SIGNAL = {"image": _IMAGE_LIMIT, "video": _IMAGE_LIMIT, "audio": 1.0}


@dataclasses.dataclass(frozen=True, eq=False)
class Rings:
    """Coordinates of a basis by their radius.

    Attributes:
      centre: mean radius of each ring, in cycles per sample, increasing and > 0; `(rings,)`.
      order, starts, count: of coordinates in rings.
    """

    centre: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    count: np.ndarray

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over each ring of values `(..., coordinates)`: `(..., rings)`."""
        return np.add.reduceat(values[..., self.order], self.starts, axis=-1) / self.count

    def extent(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value on each ring of values `(coordinates,)`."""
        own = values[self.order]
        return np.minimum.reduceat(own, self.starts), np.maximum.reduceat(own, self.starts)


@functools.lru_cache(8)
def rings_of(basis: Basis) -> Rings:
    """The rings of a basis, without the constant: as wide as its lowest radius, or wider where they are many.

    Raises:
      ConfigError: its coordinates have no frequencies.
    """
    radius = basis.radius.ravel()
    positive = radius[radius > 0]
    if not positive.size:
        raise ConfigError(
            f"basis={type(basis).__name__.lower()!r}: its coordinates have no frequencies to draw over"
        )
    lowest, highest = positive.min(), positive.max()
    if highest / lowest <= _MOST_RINGS:
        ring = np.rint(radius / lowest).astype(int)
    else:
        ring = 1 + (
            np.log(np.maximum(radius, lowest) / lowest) / math.log(highest / lowest) * 120
        ).astype(int)
    ring[radius == 0] = 0
    inside = np.flatnonzero(ring > 0)
    order = inside[np.argsort(ring[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(ring[order], prepend=0))
    count = np.diff(np.append(starts, len(order)))
    return Rings(np.add.reduceat(radius[order], starts) / count, order, starts, count)


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """The numbers of the pictures; powers are of the mean over channels.

    Attributes:
      basis, rings: the coordinates, and their rings.
      x0, noise, x_t: signals `(*spatial, channels)`; the noise is that of x_t, at standard deviation 1.
      noise_std: its standard deviation in x_t.
      way: x_t at the times of `WAY`, with the same draw.
      data, faded: S and a_t^2 S over the rings.
      level, lowest, highest, drawn: s_t^2, its extent, and the mean square of what was drawn.
      times, levels: the log-SNR, `(times, rings)`, within +-10.
      crossing: of each ring, the time at which it is 0; NaN: never.
      plane: s_t^2 of each coordinate, `(*spatial,)`.
    """

    basis: Basis
    rings: Rings
    x0: np.ndarray
    noise: np.ndarray
    x_t: np.ndarray
    noise_std: float
    way: np.ndarray
    data: np.ndarray
    faded: np.ndarray
    level: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    drawn: np.ndarray
    times: np.ndarray
    levels: np.ndarray
    crossing: np.ndarray
    plane: np.ndarray


def show(explorer: Explorer, choice: Choice) -> Shown:
    """The numbers of a choice.

    Raises:
      ConfigError: one line saying what cannot be made, or that there is no such example.
    """
    source = explorer.source
    if choice.example >= len(source):
        raise ConfigError(f"example={choice.example}: expected 0 to {len(source) - 1}")
    diffusion = explorer.process(choice)
    basis = explorer.basis_of(diffusion)
    rings = rings_of(basis)
    raw = source.fetch(np.array([choice.example]))["x"]
    x0 = np.asarray(normalise(raw, source.value_range))
    e = diffusion.covariance.sample(jax.random.key(choice.seed), x0.shape)
    state, noise = diffusion.encode(jnp.asarray(x0)), diffusion.encode(e)

    times = np.array([choice.t, *WAY], np.float32)
    many = (len(times), *(1,) * (noise.ndim - 1))
    alpha, sigma = (
        np.asarray(f(times)).reshape(len(times), *np.shape(f(0.5)) or many[1:])
        for f in (diffusion.schedule.alpha, diffusion.schedule.sigma)
    )
    signals = np.asarray(diffusion.decode(jnp.asarray(alpha * state + sigma * noise)))
    own = np.asarray(diffusion.decode(jnp.asarray(sigma[:1] * noise)))[0]
    std = float(own.std())

    power = explorer.power(basis).ravel()
    variance = np.asarray(diffusion.covariance.coefficients(basis), np.float64)
    level = _over_channels(sigma[0] ** 2 * variance, basis).ravel()
    a_square = np.broadcast_to(_over_channels(alpha[0] ** 2, basis), basis.spatial_shape).ravel()
    drawn = np.square(np.asarray(basis.forward(own[None]))[0]).mean(axis=-1).ravel()
    lowest, highest = rings.extent(level)
    t, levels = _levels(diffusion, basis, variance, power if choice.of_data else None, rings)
    return Shown(
        basis=basis,
        rings=rings,
        x0=x0[0],
        noise=own / std if std > 0 else own,
        x_t=signals[0],
        noise_std=std,
        way=signals[1:],
        data=rings.mean(power),
        faded=rings.mean(a_square * power),
        level=rings.mean(level),
        lowest=lowest,
        highest=highest,
        drawn=rings.mean(drawn),
        times=t,
        levels=levels,
        crossing=_crossing(t, levels),
        plane=level.reshape(basis.spatial_shape),
    )


def _over_channels(values: np.ndarray, basis: Basis) -> np.ndarray:
    """The mean over channels, `(*spatial,)` or `(1, ...)`, of `(*spatial or ones, channels)`."""
    axes = len(basis.spatial_shape)
    values = np.asarray(values, np.float64)
    values = values.reshape((1,) * (axes + 1 - values.ndim) + values.shape)
    return np.broadcast_to(values.mean(axis=-1), basis.spatial_shape)


def _levels(
    diffusion: Diffusion,
    basis: Basis,
    variance: np.ndarray,
    power: np.ndarray | None,
    rings: Rings,
) -> tuple[np.ndarray, np.ndarray]:
    size = math.prod(basis.spatial_shape)
    times = np.linspace(0, 1, min(_MOST_TIMES, max(9, _MOST_VALUES // size)))
    log = _log_ratio(diffusion.schedule, tuple(times), basis.spatial_shape)
    with np.errstate(divide="ignore"):
        shift = -np.log(_over_channels(variance, basis).ravel())
        if power is not None:
            shift = shift + np.log(power)
    shift = np.nan_to_num(shift, nan=0.0, posinf=4 * _LARGEST * 10, neginf=-4 * _LARGEST * 10)
    total = np.clip(log + shift.astype(np.float32), -_LARGEST, _LARGEST)
    return times, rings.mean(total)


def _log_ratio(schedule, times: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """log(alpha^2 / sigma^2) within +-100, `(times, coordinates)`, or `(times, 1)` where all are alike."""
    at = np.array(times, np.float32)
    alpha, sigma = (np.asarray(f(at), np.float32) for f in (schedule.alpha, schedule.sigma))
    with np.errstate(divide="ignore", invalid="ignore"):
        log = 2 * (np.log(alpha) - np.log(sigma))
    log = np.clip(np.nan_to_num(log, nan=0.0, posinf=100.0, neginf=-100.0), -100, 100)
    return log[:, None] if log.ndim == 1 else log.mean(axis=-1).reshape(len(at), -1)


def _crossing(times: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """When each ring's log-SNR, which falls, is 0."""
    below = levels <= 0
    after = np.argmax(below, axis=0)
    there = below.any(axis=0) & (after > 0)
    before, column = np.maximum(after - 1, 0), np.arange(levels.shape[1])
    high, low = levels[before, column], levels[after, column]
    share = np.where(there, high / np.where(there, high - low, 1), 0)
    crossing = times[before] + share * (times[after] - times[before])
    return np.where(there, crossing, np.nan)


def page(explorer: Explorer, choice: Choice, shown: Shown | None = None) -> str:
    """All pictures of a choice, as HTML; errors are those of `show`."""
    shown = show(explorer, choice) if shown is None else shown
    kind = explorer.source.kind
    limit = _SIGNAL.get(kind) or max(2.5 * float(shown.x0.std()), 1e-6)
    of_x_t = max(limit, 1.25 * float(np.sqrt(np.mean(np.square(shown.x_t)))))
    top = [
        svg.image(_picture(shown.x0, limit), "data x_0", f"black {-limit:.3g}, white {limit:.3g}"),
        svg.image(
            _picture(shown.noise, _NOISE_LIMIT),
            f"noise in x_t, t = {choice.t:g}",
            f"standard deviation {shown.noise_std:.3g}"
            if shown.noise_std
            else "there is none at this t",
        ),
        svg.image(
            _picture(shown.x_t, of_x_t),
            f"noised data x_t, t = {choice.t:g}",
            f"black {-of_x_t:.3g}, white {of_x_t:.3g}",
        ),
    ]
    if len(explorer.spatial) > 1:
        name = type(shown.basis).__name__.lower()
        top.append(
            svg.image(_plane(shown.plane, name), "its noise, by frequency", _plane_words(name))
        )
    way = [
        svg.image(
            _picture(_middle(x), max(limit, 1.25 * float(np.sqrt(np.mean(x**2))))), f"t = {t:g}"
        )
        for t, x in zip(WAY, shown.way, strict=True)
    ]
    return (
        f'<div class="sagd"><div class="row">{"".join(top)}</div>'
        f'<div class="row way">{"".join(way)}</div>'
        f'<div class="row charts"><div id="spectrum">{_spectrum(explorer, choice, shown)}</div>'
        f'<div id="levels">{_map(choice, shown)}{_bar(choice)}</div></div></div>'
    )


def _picture(x: np.ndarray, limit: float) -> np.ndarray:
    scaled = np.clip(np.nan_to_num(np.asarray(x) / limit), -1, 1)
    if scaled.ndim == 3:
        return pictures.image(scaled)
    if scaled.ndim == 4:
        return pictures.image(scaled[len(scaled) // 2])
    return pictures.curve(scaled)


def _middle(x: np.ndarray) -> np.ndarray:
    """The middle of a large image."""
    if x.ndim < 3:
        return x
    for axis in (-3, -2):
        n = x.shape[axis]
        if n > _STRIP_SIDE:
            first = (n - _STRIP_SIDE) // 2
            x = np.take(x, np.arange(first, first + _STRIP_SIDE), axis=axis)
    return x


def _plane(power: np.ndarray, basis: str, hole: np.ndarray | None = None) -> np.ndarray:
    """log power of each coordinate of the first and the last axis as colours, `(h, w, 3)`; nothing is black."""
    if power.ndim == 3:
        power = power.mean(axis=1)
    positive = power[power > 0]
    low, high = (np.log(positive.min()), np.log(positive.max())) if positive.size else (0.0, 0.0)
    low = max(low, high - 14)  # a millionth
    with np.errstate(divide="ignore"):
        share = (
            (np.log(power) - low) / (high - low) if high > low + 1e-4 else np.full(power.shape, 0.6)
        )
    colours = svg.sequential(0.12 + 0.88 * np.clip(share, 0, 1))
    colours[power <= 0] = 0
    if hole is not None:
        colours[hole] = (204, 121, 167)
    return np.fft.fftshift(colours, axes=(0, 1)) if basis == "fourier" else colours


def _plane_words(basis: str) -> str:
    return {
        "fourier": "0 in the middle; bright: more, black: none",
        "cosine": "0 at the upper left; bright: more, black: none",
    }.get(basis, "coarse at the upper left; bright: more, black: none")


def _spectrum(explorer: Explorer, choice: Choice, shown: Shown) -> str:
    rings = shown.rings
    tops = [shown.data.max(), shown.highest.max(), shown.faded.max()]
    high = 2 * max(max(tops), 1e-12)
    seen = [v[v > 0].min() for v in (shown.data, shown.level) if np.any(v > 0)]
    low = max(min(seen, default=high) / 3, high * 1e-9)
    chart = svg.Chart(
        svg.Axis(
            float(rings.centre[0]) * 0.93, float(rings.centre[-1]) * 1.02, _FREQUENCY, log=True
        ),
        svg.Axis(low, high, "variance per coordinate", log=True),
        f"spectrum at t = {choice.t:g}  (drag: choose a band)",
        drag="band",
    )
    if choice.band != "off":
        chart.span(max(choice.low, chart.x.low), min(choice.high, chart.x.high), "hole")
    for number, finding in enumerate(explorer.known_findings(), 1):
        style = "hole" if number in choice.holes else "mark"
        for i, (start, end) in enumerate(_places(finding)):
            if end >= chart.x.low:
                chart.span(max(start, chart.x.low), end, style, "" if i else str(number))
    lowest, level = np.maximum(shown.lowest, low), np.where(shown.level > 0, shown.level, np.nan)
    chart.band(rings.centre, lowest, np.maximum(shown.highest, low), "noise")
    chart.line(rings.centre, shown.data, "thin data")
    chart.line(rings.centre, np.where(shown.faded > 0, shown.faded, np.nan), "data")
    chart.line(rings.centre, level, "noise")
    there = shown.drawn > low
    chart.dots(rings.centre[there], shown.drawn[there], "noise")
    chart.legend(
        [
            ("thin data", "the data"),
            ("data", "what is left of them at t"),
            ("noise", "the noise at t (dots: as drawn)"),
        ]
    )
    return chart.svg()


_FREQUENCY = "frequency (cycles per sample)"


def _places(finding: Finding) -> list[tuple[float, float]]:
    """Where a finding lies on the axis of the radius."""
    if finding.frequencies:
        return [(math.hypot(*f),) * 2 for f in finding.frequencies]  # type: ignore[misc]
    if finding.high > 0:
        return [(finding.low, finding.high)]
    return []


def _map(choice: Choice, shown: Shown) -> str:
    rings = shown.rings
    low, high = float(rings.centre[0]), float(rings.centre[-1])
    axis = svg.Axis(low * 0.93, high * 1.02, _FREQUENCY, log=True)
    what = "of the data to the noise" if choice.of_data else "of unit variance to the noise"
    chart = svg.Chart(svg.Axis(0, 1, "time t"), axis, f"log of the ratio {what}")
    rows = np.exp(np.linspace(math.log(axis.high), math.log(axis.low), _ROWS))
    place = np.interp(np.log(rows), np.log(rings.centre), np.arange(len(rings.centre)))
    below = np.floor(place).astype(int)
    above, share = np.minimum(below + 1, len(rings.centre) - 1), (place - below)[:, None]
    levels = shown.levels.T
    chart.raster(svg.diverging(levels[below] * (1 - share) + levels[above] * share, _LARGEST))
    crossing = shown.crossing
    there = np.isfinite(crossing)
    chart.line(np.where(there, crossing, 0), np.where(there, rings.centre, np.nan), "over")
    chart.time(choice.t)
    return chart.svg()


def _bar(choice: Choice) -> str:
    colours = svg.diverging(np.linspace(-_LARGEST, _LARGEST, 128)[None], _LARGEST)
    what = "the data" if choice.of_data else "a signal"
    return (
        f'<div class="scale"><span>{-_LARGEST:g}: noise alone</span>'
        f'<img alt="colours" src="{svg.data_uri(colours)}"/><span>{_LARGEST:g}: {what} alone</span>'
        "</div><p>black line: as much of both; what lies below it in time is made there first</p>"
    )


def findings(explorer: Explorer, choice: Choice) -> tuple[list[tuple[str, int]], str]:
    """The findings in the data, (words, number) of each, and HTML about them: advice, and the plane.

    The first call looks for them, which takes seconds.
    """
    analysis = explorer.analysis()
    shape = analysis.spectrum.spatial_shape
    found = [
        (f"{number}. {describe(finding, explorer.source, shape)}", number)
        for number, finding in enumerate(analysis.findings, 1)
        if finding.is_noise
    ]
    lines = [
        f"{number}. {describe(finding, explorer.source, shape)} (no hole fits it)"
        for number, finding in enumerate(analysis.findings, 1)
        if not finding.is_noise
    ]
    if not analysis.findings:
        lines.append("Nothing stands out of its surroundings.")
    lines.append(f"What to do: {'; '.join(analysis.advice)}")
    words = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    picture = ""
    if len(shape) > 1:
        basis = explorer.basis("fourier")
        power = explorer.power(basis)
        whole: np.ndarray = np.zeros(power.shape, bool)
        removed = ""
        if choice.holes:
            kept = analysis.kept_without(choice.holes, choice.margin)
            whole = to_full_grid(kept == 0, shape)
            share = float(power[whole].sum() / (power.sum() - power.flat[0]))
            removed = f"; the holes: {whole.mean():.1%} of the bins, {share:.2%} of the energy"
        if whole.ndim == 3:
            whole = np.asarray(whole.any(axis=1))
        picture = svg.image(
            _plane(power, "fourier", whole),
            "the data, by frequency",
            f"0 in the middle; bright: more; pink: holes{removed}",
        )
    return found, f'<div class="sagd"><div class="found">{picture}<div>{words}</div></div></div>'
