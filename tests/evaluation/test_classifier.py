"""The classifier: learns what can be learnt, the same again, and once for each data set."""

import jax
import numpy as np
import pytest

from sagd_jax.data import ArraySource
from sagd_jax.evaluation import classifier
from sagd_jax.evaluation.classifier import Settings, trained

FEW = Settings(num_steps=30, batch_size=32)


def source(n, seed, classes=3):
    """Images whose class is where they are bright."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    x = rng.integers(0, 100, (n, 6, 5, 1))
    x[np.arange(n), 2 * labels % 6] += 120
    return ArraySource(x.astype(np.uint8), value_range=(0, 255), labels=labels, num_classes=classes)


def test_it_learns_and_is_kept(tmp_path):
    train, test = source(96, 0), source(31, 1)
    said = []
    first = trained(train, test, "data", tmp_path, FEW, said.append)
    assert first.accuracy > 0.9 and first.num_held_out == 31
    features = first.features(np.zeros((2, 6, 5, 1), np.float32))
    assert features.shape == (2, classifier.FEATURES)
    again = trained(train, test, "data", tmp_path, FEW, said.append)
    assert said == ["training the classifier (30 steps)"]
    assert (again.accuracy, again.fingerprint) == (first.accuracy, first.fingerprint)
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    # Of other data, settings or seeds it is another one.
    others = {
        trained(train, test, data, None, settings).fingerprint
        for data, settings in (("data", FEW), ("else", Settings(1)), ("data", Settings(1, seed=1)))
    }
    assert len(others) == 3 and first.fingerprint in others


def test_a_damaged_one_is_made_anew(tmp_path):
    train, test, settings = source(32, 0), source(8, 1), Settings(num_steps=2)
    first = trained(train, test, "data", tmp_path, settings)
    (file,) = tmp_path.iterdir()
    for damage in (b"", file.read_bytes()[:2000]):
        file.write_bytes(damage)
        again = trained(train, test, "data", tmp_path, settings)
        jax.tree.map(np.testing.assert_array_equal, first.params, again.params)


def test_data_without_labels():
    unlabelled = ArraySource(np.zeros((4, 6, 5, 1), np.uint8), value_range=(0, 255))
    with pytest.raises(ValueError, match="no labels"):
        trained(unlabelled, unlabelled, "data")
