"""CIFAR-10 with noise added at low frequencies, as in the paper's Figure 3.

python -m sagd_jax.experiment experiments/paper_high_pass.py

For an accelerator. experiments/mnist16_low_frequency.py is the same at a size for two cores.
"""

import runpy
from pathlib import Path

import sagd_jax as sagd


def get_experiment():
    mnist = runpy.run_path(str(Path(__file__).with_name("paper_mnist.py")))
    return sagd.Experiment(
        config="../configs/cifar10.py",
        arms={"white": {}, **{f"alpha {a:+g}": mnist["tilt"](a) for a in mnist["ALPHAS"]}},
        fields={
            "data.corruption": "band",
            "data.corruption_band": (0.0, 0.3),
            "data.corruption_frozen": False,
        },
        evaluate={**mnist["EVALUATE"], "clip": False},
        about="low-frequency corruption of CIFAR-10, 200,000 steps of 128",
    )
