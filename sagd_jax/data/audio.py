"""Audio: a folder of WAV or FLAC files, cut into windows of fixed length.

An example is a window of `data.window` samples, shape `(window, channels)`, float32 in [-1, 1]; the
windows of a file follow one another without overlap, and what is left at its end is not used. All
files must have one sample rate, which the source keeps, so that bands can be given in Hz.

A WAV file that ends before its header says is refused; one of unknown length, as programs write into
pipes, is not. WAV has no checksums; a header that contradicts itself is worth a word. The frames of FLAC
have them, which are verified; its rate and length, in the header, have none.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.files import Tally, Unreadable, find_files, keep_readable, reading
from sagd_jax.data.fingerprint import of_files
from sagd_jax.data.labels import kinds_of
from sagd_jax.data.records import RecordSource
from sagd_jax.data.source import DataError, Options, Source
from sagd_jax.system.kinds import kind
from sagd_jax.system.late import optional
from sagd_jax.system.schema import field

SUFFIXES = (".wav", ".flac")
# Lengths that stand for "until the end", of programs that could not know it (sox: nearly 2 GiB).
_UNKNOWN = (0xFFFFFFFF, *range(0x7FFFF000, 0x80000000))
_PLAIN = (0x0001, 0x0003, 0xFFFE)  # codes of samples that are whole numbers, floats, or either
_CONTRADICTS = "its header contradicts itself or the file's length; it is read as libsndfile does"


def load_audio(config: Options) -> Source:
    """The source `audio`.

    Raises:
      DataError: for a folder without such files, and for files that are unreadable, shorter than a
        window, or of another sample rate or number of channels (unless they are to be skipped).
    """
    if config.channels not in (0, 1, 2):
        raise DataError(f"data.channels={config.channels}: audio has 1 (mono) or 2 (stereo)")
    paths = find_files(config.dir, SUFFIXES, "audio files")
    found = Tally()
    rate, channels = config.sample_rate, config.channels
    for path in paths:  # What the configuration leaves open, the first readable file settles.
        try:
            first_rate, first_channels, _ = read_header(path)
        except Unreadable:
            continue
        rate, channels = rate or first_rate, channels or min(first_channels, 2)
        break

    def count_windows(path: Path) -> int:
        found_rate, found_channels, frames = read_header(path, found)
        if found_rate != rate:
            raise Unreadable(path, f"{found_rate} Hz; expected {rate} Hz (data.sample_rate)")
        if found_channels != channels and config.channels != 1:
            raise Unreadable(
                path,
                f"{found_channels} channels; expected {channels} (data.channels; 1 takes the mean "
                "of all)",
            )
        if frames < config.window:
            raise Unreadable(
                path, f"{frames} samples; expected at least {config.window} (data.window)"
            )
        # The header may promise more than the file holds.
        _read(path, (frames // config.window - 1) * config.window, config.window)
        return frames // config.window

    files = keep_readable(paths, count_windows, config.on_error, "audio files")
    found.log()
    ends = np.cumsum([count for _, count in files])

    def read(index: int) -> tuple[np.ndarray, int]:
        number = int(np.searchsorted(ends, index, side="right"))
        path, count = files[number]
        offset = index - (int(ends[number]) - count)
        x = _read(path, offset * config.window, config.window)
        _check_values(path, x, offset * config.window)
        if channels == 1:
            x = x.mean(axis=1, keepdims=True)
        if x.shape[1] != channels:
            raise Unreadable(path, f"{x.shape[1]} channels; it had {channels} at the start")
        return x, 0

    source = RecordSource(
        read,
        int(ends[-1]),
        (config.window, channels),
        value_range=(-1.0, 1.0),
        dtype=np.float32,
        kind="audio",
        sample_rate=float(rate),
        on_error=config.on_error,
        what="audio windows",
    )
    kinds = kinds_of([path for path, _ in files], config)
    source.kinds = None if kinds is None else np.repeat(kinds, [count for _, count in files])
    source.identity = lambda: of_files([p for p, _ in files], Path(config.dir).expanduser())
    return source.held(config.memory_limit_mb)


def read_header(path: Path, found: Tally | None = None) -> tuple[int, int, int]:
    """(samples per second, channels, samples) of a file that is as long as it says.

    Args:
      found: what is worth a word is noted in it.

    Raises:
      Unreadable: it ends before its header says, or cannot be read.
    """
    with optional("data.name='audio'"):
        import soundfile

    with reading(path):
        if not _is_consistent(path) and found is not None:
            found.add(_CONTRADICTS, path)
        # Not `soundfile.info`, which also decodes the library's notes on odd metadata.
        with soundfile.SoundFile(str(path)) as sound:
            if not sound.seekable():
                raise ValueError(f"{sound.subtype} cannot be read in windows; write it as PCM")
            return sound.samplerate, sound.channels, sound.frames


def _is_consistent(path: Path) -> bool:
    """Whether what a WAV file's header says twice agrees; True for other files.

    Raises:
      ValueError: for a WAV file that ends within its samples, which libsndfile lets pass.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise ValueError("is empty")
        head = file.read(12)
        order = {b"RIFF": "<", b"RIFX": ">"}.get(head[:4])
        if order is None or head[8:] != b"WAVE":
            return True
        whole = struct.unpack(f"{order}I", head[4:8])[0]
        consistent = whole in _UNKNOWN or 0 <= size - 8 - whole <= 1
        while len(chunk := file.read(8)) == 8:
            kind, length = chunk[:4], struct.unpack(f"{order}I", chunk[4:])[0]
            held = size - file.tell()
            if kind == b"data":
                if held < length and length not in _UNKNOWN:
                    raise ValueError(f"truncated: {held} of {length} bytes of sound")
                if length in _UNKNOWN:
                    return consistent
            start = file.tell()
            if kind == b"fmt " and length >= 16:
                code, channels, rate, speed, block, bits = struct.unpack(
                    f"{order}HHIIHH", file.read(16)
                )
                fits = (block, speed) == (channels * ((bits + 7) // 8), rate * block)
                consistent &= fits or code not in _PLAIN
            file.seek(start + length + length % 2)
        return consistent and file.tell() - size in (0, 1)  # the last may lack its padding


def _read(path: Path, start: int, length: int) -> np.ndarray:
    with optional("data.name='audio'"):
        import soundfile

    with reading(path):
        x, _ = soundfile.read(
            str(path), frames=length, start=start, dtype="float32", always_2d=True
        )
        if len(x) < length:
            raise ValueError(f"truncated: {len(x)} of {length} samples at {start}")
        return x


def _check_values(path: Path, x: np.ndarray, start: int) -> None:
    # Files of integers reach from -1 to 1 by definition; files of floats may hold anything.
    where = f"in the window at sample {start}"
    if not np.all(np.isfinite(x)):
        raise Unreadable(path, f"NaN or infinite values {where}")
    largest = float(np.abs(x).max())
    if largest > 1:
        raise Unreadable(
            path,
            f"values up to {largest:.4g}; expected [-1, 1] ({where}): divide the sound by its "
            "largest value, or write it as 16-bit PCM, which clips it",
        )


SOURCE = kind(
    load_audio,
    **fields.FILES,
    channels=fields.CHANNELS,
    sample_rate=field(0, "Hz that every audio file must have (0: that of the first)", low=0),
    window=field(16384, "samples per audio example", low=2),
)
