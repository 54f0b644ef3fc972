"""Fields of `config.data` that several sources share; each source's own stand beside its loader."""

from __future__ import annotations

from sagd_jax.system.schema import field

# Of every source that has splits.
SPLIT = field("train", "split: digits train, test or all; tfds also slices such as 'train[:90%]'")
# Of everything that is read from disk.
STREAMED = {
    "dir": field(
        "",
        "where the data is: the folder of prepared sets (tfds; empty: ~/tensorflow_datasets), of "
        "image, audio or clip files, or the path of an .npy or .npz file",
        may_change=True,
    ),
    "memory_limit_mb": field(
        2048,
        "sets up to this size (MiB, decoded) are held in memory; larger ones stream from disk",
        low=0,
        may_change=True,
    ),
    "num_threads": field(
        8, "threads that decode streamed batches", low=1, high=256, may_change=True
    ),
    "prefetch": field(8, "batches decoded ahead when streaming", low=1, high=256, may_change=True),
}
# Of folders of files.
FILES = {
    **STREAMED,
    "on_error": field(
        "stop",
        "what cannot be read: 'stop' with an error, or 'skip' such files, windows and clips, and "
        "count them",
        choices=("stop", "skip"),
    ),
    "corrupted_folders": field(
        (),
        "names of folders within dir whose files are corrupted already: the first is kind 1, the next 2",
        hint=tuple[str, ...],
    ),
}
# Of folders of image files.
PICTURES = {
    **FILES,
    "max_megapixels": field(
        178,
        "largest image file that is decoded, a safeguard against damaged ones; raise it for large "
        "scans",
        low=1,
        high=100_000,
    ),
}
IMAGE_SIZE = field(
    0,
    "pixels per side, resized and centre-cropped with an antialiased filter (0: the source's own; "
    "mnist is zero-padded to 32)",
    low=0,
    high=4096,
)
CHANNELS = field(
    0,
    "channels: 1 grey or mono, 3 RGB, 2 stereo; any for synthetic (0: the source's own)",
    low=0,
    high=4096,
)
ARRAY_KEY = field("", "name of the array inside an .npz (empty: the only one, or 'x')")
VALUE_RANGE = field(
    (),
    "low and high of float arrays, mapped to -1 and 1 (empty: (-1, 1)); uint8 is (0, 255)",
    hint=tuple[float, ...],
)
