"""Learning from data that really are corrupted: an ECG with mains hum, a striped detector, a picture with tones.

    python scripts/real_corruption.py --data=FOLDER --out=runs/real [--only=ecg]

makes results/real_corruption.json anew with the programs of this package, as a user would: `spectrum` finds the
corruption and writes N(f), its lines are pasted into a config, `train` learns from windows of the file, all of them
corrupted, `sample` draws and `restore` restores the whole file. What is done already in `--out` is not done again.
FOLDER holds ecg100.npy (MIT-BIH record 100, int16 `(650000, 2)`, 360 Hz), crism_stripes.png and moonlanding.png.
Without `--data` the table and the figures of docs/corrupted_data.md are drawn from the file of results.

No file has a clean version. A quarter or a fifth of each, in blocks that lie between the others, is held out; what
counts is how far lines stand out of their neighbours, and whether the rest of the spectrum is that of the blocks held
out, as far as these are sure of it. Of the ECG also the mean heart beat, in which hum of any phase averages out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.real_corruption_judge import beats, level, notches, patches, picture, rest  # noqa: E402

RESULT = ROOT / "results" / "real_corruption.json"
EMPHASIS = 0.95  # y[n] = x[n] - 0.95 x[n - 1]: the spectrum of an ECG falls by 40 dB, of this by 20
SAMPLES = {1: 512, 2: 64}  # by axes; those of a U-Net take longer
# Of the ECG the weakest frequencies have a standard deviation of 0.025, of the pictures, rounded to 8 bits, 0.002:
# from the grid's own last ratio of 0.01 the last step, a posterior mean, would take a seventh of that energy and more.
SAMPLER = ("--method=dpmpp_2m", "--times=uniform_log_snr", "--ratio_min=0.0003")
IN_ALL = 0.95  # share of the examples from which on all have a line
MAIN = "run"
PLAIN = {
    "no data spectrum": {"schedule.data_spectrum": "", "train.num_steps": 3000},
}


@dataclasses.dataclass(frozen=True)
class Part:
    """One file.

    Attributes:
      file: its name.
      block: that lie side by side, some held out.
      window, step: of the examples that it is cut into. Steps are no multiple of a tone's period, so that it has
        any phase.
      every, first: which block in how many is held out.
      arms: beside the run with the lines that `spectrum` writes, others with these fields instead.
      lines: whether findings are chosen by being lines that all examples have, as a person would who sees the picture.
      config: fields of the run.
    """

    file: str
    block: tuple[int, ...]
    window: tuple[int, ...]
    step: tuple[int, ...]
    every: int
    arms: Mapping[str, Mapping[str, Any]]
    lines: bool
    config: Mapping[str, Any]


_COMMON = {
    "train.ema_decay": 0.999,
    "optimizer.learning_rate": 1e-3,
    "optimizer.decay": "cosine",
    "optimizer.warmup_steps": 100,
    "checkpoint.every": 500,
    "preview.every": None,
    "report.every": None,
    "log.tensorboard": False,
}
_DIT = {
    "model.kind": "dit",
    "model.dit.patch_size": (8,),
    "model.dit.hidden_size": 96,
    "model.dit.depth": 4,
    "model.dit.num_heads": 4,
    "train.batch_size": 32,
    "train.num_steps": 1200,
}
_UNET = {
    "model.unet.block_out_channels": (16, 32),
    "model.unet.layers_per_block": 1,
    "model.unet.attention": (False, False),
    "model.unet.norm_num_groups": 8,
    "train.batch_size": 16,
    "train.num_steps": 500,
}
PARTS = {
    "ecg": Part("ecg100.npy", (4096,), (256,), (61,), 5, PLAIN, False, {**_COMMON, **_DIT}),
    "stripes": Part(
        "crism_stripes.png", (64, 64), (32, 32), (6, 6), 4, {}, False, {**_COMMON, **_UNET}
    ),
    "tones": Part(
        "moonlanding.png",
        (76, 72),
        (38, 36),  # of nearly whole periods: 10.05 and 14.2, 7.1 and 10.1
        (6, 6),
        4,
        {"margin 100": {"schedule.margin": 100.0}},
        True,
        {**_COMMON, **_UNET},
    ),
}


def read(part: Part, folder: Path) -> tuple[np.ndarray, float]:
    """The file as it is learned from, `(*spatial, channels)`, and what it was divided by."""
    path = folder / part.file
    if path.suffix == ".png":
        from PIL import Image

        return np.asarray(Image.open(path).convert("L"))[..., None], 1.0
    x = (np.load(path).astype(np.float64) - 1024) / 200  # mV
    x[1:] -= EMPHASIS * x[:-1]
    x[0] *= 1 - EMPHASIS
    scale = float(np.abs(x).max())
    return (x / scale).astype(np.float32), scale


def original(x: np.ndarray, scale: float) -> np.ndarray:
    """The inverse, in mV."""
    from scipy.signal import lfilter

    first = np.array(x, np.float64) * scale
    first[0] /= 1 - EMPHASIS
    return np.asarray(lfilter([1.0], [1.0, -EMPHASIS], first, axis=0))


def blocks(x: np.ndarray, part: Part) -> np.ndarray:
    """`(n, *block, channels)`, side by side."""
    return patches(x, part.block)


def held_out(part: Part, count: int) -> np.ndarray:
    """Which blocks are held out."""
    return np.arange(count) % part.every == 2


class Runner:
    """Runs programs, and remembers the commands."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def __call__(self, done: Path, *arguments: str) -> None:
        """Runs it unless this file is there."""
        self.commands.append("python " + " ".join(arguments))
        if not done.exists():
            print("$", self.commands[-1], flush=True)
            subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)


def make(part: Part, name: str, folder: Path, out: Path, seed: int) -> dict[str, Any]:
    """All figures of one file."""
    run, here = Runner(), out / name
    here.mkdir(parents=True, exist_ok=True)
    x, scale = read(part, folder)
    cut = blocks(x, part)
    held = held_out(part, len(cut))
    train_file, whole = here / "train.npy", here / "whole" / f"{name}.npy"
    whole.parent.mkdir(exist_ok=True)
    if not train_file.exists():
        np.save(whole, x)
        np.save(train_file, cut[~held])
    base = {
        "data.name": "array",
        "data.dir": str(train_file),
        "data.array_window": part.window,
        "data.array_step": part.step,
        **part.config,
        "seed": seed,
    }
    bare, found = here / "bare.py", here / "spectrum"
    bare.write_text(_config(base))
    run(found / "spectrum.json", "-m", "sagd_jax.spectrum", f"--config={bare}", f"--out={found}")
    if part.lines:
        numbers = json.loads((found / "spectrum.json").read_text())["findings"]
        lines = [f for f in numbers if f["kind"] == "line" and f["share"] > IN_ALL]
        chosen = ",".join(str(f["number"]) for f in lines)
        found = here / "spectrum_chosen"
        flags = (f"--config={bare}", f"--out={found}", f"--findings={chosen}")
        run(found / "spectrum.json", "-m", "sagd_jax.spectrum", *flags)
    lines = (found / "capped_config.py").read_text()
    runs = {}
    for arm, fields in {MAIN: {}, **part.arms}.items():
        own = here / arm.replace(" ", "_")
        config = here / f"{own.name}.py"
        changed = "".join(f"config.{field} = {value!r}\n" for field, value in fields.items())
        config.write_text(_config(base, lines + changed))
        steps = {**part.config, **fields}["train.num_steps"]
        done = own / "checkpoints" / str(steps)
        run(done, "train.py", f"--config={config}", f"--workdir={own}")
        restored = own / "restored" / whole.name
        flags = (f"--workdir={own}", f"--input={whole.parent}", f"--out={restored.parent}")
        run(restored, "-m", "sagd_jax.restore", *flags)
        samples = own / "samples" / "samples.npz"
        flags = (
            f"--num_samples={SAMPLES[len(part.window)]}",
            f"--seed={seed}",
            *SAMPLER,
        )
        run(samples, "sample.py", f"--workdir={own}", *flags)
        with np.load(samples, allow_pickle=False) as file:
            runs[arm] = (file["samples"], np.load(restored))
    result = judge(part, x, held, found, runs)
    if name == "ecg":
        result["beats"] = beats(
            {key: original(signal, scale) for key, signal in _files(part, x, found, runs).items()}
        )
    commands = [line.replace(str(out), "OUT") for line in run.commands]
    return {"commands": commands, "capped_config": lines.replace(str(out), "OUT"), **result}


def _files(part: Part, x: np.ndarray, found: Path, runs: Mapping[str, Any]) -> dict[str, Any]:
    """The whole file in every version."""
    files = {"data": x, **notches(x, part.window, found)}
    return files | {
        ("restored" if key == MAIN else f"restored, {key}"): r for key, (_, r) in runs.items()
    }


def judge(
    part: Part, x: np.ndarray, held: np.ndarray, found: Path, runs: Mapping[str, Any]
) -> dict[str, Any]:
    """Lines and the rest, of windows: held out, of training, restored and filtered ones, and samples."""
    sets = {}
    for key, whole in _files(part, x, found, runs).items():
        sets[key] = patches(blocks(whole, part)[held], part.window, stack=True)
    sets["training data"] = patches(blocks(x, part)[~held], part.window, stack=True)
    for key, (samples, _) in runs.items():
        sets["samples" if key == MAIN else f"samples, {key}"] = samples
    unit = 127.5 if x.dtype == np.uint8 else 1.0
    findings = json.loads((found / "spectrum.json").read_text())["findings"]
    kinds = json.loads((found / "spectrum.json").read_text())["kinds"]
    chosen = [findings[number - 1] for number in sorted({n for kind in kinds for n in kind})]
    figures = {}
    for key, windows in sets.items():
        own, reference = (np.asarray(s, np.float64) / unit for s in (windows, sets["data"]))
        figures[key] = {
            "windows": len(own),
            "lines": level(own, chosen),
            **rest(own, reference, chosen),
        }
    return {
        "held-out windows": len(sets["data"]),
        "findings": [{k: f[k] for k in ("kind", "verdict", "frequencies")} for f in chosen],
        "figures": figures,
        "shown": picture(part.window, _files(part, x, found, runs), runs[MAIN][0]),
    }


def _config(fields: Mapping[str, Any], lines: str = "") -> str:
    body = [f"config.{name} = {value!r}" for name, value in fields.items()] + lines.splitlines()
    start = "import sagd_jax as sagd\n\n\ndef get_config():\n    config = sagd.default_config()\n"
    return start + "".join(f"    {line}\n" for line in [*body, "return config"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of the three files; without it only drawing is done")
    parser.add_argument("--out", default="runs/real")
    parser.add_argument("--only", choices=tuple(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    if flags.data:
        from sagd_jax.run.provenance import provenance

        results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        for name, part in PARTS.items():
            if flags.only in (None, name):
                own = make(part, name, Path(flags.data), Path(flags.out).resolve(), flags.seed)
                words = [re.sub("^--(data|out)=.*", r"--\1=...", word) for word in sys.argv]
                about = {**provenance(words), "seed": flags.seed}
                results[name] = {**about, **own}
                RESULT.write_text(json.dumps(results) + "\n")
    from scripts.real_corruption_figures import draw, table

    results = json.loads(RESULT.read_text())
    draw(results, ROOT / "docs" / "images")
    table(results, ROOT / "docs" / "corrupted_data.md")


if __name__ == "__main__":
    main()
