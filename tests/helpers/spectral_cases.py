"""Schedules with a coefficient per coordinate that tests go through, and what NumPy makes of them."""

import itertools

import numpy as np

import sagd_jax as sagd

SHAPE = (4, 4)
COSINE, FOURIER, HAAR = (f(SHAPE) for f in (sagd.bases.cosine, sagd.bases.fourier, sagd.bases.haar))


def spectrum(basis, scale=0.2):
    """A falling data spectrum with values on both sides of 1."""
    return scale / (0.04 + basis.radius)


def schedules():
    """Name to (basis, schedule)."""
    cosine, flow = sagd.schedules.cosine(), sagd.schedules.rectified_flow()
    tilt = [sagd.power_law(SHAPE, alpha=a) for a in (0.4, -0.4)]
    made = {
        "shifted": (HAAR, sagd.schedules.shifted(cosine, 3 * HAAR.radius - 1, HAAR)),
        "equal_snr": (COSINE, sagd.schedules.equal_snr(flow, spectrum(COSINE), COSINE)),
        "flipped_snr": (FOURIER, sagd.schedules.flipped_snr(cosine, spectrum(FOURIER), FOURIER)),
        "blurring": (COSINE, sagd.schedules.blurring(cosine, COSINE, blur_max=2.0)),
        "heat": (COSINE, sagd.schedules.heat(COSINE, 3.0, 0.05, spectrum=spectrum(COSINE))),
        "shortest_path": (FOURIER, sagd.schedules.shortest_path(spectrum(FOURIER), FOURIER)),
        "moving": (FOURIER, sagd.schedules.moving(flow, *tilt)),
        "hierarchical": (HAAR, sagd.schedules.hierarchical(flow, -HAAR.radius, 0.7, HAAR)),
    }
    return made


class Recursion:
    """Samplers on Gaussian data N(0, S) as recursions of the variance per coordinate, in float64.

    x_s = m x_t + k noise in each coordinate; `alpha` and `sigma` are functions of a scalar t.
    """

    def __init__(self, alpha, sigma, variance):
        self.alpha = lambda t: np.asarray(alpha(np.float32(t)), np.float64)
        self.sigma = lambda t: np.asarray(sigma(np.float32(t)), np.float64)
        self.variance = np.asarray(variance, np.float64)

    def gains(self, t):
        """What x_t is multiplied by to give x0_hat and z_hat."""
        a, s = self.alpha(t), self.sigma(t)
        total = a**2 * self.variance + s**2
        inverse = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
        return a * self.variance * inverse, s * inverse

    def ddim(self, t, s, eta=0.0):
        x0, z = self.gains(t)
        scale = eta * self.posterior(t, s)[1]
        kept = np.sqrt(np.maximum(self.sigma(s) ** 2 - scale**2, 0))
        return self.alpha(s) * x0 + kept * z, scale

    def posterior(self, t, s):
        """(share of x_0 in the mean is left to `ddpm`), scale."""
        q, ratio = self._q(t, s)
        return ratio * q, self.sigma(s) * np.sqrt(np.maximum(1 - ratio**2 * q, 0))

    def ddpm(self, t, s):
        q, ratio = self._q(t, s)
        share, scale = self.posterior(t, s)
        return share + self.alpha(s) * (1 - ratio**2 * q) * self.gains(t)[0], scale

    def pc(self, t, s, snr):
        sigma = self.sigma(t)
        corrected = 1 - 2 * snr**2 * sigma * self.gains(t)[1]
        move = self.ddim(t, s)[0]
        return move * corrected, move * 2 * snr * sigma

    def final_variance(self, start, times, step):
        variance = np.asarray(start, np.float64)
        for t, s in itertools.pairwise(times):
            m, k = step(t, s)
            variance = m**2 * variance + k**2
        return variance

    def _q(self, t, s):
        a_s, a_t, s_s, s_t = self.alpha(s), self.alpha(t), self.sigma(s), self.sigma(t)
        q = np.divide(s_s, s_t, out=np.zeros_like(s_t), where=s_t > 0) ** 2
        back = np.divide(s_t, s_s, out=np.ones_like(s_t), where=s_s > 0)
        return q, np.divide(a_t, a_s, out=back, where=a_s > 0)
