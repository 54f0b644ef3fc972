"""An experiment of three arms, and programs that only pretend to run it."""

import json
import time
from pathlib import Path

from sagd_jax.programs import experiment as program

CONFIG = """
import sagd_jax as sagd

def get_config():
    config = sagd.default_config()
    config.data.name = "digits"
    config.model.unet.block_out_channels = (8,)
    config.model.unet.layers_per_block = 1
    config.model.unet.norm_num_groups = 4
    config.model.unet.mid_attention = False
    config.train.num_steps, config.train.batch_size = 40, 8
    config.log.every, config.log.tensorboard = 40, False
    config.checkpoint.every, config.preview.every = 10, None
    return config
"""
EXPERIMENT = """
import sagd_jax as sagd

def get_experiment():
    return sagd.Experiment(
        config="config.py",
        arms={
            "white": {},
            "tilt": {"noise.kind": "power_law", "noise.alpha": -0.3},
            "few steps": sagd.Arm(evaluate={"num_steps": 2}),
        },
        seeds=(0, 1),
        evaluate={"num_steps": (2, 4), "num_samples": 16},
    )
"""


class Programs:
    """Stands in for the programs: remembers the calls, and writes what they would."""

    def __init__(self, monkeypatch, fail=()):
        self.calls, self.fail = [], set(fail)
        monkeypatch.setattr(program.Runner, "_call", lambda runner, *call: self(*call))

    def __call__(self, name, argv, place, cores):
        flags = dict(word.lstrip("-").split("=", 1) for word in argv)
        where = f"{place.parent.name}/{place.name}"
        self.calls.append((name, where))
        if (name, where) in self.fail:
            raise program.RunnerError(f"{name} ended with status 1: it broke")
        seed = int(place.name)
        if name == "train":
            (place / "run").mkdir(parents=True)
            figures = {"step": 40, "loss": seed + 0.5, "images_per_second": time.monotonic()}
            (place / "run/metrics.jsonl").write_text(json.dumps(figures) + "\n")
            return
        judged = Path(flags["out"])
        judged.mkdir(parents=True)
        shift = 1.0 if where.startswith("tilt") else 0.0
        results = {
            steps: {"frechet": {"value": 10 * seed + int(steps) + shift * (1 + seed)}}
            for steps in flags["num_steps"].split(",")
        }
        content = json.dumps({"results": results, "provenance": {"time": 1}})
        (judged / "evaluation.json").write_text(content)


def run(folder, *flags):
    argv = [str(folder / "tilts.py"), f"--out={folder}/runs", f"--json={folder}/tilts.json", *flags]
    status = program.main(argv)
    file = folder / "tilts.json"
    return status, json.loads(file.read_text()) if file.exists() else None


def written(folder):
    """The folder, with the experiment and its config in it."""
    (folder / "config.py").write_text(CONFIG)
    (folder / "tilts.py").write_text(EXPERIMENT)
    return folder
