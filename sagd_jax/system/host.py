"""Computing on the host, for what is made before it goes to an accelerator.

Data are made here, whatever the devices: the same numbers on all machines, and a batch that is being made
does not wait behind the training step that an accelerator is busy with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import AxisType, Mesh


def host_device() -> jax.Device:
    """A device of this process that has the host's memory; its first one where there is none."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


@contextlib.contextmanager
def on_host() -> Iterator[jax.Device]:
    """What is computed within is computed there, also where the mesh of a run is set.

    >>> import jax.numpy as jnp
    >>> with on_host() as device:
    ...     x = jnp.arange(3) + 1
    >>> x.device == device
    True
    """
    device = host_device()
    mesh = Mesh(np.asarray([device]), ("host",), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh), jax.default_device(device):
        yield device
