"""Omission of an anomaly that the spectrum tool finds, on MNIST at 16x16: moire, and oriented streaks.

    python -m sagd_jax.experiment experiments/mnist16_found.py --jobs=2

Nothing of the corruption is told but the corrupted pictures: the detector of `sagd spectrum` looks at 4,096 of
them. Its findings of 10 dB and more are taken, also where its verdict is "cannot tell" (on so few frequencies
moire may be the data's own), as by one who has looked at some pictures. The arms have a hole for them, or learn
from the levels above the variance N(f) that it measured (26); what it found is written to runs/mnist16_found.
Samples are judged against clean pictures.
"""

from pathlib import Path

import numpy as np

import sagd_jax as sagd
from sagd_jax.data import normalise, open_source
from sagd_jax.data.config import DataConfig
from sagd_jax.spectral.analysis import analyse
from sagd_jax.spectral.detector.finding import HUM, LINE

LEAST_DB = 10.0
FOUND = Path("runs/mnist16_found")
CORRUPTIONS = {
    "moire": {
        "data.corruption": "moire",
        "data.corruption_frequency": (0.25, 0.25),
        "data.corruption_strength": 0.7,
    },
    "streaks": {
        "data.corruption": "wedge",
        "data.corruption_band": (0.3, 1.0),
        "data.corruption_angle": 45.0,
        "data.corruption_width": 30.0,
        "data.corruption_strength": 0.5,
    },
}


def found(name, corruption, count=4_096):
    """The files of the hole and of the variance that the detector finds, and the margin that `sagd spectrum` writes."""
    options = {field.removeprefix("data."): value for field, value in corruption.items()}
    source = open_source(DataConfig(name="mnist", image_size=16, **options))
    raw = source.fetch(np.arange(count))["x"]
    x = np.asarray(normalise(raw, source.value_range))
    findings = enumerate(analyse(x).findings, start=1)
    chosen = [number for number, finding in findings if finding.excess_db >= LEAST_DB]
    if not chosen:
        raise ValueError(f"the detector finds nothing of {LEAST_DB} dB in {name}")
    analysis = analyse(x, chosen=chosen)
    variance = analysis.corruption()
    if variance is None:
        raise ValueError(f"the detector measures no variance of what it finds in {name}")
    FOUND.mkdir(parents=True, exist_ok=True)
    files = [FOUND / f"{name}_{what}.npy" for what in ("hole", "variance")]
    np.save(files[0], analysis.kept.astype(np.float32))
    np.save(files[1], np.max(variance, axis=0))  # all examples are taken to have all of it
    tones = any(analysis.findings[number - 1].kind in (LINE, HUM) for number in chosen)
    return *map(str, files), 10.0 if tones else 0.1


def arms_of(name, corruption):
    """The arms of one corruption."""
    hole, variance, margin = found(name, corruption)
    return {
        f"{name}, as it is": corruption,
        f"{name}, hole": {**corruption, "noise.kind": "file", "noise.file": hole},
        f"{name}, capped": {
            **corruption,
            "schedule.kind": "capped",
            "schedule.corruption": (variance,),
            "schedule.margin": margin,
            "schedule.restoring_share": 0.0,
        },
    }


def get_experiment():
    arms = {"clean": {}}
    for name, corruption in CORRUPTIONS.items():
        arms |= arms_of(name, corruption)
    return sagd.Experiment(
        config="../configs/mnist16.py",
        arms=arms,
        evaluate={"num_steps": (16, 50), "num_samples": 512, "clip": False},
        about="omission of what the detector finds, on MNIST at 16x16, 1,200 steps of 32",
    )
