"""Tests, speed and short CIFAR-10 runs on one GPU, in parts that each fit into ten minutes.

Once, where tensorflow-datasets and a prepared CIFAR-10 are (about 2.7 kB per image; leave
`--num_examples` out for all 50,000):

    python -m benchmarks.gpu --make_data ~/tensorflow_datasets --data cifar10.npz --num_examples 20000

On a machine with a GPU, jax with CUDA, flax, optax and orbax (no tensorflow-datasets, grain or
ml_collections), in the repository's root; the parts share `--out` and its results.json:

    python -m benchmarks.gpu --out OUT --parts tests
    python -m benchmarks.gpu --out OUT --parts speed
    python -m benchmarks.gpu --out OUT --parts train --data cifar10.npz --arms white
    python -m benchmarks.gpu --out OUT --parts train --data cifar10.npz --arms power_law

* `tests`: the test files a GPU can tell something about, first at JAX's default precision of matrix
  products (TF32), then those that fail again at the highest. Skipped, with a word, without pytest.
* `speed`: the compiled training step alone, on zeros, for several batch sizes.
* `train`: train.py itself with the paper's U-Net in bfloat16, stopped by SIGTERM after `--seconds`
  (compiling included), then sample.py.

OUT gets results.json (figures, loss curves, versions, hardware), loss.png, and a grid of samples for
each arm; weights stay in `--workdir`. To try all this on a CPU in two minutes, with 512 images:

    python -m benchmarks.gpu --tiny --out OUT --data cifar10.npz --seconds 30
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.configurations import ARMS
from benchmarks.gpu.data import make_data
from benchmarks.gpu.processes import one_value
from benchmarks.gpu.speed import flops_per_image, run_speed, time_steps, utilisation
from benchmarks.gpu.tests import run_tests
from benchmarks.gpu.training import draw_curves, run_training


def main() -> None:
    """Runs the parts that the flags name, and saves the results after each."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__.splitlines()[0],
        epilog="See the first lines of benchmarks/gpu/__main__.py.",
    )
    parser.add_argument("--data", default="cifar10.npz", help="x (n, 32, 32, 3) uint8, label (n,)")
    parser.add_argument("--make_data", metavar="DIR", help="write --data from prepared sets here")
    parser.add_argument("--num_examples", type=int, help="with --make_data: only the first")
    parser.add_argument("--out", default="runs/gpu/out", help="folder for results and pictures")
    parser.add_argument("--workdir", default="runs/gpu", help="folder for weights")
    parser.add_argument("--parts", default="tests,speed,train")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seconds", type=float, default=300, help="of training, for each arm")
    parser.add_argument("--test_seconds", type=float, default=420)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--steps_per_call", type=int, default=10)
    parser.add_argument("--platform", help="for JAX_PLATFORMS; default cuda, with --tiny cpu")
    parser.add_argument("--tiny", action="store_true", help="a small network, to try it on a CPU")
    parser.add_argument("--one_speed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one_flops", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one_provenance", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    flags.platform = flags.platform or ("cpu" if flags.tiny else "cuda")
    if flags.make_data:
        make_data(flags.make_data, flags.data, flags.num_examples)
        return
    if flags.one_speed or flags.one_flops or flags.one_provenance:
        from sagd_jax.run.provenance import provenance

        if flags.one_speed:
            value: Any = time_steps(flags, flags.one_speed)
        else:
            value = flops_per_image(flags) if flags.one_flops else provenance([])
        print(json.dumps(value))
        return

    parts, arms = flags.parts.split(","), flags.arms.split(",")
    for name, known in ((parts, ("tests", "speed", "train")), (arms, tuple(ARMS))):
        if unknown := set(name) - set(known):
            parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
    if "train" in parts and not Path(flags.data).is_file():
        parser.error(f"--data={flags.data}: no such file; make it with --make_data")
    out = Path(flags.out).expanduser().resolve()
    flags.workdir = str(Path(flags.workdir).expanduser().resolve())
    for folder in (out, Path(flags.workdir)):
        folder.mkdir(parents=True, exist_ok=True)
    file = out / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {"runs": []}

    def save() -> None:
        # After every part, so that a machine that is taken away leaves what was measured.
        file.write_text(json.dumps(results, indent=1) + "\n")

    about = one_value(flags, "--one_provenance", flags.platform)
    about["command"] = " ".join(["python -m benchmarks.gpu", *sys.argv[1:]])
    results["runs"].append(about)
    flops = results["flops_per_image"] = one_value(flags, "--one_flops", "cpu")
    save()
    if "tests" in parts:
        results["tests"] = run_tests(flags)
        save()
    if "speed" in parts:
        results["speed"] = run_speed(flags)
        utilisation(results, flops, about["device"])
        save()
    for arm in arms if "train" in parts else []:
        results.setdefault("train", {})[arm] = run_training(flags, arm, out)
        utilisation(results, flops, about["device"])
        save()
        draw_curves(results["train"], out / "loss.png")
    shown = {name: value for name, value in results.items() if name not in ("runs", "tests")}
    for arm in shown.get("train", {}).values():
        arm.pop("curve", None)
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
