"""Memory that is kept for the next step, and what the compiler freed, which is not."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, pathlib, sys, threading
from sagd_jax.system import malloc

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
malloc.keep_freed_memory()
before = resident()

def use():
    blocks = [libc.malloc(2**20) for _ in range(200)]
    for block in blocks:
        ctypes.memset(ctypes.c_void_p(block), 1, 2**20)
    if sys.argv[1] == "main":
        libc.malloc(64)  # above the others, as what a compiler leaves
    for block in blocks:
        libc.free(ctypes.c_void_p(block))

if sys.argv[1] == "main":
    use()
else:  # its memory is in heaps of its own
    threads = [threading.Thread(target=use) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
kept = resident() - before
malloc.give_back_freed_memory()
print(kept, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
@pytest.mark.parametrize(("thread", "freed"), [("main", 200), ("others", 400)])
def test_what_is_free_is_kept_until_it_is_given_back(thread, freed):
    command = [sys.executable, "-c", PROGRAM, thread]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept >= 0.95 * freed and left <= 0.1 * freed
