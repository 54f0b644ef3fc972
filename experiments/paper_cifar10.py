"""The paper's experiments on CIFAR-10, at its size: the arms of experiments/paper_mnist.py.

python -m sagd_jax.experiment experiments/paper_cifar10.py
"""

import runpy
from pathlib import Path

import sagd_jax as sagd


def get_experiment():
    mnist = runpy.run_path(str(Path(__file__).with_name("paper_mnist.py")))
    return sagd.Experiment(
        config="../configs/cifar10.py",
        arms={**mnist["arms"](), **mnist["open_points"]()},
        evaluate=mnist["EVALUATE"],
        about="the paper's slopes and mixtures on CIFAR-10, 200,000 steps of 128",
    )
