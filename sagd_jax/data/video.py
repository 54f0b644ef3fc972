"""Video and volumes: clips as folders of frames, or one array `(n, T, H, W, C)`.

In a folder, every subfolder that holds images is a film; its frames, in natural order of their
names, are cut into clips of `num_frames` that follow one another without overlap. Frames are scaled
and cropped like images. An example has shape `(T, H, W, channels)`: the first axis is time, with
`frame_rate` frames per second, the other two are space.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.arrays import read_array, value_range
from sagd_jax.data.files import READ_ERRORS, find_files, keep_readable, reason
from sagd_jax.data.fingerprint import of_array, of_files
from sagd_jax.data.images import SUFFIXES, check_image, common_shape, read_image
from sagd_jax.data.source import ArraySource, DataError, Options, RecordSource, Source
from sagd_jax.system.kinds import kind
from sagd_jax.system.schema import field


def load_video(config: Options) -> Source:
    """The source `video`.

    Raises:
      DataError: for a folder without frames, unreadable frames or films shorter than a clip (unless
        they are to be skipped), mixed sizes or channels, or an array that cannot be used.
    """
    if Path(config.dir).suffix in (".npy", ".npz"):
        return _load_array(config)
    films: dict[Path, list[Path]] = {}
    for path in find_files(config.dir, SUFFIXES, "frames"):
        films.setdefault(path.parent, []).append(path)
    length = config.num_frames or min(len(frames) for frames in films.values())

    def check(film: Path) -> list[tuple[Path, tuple[int, int, int]]]:
        if len(films[film]) < length:
            raise ValueError(
                f"{len(films[film])} frames; expected at least {length} (data.num_frames)"
            )
        return [(frame, check_image(frame)) for frame in films[film]]

    readable = keep_readable(list(films), check, config.on_error, "films")
    shape = common_shape([header for _, headers in readable for header in headers], config)
    clips = [
        films[film][start : start + length]
        for film, _ in readable
        for start in range(0, len(films[film]) - length + 1, length)
    ]

    def read(index: int) -> tuple[np.ndarray, int]:
        try:
            return np.stack([read_image(frame, shape) for frame in clips[index]]), 0
        except READ_ERRORS as error:
            raise DataError(
                f"data: cannot read a frame in {clips[index][0].parent}: {reason(error)}"
            ) from None

    source = RecordSource(
        read, len(clips), (length, *shape), kind="video", sample_rate=config.frame_rate
    )
    frames = [frame for film, _ in readable for frame in films[film]]
    source.identity = lambda: of_files(frames, Path(config.dir).expanduser())
    return source.held(config.memory_limit_mb)


def _load_array(config: Options) -> Source:
    x, _ = read_array(config)
    if x.ndim != 5:
        raise DataError(
            f"data.dir={config.dir!r}: shape {x.shape}; expected (n, time, height, width, channels)"
        )
    for name, value, found in (
        ("num_frames", config.num_frames, x.shape[1]),
        ("image_size", config.image_size, x.shape[2]),
        ("channels", config.channels, x.shape[4]),
    ):
        if value not in (0, found):
            raise DataError(f"data.{name}={value}: the clips of {config.dir!r} have {found}")
    if isinstance(x, np.memmap) and x.nbytes <= config.memory_limit_mb * 2**20:
        x = np.array(x)
    source = ArraySource(
        x, value_range=value_range(x, config), kind="video", sample_rate=config.frame_rate
    )
    source.identity = lambda: of_array(x)
    return source


SOURCE = kind(
    load_video,
    **fields.FILES,
    image_size=fields.IMAGE_SIZE,
    channels=fields.CHANNELS,
    array_key=fields.ARRAY_KEY,
    value_range=fields.VALUE_RANGE,
    num_frames=field(0, "frames per clip (0: those of the shortest clip)", low=0, high=4096),
    frame_rate=field(8.0, "frames per second of the clips", above=0),
)
