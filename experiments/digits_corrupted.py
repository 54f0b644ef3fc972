"""Learning from corrupted digits: all ways, with one number of updates, for a band and for moire.

    python -m sagd_jax.experiment experiments/digits_corrupted.py --jobs=2

Every example has the corruption, or nine in ten where that is said; samples are judged against clean
digits. Nothing is clipped, since corrupted data have no bounds.

* clean: trained without the corruption, what cannot be beaten;
* as it is; filtered data; filtered samples: the trivial ways;
* hole: no noise in the band, so that nothing of it is learned or drawn;
* capped: learned from at the levels above N(f), no example clean;
* capped, 10 % clean;
* EM: the same, and two rounds of restoring and training, a third of the updates each.

A tone is not Gaussian: next to its N there has to be more noise than itself, a margin of 10, as
`sagd spectrum` says of tones. "Small margin" is what happens without.

Filling the band of filtered samples by spectral inpainting needs a network that has seen clean bands, hence
the clean examples with which capped levels need no filling.
"""

import sagd_jax as sagd

# Each with the radii in `max` that hold it.
BAND = {"data.corruption": "band", "data.corruption_band": (0.4, 0.6)}
MOIRE = {
    "data.corruption": "moire",
    "data.corruption_frequency": (0.25, 0.25),
    "data.corruption_strength": 0.7,
}
NUM_STEPS = 1_400


def arms_of(name, corruption, band, num_steps=NUM_STEPS, em_steps=50, margin=None):
    """The arms of one corruption, which lies within a band of radii."""
    low, high = band
    hole = {"noise.kind": "band_pass", "noise.bands": ((0.0, low), (high, 1.0))}
    small = {"schedule.kind": "capped", "schedule.corruption": ("planted",)}
    capped = {**small, "schedule.margin": margin} if margin else small
    some = {
        **corruption,
        **capped,
        "data.corrupted_fraction": 0.9,
        "schedule.restoring_share": 0.15,
    }
    em = {
        "em.rounds": 2,
        "em.draws": 1,
        "em.num_steps": em_steps,
        "train.num_steps": num_steps // 3,
    }
    arms = {
        "as it is": corruption,
        "filtered data": {**corruption, "data.filtered_bands": (band,)},
        "filtered samples": sagd.Arm(corruption, {"remove_band": f"{low}:{high}"}),
        "hole": {**corruption, **hole},
        "capped": {**corruption, **capped, "schedule.restoring_share": 0.0},
        "capped, 10 % clean": some,
        "EM, 10 % clean": {**some, **em},
    }
    if margin:
        only_one = {**corruption, **small, "schedule.restoring_share": 0.0}
        arms["capped, small margin"] = only_one
    return {f"{name}, {arm}": fields for arm, fields in arms.items()}


def get_experiment():
    return sagd.Experiment(
        config="../configs/digits.py",
        arms={
            "clean": {},
            **arms_of("band", BAND, (0.4, 0.6)),
            **arms_of("moire", MOIRE, (0.45, 0.55), margin=10.0),
        },
        fields={"preview.every": None, "train.num_steps": NUM_STEPS},
        evaluate={"num_steps": (16, 50), "num_samples": 1437, "clip": False},
        about="learning from corrupted 8x8 digits, 1,400 steps of 64",
    )
