"""FID and KID: those of torch-fidelity called by hand, on the pictures that sample.py writes."""

import importlib.util

import numpy as np
import pytest
from toy_runs import toy_run

from sagd_jax.evaluation import torch_metrics
from sagd_jax.evaluation.features import EvaluationError
from sagd_jax.evaluation.torch_metrics import TorchFidelity
from sagd_jax.programs import sample_files

needs_it = pytest.mark.skipif(
    not importlib.util.find_spec("torch_fidelity"), reason="needs torch-fidelity"
)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """An Inception network's, drawn at random."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    file = tmp_path / "weights.pth"
    torch.save({}, file)
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *a: None)
        network = FeatureExtractorInceptionV3("random", ["2048"], str(file))
    torch.save(network.state_dict(), file)
    return file


@needs_it
@pytest.mark.parametrize("channels", [1, 3])
def test_they_are_those_of_the_package_called_by_hand(tmp_path, weights, channels):
    import torch_fidelity

    data = toy_run(shape=(6, 8, 8, channels)).record.data
    rng = np.random.default_rng(0)
    sets, folders = [], []
    for name, count, high in (("a", 5, 256), ("b", 6, 200)):
        x = rng.integers(0, high, (count, 8, 8, channels)).astype(np.uint8)
        out = tmp_path / name
        out.mkdir()
        pictures = sample_files.for_people(out, 0, count, data, head=False, png=True)
        for write in pictures.values():
            write(x)
        sets.append(x)
        folders.append(str(out / "png"))
    by_hand = torch_fidelity.calculate_metrics(
        input1=folders[0], input2=folders[1], fid=True, kid=True, kid_subset_size=5, cuda=False,
        feature_extractor_weights_path=str(weights), cache=False, verbose=False, save_cpu_ram=True,
    )  # fmt: skip
    ours = TorchFidelity(weights)
    for metric, key in (
        ("fid", "frechet_inception_distance"),
        ("kid", "kernel_inception_distance_mean"),
    ):
        ours.check(metric)
        found = ours(metric, *sets)
        assert found["value"] == pytest.approx(by_hand[key], rel=1e-6)
        assert found["torch_fidelity"] == torch_fidelity.__version__


@needs_it
def test_weights_are_data_never_code(tmp_path):
    import pickle

    class Code:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").write_text, ("",))

    (tmp_path / "w.pth").write_bytes(pickle.dumps(Code()))
    with pytest.raises(EvaluationError, match="no weights of torch"):
        TorchFidelity(tmp_path / "w.pth").check("fid")
    assert not (tmp_path / "ran").exists()


def test_what_is_missing_is_said_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvaluationError, match=r"pip install 'sagd_jax\[fid\]'"):
        TorchFidelity().check("fid")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    for metric, file in (("fid", "inception"), ("kid", "inception"), ("prc", "vgg16")):
        with pytest.raises(EvaluationError, match=f"fetch it once with: curl -LO .*{file}"):
            TorchFidelity().check(metric)
    with pytest.raises(EvaluationError, match="no such file; fetch it"):
        TorchFidelity(tmp_path / "none.pth").check("fid")
    assert torch_metrics.NAMES == ("fid", "kid", "prc")
