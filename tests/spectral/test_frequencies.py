import dense
import numpy as np
import pytest

from sagd_jax.spectral import frequencies as fq
from sagd_jax.spectral.half_grid import half_grid_shape

SHAPES = [(1,), (2,), (8,), (9,), (8, 8), (7, 9), (8, 1), (1, 8), (6, 7, 8), (4, 5, 1)]


def folded_radius(spatial_shape):
    """Distance of each bin of the full grid to DC, counting both ways round."""
    radius = np.empty(spatial_shape)
    for index in np.ndindex(*spatial_shape):
        cycles = [min(k, n - k) / n for k, n in zip(index, spatial_shape, strict=True)]
        radius[index] = np.sqrt(np.sum(np.square(cycles)))
    return radius


@pytest.mark.parametrize("shape", SHAPES)
def test_radial_frequency_is_the_distance_to_dc(shape):
    radius = fq.radial_frequency(shape)
    assert radius.dtype == np.float64
    assert radius.shape == half_grid_shape(shape)
    full = dense.full_grid(radius[..., None], shape)[..., 0]
    np.testing.assert_allclose(full, folded_radius(shape), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_units(shape):
    cycles = fq.radial_frequency(shape, "cycles")
    np.testing.assert_allclose(fq.radial_frequency(shape, "nyquist"), 2 * cycles)
    relative = fq.radial_frequency(shape, "max")
    largest = folded_radius(shape).max()
    np.testing.assert_allclose(relative * largest, cycles, atol=1e-15)
    assert relative.max() == (1 if largest > 0 else 0)


def test_frequency_vectors_have_signs():
    vertical, horizontal = fq.frequency_vectors((4, 5))
    np.testing.assert_allclose(vertical, [[0], [0.25], [-0.5], [-0.25]])
    np.testing.assert_allclose(horizontal, [[0, 0.2, 0.4]])


@pytest.mark.parametrize("shape", [(), (0,), (4, -1), (2, 3, 4, 5), 8, (2.5,), ("8",)])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="spatial_shape"):
        fq.radial_frequency(shape)


def test_bad_unit_is_refused():
    with pytest.raises(ValueError, match=r"unit='hertz'.*'cycles', 'nyquist', 'max'"):
        fq.radial_frequency((8,), unit="hertz")
