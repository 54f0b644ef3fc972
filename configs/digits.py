"""Real 8x8 digits (scikit-learn's, embedded), class-conditional, in a few minutes on two CPU cores.

    python train.py --config=configs/digits.py --workdir=runs/digits

Measured on two cores of an AMD EPYC: 3 min 21 s for this and 64 samples, 5 min 33 s for this alone on a day when they
were slower; loss 0.212 over the last 50 steps. To expect of 512 samples: an SVM trained
on the real digits gives each class 9 to 11 % of them and a mean largest probability of 0.957, where
held-out digits get 0.948 (results/digits.json, by benchmarks/digits_quality.py).
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
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
