"""The program that analyses a data set's spectrum."""

import json

import jax
import numpy as np
import pytest

from sagd_jax.programs import spectrum
from sagd_jax.spectral import spectra


def config_file(folder, **fields):
    lines = [f"    config.data.{name} = {value!r}" for name, value in fields.items()]
    path = folder / "config.py"
    path.write_text(
        "import sagd_jax as sagd\n\n\ndef get_config():\n"
        "    config = sagd.default_config()\n" + "\n".join(lines) + "\n    return config\n"
    )
    return path


def test_the_program(tmp_path, capsys):
    config = config_file(
        tmp_path,
        name="synthetic",
        num_examples=400,
        corruption="band",
        corruption_band=(0.4, 0.5),
        corruption_strength=0.06,
    )
    out = tmp_path / "out"
    spectrum.main([f"--config={config}", f"--out={out}", "--num_examples=300"])
    printed = capsys.readouterr().out
    for text in ("300 of 400 examples", "+- s.e.", "1. band 0.28", "% of the data's energy"):
        assert text in printed
    assert {path.name for path in out.iterdir()} == {
        "spectrum.png",
        "spectrum.json",
        "power.npy",
        "equal_snr.npy",
        "omission.npy",
        "noise_config.py",
    }
    numbers = json.loads((out / "spectrum.json").read_text())
    assert numbers["num_examples"] == 300
    assert numbers["anomalies"][0]["kind"] == "band"
    assert 0 < numbers["energy_removed_by_omission"] < 0.3
    # The snippet is a config that names a valid covariance.
    from sagd_jax.run import build
    from sagd_jax.run import config_file as run_config

    text = config.read_text().replace(
        "    return config",
        "".join(f"    {line}\n" for line in (out / "noise_config.py").read_text().splitlines())
        + "    return config",
    )
    config.write_text(text)
    covariance = build.covariance(run_config.read_config(str(config)).noise, (32, 32))
    band = spectra.band_pass((32, 32), [(0.4, 0.5)])
    np.testing.assert_allclose(
        covariance.project(band.sample(jax.random.key(0), (1, 32, 32, 1))), 0, atol=1e-4
    )


def test_the_program_on_clean_data_suggests_equal_snr(tmp_path, capsys):
    config = config_file(tmp_path, name="synthetic", num_examples=200, field_shape=(64,))
    spectrum.main([f"--config={config}", f"--out={tmp_path / 'out'}", "--exponent=0.5"])
    assert "nothing stands out" in capsys.readouterr().out
    assert not (tmp_path / "out" / "omission.npy").exists()
    power = np.load(tmp_path / "out" / "power.npy")
    variance = np.load(tmp_path / "out" / "equal_snr.npy")
    ratio = np.sqrt(power) / variance
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_examples=1"], "--num_examples=1: expected at least 2"),
        (["--margin=-1"], "--margin=-1.0"),
        (["--config.data.split=trian"], "'train', 'test', 'all'"),
        (["--config.data.nam=digits"], "did you mean 'name'"),
        (["--windw=hann"], "did you mean --window"),
    ],
)
def test_faults_of_the_program(tmp_path, capsys, flags, message):
    config = config_file(tmp_path, name="digits")
    with pytest.raises(SystemExit) as raised:
        spectrum.main([f"--config={config}", f"--out={tmp_path / 'out'}", *flags])
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_program_does_not_write_where_the_data_are(tmp_path, capsys):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "x.png")
    config = config_file(tmp_path, name="folder", dir=str(folder))
    with pytest.raises(SystemExit):
        spectrum.main([f"--config={config}", f"--out={folder / 'out'}"])
    assert "where nothing is ever written" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["x.png"]
