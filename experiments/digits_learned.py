"""Learned levels on 8x8 digits: the bound of T steps and the samples of 4, 8 and 16, against given spectra.

    python -m sagd_jax.experiment experiments/digits_learned.py --jobs=2

A path per frequency and a slope, each learned on the bound of 8 steps beside the network; the path that they
begin with, one line of the log-SNR for all frequencies; power laws of a sweep on that line; and white noise
and equal-SNR on the cosine schedule of all other experiments. The experiment on fields takes its arms from
here.
"""

import sagd_jax as sagd

PATH = {
    "schedule.kind": "learned",
    "schedule.basis": "cosine",
    "objective.path_steps": 8,
    "objective.path_learning_rate": 1e-2,
}
SLOPE = {**PATH, "schedule.kind": "learned_slope"}
FROZEN = {"objective.path": "frozen"}
STEPS = (4, 8, 16)
METRICS = ("kernel", "spectral", "spectral_full", "bound")


def arms_of(sweep):
    """The arms that learn and their rivals, with power laws of some slopes."""
    laws = {
        f"line, alpha {alpha:+g}": {**SLOPE, **FROZEN, "schedule.slope": alpha} for alpha in sweep
    }
    return {
        "white": {},
        "equal-SNR": {"schedule.kind": "equal_snr", "schedule.basis": "cosine"},
        "line": {**PATH, **FROZEN},
        **laws,
        "learned path": PATH,
        "learned slope": SLOPE,
    }


def get_experiment():
    return sagd.Experiment(
        config="../configs/digits.py",
        arms=arms_of((-0.3, -0.1, 0.1, 0.3)),
        fields={"preview.every": None, "train.num_steps": 1_400},
        baseline="line",
        evaluate={"num_steps": STEPS, "num_samples": 1437, "metrics": ("frechet", *METRICS)},
        about="learned levels on 8x8 digits, 1,400 steps of 64",
    )
