"""Few steps on 8x8 digits: consistency models against the diffusion models that they were tuned from.

    python -m sagd_jax.experiment experiments/digits_consistency.py --jobs=2

Under white noise, a tilt and equal-SNR: 1, 2 and 4 steps of the tuned model (2,000 steps of tuning) against
4, 8, 16 and 50 of DDIM and DPM-Solver++.
"""

import runpy
from pathlib import Path

import sagd_jax as sagd

PROCESSES = {
    "white": {},
    "alpha -0.1": {"noise.kind": "power_law", "noise.alpha": -0.1},
    "equal-SNR": {"schedule.kind": "equal_snr", "schedule.basis": "cosine"},
}
# What configs/digits_consistency.py changes in configs/digits.py.
TUNED = {
    "objective.kind": "consistency",
    "objective.q": 4.0,
    "objective.stages": 4,
    "objective.stage_steps": 500,
    "train.num_steps": 2_000,
    "optimizer.learning_rate": 5e-4,
    "checkpoint.every": 500,
}


def get_experiment():
    family = runpy.run_path(str(Path(__file__).with_name("digits_family.py")))
    steps, arms = family["STEPS"], {}
    for name, process in PROCESSES.items():
        arms[name] = process
        arms[f"{name}, DPM-Solver++"] = sagd.Arm(process, {"method": "dpmpp_2m"})
        arms[f"{name}, consistency"] = sagd.Arm(
            {**process, **TUNED}, {"num_steps": (1, 2, 4)}, init_from=name
        )
    return sagd.Experiment(
        config="../configs/digits.py",
        arms=arms,
        fields={"preview.every": None},
        evaluate={"num_steps": steps, "num_samples": 1437},
        about="consistency models in 1, 2 and 4 steps on 8x8 digits",
    )
