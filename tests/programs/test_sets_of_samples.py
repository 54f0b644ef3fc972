"""What sample.py writes is whole, finite, and of one checkpoint and one set of flags."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image
from toy_runs import serve, toy_run, with_data

import sagd_jax as sagd
from sagd_jax.programs import sample, sample_files
from sagd_jax.run import profiles
from sagd_jax.show import media, pictures


@pytest.fixture(autouse=True)
def runs(monkeypatch):
    serve(monkeypatch, A=toy_run(), B=toy_run(0.2, identity="b"), rgb=toy_run(shape=(6, 4, 4, 3)))


@pytest.fixture
def draw(tmp_path, capsys):
    """Draws into a folder; returns the status, and what was said and complained of."""

    def run(*flags, workdir="A", out="out", steps=3):
        argv = [f"--workdir={workdir}", f"--out={tmp_path / out}", *flags]
        argv += [] if steps is None else [f"--num_steps={steps}"]
        try:
            status = sample.main(argv)
        except SystemExit as stopped:
            status = stopped.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def refused(result):
    status, _, complaint = result
    assert status == 2
    line = complaint.strip().splitlines()[-1]
    assert line.startswith("sample.py: ")
    return line


def samples(folder, name="samples.npz"):
    with np.load(folder / name, allow_pickle=False) as content:
        return content["samples"]


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_samples_that_overflow_are_refused_and_leave_nothing(draw, tmp_path, monkeypatch):
    # Times about 1e15 in each of three steps; float32 ends at 3.4e38.
    serve(monkeypatch, A=toy_run(1e15), late=toy_run(float("inf")))
    line = refused(draw("--num_samples=5", "--no-clip", "--png"))
    assert "5 of 5 samples (0 to 4) are not finite, number 0 from step 3 of 3 on" in line
    assert contents(tmp_path / "out") == {}
    line = refused(draw("--num_samples=5", "--shard_size=2", workdir="late", out="sharded"))
    assert "2 of 2 samples (0 to 1) are not finite, number 0 from step 1 of 3 on" in line
    assert contents(tmp_path / "sharded") == {}
    status, _, _ = draw("--num_samples=5", workdir="A", out="sharded")  # clipped, it does not
    assert status == 0


def test_signals_that_are_not_images_are_refused_too(draw, tmp_path, monkeypatch):
    serve(monkeypatch, A=toy_run(float("nan"), shape=(6, 16, 1), dtype=np.float32))
    assert "not finite" in refused(draw("--num_samples=2"))
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("more", [[], ["--no-clip"]])
def test_guidance_that_overflows_is_named(draw, tmp_path, monkeypatch, more):
    serve(monkeypatch, A=toy_run(1e3, classes=2))
    line = refused(draw("--num_samples=3", "--guidance=1e38", *more))
    assert "3 of 3 samples" in line and "--guidance=1e+38 may be too strong" in line
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("size", ["--shard_size=2", "--shard_size=100"])
def test_a_folder_is_of_one_checkpoint_and_one_set_of_flags(draw, tmp_path, size):
    assert draw("--num_samples=4", size, "--png")[0] == 0
    before = contents(tmp_path / "out")
    line = refused(draw("--num_samples=4", size, workdir="B"))
    assert "checkpoint was 'a', is 'b'" in line and "use another --out" in line
    assert "seed was 0, is 5" in refused(draw("--num_samples=3", size, "--seed=5", "--png"))
    assert "nothing to do" in draw("--num_samples=4", size, "--png")[1]
    assert contents(tmp_path / "out") == before


def test_samples_of_unknown_settings_are_not_added_to(draw, tmp_path):
    draw("--num_samples=2", "--png")
    (tmp_path / "out" / "samples.json").unlink()
    assert "samples.npz is of samples with unknown settings" in refused(draw("--num_samples=2"))
    (tmp_path / "out" / "samples.npz").unlink()
    (tmp_path / "out" / "grid.png").unlink()
    (tmp_path / "out" / "spectrum.svg").unlink()
    assert ".png is of samples with unknown" in refused(draw("--num_samples=2"))


def test_a_set_of_an_earlier_version_can_be_named(draw, tmp_path):
    flags = ("--num_samples=2", "--no-clip")
    draw(*flags)
    file = tmp_path / "out" / "samples.json"
    settings = json.loads(file.read_text())
    file.write_text(
        json.dumps({k: v for k, v in settings.items() if k not in ("checkpoint", "first", "clip")})
    )
    line = refused(draw(*flags))
    assert "does not say of which checkpoint" in line and 'put "checkpoint": "a"' in line
    file.write_text(json.dumps({**json.loads(file.read_text()), "checkpoint": "a"}))
    assert "nothing to do" in draw(*flags)[1]


def test_pictures_are_made_where_they_are_missing(draw, tmp_path):
    out = tmp_path / "out"
    flags = ("--num_samples=5", "--shard_size=2")
    draw(*flags)
    assert not (out / "png").exists()
    status, said, _ = draw(*flags, "--png")
    assert status == 0 and "wrote 5 pictures" in said
    names = [f"{i:06d}.png" for i in range(5)]
    assert sorted(p.name for p in (out / "png").iterdir()) == names
    joined = np.concatenate([samples(out, f"samples-0000{i}-of-00003.npz") for i in range(3)])
    for i, name in enumerate(names):
        with Image.open(out / "png" / name) as picture:
            assert picture.mode == "L"
            np.testing.assert_array_equal(np.asarray(picture), joined[i, ..., 0])
    before = contents(out)
    for name in ("grid.png", "png/000003.png"):  # as if killed between the arrays and these
        (out / name).unlink()
    draw(*flags, "--png")
    assert contents(out) == before


def test_pictures_in_colour_are_in_colour(draw, tmp_path):
    draw("--num_samples=2", "--png", workdir="rgb")
    for name in ("grid.png", "png/000001.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.mode == "RGB"


def test_one_sample_is_the_one_of_that_number(draw, tmp_path, monkeypatch):
    serve(monkeypatch, A=toy_run(classes=3))
    draw("--num_samples=9", "--seed=4", "--method=ddpm", out="all")
    draw("--first=7", "--num_samples=1", "--seed=4", "--method=ddpm", "--png")
    np.testing.assert_array_equal(samples(tmp_path / "out"), samples(tmp_path / "all")[7:8])
    with np.load(tmp_path / "out" / "samples.npz") as content:
        assert content["labels"].tolist() == [1]
    assert [p.name for p in (tmp_path / "out" / "png").iterdir()] == ["000007.png"]
    last = 2**31 - 1
    assert draw(f"--first={last}", "--num_samples=1", out="last")[0] == 0
    assert "--first" in refused(draw(f"--first={last}", "--num_samples=2", out="beyond"))
    assert "--first" in refused(draw(f"--first={2**32 + 7}", "--num_samples=1", out="beyond"))


@pytest.mark.parametrize("method", ["ddim", "heun"])
def test_python_draws_the_same(draw, tmp_path, method):
    draw("--first=2", "--num_samples=4", "--seed=4", f"--method={method}")
    run = toy_run()
    x = sagd.sample(
        jax.random.key(4),
        run.denoiser(),
        run.diffusion,
        (4, 4, 4, 1),
        method=method,
        num_steps=3,
        offset=2,
        clip=(-1, 1),
    )
    drawn = samples(tmp_path / "out")
    assert len(np.unique(drawn)) > 10
    assert np.abs(sagd.to_uint8(x).astype(int) - drawn).max() <= 1
    assert np.mean(sagd.to_uint8(x) == drawn) > 0.9


def test_what_is_cut_off_is_said(draw, monkeypatch, caplog):
    serve(monkeypatch, A=toy_run(1.7), wild=toy_run(-3.0))
    _, said, _ = draw("--num_samples=8", out="a", workdir="wild")
    assert float(said.split("\n")[1].split("%")[0]) > 50
    assert "likely causes: a run that is young (step 5)" in caplog.text
    # The share of values beyond the range by more than 5% of it, 0.1 of [-1, 1].
    run = toy_run(-3.0)
    x = sagd.sample(jax.random.key(0), run.denoiser(), run.diffusion, (8, 4, 4, 1), num_steps=3)
    _, said, _ = draw("--num_samples=8", "--no-clip", out="b", workdir="wild")
    assert f"{np.mean(np.abs(x) > 1.1):.1%} of the values were cut off" in said
    assert "--clip clips at every step" in caplog.text
    caplog.clear()
    _, said, _ = draw("--num_samples=8", out="c")
    assert "0.0% of the values were cut off" in said and not caplog.text


@pytest.mark.parametrize(
    ("fields", "config", "bounded"),
    [
        ({}, {}, True),
        ({"dtype": "float32"}, {}, False),
        ({}, {"data": {"corruption": "hum"}}, False),
    ],
)
def test_clipping_is_on_where_the_data_have_bounds(
    draw, tmp_path, monkeypatch, fields, config, bounded
):
    serve(monkeypatch, A=with_data(toy_run(**config), **fields))
    draw("--num_samples=1")
    assert json.loads((tmp_path / "out" / "samples.json").read_text())["clip"] is bounded


def test_clipping_is_refused_for_data_without_bounds(draw, monkeypatch):
    serve(monkeypatch, A=with_data(toy_run(dtype=np.float32), kind="latents"))
    assert "--clip: the values of latents have no bounds" in refused(draw("--clip"))


def test_seeds_that_would_be_others_are_refused(draw, tmp_path):
    assert "--seed: 4294967297: expected a whole number from 0 to 2147483647" in refused(
        draw("--seed=4294967297")
    )
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_found_out_first(draw, tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise AssertionError("something was loaded")

    monkeypatch.setattr("sagd_jax.run.saved.load_run", unreachable)
    (tmp_path / "file").write_text("")
    line = refused(draw(out="file"))
    assert f"--out={tmp_path / 'file'}: this is a file, expected a directory" in line
    assert f"{tmp_path / 'file'} is a file" in refused(draw(out="file/below/it"))
    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    line = refused(draw(out="new/folder"))
    assert f"--out={tmp_path / 'new/folder'} cannot be written: No space left on device" in line
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def full_disk(self, data):
    import errno

    if len(data):
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(self))


def test_a_disk_that_fills_up_leaves_nothing_half(draw, tmp_path, monkeypatch):
    real = sample_files.write_npz

    def write(file, *args):
        monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
        real(file, *args)

    monkeypatch.setattr(sample_files, "write_npz", write)
    line = refused(draw("--num_samples=2"))
    assert f"--out={tmp_path / 'out'} cannot be written: No space left on device" in line
    assert list((tmp_path / "out").iterdir()) == []


ROWS = np.zeros((3, 4, 4, 1), np.uint8)


@pytest.mark.parametrize(
    ("module", "write"),
    [
        (sample_files, lambda file: sample_files.write_npz(file, ROWS, None)),
        (pictures, lambda file: pictures.write_png(file, ROWS[0])),
        (media, lambda file: media.write_wav(file, ROWS[0, 0], 8000)),
        (media, lambda file: media.write_gif(file, ROWS, 8)),
    ],
)
def test_what_is_written_is_no_view_of_a_buffer(tmp_path, monkeypatch, module, write):
    # The error of a write that failed, when it is kept, holds the frames of the write in a circle. With
    # a view of a BytesIO among them the collector of Python 3.12.1 crashes (its issue 111049).
    written = []
    monkeypatch.setattr(module, "write_whole", lambda file, content: written.append(type(content)))
    write(tmp_path / "file")
    assert written == [bytes]


def test_a_whole_file_has_the_count_shape_and_dtype(tmp_path):
    data, file = toy_run().record.data, tmp_path / "x.npz"
    right = np.zeros((3, 4, 4, 1), np.uint8)
    labels = np.zeros(3, np.int32)
    for x, y, whole in (
        (right, labels, True),
        (right[:2], labels[:2], False),
        (right[:, :2], labels, False),
        (right.astype(np.float32), labels, False),
        (right, None, False),
    ):
        sample_files.write_npz(file, x, y)
        assert sample_files.is_whole(file, 3, data, labelled=True) == whole
    sample_files.write_npz(file, right, None)
    assert sample_files.is_whole(file, 3, data, labelled=False)
    file.write_bytes(file.read_bytes()[:-30])
    assert not sample_files.is_whole(file, 3, data, labelled=False)


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_sounds_and_clips_bear_the_number_of_their_sample(tmp_path, kind):
    shape = (16, 1) if kind == "audio" else (3, 4, 4, 1)
    run = toy_run(shape=(2, *shape), dtype=np.float32 if kind == "audio" else np.uint8)
    data = with_data(run, kind=kind, sample_rate=8000.0 if kind == "audio" else 10.0).record.data
    files = sample_files.for_people(tmp_path, 7, 9, data, head=True, png=False)
    folder, suffix = ("wav", "wav") if kind == "audio" else ("gif", "gif")
    expected = [tmp_path / "grid.png", tmp_path / "spectrum.svg"]
    expected += [*(tmp_path / folder / f"000{i}.{suffix}" for i in (7, 8))]
    assert list(files) == expected
    x = np.zeros((2, *shape), data.dtype)
    for write in files.values():
        write(x)
    assert all(path.stat().st_size > 40 for path in expected)


def test_the_spectrum_stands_beside_the_grid_and_the_way_where_it_is_asked_for(
    draw, tmp_path, monkeypatch
):
    workdir = tmp_path / "A"
    (workdir / "previews").mkdir(parents=True)
    serve(monkeypatch, **{str(workdir): toy_run()})
    profile = profiles.profile_of(np.random.default_rng(0).normal(size=(9, 4, 4, 1)))
    profiles.write(workdir / "previews" / "data_spectrum.json", profile)
    assert draw("--num_samples=5", "--gif", workdir=workdir)[0] == 0
    chart = (tmp_path / "out" / "spectrum.svg").read_text()
    assert ">data<" in chart and ">5 samples<" in chart and chart.count("<polyline") == 2
    with Image.open(tmp_path / "out" / "trajectory.gif") as way:
        assert way.n_frames >= 4 and way.info["duration"] == 80
        way.seek(3)  # after the last of three steps
        last = np.asarray(way.convert("L"), int)
    grid = pictures.grid(samples(tmp_path / "out"))[..., 0].astype(int)
    assert np.abs(last - grid).max() <= 2  # as palettes round
    (workdir / "previews" / "data_spectrum.json").write_text("{}")
    (tmp_path / "out" / "spectrum.svg").unlink()
    status, said, _ = draw("--num_samples=5", "--gif", workdir=workdir)
    assert status == 0 and "wrote 1 pictures" in said
    assert ">data<" not in (tmp_path / "out" / "spectrum.svg").read_text()


def test_the_way_is_of_as_many_steps_as_there_are_by_default(draw, tmp_path):
    assert draw("--num_samples=2", "--gif", steps=None)[0] == 0
    with Image.open(tmp_path / "out" / "trajectory.gif") as way:
        assert way.n_frames >= 51


def test_a_way_that_is_too_long_or_has_no_writer_is_refused(draw, monkeypatch):
    monkeypatch.setattr("sagd_jax.programs.sample_looks.MOST_STATES", 63)
    assert "--gif: the states of one sample at 3 steps are 64 numbers" in refused(draw("--gif"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "--gif needs the package pillow" in refused(draw("--gif"))


def test_a_sampler_that_the_process_cannot_have_leaves_nothing(draw, tmp_path, monkeypatch):
    basis = sagd.bases.haar((4, 4))
    schedule = sagd.schedules.hierarchical(sagd.schedules.cosine(), -basis.radius, 0.5, basis)
    process = sagd.Diffusion(schedule, sagd.white((4, 4)))
    serve(monkeypatch, A=dataclasses.replace(toy_run(), diffusion=process))
    line = refused(draw("--method=sde", "--churn=5"))
    assert line.startswith("sample.py: --method=sde: churn=5: under Hierarchical")
    assert not (tmp_path / "out").exists()
    assert draw("--method=sde")[0] == 0


def test_samples_do_not_go_among_the_data(draw, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    serve(monkeypatch, A=toy_run(data={"name": "folder", "dir": str(tmp_path / "photos")}))
    assert "lies in data.dir" in refused(draw(out="photos/samples"))
    assert not list((tmp_path / "photos").iterdir())
    assert draw(out="samples")[0] == 0
