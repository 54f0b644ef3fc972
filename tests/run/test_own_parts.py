"""Spectra, schedules, networks and data of one's own, named by import path."""

import json
import sys
import types

import jax
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.data import open_source
from sagd_jax.programs import inspect, likelihood, sample, train
from sagd_jax.run import build, layout, saved
from sagd_jax.run.config import RunConfig
from sagd_jax.run.restore import CheckpointError
from sagd_jax.system import schema
from sagd_jax.system.import_paths import check_allowed
from sagd_jax.system.schema import ConfigError
from sagd_jax.training import start

MODULE = """
import dataclasses
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import sagd_jax as sagd
from sagd_jax.data.source import ArraySource


def rings(spatial_shape, radius=0.25, widths=(0.1,)):
    r = sagd.radial_frequency(spatial_shape)
    return sagd.spectra.from_amplitude(np.exp(-(((r - radius) / widths[0]) ** 2) / 2), spatial_shape)


@dataclasses.dataclass(frozen=True)
class Power(sagd.Schedule):
    exponent: float = 1.0

    def alpha(self, t):
        return jnp.sqrt(1 - 0.999 * jnp.asarray(t) ** self.exponent)

    def sigma(self, t):
        return jnp.sqrt(0.999 * jnp.asarray(t) ** self.exponent)


class Net(nn.Module):
    num_classes: int
    dtype: jnp.dtype
    remat: bool
    width: int = 4

    @nn.compact
    def __call__(self, x, timestep, label=None, train=False):
        return nn.Conv(x.shape[-1], (3, 3))(jnp.tanh(nn.Conv(self.width, (3, 3))(x)))


class Faulty(Net):
    def __call__(self, x, timestep, label=None, train=False):
        return x.no_such_thing


def stripes(number=32):
    x = np.zeros((number, 8, 8, 1), np.uint8)
    x[:, ::2] = 255
    return ArraySource(x, value_range=(0, 255))


def twice(spatial_shape):
    return sagd.white([2 * n for n in spatial_shape])


def upwards():
    class Upwards(Power):
        def alpha(self, t):
            return super().sigma(t)

        def sigma(self, t):
            return super().alpha(t)

    return Upwards()


def nothing(**options):
    return None


def fails(*arguments, **options):
    return [][3]


constant = 3
"""
LINE_OF_FAILS = MODULE.splitlines().index("    return [][3]") + 1


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_parts.py").write_text(MODULE)
    (folder / "own_broken.py").write_text("x = 1\ny = 1 / 0\n")
    (folder / "own_syntax.py").write_text("x = 1\ndef (\n")
    (folder / "own_needs.py").write_text("import no_such_library\n")
    before = [*sys.path]
    sys.path.append(str(folder))
    yield folder
    sys.path[:] = before
    for name in ("own_parts", "own_broken", "own_syntax", "own_needs"):
        sys.modules.pop(name, None)


def config(**sections):
    return schema.build(RunConfig, sections)


def test_a_spectrum(module):
    noise = {"kind": "own_parts:rings", "options": {"radius": 0.4, "widths": [0.2]}}
    made = build.covariance(config(noise=noise).noise, (8, 8))
    expected = np.exp(-(((sagd.radial_frequency((8, 8)) - 0.4) / 0.2) ** 2) / 2)
    expected = sagd.spectra.from_amplitude(expected, (8, 8))
    np.testing.assert_array_equal(made.variance, expected.variance)
    corrupted = config(corrupted_noise={"kind": "own_parts:rings"})
    assert build.corrupted_covariance(corrupted, (8, 8)).spatial_shape == (8, 8)


def test_a_schedule(module):
    made = build.schedule(
        config(schedule={"kind": "own_parts:Power", "options": {"exponent": 2.0}}).schedule
    )
    assert float(made.sigma(0.5)) == pytest.approx(np.sqrt(0.999 / 4))


def test_a_source_is_corrupted_and_augmented_like_others(module):
    own = {"name": "own_parts:stripes", "options": {"number": 5}}
    source = open_source(config(data={**own, "corruption": "stripes", "flip": True,
                                      "corruption_frequency": [0.25]}).data)  # fmt: skip
    assert len(source) == 5 and source.shape == (8, 8, 1)
    assert not np.isin(source.fetch(np.arange(5))["x"], (0, 255)).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("noise=no_such_module:f", "there is no module no_such_module, in "),
        ("noise=own_parts:f", "own_parts.py) has no f"),
        ("noise=own_parts:constant", "has, but not as a function, constant"),
        ("noise=own_parts:fails", f"own_parts.py:{LINE_OF_FAILS}: IndexError: list index out"),
        ("noise=own_parts:upwards", "TypeError: upwards() takes 0 positional"),
        ("noise=own_parts:twice", "a covariance for spatial_shape=(16, 16), expected (8, 8)"),
        ("noise=own_broken:f", "own_broken.py:2: ZeroDivisionError: division by zero"),
        ("noise=own_syntax:f", "own_syntax.py:2: SyntaxError: "),
        ("noise=own_needs:f", "own_needs.py:1: ModuleNotFoundError: No module named 'no_such_lib"),
        ("corrupted_noise=own_parts:fails", "config.corrupted_noise.kind='own_parts:fails'"),
        (
            "schedule=own_parts:nothing",
            "returned an object of type NoneType, expected sagd_jax's S",
        ),
        ("schedule=own_parts:upwards", "expected it to decrease from data to noise"),
        ("model=own_parts:nothing", "expected flax's Module"),
        ("model=own_parts:Faulty", "own_parts.py:"),
        ("data=own_parts:nothing", "expected sagd_jax's Source"),
    ],
)
def test_what_is_wrong_with_a_part_is_one_line(module, make, words):
    section, _, path = make.partition("=")
    whole = config(**{section: {"name" if section == "data" else "kind": path}})
    with pytest.raises(ConfigError) as caught:
        if section == "data":
            open_source(whole.data)
        elif section == "schedule":
            build.schedule(whole.schedule)
        elif section == "model":
            from sagd_jax.run.denoiser import parameter_shapes

            parameter_shapes(build.network(whole.model, 0), (8, 8, 1))
        else:
            whole = getattr(whole, section)
            build.covariance(whole, (8, 8))
    assert words in str(caught.value)
    assert path in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "power-law:f"}, "expected one of 'white', .*, or module:function"),
        ({"kind": "white", "options": {"a": 1}}, "has no effect .* kind=module:function"),
        ({"kind": "m:f", "options": {"a": {"b": 1}}}, "options.a=.*expected a finite number, text"),
        ({"kind": "m:f", "options": {"a": float("nan")}}, "options.a=nan"),
        ({"kind": "m:f", "options": {"a b": 1}}, "'a b' cannot be the name of an argument"),
        ({"kind": "m:f", "options": 3}, "options=3: expected names and values"),
        ({"kind": "m:f", "alpha": 1.0}, "alpha=1.0 has no effect"),
    ],
)
def test_what_is_no_config_of_a_part_is_refused_before_any_import(values, words):
    with pytest.raises(ConfigError, match=words):
        config(noise=values)


def test_the_options_can_be_set_in_files_and_flags():
    from sagd_jax.run.config_file import _override

    values = sagd.default_config()
    values.noise.kind = "my_module:rings"
    values.noise.options.radius = 0.3
    values = values.to_dict()
    _override(values, "--config.noise.options.widths=[1,2]")
    _override(values, "--config.noise.options.name=soft")
    built = schema.build(RunConfig, values)
    assert built.noise.options == {"radius": 0.3, "widths": [1, 2], "name": "soft"}
    assert schema.build(RunConfig, json.loads(json.dumps(schema.as_dict(built)))) == built
    assert schema.in_effect(built)["noise"] == {
        "kind": "my_module:rings",
        "options": {"radius": 0.3, "widths": [1, 2], "name": "soft"},
        "unit_draws": False,
    }
    assert "options" not in schema.in_effect(RunConfig())["noise"]


@pytest.fixture(scope="module")
def trained(module, tmp_path_factory):
    """A run with all four parts of one's own: its flags and its folder."""
    file = module / "config.py"
    file.write_text(
        "import sagd_jax as sagd\n\n\ndef get_config():\n    config = sagd.default_config()\n"
        + "".join(
            f"    config.{line}\n"
            for line in (
                "noise.kind = 'own_parts:rings'",
                "schedule.kind = 'own_parts:Power'",
                "model.kind = 'own_parts:Net'",
                "model.options.width = 3",
                "data.name = 'own_parts:stripes'",
                "train.batch_size, train.num_steps = 4, 2".replace(", train", ", config.train"),
                "preview.every = None",
                "log.tensorboard = False",
            )
        )
        + "    return config\n"
    )
    workdir = tmp_path_factory.mktemp("work") / "run"
    flags = [f"--config={file}", f"--workdir={workdir}"]
    assert train.main(flags) == 0
    return flags, workdir


ALLOW = ["own_parts:Net", "own_parts:Power"]


def test_it_trains_and_goes_on_by_its_config(trained, capfd):
    flags, _ = trained
    assert train.main([*flags, "--config.train.num_steps=3"]) == 0
    assert "resuming at step 2" in capfd.readouterr().out


def test_the_weights_of_another_run_come_by_the_code_that_the_config_names(trained):
    _, workdir = trained
    run = saved.load_run(workdir, allow=ALLOW)
    into = types.SimpleNamespace(
        record=run.record, diffusion=run.diffusion, model=run.model, mesh=layout.whole_mesh()
    )
    params = run.params
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    found, _ = start._other_weights(str(workdir), shapes, tuple(ALLOW), into)
    jax.tree.map(np.testing.assert_array_equal, found, params)
    with pytest.raises(CheckpointError, match=r"model.kind='own_parts:Net' is code"):
        start._other_weights(str(workdir), shapes, ("unet", "cosine"), into)


def test_a_checkpoint_is_data_until_its_user_names_the_code(trained, tmp_path, capfd):
    _, workdir = trained
    forgotten = sys.modules.pop("own_parts")
    try:
        with pytest.raises(
            CheckpointError, match=r"model.kind='own_parts:Net' is code.*--allow=own"
        ):
            sagd.load(workdir)
        with pytest.raises(CheckpointError, match=r"schedule.kind='own_parts:Power' is code"):
            sagd.load(workdir, allow=["own_parts:Net"])
        for main, flags in (
            (sample.main, [f"--workdir={workdir}", f"--out={tmp_path}", "--num_samples=2"]),
            (likelihood.main, [f"--workdir={workdir}"]),
            (inspect.main, [str(workdir)]),
        ):
            with pytest.raises(SystemExit) as stopped:
                main(flags)
            error = capfd.readouterr().err
            assert stopped.value.code == 2 and "pass --allow=own_parts:Net" in error
            assert error.count("\n") == 1
        assert "own_parts" not in sys.modules
    finally:
        sys.modules["own_parts"] = forgotten


def test_a_checkpoint_is_used_with_the_code_that_its_user_names(trained, tmp_path, capfd):
    _, workdir = trained
    denoiser, diffusion, metadata = sagd.load(workdir, allow=ALLOW)
    x = jax.numpy.zeros((2, *metadata["shape"]))
    assert denoiser(x, jax.numpy.full(2, 0.5)).shape == x.shape
    assert metadata["config"]["model"]["options"] == {"width": 3}
    assert type(diffusion.schedule).__name__ == "Power"
    allow = [f"--allow={path}" for path in ALLOW]
    flags = [f"--workdir={workdir}", f"--out={tmp_path / 'out'}", "--num_samples=2"]
    assert sample.main([*flags, "--num_steps=1", *allow]) == 0
    assert inspect.main([str(workdir), *allow]) == 0
    # The data, of which a network needs nothing, are code of their own.
    flags = [f"--workdir={workdir}", f"--out={tmp_path}", "--split=train", "--num_examples=1"]
    flags += ["--num_steps=1", "--on_range", "--divergence=hutchinson"]
    with pytest.raises(SystemExit):
        likelihood.main([*flags, *allow])
    assert "data.name='own_parts:stripes' is code" in capfd.readouterr().err
    assert likelihood.main([*flags, *allow, "--allow=own_parts:stripes"]) == 0


def test_what_is_allowed_is_a_list_of_whole_paths():
    check_allowed({"model.kind": "unet", "schedule.kind": "cosine"}, ())
    for allow in ((), ("my_module",), ("my_module:net_of_mine",)):
        with pytest.raises(ConfigError, match=r"model.kind"):
            check_allowed({"model.kind": "my_module:net"}, allow)
    with pytest.raises(ConfigError, match="expected a list"):
        check_allowed({"model.kind": "my_module:net"}, "my_module:net")


def test_a_hostile_record_imports_nothing(trained, module, monkeypatch):
    _, workdir = trained
    (module / "own_trap.py").write_text("raise SystemExit('imported')\n")
    read = saved.read_record

    def hostile(values):
        record = read(values)
        values = schema.as_dict(record)
        for section, name in (("model", "kind"), ("noise", "kind"), ("data", "name")):
            values["config"][section][name] = "own_trap:f"
        return read(values)

    monkeypatch.setattr(saved, "read_record", hostile)
    with pytest.raises(CheckpointError, match=r"model.kind='own_trap:f' is code"):
        saved.load_run(workdir, allow=ALLOW)
    assert "own_trap" not in sys.modules
