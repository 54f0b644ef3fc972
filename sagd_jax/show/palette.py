"""The colours of all figures, those of reports too.

Lines are told apart by readers of any colour vision, and by their lightness where there is none: the
set of Okabe and Ito (2008). Heat maps grow lighter from end to end or, about 0, darken to both sides.
"""

from __future__ import annotations

BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, SKY, ORANGE = "#CC79A7", "#56B4E9", "#E69F00"
PLUM, GREY, BLACK = "#8E3A77", "#666666", "#000000"

LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
# The same for thin lines of reports: three to one at least against a light and against a dark ground.
ON_LIGHT = (BLUE, VERMILION, GREEN, "#B0518F", "#B07600", "#3B8FC4")
ON_DARK = (SKY, "#F28E4B", "#3CC9A0", "#E3A3C8", ORANGE, "#9AA7FF")
MARKERS = ("o", "s", "^", "D", "v", "P")

ONE_SIDED = "viridis"
TWO_SIDED = "PuOr"


def line(index: int) -> str:
    """The colour of line `index`; after the last the first comes again."""
    return LINES[index % len(LINES)]


def marker(index: int) -> str:
    """Its marker, with which even equal colours differ."""
    return MARKERS[(index + index // len(LINES)) % len(MARKERS)]
