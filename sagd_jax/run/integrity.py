"""Checksums of a finished directory, so that damage is found before anything is loaded.

A flipped bit in uncompressed float32 data is still a valid float32, so no reader of arrays can
notice it. `seal` writes the size and SHA-256 of every file below a directory into
`manifest.json` inside that directory, where a copy or a move takes it along; `verify` compares.
The manifest is written last, so a directory without one was never finished.

A checksum finds accidents. It is no signature: whoever can write the files can also rewrite the
manifest, which is why `verify` treats the names in it as untrusted.
"""

import hashlib
import json
import pathlib
from concurrent import futures
from typing import Any

from etils import epath

from sagd_jax.system.files import write_whole

MANIFEST = "manifest.json"

_MAX_MANIFEST_BYTES = 16 << 20
_READ_BYTES = 1 << 20


class IntegrityError(Exception):
    """A directory is not what its manifest says; the message is one line naming the file."""


def seal(directory: epath.PathLike, step: int) -> None:
    """Writes the manifest of `directory`: size and SHA-256 of every file below it.

    Args:
      directory: an existing directory to which nothing else is writing.
      step: the training step, bound into the manifest so that a directory copied to another
        step's name is noticed.

    Raises:
      OSError: a file cannot be read or the manifest cannot be written.

    Example::

      seal("/tmp/run/50", step=50)
    """
    root = epath.Path(directory)
    files = {}
    # One file after the other: this runs beside training and must leave it the cores.
    for parent, _, names in root.walk(on_error=_reraise):
        for path in (parent / name for name in names):
            if path == root / MANIFEST:
                continue
            entry = {"bytes": path.stat().length, "sha256": _sha256(path)}
            files[path.relative_to(root).as_posix()] = entry
    write_whole(root / MANIFEST, _encode(step, files))


def verify(directory: epath.PathLike, step: int, *, contents: bool = True) -> None:
    """Checks `directory` against its manifest and returns None if they agree.

    Args:
      directory: what `seal` was called on, or a copy of it.
      step: the step that the manifest has to name.
      contents: compare checksums; with False only names, kinds and sizes, which reads no data.

    Raises:
      IntegrityError: there is no manifest, it cannot be parsed or was altered, it names a file
        outside the directory, or a file is missing, is a symbolic link, or differs.

    Example::

      verify("/tmp/run/50", step=50)
    """
    root = epath.Path(directory)
    try:
        if _is_link(root) or not root.is_dir():
            raise IntegrityError(f"{root.name} is not a directory")
        files = _read_manifest(root, step)
        for name, expected in files.items():
            _check_file(root, name, expected["bytes"])
        if contents:
            paths = [root / name for name in files]
            with futures.ThreadPoolExecutor() as pool:  # hashlib releases the GIL
                for name, digest in zip(files, pool.map(_sha256, paths), strict=True):
                    if digest != files[name]["sha256"]:
                        raise IntegrityError(f"{name} does not match its checksum")
    except OSError as error:
        raise IntegrityError(f"cannot be read: {error}") from error


def digest(directory: epath.PathLike) -> str:
    """What tells a finished directory from any other: 16 hexadecimal digits of its manifest's SHA-256.

    The manifest holds the checksum of every file, so that a copy has the same digest, and another
    training, in place too, another one.
    """
    return _sha256(epath.Path(directory) / MANIFEST)[:16]


def _reraise(error: OSError) -> None:
    raise error  # a directory that cannot be listed must not be left out in silence


def _encode(step: int, files: dict[str, Any]) -> bytes:
    body = {"algorithm": "sha256", "files": files, "step": step}
    return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()


def _sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(root: epath.Path, step: int) -> dict[str, Any]:
    path = root / MANIFEST
    if _is_link(path) or not path.is_file():
        raise IntegrityError(f"there is no {MANIFEST}: its save was not completed")
    if path.stat().length > _MAX_MANIFEST_BYTES:
        raise IntegrityError(f"{MANIFEST} is larger than {_MAX_MANIFEST_BYTES} bytes")
    data = path.read_bytes()
    try:
        body = json.loads(data)
        files, stored_step = body["files"], body["step"]
        # Encoding again has to give the same bytes: this finds what parsing would forgive, such
        # as a flipped bit that makes two names equal and so drops a file from the table.
        altered = _encode(stored_step, files) != data
        sound = all(
            isinstance(entry["bytes"], int) and isinstance(entry["sha256"], str)
            for entry in files.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{MANIFEST} cannot be parsed: {error!r}") from error
    if altered or not sound:
        raise IntegrityError(f"{MANIFEST} has been altered")
    if stored_step != step:
        raise IntegrityError(f"{MANIFEST} is that of step {stored_step}")
    return files


def _check_file(root: epath.Path, name: str, size: int) -> None:
    pure = pathlib.PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or pure.as_posix() != name or "\0" in name:
        raise IntegrityError(f"{MANIFEST} names a path outside its directory: {name!r}")
    path = root
    for part in pure.parts:
        path = path / part
        if _is_link(path):
            raise IntegrityError(f"{name} is or lies behind a symbolic link")
    if not path.is_file():
        raise IntegrityError(f"{name} is missing")
    if (actual := path.stat().length) != size:
        raise IntegrityError(f"{name} has {actual} bytes instead of {size}")


def _is_link(path: epath.Path) -> bool:
    return pathlib.Path(path).is_symlink()
