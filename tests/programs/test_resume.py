"""Results that are gone on with belong to one set of settings."""

import json

import pytest

from sagd_jax.programs.resume import claim, open_lines
from sagd_jax.system.schema import ConfigError


def test_a_folder_is_of_the_settings_that_claimed_it(tmp_path):
    file = tmp_path / "settings.json"
    claim(file, {"seed": 1}, {})
    claim(file, {"seed": 1}, {})
    with pytest.raises(
        ConfigError, match=r"is of other samples, \{\"seed\": 1\}; use another --out"
    ):
        claim(file, {"seed": 2}, {})


def test_a_setting_that_an_earlier_version_did_not_know_was_at_its_default(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text('{"seed": 1}\n')
    claim(file, {"seed": 1, "snr": 0.16}, {"seed": 0, "snr": 0.16})
    with pytest.raises(ConfigError, match="other samples"):
        claim(file, {"seed": 1, "snr": 0.2}, {"seed": 0, "snr": 0.16})


@pytest.mark.parametrize("text", ["", "not json", "[1]"])
def test_a_folder_whose_settings_cannot_be_read_is_refused(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ConfigError, match="other samples"):
        claim(tmp_path / "settings.json", {"seed": 0}, {"seed": 0})


def test_lines_go_on_after_the_last_whole_one(tmp_path):
    path = tmp_path / "out" / "lines.jsonl"
    file, entries = open_lines(path, {"seed": 1})
    with file:
        assert entries == []
        file.write('{"index": 0}\n{"index": 1}\n{"ind')
    file, entries = open_lines(path, {"seed": 1})
    with file:
        assert entries == [{"index": 0}, {"index": 1}]
        file.write('{"index": 2}\n')
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"seed": 1}, {"index": 0}, {"index": 1}, {"index": 2},
    ]  # fmt: skip


def test_lines_of_other_settings_or_hands_are_refused(tmp_path):
    path = tmp_path / "lines.jsonl"
    open_lines(path, {"seed": 1})[0].close()
    with pytest.raises(ConfigError, match="was written with other settings"):
        open_lines(path, {"seed": 2})
    path.write_text('{"seed": 1}\n{"index": 0}\nhello\n')
    with pytest.raises(ConfigError, match="line 3 is not one that this program wrote"):
        open_lines(path, {"seed": 1})
