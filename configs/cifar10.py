"""CIFAR-10 with the paper's network and process, for TPU or GPU.

    python train.py --config=configs/cifar10.py --workdir=runs/cifar10

The set is prepared once by tensorflow-datasets (the program prints the command); --config.data.dir
says where it is, if not in ~/tensorflow_datasets.

@MEASURED_CIFAR@
"""

from sagd_jax.training.config import default


def get_config():
    config = default()
    config.data.name = "cifar10"
    config.data.flip = True
    config.train.batch_size = 128
    config.train.num_steps = 200_000  # as the authors' published checkpoints (about 200,192)
    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay = "cosine"
    config.optimizer.warmup_steps = 500
    return config
