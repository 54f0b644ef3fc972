"""The sections of a report, each from what is stored, as HTML."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from sagd_jax.run import profiles
from sagd_jax.show import page
from sagd_jax.show.charts import Series, line_chart, short, thinned
from sagd_jax.show.spectra_charts import ratio_chart, spectra_chart
from sagd_jax.show.thumbnails import small_png
from sagd_jax.system import schema
from sagd_jax.training.report.stored import Stored

_STEP = "training step"
_MOST_CHARTS = 40
_GRIDS, _PATHS = 12, 6  # pictures that are shown, at most
_PICTURE_BYTES = 160_000  # of one, at most: 18 of them are 3.8 MB of text
_OLDER = 3  # spectra of samples besides the newest
_MOST_ROWS = 300
_QUARTERS = re.compile(r"loss_t(\d{1,3})of([1-9]\d{0,2})")
_BANDS = re.compile(r"error_band(\d{1,3})of([1-9]\d{0,2})")
# What has a chart of its own or, like the first, stands in another's.
_KNOWN = {
    "loss": "loss",
    "gradient_norm": "gradient norm",
    "learning_rate": "learning rate",
    "images_per_second": "examples per second",
    "data_wait_share": "share of the time spent waiting for data",
}
_LEFT_OUT = ("images_per_second_per_device",)

Cache = dict[str, tuple[tuple[int, float], bytes]]


def curves(stored: Stored) -> str:
    """Charts of all numbers of the log."""
    found = {n: curve for n, curve in stored.curves.items() if np.isfinite(curve[1]).any()}
    charts = []
    if "loss" in found:
        lines = [_curve("of training", *found.pop("loss"), band=True)]
        if "ema_loss" in found:
            lines.append(_curve("of averaged weights", *found.pop("ema_loss")))
        charts.append(line_chart(lines, title="loss", xlabel=_STEP, ylabel="loss"))
    parts = sorted((int(m[1]), int(m[2]), n) for n in found if (m := _QUARTERS.fullmatch(n)))
    if parts:
        lines = [
            _curve(
                f"t from {(i - 1) / of:g} to {i / of:g}",
                *found.pop(name),
                share=(i - 1) / max(of - 1, 1),
            )
            for i, of, name in parts
        ]
        charts.append(line_chart(lines, title="loss by quarter of t", xlabel=_STEP, ylabel="loss"))
    bands = sorted((int(m[1]), int(m[2]), n) for n in found if (m := _BANDS.fullmatch(n)))
    if bands:
        lines = [
            _curve(
                f"radius {(i - 1) / of:g} to {i / of:g}",
                *found.pop(name),
                share=(i - 1) / max(of - 1, 1),
            )
            for i, of, name in bands
        ]
        words = "squared error of x0 by quarter of the radius"
        charts.append(line_chart(lines, title=words, xlabel=_STEP, ylabel="error"))
    if "skipped" in found and not np.nansum(found["skipped"][1]):
        del found["skipped"]
    for name in [*(n for n in _KNOWN if n in found), *(n for n in found if n not in _KNOWN)]:
        floored = name.endswith("_floor") and name.removesuffix("_floor") in stored.curves
        if name in _LEFT_OUT or floored or len(charts) >= _MOST_CHARTS:
            continue
        lines = [_curve("", *found[name], band=True)]
        if f"{name}_floor" in found:
            held_out = _curve("held-out data", *found[f"{name}_floor"])
            lines = [_curve("samples", *found[name]), held_out]
        words = _KNOWN.get(name, name)
        charts.append(
            line_chart(lines, title=words, xlabel=_STEP, ylabel=words if len(words) < 24 else "")
        )
    return page.charts(charts)


def _curve(
    name: str, x: np.ndarray, y: np.ndarray, *, band: bool = False, share: float | None = None
) -> Series:
    x, mean, low, high = thinned(x, y)
    if not band or np.array_equal(low, high):
        return Series(name, x, mean, share=share)
    return Series(name, x, mean, low, high, share)


def grids(stored: Stored, cache: Cache) -> str:
    """The previews, some of them, and the newest."""
    parts = []
    for kind, most, words in (("step", _GRIDS, "step {}"), ("path", _PATHS, "path, step {}")):
        files = [(step, path) for name, step, path in stored.pictures if name == kind]
        shown = [files[i] for i in spread(len(files), most)]
        pictures = []
        for step, path in shown:
            content = _small(path, cache, stored.troubles)
            if content is not None:
                pictures.append((words.format(f"{step:,}"), content))
        if len(files) > len(shown):
            parts.append(f"<p>{len(shown)} of {len(files)}</p>")
        parts.append(page.pictures(pictures))
    return "".join(parts)


def _small(path: epath.Path, cache: Cache, troubles: list[str]) -> bytes | None:
    try:
        stat = path.stat()
        key = (stat.length, stat.mtime)
        if cache.get(path.name, ((), b""))[0] != key:
            cache[path.name] = key, small_png(path.read_bytes(), _PICTURE_BYTES)
        return cache[path.name][1]
    except (OSError, ValueError) as error:
        troubles.append(f"{profiles.FOLDER}/{path.name} cannot be shown: {error}")
        return None


def spread(count: int, most: int) -> list[int]:
    """At most so many of the numbers from 0 to count - 1, evenly, the first and the last among them.

    >>> spread(10, 4), spread(2, 4), spread(0, 4)
    ([0, 3, 6, 9], [0, 1], [])
    """
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def spectra(stored: Stored) -> str:
    """Spectra of samples and data, and the ratio of the newest samples to the data."""
    steps = list(stored.spectra)
    if not steps:
        return ""
    newest = steps[-1]
    older = [steps[i] for i in spread(len(steps) - 1, _OLDER)]
    lines = {f"samples, step {newest:,}": stored.spectra[newest].lines}
    if stored.data is not None:
        lines = {f"data ({stored.data.count} examples)": stored.data.lines, **lines}
    plain = {f"step {step:,}": stored.spectra[step].lines for step in older}
    charts = [spectra_chart({**lines, **plain}, list(plain))]
    if stored.data is not None:
        title = f"power of samples over that of data, step {newest:,}"
        charts.append(ratio_chart(stored.spectra[newest].lines, stored.data.lines, title) or "")
    words = "Bands are two standard errors wide to both sides, from the spread over examples."
    return f"<p>{words}</p>{page.charts(charts)}"


def evaluations(stored: Stored) -> str:
    """Tables of what evaluations found, and the network's error by band."""
    parts, rows = [], []
    for name, step, results in stored.evaluations:
        for block, metrics in results.items():
            for metric, values in metrics.items():
                if words := _numbers(values):
                    floor = (
                        _numbers(values.get("floor"))
                        if isinstance(values.get("floor"), dict)
                        else ""
                    )
                    of = "-" if step is None else f"{step:,}"
                    sampled = f"{block} sampling steps" if block.isdigit() else block
                    rows.append((name, of, sampled, metric, words, floor))
    header = ("folder", "step", "of", "metric", "value", "held-out data")
    if len(rows) > _MOST_ROWS:
        parts.append(f"<p>the last {_MOST_ROWS} of {len(rows)} results</p>")
    parts.append(page.charts(_band_charts(stored)))
    parts.append(page.table(rows[-_MOST_ROWS:], header))
    return "".join(parts) if rows else ""


def _numbers(values: Any) -> str:
    """The numbers of a result, in words."""
    if not isinstance(values, Mapping):
        return ""

    def has(name: str) -> bool:
        value = values.get(name)
        return isinstance(value, int | float) and not isinstance(value, bool)

    names = [
        n for n in values if has(n) and n not in ("seconds", "low", "high", "standard_error", "squared")
        and not n.startswith("num_")
    ]  # fmt: skip
    words = []
    for name in names:
        word = f"{values[name]:.4g}" if name == "value" else f"{name} {values[name]:.4g}"
        if name == "value" and has("low") and has("high"):
            word += f" [{values['low']:.3g}, {values['high']:.3g}]"
        elif name == "value" and has("standard_error"):
            word += f" +- {values['standard_error']:.2g}"
        words.append(word)
    return ", ".join(words)


def _band_charts(stored: Stored) -> list[str]:
    """The denoising error by band: over t, and over training where it is known at several steps."""
    known = [
        (step, found)
        for _, step, results in stored.evaluations
        if (found := _denoising(results)) is not None
    ]
    if not known:
        return []
    step, (times, edges, errors) = known[-1]
    bands = errors.shape[1]

    def lines(x: np.ndarray, values: np.ndarray) -> list[Series]:
        return [
            Series(
                f"{edges[b]:g} to {edges[b + 1]:g}", x, values[:, b], share=b / max(bands - 1, 1)
            )
            for b in range(bands)
            if np.isfinite(values[:, b]).any()
        ]

    words = "squared error of x0 by band of the radius"
    where = "" if step is None else f", step {step:,}"
    charts = [
        line_chart(lines(times, errors), title=f"{words}{where}", xlabel="time t", ylabel="error")
    ]
    means = [
        (s, e.mean(axis=0)) for s, (_, b, e) in known if s is not None and np.array_equal(b, edges)
    ]
    if len({s for s, _ in means}) > 1:
        x, values = np.array([s for s, _ in means], float), np.stack([m for _, m in means])
        charts.append(
            line_chart(
                lines(x, values), title=f"{words}, mean over t", xlabel=_STEP, ylabel="error"
            )
        )
    return charts


def _denoising(results: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    for metrics in results.values():
        values = metrics.get("denoising")
        if values is None:
            continue
        try:
            times, edges, errors = (
                np.array(values[name], np.float64) for name in ("times", "edges", "error")
            )
        except (KeyError, TypeError, ValueError):
            continue
        if errors.ndim == 2 and errors.shape == (len(times), len(edges) - 1):
            return times, edges, errors
    return None


def checkpoints(stored: Stored) -> str:
    """What is kept, and how large it is."""
    rows = [
        (
            f"{one.step:,}",
            f"{one.size / 2**20:,.1f} MiB" if one.size else "-",
            one.written or "-",
            "complete" if one.complete else "incomplete or damaged",
        )
        for one in stored.checkpoints
    ]
    aside = ", ".join(stored.set_aside)
    words = f"<p>set aside: {aside}</p>" if aside else ""
    return page.table(rows, ("step", "size", "written", "files")) + words


def configuration(stored: Stored) -> str:
    """The fields that have an effect, and the data."""
    record = stored.record
    if record is None:
        return ""
    flat = [
        (name, ", ".join(map(str, v)) if isinstance(v, tuple | list) else str(v))
        for name, v in _flat(schema.in_effect(record.config))
    ]
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, value in flat:
        groups.setdefault(name.partition(".")[0], []).append((f"config.{name}", value))
    single = [row for rows in groups.values() if len(rows) == 1 for row in rows]
    tables = [page.folded(name, page.table(rows)) for name, rows in groups.items() if len(rows) > 1]
    return page.table(single) + "".join(tables)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat


def how_to_go_on(stored: Stored) -> str:
    """Commands: to resume, to sample, to judge, and to make this page again."""
    workdir = shlex.quote(os.fspath(stored.workdir))
    last = max((one.step for one in stored.checkpoints if one.complete), default=None)
    begins = (
        "from the beginning: no checkpoint is complete" if last is None else f"from step {last:,}"
    )
    lines = (
        f"# The command that began this run goes on with it, {begins}:\n"
        f"sagd train --config=CONFIG --workdir={workdir}\n\n"
        f"sagd sample --workdir={workdir} --out=SAMPLES\n"
        f"sagd evaluate --workdir={workdir}\n"
        f"sagd inspect {workdir}\n"
        f"sagd report --workdir={workdir}   # this page again\n"
    )
    return page.code(lines)


def summary(stored: Stored) -> list[tuple[str, str]]:
    """What stands at the top: words and values."""
    record, rows = stored.record, []
    if record is not None:
        total, data, config = record.config.train.num_steps, record.data, record.config
        rows.append(("step", f"{stored.step:,} of {total:,} ({stored.step / total:.1%})"))
        shape = " x ".join(map(str, data.shape))
        rows.append(("data", f"{config.data.name}: {data.num_examples:,} of shape {shape}"))
        rows.append(("process", f"{config.schedule.kind} schedule, {config.noise.kind} noise"))
        rows.append(("network", f"{config.model.kind}, predicts {config.model.prediction}"))
        rows.append(("written by", f"sagd_jax {record.sagd_jax}, jax {record.jax}"))
    else:
        rows.append(("step", f"{stored.step:,}"))
    if "loss" in stored.curves:
        finite = stored.curves["loss"][1][np.isfinite(stored.curves["loss"][1])]
        if len(finite):
            rows.append(
                ("loss", f"{short(float(finite[-1]))}, lowest {short(float(finite.min()))}")
            )
    rate = stored.curves.get("images_per_second", (np.zeros(0),) * 2)[1]
    rate = rate[np.isfinite(rate)]
    if len(rate) and record is not None:
        left = (record.config.train.num_steps - stored.step) * record.config.train.batch_size
        seconds = left / max(float(np.median(rate[-20:])), 1e-9)
        hours = f", about {math.ceil(seconds / 60):,} minutes left" if left > 0 else ""
        rows.append(("speed", f"{short(float(np.median(rate[-20:])))} examples per second{hours}"))
    return rows
