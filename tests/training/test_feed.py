"""The feed of the loop: what the source has to say at the end."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sagd_jax.data import ArraySource
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
