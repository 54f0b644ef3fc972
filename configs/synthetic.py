"""Gaussian fields with a known power-law spectrum, under noise with a known one: a self-test.

    python train.py --config=configs/synthetic.py --workdir=runs/synthetic

Measured on two CPU cores: 50 s. To expect: for Gaussian data the least loss is known, the mean over t
and f of lambda alpha^2 S / (alpha^2 S + sigma^2 lambda) = 0.0920, by quarter of t 0.342, 0.024, 0.002,
0.000 (equation 11 of sagd_jax/diffusion/oracle.py); the last 100 steps had 0.0908, 0.343, 0.025, 0.004, 0.003.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "synthetic"
    config.data.field_shape = (16, 16)
    config.data.field_alpha = -1.0
    config.noise.kind = "power_law"
    config.noise.alpha = -0.5
    config.schedule.kind = "linear_beta"
    config.model.prediction = "epsilon"

    config.model.unet.block_out_channels = (16, 32)
    config.model.unet.layers_per_block = 1
    config.model.unet.attention = (False, False)
    config.model.unet.mid_attention = False
    config.model.unet.norm_num_groups = 8

    config.train.batch_size = 32
    config.train.num_steps = 1_000
    config.train.ema_decay = 0.995
    config.optimizer.learning_rate = 1e-3
    config.optimizer.decay = "cosine"
    config.optimizer.warmup_steps = 100
    config.log.every = 100
    config.checkpoint.every = 500
    config.preview.every = 1_000
    return config
