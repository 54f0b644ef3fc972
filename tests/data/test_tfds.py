"""tensorflow-datasets without TensorFlow, on a set written here."""

import io
import sys

import numpy as np
import pytest
from PIL import Image
from snapshots import snapshot

from sagd_jax import data
from sagd_jax.data import DataConfig, DataError

tfds = pytest.importorskip("tensorflow_datasets")


def image(i, size):
    return np.full((*size, 3), i % 256, np.uint8)


class SagdSquares(tfds.core.GeneratorBasedBuilder):
    """Flat squares whose class is their parity."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(num_classes=2),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(20), "test": self._generate_examples(5)}

    def _generate_examples(self, count):
        for i in range(count):
            body = io.BytesIO()
            Image.fromarray(image(i, (10, 10 + i % 3))).save(body, "PNG")
            body.seek(0)
            yield i, {"image": body, "label": i % 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    tfds.builder(
        "sagd_squares", data_dir=str(directory), file_format="array_record"
    ).download_and_prepare()
    return directory


def config(directory, **changes):
    base = {"name": "tfds", "tfds_name": "sagd_squares", "dir": str(directory), "image_size": 8}
    return DataConfig(**base | changes)


def test_reads_any_set_without_tensorflow(prepared):
    before = snapshot(prepared)
    held = data.open_source(config(prepared))
    streamed = data.open_source(config(prepared, memory_limit_mb=0))
    assert (held.in_memory, streamed.in_memory) == (True, False)
    for source in (held, streamed):
        assert len(source) == 20
        assert source.shape == (8, 8, 3)
        assert source.num_classes == 2
        batch = source.fetch(np.arange(20))
        # TFDS shuffles as it writes, so examples are told by their value.
        values = batch["x"][:, 0, 0, 0]
        assert sorted(values) == list(range(20))
        np.testing.assert_array_equal(batch["label"], values % 2)
        assert np.all(batch["x"] == values[:, None, None, None])
    assert held.fingerprint() == streamed.fingerprint()
    name, *shards = held.fingerprint()
    assert name == "sagd_squares/1.0.0:" and "sagd_squares-train.array_record" in shards[0]
    ten = data.open_source(config(prepared, split="train[:10]"))
    assert ten.fingerprint()[0] == name
    assert "tensorflow" not in sys.modules
    assert snapshot(prepared) == before


def test_splits_and_slices(prepared):
    assert len(data.open_source(config(prepared, split="test"))) == 5
    assert len(data.open_source(config(prepared, split="train[:90%]"))) == 18
    with pytest.raises(DataError, match="'trian': sagd_squares has the splits 'train', 'test'"):
        data.open_source(config(prepared, split="trian"))


def test_unknown_names_suggest_the_nearest(tmp_path):
    with pytest.raises(DataError, match="no set 'cifar01'; did you mean 'cifar10"):
        data.open_source(config(tmp_path, tfds_name="cifar01"))


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_what_is_not_prepared_says_how(tmp_path, name):
    with pytest.raises(DataError, match=f"{name} is not prepared in {tmp_path}") as raised:
        data.open_source(DataConfig(name=name, dir=str(tmp_path)))
    message = str(raised.value)
    assert "\n" not in message
    assert "pip install tensorflow-cpu && python -c" in message
    program = message.split('python -c "')[1].rstrip('"')
    compile(program, "command", "exec")
    assert f"tfds.builder('{name}', data_dir='{tmp_path}', file_format='array_record')" in program
    assert not list(tmp_path.iterdir())


def test_features_are_named(prepared):
    with pytest.raises(DataError, match="its features are image, label"):
        data.open_source(config(prepared, tfds_image="picture"))


def test_channels_are_checked(prepared):
    with pytest.raises(DataError, match=r"data\.channels=1: the images have 3"):
        data.open_source(config(prepared, channels=1))


@pytest.fixture
def shard(prepared):
    """The file of the split `train`, which is put back afterwards."""
    (path,) = prepared.rglob("*train*")
    body = path.read_bytes()
    yield path
    path.write_bytes(body)


def test_a_damaged_shard_is_named_with_what_to_do(prepared, shard):
    body = bytearray(shard.read_bytes())
    body[body.rindex(b"PNG") + 60] ^= 255
    cases = {bytes(body): "1 of 20 examples of", bytes(body[:2000]): "cannot read", None: "No such"}
    for damaged, message in cases.items():
        if damaged is None:
            shard.unlink()
        else:
            shard.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{message}.*") as raised:
            data.open_source(config(prepared))
        assert f"{shard}: " in str(raised.value)
        assert "delete it and prepare the set: pip install tensorflow-cpu" in str(raised.value)
        assert "\n" not in str(raised.value)


def test_damage_met_while_streaming(prepared, shard):
    source = data.open_source(config(prepared, memory_limit_mb=0))
    body = bytearray(shard.read_bytes())
    body[body.rindex(b"PNG") + 60] ^= 255
    shard.write_bytes(body)
    with pytest.raises(DataError, match=f"cannot read {shard}: "):
        source.fetch(np.arange(20))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"image": image(1, (9, 9)), "label": 1}, r"mixed sizes, \(8, 8, 3\) .*data\.image_size"),
        ({"image": image(1, (8, 8))[..., :1], "label": 1}, r"mixed sizes, .* and \(8, 8, 1\)"),
        ({"image": image(1, (8, 8)), "label": 2}, "class 2 of 2"),
    ],
)
def test_examples_that_differ_are_said(prepared, monkeypatch, second, message):
    records = [{"image": image(0, (8, 8)), "label": 0}, second]
    monkeypatch.setattr("sagd_jax.data.tfds._records", lambda *_: records)
    for limit in (0, 2048):
        with pytest.raises(DataError, match=message):
            source = data.open_source(config(prepared, image_size=0, memory_limit_mb=limit))
            source.fetch(np.arange(2))


@pytest.mark.slow
def test_mutated_shards(prepared, shard):
    """Riegeli's checksums: what is read is what was written, or one line."""
    from mutations import mutated

    body = shard.read_bytes()
    used = [i for i, byte in enumerate(body) if byte]  # most of it is padding
    expected = data.open_source(config(prepared)).fetch(np.arange(20))
    rng = np.random.default_rng(0)
    for _ in range(1000):
        shard.write_bytes(mutated(body, rng, used))
        try:
            got = data.open_source(config(prepared)).fetch(np.arange(20))
        except DataError as error:
            assert "\n" not in str(error)
        else:
            np.testing.assert_array_equal(got["x"], expected["x"])
            np.testing.assert_array_equal(got["label"], expected["label"])
