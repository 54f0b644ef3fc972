"""Real 8x8 digits (scikit-learn's, embedded), class-conditional, in a few minutes on two CPU cores.

    python train.py --config=configs/digits.py --workdir=runs/digits

@MEASURED_DIGITS@
"""

from sagd_jax.training.config import default


def get_config():
    config = default()
    config.data.name = "digits"
    config.schedule.kind = "cosine"

    config.model.prediction = "v"
    config.model.class_conditional = True
    config.model.unet.block_out_channels = (32, 64)
    config.model.unet.layers_per_block = 1
    config.model.unet.attention = (False, False)
    config.model.unet.attention_head_dim = 16
    config.model.unet.norm_num_groups = 8

    config.train.num_steps = 2_800
    config.train.batch_size = 64
    config.train.times = "stratified"
    config.train.ema_decay = 0.999
    config.optimizer.learning_rate = 2e-3
    config.optimizer.decay = "cosine"
    config.optimizer.warmup_steps = 100

    config.log.every = 250
    config.checkpoint.every = 1_000
    config.preview.every = 1_400
    return config
