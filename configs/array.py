"""Your own arrays: pictures, fields, recordings or volumes as numbers, in any unit.

    python train.py --config=configs/array.py --workdir=runs/mine --config.data.dir=FILE.npy

An `.npy` of shape (n, *sizes, channels), one to three sizes, of uint8 or floats; or an `.npz` with labels. Floats lie
in [-1, 1], or in what --config.data.value_range=LOW,HIGH says. Other whole numbers, such as 16-bit pixels, become
floats first: np.save("FILE.npy", x.astype(np.float32)). Pictures are not mirrored; --config.data.flip=True does that.
One size (recordings) or three (volumes, clips) need --config.model.kind=dit.

Run at a small size in tests/programs/test_sources_end_to_end.py; not trained in full here. The network is the
paper's.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "array"

    config.model.prediction = "v"
    config.schedule.kind = "cosine"

    config.train.batch_size = 64
    config.train.num_steps = 200_000
    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay = "cosine"
    return config
