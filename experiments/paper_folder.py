"""The paper's experiments on Quickdraw, WikiArt, FFHQ and CelebA: the arms of experiments/paper_mnist.py.

    python -m sagd_jax.experiment experiments/paper_folder.py --config.data.dir=PATH \
        --config.data.image_size=64 --out=runs/paper_wikiart --json=results/paper_wikiart.json

For an accelerator. These sets come as folders of pictures, at the paper's sizes: Quickdraw (of DomainNet) 32,
WikiArt 64, FFHQ 256 (it prints 254), CelebA in its predecessor 128. A folder has no labels, so the distances
are between pixels' spectra and by kernels; with the weights of Inception `sagd evaluate --metrics=fid` has the
literature's. Its ImageNet figures are of latents that are not published.
"""

import runpy
from pathlib import Path

import sagd_jax as sagd


def get_experiment():
    mnist = runpy.run_path(str(Path(__file__).with_name("paper_mnist.py")))
    return sagd.Experiment(
        config="../configs/folder.py",
        arms=mnist["arms"](),
        fields={
            "model.prediction": "epsilon",
            "schedule.kind": "linear_beta",
            "train.batch_size": 128,
            "train.num_steps": 300_000,  # of WikiArt's published checkpoints
            "optimizer.warmup_steps": 500,
        },
        evaluate=mnist["EVALUATE"],
        about="the paper's slopes and mixtures on a folder of pictures, 300,000 steps of 128",
    )
