"""Plots: what is drawn of a process, what is refused, and labels that do not overlap."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import sagd_jax as sagd
from sagd_jax.show import plots
from sagd_jax.show.plots.frame import label_logarithmic


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
    label_logarithmic(axes.xaxis)
    canvas.draw()
    labels = [*axes.get_xticklabels(), *axes.get_xticklabels(minor=True)]
    texts = {label.get_text() for label in labels}
    assert any(some in text for text in texts), texts
    shown = [label.get_window_extent() for label in labels if label.get_text()]
    shown = [box for box in shown if box.width and axes.bbox.x0 <= box.x1 <= axes.bbox.x1 + 20]
    assert len(shown) >= 3
    boxes = sorted(shown, key=lambda box: box.x0)
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_images_stand_by_process_and_time(tmp_path):
    values = np.linspace(-1.25, 1.25, 6).reshape(2, 3, 1, 1, 1)
    images = np.broadcast_to(values, (2, 3, 8, 8, 1))
    figure = plots.forward_process(images, (0, 0.5, 1), ("white", "blur"))
    shown = [axis.images[0].get_array()[0, 0, 0] for axis in figure.axes]
    assert shown == [0, 51, 102, 153, 204, 255]
    assert [axis.get_ylabel() for axis in figure.axes] == ["white", "", "", "blur", "", ""]
    figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


@pytest.mark.parametrize(("times", "names"), [((0, 1), ()), ((0, 0.5, 1), ("one", "two"))])
def test_times_and_names_are_those_of_the_images(times, names):
    with pytest.raises(ValueError, match=r"images: 1 rows of 3"):
        plots.forward_process(np.zeros((1, 3, 4, 4, 1)), times, names)


@pytest.mark.parametrize("name", ["fourier", "cosine", "haar"])
def test_the_map_is_the_mean_over_each_ring(name):
    """l = 4 - 8 t - 6 r: in each cell the value at its own radius; the line where it is 0."""
    basis = sagd.bases.KINDS[name]((16, 16))
    times = np.linspace(0, 1, 11)
    log_snr = 4 - 8 * times[:, None, None, None] - 6 * basis.radius
    figure = plots.log_snr_map(basis.radius, times, log_snr)
    mesh = figure.axes[0].collections[0]
    drawn = mesh.get_array()
    low, high = figure.axes[0].get_ylim()
    assert low == 0 and high == pytest.approx(basis.radius.max(), abs=0.03)
    assert drawn[0, 0] == 4 and drawn.shape[1] == 11
    np.testing.assert_allclose(drawn[:, 0] - drawn[:, -1], 8)
    assert drawn[-1, 0] == pytest.approx(4 - 6 * high)
    (line,) = figure.axes[0].collections[1].get_paths()
    t, r = line.vertices.T
    np.testing.assert_allclose(4 - 8 * t - 6 * r, 0, atol=1e-6)


def test_infinities_are_shown_as_the_ends_of_the_scale():
    basis = sagd.bases.cosine((8, 8))
    values = np.where(basis.radius > 0.3, -np.inf, np.inf) * np.ones((3, 1, 1, 1))
    mesh = plots.log_snr_map(basis.radius, [0, 0.5, 1], values).axes[0].collections[0]
    assert set(np.unique(mesh.get_array())) >= {-10, 10}


def test_what_is_no_map():
    with pytest.raises(ValueError, match=r"expected \(3, 8, 8, 1 or channels\)"):
        plots.log_snr_map(sagd.bases.cosine((8, 8)).radius, [0, 0.5, 1], np.zeros((3, 8, 5, 1)))
    with pytest.raises(ValueError, match="no frequencies"):
        plots.log_snr_map(sagd.bases.sites((8, 8)).radius, [0, 1], np.zeros((2, 8, 8, 1)))
