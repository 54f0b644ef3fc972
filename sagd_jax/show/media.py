"""Samples as files that people can open: WAV for audio, GIF for clips."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from sagd_jax.system.files import write_whole
from sagd_jax.system.late import optional


def write_wav(path: str | Path, x: np.ndarray, sample_rate: float) -> None:
    """Writes audio of shape `(time, channels)`, floats in [-1, 1] (clipped), as 16-bit WAV.

    The file is replaced in one step.

    Raises:
      ValueError: for another shape, values that are not finite, or a sample rate that is not a whole
        number.
    """
    with optional("writing WAV files"):
        import soundfile

    x = np.asarray(x, np.float32)
    if x.ndim != 2:
        raise ValueError(f"x.shape={x.shape}: expected (time, channels)")
    if sample_rate != int(sample_rate) or sample_rate <= 0:
        raise ValueError(f"sample_rate={sample_rate}: expected a whole number > 0")
    if not np.isfinite(x).all():  # it would be cast to 0, and sound like silence
        raise ValueError(f"x: {np.sum(~np.isfinite(x))} of {x.size} values are not finite")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(x, -1, 1), int(sample_rate), subtype="PCM_16", format="WAV")
    write_whole(Path(path), buffer.getvalue())


def write_gif(path: str | Path, x: np.ndarray, frame_rate: float) -> None:
    """Writes a clip of shape `(time, height, width, 1 or 3)`, uint8, as an endless GIF.

    GIF counts in hundredths of a second, to which the time of a frame is rounded. The file is replaced
    in one step.

    Raises:
      ValueError: for another shape or dtype, or a frame rate that is not positive.
    """
    with optional("writing GIF files"):
        from PIL import Image

    x = np.asarray(x)
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or x.dtype != np.uint8:
        raise ValueError(
            f"x: {x.dtype} of shape {x.shape}; expected uint8 (time, height, width, 1 or 3)"
        )
    if not frame_rate > 0:
        raise ValueError(f"frame_rate={frame_rate}: expected a number > 0")
    frames = [Image.fromarray(frame[..., 0] if x.shape[-1] == 1 else frame) for frame in x]
    duration = max(1, round(100 / frame_rate)) * 10
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=duration,
        loop=0,
        disposal=2,
    )
    write_whole(Path(path), buffer.getvalue())
