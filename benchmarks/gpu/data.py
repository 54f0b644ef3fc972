"""CIFAR-10 as one file, to be taken to a machine that has no tensorflow-datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def make_data(directory: str, file: str, count: int | None) -> None:
    """Writes the first `count` training images of a prepared CIFAR-10 as an .npz: x and label."""
    from sagd_jax import data
    from sagd_jax.data import DataConfig

    split = "train" if count is None else f"train[:{count}]"
    source = data.open_source(DataConfig(name="cifar10", dir=directory, split=split))
    batch = source.fetch(np.arange(len(source)))
    np.savez_compressed(file, x=batch["x"], label=batch["label"])
    size = Path(file).stat().st_size
    print(f"{file}: {len(source)} images {batch['x'].shape[1:]}, {size / 2**20:.1f} MiB")
