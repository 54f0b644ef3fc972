"""The command `sagd`: the same programs by one name, with help that fits a screen."""

import pathlib

import pytest

import sagd_jax
from sagd_jax.programs import command
from sagd_jax.run.config_file import read_config, ready_configs
from sagd_jax.system.schema import ConfigError

PACKAGE = pathlib.Path(sagd_jax.__file__).parent
ROOT = PACKAGE.parent
SCREEN = (60, 100)  # lines and columns


@pytest.mark.parametrize("name", command.PROGRAMS)
def test_each_program_explains_itself_on_a_screen(name, capsys):
    with pytest.raises(SystemExit) as end:
        command.main([name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code in (0, None)
    assert lines[0].startswith(f"usage: sagd {name} ")
    assert len(lines) <= SCREEN[0] and max(map(len, lines)) <= SCREEN[1]
    described = lines[2 : lines.index("", 2)]
    assert len(" ".join(described)) > 40  # more than a name


def test_the_command_lists_its_programs(capsys):
    assert command.main([]) == command.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in command.PROGRAMS)
    assert command.main(["--version"]) == 0
    assert sagd_jax.__version__ in capsys.readouterr().out


def test_a_program_that_does_not_exist_is_refused_in_one_line(capsys):
    assert command.main(["trian"]) == 2
    assert capsys.readouterr().err == (
        "sagd: unknown program 'trian'; did you mean train? (sagd --help)\n"
    )
    assert command.main(["zzz"]) == 2
    assert "expected one of train, sample" in capsys.readouterr().err


def test_complaints_bear_the_name_of_the_command(capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["sample", "--nonsense"])
    assert end.value.code == 2 and capsys.readouterr().err.startswith("sagd sample: ")


def test_ready_configs_are_those_of_the_tree():
    assert set(ready_configs()) == {path.stem for path in (ROOT / "configs").glob("*.py")}
    assert (PACKAGE / "configs").is_symlink()  # one copy


def test_a_config_is_found_by_name_and_a_path_comes_first(tmp_path, monkeypatch):
    by_name = read_config("digits_blurring")
    assert by_name == read_config(str(ROOT / "configs" / "digits_blurring.py"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").write_text("def get_config():\n    return {'seed': 7}\n")
    assert read_config("digits").seed == 7
    with pytest.raises(ConfigError, match=r"--config=digit: no such file; there are: array, audio"):
        read_config("digit")
