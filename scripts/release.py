"""Builds a release, checks it, and tries the wheel in an empty environment.

    python scripts/release.py --out=dist

Takes the committed files alone, so that nothing that lies about gets in. Builds an sdist and from it a
wheel; `twine check` reads what PyPI would show; the wheel's core is installed into an empty environment and
used outside of the source tree: the version, the command's help, the ready configs, in jax a draw of
noise and samples, and the samples of the run that comes with it. It uploads nothing: `twine upload dist/*` is for a person to type.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
# What lies on this path would count as installed.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
TRIAL = """
import sys
import jax, numpy as np
import sagd_jax as sagd
from sagd_jax.run.config_file import read_config, ready_configs

assert sagd.__version__ == sys.argv[1], sagd.__version__
assert str(sagd.__file__).startswith(sys.prefix), sagd.__file__
for name in ready_configs():
    read_config(name)
process = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8, 8), alpha=-0.5))
x = sagd.sample(jax.random.key(0), lambda x, t: -x, process, (2, 8, 8, 1), prediction="v", num_steps=3)
assert np.all(np.isfinite(x)) and len(ready_configs()) > 10
print("the wheel works:", sagd.__version__, "with jax", jax.__version__)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="dist", help="folder for the sdist and the wheel")
    flags = parser.parse_args()
    out = pathlib.Path(flags.out).resolve()
    if out.is_dir() and any(out.iterdir()):
        parser.error(f"--out={out}: expected an empty folder, or one that does not exist")
    version = {}
    exec((ROOT / "sagd_jax" / "version.py").read_text(), version)
    version = version["__version__"]
    heading = f"\n## {version}\n"
    if heading not in (ROOT / "CHANGELOG.md").read_text():
        parser.error(f"CHANGELOG.md: expected a section '## {version}', no longer unreleased")
    with tempfile.TemporaryDirectory() as folder:
        tools, tree, empty = (pathlib.Path(folder) / name for name in ("tools", "tree", "empty"))
        run(sys.executable, "-m", "venv", tools)
        run(tools / "bin/pip", "install", "-q", "build", "twine")
        tree.mkdir()
        archive = subprocess.run(
            ["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)
        run(tools / "bin/python", "-m", "build", "--outdir", out, tree)
        files = sorted(out.iterdir())
        run(tools / "bin/twine", "check", "--strict", *files)
        run(sys.executable, "-m", "venv", empty)
        (wheel,) = (file for file in files if file.suffix == ".whl")
        run(empty / "bin/pip", "install", "-q", wheel)
        run(empty / "bin/python", "-I", "-c", TRIAL, version, cwd=folder)
        run(empty / "bin/sagd", "--help", cwd=folder)
        run(empty / "bin/sagd", "sample", "--workdir=digits", cwd=folder)
    print(f"{out}: {', '.join(file.name for file in files)}")
    return 0


def run(*command, **options):
    subprocess.run([str(word) for word in command], check=True, env=ENVIRONMENT, **options)


if __name__ == "__main__":
    sys.exit(main())
