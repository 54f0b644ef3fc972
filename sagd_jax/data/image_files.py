"""One image file: PNG, JPEG or WebP of 8 bits, as it is meant to be seen.

- Turned as its EXIF data say; its size is the one after that.
- In sRGB, if it carries a colour profile of another space (`colours.py`); grey ones stay as they are.
- Transparency is laid on white.
- Of several pictures in a file (animations; cameras add small ones) the first is taken.

16-bit values are refused, of which Pillow would keep the upper byte. A PNG's checksums are verified.
JPEG and WebP have none, so damage that still decodes cannot be told from a picture. EXIF data and
profiles that cannot be read are left alone, with a word.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sagd_jax.data.colours import to_srgb
from sagd_jax.data.files import Tally, Unreadable, reading
from sagd_jax.system.late import optional

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FORMATS = ("PNG", "JPEG", "WEBP")  # of Pillow; its JPEG opens MPO too, with more pictures after it
Shape = tuple[int, int, int]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LATE = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks of a PNG that may say how it is turned
_END_OF_JPEG = b"\xff\xd9"
_ORIENTATION = 0x0112  # of EXIF
_GREY = ("1", "L", "LA")
_CLEAR = ("LA", "RGBA", "PA")
_MANY = "holds several pictures, of which the first is taken"
_EXIF = "its EXIF data cannot be read, so it is not turned"
_PROFILE = "its colour profile cannot be used, so it is taken as sRGB"


def prepare(max_megapixels: int) -> None:
    """Lets Pillow, whose own limit holds for the whole process, open images up to this size."""
    # All formats at once, before threads do it one by one.
    with optional("reading pictures"):
        from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401

    own, limit = Image.MAX_IMAGE_PIXELS, max_megapixels * 10**6
    if own is not None and limit > 2 * own:  # Pillow raises above twice its own.
        Image.MAX_IMAGE_PIXELS = limit


def check_image(path: Path, max_megapixels: int, found: Tally) -> Shape:
    """(height, width, channels) of a file that is whole, as far as its header and end tell.

    Args:
      max_megapixels: `data.max_megapixels`.
      found: where what is worth a word is noted.

    Raises:
      Unreadable: for a file that is no such image, is cut off or too large, or has 16-bit values.
    """
    with reading(path), open(path, "rb") as file, _opened(file, max_megapixels) as picture:
        _check_end(file, picture)
        channels = 1 if picture.mode in _GREY else 3
        if getattr(picture, "n_frames", 1) > 1:
            found.add(_MANY, path)
        width, height = picture.size
        method, sound = _turn(picture)
        if not sound:
            found.add(_EXIF, path)
        if channels == 3 and not _usable_profile(picture):
            found.add(_PROFILE, path)
        return (width, height, channels) if _swaps(method) else (height, width, channels)


def is_clear(path: Path, max_megapixels: int) -> bool:
    """Whether any pixel is not opaque; `read_image` puts white behind those.

    Raises:
      Unreadable: for a file that cannot be decoded.
    """
    with reading(path), open(path, "rb") as file, _opened(file, max_megapixels) as picture:
        if picture.mode not in _CLEAR and "transparency" not in picture.info:
            return False
        return bool(picture.convert("RGBA").getextrema()[3][0] < 255)


def read_image(path: Path, shape: Shape, resize: bool, max_megapixels: int) -> np.ndarray:
    """The file as `shape` (height, width, channels) uint8.

    Args:
      resize: whether it is scaled and cropped to that size, or must have it.
      max_megapixels: `data.max_megapixels`.

    Raises:
      Unreadable: for a file that cannot be decoded, or is not of that size.
    """
    with reading(path):
        body = path.read_bytes()
        if body.startswith(_SIGNATURE):
            for _ in _chunks(io.BytesIO(body), verify=True):
                pass
        with _opened(io.BytesIO(body), max_megapixels) as opened:
            opened.load()
            method, _ = _turn(opened)
            picture = _flat(opened)
        if method is not None:
            picture = picture.transpose(method)
        mode = "L" if shape[2] == 1 else "RGB"
        if picture.mode != mode:
            picture = picture.convert(mode)
        if not resize and picture.size != (shape[1], shape[0]):
            size = "x".join(map(str, picture.size))
            raise ValueError(f"{size} pixels; expected {shape[1]}x{shape[0]}")
        return np.asarray(fit(picture, shape[0], shape[1])).reshape(shape)


def fit(picture: Any, height: int, width: int) -> Any:
    """One resampling of the largest central box with the proportions of the result."""
    with optional("reading pictures"):
        from PIL import Image

    w, h = picture.size
    if (w, h) == (width, height):
        return picture
    scale = min(w / width, h / height)
    left, top = (w - width * scale) / 2, (h - height * scale) / 2
    box = (left, top, w - left, h - top)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box)


def _opened(file: BinaryIO, max_megapixels: int) -> Any:
    """The picture, not decoded yet, if it is one that can be used."""
    with optional("reading pictures"):
        from PIL import Image, UnidentifiedImageError

    if not file.read(1):
        raise ValueError("is empty")
    file.seek(0)
    limit = f"expected at most {max_megapixels} megapixels; raise data.max_megapixels for scans"
    try:
        picture = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError("is no PNG, JPEG or WebP image, or its header is damaged") from None
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+ pixels", str(error))
        raise ValueError(f"{pixels[0] if pixels else 'too many pixels'}; {limit}") from None
    width, height = picture.size
    if width * height > max_megapixels * 10**6:
        raise ValueError(f"{width * height} pixels; {limit}")
    if picture.mode.startswith(("I", "F")) or any(";16" in str(tile[3]) for tile in picture.tile):
        raise ValueError(
            "16-bit values; expected 8-bit values (16-bit data can come as floats in an .npy, by "
            "--config=array)"
        )
    return picture


def _check_end(file: BinaryIO, picture: Any) -> None:
    """Raises ValueError or OSError for a file that ends too early."""
    if picture.format == "PNG":
        # Pillow reads the file on from where it stands.
        place = file.tell()
        kinds = list(_chunks(file))
        file.seek(place)
        after = kinds[kinds.index(b"IDAT") :] if b"IDAT" in kinds else []
        if any(kind in after for kind in _LATE):
            picture.load()
    elif picture.format in ("JPEG", "MPO"):
        place = file.tell()
        file.seek(-len(_END_OF_JPEG), os.SEEK_END)
        end = file.read()
        file.seek(place)
        if end != _END_OF_JPEG:
            # Cut off, or whole with something appended: decoding tells.
            picture.load()


def _chunks(file: BinaryIO, verify: bool = False) -> Iterator[bytes]:
    """The kinds of a PNG's chunks, to its end; ValueError if it is cut off or a checksum is wrong."""
    size = file.seek(0, os.SEEK_END)
    file.seek(len(_SIGNATURE))
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        length = struct.unpack(">I", head[:4])[0] if len(head) == 8 else size
        if file.tell() + length + 4 > size:
            raise ValueError("truncated")
        kind = head[4:]
        if verify:
            checksum = zlib.crc32(file.read(length), zlib.crc32(kind))
            if checksum != struct.unpack(">I", file.read(4))[0]:
                raise ValueError(f"damaged: the checksum of its chunk {kind!r} does not match")
        else:
            file.seek(length + 4, os.SEEK_CUR)
        yield kind


def _turn(picture: Any) -> tuple[Any, bool]:
    """What turns it upright, a `Transpose` or None, and whether its EXIF data could be read."""
    with optional("reading pictures"):
        from PIL import Image

    turns = Image.Transpose
    methods = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    try:
        with reading("EXIF"):
            if "exif" in picture.info:  # Once more, since the JPEG plugin hides what this raises.
                Image.Exif().load(picture.info["exif"])
            # Not the PNG plugin's own, which decodes the picture for it.
            exif = Image.Image.getexif(picture)
            return methods.get(exif.get(_ORIENTATION, 1)), True
    except Unreadable:
        return None, False


def _swaps(method: Any) -> bool:
    with optional("reading pictures"):
        from PIL import Image

    turns = Image.Transpose
    return method in (turns.TRANSPOSE, turns.ROTATE_270, turns.TRANSVERSE, turns.ROTATE_90)


def _usable_profile(picture: Any) -> bool:
    with optional("reading pictures"):
        from PIL import Image

    profile = picture.info.get("icc_profile")
    if not profile:
        return True
    try:
        with reading("profile"):
            to_srgb(Image.new("CMYK" if picture.mode == "CMYK" else "RGB", (1, 1)), profile)
    except (Unreadable, ImportError):  # the latter of a Pillow that was built without Little CMS
        return False
    return True


def _flat(picture: Any) -> Any:
    """The picture in sRGB or grey, on white."""
    with optional("reading pictures"):
        from PIL import Image

    profile = None if picture.mode in _GREY else picture.info.get("icc_profile")
    clear = picture.mode in _CLEAR or "transparency" in picture.info
    if clear:
        picture = picture.convert("RGBA")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    if profile and _usable_profile(picture):
        picture = to_srgb(picture, profile)
    if clear:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture
