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
from sagd_jax.data.arrays import array_source, read_array, value_range
from sagd_jax.data.files import Tally, Unreadable, find_files, keep_readable
from sagd_jax.data.fingerprint import of_files
from sagd_jax.data.image_files import SUFFIXES, Shape, check_image, prepare, read_image
from sagd_jax.data.images import common_shape
from sagd_jax.data.labels import kinds_of
from sagd_jax.data.records import RecordSource
from sagd_jax.data.source import DataError, Options, Source
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
    prepare(config.max_megapixels)
    found = Tally()

    def check_length(film: Path) -> None:
        if len(films[film]) < length:
            raise Unreadable(
                film, f"{len(films[film])} frames; expected at least {length} (data.num_frames)"
            )

    def check_frames(clip: tuple[Path, ...]) -> list[tuple[Path, Shape]]:
        return [(frame, check_image(frame, config.max_megapixels, found)) for frame in clip]

    long_enough = keep_readable(list(films), check_length, config.on_error, "films")
    clips = [
        tuple(films[film][start : start + length])
        for film, _ in long_enough
        for start in range(0, len(films[film]) - length + 1, length)
    ]
    # A clip with a bad frame goes as a whole, since time would jump without it.
    readable = keep_readable(clips, check_frames, config.on_error, "clips")
    found.log()
    shape = common_shape([header for _, headers in readable for header in headers], config)
    clips = [clip for clip, _ in readable]

    def read(index: int) -> tuple[np.ndarray, int]:
        resize = config.image_size > 0
        frames = [read_image(f, shape, resize, config.max_megapixels) for f in clips[index]]
        return np.stack(frames), 0

    source = RecordSource(
        read,
        len(clips),
        (length, *shape),
        kind="video",
        sample_rate=config.frame_rate,
        on_error=config.on_error,
        what="clips",
    )
    source.kinds = kinds_of([clip[0] for clip in clips], config)
    frames = [frame for clip in clips for frame in clip]
    source.identity = lambda: of_files(frames, Path(config.dir).expanduser())
    return source.held(config.memory_limit_mb)


def _load_array(config: Options) -> Source:
    x, extras = read_array(config)
    if x.ndim != 5:
        raise DataError(
            f"data.dir={config.dir!r}: shape {x.shape}; expected (n, time, height, width, channels)"
        )
    if config.corrupted_folders:
        raise DataError(
            "data.corrupted_folders: an array lies in no folders; expected data.corrupted_flags"
        )
    for name, value, found in (
        ("num_frames", config.num_frames, x.shape[1]),
        ("image_size", config.image_size, x.shape[2]),
        ("channels", config.channels, x.shape[4]),
    ):
        if value not in (0, found):
            raise DataError(f"data.{name}={value}: the clips of {config.dir!r} have {found}")
    return array_source(x, value_range(x, config), extras, "video", config, config.frame_rate)


SOURCE = kind(
    load_video,
    **fields.PICTURES,
    image_size=fields.IMAGE_SIZE,
    channels=fields.CHANNELS,
    array_key=fields.ARRAY_KEY,
    value_range=fields.VALUE_RANGE,
    num_frames=field(0, "frames per clip (0: those of the shortest clip)", low=0, high=4096),
    frame_rate=field(8.0, "frames per second of the clips", above=0),
)
