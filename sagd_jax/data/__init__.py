"""Data: sources behind one interface, and the order of examples as a function of (seed, step)."""

from sagd_jax.data.config import DataConfig
from sagd_jax.data.opening import open_source
from sagd_jax.data.order import batch_indices
from sagd_jax.data.source import ArraySource, DataError, Source, denormalise, normalise
from sagd_jax.data.stream import batches, host_rows
from sagd_jax.system.late import modules_of

__all__ = [
    "ArraySource",
    "DataConfig",
    "DataError",
    "Source",
    "batch_indices",
    "batches",
    "denormalise",
    "host_rows",
    "normalise",
    "open_source",
]

__getattr__ = modules_of(__name__)
