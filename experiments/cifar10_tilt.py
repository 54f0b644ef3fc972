"""CIFAR-10 with the paper's network in bfloat16, under white noise and a tilt: minutes of one GPU.

    python -m benchmarks.peers --device=gpu --json=results/bench-gpu.json --docs=docs/performance.md
    python -m sagd_jax.experiment experiments/cifar10_tilt.py

Both commands together are meant for 12 minutes of one H100: 3,000 steps of 128 for each of two arms are 3.7e15
operations, their 10,000 samples in 4, 8, 16 and 50 steps 2.5e15, at a twentieth of the card's peak two
minutes; the rest is compilation and the table of speeds. It has not been run to its end yet. One seed, so no interval: it shows
that all works at this size, and which way the difference points. `paper_cifar10.py` is the experiment in full: 200,000
steps of 128 for each of 75 trainings, 9.1e18 operations, at the same speed 51 hours.

The distances need no download: of features of a classifier that the program trains, and of spectra.
"""

import sagd_jax as sagd


def get_experiment():
    return sagd.Experiment(
        config="../configs/cifar10.py",
        arms={"white": {}, "alpha -0.04": {"noise.kind": "power_law", "noise.alpha": -0.04}},
        fields={
            "model.dtype": "bfloat16",
            "train.num_steps": 3_000,
            "train.ema_decay": 0.999,
            "optimizer.learning_rate": 4e-4,
            "checkpoint.every": 3_000,
            "preview.every": None,
        },
        seeds=(0,),
        evaluate={"num_steps": (4, 8, 16, 50), "num_samples": 10_000},
        about="the paper's U-Net on CIFAR-10 in bfloat16, 3,000 steps of 128",
    )
