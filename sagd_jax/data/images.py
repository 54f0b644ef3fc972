"""Images: a folder of them, and their resizing as Pillow does it best.

PNG, JPEG and WebP, nested as you like, of any size: the shorter side is scaled to `image_size` with
an antialiased filter and the centre cropped; without `image_size` all must agree in size. Grey or
RGB; `image_files.py` says how each is read. Sets that fit are decoded once into memory; larger ones
are decoded as they are read, after a check of every file's header and end at the start.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.files import Tally, find_files, keep_readable
from sagd_jax.data.fingerprint import of_files
from sagd_jax.data.image_files import SUFFIXES, Shape, check_image, fit, prepare, read_image
from sagd_jax.data.labels import kinds_of, name_absent
from sagd_jax.data.records import RecordSource
from sagd_jax.data.source import DataError, Options, Source
from sagd_jax.system.kinds import kind
from sagd_jax.system.late import optional
from sagd_jax.system.schema import field


def load_folder(config: Options) -> Source:
    """The source `folder`.

    Raises:
      DataError: for a folder without images, unreadable or truncated files (unless they are to be
        skipped), and mixed sizes or channels that the configuration does not settle.
    """
    paths = find_files(config.dir, SUFFIXES, "images")
    labels, classes = _labels(paths, config)
    prepare(config.max_megapixels)
    found = Tally()
    headers = keep_readable(
        paths,
        lambda path: check_image(path, config.max_megapixels, found),
        config.on_error,
        "images",
    )
    found.log()
    shape = common_shape(headers, config)
    paths = [path for path, _ in headers]
    name_absent([labels[path] for path in paths], classes, f"data.dir={config.dir!r}")

    def read(index: int) -> tuple[np.ndarray, int]:
        path = paths[index]
        image = read_image(path, shape, config.image_size > 0, config.max_megapixels)
        return image, labels[path]

    source = RecordSource(
        read,
        len(paths),
        shape,
        num_classes=len(classes) if config.folder_labels else 0,
        on_error=config.on_error,
        what="images",
    )
    size = config.image_size
    source.scaled = bool(size) and any(min(header[:2]) != size for _, header in headers)
    source.kinds = kinds_of(paths, config)
    source.identity = lambda: of_files(paths, Path(config.dir).expanduser())
    return source.held(config.memory_limit_mb)


def common_shape(headers: list[tuple[Path, Shape]], config: Options) -> Shape:
    """(height, width, channels) of every example; raises DataError where the files do not agree."""
    if config.channels not in (0, 1, 3):
        raise DataError(f"data.channels={config.channels}: images have 1 (grey) or 3 (RGB)")
    root = Path(config.dir).expanduser()

    def within(path: Path) -> Path:
        return path.relative_to(root)

    first, (height, width, channels) = headers[0]
    for path, header in headers:
        if not config.image_size and header[:2] != (height, width):
            raise DataError(
                f"data.dir={config.dir!r}: mixed sizes, {width}x{height} ({within(first)}) and "
                f"{header[1]}x{header[0]} ({within(path)}); set data.image_size"
            )
        if not config.channels and header[2] != channels:
            raise DataError(
                f"data.dir={config.dir!r}: mixed channels, {channels} ({within(first)}) and "
                f"{header[2]} ({within(path)}); set data.channels to 1 or 3"
            )
    size = config.image_size
    return (size or height, size or width, config.channels or channels)


def resize_and_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Scales the shorter side to `size` with an antialiased filter and crops the centre.

    Args:
      image: `(H, W, channels)` uint8, one or three channels.
      size: pixels per side of the result.

    >>> resize_and_crop(np.full((20, 30, 3), 7, np.uint8), 8).shape
    (8, 8, 3)
    """
    with optional("reading pictures"):
        from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(fit(picture, size, size)).reshape(size, size, image.shape[-1])


def _labels(paths: list[Path], config: Options) -> tuple[dict[Path, int], list[str]]:
    """The class of each file, and the classes' names: numbered before any file is left out."""
    if not config.folder_labels:
        return dict.fromkeys(paths, 0), ["no classes"]
    root = Path(config.dir).expanduser()
    names = {}
    for path in paths:
        parts = path.relative_to(root).parts
        if len(parts) < 2:
            raise DataError(
                f"data.folder_labels: {path.name} lies in data.dir itself; expected every image in "
                "a subfolder, its class"
            )
        names[path] = parts[0]
    classes = sorted(set(names.values()))
    numbers = {name: number for number, name in enumerate(classes)}
    return {path: numbers[name] for path, name in names.items()}, classes


SOURCE = kind(
    load_folder,
    **fields.PICTURES,
    image_size=fields.IMAGE_SIZE,
    channels=fields.CHANNELS,
    folder_labels=field(False, "whether the first subfolder of an image is its class"),
)
