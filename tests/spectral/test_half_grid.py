"""The half grid against the whole one, bin by bin."""

import dense
import numpy as np
import pytest

from sagd_jax.spectral import half_grid

SHAPES = [(1,), (2,), (8,), (9,), (8, 8), (7, 9), (8, 1), (1, 8), (6, 7, 8), (4, 5, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_multiplicity_counts_the_full_grid(shape):
    values = np.random.default_rng(0).random(half_grid.half_grid_shape(shape))
    full = dense.full_grid(values[..., None], shape)
    weights = half_grid.hermitian_multiplicity(shape)
    np.testing.assert_allclose(np.sum(values * weights), full.sum(), rtol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_conjugate_is_the_value_at_minus_f(shape):
    values = np.random.default_rng(1).random((*half_grid.half_grid_shape(shape), 2))
    conjugate = half_grid.conjugate(values, shape)
    for index in np.ndindex(*half_grid.half_grid_shape(shape)):
        mirrored = tuple(-k % n for k, n in zip(index, shape, strict=True))
        on_half_grid = mirrored[-1] < values.shape[-2]
        expected = values[mirrored] if on_half_grid else values[index]
        np.testing.assert_array_equal(conjugate[index], expected)


def test_grid_size():
    assert half_grid.grid_size((6, 7, 8)) == 336


@pytest.mark.parametrize("shape", SHAPES)
def test_the_whole_grid_and_back(shape):
    radius = np.random.default_rng(2).random((*half_grid.half_grid_shape(shape), 1))
    values = (radius + half_grid.conjugate(radius, shape))[..., 0]
    full = half_grid.to_full_grid(values, shape)
    np.testing.assert_allclose(full, dense.full_grid(values[..., None], shape)[..., 0])
    np.testing.assert_array_equal(half_grid.to_half_grid(full), values)
    np.testing.assert_array_equal(half_grid.opposite(full), full)


@pytest.mark.parametrize("shape", SHAPES)
def test_real_coefficients_count_the_sites(shape):
    degrees, bins = half_grid.degrees_of_freedom(shape), half_grid.unique_bins(shape)
    assert degrees[bins].sum() + 1 == half_grid.grid_size(shape)  # and DC


def test_dilation_goes_round_the_borders():
    full = np.zeros((5, 6), bool)
    full[0, 0] = True
    assert half_grid.dilate(full, 1).sum() == 5
    assert half_grid.dilate(full, 1)[-1, 0] and half_grid.dilate(full, 1)[0, -1]
    assert half_grid.dilate(full, 1.5).sum() == 9
