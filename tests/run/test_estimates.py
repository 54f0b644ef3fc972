"""Spectra of a run's own data, against the definition on the whole set."""

import numpy as np
import pytest

from sagd_jax.data.source import ArraySource
from sagd_jax.run.estimates import spectra_of_classes, spectrum_of
from sagd_jax.spectral import bases


def source(count=600, labels=None):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(count, 4, 6, 2)).astype(np.uint8)
    return x, ArraySource(x, value_range=(0, 255), labels=labels, num_classes=3)


def expected(x):
    """Mean squares of the unitary DFT of data in [-1, 1] without the channels' means."""
    x = x / 127.5 - 1
    x = x - x.mean(axis=(0, 1, 2))
    return (np.abs(np.fft.fft2(x, axes=(1, 2), norm="ortho")) ** 2).mean(axis=0)


def test_the_first_examples_count_in_absolute_units():
    x, data = source()
    basis = bases.fourier((4, 6))
    np.testing.assert_allclose(spectrum_of(data, basis), expected(x), rtol=1e-9)
    np.testing.assert_allclose(spectrum_of(data, basis, 300), expected(x[:300]), rtol=1e-9)
    variance = np.square(x / 127.5 - 1 - (x / 127.5 - 1).mean(axis=(0, 1, 2))).mean()
    assert spectrum_of(data, bases.cosine((4, 6))).mean() == pytest.approx(variance)


def test_each_class_has_its_own():
    labels = np.arange(600) % 3
    x, data = source(labels=labels)
    found = spectra_of_classes(data, bases.fourier((4, 6)), limit=100)
    assert found.shape == (3, 4, 6, 2)
    for label in range(3):
        np.testing.assert_allclose(found[label], expected(x[labels == label][:100]), rtol=1e-9)


def test_what_has_no_classes_or_too_few_examples_is_refused():
    x, data = source(labels=np.zeros(600, int))
    with pytest.raises(ValueError, match="class 1 has 0 examples"):
        spectra_of_classes(data, bases.cosine((4, 6)))
    with pytest.raises(ValueError, match="no labels"):
        spectra_of_classes(ArraySource(x, value_range=(0, 255)), bases.cosine((4, 6)))
    with pytest.raises(ValueError, match="1 examples"):
        spectrum_of(data, bases.cosine((4, 6)), limit=1)


def test_no_more_is_read_than_is_needed():
    labels = np.arange(600) % 3
    _, data = source(labels=labels)
    read = []
    fetch = data.fetch
    data.fetch = lambda indices, **options: read.extend(indices) or fetch(indices, **options)
    spectra_of_classes(data, bases.fourier((4, 6)), limit=20)
    assert max(read) < 256
    read.clear()
    spectrum_of(data, bases.fourier((4, 6)), limit=20)
    assert max(read) == 19
