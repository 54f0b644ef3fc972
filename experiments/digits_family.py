"""The family of processes on real 8x8 digits, one budget, paired arms.

    python -m sagd_jax.experiment experiments/digits_family.py --jobs=2

Eight ways of destroying a picture, and a control: white noise on another scalar schedule. The other
experiments on the family take their arms from here.
"""

import sagd_jax as sagd

ARMS = {
    "white": {},
    "equal-SNR": {"schedule.kind": "equal_snr", "schedule.basis": "cosine"},
    "blurring": {"schedule.kind": "blurring", "schedule.blur_max": 4.0},
    "shortest path": {"schedule.kind": "shortest_path", "schedule.basis": "cosine"},
    "alpha -0.3": {"noise.kind": "power_law", "noise.alpha": -0.3},
    "alpha +0.3": {"noise.kind": "power_law", "noise.alpha": 0.3},
    "flipped SNR": {"schedule.kind": "flipped_snr", "schedule.basis": "cosine"},
    "hierarchical": {"schedule.kind": "hierarchical", "schedule.softness": 1.0},
    "white, rectified flow": {"schedule.kind": "rectified_flow"},
}
STEPS = (4, 8, 16, 50)


def get_experiment():
    return sagd.Experiment(
        config="../configs/digits.py",
        arms=ARMS,
        fields={"preview.every": None},
        evaluate={"num_steps": STEPS, "num_samples": 1437},
        about="the family of processes on 8x8 digits, 2,800 steps of 64",
    )
