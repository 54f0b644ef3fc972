"""The table of sources: what `config.data.name` can say. Each has a file of its own.

A loader takes the source's fields, and `name` and `split`, as attributes of one argument.
"""

from __future__ import annotations

from sagd_jax.data import arrays, audio, digits, images, synthetic, tfds, video

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
WITH_SPLITS = ("digits", "synthetic", "mnist", "cifar10", "tfds")
