"""CIFAR-10 with the paper's network and process, for TPU or GPU.

    python train.py --config=configs/cifar10.py --workdir=runs/cifar10

The set is prepared once by tensorflow-datasets (the program prints the command); --config.data.dir
says where it is, if not in ~/tensorflow_datasets.

Not trained in full here: that wants an accelerator. Measured on two CPU cores with
--config.train.batch_size=16 --config.train.num_steps=40 --config.optimizer.warmup_steps=20: 17
images per second, loss 1.005 over the first 20 steps and 0.650 over the next.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "cifar10"
    config.data.flip = True
    config.schedule.kind = "linear_beta"
    config.model.prediction = "epsilon"
    config.train.batch_size = 128
    config.train.num_steps = 200_000  # as the authors' published checkpoints (about 200,192)
    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay = "cosine"
    config.optimizer.warmup_steps = 500
    return config
