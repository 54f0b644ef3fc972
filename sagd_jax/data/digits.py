"""The 1,797 real handwritten digits, 8 x 8, that scikit-learn carries: no download.

Their values 0 to 16 become uint8 by round(255 v / 16). Splits are fixed: sorted by class (stable),
every fifth example is held out, so that `test` (360) has each class in its share of `train`
(1,437); `all` is both, in scikit-learn's order.
"""

from __future__ import annotations

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.source import ArraySource, DataError, Options
from sagd_jax.system.kinds import kind

SPLITS = ("train", "test", "all")


def load_digits(config: Options) -> ArraySource:
    """The source `digits`; raises DataError for an unknown split."""
    if config.split not in SPLITS:
        allowed = ", ".join(map(repr, SPLITS))
        raise DataError(f"data.split={config.split!r}: digits has the splits {allowed}")
    from sklearn.datasets import load_digits as read

    values, labels = read(return_X_y=True)
    x = np.round(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    held_out = np.zeros(len(x), bool)
    held_out[np.argsort(labels, kind="stable")[::5]] = True
    chosen = {"train": ~held_out, "test": held_out, "all": np.ones(len(x), bool)}[config.split]
    return ArraySource(x[chosen], value_range=(0, 255), labels=labels[chosen], num_classes=10)


SOURCE = kind(load_digits, split=fields.SPLIT)
