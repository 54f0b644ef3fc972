"""Runs what the documents say: every command and every block of Python of README.md, CONTRIBUTING.md and docs/*.md.

    python scripts/run_documents.py                       # all of it: hours
    python scripts/run_documents.py --quick               # trainings and sampling shortened; says where
    python scripts/run_documents.py --quick docs/tutorial.md
    python scripts/run_documents.py --python              # the blocks of Python alone: seconds, as CI does

Each page has an empty folder of its own, in which its blocks run in their order: what one makes is there for the
next. In it lie also links to what a clone has (`train.py`, `configs/`...), a folder `PICTURES`, and, on pages that
do not train it themselves, the run `runs/digits`: the one that comes with the package. Blocks of Python share their
names. A line that is flags alone is given to a dry run of `sagd train --config=digits`; `pip install` is left out.

What the page has to say of a block stands in comments before it, which readers do not see:

    <!-- not run: REASON -->           what follows cannot run here: hours, a pod, the network...
    <!-- not run (WORD): REASON -->    only those of its commands that hold this word
    <!-- before: CODE -->              Python that makes what is the reader's own: names, files; BLOCK is the
                                       text of the last block of Python

Prints a line per page, and each command that failed with the end of what it wrote; the status is 1 if one did.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CLONE = ("train.py", "sample.py", "configs", "examples")
FLAGS_ALONE = "sagd train --config=digits --workdir=runs/dry --dry_run "
INSTALLS = "installs packages"
OPTIONAL = ("torch", "diffusers", "equinox")  # other people's, which a page may show beside ours
# What --quick adds to the programs: the last of two flags counts.
SHORT = {
    "train": "--config.train.num_steps=4 --config.log.every=2",
    "sample": "--num_samples=16 --num_steps=2",  # what `evaluate` needs at least
    "likelihood": "--num_examples=2",
}
_PROGRAM = re.compile(r"(?:^|\s)(?:sagd |python -m sagd_jax\.|python )(\w+)")
_JOINED = re.compile(r'&&(?=(?:[^"]*"[^"]*")*[^"]*$)')  # an even number of quotes follows
_BLOCK = re.compile(
    r"(?P<marks>(?:^<!--(?:(?!-->).)*-->\n+)*)^```(?P<language>sh|python)\n(?P<code>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Step:
    """A command, or a block of Python.

    Attributes:
      line: of the page, from 1.
      language: sh, python, or before: the Python that stands before commands.
      code: what is run.
      reason: why it is not run; empty: it is.
    """

    line: int
    language: str
    code: str
    reason: str = ""


def steps(text: str) -> list[Step]:
    """What a page has to run, in its order.

    >>> page = "<!-- not run (b): no pod -->\\n```sh\\na --x && b  # so\\n```\\n"
    >>> [(step.line, step.code, step.reason) for step in steps(page)]
    [(3, 'a --x', ''), (3, 'b', 'no pod')]
    """
    found = []
    for block in _BLOCK.finditer(text):
        first = text[: block.start("code")].count("\n") + 1
        skipped = re.findall(r"<!-- not run(?: \((.+?)\))?: (.*?) -->", block["marks"], re.DOTALL)
        before = re.findall(r"<!-- before:\s(.*?)\s-->", block["marks"], re.DOTALL)

        def reason(code: str, skipped: list[tuple[str, str]] = skipped) -> str:
            return next((why for word, why in skipped if word in code), "")

        if block["language"] == "python":
            code = "\n".join([*before, block["code"]])
            found.append(Step(first, "python", code, reason(code) or _missing(code)))
            continue
        if before:
            found.append(Step(first, "before", "\n".join(before)))
        for line, command in _commands(block["code"]):
            why = INSTALLS if command.startswith("pip install") else reason(command)
            found.append(Step(first + line, "sh", command, why))
    return found


def _missing(code: str) -> str:
    imported = re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
    lacking = [n for n in OPTIONAL if n in imported and importlib.util.find_spec(n) is None]
    return f"needs {' and '.join(lacking)}, not installed here" if lacking else ""


def _commands(code: str) -> list[tuple[int, str]]:
    """The commands of a block with their lines, from 0; what `&&` joins is several, but inside of quotes."""
    found, start, whole = [], 0, ""
    for number, line in enumerate(code.splitlines()):
        start = start if whole else number
        whole += line
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        whole = re.sub(r"(^|\s)#.*$", "", whole)
        found += [(start, one.strip()) for one in _JOINED.split(whole) if one.strip()]
        whole = ""
    return found


def shortened(command: str) -> str:
    """The command with what `--quick` adds to it.

    >>> shortened("sagd inspect digits"), shortened("sagd likelihood --workdir=digits")
    ('sagd inspect digits', 'sagd likelihood --workdir=digits --num_examples=2')
    """
    program = _PROGRAM.search(command)
    more = SHORT.get(program[1], "") if program and "--dry_run" not in command else ""
    return f"{command} {more}".strip()


def prepare(folder: Path, page: Sequence[Step]) -> None:
    """What a reader has: a clone, pictures, and a run if the page does not train it."""
    from PIL import Image

    for name in CLONE:
        (folder / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(0)
    (folder / "PICTURES").mkdir()
    for i in range(80):
        x = rng.normal(size=(40, 40)).cumsum(0).cumsum(1)
        x = 255 * (x - x.min()) / np.ptp(x)
        Image.fromarray(x.astype(np.uint8)).save(folder / "PICTURES" / f"{i}.png")
    trains = any("--workdir=runs/digits" in s.code.split() and "train" in s.code for s in page)
    if not trains:
        shutil.copytree(ROOT / "sagd_jax" / "pretrained" / "digits", folder / "runs" / "digits")


class Page:
    """A page that is run; `counts` says how often a step was what."""

    def __init__(self, path: Path, quick: bool, limit: float, python: bool = False) -> None:
        self.steps, self._quick, self._limit = steps(path.read_text()), quick, limit
        if python:
            self.steps = [step for step in self.steps if step.language == "python"]
        self.name = str(path.relative_to(ROOT))
        self.counts = dict.fromkeys(("run", "shortened", "skipped", "failed"), 0)
        self.reasons: list[str] = []
        self._names: dict[str, object] = {}

    def run(self) -> bool:
        """Runs all steps and says what became of them; returns whether none failed."""
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder), self.steps)
            for step in self.steps:
                self._step(step, folder)
        words = ", ".join(f"{number} {what}" for what, number in self.counts.items())
        print(f"{self.name}: {words}; {time.perf_counter() - start:.0f} s", flush=True)
        for reason in dict.fromkeys(self.reasons):
            print(f"    skipped: {reason}", flush=True)
        return not self.counts["failed"]

    def _step(self, step: Step, folder: str) -> None:
        if step.reason:
            self.counts["skipped"] += 1
            self.reasons.append(step.reason)
            return
        code = FLAGS_ALONE + step.code if step.code.startswith("--") else step.code
        if self._quick and step.language == "sh":
            code = shortened(code)
        run = self._shell if step.language == "sh" else self._python
        failure = run(code, folder)
        if failure:
            self.counts["failed"] += 1
            print(f"{self.name}:{step.line}: failed: {code.strip()}\n{failure[-1500:]}", flush=True)
        elif step.language != "before":
            self.counts["shortened" if code != step.code and step.language == "sh" else "run"] += 1

    def _shell(self, code: str, folder: str) -> str:
        own = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {**os.environ, "PYTHONPATH": own.rstrip(os.pathsep), "PATH": path}
        try:
            done = subprocess.run(
                shlex.split(code), cwd=folder, env=env, capture_output=True, text=True, timeout=self._limit
            )  # fmt: skip
        except (subprocess.TimeoutExpired, OSError) as error:
            return str(error)
        return (
            "" if done.returncode == 0 else f"status {done.returncode}\n{done.stdout}{done.stderr}"
        )

    def _python(self, code: str, folder: str) -> str:
        here = os.getcwd()
        os.chdir(folder)
        try:
            exec(compile(code, self.name, "exec"), self._names)
            self._names["BLOCK"] = code
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            os.chdir(here)
        return ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="default: all")
    parser.add_argument("--quick", action="store_true", help="a few steps of what takes long")
    parser.add_argument("--python", action="store_true", help="the blocks of Python alone")
    parser.add_argument("--limit", type=float, default=4 * 3600, help="seconds for one command")
    flags = parser.parse_args(argv)
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    if flags.pages:
        pages = [Path(page).resolve() for page in flags.pages]
    for page in pages:
        if not page.is_file() or not page.is_relative_to(ROOT):
            parser.error(f"{page}: no page of this clone")
    if flags.quick:
        print(f"--quick: shortened by {'; '.join(f'{k}: {v}' for k, v in SHORT.items())}")
    pages = [Page(path, flags.quick, flags.limit, flags.python) for path in pages]
    results = [page.run() for page in pages if page.steps]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
