"""Colour profiles: pictures become sRGB, the space of those without one.

A profile that changes no colour by more than rounding is sRGB, whatever its name, and leaves the pixels
as they are. So do profiles of grey pictures.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np

from sagd_jax.system.late import optional

_ROUNDING = 2  # of 255: what copies of sRGB differ by, whose curves are tables
_STEPS = 9  # per axis of the grid of colours by which it is told


def to_srgb(picture: Any, profile: bytes) -> Any:
    """A picture of mode RGB, RGBA or CMYK, converted from the space of an ICC profile.

    Raises:
      OSError, PIL.ImageCms.PyCMSError: for a profile that is damaged or of another mode.
    """
    alpha = picture.getchannel("A") if picture.mode == "RGBA" else None
    colours = picture.convert("RGB") if alpha else picture
    transform = _transform(profile, colours.mode)
    if transform is None:
        return picture
    colours = transform.apply(colours)
    if alpha:
        colours.putalpha(alpha)
    return colours


@functools.lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> Any:
    """Pillow's transform of pictures of `mode` to sRGB; None where it would change nothing."""
    with optional("reading pictures"):
        from PIL import Image, ImageCms

    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), mode, "RGB"
    )
    if mode == "RGB":
        axis = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
        colours = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(_STEPS, -1, 3)
        changed = np.asarray(transform.apply(Image.fromarray(colours)))
        if np.abs(changed.astype(int) - colours).max() <= _ROUNDING:
            return None
    return transform
