"""Reads and writes the folders in which diffusers publishes a `UNet2DModel`.

A folder holds `config.json` and `diffusion_pytorch_model.safetensors`, either directly or in
`unet/` as whole pipelines do. Source of the names: diffusers' `UNet2DModel`. Weights in pickles (`.bin`) are not read: unpickling runs code.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from sagd_jax.models.unet import UNet
from sagd_jax.system.files import write_whole
from sagd_jax.system.late import optional

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"

# Options of UNet2DModel that `UNet` has under the same name, with the default diffusers gives them:
# a config written by an older version lacks the newer ones.
_SHARED = {
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "downsample_padding": 1,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "dropout": 0.0,
    "out_channels": 3,
}
# Options that `UNet` has one form of; the first of the values is what is written.
_FIXED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default",),
    "class_embed_type": (None,),
}
# Options without influence on the network: the image size its pipeline makes, and the length of a
# table that only "learned" time embeddings have.
_IGNORED = ("sample_size", "num_train_timesteps")

_OLD_ATTENTION_NAMES = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}


def load_diffusers(folder: str | Path) -> tuple[UNet, dict[str, Any]]:
    """Reads a `UNet2DModel` from a diffusers folder.

    Args:
      folder: the folder of the model, or of a pipeline with the model in `unet/`. A checkpoint
        with `num_class_embeds` N gives `num_classes` N - 1: its last row is the one selected by
        `label=None`.

    Returns:
      The network and its parameters, float32.

    Raises:
      FileNotFoundError: the folder lacks one of the two files.
      MissingExtraError: the package `safetensors` is not installed.
      ValueError: the config asks for what `UNet` has not, or a tensor is missing, unexpected or
        of the wrong shape; the message names it.

    Example:
      >>> import tempfile, jax, jax.numpy as jnp
      >>> from sagd_jax.models import UNet, load_diffusers, save_diffusers
      >>> model = UNet((8,), layers_per_block=1, mid_attention=False, norm_num_groups=4)
      >>> x, timestep = jnp.ones((1, 8, 8, 3)), jnp.zeros(1)
      >>> params = model.init(jax.random.key(0), x, timestep)["params"]
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_diffusers(folder, model, params)
      ...     model2, params2 = load_diffusers(folder)
      >>> bool(jax.tree.all(jax.tree.map(jnp.array_equal, params2, params)))
      True
      >>> model2 == model.clone(out_channels=3)
      True
    """
    folder = _model_folder(Path(folder))
    config = json.loads((folder / CONFIG_FILE).read_text())
    return from_diffusers(config, _safetensors().load_file(folder / WEIGHTS_FILE))


def save_diffusers(
    folder: str | Path,
    model: UNet,
    params: Mapping[str, Any],
    sample_size: int | tuple[int, int] | None = None,
) -> None:
    """Writes a network as a folder that `diffusers.UNet2DModel.from_pretrained` reads.

    Args:
      folder: made where it does not exist.
      model: the network. With `num_classes` K it is written with `num_class_embeds` K + 1.
      params: its parameters.
      sample_size: image side, or (height, width), kept in the config for diffusers' pipelines.

    Raises:
      MissingExtraError: the package `safetensors` is not installed.
      ValueError: the parameters are not those of the model.

    Example: see `load_diffusers`.
    """
    config, tensors = to_diffusers(model, params)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config["sample_size"] = sample_size
    write_whole(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    # The package's own `save_file` makes files that only their owner can read.
    write_whole(folder / WEIGHTS_FILE, _safetensors().save(tensors, metadata={"format": "pt"}))


def from_diffusers(
    config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> tuple[UNet, dict[str, Any]]:
    """The network and parameters of a `UNet2DModel`'s config and state dict (as NumPy arrays).

    Raises:
      ValueError: as `load_diffusers`.

    Example: see `to_diffusers`.
    """
    model = _from_config(config)
    tensors = {
        re.sub(
            r"(?<=\.)(query|key|value|proj_attn)(?=\.)",
            lambda match: _OLD_ATTENTION_NAMES[match[0]],
            name,
        ): tensor
        for name, tensor in tensors.items()
    }
    params = {}
    for path, name, shape in _parameters(model, config.get("in_channels", 3)):
        if name not in tensors:
            raise ValueError(f"tensor {name!r} is missing")
        tensor = tensors.pop(name)
        value = _to_flax(tensor) if path[-1] == "kernel" else tensor
        if value.shape != shape:
            expected = _to_torch(np.empty(shape)).shape if path[-1] == "kernel" else shape
            raise ValueError(f"tensor {name!r} has shape {tensor.shape} instead of {expected}")
        params[path] = jnp.asarray(value, jnp.float32)
    if tensors:
        raise ValueError(f"unexpected tensors {sorted(tensors)}")
    return model, traverse_util.unflatten_dict(params)


def to_diffusers(
    model: UNet, params: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The config and state dict of the `UNet2DModel` that computes what the network computes.

    Raises:
      ValueError: the parameters are not those of the model.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from sagd_jax.models import UNet
      >>> from sagd_jax.models.diffusers_weights import from_diffusers, to_diffusers
      >>> model = UNet((8,), layers_per_block=1, mid_attention=False, norm_num_groups=4)
      >>> x, timestep = jnp.ones((1, 8, 8, 1)), jnp.zeros(1)
      >>> params = model.init(jax.random.key(0), x, timestep)["params"]
      >>> config, tensors = to_diffusers(model, params)
      >>> tensors["conv_in.weight"].shape
      (8, 1, 3, 3)
      >>> from_diffusers(config, tensors)[0] == model.clone(out_channels=1)
      True
    """
    flat = traverse_util.flatten_dict(dict(params))
    in_channels = np.shape(flat.get(("conv_in", "kernel"), np.empty((3, 3, 1, 1))))[2]
    tensors = {}
    for path, name, shape in _parameters(model, in_channels):
        if path not in flat or flat[path].shape != shape:
            raise ValueError(f"params: {'/'.join(path)} must be an array of shape {shape}")
        value = np.asarray(flat.pop(path), np.float32)
        tensors[name] = np.ascontiguousarray(_to_torch(value) if path[-1] == "kernel" else value)
    if flat:
        raise ValueError(f"params: unexpected {sorted('/'.join(path) for path in flat)}")
    return _to_config(model, in_channels), tensors


def _model_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "unet"):
        if (candidate / CONFIG_FILE).is_file():
            if (candidate / WEIGHTS_FILE).is_file():
                return candidate
            raise FileNotFoundError(f"{candidate}: no {WEIGHTS_FILE} (pickled .bin is not read)")
    raise FileNotFoundError(f"{folder}: no {CONFIG_FILE}, nor in {folder / 'unet'}")


def _safetensors() -> Any:
    with optional("a diffusers folder"):
        import safetensors.numpy
    return safetensors.numpy


def _from_config(config: Mapping[str, Any]) -> UNet:
    """The network a config describes; refuses, by name, what `UNet` cannot be."""

    def refuse(option: str, allowed: str) -> None:
        raise ValueError(f"config option {option}={config[option]!r}: must be {allowed}")

    config = {key: value for key, value in config.items() if key[0] != "_" or key == "_class_name"}
    options = {name: config.get(name, default) for name, default in _SHARED.items()}
    levels = len(options["block_out_channels"])
    for option, value in config.items():
        if option == "_class_name":
            if value != "UNet2DModel":
                refuse(option, "UNet2DModel")
        elif option in _FIXED:
            if value not in _FIXED[option]:
                refuse(option, " or ".join(repr(v) for v in _FIXED[option]))
        elif option == "time_embedding_dim":
            if value not in (None, 4 * options["block_out_channels"][0]):
                refuse(option, "None or 4 * block_out_channels[0]")
        elif option == "attn_norm_num_groups":
            if value not in (None, options["norm_num_groups"]):
                refuse(option, "None or norm_num_groups")
        elif option == "num_class_embeds":
            if value is not None and value < 2:
                refuse(option, "None or at least 2")
        elif option == "down_block_types":
            if len(value) != levels or not set(value) <= {"DownBlock2D", "AttnDownBlock2D"}:
                refuse(option, f"{levels} of DownBlock2D, AttnDownBlock2D")
        elif option not in (*_SHARED, *_IGNORED, "in_channels", "add_attention", "up_block_types"):
            refuse(option, "absent: it is not supported")

    down = config.get("down_block_types", ["DownBlock2D"] + ["AttnDownBlock2D"] * 3)
    up = [name.replace("Down", "Up") for name in reversed(down)]
    if list(config.get("up_block_types", up)) != up:
        refuse("up_block_types", f"the mirror of down_block_types, {up}")
    return UNet(
        **options,
        attention=tuple(name.startswith("Attn") for name in down),
        mid_attention=config.get("add_attention", True),
        num_classes=(config.get("num_class_embeds") or 1) - 1,
    )


def _to_config(model: UNet, in_channels: int) -> dict[str, Any]:
    attention = tuple(model.attention or ())
    return {
        "_class_name": "UNet2DModel",
        "in_channels": in_channels,
        **{name: values[0] for name, values in _FIXED.items()},
        **{name: getattr(model, name) for name in _SHARED},
        "out_channels": model.out_channels or in_channels,
        "down_block_types": ["AttnDownBlock2D" if a else "DownBlock2D" for a in attention],
        "up_block_types": ["AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)],
        "add_attention": model.mid_attention,
        "num_class_embeds": model.num_classes + 1 if model.num_classes else None,
    }


def _parameters(
    model: UNet, in_channels: int
) -> Iterator[tuple[tuple[str, ...], str, tuple[int, ...]]]:
    """Path, diffusers name and shape of every parameter, without computing any."""
    side = 2 ** (len(model.block_out_channels) - 1)
    x = jax.ShapeDtypeStruct((1, side, side, in_channels), jnp.float32)
    timestep = jax.ShapeDtypeStruct((1,), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x, timestep)["params"]
    for path, shape in traverse_util.flatten_dict(shapes).items():
        *modules, kind = path
        kind = {"scale": "weight", "kernel": "weight", "embedding": "weight"}.get(kind, kind)
        name = ".".join([*modules, kind])
        name = name.replace("mid_block_", "mid_block.")
        name = re.sub(r"(blocks|resnets|attentions|samplers|to_out)_(\d+)", r"\1.\2", name)
        name = re.sub(r"(blocks\.\d+)_", r"\1.", name)
        yield path, name, shape.shape


def _to_flax(weight: np.ndarray) -> np.ndarray:
    """(out, in, *window) to (*window, in, out)."""
    return np.moveaxis(weight, (0, 1), (-1, -2))


def _to_torch(kernel: np.ndarray) -> np.ndarray:
    """(*window, in, out) to (out, in, *window)."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))
