"""The compilation cache: shared, and whole, whatever becomes of a process."""

import subprocess
import sys

from programs import environment

# Compiles; then writes an entry as JAX does, in place, and waits in the middle of it.
TORN = """
import os, sys, time
import jax
from sagd_jax.system import compilation_cache

with compilation_cache.protected():
    jax.jit(lambda x: x * 3 + 1)(1.0)
    compilation_cache.publish()
    directory = jax.config.jax_compilation_cache_dir
    with open(os.path.join(directory, "jit_torn-cache"), "wb") as file:
        file.write(b"half")
        file.flush()
        print("writing", flush=True)
        time.sleep(60)
"""
AGAIN = """
import jax
from sagd_jax.system import compilation_cache

with compilation_cache.protected():
    hits = []
    jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
    jax.jit(lambda x: x * 3 + 1)(1.0)
    print("hit" if "/jax/compilation_cache/cache_hits" in hits else "missed")
"""


def entries(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_a_killed_writer_leaves_only_whole_entries_and_no_orphan(tmp_path):
    env = environment(tmp_path)
    first = subprocess.Popen(
        [sys.executable, "-c", TORN], env=env, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "writing\n"
    published = entries(tmp_path)
    assert published and not any("torn" in name for name in published)
    (private,) = (tmp_path / "writing").iterdir()

    # A second process beside the first leaves its directory alone, and finds what it published.
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "hit\n", done.stderr
    assert private.exists()

    first.kill()
    first.wait()
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "hit\n", done.stderr
    assert list((tmp_path / "writing").iterdir()) == []
    assert published.items() <= entries(tmp_path).items()
    assert not any("torn" in name for name in entries(tmp_path))


def test_nothing_changes_without_a_cache(tmp_path):
    env = environment(tmp_path)
    del env["JAX_COMPILATION_CACHE_DIR"]
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "missed\n", done.stderr
    assert list(tmp_path.iterdir()) == []
