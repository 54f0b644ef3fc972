"""Learned levels on Gaussian fields whose amplitude falls as r^-1.5, on which what is best is known.

    python -m sagd_jax.experiment experiments/falling_learned.py --jobs=2

The arms of experiments/digits_learned.py. experiments/rising_learned.py has the same on a rising spectrum.
"""

import runpy
from pathlib import Path

import sagd_jax as sagd

SLOPE = -1.5


def get_experiment(slope=SLOPE):
    digits = runpy.run_path(str(Path(__file__).with_name("digits_learned.py")))
    return sagd.Experiment(
        config="../configs/synthetic.py",
        arms=digits["arms_of"]((-0.5, -0.2, 0.2, 0.5)),
        fields={
            "data.field_alpha": slope,
            "preview.every": None,
            "noise.kind": "white",
            "noise.alpha": 0.0,
            "schedule.kind": "cosine",
            "model.prediction": "v",
        },
        baseline="line",
        evaluate={"num_steps": digits["STEPS"], "num_samples": 2000, "metrics": digits["METRICS"]},
        about=f"learned levels on 16x16 Gaussian fields of amplitude r^{slope}, 1,000 steps of 32",
    )
