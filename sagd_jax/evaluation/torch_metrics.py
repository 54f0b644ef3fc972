"""FID, KID, precision and recall of the literature, by `torch-fidelity` itself (the extra `fid`).

What it is given are the 8-bit pixels that sample.py writes, grey ones three times, as it would read them
from PNGs. Its weights come from a file of the user's; nothing is downloaded. torch is imported for these
alone.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.evaluation.features import EvaluationError

_RELEASES = "https://github.com/toshas/torch-fidelity/releases/download"
_INCEPTION = f"{_RELEASES}/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
_VGG = "https://download.pytorch.org/models/vgg16-397923af.pth"
NAMES = ("fid", "kid", "prc")
_LARGEST_SUBSET = 1000  # of KID, torch-fidelity's own


@dataclasses.dataclass(frozen=True)
class TorchFidelity:
    """The reference implementation with weights from files.

    Attributes:
      inception: of FID and KID.
      vgg: of precision and recall.
    """

    inception: Path | None = None
    vgg: Path | None = None

    def weights(self, name: str) -> Path:
        """The file of a metric's weights.

        Raises:
          EvaluationError: torch-fidelity is not installed, or there is no such file: one line with the
            command that fetches it.
        """
        missing = [p for p in ("torch", "torch_fidelity") if importlib.util.find_spec(p) is None]
        if missing:
            raise EvaluationError(
                f"--metrics={name}: needs torch-fidelity: pip install 'sagd_jax[fid]'"
            )
        flag, url, file = {
            "fid": ("--fid_weights", _INCEPTION, self.inception),
            "kid": ("--fid_weights", _INCEPTION, self.inception),
            "prc": ("--prc_weights", _VGG, self.vgg),
        }[name]
        fetch = f"fetch it once with: curl -LO {url}"
        if file is None:
            raise EvaluationError(f"--metrics={name}: needs {flag}=FILE; {fetch}")
        if not file.is_file():
            raise EvaluationError(f"{flag}={file}: no such file; {fetch}")
        return file

    def check(self, name: str) -> None:
        """Refuses weights that are not there, or are more than numbers; errors as of `weights`."""
        file = self.weights(name)
        import torch

        try:
            # The package itself would run what a file says.
            torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            raise EvaluationError(
                f"{file}: no weights of torch ({type(error).__name__})"
            ) from error

    def __call__(self, name: str, samples: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
        """A metric of uint8 images `(n, height, width, 1 or 3)` against others.

        Returns:
          `value` (and what else the metric gives, in the package's own names), and the version.
        """
        import torch
        import torch_fidelity

        weights = self.weights(name)
        options: dict[str, Any] = {}
        if name == "kid":
            options["kid_subset_size"] = min(_LARGEST_SUBSET, len(samples), len(reference))
        found = torch_fidelity.calculate_metrics(
            input1=_images(samples),
            input2=_images(reference),
            **{name: True},
            **options,
            feature_extractor_weights_path=str(weights),
            cuda=torch.cuda.is_available(),
            save_cpu_ram=True,  # no processes of its own
            cache=False,
            verbose=False,
        )
        main = {
            "fid": "frechet_inception_distance",
            "kid": "kernel_inception_distance_mean",
            "prc": "precision",
        }[name]
        return {
            "value": float(found[main]),
            **{k: float(v) for k, v in found.items()},
            "torch_fidelity": torch_fidelity.__version__,
            "weights": weights.name,
        }


def _images(x: np.ndarray) -> Any:
    """A data set of torch's, of RGB images `(3, height, width)`."""
    import torch

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, i: int) -> Any:
            rgb = np.broadcast_to(x[i], (*x.shape[1:3], 3))
            return torch.from_numpy(np.ascontiguousarray(np.moveaxis(rgb, -1, 0)))

    return Images()
