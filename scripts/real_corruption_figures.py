"""The table and the figures of docs/corrupted_data.md from results/real_corruption.json."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

START, END = "<!-- real corruption -->", "<!-- end of real corruption -->"
RATE = 360
COLOURS = {
    "data": "0.35",
    "notch filter": "C2",
    "hole in windows": "C4",
    "restored": "C0",
    "samples": "C1",
}
TITLES = {
    "ecg": "ECG record 100, hum",
    "stripes": "detector's stripes",
    "tones": "picture with tones",
}
ORDER = (
    "data", "training data", "notch filter", "hole in windows", "restored",
    "restored, no data spectrum", "restored, margin 100", "samples", "samples, no data spectrum", "samples, margin 100",
)  # fmt: skip


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """Writes a figure for each file that there are results of."""
    for name, result in results.items():
        path = folder / f"real_{name}.png"
        if name == "ecg":
            _signals(result, path)
        else:
            _pictures(result, path)


def table(results: Mapping[str, Any], page: Path) -> None:
    """Puts the table into the page."""
    before, found, rest = page.read_text().partition(START)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise SystemExit(f"{page.name}: expected {START} and {END}")
    page.write_text(f"{before}{START}\n{rows(results)}\n{END}{after}")


def rows(results: Mapping[str, Any]) -> str:
    """One line per file and set of windows, and where the figures come from."""
    lines = [
        "| file | windows | lines over their neighbours, dB | rest: distance to the held-out ones | of its rings "
        "within |",
        "|---|---|---|---|---|",
    ]
    for name, result in results.items():
        for key in (k for k in ORDER if k in result["figures"]):
            own = result["figures"][key]
            levels = "; ".join(_level(line) for line in own["lines"])
            value, low, high = own["distance"]
            words = f"{value:.2f} [{low:.2f}, {high:.2f}]" if key != "data" else "-"
            inside = f"{own['inside']:.0%}" if key != "data" else "-"
            label = "held out, as they are" if key == "data" else key
            lines.append(
                f"| {TITLES[name]} | {label} ({own['windows']}) | {levels} | {words} | {inside} |"
            )
    lines.append("")
    if "ecg" in results:
        own = results["ecg"]["beats"]
        errors = ", ".join(f"{k} {v:.1f}" for k, v in own["error"].items() if k != "data")
        lines += [
            f"Mean of {own['count']} heart beats of the ECG against that of the file as it is, in which hum averages "
            f"out, rms in microvolt: {errors}.",
            "",
        ]
    for name, result in results.items():
        where = f"{result['hardware']}, {result['device']}"
        lines.append(
            f"{TITLES[name]}: commit {result['commit']}, jax {result['jax']}, {where}, seed {result['seed']}; "
            f"`{_command(result['command'])}`  "
        )
    return "\n".join(lines)


def _command(text: str) -> str:
    """Without the places of one machine."""
    return " ".join(
        f"--{part[2:].partition('=')[0]}=..." if part.startswith(("--data=", "--out=")) else part
        for part in text.split()
    )


def _level(line: list[float]) -> str:
    value, low, high = line
    return f"{value:+.1f} [{low:.1f}, {high:.1f}]"


def _spectra(axis: Any, result: Mapping[str, Any], rate: float, words: str) -> None:
    """The spectra of the sets, and the band of the held-out windows' rings."""
    held = result["figures"]["data"]
    radius, power, error = (np.array(held[k]) for k in ("rings", "power", "error"))
    axis.fill_between(
        radius * rate,
        power * np.exp(-1.96 * error),
        power * np.exp(1.96 * error),
        color="0.8",
        label="held out, 95 %, beside the lines",
    )
    for key, colour in COLOURS.items():
        own = result["figures"][key]
        profile = np.array(own["profile"])
        x = np.linspace(0, 0.5, len(profile)) * rate
        axis.semilogy(x[2:], profile[2:] + 1e-12, color=colour, label=key, linewidth=0.9)
    axis.set_ylim(bottom=power.min() / 1000)
    axis.set_xlabel(words)
    axis.legend(fontsize=6, loc="lower left")


def _signals(result: Mapping[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    _spectra(axes[0], result, RATE, "Hz")
    axes[0].set_title("power of windows of 256", fontsize=9)
    beats = result["beats"]
    for number, key in enumerate(("data", "notch filter", "restored")):
        stretch = np.array(beats["stretch"][key])
        time = np.arange(len(stretch)) / RATE
        axes[1].plot(time, stretch - 0.4 * number, color=COLOURS[key], linewidth=0.7, label=key)
    axes[1].set(xlabel="s", title="one second, mV, one below the other")
    axes[1].legend(fontsize=6)
    data = np.array(beats["mean"]["data"])
    time = (np.arange(len(data)) - 90) / RATE
    for key in beats["mean"]:
        if key != "data":
            own = 1000 * (np.array(beats["mean"][key]) - data)
            axes[2].plot(time, own, linewidth=0.8, color=COLOURS.get(key, "C3"), label=key)
    axes[2].set(xlabel="s from the peak", title="mean beat less that of the data, microvolt")
    axes[2].legend(fontsize=6)
    for axis in axes[1:]:
        axis.title.set_fontsize(9)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _pictures(result: Mapping[str, Any], path: Path) -> None:
    from PIL import Image

    shown = {
        key: np.asarray(Image.open(io.BytesIO(bytes.fromhex(text))))
        for key, text in result["shown"].items()
    }
    keys = [key for key in COLOURS if key in shown]
    figure, axes = plt.subplots(
        1, len(keys) + 1, figsize=(12, 2.9), width_ratios=(1.7, *(1,) * len(keys)),
        layout="constrained",
    )  # fmt: skip
    _spectra(axes[0], result, 1.0, "cycles per pixel")
    axes[0].set_title("largest power in each ring", fontsize=9)
    for axis, key in zip(axes[1:], keys, strict=True):
        axis.imshow(shown[key], cmap="gray", vmin=0, vmax=255)
        axis.set_title(key, fontsize=9)
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90)
    plt.close(figure)
    Image.open(buffer).convert("RGB").quantize(160, method=Image.Quantize.FASTOCTREE).save(
        path, optimize=True
    )
