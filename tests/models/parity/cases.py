"""Networks whose outputs under diffusers are stored in `outputs.npz`.

Weights and inputs come from a closed formula of a tensor's name and index, so none are stored.
`make_outputs.py` computes the outputs; the tests need neither torch nor diffusers.
"""

import zlib

import numpy as np

# Small enough to run in a moment; every other small case changes an option of it.
SMALL = {
    "in_channels": 2,
    "out_channels": 2,
    "block_out_channels": [16, 32],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
PAPER = {"block_out_channels": [32, 64, 128, 256]}

# name: (config, (height, width), timesteps, labels)
CASES: dict[str, tuple[dict, tuple[int, int], list[int], list[int] | None]] = {
    "paper_1": ({**PAPER, "in_channels": 1, "out_channels": 1}, (32, 32), [981], None),
    "paper_3": ({**PAPER, "in_channels": 3, "out_channels": 3}, (32, 32), [7], None),
    "small": (SMALL, (8, 12), [3, 640], None),
    "downsample_padding": ({**SMALL, "downsample_padding": 0}, (8, 12), [3, 640], None),
    "flip_sin_to_cos": ({**SMALL, "flip_sin_to_cos": False}, (8, 12), [3, 640], None),
    "freq_shift": ({**SMALL, "freq_shift": 1}, (8, 12), [3, 640], None),
    "attention_head_dim": ({**SMALL, "attention_head_dim": None}, (8, 12), [3, 640], None),
    # Far from the default: between 1e-6 and 1e-5 the outputs would not differ visibly.
    "norm_eps": ({**SMALL, "norm_eps": 0.05}, (8, 12), [3, 640], None),
    "norm_num_groups": ({**SMALL, "norm_num_groups": 4}, (8, 12), [3, 640], None),
    "class_and_depth": (
        {**SMALL, "num_class_embeds": 5, "layers_per_block": 2, "out_channels": 3},
        (8, 8),
        [3, 640],
        [0, 4],
    ),
    "no_mid_attention": ({**SMALL, "add_attention": False}, (8, 8), [3, 640], None),
    # The finest level alone has attention, and the coarsest is 2x2 pixels.
    "three_levels": (
        {
            **SMALL,
            "block_out_channels": [16, 16, 32],
            "down_block_types": ["AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D"],
        },
        (8, 8),
        [3, 640],
        None,
    ),
    # The options of google/ddpm-cifar10-32 at a tenth of its width.
    "ddpm": (
        {
            "act_fn": "silu",
            "attention_head_dim": None,
            "block_out_channels": [16, 32, 32, 32],
            "center_input_sample": False,
            "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
            "downsample_padding": 0,
            "flip_sin_to_cos": False,
            "freq_shift": 1,
            "in_channels": 3,
            "layers_per_block": 2,
            "mid_block_scale_factor": 1,
            "norm_eps": 1e-06,
            "norm_num_groups": 16,
            "out_channels": 3,
            "sample_size": 32,
            "time_embedding_type": "positional",
            "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
        },
        (16, 16),
        [999],
        None,
    ),
}


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values for a tensor of a state dict, or an input: noise-like, and the same everywhere.

    Matrices and kernels are on +-1/sqrt(fan in), norm scales on 1 +- 0.3, biases on +-0.3, and
    inputs on +-1.
    """
    index = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    wave = np.sin(index * 12.9898 + zlib.crc32(name.encode()) % 10_007) * 43_758.5453
    unit = 2 * (wave - np.floor(wave)) - 1
    if "." not in name:
        values = unit
    elif len(shape) > 1:
        values = unit / np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.3 * unit + name.endswith("weight")
    return values.astype(np.float32)


def inputs(case: str) -> np.ndarray:
    """The input of a case, `(batch, height, width, channels)`."""
    config, size, timesteps, _ = CASES[case]
    return tensor(case, (len(timesteps), *size, config["in_channels"]))
