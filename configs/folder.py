"""Your own images: a folder of PNG, JPEG or WebP files of any size, nested or not.

    python train.py --config=configs/folder.py --workdir=runs/mine --config.data.dir=PATH

Images are resized and centre-cropped to 64x64 RGB; --config.data.image_size and
--config.data.channels (1: grey) change that. Sets that fit in memory are decoded once, larger ones
stream. The network predicts v under the cosine schedule; the paper's epsilon under its linear one is
--config.model.prediction=epsilon --config.schedule.kind=linear_beta.

Run at a small size in tests/programs/test_sources_end_to_end.py; not trained in full here. The network is
the paper's, 15,891,907 parameters.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "folder"
    config.data.image_size = 64
    config.data.channels = 3
    config.data.flip = True

    config.model.prediction = "v"
    config.schedule.kind = "cosine"

    config.train.batch_size = 64
    config.train.num_steps = 200_000
    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay = "cosine"
    return config
