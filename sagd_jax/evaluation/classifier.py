"""A small classifier trained on the labelled data themselves: features that need no download.

Its distances compare runs on the same data with the same classifier, and nothing else: they are no FID.
It is a function of the data, the seed and the settings here, and is kept on disk under a fingerprint
of all of them; its accuracy on held-out data says how far its features can be trusted.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import logging
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sagd_jax.data.order import batch_indices
from sagd_jax.data.source import Source, normalise
from sagd_jax.system.files import write_whole

FEATURES = 64
_VERSION = 1  # of all that the settings below do not say
_WIDTH = 32
_SMALLEST = 4  # sites along the longest axis when the features are taken
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the classifier is trained.

    Attributes:
      num_steps: of Adam, with a cosine decay to 0.
      batch_size: examples per step, or all of them if there are fewer.
      learning_rate: at the start.
      seed: of the initial weights and the order.
    """

    num_steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 2e-3
    seed: int = 0


class Network(nn.Module):
    """Convolutions that halve the grid down to 4 sites, then 64 features, then the classes."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        axes, width = x.ndim - 2, _WIDTH
        x = nn.silu(nn.LayerNorm()(nn.Conv(width, (3,) * axes)(x)))
        while max(x.shape[1:-1]) > _SMALLEST:
            width = min(2 * width, 4 * _WIDTH)
            strides = tuple(2 if n > 1 else 1 for n in x.shape[1:-1])
            x = nn.silu(nn.LayerNorm()(nn.Conv(width, (3,) * axes, strides=strides)(x)))
        # Of bounded size, so that no distance is made by a few large ones.
        features = nn.silu(nn.LayerNorm()(nn.Dense(FEATURES)(x.reshape(len(x), -1))))
        return features, nn.Dense(self.num_classes)(features)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
      network, params: its parts.
      fingerprint: of the data, the seed and the settings.
      accuracy: on held-out examples.
      num_held_out: of them.
    """

    network: Network
    params: Any
    fingerprint: str
    accuracy: float
    num_held_out: int

    def features(self, x: jax.Array) -> jax.Array:
        """Of signals `(n, *spatial, channels)` in [-1, 1]: `(n, 64)`."""
        result: jax.Array = self.network.apply({"params": self.params}, x)[0]
        return result


def trained(
    train: Source,
    held_out: Source,
    data: str,
    cache: Path | None = None,
    settings: Settings | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Classifier:
    """The classifier of a labelled set, from the cache if it is there.

    Args:
      train, held_out: with labels, of one shape.
      data: a fingerprint of both.
      cache: a folder, made if need be; None: it is trained anew.
      say: told that it is being trained.

    Raises:
      ValueError: data without labels.
    """
    if not train.num_classes:
        raise ValueError("the data have no labels, so there is nothing to train a classifier on")
    settings = settings or Settings()
    words = json.dumps([_VERSION, data, dataclasses.asdict(settings)])
    fingerprint = hashlib.blake2b(words.encode(), digest_size=8).hexdigest()
    network = Network(train.num_classes)
    file = None if cache is None else cache / f"classifier-{fingerprint}.npz"
    stored = None if file is None else _read(file, network, train.shape)
    if stored is None:
        say(f"training the classifier ({settings.num_steps} steps)")
        params = _train(network, train, settings)
        stored = params, _accuracy(network, params, held_out)
        if file is not None:
            _write(file, *stored)
    return Classifier(network, stored[0], fingerprint, stored[1], len(held_out))


def _train(network: Network, source: Source, settings: Settings) -> Any:
    optimizer = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, settings.num_steps))
    batch = min(settings.batch_size, len(source))

    def loss(params: Any, x: jax.Array, label: jax.Array) -> jax.Array:
        logits: Any = network.apply({"params": params}, normalise(x, source.value_range))[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: jax.Array, label: jax.Array) -> Any:
        params, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(params, x, label), moments)
        return optax.apply_updates(params, updates), moments

    initial = jax.jit(network.init)(jax.random.key(settings.seed), jnp.zeros((1, *source.shape)))
    state = initial["params"], jax.jit(optimizer.init)(initial["params"])
    for number in range(settings.num_steps):
        examples = source.fetch(batch_indices(settings.seed, len(source), batch, number))
        state = step(state, examples["x"], examples["label"])
    return state[0]


def _accuracy(network: Network, params: Any, source: Source, batch: int = 256) -> float:
    @jax.jit
    def classes(params: Any, x: jax.Array) -> jax.Array:
        logits: Any = network.apply({"params": params}, normalise(x, source.value_range))[1]
        return jnp.argmax(logits, axis=-1)

    right = 0
    for first in range(0, len(source), batch):
        # Always a whole batch, so that one shape is compiled.
        rows = np.minimum(np.arange(first, first + batch), len(source) - 1)
        examples = source.fetch(rows)
        hits = np.asarray(classes(params, examples["x"])) == examples["label"]
        right += int(hits[: len(source) - first].sum())
    return right / len(source)


def _write(file: Path, params: Any, accuracy: float) -> None:
    leaves = {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(params)}
    buffer = io.BytesIO()
    np.savez(buffer, accuracy=accuracy, **leaves)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, buffer.getvalue(), alone=False)
    except OSError as error:
        _log.warning("the classifier could not be kept in %s: %s", file, error)


def _read(file: Path, network: Network, shape: tuple[int, ...]) -> tuple[Any, float] | None:
    """What a file of the cache holds, if it is sound."""
    template = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, *shape)))["params"]
    )
    names = [
        (jax.tree_util.keystr(k), v.shape) for k, v in jax.tree_util.tree_leaves_with_path(template)
    ]
    try:
        with np.load(file, allow_pickle=False) as content:
            leaves = [content[name] for name, _ in names]
            accuracy = float(content["accuracy"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    for leaf, (_, expected) in zip(leaves, names, strict=True):
        if leaf.shape != expected or leaf.dtype != np.float32 or not np.isfinite(leaf).all():
            return None
    return jax.tree.unflatten(jax.tree.structure(template), leaves), accuracy
