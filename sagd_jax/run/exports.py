"""What a run leaves to other people's tools: its noise, and its weights as a diffusers folder."""

from __future__ import annotations

from pathlib import Path

import jax

from sagd_jax.models import UNet, save_diffusers
from sagd_jax.run.saved import Run
from sagd_jax.spectral.exported import write_amplitude
from sagd_jax.system.errors import ForPeople, one_line
from sagd_jax.system.files import write_whole

NOISE_FILE = "noise.npz"
WORDS_FILE = "README.md"

_WORDS = """# {parameters:,} weights of a network that was trained under noise with a spectrum

`config.json` and `diffusion_pytorch_model.safetensors` are a `UNet2DModel`. A stock pipeline would draw
white noise for it, which it has not seen: its samples would be wrong without an error. Wherever noise is
drawn, at the start of sampling and in every stochastic step, draw it with `{noise}`: multiply the
real FFT of white noise by its `amplitude` (channels first) and transform back.

    amplitude = torch.from_numpy(numpy.load("{noise}")["amplitude"])
    spectrum = torch.fft.rfftn(white, dim=(2, 3)) * amplitude
    noise = torch.fft.irfftn(spectrum, s=white.shape[2:], dim=(2, 3))

- It predicts {prediction}, of data in [-1, 1].
- Schedule, in continuous time: {schedule}
- Its timestep is {num_steps} t - 1, for t from 0 (data) to 1 (noise); it sees x_t divided by
  sqrt(alpha^2 + sigma^2){projected}.
- Step {step}, by sagd_jax {version}.
"""


class ExportError(ForPeople, ValueError):
    """What cannot be exported; the message is one line."""


def export_noise(run: Run, path: Path) -> None:
    """Writes the amplitude of a run's noise, as `spectral/exported.py` describes it.

    Raises:
      ExportError: its covariance is not diagonal in the Fourier basis.
    """
    if getattr(run.diffusion.covariance, "unit_draws", False):
        raise ExportError(
            "config.noise.unit_draws=True: each draw of this run's noise is divided by its own standard "
            "deviation, which an amplitude does not say"
        )
    try:
        write_amplitude(path, run.diffusion.covariance)
    except ValueError as error:
        raise ExportError(one_line(error)) from error


def export_weights(run: Run, folder: Path) -> None:
    """Writes a folder with the network for diffusers, the noise beside it, and how to use both.

    Args:
      run: of a U-Net.
      folder: made where it does not exist.

    Raises:
      ExportError: diffusers has no such network, or no way to use it.
    """
    if not isinstance(run.model, UNet):
        raise ExportError(
            f"config.model.kind={run.config.model.kind!r}: diffusers' UNet2DModel is a unet alone"
        )
    if run.diffusion.is_spectral:
        raise ExportError(
            f"config.schedule.kind={run.config.schedule.kind!r}: what its network sees has a scale per "
            "frequency, which a UNet2DModel is not given"
        )
    folder.mkdir(parents=True, exist_ok=True)
    export_noise(run, folder / NOISE_FILE)
    height, width, _ = run.record.data.shape
    save_diffusers(folder, run.model, run.params, (height, width))
    words = _WORDS.format(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(run.params)),
        noise=NOISE_FILE,
        prediction=run.config.model.prediction,
        schedule=run.diffusion.schedule,
        num_steps=run.diffusion.schedule.num_steps,
        projected=" and projected on the frequencies with noise"
        if run.config.model.project_input
        else "",
        step=run.step,
        version=run.record.sagd_jax,
    )
    write_whole(folder / WORDS_FILE, words)
