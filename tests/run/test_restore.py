"""Reading pytrees: what does not match is refused before a byte is read."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from saved_states import ARRAYS, assert_same, directory, state

from sagd_jax.run import integrity, items
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.restore import CheckpointError, check_finite


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"model": state(0)["params"]}, r"no item 'model'; it has \['ema', 'params'\]"),
        ({"arrays": ARRAYS}, "no item 'arrays'"),
        ({"../20/params": state(0)["params"]}, "no item"),
        (
            {"params": {"dense": state(0)["params"]["dense"]}},
            r"params/norm/0: .* bfloat16\[64\], exp",
        ),
        (
            {"params": {**state(0)["params"], "x": jnp.ones(3)}},
            r"x: .* no such leaf, .* float32\[3\]",
        ),
        ({"params": state(0, 32)["params"]}, r"kernel: .* float32\[64, 64\], .* float32\[32, 32\]"),
        (
            {"params": jax.tree.map(lambda x: x.astype("float16"), state(0)["params"])},
            r"params/dense/kernel: .* float32\[64, 64\], expected float16\[64, 64\]",
        ),
    ],
)
def test_a_template_that_does_not_match_is_refused_before_reading(
    run, monkeypatch, template, message
):
    with Checkpoints(run, read_only=True) as reader:
        saved = reader.open()
        handler = ocp.StandardCheckpointHandler
        monkeypatch.setattr(handler, "restore", lambda *_, **__: pytest.fail("arrays were read"))
        with pytest.raises(CheckpointError, match=message) as info:
            saved.restore({"ema": state(0)["ema"], **template})
    assert "\n" not in str(info.value)


def test_a_forged_shape_is_not_read(run):
    """The shape in the tree's metadata is changed and everything sealed again."""
    path = directory(run, 30) / "params" / "_METADATA"
    tree = json.loads(path.read_text())
    assert "[64, 64]" in path.read_text() or "write_shape" in path.read_text(), tree
    path.write_text(path.read_text().replace("64", "6400000"))
    integrity.seal(directory(run, 30), 30)
    with Checkpoints(run, read_only=True) as reader:
        saved = reader.open(30)
        huge = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct([n * 100_000 for n in x.shape], x.dtype),
            state(0)["params"],
        )
        with pytest.raises(CheckpointError):
            saved.restore({"params": huge})


def test_arrays_of_an_absurd_size_are_refused(run, monkeypatch):
    monkeypatch.setattr(items, "MAX_ARRAYS_BYTES", 47)
    with (
        Checkpoints(run, read_only=True) as reader,
        pytest.raises(CheckpointError, match="arrays claims 48 bytes, more than 47"),
    ):
        reader.open()


def test_non_finite_values_are_found(tmp_path):
    tree = {"a": jnp.ones(3), "b": [jnp.array([1.0, jnp.inf], jnp.bfloat16), jnp.arange(3)]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"ema": tree, "opt_state": tree})
        saved = checkpoints.open()
        with pytest.raises(CheckpointError, match="ema/b/0 holds non-finite values"):
            saved.restore({"ema": tree})
        assert_same(saved.restore({"ema": tree}, finite=()), {"ema": tree})
        assert_same(saved.restore({"opt_state": tree}), {"opt_state": tree})
    check_finite("x", {"a": jnp.ones(3), "n": np.arange(3), "big": np.array(1e300), "i": 1.0})
    with pytest.raises(CheckpointError, match="x/n"):
        check_finite("x", {"a": jnp.ones(3), "n": np.array([np.nan])})
