"""MNIST at 32x32 with the paper's network and process, for TPU or GPU.

    python train.py --config=configs/mnist.py --workdir=runs/mnist

The set is prepared once by tensorflow-datasets (the program prints the command); --config.data.dir
says where it is, if not in ~/tensorflow_datasets. The covariance of the paper's best run is
--config.noise.kind=power_law --config.noise.alpha=-0.06 (its Table F.1).

Not trained in full here: that wants an accelerator. Measured on two CPU cores with
--config.train.batch_size=16 --config.train.num_steps=100 --config.optimizer.warmup_steps=20: 16
images per second (100,000 steps of 128 would take nine days), loss 0.113 over steps 81 to 100.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "mnist"
    config.schedule.kind = "linear_beta"
    config.model.prediction = "epsilon"

    # The U-Net of the paper is the default. What the paper leaves open (optimiser, rate, batch,
    # length) is a guess from the code base that its authors used before.
    config.train.batch_size = 128
    config.train.num_steps = 100_000
    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay = "cosine"
    config.optimizer.warmup_steps = 500
    return config
