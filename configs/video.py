"""Your own clips: a folder of frame folders (or one .npy of shape (n, time, h, w, c)), 3-D DiT.

    python train.py --config=configs/video.py --workdir=runs/clips --config.data.dir=PATH

The noise has one spectrum over time and space; sample.py writes GIFs.

Run at a small size in tests/programs/test_sources_end_to_end.py; not trained in full here. 21,896,160
parameters.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "video"
    config.data.num_frames = 16
    config.data.image_size = 32
    config.data.channels = 3

    config.model.kind = "dit"
    config.model.prediction = "v"
    config.model.dit.patch_size = (2, 4, 4)
    config.model.dit.hidden_size = 384
    config.model.dit.depth = 8
    config.model.dit.num_heads = 6
    config.schedule.kind = "cosine"

    config.train.batch_size = 16
    config.train.num_steps = 200_000
    config.optimizer.learning_rate = 2e-4
    config.optimizer.decay = "cosine"
    return config
