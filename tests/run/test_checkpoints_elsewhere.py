"""Checkpoints on other devices, over several processes, and through kills."""

import inspect
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest
from saved_states import assert_holds, assert_same, entries, state

from sagd_jax.run import checkpoints as checkpoint_lib
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.restore import NoCheckpointError

pytestmark = pytest.mark.thorough


def script(*parts):
    return "\n".join([*(p if isinstance(p, str) else inspect.getsource(p) for p in parts)])


IMPORTS = """
import os, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from sagd_jax.run import integrity
from sagd_jax.run.checkpoints import CheckpointError, Checkpoints, NoCheckpointError
"""

MESHES = """
def place(tree, mesh):
    spec = lambda x: P("x") if x.ndim == 2 else P()
    return jax.tree.map(lambda x: jax.make_array_from_callback(
        x.shape, NamedSharding(mesh, spec(x)), lambda i: np.asarray(x)[i]), tree)

def template(tree):
    struct = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
    return jax.tree.map(struct, tree)

def check(restored, expected):
    for a, e in zip(jax.tree.leaves(restored), jax.tree.leaves(expected), strict=True):
        assert a.sharding == e.sharding and a.dtype == e.dtype
        for x, y in zip(a.addressable_shards, e.addressable_shards, strict=True):
            assert np.array_equal(x.data, y.data)

mesh = lambda n: jax.make_mesh((n,), ("x",), (AxisType.Auto,), devices=jax.devices()[:n])
"""

FOUR_DEVICES = """
with Checkpoints(sys.argv[1], keep=9) as checkpoints:
    for n in (4, 2):
        there = place(state(30), mesh(n))
        check(checkpoints.open(30).restore(template(there)), there)
    checkpoints.save(40, place(state(40), mesh(4)), record={"step": 40})
    there = place(state(40), mesh(2))
    check(checkpoints.open().restore(template(there)), there)
"""

TWO_PROCESSES = """
jax.distributed.initialize(sys.argv[2], num_processes=2, process_id=int(sys.argv[3]))
first = jax.process_index() == 0
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    try:
        checkpoints.open()
        raise SystemExit("opened nothing")
    except NoCheckpointError:
        pass
    for step in (1, 2, 3):
        checkpoints.save(step, place(state(step), mesh(2)), record={"step": step},
                         arrays={"variance": np.arange(12, dtype=np.float32).reshape(3, 4)})
    checkpoints.wait()
    assert checkpoints.steps() == [2, 3]
    assert checkpoints.save(3, place(state(3), mesh(2))) is False
    there = place(state(3), mesh(2))
    check(checkpoints.open().restore(template(there)), there)
    bad = place(jax.tree.map(lambda x: x.at[0].set(jnp.nan), state(4)), mesh(2))
    seal, integrity.seal = integrity.seal, lambda *_: 1 / 0
    checkpoints.save(4, bad)
    try:
        checkpoints.wait()
        raise SystemExit("an error was lost")
    except CheckpointError as error:
        assert "step 4 failed" in str(error) and "step is 3" in str(error), error
    integrity.seal = seal
    checkpoints.save(4, bad)
    try:
        checkpoints.open().restore(template(there))
        raise SystemExit("NaN was restored")
    except CheckpointError as error:
        assert "non-finite" in str(error), error
    try:
        checkpoints.open(7)
        raise SystemExit("opened an absent step")
    except CheckpointError as error:
        assert ("no such step" in str(error)) == first
print("done")
"""


def start(source, *args, **env):
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **env},
        cwd=pathlib.Path(checkpoint_lib.__file__).parents[2],
    )


def test_restoring_onto_other_devices(run):
    source = script(IMPORTS, MESHES, state, FOUR_DEVICES)
    process = start(source, run, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    process.communicate(timeout=120)
    assert process.returncode == 0
    with Checkpoints(run, read_only=True) as reader:
        saved = reader.open(40)
        template = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), jax.eval_shape(lambda: state(0))
        )
        assert_same(saved.restore(template), state(40))


def test_two_processes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    source = script(IMPORTS, MESHES, state, TWO_PROCESSES)
    processes = [start(source, tmp_path, address, i, XLA_FLAGS="") for i in range(2)]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0 and "done" in output
    finally:
        for process in processes:
            process.kill()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [3, 4]
        assert_holds(checkpoints.open(3), 3)


SAVE_FOREVER = """
for line in sys.stdin:  # each line asks for a writer; forking spares it the imports
    pid = os.fork()
    if not pid:
        with Checkpoints(sys.argv[1], keep=2) as checkpoints:
            try:
                step = checkpoints.open().step
            except NoCheckpointError:
                step = 0
            start = step + int(line)
            while True:
                if step == start:
                    checkpoints.wait()
                    os.write(1, f"{os.getpid()}\\n".encode())
                step += 1
                checkpoints.save(step, state(step), record={"step": step},
                                 arrays={"variance": np.arange(12, dtype=np.float32).reshape(3, 4)})
    os.waitpid(pid, 0)
    os.write(1, b"dead\\n")
"""


def test_kills_lose_nothing(tmp_path):
    rng = random.Random(0)
    source = script(IMPORTS, state, SAVE_FOREVER)
    staging = tmp_path / "checkpoints" / "staging"
    newest = interrupted = 0
    with start(source, tmp_path) as process:
        assert process.stdin is not None and process.stdout is not None
        for kill in range(10):
            process.stdin.write(f"{kill % 2}\n")  # told to kill after that many complete saves
            process.stdin.flush()
            writer = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.4))
            os.kill(writer, signal.SIGKILL)
            assert process.stdout.readline() == "dead\n"
            interrupted += any(staging.iterdir())
            with Checkpoints(tmp_path, keep=2) as checkpoints:  # no lock is left behind either
                assert not any(staging.iterdir())
                steps = checkpoints.steps()
                # Whatever bears a step's number is complete.
                assert entries(tmp_path) == sorted([*map(str, steps), "staging"])
                try:
                    saved = checkpoints.open()
                except NoCheckpointError:
                    assert newest == 0
                    continue
                assert saved.step == steps[-1] >= newest
                for step in steps:
                    assert_holds(checkpoints.open(step), step)
                newest = saved.step
        process.stdin.close()
    assert newest > 0 and interrupted > 0
