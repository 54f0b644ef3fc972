"""How far something is, where no terminal is."""

import itertools

import pytest

from sagd_jax.show import bars


def test_a_log_gets_a_line_soon_and_then_one_a_minute(monkeypatch, capsys):
    clock = itertools.count(0, 25.0)
    monkeypatch.setattr(bars.time, "monotonic", lambda: next(clock))
    with bars.counted(total=1000, unit="sample", initial=200) as count:  # at 0 s
        for _ in range(8):  # at 25, 50, ... 200 s
            count.update(100)
    assert count.n == 1000
    assert capsys.readouterr().out.splitlines() == [
        "300 of 1,000 samples, about 2:55 left",
        "600 of 1,000 samples, about 1:40 left",
        "900 of 1,000 samples, about 0:25 left",
    ]


def test_one_of_several_processes_shows_it(monkeypatch, capsys):
    monkeypatch.setattr(bars, "_SOON", 0.0)
    with bars.counted(total=9, unit="file", shown=False) as count:
        count.update(3)
    assert count.n == 3 and not capsys.readouterr().out


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_has_a_bar(monkeypatch, terminal):
    class Bar(bars.NoBar):
        def __init__(self, *, total, unit, initial):
            super().__init__(initial=initial)

    monkeypatch.setattr(bars, "bar_class", lambda: Bar)
    monkeypatch.setattr(bars.sys.stderr, "isatty", lambda: terminal, raising=False)
    assert type(bars.counted(total=2, unit="file")) is (Bar if terminal else bars.Lines)
