"""Charts and pictures as inline SVG, in microseconds: for pages that answer while a slider moves.

Nothing is drawn in black or white: ink is the text's own colour (`currentColor`), and lines have classes
(`data`, `noise`, `mark`, ...) that the page's style gives a colour in light and in dark. `STYLE` is that style;
its colours are those of Okabe and Ito, which colour-blind readers tell apart. Needs NumPy alone.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.show.pictures import png

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 22, 38  # of the frame, in units of the view box
_MOST_TICKS = 7
# ColorBrewer's PuOr, from most orange to most purple; its middle is 0.
_PUOR = np.array(
    [
        [127, 59, 8], [179, 88, 6], [224, 130, 20], [253, 184, 99], [254, 224, 182], [247, 247, 247],
        [216, 218, 235], [178, 171, 210], [128, 115, 172], [84, 39, 136], [45, 0, 75],
    ]
)  # fmt: skip

STYLE = """
.sagd { --data: #0072b2; --noise: #d55e00; --mark: #007a5a; --hole: #cc79a7; }
.dark .sagd { --data: #56b4e9; --noise: #f0a030; --mark: #2fc79b; --hole: #e59ac4; }
.sagd svg { width: 100%; height: auto; display: block; font: 11px system-ui, sans-serif; }
.sagd svg text { fill: currentColor; }
.sagd .frame { fill: none; stroke: currentColor; stroke-opacity: .55; }
.sagd .grid { stroke: currentColor; stroke-opacity: .13; }
.sagd .line { fill: none; stroke-width: 1.8; }
.sagd .thin { stroke-width: 1.1; stroke-dasharray: 4 3; }
.sagd .band { fill-opacity: .2; }
.sagd .span { fill-opacity: .22; }
.sagd .line.data { stroke: var(--data); }   .sagd .dot.data, .sagd .band.data { fill: var(--data); }
.sagd .line.noise { stroke: var(--noise); } .sagd .dot.noise, .sagd .band.noise { fill: var(--noise); }
.sagd .line.mark { stroke: var(--mark); }   .sagd text.mark { fill: var(--mark); font-weight: 600; }
.sagd .span.mark { fill: var(--mark); }     .sagd .span.hole { fill: var(--hole); }
.sagd .line.ink { stroke: currentColor; }   .sagd .over { stroke: #000; fill: none; }
.sagd img { width: 100%; image-rendering: pixelated; border-radius: 3px; display: block; }
"""


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Attributes:
      low, high: its ends; of a logarithmic one both > 0.
      label: what it shows, with the unit.
      log: whether it is logarithmic.

    >>> Axis(0.01, 1, "frequency", log=True).place([0.1]).tolist()
    [0.5]
    >>> [text for _, text in Axis(0, 1, "time t").ticks()]
    ['0', '0.2', '0.4', '0.6', '0.8', '1']
    """

    low: float
    high: float
    label: str
    log: bool = False

    def place(self, values: ArrayLike) -> np.ndarray:
        """Where values lie between the ends, 0 to 1; those beyond are at the ends."""
        low, high, x = self.low, self.high, np.asarray(values, np.float64)
        if self.log:
            low, high, x = np.log(low), np.log(high), np.log(np.maximum(x, 1e-300))
        return np.clip((x - low) / (high - low), 0, 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts: round numbers, at most seven, three or more where the range has them."""
        values = _decades(self.low, self.high) if self.log else _steps(self.low, self.high)
        places = self.place(values)
        return [(float(p), f"{v:.6g}") for p, v in zip(places, values, strict=True)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        every = max(1, (last - first) // _MOST_TICKS + 1) if steps == (1,) else 1
        ticks = [s * 10.0**d for d in range(first, last + 1, every) for s in steps]
        ticks = [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
        if len(ticks) <= _MOST_TICKS:
            found = ticks
        if len(found) >= 3:
            break
    return found


def _steps(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = unit * next(s for s in (1, 2, 5, 10) if s * unit >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


class Chart:
    """A chart: what is drawn first lies below.

    Args:
      x, y: its axes.
      title: above it.
      size: width and height of the view box.
      drag: what a page may do with a drag over it; written into the SVG for its script.

    >>> chart = Chart(Axis(0, 1, "t"), Axis(0, 2, "y"), "a line")
    >>> chart.line([0, 1], [0, 2], "data")
    >>> chart.svg()[:4], chart.svg().count("<polyline")
    ('<svg', 1)
    """

    def __init__(
        self,
        x: Axis,
        y: Axis,
        title: str,
        size: tuple[int, int] = (460, 280),
        drag: str = "",
    ):
        self.x, self.y, self._title, self._size, self._drag = x, y, title, size, drag
        self._parts: list[str] = []
        self._over: list[str] = []

    @property
    def _inside(self) -> tuple[float, float]:
        return self._size[0] - _LEFT - _RIGHT, self._size[1] - _TOP - _BOTTOM

    def _points(self, x: ArrayLike, y: ArrayLike) -> np.ndarray:
        width, height = self._inside
        return np.stack(
            [_LEFT + width * self.x.place(x), _TOP + height * (1 - self.y.place(y))], axis=-1
        )

    def line(self, x: ArrayLike, y: ArrayLike, style: str) -> None:
        """A line through points `(n,)`, broken where y is not a number."""
        points, there = self._points(x, y), np.isfinite(np.asarray(y, np.float64))
        starts = np.flatnonzero(np.diff(np.concatenate([[0], there, [0]])) == 1)
        ends = np.flatnonzero(np.diff(np.concatenate([[0], there, [0]])) == -1)
        for start, end in zip(starts, ends, strict=True):
            self._parts.append(
                f'<polyline class="line {style}" points="{_text(points[start:end])}"/>'
            )

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, style: str) -> None:
        """What lies between two lines, each `(n,)`."""
        around = np.concatenate([self._points(x, low), self._points(x, high)[::-1]])
        self._parts.append(f'<polygon class="band {style}" points="{_text(around)}"/>')

    def dots(self, x: ArrayLike, y: ArrayLike, style: str) -> None:
        """Points `(n,)`."""
        for px, py in self._points(x, y):
            self._parts.append(f'<circle class="dot {style}" cx="{px:.1f}" cy="{py:.1f}" r="1.7"/>')

    def span(self, low: float, high: float, style: str, text: str = "") -> None:
        """A part of the x axis, over the whole height, at least a hair wide; its text stands above."""
        width, height = self._inside
        left, right = _LEFT + width * self.x.place([low, high])
        right = max(right, left + 1.5)
        self._parts.append(
            f'<rect class="span {style}" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" '
            f'height="{height}"/>'
        )
        if text:
            self._over.append(
                f'<text class="{style}" x="{(left + right) / 2:.1f}" y="{_TOP + 12}" '
                f'text-anchor="middle">{html.escape(text)}</text>'
            )

    def time(self, t: float) -> None:
        """A vertical line at a value of the x axis."""
        ((x, y0), (_, y1)) = self._points([t, t], [self.y.low, self.y.high])
        self._parts.append(f'<path class="line mark" d="M{x:.1f} {y0:.1f}V{y1:.1f}"/>')

    def raster(self, picture: np.ndarray) -> None:
        """A picture `(height, width, 1 or 3)`, uint8, over the whole frame, its first row above."""
        width, height = self._inside
        self._parts.append(
            f'<image x="{_LEFT}" y="{_TOP}" width="{width}" height="{height}" '
            f'preserveAspectRatio="none" href="{data_uri(picture)}"/>'
        )

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        """What lines are, at the lower left: (style, words)."""
        bottom = self._size[1] - _BOTTOM - 8 - 13 * (len(entries) - 1)
        for i, (style, words) in enumerate(entries):
            y = bottom + 13 * i
            self._over.append(
                f'<path class="line {style}" d="M{_LEFT + 8} {y - 4}h18"/>'
                f'<text x="{_LEFT + 31}" y="{y}">{html.escape(words)}</text>'
            )

    def svg(self) -> str:
        """The chart."""
        width, height = self._size
        bottom, right = height - _BOTTOM, width - _RIGHT
        inner_width, inner_height = self._inside
        axes = []
        for place, text in self.x.ticks():
            x = _LEFT + inner_width * place
            axes.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
            axes.append(f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{text}</text>')
        for place, text in self.y.ticks():
            y = _TOP + inner_height * (1 - place)
            axes.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            axes.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        middle = (_TOP + bottom) / 2
        words = (
            f'<text x="{(_LEFT + right) / 2}" y="{height - 8}" text-anchor="middle">'
            f"{html.escape(self.x.label)}</text>"
            f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
            f"{html.escape(self.y.label)}</text>"
            f'<text x="{_LEFT}" y="14" font-weight="600">{html.escape(self._title)}</text>'
        )
        frame = f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{inner_width}" height="{inner_height}"/>'
        drag = ""
        if self._drag:
            drag = (
                f'<rect data-drag="{self._drag}" data-low="{self.x.low}" data-high="{self.x.high}" '
                f'x="{_LEFT}" y="{_TOP}" width="{inner_width}" height="{inner_height}" '
                'fill="transparent" style="cursor: col-resize"/>'
            )
        return (
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(self._title)}">'
            + "".join([*axes, *self._parts, frame, words, *self._over, drag])
            + "</svg>"
        )


def _text(points: np.ndarray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def data_uri(picture: np.ndarray) -> str:
    """`(height, width, 1 or 3)` uint8 as the address of a picture that holds itself."""
    return "data:image/png;base64," + base64.b64encode(png(picture, level=1)).decode()


def image(picture: np.ndarray, title: str, below: str = "") -> str:
    """A picture `(height, width, 1 or 3)`, uint8, with words above and below it, as HTML."""
    words = html.escape(title)
    return (
        f'<figure><figcaption><b>{words}</b></figcaption><img alt="{words}" '
        f'src="{data_uri(picture)}"/><figcaption>{html.escape(below)}</figcaption></figure>'
    )


def diverging(values: ArrayLike, largest: float) -> np.ndarray:
    """Numbers as colours, `(..., 3)` uint8: -largest orange, 0 nearly white, largest purple.

    >>> diverging([-9, 0, 9], 9).tolist()
    [[127, 59, 8], [246, 246, 247], [45, 0, 75]]
    """
    return _coloured(np.asarray(values, np.float64) / (2 * largest) + 0.5, _PUOR)


def sequential(values: ArrayLike) -> np.ndarray:
    """Numbers from 0 to 1 as colours, `(..., 3)` uint8, from nearly black over blue to pale yellow."""
    return _coloured(
        np.asarray(values, np.float64),
        np.array([[13, 8, 45], [20, 60, 120], [30, 125, 145], [90, 185, 140], [240, 245, 170]]),
    )


def _coloured(fraction: np.ndarray, colours: np.ndarray) -> np.ndarray:
    table = np.stack(
        [np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(colours)), c) for c in colours.T],
        axis=-1,
    )
    index = np.nan_to_num(np.clip(fraction, 0, 1) * 255).round().astype(int)
    return table[index].round().astype(np.uint8)
