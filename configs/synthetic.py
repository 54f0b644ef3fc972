"""Gaussian fields with a known power-law spectrum, under noise with a known one: a self-test.

    python train.py --config=configs/synthetic.py --workdir=runs/synthetic

@MEASURED_SYNTHETIC@
"""

from sagd_jax.training.config import default


def get_config():
    config = default()
    config.data.name = "synthetic"
    config.data.field_shape = (16, 16)
    config.data.field_alpha = -1.0
    config.noise.kind = "power_law"
    config.noise.alpha = -0.5

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
