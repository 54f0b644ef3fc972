"""`config.noise`: each kind is what Python gives, and each fault one line before anything is compiled."""

import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import bases
from sagd_jax.data.source import ArraySource
from sagd_jax.run import build, noise
from sagd_jax.run.config import RunConfig
from sagd_jax.run.estimates import spectra_of_classes, spectrum_of
from sagd_jax.run.saved import stored_covariance
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError

SHAPE = (8, 6)


def config(**fields):
    return schema.build(RunConfig, {"noise": fields})


def made(shape=SHAPE, rate=None, source=None, **fields):
    return build.covariance(config(**fields).noise, shape, rate, source)


def same(first, second):
    assert type(first) is type(second)
    assert getattr(first, "basis", None) == getattr(second, "basis", None)
    np.testing.assert_array_equal(first.variance, second.variance)


KINDS = {
    "power_law": (
        {"alpha": -0.5, "basis": "cosine"},
        lambda: sagd.power_law(SHAPE, -0.5, basis="cosine"),
    ),
    "exponential": (
        {"beta": 1.5, "basis": "cosine"},
        lambda: sagd.exponential(SHAPE, 1.5, basis="cosine"),
    ),
    "band_pass": (
        {"bands": [(0, 0.5)], "basis": "cosine"},
        lambda: sagd.band_pass(SHAPE, [(0, 0.5)], basis="cosine"),
    ),
    "two_band": (
        {"gamma_low": 0.3, "basis": "cosine"},
        lambda: sagd.two_band(SHAPE, 0.3, basis="cosine"),
    ),
    "wedge": (
        {"direction": (0, 1), "width": 40.0, "band": (0.2, 0.9)},
        lambda: sagd.wedge(SHAPE, (0, 1), 40.0, (0.2, 0.9)),
    ),
    "notch": (
        {"frequencies": [(0.25, 0.0)], "width": 0.1},
        lambda: sagd.notch(SHAPE, [(0.25, 0.0)], 0.1),
    ),
    "offset": ({"strength": 0.3}, lambda: sagd.offset(SHAPE, 0.3)),
    "multiresolution": (
        {"discount": 0.5, "levels": 2, "white": 2.0, "basis": "cosine"},
        lambda: sagd.multiresolution(SHAPE, 0.5, 2, "cosine", white=2.0),
    ),
    "shared_frames": (
        {"strength": 0.7, "time_axis": 1},
        lambda: sagd.shared_frames(SHAPE, 0.7, 1),
    ),
    "matern": (
        {"length": 2.0, "smoothness": 0.5, "basis": "cosine"},
        lambda: sagd.matern(SHAPE, 2.0, 0.5, basis="cosine"),
    ),
    "colour": (
        {"colour": "blue", "basis": "cosine"},
        lambda: sagd.colour(SHAPE, "blue", basis="cosine"),
    ),
    "product": (
        {"members": ["power_law:alpha=-0.5:dc=unit", "band_pass:bands=((0, 0.5), (0.8, 1))"]},
        lambda: sagd.product(
            sagd.power_law(SHAPE, -0.5, "unit"), sagd.band_pass(SHAPE, [(0, 0.5), (0.8, 1)])
        ),
    ),
    "mixture": (
        {"members": ["white", "power_law:alpha=1:basis=cosine"], "weights": (1, 3)},
        lambda: sagd.mixture([sagd.white(SHAPE), sagd.power_law(SHAPE, 1, basis="cosine")], (1, 3)),
    ),
    "complement": (
        {"members": ["wedge:direction=(0,1):width=40"]},
        lambda: sagd.complement(sagd.wedge(SHAPE, (0, 1), 40.0)),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_what_python_gives_and_can_be_stored(kind):
    fields, expected = KINDS[kind]
    covariance = made(kind=kind, **fields)
    same(covariance, expected())
    basis = noise.basis_of(config(kind=kind, **fields).noise)
    arrays = {"variance": np.asarray(covariance.variance)}
    same(stored_covariance(arrays, (*SHAPE, 1), basis), covariance)


def test_all_kinds_are_tried():
    tried = {*KINDS, "white", "file", "from_data"}  # the last two below
    assert tried == set(noise.NOISE_KINDS)


def test_notches_in_hertz():
    found = made((1000,), 16000.0, kind="notch", frequencies=[(60,)], hertz=True)
    same(found, sagd.notch((1000,), [(60,)], sample_rate=16000))
    clip = made((16, 8, 8), 24.0, kind="notch", frequencies=[(6, 0.25, 0)], hertz=True)
    same(clip, sagd.notch((16, 8, 8), [(0.25, 0.25, 0)]))
    found = made((1000,), 16000.0, kind="band_pass", bands=[(0, 60)], unit="hz", basis="cosine")
    same(found, sagd.band_pass((1000,), [(0, 60)], "hz", sample_rate=16000, basis="cosine"))


def classes(count=3, each=40):
    """Labelled signals, of another smoothness in each class."""
    x = np.random.default_rng(0).normal(size=(count, each, 8, 8, 2))
    for label in range(count):
        for _ in range(label):
            x[label] += np.roll(x[label], 1, axis=2)
    labels = np.repeat(np.arange(count), each)
    x = x.reshape(-1, 8, 8, 2).astype(np.float32)
    return ArraySource(x, value_range=(-4, 4), labels=labels, num_classes=count)


@pytest.mark.parametrize("basis", ["fourier", "cosine"])
def test_the_spectrum_of_data_from_a_file_or_the_data_themselves(tmp_path, basis):
    source = classes()
    power = spectrum_of(source, bases.KINDS[basis]((8, 8)))
    power = power[:, :5] if basis == "fourier" else power
    expected = sagd.from_data(power, (8, 8), 0.5, basis=basis)
    fields = {"kind": "from_data", "exponent": 0.5, "basis": basis}
    same(made((8, 8), source=source, **fields), expected)
    np.save(tmp_path / "power.npy", power)
    same(made((8, 8), power=str(tmp_path / "power.npy"), **fields), expected)
    np.save(tmp_path / "variance.npy", np.asarray(expected.variance))
    file = made((8, 8), kind="file", file=str(tmp_path / "variance.npy"), basis=basis)
    np.testing.assert_allclose(file.variance, expected.variance, rtol=1e-6)
    members = [f"from_data:power={tmp_path / 'power.npy'}:basis={basis}", "white"]
    same(made((8, 8), kind="product", members=members), sagd.from_data(power, (8, 8), basis=basis))


def test_members_are_read_from_flags():
    text = "power_law:alpha=-0.5,band_pass:bands=((0,0.5),(0.8,1)):unit=max"
    members = schema.parse(text, tuple[str, ...])
    assert members == ("power_law:alpha=-0.5", "band_pass:bands=((0,0.5),(0.8,1)):unit=max")
    assert schema.parse("a, b", tuple[str, ...]) == ("a", "b")
    made(kind="product", members=members)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "product"}, "config.noise.members=(): expected spectra"),
        ({"kind": "product", "members": ["pink"]}, "config.noise.members[0]='pink': expected a kind"),
        ({"kind": "product", "members": ["white", "mixture"]}, "members[1]='mixture': expected a kind"),
        ({"kind": "product", "members": ["power_law:alhpa=1"]}, "members[0].alhpa: no such field; did you mean 'alpha'"),
        ({"kind": "product", "members": ["power_law:alpha=x"]}, "members[0].alpha='x': expected a finite number"),
        ({"kind": "product", "members": ["white:alpha=1"]}, "members[0].alpha=1.0 has no effect"),
        ({"kind": "product", "members": ["file:file=none.npy:per_class=True"]}, "members[0].per_class"),
        ({"kind": "product", "members": ["file:file=none.npy"]}, "members[0].file='none.npy': "),
        ({"kind": "product", "members": ["power_law:alpha=1e9"]}, "members[0]: alpha=1000000000.0"),
        ({"kind": "product", "members": ["power_law:alpha=1:basis=cosine", "power_law:alpha=1"]}, "diagonal in"),
        ({"kind": "mixture", "members": ["white"], "weights": (1, 2)}, "config.noise: weights"),
        ({"kind": "complement", "members": ["white", "white"]}, "expected one, to be complemented"),
        ({"kind": "complement", "members": ["white"]}, "the complement"),
        ({"kind": "white", "members": ["white"]}, "has no effect"),
        ({"kind": "white", "basis": "cosine"}, "has no effect"),
        ({"kind": "wedge", "direction": (0, 1)}, "config.noise: width=0.0: expected degrees"),
        ({"kind": "wedge", "direction": (0, 1), "width": 9, "unit": "hz"}, "config.noise.unit='hz': a wedge"),
        ({"kind": "notch"}, "frequencies=()"),
        ({"kind": "notch", "frequencies": [(1, 0)], "hertz": True}, "this data has no sample rate"),
        ({"kind": "from_data"}, "config.noise.power='data': there is no data here"),
        ({"kind": "from_data", "power": "none.npy"}, "config.noise.power='none.npy': "),
        ({"kind": "shared_frames", "time_axis": 2}, "config.noise: time_axis=2"),
        ({"kind": "file", "file": "none.npy", "per_class": True}, "per_class=True: here all classes need one"),
        ({"kind": "white", "per_class": True}, "per_class=True has no effect"),
        ({"kind": "power_law", "alpha": 1, "basis": "haar"}, "basis='haar': expected one of 'fourier', 'cosine'"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(fields, words):
    with pytest.raises(ConfigError) as error:
        made(**fields)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_other_section_is_named_in_its_faults():
    values = {"corrupted_noise": {"kind": "file", "file": "none.npy"}}
    with pytest.raises(ConfigError, match=r"config\.corrupted_noise\.file='none.npy'"):
        build.corrupted_covariance(schema.build(RunConfig, values), SHAPE)


@pytest.mark.parametrize("basis", ["fourier", "cosine"])
def test_a_covariance_per_class(tmp_path, basis):
    source = classes()
    grid = spectra_of_classes(source, bases.KINDS[basis]((8, 8)))
    powers = grid[..., :5, :] if basis == "fourier" else grid
    np.save(tmp_path / "classes.npy", powers)
    expected = sagd.stack([sagd.from_data(p, (8, 8), 0.5, basis=basis) for p in powers])
    common = {"kind": "from_data", "exponent": 0.5, "per_class": True, "basis": basis}
    for fields in (common, {**common, "power": str(tmp_path / "classes.npy")}):
        found = build.covariance_stack(config(**fields).noise, (8, 8), 3, source)
        assert len(found) == 3
        np.testing.assert_array_equal(found.variance, expected.variance)
        same(found.at(2), sagd.from_data(powers[2], (8, 8), 0.5, basis=basis))
        with pytest.raises(ValueError, match="0 to 2"):
            found.at(np.array([0, 3]))
    file = {
        "kind": "file",
        "file": str(tmp_path / "classes.npy"),
        "per_class": True,
        "basis": basis,
    }
    found = build.covariance_stack(config(**file).noise, (8, 8), 3)
    assert np.mean(np.asarray(found.members.variance[1])) > 0
    np.save(tmp_path / "no_channels.npy", powers[..., 0])
    file["file"] = str(tmp_path / "no_channels.npy")
    assert build.covariance_stack(config(**file).noise, (8, 8), 3).variance.shape[-1] == 1


def test_faults_of_a_covariance_per_class(tmp_path):
    arrays = {
        "two": np.ones((2, 8, 5, 1)),
        "one": np.ones((8, 5)),
        "shape": np.ones((3, 8, 8, 1)),
        "negative": np.stack([np.ones((8, 5)), -np.ones((8, 5)), np.ones((8, 5))]),
        "words": np.array(["a", "b", "c"]),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    for name, classes, words in (
        ("two", 3, "config.noise.file: its spectra are of 2 classes, the data has 3"),
        ("two", 0, "config.noise.per_class=True: this data has no labels"),
        ("one", 8, "its array has 2 axes; expected classes first"),
        ("shape", 3, "config.noise.file: class 0: variance.shape"),
        ("negative", 3, "config.noise.file: class 1: variance: the spectrum has negative"),
        ("words", 3, "expected real numbers"),
        ("none", 3, "No such file"),
    ):
        fields = {"kind": "file", "file": str(tmp_path / f"{name}.npy"), "per_class": True}
        with pytest.raises(ConfigError) as error:
            build.covariance_stack(config(**fields).noise, (8, 8), classes)
        assert words in str(error.value)
        assert "\n" not in str(error.value)
    few = ArraySource(np.zeros((5, 8, 8, 1), np.uint8), value_range=(0, 255),
                      labels=np.array([0, 0, 1, 1, 1]), num_classes=3)  # fmt: skip
    with pytest.raises(ConfigError, match=r"config\.noise\.power='data': class 2 has 0 examples"):
        fields = {"kind": "from_data", "per_class": True}
        build.covariance_stack(config(**fields).noise, (8, 8), 3, few)
