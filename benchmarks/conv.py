"""Times the layers of the U-Net against the plain ones, forward and backward, in one process.

    python benchmarks/conv.py [--networks]

The ways of computing a layer take turns, so that a busy machine slows all alike; compare the
ratios of a line and not milliseconds of different runs. The range is that of the ratios of single
turns (quartiles). With `--networks` it also times training steps (loss and gradients) of whole
networks, in images per second; that takes some minutes, mostly of compiling.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.models import DiT, UNet, layers

# batch, side, channels in and out, stride
CONVOLUTIONS = [
    (16, 2, 64, 64, 1),
    (16, 2, 256, 256, 1),
    (64, 4, 128, 128, 2),
    (64, 4, 128, 128, 1),
    (16, 4, 512, 256, 1),
    (64, 8, 64, 64, 1),
    (16, 32, 32, 32, 1),
]
# batch, tokens, heads, head_dim
ATTENTIONS = [(16, 256, 8, 8), (16, 64, 16, 8), (128, 16, 16, 8), (128, 16, 2, 64)]
# batch, side, channels
NORMS = [(128, 8, 64), (16, 32, 32), (16, 16, 64)]
NETWORKS = {
    "UNet(32)": UNet((32,), norm_num_groups=8),
    "UNet(24, 48) 1 layer": UNet((24, 48), layers_per_block=1, norm_num_groups=8),
    "UNet(32, 64) 1 layer": UNet((32, 64), layers_per_block=1, norm_num_groups=8),
    "UNet(32, 64)": UNet((32, 64), norm_num_groups=8),
    "UNet(64, 128) 1 layer": UNet((64, 128), layers_per_block=1),
    "UNet(64, 128)": UNet((64, 128)),
    "UNet(32, 64, 128) 1 layer": UNet((32, 64, 128), layers_per_block=1),
    "DiT 128 x 4, patch 2": DiT(2, hidden_size=128, depth=4, num_heads=2),
    "DiT 192 x 6, patch 1": DiT(1, hidden_size=192, depth=6, num_heads=3),
}


def compare(label: str, ways: dict[str, Callable[..., Any]], args: list[Any], turns: int) -> None:
    """Prints, for each way, the time of value and gradients over that of the first way."""

    def step(function: Callable[..., Any]) -> Callable[..., Any]:
        def value_and_pullback(*args: Any) -> Any:
            y, pullback = jax.vjp(function, *args)
            return pullback(jnp.ones_like(y))

        return jax.jit(value_and_pullback)

    steps = {name: step(function) for name, function in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        for name, function in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(function(*args))
            if turn:  # the first turn compiles
                times[name].append(time.perf_counter() - start)
    first, *others = (np.array(samples) for samples in times.values())
    words = [f"{next(iter(ways))} {1e3 * np.median(first):.2f} ms"]
    for name, samples in zip(list(ways)[1:], others, strict=True):
        low, middle, high = np.quantile(first / samples, (0.25, 0.5, 0.75))
        words.append(f"{name} x{middle:.2f} faster ({low:.2f} to {high:.2f})")
    print(f"{label}: " + ", ".join(words), flush=True)


def normal(*shape: int) -> jax.Array:
    """Normal numbers, the same for the same number of axes."""
    return jax.random.normal(jax.random.key(len(shape)), shape)


def layer_times(turns: int) -> None:
    """Compares the ways of computing each layer, on the shapes above."""
    for batch, side, channels, features, stride in CONVOLUTIONS:
        ways = {
            name: lambda x, k, f=function, s=stride: f(x, k, s, (1, 1))
            for name, function in {
                "XLA": layers.convolve_by_xla,
                "patches": layers.convolve_by_patches,
                "chosen": layers.convolve,
            }.items()
        }
        label = f"convolution {batch}x{side}x{side}, {channels} to {features}, stride {stride}"
        args = [normal(batch, side, side, channels), normal(3, 3, channels, features)]
        compare(label, ways, args, turns)
    for shape in ATTENTIONS:
        ways = {"jax.nn": jax.nn.dot_product_attention, "layers": layers.dot_product_attention}
        compare(f"attention {shape}", ways, [normal(*shape)] * 3, turns)
    for batch, side, channels in NORMS:
        x = normal(batch, side, side, channels)
        variables = {"params": {"scale": jnp.ones(channels), "bias": jnp.zeros(channels)}}
        ways = {
            "flax": lambda x, v=variables: nn.silu(nn.GroupNorm(8).apply(v, x)),
            "layers": lambda x, v=variables: nn.silu(layers.GroupNorm(8).apply(v, x)),
        }
        compare(f"group norm and silu {x.shape}", ways, [x], turns)


def network_times(turns: int, batch: int = 128) -> None:
    """Prints images per second of loss and gradients, for each of the networks above."""
    x, timestep = normal(batch, 8, 8, 1), jnp.linspace(0, 999, batch)
    steps = {}
    for name, model in NETWORKS.items():
        params = jax.jit(model.init)(jax.random.key(0), x[:1], timestep[:1])["params"]

        def loss(params: Any, model: nn.Module = model) -> jax.Array:
            return jnp.square(model.apply({"params": params}, x, timestep) - x).mean()

        steps[name] = (jax.jit(jax.value_and_grad(loss)), params)
        jax.block_until_ready(steps[name][0](params))
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, (step, params) in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step(params))
            rates[name].append(batch / (time.perf_counter() - start))
    for name, (_, params) in steps.items():
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        low, middle, high = np.quantile(rates[name], (0.25, 0.5, 0.75))
        print(f"{name}: {size:,} parameters, {middle:.0f} images/s ({low:.0f} to {high:.0f})")


def main() -> None:
    """Times the layers, and the networks where the flags ask for them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", action="store_true", help="also time whole networks")
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}")
    layer_times(options.turns)
    if options.networks:
        network_times(options.turns)


if __name__ == "__main__":
    main()
