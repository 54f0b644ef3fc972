"""Selective omission on MNIST: the band [0.4, 0.5) is corrupted in all examples, and left out.

    python train.py --config=configs/omission_mnist.py --workdir=runs/omission

The corruption is the paper's, x + gamma e with band noise of its section 3.3 and gamma = 1, drawn
anew each time; the noise of the process has a hole there, so the network never learns it. The rival
with white noise is --config.noise.kind=white --config.noise.bands="()".
docs/selective_omission.md says what to expect of the omitted band.

Not trained in full here. The hole takes 148 of 1,024 frequencies; the disturbance of unit variance
there is most of what is removed: 84 % of the energy of the (disturbed) data, as --dry_run prints.
Run at a small size, on digits, in tests/programs/test_sources_end_to_end.py.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "mnist"
    config.data.corruption = "band"
    config.data.corruption_band = (0.4, 0.5)
    config.data.corruption_frozen = False
    config.noise.kind = "band_pass"
    config.noise.bands = ((0.0, 0.4), (0.5, 1.0))
    config.schedule.kind = "linear_beta"
    config.model.prediction = "epsilon"

    config.train.batch_size = 128
    config.train.num_steps = 100_000
    config.optimizer.learning_rate = 1e-4
    config.optimizer.decay = "cosine"
    config.optimizer.warmup_steps = 500
    return config
