"""One image file: how it is turned, coloured and measured, and which ones are refused."""

import logging
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from sagd_jax import data
from sagd_jax.data import DataConfig, DataError

WIDE, TALL = (24, 32), (32, 24)  # height, width
QUARTER = 6  # of EXIF: to be turned clockwise by a quarter


def pixels(height=24, width=32):
    y, x = np.mgrid[:height, :width]
    return np.stack([7 * x, 9 * y, 0 * x + 40], axis=-1).astype(np.uint8)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def folder(path, **changes):
    return data.open_source(DataConfig(name="folder", dir=str(path), **changes))


def images(path, **changes):
    source = folder(path, **changes)
    return source.fetch(np.arange(len(source)))["x"]


def png(path, rows, depth, colour, late=b""):
    """A PNG by hand: rows of bytes, and chunks before its end."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, colour, 0, 0, 0)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body))
    path.write_bytes(start + (chunk(b"eXIf", late) if late else b"") + chunk(b"IEND", b""))


@pytest.mark.parametrize("limit", [0, 2048])
@pytest.mark.parametrize("name", ["x.png", "x.webp"])
def test_the_size_is_that_after_turning(tmp_path, name, limit):
    Image.fromarray(pixels()).save(tmp_path / name, exif=turned(QUARTER), lossless=True)
    assert folder(tmp_path, memory_limit_mb=limit).shape == (*TALL, 3)
    np.testing.assert_array_equal(
        images(tmp_path, memory_limit_mb=limit)[0], np.rot90(pixels(), -1)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path, orientation):
    Image.fromarray(pixels()).save(tmp_path / "x.png", exif=turned(orientation))
    x = pixels()
    expected = x if orientation < 5 else x.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        expected = expected[:, ::-1]
    if orientation in (3, 4, 7, 8):
        expected = expected[::-1]
    np.testing.assert_array_equal(images(tmp_path)[0], expected)


def test_sizes_are_compared_as_displayed(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "a.png", exif=turned(QUARTER))
    Image.fromarray(np.rot90(pixels(), -1)).save(tmp_path / "b.png")
    x = images(tmp_path)
    np.testing.assert_array_equal(x[0], x[1])
    Image.fromarray(pixels()).save(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"mixed sizes, 24x32 \(a.png\) and 32x24 \(c.png\)"):
        folder(tmp_path)


def test_frames_of_clips_are_turned(tmp_path):
    for i in range(4):
        Image.fromarray(pixels()).save(tmp_path / f"{i}.png", exif=turned(QUARTER))
    source = data.open_source(DataConfig(name="video", dir=str(tmp_path), num_frames=2))
    assert source.shape == (2, *TALL, 3)


def test_exif_data_after_the_picture(tmp_path):
    exif = turned(QUARTER).tobytes().removeprefix(b"Exif\0\0")
    png(tmp_path / "x.png", pixels(), 8, 2, late=exif)
    np.testing.assert_array_equal(images(tmp_path, memory_limit_mb=0)[0], np.rot90(pixels(), -1))


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_broken_exif_data_is_worth_a_word(tmp_path, name, caplog):
    Image.fromarray(pixels()).save(tmp_path / name, exif=b"Exif\0\0nonsense")
    assert folder(tmp_path).shape == (*WIDE, 3)
    assert f"{name}: its EXIF data cannot be read" in caplog.text


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_are_refused_in_every_mode(tmp_path, colour, channels):
    x = np.linspace(49, 3531, 256).reshape(16, 16, 1).repeat(channels, axis=2).astype(">u2")
    png(tmp_path / "x.png", x, 16, colour)
    with pytest.raises(DataError, match=r"x.png: 16-bit values; expected 8-bit .*\.npy"):
        folder(tmp_path)


def swapped_profile():
    """sRGB with its red and green exchanged: the same pixels mean the other colour."""
    body = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return body.replace(b"rXYZ", b"tmp ").replace(b"gXYZ", b"rXYZ").replace(b"tmp ", b"gXYZ")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colour_profiles_are_applied(tmp_path, mode):
    picture = Image.fromarray(pixels() // 64 * 64).convert(mode)
    picture.save(tmp_path / "x.png", icc_profile=swapped_profile())
    plain = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(images(tmp_path)[0] - plain[..., [1, 0, 2]]).max() <= 2


def test_srgb_and_grey_keep_their_pixels(tmp_path, caplog):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels()).save(tmp_path / "x.png", icc_profile=srgb)
    np.testing.assert_array_equal(images(tmp_path)[0], pixels())
    Image.fromarray(pixels()[..., 0]).save(tmp_path / "x.png", icc_profile=swapped_profile())
    np.testing.assert_array_equal(images(tmp_path)[0, ..., 0], pixels()[..., 0])
    assert not caplog.text


def test_a_broken_profile_is_worth_a_word(tmp_path, caplog):
    for name in "ab":
        Image.fromarray(pixels()).save(tmp_path / f"{name}.png", icc_profile=b"nonsense" * 20)
    np.testing.assert_array_equal(images(tmp_path)[1], pixels())
    assert caplog.text.count("colour profile cannot be used") == 1
    assert "a.png (and 1 other files)" in caplog.text


@pytest.mark.parametrize(("name", "format"), [("x.png", None), ("x.webp", None), ("x.jpg", "MPO")])
def test_of_several_pictures_the_first_is_taken(tmp_path, caplog, name, format):
    others = [Image.fromarray(pixels()[::-1]), Image.fromarray(pixels()[:, ::-1])]
    Image.fromarray(pixels()).save(
        tmp_path / name, format, save_all=True, append_images=others, lossless=True, quality=95
    )
    assert np.abs(images(tmp_path)[0].astype(int) - pixels()).max() <= 12
    assert caplog.text.count("of which the first is taken") == 1


def test_a_byte_that_still_decodes_is_found_by_its_checksum(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(x).save(tmp_path / "x.png", compress_level=0)
    body = bytearray((tmp_path / "x.png").read_bytes())
    body[300] ^= 1  # a pixel, stored as it is
    (tmp_path / "x.png").write_bytes(body)
    with pytest.raises(DataError, match=r"checksum of its chunk b'IDAT' does not match"):
        folder(tmp_path)
    source = folder(tmp_path, memory_limit_mb=0)
    with pytest.raises(DataError, match=r"cannot read .*checksum"):
        source.fetch(np.array([0]))


def test_large_images_have_a_limit_that_can_be_raised(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**6)  # Pillow raises above twice that
    Image.new("L", (2500, 1000), 7).save(tmp_path / "large.png")
    Image.new("L", (8, 8)).save(tmp_path / "small.png")
    for limit in (1, 2):
        message = rf"large.png: 2500000 pixels; .* {limit} megapixels; raise data\.max_megapixels"
        with pytest.raises(DataError, match=message):
            folder(tmp_path, image_size=8, max_megapixels=limit)
    assert len(folder(tmp_path, image_size=8, max_megapixels=2, on_error="skip")) == 1
    assert Image.MAX_IMAGE_PIXELS == 10**6
    assert images(tmp_path, image_size=8, max_megapixels=3)[0].max() == 7


def test_a_header_that_claims_too_much(tmp_path):
    """Pillow's own error for it is neither an OSError nor a ValueError."""
    png(tmp_path / "x.png", np.zeros((2, 15_000), np.uint8), 8, 0)
    body = bytearray((tmp_path / "x.png").read_bytes())
    body[20:24] = struct.pack(">I", 15_000)
    body[29:33] = struct.pack(">I", zlib.crc32(body[12:29]))
    (tmp_path / "x.png").write_bytes(body)
    with pytest.raises(DataError, match=r"x.png: 225000000 pixels; .*data\.max_megapixels"):
        folder(tmp_path)


def test_other_formats_are_no_images_here(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "x.png", "GIF")
    with pytest.raises(DataError, match="is no PNG, JPEG or WebP image"):
        folder(tmp_path)


@pytest.mark.parametrize(
    ("mode", "options", "channels"),
    [
        ("1", {}, 1),
        ("L", {"transparency": 40}, 1),
        ("LA", {}, 1),
        ("P", {"transparency": bytes(range(0, 250, 10))}, 3),
        ("RGB", {"transparency": (0, 0, 40)}, 3),
    ],
)
def test_modes_become_grey_or_colour_on_white(tmp_path, mode, options, channels):
    picture = Image.fromarray(pixels())
    picture = picture.quantize(25) if mode == "P" else picture.convert(mode)
    picture.save(tmp_path / "x.png", **options)
    with Image.open(tmp_path / "x.png") as back:
        rgba = np.asarray(back.convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    expected = alpha * rgba[..., :channels] + (1 - alpha) * 255
    assert np.abs(images(tmp_path)[0] - expected).max() <= 1


def test_every_file_once(tmp_path, caplog):
    (tmp_path / "b").mkdir()
    (tmp_path / "x.png").mkdir()
    Image.fromarray(pixels()).save(tmp_path / "b" / "1.png")
    Image.fromarray(pixels()).save(tmp_path / "x.png" / "2.png")
    (tmp_path / "a").symlink_to(tmp_path / "b")  # sorts before what it names
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with caplog.at_level(logging.WARNING):
        source = folder(tmp_path, folder_labels=True)
    np.testing.assert_array_equal(source.fetch(np.arange(2))["label"], [0, 1])
    assert len(source) == 2
    assert "passed over 2 links to folders that are read already, such as a" in caplog.text
    assert "passed over 1 other files, such as pipe.png" in caplog.text
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"gone.png: No such file or directory"):
        folder(tmp_path)
