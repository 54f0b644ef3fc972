"""The process under such noise: schedules, losses, samplers, likelihood. Knows no network, no data."""

from sagd_jax.diffusion.likelihood import log_likelihood
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.sampling import sample
from sagd_jax.diffusion.schedules import Schedule

__all__ = ["Diffusion", "Schedule", "log_likelihood", "sample"]
