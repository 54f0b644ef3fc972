"""Manifests: every kind of damage is named, and names in a manifest are not trusted."""

import json
import os
import shutil

import pytest

from sagd_jax.run.integrity import MANIFEST, IntegrityError, seal, verify


@pytest.fixture
def sealed(tmp_path):
    directory = tmp_path / "7"
    (directory / "a" / "b").mkdir(parents=True)
    (directory / "a" / "b" / "data").write_bytes(bytes(range(256)) * 20)
    (directory / "a" / "empty").write_bytes(b"")
    (directory / ".hidden").write_bytes(b"x")
    seal(directory, 7)
    return directory


def rewrite(directory, change):
    path = directory / MANIFEST
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n")


def test_sound(sealed):
    verify(sealed, 7)
    verify(sealed, 7, contents=False)
    assert set(json.loads((sealed / MANIFEST).read_text())["files"]) == {
        ".hidden",
        "a/b/data",
        "a/empty",
    }
    shutil.copytree(sealed, sealed.parent / "copy")
    verify(sealed.parent / "copy", 7)
    seal(sealed, 7)  # sealing again does not seal the manifest
    verify(sealed, 7)


def test_every_flipped_bit_of_the_manifest_is_found(sealed):
    path = sealed / MANIFEST
    data = path.read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(IntegrityError):
            verify(sealed, 7)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / MANIFEST).unlink(), "there is no manifest.json"),
        (lambda d: (d / MANIFEST).write_bytes(b""), "cannot be parsed"),
        (lambda d: (d / MANIFEST).write_bytes(b"[" * 100_000), "cannot be parsed"),
        (lambda d: (d / MANIFEST).write_bytes(b"\xff\xfe"), "cannot be parsed"),
        (lambda d: (d / MANIFEST).write_bytes(b"{}"), "cannot be parsed"),
        (lambda d: os.truncate(d / MANIFEST, 17 << 20), "larger than"),
        (lambda d: (d / "a/b/data").unlink(), "a/b/data is missing"),
        (lambda d: os.truncate(d / "a/b/data", 100), "a/b/data has 100 bytes instead of 5120"),
        (lambda d: (d / "a/empty").write_bytes(b"x"), "a/empty has 1 bytes instead of 0"),
        (lambda d: (d / ".hidden").write_bytes(b"y"), ".hidden does not match its checksum"),
        (lambda d: shutil.rmtree(d / "a"), "is missing"),
        (lambda d: shutil.rmtree(d), "not a directory"),
        (lambda d: (shutil.rmtree(d), d.write_text("")), "not a directory"),
    ],
)
def test_damage_is_named(sealed, damage, message):
    damage(sealed)
    with pytest.raises(IntegrityError, match=message) as raised:
        verify(sealed, 7)
    assert "\n" not in str(raised.value)


def test_without_contents_only_sizes_are_compared(sealed):
    (sealed / ".hidden").write_bytes(b"y")
    verify(sealed, 7, contents=False)
    (sealed / ".hidden").write_bytes(b"yy")
    with pytest.raises(IntegrityError, match=r"\.hidden has 2 bytes"):
        verify(sealed, 7, contents=False)


def test_the_manifest_belongs_to_its_step(sealed):
    with pytest.raises(IntegrityError, match="that of step 7"):
        verify(sealed, 8)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "./a", "a//b", ""])
def test_names_outside_the_directory_are_refused(sealed, name):
    (sealed.parent / "secret").write_bytes(b"x")
    rewrite(sealed, lambda body: body["files"].update({name: body["files"][".hidden"]}))
    with pytest.raises(IntegrityError, match=r"path outside|is missing"):
        verify(sealed, 7)


def test_symbolic_links_are_refused(sealed):
    outside = sealed.parent / "outside"
    for path in (sealed / ".hidden", sealed / "a"):
        shutil.move(path, outside)
        path.symlink_to(outside)
        with pytest.raises(IntegrityError, match="symbolic link"):
            verify(sealed, 7)
        path.unlink()
        shutil.move(outside, path)
    verify(sealed, 7)
    (sealed.parent / "link").symlink_to(sealed)
    with pytest.raises(IntegrityError, match="not a directory"):
        verify(sealed.parent / "link", 7)


@pytest.mark.parametrize("entry", [None, 3, {}, {"bytes": "1", "sha256": ""}, {"bytes": 1}])
def test_malformed_entries_are_refused(sealed, entry):
    rewrite(sealed, lambda body: body["files"].update({".hidden": entry}))
    with pytest.raises(IntegrityError, match=MANIFEST):
        verify(sealed, 7)


def test_a_directory_that_cannot_be_listed_is_not_sealed(tmp_path):
    with pytest.raises(OSError):
        seal(tmp_path / "absent", 1)
