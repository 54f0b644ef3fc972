"""Networks with the interface `apply({"params": p}, x, timestep, label)`.

`UNet` is the denoiser of the paper (diffusers' `UNet2DModel`), `DiT` the transformer; published
`UNet2DModel` folders are read and written by `load_diffusers` and `save_diffusers`. The
mathematics of the package never imports this folder: any function of `(x, t)` is a denoiser.
"""

from sagd_jax.models.diffusers_weights import load_diffusers, save_diffusers
from sagd_jax.models.dit import DIT_SIZES, DiT, dit_size
from sagd_jax.models.unet import UNet
from sagd_jax.system.late import modules_of

__all__ = ["DIT_SIZES", "DiT", "UNet", "dit_size", "load_diffusers", "save_diffusers"]

__getattr__ = modules_of(__name__)
