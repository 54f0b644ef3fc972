"""A network, a loop and samples of one's own: the package's functions and plain JAX.

    python examples/own_network.py [STEPS]

Data: waves of one frequency and random phase, 16 samples long. Noise: a power law.
"""

import sys

import jax
import jax.numpy as jnp

import sagd_jax as sagd

process = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((16,), alpha=-0.2))


def waves(key, count):
    phase = jax.random.uniform(key, (count, 1), maxval=2 * jnp.pi)
    return jnp.sin(2 * jnp.pi * 3 * jnp.arange(16) / 16 + phase)[..., None]


def network(params, x_t, t):
    clock = jnp.stack([t, jnp.sin(jnp.pi * t), jnp.cos(jnp.pi * t)], axis=-1)
    h = jax.nn.silu(jnp.concatenate([x_t[..., 0], clock], axis=-1) @ params["in"])
    return (jax.nn.silu(h @ params["hidden"]) @ params["out"])[..., None]


@jax.jit
def step(params, average, key):
    data_key, time_key, noise_key = jax.random.split(key, 3)
    x0, t = waves(data_key, 256), sagd.losses.sample_times(time_key, 256, method="stratified")
    x_t, noise = process.diffuse(noise_key, x0, t)

    def loss(params):
        prediction = network(params, x_t, t)
        return sagd.losses.denoising_loss(process, prediction, x0, noise, t, kind="v").mean()

    value, gradient = jax.value_and_grad(loss)(params)
    params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient)
    return params, jax.tree.map(lambda a, p: 0.99 * a + 0.01 * p, average, params), value


def main(steps=1000):
    draw = jax.nn.initializers.lecun_normal()
    shapes = {"in": (19, 256), "hidden": (256, 256), "out": (256, 16)}
    params = {
        name: draw(jax.random.key(i), shape) for i, (name, shape) in enumerate(shapes.items())
    }
    average = params
    for i in range(steps):
        params, average, value = step(params, average, jax.random.fold_in(jax.random.key(0), i))
    x = sagd.sample(
        jax.random.key(1),
        lambda x, t: network(average, x, t),
        process,
        (256, 16, 1),
        prediction="v",
    )
    power = jnp.mean(jnp.abs(jnp.fft.rfft(x[..., 0], norm="ortho")) ** 2, axis=0)
    share = float(power[3] * 2 / jnp.mean(jnp.sum(x**2, axis=(1, 2))))
    print(f"loss {value:.3f}; {share:.0%} of the samples' energy is at the waves' frequency")
    return share


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
