"""Charts of lines as SVG, made of text alone: for pages that hold no program and load nothing.

Colours are the variables of the page (`page.py`), so that one drawing serves both of its themes.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence

import numpy as np

from sagd_jax.show import palette

MOST_POINTS = 240  # of a line
_WIDTH, _HEIGHT = 460, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 28, 40
_NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'  # of a file; a page knows it by itself
_LINE = 15  # height of a line of the legend
_WIDE = 30.0  # ratio of values from which on an axis is logarithmic, where that is left open
# From blue over purple to orange, which all readers tell apart, in tones that show on light and on dark.
_RAMP = ((40, 150, 232), (112, 82, 140), (208, 168, 12))  # of red, of green, of blue
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2", "10 4")


@dataclasses.dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
      name: in the legend.
      x, y: its points, in the order of x; those that are not finite are left out.
      low, high: of a band around it, like y.
      share: its place between the ends of a ramp of colours, for lines that have an order; None: a colour
        and dashes of its own.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    share: float | None = None


def thinned(x: np.ndarray, y: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, ...]:
    """Means of y, its least and its greatest, in at most so many pieces along x: (x, mean, low, high).

    >>> [part.tolist() for part in thinned(np.arange(4.0), np.array([1.0, 3, 5, 7]), 2)]
    [[0.5, 2.5], [2.0, 6.0], [1.0, 5.0], [3.0, 7.0]]
    """
    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(x) <= most:
        return x, y, y, y
    starts = np.linspace(0, len(x), most, endpoint=False).astype(int)
    number = np.diff(np.append(starts, len(x)))
    return (
        np.add.reduceat(x, starts) / number,
        np.add.reduceat(y, starts) / number,
        np.minimum.reduceat(y, starts),
        np.maximum.reduceat(y, starts),
    )


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    xlabel: str,
    ylabel: str = "",
    log_x: bool = False,
    log_y: bool | None = None,
    alone: bool = False,
) -> str:
    """A chart of lines, `<svg>...</svg>`.

    Args:
      series: the lines; those without a finite point are left out.
      title, xlabel, ylabel: words, in which nothing has a meaning.
      log_x, log_y: whether the axes are logarithmic, which leaves out what is not above 0; None: where
        all values are above 0 and far apart.
      alone: whether it is a file of its own, which brings its colours.

    >>> chart = line_chart(
    ...     [Series("a", np.arange(3), np.arange(3))], title="T", xlabel="step", ylabel="loss"
    ... )
    >>> chart.startswith("<svg"), "step" in chart, chart.count("<polyline")
    (True, True, 1)
    """
    drawn = [_finite(one, log_x, bool(log_y)) for one in series]
    drawn = [one for one in drawn if len(one.x)]
    if log_y is None:
        values = np.concatenate([one.y for one in drawn]) if drawn else np.ones(1)
        log_y = bool(values.min() > 0 and values.max() / values.min() > _WIDE)
    named = [one for one in drawn if one.name]
    legend = _legend(named) if len(named) > 1 else []
    rows = max((row for *_, row in legend), default=-1) + 1
    top = _TOP + rows * _LINE
    height = _HEIGHT + rows * _LINE
    frame = (_LEFT, _WIDTH - _RIGHT, height - _BOTTOM, top)
    parts = [
        f'<svg{_NAMESPACE if alone else ""} viewBox="0 0 {_WIDTH} {height}" class="chart" role="img" '
        f'aria-label="{html.escape(title)}">',
        f"<style>{STYLE}</style>" if alone else "",
        f'<rect class="ground" width="{_WIDTH}" height="{height}"/>' if alone else "",
        f'<text class="title" x="{_LEFT}" y="16">{html.escape(title)}</text>',
    ]
    if not drawn:
        parts.append(f'<text x="{_LEFT}" y="60">nothing to draw</text></svg>')
        return "".join(parts)
    ends = [
        _ends([one.x for one in drawn], log_x, 0.0),
        _ends(
            [v for one in drawn for v in (one.y, one.low, one.high) if v is not None], log_y, 0.05
        ),
    ]
    across = _Scale(*ends[0], log_x, frame[0], frame[1])
    up = _Scale(*ends[1], log_y, frame[2], frame[3])
    parts += _axes(across, up, frame, xlabel, ylabel)
    for number, one in enumerate(drawn):
        parts.append(_drawn(number, one, across, up))
    for number, name, x, row in legend:
        style = _style(number, named[number].share)
        y = _TOP + 4 + row * _LINE
        parts.append(
            f'<line x1="{x}" x2="{x + 20}" y1="{y}" y2="{y}" {style}/>'
            f'<text x="{x + 25}" y="{y + 4}">{html.escape(name)}</text>'
        )
    return "".join(parts) + "</svg>"


class _Scale:
    """From values to places along an axis."""

    def __init__(self, low: float, high: float, log: bool, start: float, end: float) -> None:
        self.low, self.high, self.log, self._start, self._end = low, high, log, start, end

    def __call__(self, values: np.ndarray) -> np.ndarray:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        if self.log:
            values = np.log(np.maximum(values, self.low * 1e-3))
        share = np.clip((values - low) / (high - low), -0.05, 1.05)
        return np.asarray(self._start + share * (self._end - self._start))

    def ticks(self) -> list[float]:
        """Five or so places with short names."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1, 2, 3, 5) if last - first < 3 else (1,)
            stride = max(1, math.ceil((last - first) / 6))
            found = [s * 10.0**d for d in range(first, last + 1, stride) for s in steps]
            found = [v for v in found if self.low * (1 - 1e-9) <= v <= self.high * (1 + 1e-9)]
            if len(found) >= 2:
                return found
        rough = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(rough))
        step = min(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * (1 - 1e-9))
        return [
            round(k * step, 12) if step > 1e-9 else k * step
            for k in range(
                math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1
            )
        ]


def _finite(one: Series, log_x: bool, log_y: bool) -> Series:
    x, y = np.asarray(one.x, np.float64), np.asarray(one.y, np.float64)
    kept = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not log_x)) & ((y > 0) | (not log_y))
    band = [None if v is None else np.asarray(v, np.float64)[kept] for v in (one.low, one.high)]
    return Series(one.name, x[kept], y[kept], band[0], band[1], one.share)


def _ends(values: Sequence[np.ndarray], log: bool, margin: float) -> tuple[float, float]:
    every = np.concatenate(values)
    every = every[np.isfinite(every) & ((every > 0) | (not log))]
    low, high = float(every.min()), float(every.max())
    if log:
        room = (high / low) ** margin if high > low else 2.0
        return low / room, high * room
    # So near together, they are one number.
    room = (high - low) * margin if high - low > 1e-12 * abs(high) else abs(high) / 2 or 0.5
    return low - room, high + room


def _axes(
    across: _Scale, up: _Scale, frame: tuple[int, int, int, int], xlabel: str, ylabel: str
) -> list[str]:
    left, right, bottom, top = frame
    parts = []
    for value, y in zip(up.ticks(), up(np.array(up.ticks())), strict=True):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{left - 6}" y="{y + 4:.1f}">{short(value)}</text>')
    last = -math.inf
    for value, x in zip(across.ticks(), across(np.array(across.ticks())), strict=True):
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
        )
        if x - last > 34:  # as wide as a label
            parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 17}">{short(value)}</text>')
            last = x
    middle = (left + right) / 2
    parts.append(f'<text class="x" x="{middle}" y="{bottom + 34}">{html.escape(xlabel)}</text>')
    parts.append(
        f'<text class="x" transform="translate(13 {(top + bottom) / 2}) rotate(-90)">'
        f"{html.escape(ylabel)}</text>"
    )
    parts.append(f'<path class="frame" d="M{left} {top}V{bottom}H{right}"/>')
    return parts


def _drawn(number: int, one: Series, across: _Scale, up: _Scale) -> str:
    x, y = across(one.x), up(one.y)
    style = _style(number, one.share)
    parts = ["<g>", f"<title>{html.escape(one.name)}</title>" if one.name else ""]
    if one.low is not None and one.high is not None:
        ends = np.concatenate([up(one.high), up(one.low)[::-1]])
        corners = _points(np.concatenate([x, x[::-1]]), ends)
        parts.append(f'<polygon points="{corners}" {_style(number, one.share, "line band")}/>')
    if len(x) == 1:
        parts.append(f'<circle cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="3" {style}/>')
    parts.append(f'<polyline points="{_points(x, y)}" {style}/></g>')
    return "".join(parts)


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _style(number: int, share: float | None, kind: str = "line") -> str:
    """The colour of a line, and dashes by which it is known without one."""
    dashes = _DASHES[number % len(_DASHES)]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    if share is None:
        return f'class="{kind} c{number % 6}"{dashed}'
    r, g, b = (round(float(np.interp(share, (0, 0.5, 1), channel))) for channel in _RAMP)
    return f'class="{kind}" style="--own:rgb({r},{g},{b})"{dashed}'


def _legend(series: Sequence[Series]) -> list[tuple[int, str, int, int]]:
    """(number, name, left, row) of each entry, in as many rows as they need."""
    entries, x, row = [], _LEFT, 0
    for number, one in enumerate(series):
        name = one.name if len(one.name) <= 48 else one.name[:47] + "…"
        width = 34 + 6 * len(name)
        if x + width > _WIDTH and x > _LEFT:
            x, row = _LEFT, row + 1
        entries.append((number, name, x, row))
        x += width
    return entries


def short(value: float) -> str:
    """A number in few letters.

    >>> short(50_000), short(0.25), short(2e-5), short(0), short(1_500_000)
    ('50k', '0.25', '2e-5', '0', '1.5M')
    """
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if size >= 10 * unit or (letter == "M" and size >= unit):
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


_THEME = "--ground:{};--words:{};--faint:{};--panel:{};" + "".join(
    f"--c{i}:{{}};" for i in range(6)
)
LIGHT = _THEME.format("#ffffff", "#1c1e21", "#d5d9de", "#f5f6f8", *palette.ON_LIGHT)
DARK = _THEME.format("#16181c", "#e4e6ea", "#3b4048", "#20242a", *palette.ON_DARK)
STYLE = (
    f":root{{color-scheme:light dark;{LIGHT}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{DARK}}}}}"
    ".chart{font:11px system-ui,sans-serif;max-width:100%}.chart text{fill:var(--words)}"
    ".chart .title{font-size:13px;font-weight:600}.chart .y{text-anchor:end}.chart .x{text-anchor:middle}"
    ".grid{stroke:var(--faint)}.frame{stroke:var(--words);fill:none}.ground{fill:var(--ground)}"
    ".line{stroke:var(--own);fill:none;stroke-width:1.6}.band{fill:var(--own);opacity:.22;stroke:none}"
    "circle.line{fill:var(--own)}" + "".join(f".c{i}{{--own:var(--c{i})}}" for i in range(6))
)
