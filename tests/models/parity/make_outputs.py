"""Writes `outputs.npz`: what diffusers computes for each of the cases.

Run from the root as `PYTHONPATH=tests/models python -m parity.make_outputs`; needs torch and diffusers.
For each case the file has the output, channels last; `shapes` has the names and shapes of every
case's state dict, as JSON.
"""

import json
from pathlib import Path

import numpy as np
from parity.cases import CASES, inputs, tensor


def main() -> None:
    import torch
    from diffusers import UNet2DModel

    stored, shapes = {}, {}
    for case, (config, _, timesteps, labels) in CASES.items():
        model = UNet2DModel(**config).eval()
        state = model.state_dict()
        for name, value in state.items():
            value.copy_(torch.from_numpy(tensor(name, tuple(value.shape))))
        with torch.no_grad():
            output = model(
                torch.from_numpy(inputs(case)).permute(0, 3, 1, 2),
                torch.tensor(timesteps),
                None if labels is None else torch.tensor(labels),
            ).sample
        stored[case] = output.permute(0, 2, 3, 1).numpy()
        shapes[case] = {name: tuple(value.shape) for name, value in state.items()}
    stored["shapes"] = np.array(json.dumps(shapes))
    np.savez_compressed(Path(__file__).with_name("outputs.npz"), **stored)


if __name__ == "__main__":
    main()
