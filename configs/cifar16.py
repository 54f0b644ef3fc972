"""CIFAR-10 at 16x16 with the network of configs/mnist16.py: colour, in minutes on one CPU core.

    python train.py --config=configs/cifar16.py --workdir=runs/cifar16

Half of its sides (averages of 2x2), 1,200 steps of 32: enough for the order of arms that differ in their
noise, not for pictures that anybody would show.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "cifar10"
    config.data.image_size = 16
    config.schedule.kind = "cosine"

    config.model.prediction = "v"
    config.model.class_conditional = True
    config.model.unet.block_out_channels = (16, 32, 64)
    config.model.unet.layers_per_block = 1
    config.model.unet.attention = (False, False, False)
    config.model.unet.attention_head_dim = 16
    config.model.unet.norm_num_groups = 8

    config.train.num_steps = 1_200
    config.train.batch_size = 32
    config.train.times = "stratified"
    config.train.ema_decay = 0.999
    config.optimizer.learning_rate = 2e-3
    config.optimizer.decay = "cosine"
    config.optimizer.warmup_steps = 100

    config.log.every = 200
    config.checkpoint.every = 400
    config.preview.every = None
    return config
