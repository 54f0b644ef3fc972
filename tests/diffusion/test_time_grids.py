import jax
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import oracle, time_grids

SCHEDULES = [
    sagd.schedules.linear_beta(),
    sagd.schedules.cosine(),
    sagd.schedules.rectified_flow(),
    sagd.schedules.edm(),
]


def ratio(schedule, t):
    return np.asarray(schedule.sigma(t) / schedule.alpha(t), np.float64)


def by_name(schedule):
    return type(schedule).__name__


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=by_name)
def test_grids_run_from_one_to_zero(schedule, steps):
    grids = [
        time_grids.uniform(steps),
        time_grids.uniform_log_snr(schedule, steps),
        time_grids.edm(schedule, steps),
    ]
    for grid in grids:
        assert grid.shape == (steps + 1,) and grid[0] == 1 and grid[-1] == 0
        np.testing.assert_array_equal(time_grids.check_times(grid), grid)


def test_uniform_is_uniform():
    np.testing.assert_allclose(np.diff(time_grids.uniform(10)), -0.1)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=by_name)
def test_log_snr_grid_has_equal_ratios(schedule):
    grid = time_grids.uniform_log_snr(schedule, 8, ratio_min=0.05, ratio_max=50)
    expected = 50 * 1e-3 ** (np.arange(8) / 7)
    np.testing.assert_allclose(ratio(schedule, grid[1:-1]), expected[1:], rtol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=by_name)
def test_edm_grid_is_karras_formula(schedule):
    grid = time_grids.edm(schedule, 8, rho=5, ratio_min=0.05, ratio_max=50)
    i = np.arange(8)
    expected = (50 ** (1 / 5) + i / 7 * (0.05 ** (1 / 5) - 50 ** (1 / 5))) ** 5
    np.testing.assert_allclose(ratio(schedule, grid[1:-1]), expected[1:], rtol=1e-4)


def test_edm_grid_on_the_edm_schedule_is_uniform_but_for_its_end():
    grid = time_grids.edm(sagd.schedules.edm(), 9, ratio_min=80 * 1e-7)
    np.testing.assert_allclose(grid[:-1], np.linspace(1, 0.1, 9), rtol=1e-5)


def test_the_default_end_is_the_schedule_s_own():
    edm = time_grids.uniform_log_snr(sagd.schedules.edm(), 3, ratio_min=0.8)
    np.testing.assert_allclose(ratio(sagd.schedules.edm(), edm[:-1]), [80, 8, 0.8], rtol=1e-5)
    flow = time_grids.uniform_log_snr(sagd.schedules.rectified_flow(), 3, ratio_min=0.1)
    np.testing.assert_allclose(flow[1], 10 / 11, rtol=1e-5)  # halfway from 1000 to 0.1


def test_grids_are_constants_under_jit():
    schedule = sagd.schedules.cosine()

    @jax.jit
    def inside():
        grid = time_grids.edm(schedule, 4)
        assert isinstance(grid, np.ndarray)
        return grid

    np.testing.assert_allclose(inside(), time_grids.edm(schedule, 4), rtol=1e-6)


@pytest.mark.parametrize(
    "grid",
    [[], [0.0], [1.0, 0.5], [1.0, 0.5, 0.5, 0.0], [0.0, 1.0], [1.1, 0.0], [[1.0, 0.0]],
     [1.0, float("nan"), 0.0], [1.0, 0.0, -0.1]],
    ids=str,
)  # fmt: skip
def test_explicit_grids_are_checked(grid):
    with pytest.raises(ValueError, match=r"times=.*strictly decreasing"):
        time_grids.check_times(grid)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: time_grids.uniform(2.5), "num_steps=2.5: expected an integer >= 1"),
        (lambda: time_grids.edm(SCHEDULES[0], 0), "num_steps=0"),
        (lambda: time_grids.edm(SCHEDULES[0], 4, rho=0), "rho=0"),
        (lambda: time_grids.edm(SCHEDULES[3], 4, ratio_max=81), "ratio_max=81.*<= 80"),
        (lambda: time_grids.uniform_log_snr(SCHEDULES[3], 4, ratio_min=0), "ratio_min=0"),
        (lambda: time_grids.uniform_log_snr(SCHEDULES[3], 4, ratio_min=90), "ratio_min=90"),
        (lambda: time_grids.uniform_log_snr(SCHEDULES[2], 4, ratio_max=np.inf), "ratio_max=inf"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_grids_by_name_are_the_functions():
    schedule = sagd.schedules.rectified_flow()
    for name, options, expected in (
        ("uniform", {}, time_grids.uniform(5)),
        ("uniform_log_snr", {}, time_grids.uniform_log_snr(schedule, 5)),
        (
            "uniform_log_snr",
            {"ratio_min": 0.1, "ratio_max": 9.0},
            time_grids.uniform_log_snr(schedule, 5, 0.1, 9.0),
        ),
        ("edm", {}, time_grids.edm(schedule, 5)),
        ("edm", {"rho": 2.0, "ratio_min": 0.3}, time_grids.edm(schedule, 5, 2.0, 0.3)),
    ):
        grid = time_grids.GRIDS[name].make(**options)
        np.testing.assert_array_equal(grid.times(schedule, 5), expected)


@pytest.mark.parametrize(("ratio_min", "kept"), [(0.01, 0.5), (0.03, 0.1), (0.001, 0.99)])
def test_the_last_step_keeps_the_energy_that_is_stated(ratio_min, kept):
    flow = sagd.schedules.rectified_flow()
    process = sagd.Diffusion(flow, sagd.white((16, 16)))
    data = oracle.FourierGaussian(np.zeros((16, 16, 1)), np.full((16, 9, 1), 1e-4))
    x0 = data.sample(jax.random.key(0), 64)
    grid = time_grids.uniform_log_snr(flow, 8, ratio_min=ratio_min)
    x_t, _ = process.diffuse(jax.random.key(1), x0, grid[-2])
    options = {"start": x_t, "times": grid[-2:], "prediction": "x0"}
    denoiser = data.denoiser(process, "x0")
    end = sagd.sample(jax.random.key(2), denoiser, process, x_t.shape, **options)
    energy = np.square(np.asarray(end, np.float64)).mean() / 1e-4
    assert energy == pytest.approx(kept, rel=0.05)
