"""Tables of what a config can choose by a word: fields, refusals, flags."""

import dataclasses

import pytest

from sagd_jax.system import schema
from sagd_jax.system.commandline import Parser, add_options, chosen_kind
from sagd_jax.system.schema import ConfigError, field, kind


@dataclasses.dataclass(frozen=True)
class Box:
    """A kind that is a dataclass."""

    width: float = field(2.0, "of the box", above=0)

    def __post_init__(self):
        schema.check_numbers(self)


def ball(radius, unit):
    return "ball", radius, unit


UNIT = field("m", "of lengths", choices=("m", "cm"))
TABLE = {
    "point": kind(lambda: "point"),
    "ball": kind(ball, radius=field(1.0, "of the ball", low=0), unit=UNIT),
    "cube": kind(lambda unit: ("cube", unit), unit=UNIT),
    "box": kind(Box),
}


@dataclasses.dataclass(frozen=True)
@schema.of_kinds(TABLE)
@schema.of_kinds({"red": kind(lambda depth: depth, depth=field(3, "of red"))}, "colour", "red_")
class Section:
    kind: str = field("point", "the body", choices=tuple(TABLE))
    colour: str = field("none", "of it", choices=("none", "red"))


def build(**values):
    return schema.build(Section, values)


def test_a_section_has_the_fields_of_all_kinds():
    assert {f.name for f in dataclasses.fields(Section)} == {
        "kind", "colour", "radius", "unit", "width", "red_depth",
    }  # fmt: skip
    assert schema.users(TABLE)["unit"] == ("ball", "cube")


def test_what_is_chosen_is_made_with_its_own_fields():
    assert schema.make(TABLE, build()) == "point"
    assert schema.make(TABLE, build(kind="ball", radius=2, unit="cm")) == ("ball", 2.0, "cm")
    assert schema.make(TABLE, build(kind="cube")) == ("cube", "m")
    assert schema.make(TABLE, build(kind="box", width=5)) == Box(5.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "ball", "width": 3}, "config.width=3.0 has no effect .*it needs kind='box'"),
        ({"unit": "cm"}, "config.unit='cm' has no effect .*it needs kind='ball' or 'cube'"),
        ({"red_depth": 4}, "config.red_depth=4 has no effect .*it needs colour='red'"),
        ({"kind": "ball", "radius": -1}, r"config.radius=-1.0: expected at least 0"),
        ({"kind": "blob"}, "config.kind='blob': expected one of 'point', 'ball', 'cube', 'box'"),
        ({"kind": "box", "width": "wide"}, "config.width='wide': expected a finite number"),
    ],
)
def test_a_field_of_another_kind_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        build(**values)


def test_two_kinds_must_mean_the_same_by_one_name():
    table = {"a": kind(ball, size=field(1.0, "width")), "b": kind(ball, size=field(2.0, "width"))}
    with pytest.raises(TypeError, match="size: a, b do not declare it alike"):
        schema.of_kinds(table)(type("Section", (), {"__annotations__": {}}))


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        ({"low": 0, "high": 1}, 2.0, r"x=2.0: expected a number in \[0, 1\]"),
        ({"above": 0, "below": 1}, 1.0, r"x=1.0: expected a number in \(0, 1\)"),
        ({"low": 0}, -1.0, "x=-1.0: expected a number >= 0"),
        ({"below": 1}, 1.0, "x=1.0: expected a number < 1"),
        ({}, float("inf"), "x=inf: expected a number"),
    ],
)
def test_numbers_of_a_value_are_bounded_too(rule, value, message):
    cls = dataclasses.make_dataclass("Value", [("x", float, field(0.5, "a number", **rule))])
    schema.check_numbers(cls())
    with pytest.raises(ConfigError, match=message):
        schema.check_numbers(cls(value))


def flags(*argv):
    parser = Parser(prog="body")
    parser.add_argument("--kind", choices=tuple(TABLE), default="point")
    add_options(parser, TABLE, "kind")
    return chosen_kind(parser, parser.parse_args(list(argv)), TABLE, "kind")


def test_flags_follow_from_the_table(capsys):
    assert flags("--kind=ball", "--radius=3", "--unit=cm") == ("ball", 3.0, "cm")
    assert flags("--kind=box") == Box(2.0)
    for argv, words in (
        (["--kind=cube", "--radius=2"], "--radius=2.0: only --kind=ball uses it"),
        (["--unit=cm"], "--unit=cm: only --kind=ball or --kind=cube uses it"),
        (["--kind=box", "--width=-1"], "--width=-1.0: expected a number > 0"),
        (["--kind=box", "--width=nan"], "--width"),
    ):
        with pytest.raises(SystemExit) as stopped:
            flags(*argv)
        assert stopped.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert words in line


def test_what_may_change_in_a_run_that_goes_on():
    from sagd_jax.run.config import RunConfig

    names = schema.may_change(RunConfig)
    assert {"train.num_steps", "data.dir", "data.num_threads", "preview", "mesh"} <= set(names)
    assert not {"seed", "noise", "noise.kind", "data.name", "train.batch_size"} & set(names)
