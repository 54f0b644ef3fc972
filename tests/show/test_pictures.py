"""Pictures of signals with one, two and three spatial axes."""

import numpy as np
import pytest
from PIL import Image

import sagd_jax as sagd
from sagd_jax.show import pictures, plots, words
from sagd_jax.spectral.analysis import analyse


def test_a_grid_holds_the_images_enlarged_by_whole_factors():
    images = np.arange(4 * 48 * 48, dtype=np.uint32).reshape(4, 48, 48, 1).astype(np.uint8)
    grid = pictures.grid(images)
    assert grid.shape == (2 * 48 + 3 * 2, 2 * 48 + 3 * 2, 1)
    np.testing.assert_array_equal(grid[2:50, 52:100, 0], images[1, ..., 0])
    small = pictures.grid(images[:1, :24, :24])
    np.testing.assert_array_equal(small[2:50:2, 2:50:2, 0], images[0, :24, :24, 0])


@pytest.mark.parametrize("shape", [(3, 100, 1), (3, 8, 8, 3), (3, 8, 8, 4), (3, 5, 8, 8, 1)])
def test_every_kind_of_signal_makes_a_picture(shape):
    grid = pictures.grid(np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32))
    grey = len(shape) > 3 and shape[-1] == 1
    assert grid.dtype == np.uint8 and grid.shape[-1] == (1 if grey else 3) and grid.min() < 255


def test_floats_are_mapped_from_minus_one_to_one():
    np.testing.assert_array_equal(
        pictures.to_uint8(np.array([-1.0, 0.0, 1.0, 2.0])), [0, 128, 255, 255]
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(3, 100, 1), (3, 8, 8, 3), (3, 2, 8, 8, 1)])
def test_what_is_not_finite_makes_no_picture(shape, bad):
    x = np.zeros(shape, np.float32)
    x[1, 1] = bad
    for draw in (pictures.grid, pictures.to_uint8, sagd.to_uint8):
        with pytest.raises(ValueError, match=r"samples: \d+ of \d+ values are not finite"):
            draw(x)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGB")])
def test_a_png_has_the_colours_of_the_sample(tmp_path, channels, mode):
    sample = np.arange(16 * channels, dtype=np.uint8).reshape(4, 4, channels)
    pictures.write_png(tmp_path / "x.png", pictures.image(sample))
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == mode
        read = np.asarray(image).reshape(4, 4, -1)
    np.testing.assert_array_equal(read, sample[..., : read.shape[-1]])


def test_a_png_replaces_the_one_before(tmp_path):
    for value in (0, 200):
        pictures.write_png(tmp_path / "a" / "x.png", np.full((4, 5, 3), value, np.uint8))
    with Image.open(tmp_path / "a" / "x.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.full((4, 5, 3), 200))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.png"]


@pytest.mark.parametrize("shape", [(64,), (16, 16), (8, 8, 8)])
def test_a_spectrum_is_drawn(shape, tmp_path):
    import jax

    batch = sagd.power_law(shape, -0.5).sample(jax.random.key(0), (50, *shape, 1))
    plots.plot_spectrum(analyse([np.asarray(batch)]), tmp_path / "spectrum.png")
    with Image.open(tmp_path / "spectrum.png") as image:
        assert image.size[0] > 1000 and len(image.getcolors(1 << 24)) > 50


def test_a_covariance_in_words():
    line = words.describe_covariance(sagd.band_pass((8, 8), [(0, 0.5)]), 3, "band_pass")
    assert line.startswith("band_pass, rank ") and " of 192, " in line
    assert line.endswith("0.0% 0.0%")  # nothing in the upper half of the radius
