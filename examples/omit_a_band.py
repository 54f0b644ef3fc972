"""A stripe in every picture, left out: with the exact denoiser of Gaussian data instead of a network.

    python examples/omit_a_band.py

The data are Gaussian fields with a stripe of frequency 4/16 added. Noise without that frequency never
destroys the stripe, so it is never learned: samples have the data's spectrum elsewhere, and there nothing.
"""

import jax
import jax.numpy as jnp

import sagd_jax as sagd

SHAPE = (16, 16)


def main():
    smooth = sagd.power_law(SHAPE, alpha=-1.0)
    hole = sagd.notch(SHAPE, [(0.25, 0.0)])
    process = sagd.Diffusion(sagd.schedules.cosine(), hole)
    stripe = 2 * jnp.cos(2 * jnp.pi * 4 * jnp.arange(16) / 16)[:, None, None]
    data = sagd.oracle.FourierGaussian(stripe * jnp.ones((*SHAPE, 1)), smooth.variance)
    x = sagd.sample(
        jax.random.key(0), data.denoiser(process, "x0"), process, (512, *SHAPE, 1), prediction="x0"
    )
    power = jnp.mean(jnp.abs(jnp.fft.rfft2(x[..., 0], norm="ortho")) ** 2, axis=0)
    ratio = power / smooth.variance[..., 0]
    print(f"power of the samples over the data's: {ratio[4, 0]:.1e} at the stripe, "
          f"{jnp.median(ratio):.2f} elsewhere")  # fmt: skip
    return float(ratio[4, 0]), float(jnp.median(ratio))


if __name__ == "__main__":
    main()
