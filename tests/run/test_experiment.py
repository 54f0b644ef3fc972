"""Experiments as data: what a file may say, and what it comes to."""

import textwrap

import pytest

import sagd_jax as sagd
from sagd_jax.run.experiment import (
    Arm,
    Experiment,
    ExperimentError,
    config_of,
    grid,
    read_experiment,
)


def write(folder, arms, more=""):
    (folder / "base.py").write_text(
        "import sagd_jax as sagd\n\ndef get_config():\n    return sagd.default_config()\n"
    )
    file = folder / "tilts.py"
    file.write_text(
        textwrap.dedent(f"""
        import sagd_jax as sagd

        def get_experiment():
            return sagd.Experiment(config="base.py", arms={arms}{more})
        """)
    )
    return str(file)


def test_an_arm_is_its_fields_on_top_of_those_of_all(tmp_path):
    arms = {"white": {}, "tilt": {"noise.kind": "power_law", "noise.alpha": -0.3}}
    file = write(tmp_path, arms, ', fields={"train.batch_size": 8}')
    experiment = read_experiment(file, ["--config.train.num_steps=5"])
    config = config_of(experiment, "tilt", 2, ["--config.train.num_steps=5"])
    assert (config.noise.alpha, config.train.batch_size, config.seed) == (-0.3, 8, 2)
    assert config.train.num_steps == 5 and config_of(experiment, "white", 0).noise.kind == "white"


def test_arms_with_the_same_fields_share_a_training():
    tilt = {"noise.kind": "power_law", "noise.alpha": 1.0}
    arms = {
        "white": {},
        "filtered": Arm({}, evaluate={"num_steps": 3}),
        "tilt": tilt,
        "tuned": Arm(tilt, init_from="white"),
        "tuned too": Arm(tilt, init_from="filtered"),
    }
    experiment = Experiment("config.py", arms, evaluate={"num_steps": 50, "seed": 1})
    trained = {arm: experiment.trained_as(arm) for arm in arms}
    assert trained["filtered"] == "white" and trained["tuned too"] == "tuned" != trained["tilt"]
    assert experiment.evaluation("filtered") == {"num_steps": 3, "seed": 1}


def test_the_arms_of_one_seed_are_paired(tmp_path):
    """One network's weights, the data and the white draws behind the noise depend on the seed alone."""
    import jax
    import numpy as np

    from sagd_jax.run import build

    arms = {"white": {}, "tilt": {"noise.kind": "power_law", "noise.alpha": -0.5}}
    experiment = read_experiment(write(tmp_path, arms))
    covariances = [
        build.covariance(config_of(experiment, arm, 0).noise, (8, 8)) for arm in ("white", "tilt")
    ]
    white, tilted = (c.sample(jax.random.key(0), (4, 8, 8, 1)) for c in covariances)
    np.testing.assert_allclose(covariances[1].pinv_sqrt(tilted), white, atol=1e-4)


def test_grid_has_all_combinations():
    arms = grid(a={"x": {"noise.alpha": 1.0}, "y": {}}, b={"1": {"seed": 1}, "2": {}})
    assert arms["x, 1"] == {"noise.alpha": 1.0, "seed": 1} and len(arms) == 4 and arms["y, 2"] == {}


@pytest.mark.parametrize(
    "arms, more, words",
    [
        ({"white": {}}, ", baseline='pink'", "no arm 'pink'; there are white"),
        ({}, "", "at least one arm"),
        ({"a b": {}, "a, b": {}}, "", "arms 'a b' and 'a, b' differ in signs"),
        ({"white": {}, "tilt": {"noise.alfa": 1}}, "", "arm 'tilt': .*alfa.*alpha"),
        ({"tilt": {"noise.kind": "pwr"}}, "", "arm 'tilt': .*noise.kind='pwr'"),
        (
            {"white": {}},
            ", seed=3",
            "Experiment has no argument 'seed'; expected some of config, arms",
        ),
    ],
)
def test_what_cannot_be_run_is_one_line(tmp_path, arms, more, words):
    with pytest.raises(ExperimentError, match=words) as error:
        read_experiment(write(tmp_path, arms, more))
    assert "\n" not in str(error.value) and "tilts.py" in str(error.value)


def test_a_file_that_is_none_is_one_line(tmp_path):
    write(tmp_path, {"white": {}})
    with pytest.raises(ExperimentError, match=r"no such file; there are: .*tilts.py"):
        read_experiment(str(tmp_path / "tilt.py"))
    with pytest.raises(ExperimentError, match="no function get_experiment"):
        read_experiment(str(tmp_path / "base.py"))
    assert sagd.Experiment is Experiment
