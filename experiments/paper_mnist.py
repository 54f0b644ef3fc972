"""The paper's experiments on MNIST, at its size: Tables F.1 and F.2, and Table 1 of its predecessor.

    python -m sagd_jax.experiment experiments/paper_mnist.py

For an accelerator. Twelve slopes, eight mixtures of two bands (0.5 is white noise), and what the paper leaves
open: the three policies of the zero frequency at alpha = -0.04, and its listing, which divides each draw by
its own standard deviation. `--arms="white;alpha -0.04"` runs some. The paper's distance is an FID of 768
Inception features; `sagd evaluate --metrics=fid` computes FID where their weights are at hand.

The files of the other sets take their arms from here.
"""

import sagd_jax as sagd

ALPHAS = (-0.08, -0.06, -0.04, -0.02, -0.01, -0.001, 0.001, 0.01, 0.02, 0.04, 0.06, 0.08)
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9)
EVALUATE = {"num_steps": (4, 8, 16, 50), "num_samples": 10_000}


def tilt(alpha, **more):
    return {"noise.kind": "power_law", "noise.alpha": alpha, **more}


def arms():
    """White noise, the slopes and the mixtures."""
    return {
        "white": {},
        **{f"alpha {alpha:+g}": tilt(alpha) for alpha in ALPHAS},
        **{
            f"low {weight:g}": {"noise.kind": "two_band", "noise.gamma_low": weight}
            for weight in WEIGHTS
        },
    }


def open_points(alpha=-0.04):
    """What the paper does not say, or says in two ways."""
    policies = {
        f"alpha {alpha:+g}, {policy}": tilt(alpha, **{"noise.dc": policy})
        for policy in ("nearest", "unit", "floor")
    }
    listing = tilt(alpha, **{"noise.dc": "floor", "noise.unit_draws": True})
    return {**policies, f"alpha {alpha:+g}, floor, unit draws": listing}


def get_experiment():
    return sagd.Experiment(
        config="../configs/mnist.py",
        arms={**arms(), **open_points()},
        evaluate=EVALUATE,
        about="the paper's slopes and mixtures on MNIST at 32x32, 100,000 steps of 128",
    )
