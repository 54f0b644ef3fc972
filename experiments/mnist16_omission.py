"""Selective omission (the paper's Table 2) against its rivals, on MNIST at 16x16.

    python -m sagd_jax.experiment experiments/mnist16_omission.py --jobs=2

All training examples have noise of unit variance in one band, drawn anew each time; samples are judged
against clean pictures. Per band: training on it as it is; with a hole in the noise there; on data without
the band; and the samples of the first, without the band.
"""

import sagd_jax as sagd

BANDS = ((0.2, 0.3), (0.4, 0.5), (0.6, 0.7), (0.8, 0.9))


def arms_of(band):
    """The arms of one corrupted band."""
    low, high = band
    corrupted = {
        "data.corruption": "band",
        "data.corruption_band": band,
        "data.corruption_frozen": False,
    }
    hole = {"noise.kind": "band_pass", "noise.bands": ((0.0, low), (high, 1.0))}
    return {
        f"as it is, {low}": corrupted,
        f"hole, {low}": {**corrupted, **hole},
        f"filtered data, {low}": {**corrupted, "data.filtered_bands": (band,)},
        f"filtered samples, {low}": sagd.Arm(corrupted, {"remove_band": f"{low}:{high}"}),
    }


def get_experiment():
    arms = {"clean": {}}
    for band in BANDS:
        arms |= arms_of(band)
    return sagd.Experiment(
        config="../configs/mnist16.py",
        arms=arms,
        # Corrupted data have no bounds to clip samples to; so no arm's are.
        evaluate={"num_steps": (16, 50), "num_samples": 512, "clip": False},
        about="selective omission on MNIST at 16x16, 1,200 steps of 32",
    )
