"""Images: a folder of them, and their resizing as Pillow does it best.

PNG, JPEG and WebP, nested as you like, of any size: the shorter side is scaled to `image_size` with
an antialiased filter and the centre cropped; without `image_size` all must agree in size. Grey or
RGB; transparency is laid on white. Sets that fit are decoded once into memory; larger ones are
decoded as they are read, after a check of every file's header and end at the start.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.files import READ_ERRORS, find_files, keep_readable, reason
from sagd_jax.data.fingerprint import of_files
from sagd_jax.data.source import ArraySource, DataError, Options, RecordSource, Source
from sagd_jax.system.kinds import kind
from sagd_jax.system.schema import field

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# The last bytes of a whole file; WebP carries its length at the front instead.
_ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
_LOG = logging.getLogger(__name__)


def load_folder(config: Options) -> Source:
    """The source `folder`.

    Raises:
      DataError: for a folder without images, unreadable or truncated files (unless they are to be
        skipped), and mixed sizes or channels that the configuration does not settle.
    """
    found = find_files(config.dir, SUFFIXES, "images")
    headers = keep_readable(found, check_image, config.on_error, "images")
    source = _source([path for path, _ in headers], common_shape(headers, config), config)
    source.identity = lambda: of_files([p for p, _ in headers], Path(config.dir).expanduser())
    return source


def _source(paths: list[Path], shape: tuple[int, int, int], config: Options) -> Source:
    if len(paths) * math.prod(shape) <= config.memory_limit_mb * 2**20:
        decoded = keep_readable(paths, lambda p: read_image(p, shape), config.on_error, "images")
        labels, num_classes = _labels([path for path, _ in decoded], config)
        return ArraySource(
            np.stack([x for _, x in decoded]),
            value_range=(0, 255),
            labels=labels,
            num_classes=num_classes,
        )
    labels, num_classes = _labels(paths, config)

    def read(index: int) -> tuple[np.ndarray, int]:
        # A sound header and end may hide damage between them.
        for i in range(index, index + len(paths)):
            path = paths[i % len(paths)]
            try:
                return read_image(path, shape), int(labels[i % len(paths)])
            except READ_ERRORS as error:
                if config.on_error == "stop":
                    raise DataError(f"data: cannot read {path}: {reason(error)}") from None
                _LOG.warning("instead of %s (%s), the image after it", path, reason(error))
        raise DataError(f"data.dir={config.dir!r}: no image can be read")

    return RecordSource(read, len(paths), shape, num_classes=num_classes)


def check_image(path: Path) -> tuple[int, int, int]:
    """(height, width, channels) from the header of a file that is whole, as far as its end tells.

    Raises:
      OSError, ValueError: for a file that is not an image, is truncated, or has 16-bit values.
    """
    from PIL import Image

    with open(path, "rb") as file, Image.open(file) as picture:
        if picture.mode.startswith(("I", "F")):
            raise ValueError(f"mode {picture.mode!r}: expected 8-bit values")
        width, height = picture.size
        channels = 1 if picture.mode in ("1", "L", "LA") else 3
        end = _ENDS.get(str(picture.format))
        if end is not None:
            file.seek(-len(end), 2)
            if file.read() != end:
                # Cut off, or whole with something appended: decoding tells.
                picture.load()
    return height, width, channels


def common_shape(
    headers: list[tuple[Any, tuple[int, int, int]]], config: Options
) -> tuple[int, int, int]:
    """(height, width, channels) of every example; raises DataError where the files do not agree."""
    if config.channels not in (0, 1, 3):
        raise DataError(f"data.channels={config.channels}: images have 1 (grey) or 3 (RGB)")
    first, (height, width, channels) = headers[0]
    for path, header in headers:
        if not config.image_size and header[:2] != (height, width):
            raise DataError(
                f"data.dir={config.dir!r}: mixed sizes, {width}x{height} ({first.name}) and "
                f"{header[1]}x{header[0]} ({path.name}); set data.image_size"
            )
        if not config.channels and header[2] != channels:
            raise DataError(
                f"data.dir={config.dir!r}: mixed channels, {channels} ({first.name}) and "
                f"{header[2]} ({path.name}); set data.channels to 1 or 3"
            )
    size = config.image_size
    return (size or height, size or width, config.channels or channels)


def read_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """The file as `shape` (height, width, channels) uint8, scaled and centre-cropped."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        picture: Image.Image = file
        mode = "L" if shape[2] == 1 else "RGB"
        if picture.getexif().get(_ORIENTATION, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
        if picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        if picture.mode != mode:
            picture = picture.convert(mode)
        return np.asarray(_fit(picture, shape[0], shape[1])).reshape(shape)


def resize_and_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Scales the shorter side to `size` with an antialiased filter and crops the centre.

    Args:
      image: `(H, W, channels)` uint8, one or three channels.
      size: pixels per side of the result.

    >>> resize_and_crop(np.full((20, 30, 3), 7, np.uint8), 8).shape
    (8, 8, 3)
    """
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(_fit(picture, size, size)).reshape(size, size, image.shape[-1])


_ORIENTATION = 0x0112  # of EXIF


def _fit(picture: Any, height: int, width: int) -> Any:
    """One resampling of the largest central box with the proportions of the result."""
    from PIL import Image

    w, h = picture.size
    if (w, h) == (width, height):
        return picture
    scale = min(w / width, h / height)
    left, top = (w - width * scale) / 2, (h - height * scale) / 2
    box = (left, top, w - left, h - top)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box)


def _labels(paths: list[Path], config: Options) -> tuple[np.ndarray, int]:
    if not config.folder_labels:
        return np.zeros(len(paths), np.int32), 0
    root = Path(config.dir).expanduser()
    names = []
    for path in paths:
        parts = path.relative_to(root).parts
        if len(parts) < 2:
            raise DataError(
                f"data.folder_labels: {path.name} lies in data.dir itself; expected every image in "
                "a subfolder, its class"
            )
        names.append(parts[0])
    classes = sorted(set(names))
    return np.array([classes.index(name) for name in names], np.int32), len(classes)


SOURCE = kind(
    load_folder,
    **fields.FILES,
    image_size=fields.IMAGE_SIZE,
    channels=fields.CHANNELS,
    folder_labels=field(False, "whether the first subfolder of an image is its class"),
)
