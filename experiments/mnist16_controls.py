"""What else a tilt changes than the spectrum of the noise: the questions of the paper's reviewers, on MNIST.

    python -m sagd_jax.experiment experiments/mnist16_controls.py --jobs=2

* The loss: l2 on coloured noise is a loss weighted by lambda on white noise (12). Under the Mahalanobis norm
  it is not, so that its difference to l2 is the share of the weight.
* The signal-to-noise ratio: all spectra have one energy (4), but not one mean ratio; (19) gives both tilts
  that of white noise, by a shift of the log-SNR.
* The zero frequency, which r^alpha leaves open: the policies `nearest`, `unit` and `floor` (as printed).
* The normalisation: over the grid (4), or of each draw by its own standard deviation, as the listing does.
"""

import sagd_jax as sagd
from sagd_jax import calibration
from sagd_jax.data import open_source
from sagd_jax.data.config import DataConfig
from sagd_jax.run.estimates import spectrum_of


def tilt(alpha, **more):
    return {"noise.kind": "power_law", "noise.alpha": alpha, **more}


def calibrated(alpha):
    """A tilt with the mean signal-to-noise ratio of white noise at all times."""
    basis = sagd.bases.fourier((16, 16))
    spectrum = spectrum_of(open_source(DataConfig(name="mnist", image_size=16)), basis)
    noise = sagd.power_law((16, 16), alpha)
    half = spectrum[:, :9]  # of the half grid, on which covariances are
    shift = calibration.log_snr_shift(half, sagd.white((16, 16)), noise)
    schedule = {"schedule.kind": "shifted", "schedule.shift": f"{shift:.4f}"}
    return tilt(alpha) | schedule


def get_experiment():
    arms = {"white": {}}
    for alpha in (-0.3, 0.3):
        arms[f"alpha {alpha:+g}"] = tilt(alpha)
        arms[f"alpha {alpha:+g}, Mahalanobis"] = tilt(alpha, **{"train.norm": "mahalanobis"})
        arms[f"alpha {alpha:+g}, calibrated"] = calibrated(alpha)
    for policy in ("nearest", "unit", "floor"):
        arms[f"alpha -0.04, {policy}"] = tilt(-0.04, **{"noise.dc": policy})
    listing = {"noise.dc": "floor", "noise.unit_draws": True}
    arms["alpha -0.04, floor, unit draws"] = tilt(-0.04, **listing)
    return sagd.Experiment(
        config="../configs/mnist16.py",
        arms=arms,
        evaluate={"num_steps": (4, 8, 16, 50), "num_samples": 512},
        about="controls of the tilt on MNIST at 16x16, 1,200 steps of 32",
    )
