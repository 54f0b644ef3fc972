"""The labels of plots."""

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sagd_jax.show.plots import _label_logarithmic


@pytest.mark.parametrize(
    ("low", "high", "some"),
    [
        (1 / 32, 0.7, "0.1"),
        (1 / 8, 0.7, "0.2"),
        (0.9, 1.1, "1"),
        (1e-3, 0.5, "0.01"),
        (1e-12, 1, "10^{-6}"),
    ],
)
def test_labels_of_a_logarithmic_axis_do_not_overlap(low, high, some):
    figure = Figure(figsize=(4.5, 4.5))
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.loglog([low, high], [1, 2])
    _label_logarithmic(axes.xaxis)
    canvas.draw()
    labels = [*axes.get_xticklabels(), *axes.get_xticklabels(minor=True)]
    texts = {label.get_text() for label in labels}
    assert any(some in text for text in texts), texts
    shown = [label.get_window_extent() for label in labels if label.get_text()]
    shown = [box for box in shown if box.width and axes.bbox.x0 <= box.x1 <= axes.bbox.x1 + 20]
    assert len(shown) >= 3
    boxes = sorted(shown, key=lambda box: box.x0)
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
