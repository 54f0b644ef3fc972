"""Tables of what a config can choose by a word: fields, refusals, flags."""

import dataclasses

import pytest

from sagd_jax.system import kinds, schema
from sagd_jax.system.commandline import Parser, add_options, chosen_kind
from sagd_jax.system.kinds import kind
from sagd_jax.system.schema import ConfigError, field


@dataclasses.dataclass(frozen=True)
class Box:
    """A kind that is a dataclass."""

    width: float = field(2.0, "of the box", above=0)

    def __post_init__(self):
        schema.check(self)


@dataclasses.dataclass(frozen=True)
class Tower:
    """A kind with fields of other types."""

    floors: int = field(1, "of the tower", low=1)
    lit: bool = field(False, "whether it is")
    tops: tuple[float, ...] = field((0.5,), "heights", low=0)

    def __post_init__(self):
        schema.check(self)


def ball(radius, unit):
    return "ball", radius, unit


UNIT = field("m", "of lengths", choices=("m", "cm"))
TABLE = {
    "point": kind(lambda: "point"),
    "ball": kind(ball, radius=field(1.0, "of the ball", low=0), unit=UNIT),
    "cube": kind(lambda unit: ("cube", unit), unit=UNIT),
    "box": kind(Box),
    "tower": kind(Tower),
}


@dataclasses.dataclass(frozen=True)
@kinds.of_kinds(TABLE)
@kinds.of_kinds({"red": kind(lambda depth: depth, depth=field(3, "of red"))}, "colour", "red_")
class Section:
    kind: str = field("point", "the body", choices=tuple(TABLE))
    colour: str = field("none", "of it", choices=("none", "red"))


def build(**values):
    return schema.build(Section, values)


def test_a_section_has_the_fields_of_all_kinds():
    assert {f.name for f in dataclasses.fields(Section)} == {
        "kind", "colour", "radius", "unit", "width", "floors", "lit", "tops", "red_depth",
    }  # fmt: skip
    assert kinds.users(TABLE)["unit"] == ("ball", "cube")


def test_what_is_chosen_is_made_with_its_own_fields():
    assert kinds.make(TABLE, build()) == "point"
    assert kinds.make(TABLE, build(kind="ball", radius=2, unit="cm")) == ("ball", 2.0, "cm")
    assert kinds.make(TABLE, build(kind="cube")) == ("cube", "m")
    assert kinds.make(TABLE, build(kind="box", width=5)) == Box(5.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "ball", "width": 3}, "config.width=3.0 has no effect .*it needs kind='box'"),
        ({"unit": "cm"}, "config.unit='cm' has no effect .*it needs kind='ball' or 'cube'"),
        ({"red_depth": 4}, "config.red_depth=4 has no effect .*it needs colour='red'"),
        ({"kind": "ball", "radius": -1}, r"config.radius=-1.0: expected at least 0"),
        (
            {"kind": "blob"},
            "config.kind='blob': expected one of 'point', 'ball', 'cube', 'box', 'tower'",
        ),
        ({"kind": "box", "width": "wide"}, "config.width='wide': expected a finite number"),
    ],
)
def test_a_field_of_another_kind_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        build(**values)


def test_two_kinds_must_mean_the_same_by_one_name():
    table = {"a": kind(ball, size=field(1.0, "width")), "b": kind(ball, size=field(2.0, "width"))}
    with pytest.raises(TypeError, match="size: a, b do not declare it alike"):
        kinds.of_kinds(table)(type("Section", (), {"__annotations__": {}}))


def test_a_kind_cannot_take_the_name_of_a_sections_own_field():
    table = {"a": kind(ball, every=field(1.0, "of a"))}
    with pytest.raises(TypeError, match="Section has a field every of its own"):
        kinds.of_kinds(table)(type("Section", (), {"__annotations__": {"every": int}}))


@pytest.mark.parametrize("default", [(), None])
def test_a_type_that_the_default_does_not_tell_must_be_given(default):
    with pytest.raises(TypeError, match="size: its default does not tell its type; give hint="):
        kind(ball, size=field(default, "of it"))


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
    schema.check(cls())
    with pytest.raises(ConfigError, match=message):
        schema.check(cls(value))


def flags(*argv):
    parser = Parser(prog="body")
    parser.add_argument("--kind", choices=tuple(TABLE), default="point")
    add_options(parser, TABLE, "kind")
    return chosen_kind(parser, parser.parse_args(list(argv)), TABLE, "kind")


def test_flags_follow_from_the_table(capsys):
    assert flags("--kind=ball", "--radius=3", "--unit=cm") == ("ball", 3.0, "cm")
    assert flags("--kind=box") == Box(2.0)
    assert flags("--kind=tower") == Tower()
    tower = flags("--kind=tower", "--floors=3", "--lit=True", "--tops=1,2.5")
    assert tower == Tower(3, True, (1.0, 2.5)) and type(tower.floors) is int
    for argv, words in (
        (["--kind=cube", "--radius=2"], "--radius=2.0: only --kind=ball uses it"),
        (["--unit=cm"], "--unit=cm: only --kind=ball or --kind=cube uses it"),
        (["--kind=box", "--width=-1"], "width=-1: expected a number > 0"),
        (["--kind=box", "--width=nan"], "--width"),
        (["--kind=ball", "--unit=mile"], "unit='mile': expected one of 'm', 'cm'"),
        (["--kind=tower", "--floors=2.5"], "floors=2.5: expected a whole number >= 1"),
        (["--kind=tower", "--tops=1,x"], "tops"),
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
