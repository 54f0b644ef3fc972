"""Figures: what is drawn is what was given, axes have names and units, and compared panels one scale."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

import sagd_jax as sagd
from sagd_jax import plots
from sagd_jax.show import palette
from sagd_jax.show.plots import labels

COSINE = sagd.schedules.cosine()


def lines(axis):
    return {line.get_label(): line for line in axis.lines}


def words(figure):
    """All titles and names of axes."""
    return {w for a in figure.axes for w in (a.get_title(), a.get_xlabel(), a.get_ylabel()) if w}


def test_plots_are_public_and_say_what_they_return():
    assert sagd.plots is plots and {"noise_fields", "trajectories"} <= set(plots.__all__)
    assert all(callable(getattr(plots, name)) for name in plots.__all__)


def test_noise_has_the_spectrum_that_is_said_and_one_scale():
    figure = plots.noise_fields(
        {"low": sagd.power_law((32, 32), -0.5), "white": sagd.white((32, 32))}, draws=16
    )
    low, white = figure.axes[2:]
    r, power = lines(low)["variance (4)"].get_data()
    np.testing.assert_allclose(np.diff(np.log(power)) / np.diff(np.log(r)), -1, atol=0.1)
    np.testing.assert_allclose(lines(white)["variance (4)"].get_ydata(), 1)
    drawn = white.containers[0].lines[0].get_ydata()
    assert np.all(np.abs(drawn / 1 - 1) < 0.5) and abs(drawn.mean() - 1) < 0.05
    assert low.get_ylim() == white.get_ylim() and low.get_xlim() == white.get_xlim()
    assert words(figure) >= {"low", "white", "radial frequency (cycles per sample)"}
    alone = plots.noise_fields(sagd.power_law((16, 16), -1, basis="cosine"), draws=4)
    assert "variance (4)" not in lines(alone.axes[1]) and alone.axes[1].containers
    with pytest.raises(ValueError, match=r"covariances\['x'\]: of signals of shape \(8,\)"):
        plots.noise_fields({"x": sagd.white((8,))})


def test_processes_share_one_draw_and_one_grey_scale():
    image = np.linspace(-1, 1, 64).reshape(8, 8, 1)
    given = {"white": sagd.Diffusion(COSINE, sagd.white((8, 8)))}
    given["again"] = given["white"]
    figure = plots.processes(image, given, times=(0, 0.5, 1))
    shown = [a.images[0].get_array() for a in figure.axes if a.images]
    for first, second in zip(shown[:3], shown[3:6], strict=True):
        np.testing.assert_array_equal(first, second)
    expected = np.round(((image / 1.25) + 1) * 127.5).astype(np.uint8)
    np.testing.assert_allclose(shown[0][..., :1], expected, atol=1)
    with pytest.raises(ValueError, match="image: of a; expected one image"):
        plots.processes({"a": image}, given)


def test_the_map_of_a_process_is_even_where_data_and_noise_are():
    """White noise on data of power S: even where alpha^2 S = sigma^2, on cosine where tan^2 = S."""
    process = sagd.Diffusion(COSINE, sagd.white((16, 16)))
    spectrum = 0.01 * np.ones((16, 16, 1))
    figure = plots.process_map(process, spectrum=spectrum)
    left, right = figure.axes[:2]
    np.testing.assert_allclose(left.lines[0].get_xdata(), 0.01)
    assert left.get_ylim() == right.get_ylim()
    even = right.collections[1].get_paths()[0].vertices
    np.testing.assert_allclose(even[:, 0], np.arctan(0.1) * 2 / np.pi, atol=0.01)
    assert words(figure) >= {"power of the data", "time t", "frequency (cycles per sample)"}
    x = 0.1 * np.random.default_rng(0).normal(size=(300, 16, 16, 1))
    drawn = plots.process_map(process, data=x).axes[0].lines[0].get_xdata()
    np.testing.assert_allclose(drawn, 0.01, rtol=0.2)


def test_what_no_map_is_drawn_of():
    process = sagd.Diffusion(COSINE, sagd.white((8, 8)))
    with pytest.raises(ValueError, match="expected one of them"):
        plots.process_map(process, data=np.ones((2, 8, 8, 1)), spectrum=np.ones((8, 8, 1)))
    with pytest.raises(ValueError, match=r"spectrum: shape \(8, 5, 1\)"):
        plots.process_map(process, spectrum=np.ones((8, 5, 1)))
    stack = sagd.Diffusion(COSINE, sagd.stack([sagd.white((8, 8))] * 2))
    with pytest.raises(ValueError, match=r"choose one, diffusion\.at\(0\)"):
        plots.process_map(stack)


def test_spectra_are_those_of_the_sets_with_two_errors():
    data, samples = np.random.default_rng(0).normal(size=(2, 400, 16, 16, 1))
    figure = plots.radial_spectra({"data": data, "samples": 2 * samples})
    top, bottom = figure.axes
    np.testing.assert_allclose(lines(top)["data"].get_ydata(), 1, atol=0.15)
    np.testing.assert_allclose(lines(top)["samples"].get_ydata(), 4, atol=0.6)
    radius, power, error = sagd.power_spectrum.radial_profile(
        sagd.power_spectrum.estimate(data, window="none")
    )
    band = top.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx((power + 2 * error).max(), rel=0.2)
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), 4, atol=0.6)
    assert bottom.get_xlabel() == "radial frequency (cycles per sample)"
    assert top.get_xlim() == bottom.get_xlim() and len(radius) == len(power)
    with pytest.raises(ValueError, match=r"sets\['b'\]: shape \(1, 8, 1\)"):
        plots.radial_spectra({"a": np.ones((2, 8, 1)), "b": np.ones((1, 8, 1))})


def test_a_hole_does_not_squeeze_the_rest():
    x = np.random.default_rng(0).normal(size=(20, 32, 32, 1))
    band = sagd.band_pass((32, 32), [(0, 0.2), (0.3, 1)], unit="cycles")
    figure = plots.radial_spectra({"clean": x, "hole": np.asarray(band.project(x))})
    assert figure.axes[0].get_ylim()[0] > 1e-5 and figure.axes[1].get_ylim()[0] >= 1e-4


def test_errors_stand_by_band_and_step():
    errors = np.array([[1, 2, np.nan], [0.5, 1, np.nan]])
    figure = plots.band_errors([0, 100], errors, (0, 0.3, 0.6, 1), 0.1 * errors)
    (axis,) = figure.axes
    assert list(lines(axis)) == ["0 to 0.3", "0.3 to 0.6"]
    np.testing.assert_array_equal(lines(axis)["0.3 to 0.6"].get_ydata(), [2, 1])
    assert axis.get_xlabel() == "training step" and "per coefficient" in axis.get_ylabel()
    with pytest.raises(ValueError, match=r"expected \(2, 2\), the points and the bands"):
        plots.band_errors([0, 100], errors, (0, 0.5, 1))


def toy():
    means = jnp.array([[1.5, 0.0], [-1.5, 0.0]])[..., None]
    data = sagd.oracle.GaussianMixture(jnp.full(2, 0.5), means, jnp.stack([0.01 * jnp.eye(2)] * 2))
    tilted = sagd.from_variance(np.array([[1.8], [0.2]]), (2,))
    return data, {
        "white": sagd.Diffusion(COSINE, sagd.white((2,))), "tilted": sagd.Diffusion(COSINE, tilted),
    }  # fmt: skip


def test_ways_lead_from_the_noise_to_the_data():
    data, given = toy()
    figure = plots.trajectories(data, given, count=30, num_steps=40)
    white, tilted = figure.axes
    assert white.get_xlim() == tilted.get_xlim() == white.get_ylim() == tilted.get_ylim()
    start = np.stack(lines(tilted)["start, t = 1"].get_data())
    along, across = start.sum(0).var() / 2, (start[0] - start[1]).var() / 2
    assert along / across > 3  # 9 in the mean
    for axis in figure.axes:
        x, y = lines(axis)["sample, t = 0"].get_data()
        assert np.all(np.abs(np.abs(x) - 1.5) < 0.5) and np.all(np.abs(y) < 0.5)
    with pytest.raises(ValueError, match=r"of signals of shape \(3,\); expected \(2,\)"):
        plots.trajectories(data, sagd.Diffusion(COSINE, sagd.white((3,))))


def test_arrows_are_the_score():
    data, given = toy()
    figure = plots.score_fields(data, given, times=(0.3, 0.9), limit=2, side=5)
    assert len(figure.axes) == 4 and figure.axes[0].get_title() == "t = 0.3"
    arrows = figure.axes[3].collections[0]
    score = np.asarray(data.score(arrows.XY[:, :, None], given["tilted"], 0.9))[..., 0]
    drawn = np.stack([arrows.U, arrows.V], axis=-1)
    length = np.linalg.norm(score, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=-1), np.log1p(length), rtol=1e-3)
    np.testing.assert_allclose(np.sum(drawn * score, -1), np.log1p(length) * length, rtol=1e-3)


def test_images_stand_over_their_classes():
    samples = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.full((4, 4, 1), 100, np.uint8)
    figure = plots.class_grid(samples, [2, 0, 1], ["a", "b", "c"])
    assert [axis.get_xlabel() for axis in figure.axes] == ["c", "a", "b"]
    assert [axis.images[0].get_array()[0, 0, 0] for axis in figure.axes] == [0, 100, 200]
    for labels_, match in (
        ([0, 1], "labels: int64 of shape"),
        ([0, 1, 3], "there are labels 0 to 3"),
    ):
        with pytest.raises(ValueError, match=match):
            plots.class_grid(samples, labels_, ["a", "b", "c"])


def test_sets_stand_side_by_side_with_their_spectra():
    x = np.random.default_rng(0).normal(size=(20, 16, 16, 1)) / 4
    figure = plots.side_by_side({"clean": x, "louder": 2 * x}, band=(0.2, 0.3), shown=3)
    images = [axis for axis in figure.axes if axis.images]
    assert len(images) == 6 and {"clean", "louder"} <= words(figure)
    ratio = next(axis for axis in figure.axes if axis.get_ylabel() == "over clean")
    np.testing.assert_allclose(ratio.lines[0].get_ydata(), 4)
    (shade,) = ratio.patches
    assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((0.2, 0.3))


def test_a_tone_stands_at_its_frequency_on_one_scale():
    t = np.arange(4000) / 4000
    loud, quiet = (a * np.sin(2 * np.pi * 1000 * t)[:, None] for a in (1, 0.1))
    figure = plots.spectrograms({"loud": loud, "quiet": quiet}, 4000)
    first, second = (axis.images[0] for axis in figure.axes[:2])
    rows = first.get_array()
    peak = (np.argmax(rows[:, rows.shape[1] // 2]) + 0.5) / len(rows) * first.get_extent()[3]
    assert peak == pytest.approx(1, abs=0.05)
    assert first.get_clim() == second.get_clim() == (-80, 0)
    assert first.get_array().max() - second.get_array().max() == pytest.approx(20, abs=0.1)
    assert words(figure) >= {"frequency (kHz)", "time (s)", "dB below the loudest"}
    with pytest.raises(ValueError, match="8 samples, window=64"):
        plots.spectrograms(np.zeros((8, 1)))


def test_frames_stand_under_their_times_and_move(tmp_path):
    clip = (np.arange(9)[:, None, None, None] * 20 * np.ones((4, 6, 1))).astype(np.uint8)
    figure = plots.contact_sheet(clip, 4, frames=3)
    assert [axis.get_title() for axis in figure.axes] == ["0 s", "1 s", "2 s"]
    assert [axis.images[0].get_array()[0, 0, 0] for axis in figure.axes] == [0, 80, 160]
    plots.write_gif(tmp_path / "x.gif", clip, 4)
    with Image.open(tmp_path / "x.gif") as image:
        assert image.n_frames == 9 and image.info["duration"] == 250
    with pytest.raises(ValueError, match="frames; expected one length"):
        plots.contact_sheet({"a": clip, "b": clip[1:]})


@pytest.mark.parametrize(("count", "spread"), [(3, 0.0), (14, 0.02), (40, 0.05)])
def test_numbers_of_findings_do_not_overlap(count, spread):
    """Neither over an axis nor in a plane, wherever the findings are."""
    places = 10 ** (-0.7 + spread * np.linspace(-1, 1, count))
    given = [(str(i + 1), float(x), palette.VERMILION) for i, x in enumerate(places)]
    for write, items in (
        (labels.above, given),
        (labels.in_plane, [(w, (x, x), c) for w, x, c in given]),
    ):
        figure = plots.frame.new_figure((5.2, 4.6))
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.loglog([0.02, 0.7], [0.02, 0.7])
        write(axes, items)
        canvas.draw()
        boxes = [Text.get_window_extent(text) for text in axes.texts]  # without their lines
        assert len(boxes) == count
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2)), write
        inside = figure.bbox
        assert all(inside.x0 <= b.x0 and b.x1 <= inside.x1 and b.y1 <= inside.y1 for b in boxes)


def test_the_picture_of_the_spectrum_tool_numbers_its_findings():
    x = np.asarray(sagd.white((32, 32)).sample(jax.random.key(0), (200, 32, 32, 1))) / 5
    wave = np.cos(2 * np.pi * 0.25 * np.arange(32) + np.arange(200)[:, None])[:, None, :, None]
    analysis = sagd.analysis.analyse(x + wave / 5)
    figure = plots.data_spectrum(analysis)
    left, right = figure.axes[:2]
    assert [t.get_text() for t in left.texts] == [t.get_text() for t in right.texts] == ["1"]
    assert left.texts[0].get_color() == palette.VERMILION
    drawn = lines(left)["mean (band: 2 standard errors)"].get_ydata()
    np.testing.assert_array_equal(drawn, sagd.power_spectrum.radial_profile(analysis.spectrum)[1])


def test_lines_are_told_apart_without_colours():
    """As grey the first six differ in lightness or, where they do not, in their markers."""
    assert len({palette.marker(i) for i in range(6)}) == 6
    assert to_hex(palette.line(0)) != to_hex(palette.line(1)) and palette.line(6) == palette.line(0)
    assert palette.marker(0) != palette.marker(6)


@pytest.mark.parametrize("bad", [np.full((2, 8, 8, 1), np.nan), np.zeros((0, 8, 8, 1)), ["a"]])
def test_what_cannot_be_drawn_is_refused_in_a_line(bad):
    for draw in (plots.class_grid, plots.radial_spectra, plots.contact_sheet):
        with pytest.raises(ValueError, match=r"^(samples|sets|clips): "):
            draw(bad)
