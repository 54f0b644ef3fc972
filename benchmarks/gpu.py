"""Tests, speed and short CIFAR-10 runs on one GPU, in parts that each fit into ten minutes.

Once, where tensorflow-datasets and a prepared CIFAR-10 are (about 2.7 kB per image; leave
`--num_examples` out for all 50,000):

    python benchmarks/gpu.py --make_data ~/tensorflow_datasets --data cifar10.npz --num_examples 20000

On a machine with a GPU, jax with CUDA, flax, optax and orbax (no tensorflow-datasets, grain or
ml_collections), in the repository's root; the parts share `--out` and its results.json:

    python benchmarks/gpu.py --out OUT --parts tests
    python benchmarks/gpu.py --out OUT --parts speed
    python benchmarks/gpu.py --out OUT --parts train --data cifar10.npz --arms white
    python benchmarks/gpu.py --out OUT --parts train --data cifar10.npz --arms power_law

* `tests`: the test files a GPU can tell something about, first at JAX's default precision of matrix
  products (TF32), then those that fail again at the highest. Skipped, with a word, without pytest.
* `speed`: the compiled training step alone, on zeros, for several batch sizes.
* `train`: train.py itself with the paper's U-Net in bfloat16, stopped by SIGTERM after `--seconds`
  (compiling included), then sample.py.

OUT gets results.json (figures, loss curves, versions, hardware), loss.png, and a grid of samples for
each arm; weights stay in `--workdir`. To try all this on a CPU in two minutes, with 512 images:

    python benchmarks/gpu.py --tiny --out OUT --data cifar10.npz --seconds 30
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
TESTS = [
    "transform",
    "covariance",
    "diffusion",
    "samplers",
    "step",
    "likelihood",
    "unet",
    "dit",
    "losses",
    "spectra",
    "schedules",
    "guidance",
    "editing",
    "oracle",
    "equivalence",
    "calibration",
]
TINY_TESTS = ["schedules"]
ARMS: dict[str, dict[str, Any]] = {
    "white": {},
    "power_law": {"kind": "power_law", "alpha": -0.02},
}
BATCHES = (128, 512, 2048)
# Dense bfloat16 flop/s by the name that JAX gives the device. Source: NVIDIA's data sheets, whose
# tables count 2:4 sparsity, halved.
PEAKS = {"NVIDIA H200": 989e12, "NVIDIA H100": 989e12, "NVIDIA A100": 312e12}
TINY_MODEL = {
    "dtype": "bfloat16",
    "unet": {
        "block_out_channels": (8,),
        "layers_per_block": 1,
        "attention": (False,),
        "norm_num_groups": 4,
        "mid_attention": False,
    },
}
CONFIG_FILE = '''"""Written by benchmarks/gpu.py."""

from sagd_jax import schema
from sagd_jax.training.config import RunConfig


def get_config():
    return schema.build(RunConfig, {values!r})
'''


# --- Data --------------------------------------------------------------------------------------


def make_data(directory: str, file: str, count: int | None) -> None:
    """Writes the first `count` training images of a prepared CIFAR-10 as an .npz: x and label."""
    from sagd_jax import data
    from sagd_jax.data import DataConfig

    split = "train" if count is None else f"train[:{count}]"
    source = data.load(DataConfig(name="cifar10", dir=directory, split=split))
    batch = source.fetch(np.arange(len(source)))
    np.savez_compressed(file, x=batch["x"], label=batch["label"])
    size = Path(file).stat().st_size
    print(f"{file}: {len(source)} images {batch['x'].shape[1:]}, {size / 2**20:.1f} MiB")


# --- Configurations ----------------------------------------------------------------------------


def run_values(flags: argparse.Namespace, arm: str) -> dict[str, Any]:
    """The fields of an arm's RunConfig: configs/cifar10.py in bfloat16, without a planned end.

    The learning rate stays constant, since nobody knows how many steps the time allows.
    """
    tiny = flags.tiny
    return {
        "data": {"name": "array", "dir": str(Path(flags.data).resolve()), "flip": True},
        "noise": ARMS[arm],
        "model": TINY_MODEL if tiny else {"dtype": "bfloat16"},
        "optimizer": {"learning_rate": 1e-3 if tiny else 2e-4, "warmup_steps": 20 if tiny else 500},
        "train": {
            "batch_size": 32 if tiny else flags.batch_size,
            "num_steps": 10_000_000,
            "steps_per_call": flags.steps_per_call,
        },
        "log": {"every": 10 if tiny else 200, "tensorboard": False},
        "checkpoint": {"every": 10_000_000, "keep": 1},
        "preview": {"every": None},
    }


def environment(flags: argparse.Namespace, platform: str | None = None) -> dict[str, str]:
    """Of the programs that this one starts. It holds no device itself: memory is theirs."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "JAX_PLATFORMS": platform or flags.platform, "PYTHONPATH": path}


# --- Tests -------------------------------------------------------------------------------------


def run_tests(flags: argparse.Namespace) -> dict[str, Any]:
    """Runs the chosen test files one by one until the time is over."""
    if importlib.util.find_spec("pytest") is None:
        print("tests: skipped, there is no pytest here", flush=True)
        return {"skipped": "no pytest"}
    end = time.monotonic() + flags.test_seconds
    files: dict[str, Any] = {}
    for name in TINY_TESTS if flags.tiny else TESTS:
        left = end - time.monotonic()
        if left < 20:
            files[name] = "not run: no time left"
            continue
        found = pytest_once(flags, [f"tests/test_{name}.py"], left, {})
        files[name] = found
        again = found.get("failures", {})
        left = end - time.monotonic()
        if again and left > 20:
            highest = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
            second = pytest_once(flags, list(again), left, highest)
            found["still failing at the highest precision"] = sorted(second.get("failures", {}))
        print(f"tests: {name}: {json.dumps(found)[:2000]}", flush=True)
    return {"platform": flags.platform, "files": files}


def pytest_once(
    flags: argparse.Namespace, chosen: list[str], seconds: float, extra: dict[str, str]
) -> dict[str, Any]:
    """Counts, time, and the first line of every failure, by the test's id."""
    report = Path(flags.workdir) / "tests.xml"
    report.unlink(missing_ok=True)
    # The options of setup.cfg ask for parallel workers, which one device cannot have.
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "--import-mode=importlib"]
    command += ["-m", "not slow", "-p", "no:cacheprovider", "-q", f"--junitxml={report}", *chosen]
    start = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(flags) | extra,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {seconds:.0f} s"}
    if not report.exists():
        return {"error": (done.stdout + done.stderr)[-1000:]}
    failures = {}
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    for case in cases:
        for kind in ("failure", "error"):
            if (fault := case.find(kind)) is not None:
                file = (case.get("classname") or "").replace(".", "/") + ".py"
                words = (fault.get("message") or fault.text or "").strip()
                failures[f"{file}::{case.get('name')}"] = words[:400]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - skipped - len(failures),
        "skipped": skipped,
        "failures": failures,
        "seconds": round(time.monotonic() - start, 1),
    }


# --- Speed -------------------------------------------------------------------------------------


def run_speed(flags: argparse.Namespace) -> list[dict[str, Any]]:
    """Times the step for each batch size, each in a process of its own."""
    rows = []
    for batch in (16, 32) if flags.tiny else BATCHES:
        command = [sys.executable, __file__, "--one_speed", str(batch), *passed_on(flags)]
        done = subprocess.run(command, env=environment(flags), capture_output=True, text=True)
        if done.returncode:
            rows.append({"batch_size": batch, "error": done.stderr.strip()[-1000:]})
        else:
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"speed: {json.dumps(rows[-1])}", flush=True)
    return rows


def time_steps(flags: argparse.Namespace, batch: int) -> dict[str, Any]:
    """The training step of `train.py` on zeros: images per second, flops, memory."""
    import jax

    from sagd_jax import schema
    from sagd_jax.data.source import ArraySource
    from sagd_jax.training import factory
    from sagd_jax.training.config import RunConfig
    from sagd_jax.training.prepare import prepare
    from sagd_jax.training.step import initial_state

    values = run_values(flags, "white")
    values["train"]["batch_size"] = batch
    shape = (32, 32, 3)
    source = ArraySource(
        np.broadcast_to(np.uint8(0), (max(batch, 2), *shape)), value_range=(0, 255)
    )
    prepared = prepare(schema.build(RunConfig, values), source)

    def fresh(key: Any) -> Any:
        params = factory.initial_parameters(prepared.model, key, shape)
        return initial_state(params, prepared.optimizer)

    with jax.set_mesh(prepared.mesh):
        state = jax.jit(fresh, out_shardings=prepared.layout)(jax.random.key(0))
        zeros = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), prepared.batches)
        batches = jax.tree.map(lambda a, s: jax.device_put(a, s.sharding), zeros, prepared.batches)
        start = time.monotonic()
        compiled = prepared.steps.lower(prepared.state, prepared.batches).compile()
        compile_seconds = time.monotonic() - start
        per_call = zeros["x"].shape[0]
        rates = []
        for turn in range(6):
            calls = 1 if turn == 0 or flags.tiny else max(1, 30 // per_call)
            start = time.perf_counter()
            for _ in range(calls):
                state, metrics = compiled(state, batches)
            jax.block_until_ready(metrics)
            rates.append(calls * per_call * batch / (time.perf_counter() - start))
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    device = jax.devices()[0]
    statistics_of_memory = device.memory_stats() or {}
    return {
        "batch_size": batch,
        "steps_per_call": per_call,
        "device": device.device_kind,
        "images_per_second": statistics.median(rates[1:]),
        "range": [min(rates[1:]), max(rates[1:])],
        "compile_seconds": round(compile_seconds, 1),
        # XLA counts the body of a loop once, whatever the number of its turns.
        "compiler_flops_per_image": cost.get("flops", 0.0) / batch,
        "temp_bytes": memory.temp_size_in_bytes,
        "peak_bytes": statistics_of_memory.get("peak_bytes_in_use"),
    }


def flops_per_image(flags: argparse.Namespace) -> float:
    """Of a training step, counted from its matrix products and convolutions."""
    import jax
    import jax.numpy as jnp
    from scaling import count_flops

    from sagd_jax import schema
    from sagd_jax.training import factory
    from sagd_jax.training.config import RunConfig

    config = schema.build(RunConfig, run_values(flags, "white"))
    model = factory.network(config.model, 0)
    params = factory.parameter_shapes(model, (32, 32, 3))

    def loss(params: Any, x: Any, t: Any) -> Any:
        return jnp.mean(model.apply({"params": params}, x, t) ** 2)

    images = 8
    x = jax.ShapeDtypeStruct((images, 32, 32, 3), jnp.float32)
    t = jax.ShapeDtypeStruct((images,), jnp.float32)
    return count_flops(jax.make_jaxpr(jax.grad(loss))(params, x, t).jaxpr) / images


# --- Training ----------------------------------------------------------------------------------


def run_training(flags: argparse.Namespace, arm: str, out: Path) -> dict[str, Any]:
    """Trains one arm for `--seconds`, draws its grid, and returns its figures."""
    folder = Path(flags.workdir) / arm
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = folder / "config.py"
    config.write_text(CONFIG_FILE.format(values=run_values(flags, arm)))
    run = folder / "run"
    start = time.monotonic()
    command = [sys.executable, str(ROOT / "train.py"), f"--config={config}", f"--workdir={run}"]
    status = stopped_after(flags.seconds, command, environment(flags))
    result: dict[str, Any] = {
        "arm": arm,
        "config": run_values(flags, arm) | {"data": "CIFAR-10, flipped at random"},
        "exit_status": status,
        "seconds": round(time.monotonic() - start, 1),
    }
    metrics = run / "metrics.jsonl"
    lines = (
        [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    )
    if lines:
        timed = [line for line in lines if "images_per_second" in line]
        late = timed[len(timed) // 2 :]
        result |= {
            "steps": lines[-1]["step"],
            "images_per_second": statistics.median(line["images_per_second"] for line in late),
            "data_wait_share": statistics.median(line["data_wait_share"] for line in late),
            "skipped_steps": sum(line["skipped"] for line in lines),
            "curve": thinned(lines),
        }
    if status != 75:
        result["error"] = "expected the status 75 of a run that was stopped and saved"
        return result
    start = time.monotonic()
    samples = folder / "samples"
    command = [sys.executable, str(ROOT / "sample.py"), f"--workdir={run}", f"--out={samples}"]
    command += [
        f"--num_samples={16 if flags.tiny else 64}",
        f"--num_steps={5 if flags.tiny else 50}",
    ]
    done = subprocess.run(command, env=environment(flags), capture_output=True, text=True)
    if done.returncode:
        result["error"] = f"sample.py: {done.stderr.strip()[-1000:]}"
        return result
    result["sampling_seconds"] = round(time.monotonic() - start, 1)
    shutil.copy(samples / "grid.png", out / f"grid_{arm}.png")
    return result


def stopped_after(seconds: float, command: list[str], environment: dict[str, str]) -> int:
    """Runs a command, asks it to stop after so many seconds, and returns its exit status."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def thinned(lines: list[dict[str, Any]], most: int = 200) -> list[dict[str, Any]]:
    """At most so many of the log lines, the last one among them, with the columns of interest."""
    every = -(-len(lines) // most)
    names = ("step", "loss", "loss_t1of4", "loss_t4of4", "gradient_norm", "images_per_second")
    chosen = lines[::-1][::every][::-1]
    return [{name: line[name] for name in names if name in line} for line in chosen]


def draw_curves(results: dict[str, Any], file: Path) -> None:
    """The loss curves of all arms in one picture; without matplotlib there is none."""
    if importlib.util.find_spec("matplotlib") is None:
        print("loss.png: skipped, there is no matplotlib here", flush=True)
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for arm, result in results.items():
        curve = result.get("curve", [])
        axes.plot([line["step"] for line in curve], [line["loss"] for line in curve], label=arm)
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    axes.legend()
    figure.savefig(file, dpi=120)


# --- All of it ---------------------------------------------------------------------------------


def utilisation(results: dict[str, Any], flops: float, device: str) -> None:
    """Adds the share of the device's peak that the counted flops make up."""
    peak = next((value for name, value in PEAKS.items() if device.startswith(name)), None)
    rows = [*results.get("train", {}).values(), *results.get("speed", [])]
    for row in rows:
        if "images_per_second" in row:
            row["flops_per_second"] = row["images_per_second"] * flops
            row["share_of_peak"] = row["flops_per_second"] / peak if peak else None


def passed_on(flags: argparse.Namespace) -> list[str]:
    """The flags that a process started for one measurement needs too."""
    shared = [f"--data={flags.data}", f"--platform={flags.platform}"]
    return [*shared, f"--steps_per_call={flags.steps_per_call}", *["--tiny"] * flags.tiny]


def one_value(flags: argparse.Namespace, flag: str, platform: str) -> Any:
    """What this program prints as JSON when it is started with `flag`."""
    command = [sys.executable, __file__, flag, *passed_on(flags)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(flags, platform), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{flag}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="See the first lines of this file."
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
        from provenance import provenance

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
    about["command"] = "python " + " ".join(sys.argv)
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
