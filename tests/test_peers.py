"""The benchmark beside other libraries: turns, the file that it goes on from, tables. No network."""

import json
import re
import sys

import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers import cases, tables, turns

WORKER = """
import sys
sys.path.insert(0, {folder!r})
import cases
cases.serve(lambda case: ((lambda: sum(range({work}))), {{"parameters": case.side}}))
"""


def side(tmp_path, work):
    folder = str(cases.__file__).rpartition("/")[0]
    file = tmp_path / f"{work}.py"
    file.write_text(WORKER.format(folder=folder, work=work))
    return [sys.executable, str(file), cases.CPU[0].name]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_sides_take_turns_and_the_slower_one_is_seen(tmp_path):
    commands = {"ours": side(tmp_path, 1_000_000), "theirs": side(tmp_path, 100_000)}
    found = turns.compare(commands, rounds=3, seconds=0.05)
    assert found["ours"]["parameters"] == cases.CPU[0].side
    assert len(found["theirs"]["rounds"]) == 3 and found["ours"]["peak MiB"] > 1
    assert 3 < found["cpu ratio"] < 30
    low, high = found["cpu ratios"]
    assert low <= found["cpu ratio"] <= high


def test_a_worker_that_ends_says_why(tmp_path):
    broken = [sys.executable, "-c", "raise SystemExit('no torch here')"]
    with pytest.raises(turns.WorkerError, match="no torch here"):
        turns.Worker(broken)


def test_what_is_measured_is_not_measured_again(tmp_path, monkeypatch):
    made = []
    found = {"wall ratio": 1.0}
    monkeypatch.setattr(peers, "compare", lambda commands, *_: made.append(commands) or found)
    file = tmp_path / "bench.json"
    argv = ["peers", f"--json={file}", "--only=^step"]
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", argv)
        peers.main()
    steps = [case.name for case in cases.CPU if case.work == "step"]
    assert len(made) == len(steps)
    measured = json.loads(file.read_text())["measured"]
    assert list(measured) == steps and measured[steps[0]]["of"]["hardware"]
    monkeypatch.setattr(sys, "argv", [*argv, f"--again={re.escape(steps[1])}"])
    peers.main()
    assert len(made) == len(steps) + 1


def test_names_are_those_of_one_case_each():
    for of, before in ((cases.CPU, ""), (cases.GPU, "gpu ")):
        assert len({case.name for case in of}) == len(of)
        assert all(cases.by_name(before + case.name) is case for case in of)


def test_tables_are_drawn_between_their_marks(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(
        "a\n<!-- compared -->\nold\n<!-- end -->\nb\n<!-- schedules -->\n<!-- end -->\n"
    )
    own = {"cpu": 0.01, "wall": 0.01, "peak MiB": 700.0}
    row = {"ours": own, "theirs": {**own, "cpu": 0.02, "peak MiB": 500.0}, "cpu ratio": 0.5}
    row |= {"wall ratios": [0.4, 0.6], "wall ratio": 0.55, "bar": 0.7}
    costs = {"schedules": {"blurring": {"cpu": 0.1, "cpu ratio": 1.04}}}
    tables.write({"step x": row, "cost of a schedule": costs}, document)
    text = document.read_text()
    assert (
        "| step x | 10 | 10 | 0.55 (0.40 to 0.60) | 0.7 | 0.50 | 700 / 500 |\n<!-- end -->\nb"
        in text
    )
    assert "| blurring | 100.0 | 1.040 |" in text and "old" not in text
