"""How each control of the explorer's page is moved in tests: a control that is not in here fails one of them."""

import numpy as np

from sagd_jax.data.source import ArraySource
from sagd_jax.programs.explored_choice import SECTIONS, own_fields
from sagd_jax.spectral.bases import fourier
from sagd_jax.spectral.frequencies import radial_frequency

BANDS = {"bands": "(0, 0.3), (0.6, 1)"}
CAPPED = {"corruption": "band_pass:bands=((0.4,0.9),)", "levels": "(0.2,)"}
TWO = {"members": "white, colour:colour=brown"}
# Of each kind: what has to stand in its fields for there to be a picture, and what they are moved to, one after
# the other. SPECTRUM, STEEPER and WEIGHT stand for files.
FIELDS = {
    "noise": {
        "white": ({}, {}),
        "power_law": ({}, {"alpha": -0.7, "dc": "floor"}),
        "exponential": ({}, {"beta": 4}),
        "band_pass": (BANDS, {"bands": "(0, 0.5),", "unit": "nyquist"}),
        "two_band": ({}, {"gamma_low": 0.8, "split": 0.7, "unit": "nyquist"}),
        "offset": ({}, {"strength": 1.5}),
        "multiresolution": ({}, {"discount": 0.9, "levels": 2, "white": 0.5}),
        "shared_frames": ({"strength": 2}, {"strength": 1, "time_axis": 1}),
        "matern": ({}, {"length": 2, "smoothness": 3}),
        "colour": ({}, {"colour": "brown"}),
        "wedge": (
            {"direction": "(0, 1)", "width": 60},
            {"direction": "(1, 0)", "width": 90, "band": "(0.2, 0.9)", "unit": "nyquist"},
        ),
        "notch": ({"frequencies": "((0.25, 0),)"}, {"frequencies": "((0, 0.25),)", "width": 0.2}),
        "from_data": ({}, {"exponent": 0.5, "floor": 0.3, "power": "SPECTRUM"}),
        "file": ({"file": "SPECTRUM"}, {"file": "STEEPER"}),
        "product": (TWO, {"members": "power_law:alpha=-0.3, two_band"}),
        "mixture": (
            {**TWO, "weights": "(3, 1)"},
            {"weights": "(1, 5)", "members": "white, power_law:alpha=-0.3"},
        ),
        "complement": (
            {"members": "wedge:direction=(0,1):width=30"},
            {"members": "wedge:direction=(0,1):width=90"},
        ),
    },
    "schedule": {
        "linear_beta": ({}, {"beta_min": "0.005", "beta_max": 0.05, "num_steps": "300"}),
        "cosine": ({}, {}),
        "rectified_flow": ({}, {}),
        "edm": ({}, {"sigma_max": 9, "rho": 3}),
        "equal_snr": ({}, {"base": "rectified_flow", "include_dc": False, "spectrum": "WEIGHT"}),
        "flipped_snr": ({}, {"base": "rectified_flow", "spectrum": "WEIGHT"}),
        "shifted": ({"shift": "0.7"}, {"shift": "-1", "base": "rectified_flow"}),
        "blurring": ({}, {"base": "rectified_flow", "blur_max": 3, "blur_floor": 0.2}),
        "heat": ({}, {"blur_max": 3, "blur_min": 2, "noise": 0.2}),
        "shortest_path": ({}, {"spectrum": "WEIGHT"}),
        "moving": (
            {},
            {"base": "rectified_flow", "start": "power_law:alpha=0.5", "end": "power_law:alpha=-1"},
        ),
        "capped": (
            CAPPED,
            {
                "base": "rectified_flow",
                "levels": "(2,)",
                "corruption": "band_pass:bands=((0.2,0.9),)",
                "margin": 1,
            },
        ),
        "hierarchical": (
            {},
            {"base": "rectified_flow", "labels": "fine_first", "softness": 0.3},
        ),
        "learned": ({}, {"log_snr_max": 5, "log_snr_min": -3}),
        "learned_slope": ({}, {"slope": 1, "log_snr_max": 5, "log_snr_min": -3}),
    },
}
# Fields that move lines to copy and no picture, or nothing on pictures of images, and why.
NO_PICTURE = {
    ("noise", "notch", "hertz"): "sounds have Hz, images are refused; moved on a page of sounds",
    ("schedule", "capped", "data_spectrum"): "how the network's input is scaled, not the path",
    ("schedule", "capped", "restoring_share"): "the share of a batch that takes another path",
    (
        "schedule",
        "heat",
        "spectrum",
    ): "of it sampling starts; the way from the data does not know it",
    ("schedule", "learned", "knots"): "how freely training bends the path, which begins straight",
    ("schedule", "learned", "pieces"): "likewise",
}
# The controls that are no fields, by their names on the page; `press` is a button.
OTHERS = {
    "t": 0.3,
    "example": 5,
    "seed": 2,
    "of_data": False,
    "process": "tilted",
    "basis": "cosine",
    "band": "noise in it alone",
    "low": 0.3,
    "high": 0.6,
    "holes": 1,
    "margin": 3,
    "write": "press",
    "count": 4,
    "steps": 6,
    "method": "heun",
    "sample_seed": 3,
    "draw": "press",
    "step": 2,
    "noise-kind": "colour",
    "schedule-kind": "rectified_flow",
}

# Scripts for the page. What is drawn in a part of it:
DRAWN = "where => document.querySelector(where).querySelector('.sagd')?.innerHTML ?? ''"
REFUSAL = "() => document.querySelector('#message .wrong')?.innerText ?? ''"
# In words: what it says, its lines, and the controls that can be seen, with what is in them.
SHOWN = """() => {
  const text = where => document.querySelector(where)?.innerText ?? 'none';
  const value = one => [...one.querySelectorAll('input, textarea')]
    .filter(e => !['radio', 'checkbox'].includes(e.type) || e.checked).map(e => e.value)[0] ?? 'off';
  const shown = [...document.querySelectorAll('.block[id]')].filter(e => e.checkVisibility()
    && e.querySelector('input, textarea'));
  return {
    message: text('#message'), captions: text('#pictures').replace(/\\s+/g, ' ').slice(0, 300),
    lines: text('#config_lines'), controls: shown.map(e => `${e.id}=${value(e)}`).join(', '),
  };
}"""


def every_field():
    """(section, kind, field) of all that can be set."""
    return {(s, k, f) for s, table in SECTIONS.items() for k in table for f in own_fields(s, k)}


def moved_fields():
    return {(s, k, f) for s, table in FIELDS.items() for k, (_, own) in table.items() for f in own}


def names_on(page):
    """The names of all controls of a page of gradio; what has none is `None`."""
    import gradio as gr

    controls = (
        gr.Slider,
        gr.Dropdown,
        gr.Radio,
        gr.Checkbox,
        gr.CheckboxGroup,
        gr.Number,
        gr.Textbox,
    )
    found = [b for b in page.blocks.values() if isinstance(b, (*controls, gr.Button))]
    return [b.elem_id for b in found if b.visible != "hidden"]


def fields_of_images():
    """Smooth fields of 8x8 with a wave, half of them said to be corrupted."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 8, 8, 1)).cumsum(1).cumsum(2) / 10
    x += np.cos(np.pi / 2 * np.arange(8) + rng.uniform(0, 7, (64, 1)))[:, None, :, None]
    source = ArraySource(x.astype(np.float32), value_range=(-1, 1), kind="field")
    source.kinds = 1 - np.arange(64) % 2
    return source


def fields_with_a_line():
    """White fields of 16x16 with a wave that stands out of them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 16, 16, 1))
    x += np.cos(np.pi / 2 * np.arange(16) + rng.uniform(0, 7, (100, 1)))[:, None, :, None]
    return ArraySource((x / 5).astype(np.float32), value_range=(-1, 1), kind="field")


def with_files(needed, moved, folder):
    """Both, with files for the words that stand for them: spectra of the half grid, a weight of the whole."""
    radius = radial_frequency((8, 8), "cycles")[..., None]
    files = {"SPECTRUM": np.exp(-5 * radius), "STEEPER": np.exp(-9 * radius)}
    files["WEIGHT"] = 0.5 + 3 * fourier((8, 8)).radius.reshape(8, 8, 1)
    paths = {name: str(folder / f"{name}.npy") for name in files}
    for name, values in files.items():
        np.save(paths[name], values)
    return tuple({f: paths.get(str(v), v) for f, v in fields.items()} for fields in (needed, moved))
