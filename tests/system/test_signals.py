"""Signals are noticed at once, whatever the main thread is doing."""

import os
import signal
import subprocess
import sys
import time

import pytest
from programs import ROOT

from sagd_jax.system.signals import StopRequest

# The main thread spends half a minute in C, where no Python handler could run.
BUSY = """
import hashlib, sys, time
from sagd_jax.system.signals import StopRequest

with StopRequest("busy", nothing_to_save=sys.argv[1] == "early") as stop:
    print("ready", flush=True)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 60_000_000)
    sys.exit(1)
"""


def start(mode):
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    return process


def test_a_second_ctrl_c_leaves_at_once():
    process = start("late")
    process.send_signal(signal.SIGINT)
    said = process.stderr.readline()
    assert said == "busy: stopping when this can be gone on with (Ctrl-C: at once, unsaved)\n"
    assert process.poll() is None  # the first one waits for what is under way
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "interrupted again" in err
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_with_nothing_to_save_the_first_one_does(number, status):
    process = start("early")
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == status
    assert "before there was anything to save" in err


def test_while_the_libraries_are_imported_there_is_no_traceback(tmp_path):
    # A jax that takes long: the real one may be there before the signal is.
    slow = "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    (tmp_path / "jax.py").write_text(slow)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "--config=no.py", "--workdir=none"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        # What a shell starts behind itself ignores it, and what that starts too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT  # which a shell calls 130
    assert "Traceback" not in err and "KeyboardInterrupt" not in err


# What is left of a program after its last line, made long.
ENDING = """
import atexit, time
from sagd_jax.system.exits import leave
from sagd_jax.system.signals import StopRequest

atexit.register(time.sleep, 3)
with StopRequest("ending"):
    pass
atexit.register(print, "ending", flush=True)
leave(0)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_the_end_does_not_make_a_failure_of_it(number):
    process = subprocess.Popen([sys.executable, "-c", ENDING], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ending\n"
    process.send_signal(number)
    assert process.wait(timeout=30) == 0


def test_the_first_signal_decides_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert stop.wait(0.01) is None and stop.seconds_since() == 0
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(5) == 75
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert stop.exit_status == 75
        assert stop.seconds_since() > 0.09
    assert signal.getsignal(signal.SIGTERM) is before
