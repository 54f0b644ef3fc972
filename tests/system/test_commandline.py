"""Errors in the programs: one line, and which status."""

import errno

import pytest

from sagd_jax.system.commandline import one_line_errors
from sagd_jax.system.files import PlaceError


def ended_by(error, capsys):
    with pytest.raises(SystemExit) as stopped, one_line_errors("program"):
        raise error
    return stopped.value.code, capsys.readouterr().err


def test_a_place_is_no_bug(capsys):
    for error in (
        OSError(errno.ENOSPC, "No space left on device", "out/x.npz"),
        OSError(errno.EROFS, "Read-only file system", "out/x.npz"),
        PlaceError("out/x.npz: cannot be written"),
    ):
        status, words = ended_by(error, capsys)
        assert status == 2 and words.startswith("program: ") and "out/x.npz" in words
        assert len(words.splitlines()) == 1


def test_a_bug_is_one(capsys):
    for error in (OSError(errno.EBADF, "Bad file descriptor"), ZeroDivisionError()):
        status, words = ended_by(error, capsys)
        assert status == 1 and "Traceback" in words
