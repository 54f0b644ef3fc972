"""Features from seeds, and what torch-fidelity says of them.

Run as a program where torch-fidelity is installed, it writes `evaluation/torch_fidelity.json` anew.
"""

import json
import pathlib

import numpy as np

FILE = pathlib.Path(__file__).parents[1] / "evaluation" / "torch_fidelity.json"
CASES = {"near": (0, 300, 300, 16, 0.1), "far": (1, 200, 200, 32, 1.0), "few": (2, 40, 40, 24, 0.5)}


def features(case):
    """Two correlated sets of features of one size, that lie `shift` apart."""
    seed, n, m, size, shift = CASES[case]
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(size, size)) / np.sqrt(size)
    return rng.normal(size=(n, size)) @ mix, shift + rng.normal(size=(m, size)) @ (mix + 0.1)


def of_torch_fidelity(case):
    """Its distances of a case, by its own functions."""
    import torch
    from torch_fidelity import metric_fid, metric_kid, metric_prc

    a, b = (torch.from_numpy(x) for x in features(case))
    fid = metric_fid.fid_statistics_to_metric(
        *(metric_fid.fid_features_to_statistics(x) for x in (a, b)), False
    )
    whole = {"kid_subsets": 2, "kid_subset_size": len(a)}  # each subset is the whole set
    kid = metric_kid.kid_features_to_metric(a, b, verbose=False, **whole)
    prc = metric_prc.prc_features_to_metric(a, b, verbose=False)
    return {
        "frechet": fid["frechet_inception_distance"],
        "kernel": kid["kernel_inception_distance_mean"],
        "precision": prc["precision"],
        "recall": prc["recall"],
    }


if __name__ == "__main__":
    import torch_fidelity

    content = {"torch_fidelity": torch_fidelity.__version__}
    content |= {case: of_torch_fidelity(case) for case in CASES}
    FILE.write_text(json.dumps(content, indent=1) + "\n")
