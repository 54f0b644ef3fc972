"""The feed of the loop: what the source has to say at the end."""

import threading
import time

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sagd_jax.data import ArraySource
from sagd_jax.data.source import Source, as_batch
from sagd_jax.run.config import RunConfig
from sagd_jax.training.feed import Feed


class Reporting(ArraySource):
    reports = 0

    def report(self):
        self.reports += 1


def test_what_could_not_be_read_is_said_once_at_the_end():
    source = Reporting(np.zeros((4, 8, 8, 1), np.uint8), value_range=(0, 255))
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
    with Feed(source, RunConfig(), NamedSharding(mesh, PartitionSpec()), spans=[]):
        assert not source.reports
    assert source.reports == 1


class Held(Source):
    """Has its examples when it is let go."""

    shape, dtype, value_range = (8, 8, 1), np.dtype(np.uint8), (0, 255)

    def __init__(self):
        self.go = threading.Event()

    def __len__(self):
        return 256

    def fetch(self, indices, *, seed=0, step=0):
        self.go.wait(60)
        return as_batch(np.zeros((len(indices), *self.shape), np.uint8), np.zeros(len(indices)))


def test_it_is_empty_until_data_are_there():
    source = Held()
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
    with Feed(
        source, RunConfig(), NamedSharding(mesh, PartitionSpec()), spans=[(0, 1), (1, 2)]
    ) as feed:
        assert feed.empty
        source.go.set()
        assert feed.next()["x"].shape[-3:] == (8, 8, 1)
        while feed.empty:
            time.sleep(0.01)
        assert feed.next() is not None and feed.empty
