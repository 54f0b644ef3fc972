"""The compilation cache: shared, and whole, whatever becomes of a process."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache as jaxs_own
from programs import environment

from sagd_jax.system import compilation_cache
from sagd_jax.system.compilation_cache import CacheError, protected, prune

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


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's cache directory, in an environment that says nothing else."""
    for name in ("JAX_COMPILATION_CACHE_DIR", compilation_cache.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], None)
    jax.config.update(names[1], 0)
    jaxs_own.reset_cache()  # JAX keeps the one that it opened first
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    jaxs_own.reset_cache()


def compiled():
    """Whether the same computation, traced anew, came out of the cache."""
    hits = []
    jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
    with protected():
        jax.jit(lambda x: x * 5 + 2)(1.0)
    return "/jax/compilation_cache/cache_hits" not in hits


def test_there_is_one_by_default_for_its_user_alone(home, monkeypatch):
    assert compiled() and not compiled()
    (folder,) = (home / "sagd_jax").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert entries(folder) and not list((folder / "writing").iterdir())
    # Another kind of processor finds another folder.
    monkeypatch.setattr(compilation_cache, "_processor", lambda: "other")
    assert compiled()
    # Another directory can be asked for.
    monkeypatch.setenv(compilation_cache.VARIABLE, str(home / "mine"))
    assert compiled() and not compiled()
    assert (home / "mine").is_dir()


def test_an_entry_that_a_full_disk_cut_short_stays_private(home):
    assert compiled()
    (folder,) = (home / "sagd_jax").iterdir()
    (whole,) = entries(folder).values()
    with protected():
        own = Path(jax.config.jax_compilation_cache_dir)
        (own / "jit_cut-cache").write_bytes(whole[: len(whole) // 2])
        (own / "jit_whole-cache").write_bytes(whole)
    assert {"jit_cut-cache", "jit_whole-cache"} & entries(folder).keys() == {"jit_whole-cache"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [(compilation_cache.VARIABLE, "off"), ("JAX_COMPILATION_CACHE_DIR", "")],
)
def test_it_can_be_switched_off(home, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert compiled() and compiled()
    assert not list(home.iterdir())


def test_jaxs_own_setting_is_honoured(home, monkeypatch):
    jax.config.update("jax_compilation_cache_dir", str(home / "jax"))
    monkeypatch.setenv(compilation_cache.VARIABLE, str(home / "mine"))
    assert compiled() and not compiled()
    assert jax.config.jax_compilation_cache_dir == str(home / "jax")
    assert [path.name for path in home.iterdir()] == ["jax"]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert compiled()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


@pytest.mark.parametrize("by", ["default", "jax"])
def test_one_that_cannot_be_written_is_a_word_and_no_error(home, monkeypatch, capsys, by):
    (home / "file").write_text("")
    if by == "jax":
        jax.config.update("jax_compilation_cache_dir", str(home / "file" / "jax"))
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    assert compiled()
    words = capsys.readouterr().err
    assert words.startswith(f"no compilation cache in {home / 'file'}")
    assert "Not a directory" in words and len(words.splitlines()) == 1


def test_a_word_that_names_no_directory_is_refused(home, monkeypatch):
    monkeypatch.setenv(compilation_cache.VARIABLE, "false")
    with pytest.raises(CacheError, match="=false: expected an absolute path, or off"):
        compiled()


def test_what_was_not_used_for_longest_goes(tmp_path):
    for i in range(6):
        folder = tmp_path / f"compiled-for-{'ab'[i % 2]}"
        (folder / "writing" / "of-another").mkdir(parents=True, exist_ok=True)
        (folder / "writing" / "of-another" / "entry").write_bytes(bytes(1000))
        (folder / str(i)).write_bytes(bytes(100))
        os.utime(folder / str(i), (10 * i if i != 1 else 1000, 10 * i))
    prune(tmp_path, largest=350)
    left = {path.name for path in tmp_path.glob("compiled-for-*/*") if path.is_file()}
    assert left == {"1", "4", "5"}
    assert len(list(tmp_path.glob("compiled-for-*/writing/of-another/entry"))) == 2
