"""The list of all fields, `--help=config`."""

import dataclasses

import pytest

from sagd_jax.programs import train
from sagd_jax.run.config import RunConfig
from sagd_jax.system import kinds, reference, schema

TABLE = {
    "line": kinds.kind(lambda slope: slope, slope=schema.field(1.0, "of the line", above=0)),
    "wave": kinds.kind(
        lambda rate, slope: rate, rate=schema.field(None, "in Hz", low=2, hint=int | None)
    ),
}


@dataclasses.dataclass(frozen=True)
@kinds.of_kinds(TABLE)
class Shape:
    """A shape,
    or another."""

    kind: str = schema.field("line", "which", choices=tuple(TABLE))
    folder: str = schema.field("", "where")
    sizes: tuple[int, ...] = schema.field((1, 2), "of it", low=1, high=8)


@dataclasses.dataclass(frozen=True)
class Whole:
    """All."""

    share: float = schema.field(0.5, "of it", low=0, below=1)
    shape: Shape = schema.section(Shape)


def test_the_table_of_a_section_has_the_fields_of_kinds_under_their_kind():
    assert reference.describe(Whole).splitlines() == [
        "config: All.",
        "  share  0.5  of it; a number in [0, 1)",
        "",
        "config.shape: A shape, or another.",
        "  kind    line    which; line | wave",
        "  folder  ''      where",
        "  sizes   (1, 2)  of it; whole numbers in [1, 8]",
        "  with kind = line:",
        "    slope  1.0  of the line; a number > 0",
        "  with kind = wave:",
        "    rate  None  in Hz; a whole number >= 2, or None",
    ]


def test_help_lists_every_field_of_a_run_and_ends_well(capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(["--help=config"])
    assert ended.value.code == 0
    lines = {line.strip().partition(" ")[0] for line in capsys.readouterr().out.splitlines()}

    def names(values):
        for name, value in values.items():
            yield from names(value) if isinstance(value, dict) else (name,)

    assert set(names(schema.as_dict(RunConfig()))) <= lines


def test_help_says_where_the_fields_are_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(["--help"])
    assert ended.value.code == 0
    assert "--help=config" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        train.main(["--help=confg"])
    assert ended.value.code == 2
    assert "--help=confg: expected --help or --help=config" in capsys.readouterr().err
