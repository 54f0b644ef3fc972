"""The 1,797 real handwritten digits, 8 x 8, that scikit-learn carries: no download.

Their values 0 to 16 become uint8 by round(255 v / 16). Splits are fixed: sorted by class (stable),
every fifth example is held out, so that `test` (360) has each class in its share of `train`
(1,437); `all` is both, in scikit-learn's order.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.source import ArraySource, DataError, Options
from sagd_jax.system.kinds import kind
from sagd_jax.system.late import optional

SPLITS = ("train", "test", "all")


def load_digits(config: Options) -> ArraySource:
    """The source `digits`; raises DataError for an unknown split."""
    if config.split not in SPLITS:
        allowed = ", ".join(map(repr, SPLITS))
        raise DataError(f"data.split={config.split!r}: digits has the splits {allowed}")
    values, labels = _read()
    x = np.round(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    held_out = np.zeros(len(x), bool)
    held_out[np.argsort(labels, kind="stable")[::5]] = True
    chosen = {"train": ~held_out, "test": held_out, "all": np.ones(len(x), bool)}[config.split]
    return ArraySource(x[chosen], value_range=(0, 255), labels=labels[chosen], num_classes=10)


def _read() -> tuple[np.ndarray, np.ndarray]:
    """What `sklearn.datasets.load_digits` reads: values [1797, 64] and labels [1797].

    From its file, where there is one: to import scikit-learn costs more than all else a program
    imports.
    """
    package = importlib.util.find_spec("sklearn")  # does not import it
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1].astype(int)
    with optional("data.name='digits'"):
        from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


SOURCE = kind(load_digits, split=fields.SPLIT)
