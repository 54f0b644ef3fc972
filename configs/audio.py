"""Your own sounds: a folder of WAV or FLAC files, in windows of about a second, with a 1-D DiT.

    python train.py --config=configs/audio.py --workdir=runs/sound --config.data.dir=PATH

All files must have one sample rate. To leave a mains hum of 60 Hz out of what is learned, give the
noise a hole there: python -m sagd_jax.spectrum --config=configs/audio.py --config.data.dir=PATH
--out=DIR finds it and writes the lines of a config that do it. sample.py writes WAV files.

Run at a small size in tests/programs/test_sources_end_to_end.py; not trained in full here. 21,871,552
parameters.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "audio"
    config.data.window = 16_384

    config.model.kind = "dit"
    config.model.prediction = "v"
    config.model.dit.patch_size = (64,)
    config.model.dit.hidden_size = 384
    config.model.dit.depth = 8
    config.model.dit.num_heads = 6
    config.schedule.kind = "cosine"

    config.train.batch_size = 32
    config.train.num_steps = 200_000
    config.optimizer.learning_rate = 2e-4
    config.optimizer.decay = "cosine"
    return config
