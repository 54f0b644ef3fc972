"""Runs of a network of one number, made without training, as programs find them."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

import sagd_jax as sagd
from sagd_jax.data import ArraySource
from sagd_jax.run.config import RunConfig
from sagd_jax.run.record import describe_run
from sagd_jax.run.saved import Run
from sagd_jax.system import schema


class Scale(nn.Module):
    """The input times a number; with classes, times 2 + the class, or 1 where none is given."""

    num_classes: int = 0

    @nn.compact
    def __call__(self, x, timestep, label=None, train=False):
        scale = self.param("scale", nn.initializers.ones, ())
        if label is not None:
            scale = scale * (2 + label.astype(x.dtype)).reshape(-1, *(1,) * (x.ndim - 1))
        return scale * x


def toy_run(scale=0.3, *, shape=(6, 4, 4, 1), dtype=np.uint8, identity="a", classes=0, **config):
    """A run that predicts v, on zeros of `shape`; `config` is of sections, such as `data`."""
    values = {"model": {"prediction": "v"}, "schedule": {"kind": "cosine"}, **config}
    config = schema.build(RunConfig, values)
    low, high = (0, 255) if dtype == np.uint8 else (-1.0, 1.0)
    source = ArraySource(np.zeros(shape, dtype), value_range=(low, high), num_classes=classes)
    record = describe_run(config, source)
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law(shape[1:-1], -0.5))
    params = {"scale": jnp.float32(scale)}
    return Run(Scale(classes), params, diffusion, record, 5, identity)


def with_data(run, **fields):
    """The run with another record of its data."""
    data = dataclasses.replace(run.record.data, **fields)
    return dataclasses.replace(run, record=dataclasses.replace(run.record, data=data))


def serve(monkeypatch, **runs):
    """Lets programs find these runs: `--workdir=NAME` is the one of that name."""
    monkeypatch.setattr("sagd_jax.run.saved.load_run", lambda workdir, *a, **k: runs[str(workdir)])
