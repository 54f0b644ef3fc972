"""A run under noise of another basis, made of members and of its own data, sampled on another grid."""

import json
import subprocess
import sys

import pytest
from programs import TINY, environment

pytestmark = pytest.mark.thorough

SOURCE = """
import json
import jax, numpy as np, sagd_jax as sagd
from sagd_jax.run import draw
from sagd_jax.programs import inspect, sample, train

common = ["--config=tiny.py", "--workdir=run", "--config.train.num_steps=2"]
noise = [
    "--config.noise.kind=product",
    "--config.noise.alpha=0",
    "--config.noise.members=from_data:exponent=0.5:basis=cosine,power_law:alpha=0.25:basis=cosine",
]
assert train.main([*common, *noise]) == 0
assert train.main([*common[:2], "--config.train.num_steps=3", *noise]) == 0  # resumed
drawing = ["--workdir=run", "--out=samples", "--num_samples=4", "--num_steps=3"]
times = ["--times=uniform_log_snr", "--ratio_min=0.2", "--method=ddim", "--eta=0.5"]
seen = {}

def instead(key, denoiser, diffusion, shape, **options):  # of compiling a sampler
    seen.update(options, covariance=type(diffusion.covariance.basis).__name__)
    return jax.numpy.zeros(shape)

draw.sample = instead
assert sample.main([*drawing, *times]) == 0
assert inspect.main(["run"]) == 0

denoiser, diffusion, metadata = sagd.load("run")
grid = sagd.time_grids.uniform_log_snr(diffusion.schedule, 3, ratio_min=0.2)
print(json.dumps({
    "basis": type(diffusion.covariance.basis).__name__,
    "shape": diffusion.covariance.variance.shape,
    "mean": float(diffusion.covariance.variance.mean()),
    "difference": float(np.abs(grid - seen["times"]).max()),
    "eta": seen["method"].eta,
    "drawn with": seen["covariance"],
}))
for wrong in (["--times=edm", "--ratio_min=1e9"], ["--rho=3"], ["--times=log"]):
    try:
        sample.main([*drawing, *wrong])
    except SystemExit as error:
        assert error.code == 2
"""


def test_a_run(tmp_path, cache):
    (tmp_path / "tiny.py").write_text(TINY)
    done = subprocess.run(
        [sys.executable, "-c", SOURCE],
        cwd=tmp_path,
        env=environment(cache),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["basis"] == "Cosine"
    assert found["shape"] == [8, 8, 1]
    assert abs(found["mean"] - 1) < 1e-5
    assert (found["difference"], found["eta"], found["drawn with"]) == (0, 0.5, "Cosine")
    assert "noise     product in the cosine basis" in done.stdout
    assert "resuming at step 2" in done.stdout + done.stderr
    errors = done.stderr.splitlines()[-3:]
    assert "--times=edm: ratio_min=1000000000.0" in errors[0]
    assert "--rho=3.0: only --times=edm uses it" in errors[1]
    assert "'uniform', 'uniform_log_snr', 'edm'" in errors[2]
