"""Random configurations, valid and invalid, through the schema and the shapes of a whole step."""

import dataclasses
import math
import typing

import hypothesis
import jax
import pytest
from hypothesis import strategies as st

from sagd_jax import data
from sagd_jax.run.config import RunConfig
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.prepare import prepare

pytestmark = pytest.mark.thorough

WRONG = [
    None,
    "",
    "nonsense",
    -1,
    0,
    1.5,
    math.nan,
    math.inf,
    True,
    [],
    [1],
    {"a": 1},
    b"x",
    10**30,
]


def values_of(field: dataclasses.Field, hint) -> st.SearchStrategy:
    """Mostly values that the field allows, by its own rule."""
    rule = field.metadata
    if rule.get("choices") is not None:
        right = st.sampled_from(list(rule["choices"]))
    else:
        right = of_type(hint, rule)
    return st.one_of(right, right, right, right, st.sampled_from(WRONG))


def of_type(hint, rule) -> st.SearchStrategy:
    arguments = typing.get_args(hint)
    if type(None) in arguments:
        (inner,) = (a for a in arguments if a is not type(None))
        return st.one_of(st.none(), of_type(inner, rule))
    if typing.get_origin(hint) is tuple:
        if arguments[-1] is Ellipsis:
            return st.lists(of_type(arguments[0], rule), max_size=4)
        return st.tuples(*(of_type(a, rule) for a in arguments))
    low = rule.get("low")
    high = rule.get("high")
    if hint is int:
        low = 0 if low is None else low
        return st.integers(low, min(high, low + 300) if high is not None else low + 300)
    if hint is float:
        low = rule["above"] if rule.get("above") is not None else low
        low = -10.0 if low is None else low
        exclude = rule.get("above") is not None
        return st.floats(low, high if high is not None else low + 100, exclude_min=exclude)
    if hint is bool:
        return st.booleans()
    return st.sampled_from(["digits", "train", "x", "no/such/file.npy"])


@st.composite
def sections(draw, cls=RunConfig, most=4):
    """A few fields of some sections; the rest stays at its default."""
    hints = typing.get_type_hints(cls)
    fields = draw(st.lists(st.sampled_from(dataclasses.fields(cls)), max_size=most, unique=True))
    chosen = {}
    for field in fields:
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            chosen[field.name] = draw(sections(hint))
        else:
            chosen[field.name] = draw(values_of(field, hint))
    return chosen


@pytest.mark.parametrize("count", [800, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_config_is_built_or_refused_in_one_line(count):
    built, seen = [], set()

    @hypothesis.settings(max_examples=count, deadline=None, derandomize=True, database=None)
    @hypothesis.given(sections(most=6))
    def check(values):
        seen.update(names(values))
        try:
            config = schema.build(RunConfig, values)
        except ConfigError as error:
            assert len(str(error).splitlines()) == 1
            assert str(error).startswith("config")
            built.append(False)
        else:
            assert schema.build(RunConfig, schema.as_dict(config)) == config
            built.append(True)

    check()
    assert len(built) >= count * 2 // 3
    assert built.count(True) > count / 10 and built.count(False) > count / 10
    missed = set(names(schema.as_dict(RunConfig()))) - seen
    assert len(missed) <= (20 if count < 3000 else 0), missed


def names(values, cls=RunConfig, prefix=""):
    """The fields that are set, by their full names."""
    for name, hint in typing.get_type_hints(cls).items():
        if name not in values:
            continue
        if dataclasses.is_dataclass(hint):
            yield from names(values[name], hint, f"{prefix}{name}.")
        else:
            yield prefix + name


SIZES = {
    "block_out_channels": st.lists(st.sampled_from([4, 8, 12, 32]), min_size=1, max_size=3),
    "layers_per_block": st.integers(1, 2),
    "norm_num_groups": st.sampled_from([1, 3, 4]),
    "hidden_size": st.sampled_from([8, 24, 30]),
    "depth": st.integers(1, 2),
    "num_heads": st.integers(1, 4),
    "attention_head_dim": st.sampled_from([None, 1, 3, 4]),
    "batch_size": st.sampled_from([1, 4, 6, 16, 5000]),
    "accumulate": st.sampled_from([1, 2, 3, 12]),
    "num_samples": st.integers(1, 40),
}


@st.composite
def runs(draw):
    """Configs of networks small enough to trace in seconds, in every combination of kinds."""
    values = draw(sections())
    for name in ("noise", "schedule", "model", "train", "optimizer", "preview"):
        section = dict(values[name]) if isinstance(values.get(name), dict) else {}
        cls = typing.get_type_hints(RunConfig)[name]
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if field.metadata.get("choices") and draw(st.booleans()):
                section[field.name] = draw(st.sampled_from(list(field.metadata["choices"])))
            if field.name in SIZES:
                section[field.name] = draw(SIZES[field.name])
            if dataclasses.is_dataclass(hints[field.name]):
                inner = {
                    f.name: draw(SIZES[f.name])
                    for f in dataclasses.fields(hints[field.name])
                    if f.name in SIZES
                }
                section[field.name] = inner
        values[name] = section
    values.pop("data", None)
    return values


def build_all(values):
    """Whether the config passes the schema; its step and preview are then traced or refused."""
    try:
        config = schema.build(RunConfig, values)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        return None
    try:
        prepared = prepare(config, data.open_source(config.data))
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        return False
    assert jax.tree.leaves(prepared.state)
    return True


@pytest.mark.parametrize("count", [4, pytest.param(30, marks=pytest.mark.slow)])
def test_valid_configs_make_a_whole_step_or_are_refused_in_one_line(count):
    outcomes = []

    @hypothesis.settings(
        max_examples=400,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(runs())
    def collect(values):
        if sum(outcome is not None for outcome in outcomes) < count:
            outcomes.append(build_all(values))

    collect()
    assert sum(outcome is not None for outcome in outcomes) == count
    assert outcomes.count(True) >= 0.3 * count, outcomes


@pytest.mark.parametrize("accumulate", [1, 4, 16])
def test_a_large_number_of_parts_is_traced_in_one(accumulate):
    values = {"train": {"batch_size": 16, "accumulate": accumulate},
              "model": {"unet": {"block_out_channels": [8], "norm_num_groups": 4}}}  # fmt: skip
    assert build_all(values)
