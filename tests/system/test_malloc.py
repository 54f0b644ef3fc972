"""Memory that is kept for the next step, and what the compiler freed, which is not."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, pathlib
from sagd_jax.system import malloc

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
malloc.keep_freed_memory()
before = resident()
blocks = [libc.malloc(2**20) for _ in range(100)]
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 2**20)
libc.malloc(64)  # above the others, as what a compiler leaves
for block in blocks:
    libc.free(ctypes.c_void_p(block))
kept = resident() - before
malloc.give_back_freed_memory()
print(kept, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_is_free_is_kept_until_it_is_given_back():
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, left = map(int, done.stdout.split())
    assert kept >= 95 and left <= 10
