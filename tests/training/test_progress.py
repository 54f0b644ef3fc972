"""Numbers for people: they say when they cannot be written, and never hold up or end a run."""

import json
import threading

import numpy as np
import pytest

from sagd_jax.system.files import PlaceError
from sagd_jax.training.progress import METRICS_FILE, Progress

VALUES = {"loss": 1.0, "gradient_norm": 2.0, "skipped": 0.0}


def log(progress, *steps):
    for step in steps:
        progress.log(step, VALUES, images=4, waited=0.0)


def test_tensorboard_has_the_numbers_and_the_pictures(tmp_path):
    with Progress(tmp_path, 0, 9, tensorboard=True, active=True) as progress:
        log(progress, 3, 6)
        progress.image("samples", 6, np.zeros((8, 8, 3), np.uint8))
        progress.rewind(3)
        log(progress, 6)
    first, second = sorted(
        (tmp_path / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns
    )
    assert "tfevents" in first.name and "tfevents" in second.name
    from tensorboardX.proto.event_pb2 import Event

    def events(path):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            size = int.from_bytes(data[:8], "little")
            yield Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]

    found = [(e.step, value.tag) for e in events(first) for value in e.summary.value]
    assert found.count((3, "loss")) == found.count((6, "loss")) == 1
    assert found[-1] == (6, "samples")
    assert [e.step for e in events(second) if e.HasField("session_log")] == [3]


class Full:
    """A file on a disk that is full."""

    def write(self, data):
        raise OSError(28, "No space left on device")

    def flush(self):
        self.write(b"")

    def close(self):
        self.write(b"")


def test_a_disk_that_fills_is_a_warning_each_time_and_nothing_waits(tmp_path, caplog):
    with Progress(tmp_path, 0, 1000, tensorboard=True, active=True) as progress:
        log(progress, 1)
        progress._board._events._py_recordio_writer._writer = Full()
        progress._file.close()
        progress._file = Full()

        def fill():  # more than the queue of tensorboardX's writer holds
            log(progress, *range(2, 40))
            progress.image("samples", 40, np.zeros((8, 8, 3), np.uint8))

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert "metrics could not be written: No space left" in caplog.text
    assert json.loads((tmp_path / METRICS_FILE).read_text())["step"] == 1


def test_a_file_that_cannot_be_opened_at_the_start_is_one_line(tmp_path):
    (tmp_path / METRICS_FILE).mkdir()
    with pytest.raises(PlaceError, match=r"metrics cannot be written: .*metrics.jsonl"):
        Progress(tmp_path, 3, 9, tensorboard=False, active=True)


def test_what_is_not_logged_is_kept_for_the_newest_checkpoints(tmp_path):
    def metrics(*losses):
        return [{"loss": np.array([x], np.float32), "skipped": np.zeros(1, bool)} for x in losses]

    with Progress(tmp_path, 0, 99, tensorboard=False, active=True) as progress:
        assert progress.held(0) == []
        for step in range(3, 60, 3):
            progress.hold(step, metrics(step, 0.1))
        assert progress.held(27) == [] and len(progress.held(30)) == 1
        (held,) = progress.held(57)
        assert held["loss"].tolist() == [57, np.float32(0.1)] and held["loss"].dtype == np.float32
        assert held["skipped"].dtype == bool
        progress.hold(54, [])  # it went back, and logs at other steps now
        assert progress.held(54) == [] and progress.held(57)
    with Progress(tmp_path / "other", 0, 9, tensorboard=False, active=False) as silent:
        silent.hold(3, metrics(1))
        assert silent.held(3) == [] and not (tmp_path / "other").exists()


def test_damaged_lines_are_dropped(tmp_path):
    (tmp_path / METRICS_FILE).write_bytes(b'{"step": 1}\n\xff\xfe{"st\n[1]\n{"step": 9}\n')
    with Progress(tmp_path, 4, 9, tensorboard=False, active=True):
        pass
    assert (tmp_path / METRICS_FILE).read_text() == '{"step": 1}\n'
