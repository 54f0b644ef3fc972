"""The configuration section `config.data`: which data, in what shape, and what is done to it."""

from __future__ import annotations

import dataclasses

from sagd_jax import schema
from sagd_jax.frequencies import UNITS

SOURCES = (
    "digits",
    "synthetic",
    "mnist",
    "cifar10",
    "tfds",
    "folder",
    "array",
    "latents",
    "audio",
    "video",
)
_TFDS = ("mnist", "cifar10", "tfds")
_RESIZED = (*_TFDS, "folder", "video")
_FILES = ("folder", "audio", "video")
_STREAMED = (*_TFDS, *_FILES, "array", "latents")
_CORRUPTIONS = ("none", "band", "hum", "moire", "wedge", "stripes", "jpeg_grid", "blur")
_CORRUPTED = _CORRUPTIONS[1:]


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The data: a source, its shape, augmentation, and an optional corruption."""

    name: str = schema.field("digits", "source of the data", choices=SOURCES)
    dir: str = schema.field(
        "",
        "where the data is: the folder of prepared sets (tfds; empty: ~/tensorflow_datasets), of "
        "image, audio or clip files, or the path of an .npy or .npz file",
        only={"name": _STREAMED},
    )
    split: str = schema.field(
        "train", "split: digits train, test or all; tfds also slices such as 'train[:90%]'"
    )
    image_size: int = schema.field(
        0,
        "pixels per side, resized and centre-cropped with an antialiased filter (0: the source's "
        "own; mnist is zero-padded to 32)",
        low=0,
        high=4096,
        only={"name": _RESIZED},
    )
    channels: int = schema.field(
        0,
        "channels: 1 grey or mono, 3 RGB, 2 stereo; any for synthetic (0: the source's own)",
        low=0,
        high=4096,
        only={"name": ("synthetic", "tfds", "folder", "audio", "video")},
    )

    tfds_name: str = schema.field(
        "", "name of a tensorflow-datasets set, with or without config", only={"name": ("tfds",)}
    )
    tfds_image: str = schema.field("image", "feature with the image", only={"name": ("tfds",)})
    tfds_label: str = schema.field(
        "label", "feature with the class, used if it is there", only={"name": ("tfds",)}
    )

    field_shape: tuple[int, ...] = schema.field(
        (32, 32), "spatial shape of synthetic fields", low=1, only={"name": ("synthetic",)}
    )
    field_alpha: float = schema.field(
        -1.0, "slope of their amplitude, r^alpha", only={"name": ("synthetic",)}
    )
    field_seed: int = schema.field(
        0, "seed of the set of fields", low=0, only={"name": ("synthetic",)}
    )
    num_examples: int = schema.field(
        4096, "number of synthetic fields", low=1, only={"name": ("synthetic",)}
    )

    array_key: str = schema.field(
        "",
        "name of the array inside an .npz (empty: the only one, or 'x')",
        only={"name": ("array", "latents", "video")},
    )
    value_range: tuple[float, ...] = schema.field(
        (),
        "low and high of float arrays, mapped to -1 and 1 (empty: (-1, 1)); uint8 is (0, 255)",
        only={"name": ("array", "video")},
    )
    sample_rate: int = schema.field(
        0,
        "Hz that every audio file must have (0: that of the first)",
        low=0,
        only={"name": ("audio",)},
    )
    window: int = schema.field(16384, "samples per audio example", low=2, only={"name": ("audio",)})
    num_frames: int = schema.field(
        0,
        "frames per clip (0: those of the shortest clip)",
        low=0,
        high=4096,
        only={"name": ("video",)},
    )
    frame_rate: float = schema.field(
        8.0, "frames per second of the clips", above=0, only={"name": ("video",)}
    )

    folder_labels: bool = schema.field(
        False, "whether the first subfolder of an image is its class", only={"name": ("folder",)}
    )

    on_error: str = schema.field(
        "stop",
        "unreadable files: 'stop' with an error, or 'skip' and count them",
        choices=("stop", "skip"),
        only={"name": _FILES},
    )
    memory_limit_mb: int = schema.field(
        2048,
        "sets up to this size (MiB, decoded) are held in memory; larger ones stream from disk",
        low=0,
        only={"name": _STREAMED},
    )
    num_threads: int = schema.field(
        8, "threads that decode streamed batches", low=1, high=256, only={"name": _STREAMED}
    )
    prefetch: int = schema.field(
        8, "batches decoded ahead when streaming", low=1, high=256, only={"name": _STREAMED}
    )

    flip: bool = schema.field(
        False, "mirror each example left to right with probability 1/2, anew in every epoch"
    )
    crop_padding: int = schema.field(
        0, "pad each side by reflection and crop at a random place (pixels or samples)", low=0
    )

    corruption: str = schema.field(
        "none", "degradation added to the data, for studying it", choices=_CORRUPTIONS
    )
    corruption_strength: float = schema.field(
        1.0,
        "standard deviation of what is added, in units of the network's [-1, 1] range (blur: width "
        "in samples; jpeg_grid: factor on JPEG's table of quality 50)",
        low=0,
        only={"corruption": _CORRUPTED},
    )
    corruption_band: tuple[float, ...] = schema.field(
        (),
        "radial band (low, high) in corruption_unit, for band and wedge",
        low=0,
        only={"corruption": ("band", "wedge")},
    )
    corruption_unit: str = schema.field(
        "max",
        "unit of corruption_band (hz: audio, band only)",
        choices=UNITS,
        only={"corruption": ("band", "wedge")},
    )
    corruption_frequency: tuple[float, ...] = schema.field(
        (),
        "hum: fundamental in Hz; stripes: frequency along the first axis; moire: frequency vectors "
        "one after the other (flicker of clips: f, 0, 0), both in cycles per sample",
        only={"corruption": ("hum", "moire", "stripes")},
    )
    corruption_harmonics: int = schema.field(
        2, "overtones of the hum", low=0, only={"corruption": ("hum",)}
    )
    corruption_angle: float = schema.field(
        0.0,
        "wedge: direction of its frequencies in degrees, from the last axis towards the first "
        "(streaks run across it)",
        only={"corruption": ("wedge",)},
    )
    corruption_width: float = schema.field(
        30.0, "wedge: full angle in degrees", above=0, high=180, only={"corruption": ("wedge",)}
    )
    corruption_frozen: bool = schema.field(
        True,
        "whether the corruption belongs to the example (the same in every epoch) or is drawn anew",
        only={"corruption": _CORRUPTED},
    )
    corrupted_fraction: float = schema.field(
        1.0,
        "share of the examples that is corrupted (a fixed choice, by index)",
        low=0,
        high=1,
        only={"corruption": _CORRUPTED},
    )
    corrupted_flags: str = schema.field(
        "",
        "path of an .npy of booleans, one per example: which are corrupted already on disk, or, "
        "with a corruption, which shall be",
    )
