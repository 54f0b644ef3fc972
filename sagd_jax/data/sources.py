"""The table of sources: what `config.data.name` can say.

Each stands in a file of its own, or with its like, beside its fields: `split` is one of those that
have any. A loader takes the fields and `name` as attributes of one argument.
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
