"""The table of sources: what `config.data.name` can say.

Each stands in a file of its own, or with its like, beside its fields: `split` is one of those that
have any. A loader takes the fields and `name` as attributes of one argument.
"""

from __future__ import annotations

from typing import Any

from sagd_jax.data import arrays, audio, digits, fields, images, synthetic, tfds, video

SOURCES = {
    "digits": digits.SOURCE,
    "synthetic": synthetic.SOURCE,
    "mnist": tfds.NAMED_SOURCE,
    "cifar10": tfds.NAMED_SOURCE,
    "tfds": tfds.SOURCE,
    "folder": images.SOURCE,
    "array": arrays.ARRAY_SOURCE,
    "latents": arrays.LATENTS_SOURCE,
    "audio": audio.SOURCE,
    "video": video.SOURCE,
}


def scanned(config: Any) -> str:
    """The folder in which every file of some kind, at any depth, is data: where nothing else may be written.

    Args:
      config: of a source, `config.data`.

    Returns:
      Its path; empty for sources that read no such folder.

    >>> import sagd_jax as sagd
    >>> config = sagd.default_config().data
    >>> config.name, config.dir = "folder", "photos"
    >>> scanned(config)
    'photos'
    """
    source = SOURCES.get(config.name)
    reads = source is not None and set(fields.FILES) <= set(source.fields)
    return config.dir if reads else ""
