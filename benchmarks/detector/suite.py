"""Which sets there are, and what is done to each of them."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.detector import drawn, further, held_out, photographs, sounds
from benchmarks.detector import treatments as t
from benchmarks.detector.examples import Examples, Rng
from benchmarks.detector.tables import HELD_OUT
from benchmarks.detector.treatments import Treatment, Truth

Maker = Callable[[Rng], Examples]
_ENLARGE = Image.Resampling

LINES: dict[str, Treatment] = {
    "line, 6 dB": t.line_above(6.0),
    "line, 6 dB in a fifth": t.line_above(6.0, 0.2),
    "line, 12 dB in a fifth": t.line_above(12.0, 0.2),
}
ADDED: dict[str, Treatment] = {
    "band, 0.05": t.band(0.05),
    "band, 0.02": t.band(0.02),
    "band, 0.01": t.band(0.01),
    "band, 0.05 in a fifth": t.band(0.05, 0.2),
    "moire on an axis, 0.03": t.line(0.03, at=(0.0, 0.313)),
    "moire on an axis, 0.01": t.line(0.01, at=(0.0, 0.313)),
    "moire, 0.003": t.line(0.003),
    "moire, 0.02 in a fifth": t.line(0.02, 0.2),
    "rows, 0.01": t.rows(0.01),
    "columns, 0.02 in a third": t.rows(0.02, 0.33, axis=1),
    "fixed pattern, 0.01": t.pattern(0.01),
    "watermark, 0.05": t.watermark(0.05),
    "dead rows": t.dead_rows(),
    "checkerboard, 1/255": t.checkerboard(1 / 255),
    "Bayer, 2/255": t.bayer(2 / 255),
    "colour band, 0.02": t.band(0.02, colour=(0.5, -0.6, 1.0)),
    "white noise, 0.02": t.white_noise(0.02),
    "band, 0.02 and moire, 0.01": t.both(t.band(0.02), t.line(0.01, at=(0.1, 0.2))),
}
ODD: dict[str, Treatment] = {
    "moire that wanders, 0.01": t.line(0.01, drift=0.02),
    "beats, 0.01": t.both(t.line(0.01, at=(0.20, 0.30)), t.line(0.01, at=(0.22, 0.27))),
    "scanner bands, 0.01": t.line(0.01, at=(0.0, 6.4 / 64)),
    "hot pixels": t.hot_pixels(5),
    "narrow band, 0.005": t.band(0.005, low=0.6, high=0.65),
    "band at the top, 0.01": t.band(0.01, low=0.8, high=1.01),
    "columns, 0.005": t.rows(0.005, axis=1),
    "moire, 0.01 in a twentieth": t.line(0.01, 0.05),
}
FILES: dict[str, Treatment] = {
    **{f"JPEG {q}, each": t.jpeg(q, False) for q in (10, 30, 75, 95)},
    **{f"JPEG {q}, then cut": t.jpeg(q, True) for q in (30, 75, 95)},
    "enlarged twice, bicubic": t.enlarged(2.0, _ENLARGE.BICUBIC),
    "enlarged twice, Lanczos": t.enlarged(2.0, _ENLARGE.LANCZOS),
    "enlarged twice, nearest": t.enlarged(2.0, _ENLARGE.NEAREST),
    "enlarged 1.5 times, bicubic": t.enlarged(1.5, _ENLARGE.BICUBIC),
    "enlarged 3 times, bilinear": t.enlarged(3.0, _ENLARGE.BILINEAR),
}
HEARD: dict[str, Treatment] = {
    "hum, 0.05": t.hum(0.025),
    "hum, 0.05 in a fifth": t.hum(0.025, 0.2),
    "hum, 0.02 in a fifth": t.hum(0.01, 0.2),
    "hum with drift, 0.02": t.hum(0.01, 1.0, 59.36, 0.002),
    "whine, 0.003": t.line(0.0015, at=(0.48828,)),
    "band, 0.002": t.band(0.001, low=0.6, high=0.7),
    "white noise, 0.002": t.white_noise(0.001),
}
MOVED: dict[str, Treatment] = {
    "band, 0.02": t.band(0.02),
    "moire, 0.01": t.line(0.01, at=(0.137, 0.313)),
    "flicker, 0.01": t.rows(0.01),
    "fixed pattern, 0.01": t.pattern(0.01),
}
FEW: dict[str, Treatment] = {
    name: ADDED[name] for name in ("band, 0.02", "moire, 0.003", "rows, 0.01")
}


@dataclasses.dataclass(frozen=True)
class Set:
    """A clean set and what is done to it; or a truly corrupted one, whose truth is stated."""

    make: Maker
    treatments: dict[str, Treatment] = dataclasses.field(default_factory=dict)
    truth: Callable[[Examples], Truth] | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """One set, treated: values in [-1, 1], and the truth; the rate is 0 but for sounds."""

    group: str
    treatment: str
    seed: int
    x: np.ndarray
    truth: Truth
    rate: float = 0.0


def all_sets(
    data: Path | None = None, pictures: Path | None = None, recordings: Path | None = None
) -> dict[str, Set]:
    """The sets that can be had here: drawn ones always, real ones where they are."""
    small = {"band, 0.02": ADDED["band, 0.02"], "band, 0.01": ADDED["band, 0.01"], **LINES}
    sets = {
        "digits": Set(
            photographs.digits, {"band, 0.05": t.band(0.05, low=0.55, high=0.8), **LINES}
        ),
        "two photographs": Set(photographs.photographs, {**LINES, **ADDED, **ODD, **FILES}),
        "dead leaves": Set(drawn.dead_leaves, {**LINES, **ADDED, **FILES}),
        "text": Set(drawn.text, {**LINES, **FEW}),
        "fabric": Set(drawn.fabric, {**LINES, **FEW}),
        "white noise": Set(drawn.white, {**LINES, "band, 0.05": ADDED["band, 0.05"]}),
        "speech": Set(sounds.speech, {**LINES, **HEARD}),
        "pink noise": Set(sounds.pink, {**LINES, **HEARD}),
        "music": Set(sounds.music, {**LINES, **HEARD}),
        "moving shapes": Set(sounds.moving_shapes, {**LINES, **MOVED}),
    }
    if importlib.util.find_spec("skimage"):
        sets["four photographs"] = Set(photographs.four_photographs, {**LINES, **ADDED, **FILES})
        sets["bricks"] = Set(photographs.bricks, {**LINES, **FEW})
        sets["grass and gravel"] = Set(photographs.grass, {**LINES, **FEW})
        sets["scanned text"] = Set(photographs.scanned_text, {**LINES, **FEW})
        sets["grey photographs, 48x40"] = Set(photographs.grey_photographs, {**LINES, **FEW})
    if pictures:
        maker = partial(photographs.folder, pictures)
        sets["pictures of a folder"] = Set(maker, {**LINES, **ADDED, **FILES})
    if recordings:
        sets["spoken, of a folder"] = Set(partial(sounds.spoken, recordings), {**LINES, **HEARD})
    if data:
        for name in ("mnist", "cifar10"):
            sets[name] = Set(partial(photographs.tfds, data, name), {**small, **ADDED})
        sets |= _really_corrupted(data)
    return sets | _strangers() | _held_out(data)


def cases(name: str, one: Set, seed: int, only: str = "") -> Iterator[Case]:
    """The cases of a set whose `SET: TREATMENT` has `only`, a regular expression; each has a key of its own."""
    treatments = {"none": t.none, **one.treatments}
    asked = [treatment for treatment in treatments if re.search(only, f"{name}: {treatment}")]
    if not asked:
        return
    clean = one.make(np.random.default_rng([seed, 0]))
    for number, (treatment, apply) in enumerate(treatments.items()):
        if treatment not in asked:
            continue
        x, truth = apply(clean, np.random.default_rng([seed, number]))
        if one.truth is not None:
            truth = one.truth(clean)
        yield Case(name, treatment, seed, 2 * x - 1, truth, clean.rate)


def _strangers() -> dict[str, Set]:
    """Sets as strangers bring them, clean, with a line and a band in each."""
    makers: dict[str, Maker] = {
        "weather": drawn.weather,
        "satellite": drawn.satellite,
        "CT phantoms": drawn.phantoms,
        "screenshots": drawn.screenshots,
        "halftone": drawn.halftone,
        "faces": drawn.faces,
        "spectrograms": drawn.spectrograms,
        "logos, RGBA": drawn.logos,
        "night": drawn.night,
        "masks, 27x31": drawn.masks,
        "black frame": drawn.bordered,
        "64 examples": drawn.few,
        "badly scaled": drawn.badly_scaled,
        "shrunk, 28x28": drawn.shrunk,
        "faxes": drawn.faxes,
        "birds": sounds.birds,
        "hearts": sounds.hearts,
        "machine": sounds.machine,
        "surveillance": sounds.surveillance,
        "piano": further.piano,
        "wind": further.wind,
        "temperature": further.temperature,
        "brain waves": further.brain_waves,
        "particles": further.particles,
        "plaid": further.plaid,
        "swell": further.swell,
        "fans": further.fans,
    }
    enlarged = partial(t.stated, kind="enlarged")
    done = {"line, 6 dB": LINES["line, 6 dB"], "band, 0.02": ADDED["band, 0.02"]}
    sets = {name: Set(maker, done) for name, maker in makers.items()}
    return sets | {"sprites, enlarged": Set(drawn.sprites, truth=enlarged)}


def _held_out(data: Path | None) -> dict[str, Set]:
    """Sets on which no threshold was settled, each with lines, a band, and rows where there are any."""
    makers = held_out.drawn_sets()
    if importlib.util.find_spec("skimage"):
        makers |= held_out.sets_of_skimage()
    if data:
        for name in ("mnist", "cifar10"):
            makers[f"{name}, test"] = partial(held_out.test_split, data, name)
    treatments = {**LINES, "band, 0.02": ADDED["band, 0.02"], "hum, 0.02": t.hum(0.01)}
    sets = {}
    for name, maker in makers.items():
        sounds_of = name.split(",")[0] in ("sound of 700", "bells", "rain", "two voices")
        other = "band, 0.02" if not sounds_of else "hum, 0.02"
        own = {key: one for key, one in treatments.items() if key in LINES or key == other}
        sets[HELD_OUT + name] = Set(maker, own)
    return sets


def _really_corrupted(data: Path) -> dict[str, Set]:
    """What is stated of three real recordings, `README.md` of their folder."""

    def waves(*lines: tuple[float, ...]) -> Callable[[Examples], Truth]:
        def truth(examples: Examples) -> Truth:
            return t.stated_lines(examples, lines)

        return truth

    moon = waves((0.373, 0.0), (0.0, 0.281), (0.264, 0.198), (-0.264, 0.198))
    return {
        "real ECG": Set(
            partial(sounds.heart_record, data), truth=waves((60 / 360,), (120 / 360,), (0.5,))
        ),
        "real stripes": Set(partial(photographs.detector_stripes, data), truth=t.stated_columns),
        "real moon": Set(partial(photographs.moon, data), truth=moon),
    }
