"""From a configuration to a source."""

from __future__ import annotations

from sagd_jax.data.arrays import load_array, load_latents
from sagd_jax.data.audio import load_audio
from sagd_jax.data.augment import Augmented
from sagd_jax.data.config import DataConfig
from sagd_jax.data.corrupted import corrupted
from sagd_jax.data.digits import load_digits
from sagd_jax.data.images import load_folder
from sagd_jax.data.source import DataError, Source
from sagd_jax.data.synthetic import load_synthetic
from sagd_jax.data.tfds import load_tfds
from sagd_jax.data.video import load_video

_LOADERS = {
    "digits": load_digits,
    "synthetic": load_synthetic,
    "mnist": load_tfds,
    "cifar10": load_tfds,
    "tfds": load_tfds,
    "folder": load_folder,
    "array": load_array,
    "latents": load_latents,
    "audio": load_audio,
    "video": load_video,
}
_SPLIT = ("digits", "synthetic", "mnist", "cifar10", "tfds")


def load(config: DataConfig) -> Source:
    """The source that `config` names, corrupted and augmented as it says.

    Only reads; nothing is ever written where the data are.

    Raises:
      DataError: for data that cannot be used, in one line.

    >>> source = load(DataConfig(name="digits"))
    >>> len(source), source.shape, source.value_range, source.num_classes
    (1437, (8, 8, 1), (0, 255), 10)
    """
    if config.name not in _SPLIT and config.split != "train":
        raise DataError(
            f"data.split={config.split!r}: {config.name} has no splits; give data.dir that of one"
        )
    source = corrupted(_LOADERS[config.name](config), config)
    if config.flip or config.crop_padding:
        source = Augmented(source, flip=config.flip, crop_padding=config.crop_padding)
    return source
