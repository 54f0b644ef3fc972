"""Image sets of tensorflow-datasets, read through ArrayRecord without TensorFlow.

Only sets already prepared in the ArrayRecord format can be read (TFDS's `data_source`); the stock
builders need TensorFlow once, to prepare. Any set with an image feature will do, with any of TFDS's
splits and slices. MNIST is zero-padded from 28 x 28 to 32 x 32, as usual for U-Nets.

Sets that fit in memory are decoded once; larger ones are decoded as they are read.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import logging
import os
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.files import Unreadable, reading, reason
from sagd_jax.data.fingerprint import Fingerprint, of_files
from sagd_jax.data.images import resize_and_crop
from sagd_jax.data.records import RecordSource
from sagd_jax.data.source import DataError, Options, Source
from sagd_jax.system.kinds import kind
from sagd_jax.system.late import optional
from sagd_jax.system.schema import field


def load_tfds(config: Options) -> Source:
    """The source `tfds`.

    Raises:
      DataError: for an unknown set (the nearest name is suggested), one that is not prepared (with
        the command that prepares it), an unknown split, or a set without such an image feature.
    """
    name = config.tfds_name
    if not name:
        raise DataError("data.tfds_name: expected the name of a tensorflow-datasets set")
    builder = _builder(name, config.dir)
    features = builder.info.features
    if config.tfds_image not in features or len(features[config.tfds_image].shape) != 3:
        raise DataError(
            f"data.tfds_image={config.tfds_image!r}: {name} has no such image; its features are "
            f"{', '.join(features)}"
        )
    with _quiet():
        records = _records(builder, config.split, name)
        if not len(records):
            raise DataError(f"data.split={config.split!r}: holds no example of {name}")
        num_classes = 0
        if config.tfds_label in features:
            num_classes = int(getattr(features[config.tfds_label], "num_classes", 0) or 0)

        shards = _Shards(builder, config.split)

        def read(index: int) -> tuple[np.ndarray, int]:
            with shards.reading(index):
                record = records[index]
                label = int(record[config.tfds_label]) if num_classes else 0
                image = np.asarray(record[config.tfds_image])
                if num_classes and not 0 <= label < num_classes:
                    raise ValueError(f"class {label} of {num_classes}")
            return _fit(image, config), label

        try:
            shape = read(0)[0].shape
        except Unreadable as error:
            raise DataError(f"data: cannot read {error}") from None

        def read_alike(index: int) -> tuple[np.ndarray, int]:
            image, label = read(index)
            if image.shape != shape:
                raise DataError(
                    f"data: images of {name} of mixed sizes, {shape} and {image.shape} (height, "
                    "width, channels); set data.image_size"
                )
            return image, label

        source = RecordSource(
            read_alike, len(records), shape, num_classes=num_classes, what=f"examples of {name}"
        )
        source.identity = lambda: _fingerprint(builder, config.split)
        read_how = (
            f"{name} {config.split} {config.tfds_image} {config.image_size} {config.channels}"
        )
        unchanging = (
            *source.identity(),
            read_how,
            f"Pillow {importlib.metadata.version('pillow')}",
        )
        return source.held(config.memory_limit_mb, unchanging)


def load_named(config: Options) -> Source:
    """The sources `mnist` and `cifar10`: that set of tensorflow-datasets; errors as `load_tfds`."""
    fixed = {"tfds_name": config.name, "tfds_image": "image", "tfds_label": "label", "channels": 0}
    return load_tfds(types.SimpleNamespace(**fixed, **vars(config)))


def _builder(name: str, directory: str) -> Any:
    with optional(f"data.name={name!r}"):
        import tensorflow_datasets as tfds
    where = os.path.expanduser(directory) or None
    try:
        with _quiet():
            builder = tfds.builder(name, data_dir=where)
            prepared = bool(builder.info.splits)
    except Exception as error:  # TFDS raises many kinds for a name it cannot read.
        known = tfds.list_builders(with_community_datasets=False)
        if name in known:
            raise DataError(f"data: cannot read what describes {name}: {reason(error)}") from None
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else reason(error)
        raise DataError(f"data: tensorflow-datasets has no set {name!r}; {hint}") from None
    found = builder.info.file_format.value if prepared else None
    if found not in ("array_record", "parquet"):
        state = f"prepared as {found}" if found else "not prepared"
        raise DataError(
            f"data: {name} is {state} in {builder.data_dir_root}; prepare it once with: "
            f"{_preparation(builder)}"
        )
    return builder


def _preparation(builder: Any) -> str:
    """The command that prepares a set."""
    name = "/".join(
        filter(None, (builder.name, builder.builder_config and builder.builder_config.name))
    )
    arguments = f"{name!r}, data_dir={str(builder.data_dir_root)!r}, file_format='array_record'"
    return (
        'pip install tensorflow-cpu && python -c "import tensorflow_datasets as tfds; '
        f'tfds.builder({arguments}).download_and_prepare()"'
    )


def _records(builder: Any, split: str, name: str) -> Any:
    try:
        return builder.as_data_source(split=split)
    except ValueError:
        allowed = ", ".join(map(repr, builder.info.splits))
        raise DataError(
            f"data.split={split!r}: {name} has the splits {allowed}, or slices of them such as "
            "'train[:90%]'"
        ) from None


class _Shards:
    """The files of a split, to name the one that holds an example."""

    def __init__(self, builder: Any, split: str):
        self._files = builder.info.splits[split].file_instructions
        self._ends = np.cumsum([file.take for file in self._files])
        self._preparation = _preparation(builder)

    @contextlib.contextmanager
    def reading(self, index: int) -> Iterator[None]:
        """Around the reading of example `index`; raises `Unreadable`, with what to do."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        path = self._files[min(number, len(self._files) - 1)].filename
        try:
            with reading(path):
                yield
        except Unreadable as error:
            advice = f"copy this file anew, or delete it and prepare the set: {self._preparation}"
            raise Unreadable(path, f"{error.why}; {advice}") from None


def _fingerprint(builder: Any, split: str) -> Fingerprint:
    """What tells this version of a set from others: its name, and its files as they are on disk."""
    paths = builder.info.splits[split].filepaths
    files = of_files(paths, builder.data_path, size=lambda path: path.stat().length)
    return (f"{builder.info.full_name}:", *files)


def _fit(image: np.ndarray, config: Options) -> np.ndarray:
    if image.dtype != np.uint8:
        raise DataError(f"data: images of dtype {image.dtype}; expected uint8")
    if config.channels and config.channels != image.shape[-1]:
        raise DataError(f"data.channels={config.channels}: the images have {image.shape[-1]}")
    size = config.image_size or (32 if config.name == "mnist" else 0)
    if config.name == "mnist" and size >= image.shape[0]:
        extra = size - image.shape[0]
        before = extra // 2
        return np.pad(image, [(before, extra - before)] * 2 + [(0, 0)])
    if size in (0, image.shape[0]) and image.shape[0] == image.shape[1]:
        return image
    return resize_and_crop(image, size or min(image.shape[:2]))


@contextlib.contextmanager
def _quiet():
    """Hides TFDS's advice on which image decoder to install."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


NAMED_SOURCE = kind(load_named, **fields.STREAMED, split=fields.SPLIT, image_size=fields.IMAGE_SIZE)
SOURCE = kind(
    load_tfds,
    **fields.STREAMED,
    split=fields.SPLIT,
    image_size=fields.IMAGE_SIZE,
    channels=fields.CHANNELS,
    tfds_name=field("", "name of a tensorflow-datasets set, with or without config"),
    tfds_image=field("image", "feature with the image"),
    tfds_label=field("label", "feature with the class, used if it is there"),
)
