"""Samplers on Gaussian data as linear recursions per frequency, in float64 NumPy.

They are written in u = x / alpha and r = sigma / alpha, where all schedules are variance exploding
with du/dr = e_hat (Karras et al. 2022), and not in the (x, alpha, sigma) of the package. For data
with mean m and variance S at a frequency and noise of variance L there,

    x0_hat = m + S / (S + r^2 L) (u - m),    e_hat = r L / (S + r^2 L) (u - m).

Arrays are spectra on the full grid, `(batch, *spatial, channels)`.
"""

import numpy as np


def alpha_sigma(name, t):
    """(alpha, sigma) of the named schedule at times t, from their definitions."""
    t = np.asarray(t, np.float64)
    if name == "linear_beta":
        betas = np.linspace(1e-4, 0.02, 1000)
        log_alpha_bar = np.concatenate([[0], np.cumsum(np.log(1 - betas))])
        alpha_bar = np.exp(np.interp(t, np.arange(1001) / 1000, log_alpha_bar))
        return np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    if name == "cosine":
        angle = np.minimum(t * np.pi / 2, np.arccos(0.01))
        return np.cos(angle), np.sin(angle)
    if name == "rectified_flow":
        return 1 - t, t
    return np.ones_like(t), 80 * t**7


class Gaussian:
    """Exact predictions in (u, r) for one spectrum of data and one of noise."""

    def __init__(self, mean, data, noise):
        self.mean, self.data, self.noise = mean, data, noise

    def predict(self, u, r):
        total = self.data + r**2 * self.noise
        inverse = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
        centred = u - self.mean
        x0 = self.mean + self.data * inverse * centred
        # Where there is no noise, u is the data.
        x0 = np.where(self.noise > 0, x0, u)
        return x0, r * self.noise * inverse * centred


def run(gaussian, name, times, x, method, noises=None, eta=0.0, churn=0.0, snr=0.16):
    """The final state from the start `x`; `noises` holds one coloured draw per step."""
    alpha, sigma = alpha_sigma(name, times)
    noises = [0.0] * (len(times) - 1) if noises is None else noises
    largest = sigma[0] / alpha[0] if alpha[0] > 0 else np.inf
    end_alpha, end_sigma = alpha_sigma(name, 1.0)
    limit = end_sigma / end_alpha if end_alpha > 0 else np.inf
    u = x / alpha[0] if alpha[0] > 0 else None
    r, previous = largest, None
    for n, noise in enumerate(noises):
        r_next = sigma[n + 1] / alpha[n + 1]
        if u is None:
            u, x0 = _from_pure_noise(gaussian, x, sigma[0], alpha[n + 1], sigma[n + 1], method,
                                     noise, eta, snr)  # fmt: skip
            previous = (x0, np.inf)
        elif method == "dpmpp_2m":
            u, previous = _dpmpp_2m(gaussian, u, r, r_next, previous)
        else:
            u = _step(gaussian, u, r, r_next, method, noise, eta, churn / len(noises), snr, limit)
        r = r_next
    return u  # alpha = 1 at the end


def _step(gaussian, u, r, r_next, method, noise, eta, churn, snr, limit):
    if method == "ddpm":
        x0, _ = gaussian.predict(u, r)
        share = (r_next / r) ** 2
        return share * u + (1 - share) * x0 + r_next * np.sqrt(1 - share) * noise
    if method == "pc":
        u = u - 2 * snr**2 * r * gaussian.predict(u, r)[1] + 2 * snr * r * noise
    if method == "sde":
        raised = min(r * (1 + min(churn, np.sqrt(2) - 1)), limit)
        u = u + np.sqrt(raised**2 - r**2) * noise
        r = raised
    x0, e = gaussian.predict(u, r)
    if method == "ddim" and eta:
        scale = eta * r_next * np.sqrt(1 - (r_next / r) ** 2)
        return x0 + np.sqrt(r_next**2 - scale**2) * e + scale * noise
    euler = u + (r_next - r) * e
    if method in ("heun", "sde") and r_next > 0:
        return u + (r_next - r) * (e + gaussian.predict(euler, r_next)[1]) / 2
    return euler


def _dpmpp_2m(gaussian, u, r, r_next, previous):
    x0, _ = gaussian.predict(u, r)
    target = x0
    if previous is not None and r_next > 0 and np.isfinite(previous[1]):
        ratio = np.log(previous[1] / r) / np.log(r / r_next)  # h_previous / h
        target = (1 + 1 / (2 * ratio)) * x0 - 1 / (2 * ratio) * previous[0]
    return (r_next / r) * u + (1 - r_next / r) * target, (x0, r)


def _from_pure_noise(gaussian, x, sigma, alpha_next, sigma_next, method, noise, eta, snr):
    """The first step where alpha = 0: on the noise's range x0_hat = mean, e_hat = x / sigma."""
    support = gaussian.noise > 0
    x0 = np.where(support, gaussian.mean, 0)
    e = np.where(support, x / sigma, 0)
    if method == "pc":
        e = e - 2 * snr**2 * e + 2 * snr * noise
    if method == "ddpm":
        eta = 1.0
    scale = eta if method in ("ddim", "ddpm") else 0.0
    # v = sigma_t^2 here, so the posterior's standard deviation is sigma_s.
    e = np.sqrt(1 - scale**2) * e + scale * noise
    return (alpha_next * x0 + sigma_next * e) / alpha_next, x0
