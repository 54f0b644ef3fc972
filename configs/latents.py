"""Precomputed latents of an autoencoder: an .npy of shape (n, h, w, c), with a 2-D DiT.

    python train.py --config=configs/latents.py --workdir=runs/latents --config.data.dir=FILE

Every channel is scaled by its own statistics. The paper's ImageNet runs are a rectified flow in
latent space: --config.schedule.kind=rectified_flow --config.model.prediction=velocity
--config.train.times=logit_normal --config.noise.kind=power_law --config.noise.alpha=-0.04.

Run at a small size in tests/programs/test_sources_end_to_end.py; not trained in full here. 130,690,560
parameters for latents of 16x16x768.
"""

import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name = "latents"

    config.model.kind = "dit"
    config.model.prediction = "v"
    config.model.dit.patch_size = (1,)
    config.model.dit.hidden_size = 768
    config.model.dit.depth = 12
    config.model.dit.num_heads = 12
    config.model.dtype = "bfloat16"
    config.schedule.kind = "cosine"

    config.train.batch_size = 256
    config.train.num_steps = 400_000
    config.optimizer.learning_rate = 1e-4
    return config
