import dataclasses
import json

import pytest

from sagd_jax.system import schema


@dataclasses.dataclass(frozen=True)
class Optimiser:
    """How parameters move."""

    name: str = schema.field("adam", "which", choices=("adam", "sgd"))
    rate: float = schema.field(1e-3, "step size", above=0, high=1)
    momentum: float = schema.field(0.0, "of sgd", low=0, high=1, only={"name": ("sgd",)})
    warmup: int | None = schema.field(None, "steps", low=0)


@dataclasses.dataclass(frozen=True)
class Config:
    """All of it."""

    widths: tuple[int, ...] = schema.field((32, 64), "channels", low=1)
    crop: tuple[int, float] = schema.field((8, 0.5), "size and ratio")
    ema: bool = schema.field(True, "whether to average")
    optimiser: Optimiser = schema.section(Optimiser)


def build(**values):
    return schema.build(Config, values)


def test_defaults():
    assert build() == Config()
    assert build().optimiser == Optimiser("adam", 1e-3, 0.0, None)
    assert dataclasses.fields(Config)[3].metadata["doc"] == "How parameters move."


def test_values_are_converted_to_their_types():
    config = build(
        widths=[1, 2, 3], crop=[4, 1], ema=False, optimiser={"name": "sgd", "rate": 1, "warmup": 7}
    )
    assert config.widths == (1, 2, 3)
    assert config.crop == (4, 1.0) and type(config.crop[1]) is float
    assert type(config.optimiser.rate) is float
    assert config.optimiser.warmup == 7
    assert build(optimiser={"warmup": None}).optimiser.warmup is None


def test_a_config_survives_json():
    config = build(widths=[5], optimiser={"name": "sgd", "momentum": 0.9})
    plain = json.loads(json.dumps(schema.as_dict(config)))
    assert plain["widths"] == [5] and plain["optimiser"]["momentum"] == 0.9
    assert schema.build(Config, plain) == config


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        build().ema = False


@pytest.mark.parametrize(
    "values, message",
    [
        ({"seed": 1}, r"config\.seed: no such field; allowed: widths, crop, ema, optimiser"),
        ({"optimizer": {}}, r"config\.optimizer: no such field; did you mean 'optimiser'\?"),
        ({"optimiser": {"rats": 1}}, r"config\.optimiser\.rats: .*did you mean 'rate'\?"),
        ({"optimiser": 3}, r"config\.optimiser=3: expected a section with fields"),
        ({"ema": 1}, r"config\.ema=1: expected True or False, got int"),
        ({"widths": 32}, r"config\.widths=32: expected a sequence"),
        ({"widths": "32"}, r"config\.widths='32': expected a sequence"),
        ({"widths": [1, 2.5]}, r"config\.widths\[1\]=2\.5: expected a whole number, got float"),
        ({"widths": [1, 0]}, r"config\.widths\[1\]=0: expected at least 1"),
        ({"widths": [True]}, r"config\.widths\[0\]=True: expected a whole number, got bool"),
        ({"crop": [1, 2, 3]}, r"config\.crop=\[1, 2, 3\]: expected 2 values"),
        ({"optimiser": {"name": "lion"}}, r"optimiser\.name='lion': expected one of 'adam', 'sgd'"),
        ({"optimiser": {"name": 3}}, r"optimiser\.name=3: expected a string, got int"),
        ({"optimiser": {"rate": 0}}, r"optimiser\.rate=0\.0: expected more than 0"),
        ({"optimiser": {"rate": 2.0}}, r"optimiser\.rate=2\.0: expected at most 1"),
        ({"optimiser": {"rate": float("nan")}}, r"optimiser\.rate=nan: expected a finite number"),
        ({"optimiser": {"rate": "1e-3"}}, r"optimiser\.rate='1e-3': expected a finite number"),
        ({"optimiser": {"warmup": -1}}, r"optimiser\.warmup=-1: expected at least 0"),
        ({"optimiser": {"warmup": "no"}}, r"optimiser\.warmup='no': expected a whole number"),
        (
            {"optimiser": {"momentum": 0.9}},
            r"optimiser\.momentum=0\.9 has no effect with config\.optimiser\.name='adam'; "
            r"it needs name='sgd'",
        ),
    ],
)
def test_faults_are_named_in_one_line(values, message):
    with pytest.raises(schema.ConfigError, match=message) as raised:
        schema.build(Config, values)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, ValueError)


def test_the_place_is_that_of_the_caller():
    with pytest.raises(schema.ConfigError, match=r"^file=3: expected a section"):
        schema.build(Config, 3, where="file")


def test_what_has_an_effect_is_what_the_other_values_leave():
    assert schema.in_effect(build()) == {
        "widths": [32, 64],
        "crop": [8, 0.5],
        "ema": True,
        "optimiser": {"name": "adam", "rate": 1e-3, "warmup": None},
    }
    assert schema.in_effect(build(optimiser={"name": "sgd"}))["optimiser"]["momentum"] == 0.0


def test_a_section_without_effect_may_be_set_but_is_not_shown():
    @dataclasses.dataclass(frozen=True)
    class Model:
        """A network."""

        kind: str = schema.field("a", "which", choices=("a", "b"))
        a: Optimiser = schema.section(Optimiser, only={"kind": ("a",)})

    # Type hints of a class in a function are resolved in its module's names.
    Model.__annotations__["a"], Model.__annotations__["kind"] = Optimiser, str
    set_anyway = schema.build(Model, {"kind": "b", "a": {"rate": 0.5}})
    assert set_anyway.a.rate == 0.5
    assert schema.in_effect(set_anyway) == {"kind": "b"}
    assert schema.as_dict(set_anyway)["a"]["rate"] == 0.5
