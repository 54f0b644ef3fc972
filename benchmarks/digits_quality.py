"""Are samples of the digits run digits? python benchmarks/digits_quality.py runs/digits/samples

Judges `samples.npz` by classifiers trained on the training half of the real digits, against the
held-out digits that neither they nor the network have seen:

* share of each class among the samples, and mean largest probability, against the held-out digits';
* mean distance of a sample to its nearest training image, over that of held-out digits (well below
  1 would mean copies).

Writes the figures as JSON to --json, with the command and the machine, if that is given.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from sagd_jax.data import open_source
from sagd_jax.data.config import DataConfig
from sagd_jax.run.provenance import provenance

CLASSIFIERS = {
    "logistic regression": lambda: LogisticRegression(max_iter=2000, C=0.01),
    "MLP (64 hidden units)": lambda: MLPClassifier((64,), max_iter=400, random_state=0),
    "SVM (RBF)": lambda: SVC(probability=True, random_state=0),
}


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The real digits of a split, flat and from 0 to about 16, and their classes."""
    source = open_source(DataConfig(split=split))
    batch = source.fetch(np.arange(len(source)))
    return batch["x"].reshape(len(source), -1) / 16.0, batch["label"]


def nearest(x: np.ndarray, train: np.ndarray) -> float:
    """The mean distance of a row of `x` to the nearest row of `train`."""
    square = (x**2).sum(1)[:, None] - 2 * x @ train.T + (train**2).sum(1)
    return float(np.sqrt(np.maximum(square, 0).min(axis=1)).mean())


def judge(samples: np.ndarray) -> dict:
    """The figures of the module's first lines, for raw samples."""
    (train, labels), (held_out, truth) = digits("train"), digits("test")
    x = samples.reshape(len(samples), -1) / 16.0
    result: dict = {"samples": len(x), "classifiers": {}}
    for name, make in CLASSIFIERS.items():
        classifier = make().fit(train / 16.0, labels)
        share = np.bincount(classifier.predict(x / 16.0), minlength=10) / len(x)
        result["classifiers"][name] = {
            "accuracy on held-out digits": classifier.score(held_out / 16.0, truth),
            "class shares": share.round(4).tolist(),
            "mean largest probability": classifier.predict_proba(x / 16.0).max(1).mean(),
            "of held-out digits": classifier.predict_proba(held_out / 16.0).max(1).mean(),
        }
    result["distance to nearest training image, over held-out"] = nearest(x, train) / nearest(
        held_out, train
    )
    return result


def main() -> None:
    """Judges one folder of samples, and prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="with samples.npz")
    parser.add_argument("--json", help="file to write")
    flags = parser.parse_args()
    with np.load(Path(flags.folder) / "samples.npz", allow_pickle=False) as file:
        samples = file["samples"].astype(float)
    result = judge(samples)
    print(json.dumps(result, indent=1))
    if flags.json:
        Path(flags.json).write_text(
            json.dumps({**provenance(sys.argv), "result": result}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
