"""From a configuration to a source, corrupted, filtered and augmented as it says."""

from __future__ import annotations

import types

from sagd_jax.data.augment import Augmented
from sagd_jax.data.config import DataConfig
from sagd_jax.data.corrupted import corrupted
from sagd_jax.data.filtered import filtered
from sagd_jax.data.restored import restored
from sagd_jax.data.source import DataError, Source
from sagd_jax.data.sources import SOURCES
from sagd_jax.system import import_paths, kinds, schema


def open_source(config: DataConfig) -> Source:
    """The source that `config` names, corrupted, filtered and augmented as it says.

    Only reads; nothing is ever written where the data are.

    Raises:
      DataError: for data that cannot be used, in one line.
      ConfigError: for a source by import path that cannot be made.

    >>> source = open_source(DataConfig(name="digits"))
    >>> len(source), source.shape, source.value_range, source.num_classes
    (1437, (8, 8, 1), (0, 255), 10)
    """
    by_path = schema.is_import_path(config.name)
    own = {} if by_path else kinds.options(SOURCES, config, selector="name")
    if "split" not in own and config.split != "train":
        raise DataError(
            f"data.split={config.split!r}: {config.name} has no splits; give data.dir that of one"
        )
    if by_path:
        source = import_paths.make(config.name, "config.data.name", Source, **config.options)
    else:
        source = SOURCES[config.name].make(types.SimpleNamespace(name=config.name, **own))
    source = corrupted(source, config)
    if config.restored:
        source = restored(source, config.restored)
    source = filtered(source, config)
    if config.flip or config.crop_padding:
        source = Augmented(source, flip=config.flip, crop_padding=config.crop_padding)
    return source
