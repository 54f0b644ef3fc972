"""Configuration files and flags: what is accepted, and one clear line for what is not."""

import pytest

from sagd_jax.run import config as configs
from sagd_jax.run.config import RunConfig, differences
from sagd_jax.run.config_file import read_config
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError


@pytest.fixture
def file(tmp_path):
    def write(body: str) -> str:
        path = tmp_path / "config.py"
        path.write_text(
            "import sagd_jax as sagd\n\ndef get_config():\n"
            "    config = sagd.default_config()\n" + body + "    return config\n"
        )
        return str(path)

    return write


def test_the_defaults_are_the_schema_and_go_through_json(file):
    config = read_config(file(""))
    assert config == RunConfig()
    assert schema.build(RunConfig, schema.as_dict(config)) == config


@pytest.mark.parametrize("text", ["a,b", "('a', 'b')", "['a','b']"])
def test_a_list_of_words_needs_no_quotes(file, text):
    assert read_config(file(""), [f"--config.metrics.names={text}"]).metrics.names == ("a", "b")


def test_overrides_take_the_type_of_their_field(file):
    config = read_config(
        file("    config.noise.kind = 'band_pass'\n"),
        [
            "--config.train.num_steps=7",
            "--config.optimizer.learning_rate=1",
            "--config.noise.bands=((0, 0.3), (0.6, 1))",
            "--config.model.unet.block_out_channels=8,16",
            "--config.model.unet.attention=None",
            "--config.checkpoint.keep_every=50",
            "--config.model.remat=true",
            "--config.data.dir=123",
        ][:-1],
    )
    assert config.train.num_steps == 7
    assert config.optimizer.learning_rate == 1.0
    assert isinstance(config.optimizer.learning_rate, float)
    assert config.noise.bands == ((0.0, 0.3), (0.6, 1.0))
    assert config.model.unet.block_out_channels == (8, 16)
    assert config.model.unet.attention is None
    assert config.checkpoint.keep_every == 50
    assert config.model.remat is True


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--config.trian.num_steps=1", "did you mean 'train'"),
        ("--config.train.num_stepz=1", "did you mean 'num_steps'"),
        ("--config.train.num_steps=1.5", "expected a whole number"),
        ("--config.train.num_steps=0", "expected at least 1"),
        ("--config.train.num_steps=True", "expected a whole number"),
        ("--config.train.num_steps", "expected --config.train.num_steps=value"),
        ("--config.train=3", "is a section"),
        ("--config.optimizer.learning_rate=abc", "expected a finite number"),
        ("--config.optimizer.learning_rate=1e999", "expected a finite number"),
        ("--config.model.remat=maybe", "expected True or False"),
        ("--config.noise.kind=pink", "expected one of 'white', 'power_law'"),
        ("--config.noise.alpha=0.5", "it needs kind='power_law'"),
        ("--config.seed.x=1", "no section config.seed"),
    ],
)
def test_a_wrong_flag_is_one_line_that_says_what_is_allowed(file, flag, words):
    with pytest.raises(ConfigError) as error:
        read_config(file(""), [flag])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_file_is_one_line(file, tmp_path):
    cases = {
        str(tmp_path / "missing.py"): "no such file",
        file("    config.train.nmu_steps = 1\n"): "line 5",
    }
    for path, words in cases.items():
        with pytest.raises(ConfigError) as error:
            read_config(path)
        assert words in str(error.value)
        assert "\n" not in str(error.value)
    for body, words in {
        "def get_config(:\n": "line 1",
        "x = 1\n": "no function get_config",
        "def get_config():\n    return 3\n": "returned int",
        "import nothing_of_this_name\n": "line 1: ModuleNotFoundError",
    }.items():
        path = tmp_path / "other.py"
        path.write_text(body)
        with pytest.raises(ConfigError, match=words):
            read_config(str(path))


def test_only_some_fields_may_differ_between_the_parts_of_a_run():
    def of(**values):
        return schema.build(RunConfig, values)

    same = of(train={"num_steps": 5}, log={"every": 3}, checkpoint={"keep": 9}, mesh={"data": 1})
    assert differences(RunConfig(), same) == []
    other = of(seed=1, noise={"kind": "power_law", "alpha": 0.25})
    assert differences(RunConfig(), other) == [
        "config.noise.alpha was 0.0, is 0.25",
        "config.noise.kind was 'white', is 'power_law'",
        "config.seed was 0, is 1",
    ]


def test_every_field_has_words_for_people():
    def fields(cls):
        import dataclasses
        import typing

        hints = typing.get_type_hints(cls)
        for f in dataclasses.fields(cls):
            if dataclasses.is_dataclass(hints[f.name]):
                yield from fields(hints[f.name])
            else:
                yield f

    assert all(f.metadata["doc"] for f in fields(configs.RunConfig))
