"""`UNet` computes what diffusers' `UNet2DModel` computes, from the same folder."""

import json
import os
import stat
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity.cases import CASES, SMALL, inputs, tensor

from sagd_jax.models import UNet, load_diffusers, save_diffusers
from sagd_jax.models.diffusers_weights import from_diffusers, to_diffusers

STORED = np.load(Path(__file__).parent / "parity" / "outputs.npz", allow_pickle=False)
SHAPES = json.loads(str(STORED["shapes"]))


def state_dict(case):
    return {name: tensor(name, tuple(shape)) for name, shape in SHAPES[case].items()}


def apply(model, params, x, timestep, label=None):
    """One call of the network."""
    timestep = jnp.array(timestep, jnp.float32)
    label = None if label is None else jnp.array(label)
    return jax.jit(lambda p, *args: model.apply({"params": p}, *args))(params, x, timestep, label)


def run(model, params, case):
    return apply(model, params, inputs(case), *CASES[case][2:])


def difference(output, expected):
    return np.abs(np.asarray(output) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
def test_stored_outputs_of_diffusers(case):
    model, params = from_diffusers(CASES[case][0], state_dict(case))
    assert difference(run(model, params, case), STORED[case]) < 2e-5


@pytest.mark.parametrize(
    ("option", "default"),
    [
        ("downsample_padding", 1),
        ("flip_sin_to_cos", True),
        ("freq_shift", 0),
        ("attention_head_dim", 8),
        ("norm_eps", 1e-5),
        ("norm_num_groups", 8),
    ],
)
def test_the_stored_outputs_see_each_option(option, default):
    model, params = from_diffusers(CASES[option][0], state_dict(option))
    assert difference(run(model.clone(**{option: default}), params, option), STORED[option]) > 1e-3


def test_old_attention_names():
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = state_dict("small")
    for new, before in old.items():
        tensors = {
            name.replace(f".{new}.", f".{before}."): value for name, value in tensors.items()
        }
    assert any("proj_attn" in name for name in tensors)
    model, params = from_diffusers(SMALL, tensors)
    assert difference(run(model, params, "small"), STORED["small"]) < 2e-5


def test_defaults_of_a_config_are_those_of_diffusers():
    model, _ = from_diffusers(SMALL, state_dict("small"))
    assert (model.dropout, model.freq_shift, model.flip_sin_to_cos) == (0.0, 0, True)
    assert (model.attention_head_dim, model.norm_eps, model.downsample_padding) == (8, 1e-5, 1)
    assert (model.mid_attention, model.num_classes) == (True, 0)


def test_folder_round_trip(tmp_path):
    model = UNet(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention=(True, False),
        mid_attention=False,
        num_classes=4,
        dropout=0.1,
        downsample_padding=0,
        freq_shift=1.0,
        flip_sin_to_cos=False,
        attention_head_dim=None,
        norm_eps=1e-6,
        out_channels=2,
    )
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape).astype("f4"), shapes["params"])
    save_diffusers(tmp_path / "pipeline" / "unet", model, params, sample_size=8)
    loaded, restored = load_diffusers(tmp_path / "pipeline")
    assert loaded == model
    assert jax.tree.structure(params) == jax.tree.structure(restored)
    jax.tree.map(np.testing.assert_array_equal, params, restored)


def test_the_files_can_be_read_by_whom_the_umask_lets(tmp_path):
    model, params = from_diffusers(SMALL, state_dict("small"))
    before = os.umask(0o027)
    try:
        save_diffusers(tmp_path / "out", model, params)
    finally:
        os.umask(before)
    files = list((tmp_path / "out").iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act_fn": "mish"}, "act_fn='mish'"),
        ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift='scale_shift'"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type='fourier'"),
        ({"center_input_sample": True}, "center_input_sample=True"),
        ({"class_embed_type": "timestep"}, "class_embed_type='timestep'"),
        ({"mid_block_type": None}, "mid_block_type=None"),
        ({"time_embedding_dim": 100}, "time_embedding_dim=100"),
        ({"attn_norm_num_groups": 2}, "attn_norm_num_groups=2"),
        ({"num_class_embeds": 1}, "num_class_embeds=1"),
        ({"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, "down_block_types="),
        ({"up_block_types": ["UpBlock2D", "AttnUpBlock2D"]}, "up_block_types="),
        ({"cross_attention_dim": 8}, "cross_attention_dim=8"),
        ({"_class_name": "UNet2DConditionModel"}, "_class_name='UNet2DConditionModel'"),
        ({"norm_num_groups": 7}, "norm_num_groups=7"),
    ],
)
def test_unsupported_options_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message) as error:
        from_diffusers(SMALL | change, {})
    assert "\n" not in str(error.value)


def test_wrong_tensors_are_refused_by_name():
    good = state_dict("small")
    missing = {name: value for name, value in good.items() if name != "conv_out.bias"}
    with pytest.raises(ValueError, match=r"'conv_out\.bias' is missing"):
        from_diffusers(SMALL, missing)
    with pytest.raises(ValueError, match=r"unexpected tensors \['more\.weight'\]"):
        from_diffusers(SMALL, good | {"more.weight": np.zeros(3)})
    with pytest.raises(
        ValueError, match=r"'conv_in\.weight' has shape \(16, 2, 1, 1\) instead of \(16, 2, 3, 3\)"
    ):
        from_diffusers(SMALL, good | {"conv_in.weight": np.zeros((16, 2, 1, 1))})
    # A square matrix is not accepted transposed by accident: the shape differs where it can.
    name = "time_embedding.linear_1.weight"
    with pytest.raises(ValueError, match=name):
        from_diffusers(SMALL, good | {name: good[name].T})


def test_parameters_of_another_model_are_refused():
    model, params = from_diffusers(SMALL, state_dict("small"))
    with pytest.raises(ValueError, match="mid_block_attentions_0"):
        to_diffusers(model.clone(mid_attention=False), params)
    with pytest.raises(ValueError, match="down_blocks_0_resnets_1"):
        to_diffusers(model.clone(layers_per_block=2), params)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        load_diffusers(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(FileNotFoundError, match=r"pickled"):
        load_diffusers(tmp_path)


class TestAgainstDiffusers:
    """With torch and diffusers installed: random weights, through real folders."""

    @pytest.fixture(autouse=True)
    def _need_diffusers(self):
        self.torch = pytest.importorskip("torch")
        self.diffusers = pytest.importorskip("diffusers")

    def outputs(self, network, x, timestep):
        with self.torch.no_grad():
            sample = self.torch.from_numpy(np.moveaxis(x, -1, 1).copy())
            output = network.eval()(sample, self.torch.tensor(timestep)).sample
        return np.moveaxis(output.numpy(), 1, -1)

    @pytest.mark.parametrize("case", ["paper_3", "ddpm"])
    def test_reads_what_diffusers_saves(self, case, tmp_path):
        self.torch.manual_seed(0)
        network = self.diffusers.UNet2DModel(**CASES[case][0])
        network.save_pretrained(tmp_path)
        x = np.random.default_rng(0).normal(size=(2, 16, 24, 3)).astype(np.float32)
        timestep = [0, 513]
        model, params = load_diffusers(tmp_path)
        output = apply(model, params, x, timestep)
        assert difference(output, self.outputs(network, x, timestep)) < 2e-5

    def test_diffusers_reads_what_is_saved(self, tmp_path):
        model, params = from_diffusers(SMALL, state_dict("small"))
        save_diffusers(tmp_path, model, params, sample_size=8)
        network = self.diffusers.UNet2DModel.from_pretrained(tmp_path, low_cpu_mem_usage=False)
        assert network.config.sample_size == 8
        x = np.random.default_rng(1).normal(size=(2, 8, 8, 2)).astype(np.float32)
        timestep = [11, 999]
        output = apply(model, params, x, timestep)
        assert difference(output, self.outputs(network, x, timestep)) < 2e-5

    def test_initial_weights_have_the_spread_of_torch(self):
        config = SMALL | {
            "block_out_channels": [64],
            "down_block_types": ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"],
            "num_class_embeds": 50,
        }
        network = self.diffusers.UNet2DModel(**config)
        reference = {name: value.detach().numpy() for name, value in network.state_dict().items()}
        model, _ = from_diffusers(config, reference)
        x, timestep = jnp.zeros((1, 4, 4, 2)), jnp.zeros(1)
        params = jax.jit(model.init)(jax.random.key(0), x, timestep)["params"]
        for name, value in to_diffusers(model, params)[1].items():
            if value.size > 4_000:  # where a spread is known to within 2 %
                np.testing.assert_allclose(value.std(), reference[name].std(), rtol=0.1)
            if value.size > 50 and "class" not in name:  # uniform or constant: has a bound
                bound = np.abs(reference[name]).max()
                np.testing.assert_allclose(np.abs(value).max(), bound, rtol=0.2, atol=1e-7)
