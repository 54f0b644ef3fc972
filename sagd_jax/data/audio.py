"""Audio: a folder of WAV or FLAC files, cut into windows of fixed length.

An example is a window of `data.window` samples, shape `(window, channels)`, float32 in [-1, 1]; the
windows of a file follow one another without overlap, and what is left at its end is not used. All
files must have one sample rate, which the source keeps, so that bands can be given in Hz.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.files import READ_ERRORS, find_files, keep_readable, reason
from sagd_jax.data.fingerprint import of_files
from sagd_jax.data.source import DataError, Options, RecordSource, Source
from sagd_jax.system.kinds import kind
from sagd_jax.system.schema import field

SUFFIXES = (".wav", ".flac")


def load_audio(config: Options) -> Source:
    """The source `audio`.

    Raises:
      DataError: for a folder without such files, and for files that are unreadable, shorter than a
        window, or of another sample rate or number of channels (unless they are to be skipped).
    """
    import soundfile

    if config.channels not in (0, 1, 2):
        raise DataError(f"data.channels={config.channels}: audio has 1 (mono) or 2 (stereo)")
    paths = find_files(config.dir, SUFFIXES, "audio files")
    rate, channels = config.sample_rate, config.channels
    for path in paths:  # What the configuration leaves open, the first readable file settles.
        try:
            first = soundfile.info(str(path))
        except READ_ERRORS:
            continue
        rate, channels = rate or first.samplerate, channels or first.channels
        break

    def count_windows(path: Path) -> int:
        found = soundfile.info(str(path))
        if found.samplerate != rate:
            raise ValueError(f"{found.samplerate} Hz; expected {rate} Hz (data.sample_rate)")
        if found.channels != channels and config.channels != 1:
            raise ValueError(f"{found.channels} channels; expected {channels} (data.channels)")
        if found.frames < config.window:
            raise ValueError(
                f"{found.frames} samples; expected at least {config.window} (data.window)"
            )
        # The header may promise more than the file holds.
        _read_window(path, (found.frames // config.window - 1) * config.window, config.window)
        return found.frames // config.window

    files = keep_readable(paths, count_windows, config.on_error, "audio files")
    ends = np.cumsum([count for _, count in files])

    def read(index: int) -> tuple[np.ndarray, int]:
        number = int(np.searchsorted(ends, index, side="right"))
        path, count = files[number]
        offset = index - (int(ends[number]) - count)
        try:
            x = _read_window(path, offset * config.window, config.window)
        except READ_ERRORS as error:
            raise DataError(f"data: cannot read {path}: {reason(error)}") from None
        return (x.mean(axis=1, keepdims=True) if channels == 1 else x), 0

    source = RecordSource(
        read,
        int(ends[-1]),
        (config.window, channels),
        value_range=(-1.0, 1.0),
        dtype=np.float32,
        kind="audio",
        sample_rate=float(rate),
    )
    source.identity = lambda: of_files([p for p, _ in files], Path(config.dir).expanduser())
    return source.held(config.memory_limit_mb)


def _read_window(path: Path, start: int, length: int) -> np.ndarray:
    import soundfile

    x, _ = soundfile.read(str(path), frames=length, start=start, dtype="float32", always_2d=True)
    if len(x) < length:
        raise ValueError(f"truncated: {len(x)} of {length} samples at {start}")
    # Files of integers reach from -1 to 1 by definition; files of floats may hold anything.
    if not np.all(np.isfinite(x)):
        raise ValueError("NaN or infinite values")
    if np.abs(x).max() > 1:
        raise ValueError(f"values up to {np.abs(x).max():.4g}; expected [-1, 1]")
    return x


SOURCE = kind(
    load_audio,
    **fields.FILES,
    channels=fields.CHANNELS,
    sample_rate=field(0, "Hz that every audio file must have (0: that of the first)", low=0),
    window=field(16384, "samples per audio example", low=2),
)
