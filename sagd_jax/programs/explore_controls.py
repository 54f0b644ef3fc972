"""The controls of the explorer, made from the tables of kinds: their fields, defaults, words and choices."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any

from sagd_jax.programs.explored import Explorer
from sagd_jax.programs.explored_choice import (
    BAND_USES,
    PROCESSES,
    SECTIONS,
    allowed_bases,
    basis_field,
    own_fields,
)
from sagd_jax.system import kinds, schema
from sagd_jax.system.schema import OrImportPath

AS_IT_IS = "(as given)"
# Ends and step of the sliders; other numbers are typed.
_RANGES: dict[str, tuple[float, float, float]] = {
    "alpha": (-2, 2, 0.01), "beta": (-20, 20, 0.1), "gamma_low": (0, 1, 0.01), "split": (0.02, 1, 0.01),
    "exponent": (0, 2, 0.01), "strength": (0, 2, 0.01), "discount": (0, 1, 0.01), "levels": (0, 8, 1),
    "white": (0.1, 4, 0.1), "time_axis": (0, 2, 1), "length": (0.5, 32, 0.1), "smoothness": (0.1, 5, 0.1),
    "width": (0, 180, 0.5), "sigma_max": (1, 160, 1), "rho": (1, 10, 0.1), "blur_max": (0.5, 64, 0.5),
    "blur_min": (0.05, 5, 0.05), "blur_floor": (0.001, 0.5, 0.001), "noise": (0.005, 0.5, 0.005),
    "softness": (0.05, 10, 0.05), "slope": (-4, 4, 0.02), "log_snr_max": (-30, 30, 0.1),
    "log_snr_min": (-30, 30, 0.1), "knots": (1, 32, 1), "pieces": (1, 32, 1), "margin": (0.01, 2, 0.01),
    "restoring_share": (0, 0.9, 0.05), "beta_max": (0.001, 0.1, 0.001),
}  # fmt: skip


class Controls:
    """The controls by the names that `explored_choice.read` knows.

    Attributes:
      by_name: of each, a component.
      typed: names of those whose text counts when it is finished.
      process: what sets many of them at once.
    """

    def __init__(self, gr: Any, explorer: Explorer) -> None:
        self._gr, self._explorer = gr, explorer
        self._slider = _slider_of_any_number(gr)
        self.by_name: dict[str, Any] = {}
        self.typed: set[str] = set()
        self.process: Any = None

    def add_all(self) -> None:
        """Adds those at the left of the page, where it is being made."""
        gr, config = self._gr, self._explorer.config
        self.process = gr.Dropdown(
            [AS_IT_IS, *PROCESSES],
            value=AS_IT_IS,
            label="Process",
            info="a place to begin",
            elem_id="process",
        )
        self.by_name["t"] = self.slider("t", "Time t", 0.5, (0, 1, 0.01))
        for section, title, words in (
            ("noise", "Spectrum of the noise", "its family"),
            ("schedule", "Schedule", "how data fade"),
        ):
            with gr.Group():
                start = getattr(config, section)
                own = [start.kind] if schema.is_import_path(start.kind) else []
                self.by_name[f"{section}.kind"] = gr.Dropdown(
                    [*SECTIONS[section], *own],
                    value=start.kind,
                    label=title,
                    info=words,
                    elem_id=f"{section}-kind",
                )
                for name in kinds.users(SECTIONS[section]):
                    if name not in ("basis", "blur_basis"):
                        self._add_field(section, name, start)
        choices = allowed_bases(config.noise.kind, config.schedule.kind)
        self.by_name["basis"] = gr.Radio(
            choices or ["fourier"],
            value=basis_to_begin_with(config),
            label="Basis",
            visible=bool(choices),
            elem_id="basis",
        )
        with gr.Group():
            self.by_name["band"] = gr.Radio(
                [
                    ("off", BAND_USES[0]),
                    ("no noise in it", BAND_USES[1]),
                    ("noise in it alone", BAND_USES[2]),
                ],
                value="off",
                label="Band",
                info="or drag over the spectrum",
                elem_id="band",
            )
            top = float(self._explorer.basis("fourier").radius.max())
            ends = (0.0, round(top + 0.005, 2), 0.002)
            # Until there is a band they would move nothing.
            for name, label, value in (
                ("low", "from (cycles per sample)", 0.1),
                ("high", "to", 0.2),
            ):
                self.by_name[name] = self.slider(name, label, value, ends, visible=False)
        with gr.Group():
            self.by_name["of_data"] = gr.Checkbox(
                True, label="Ratios of the data (off: of unit variance)", elem_id="of_data"
            )
            self.by_name["example"] = gr.Number(
                0, label="Example", precision=None, elem_id="example"
            )
            self.by_name["seed"] = gr.Number(
                0, label="Seed of the draw", precision=None, elem_id="seed"
            )

    def slider(
        self, name: str, label: str, value: float, ends: tuple[float, ...], **more: Any
    ) -> Any:
        low, high, step = ends
        low, high = min(low, value), max(high, value)
        return self._slider(
            low, high, step=step, value=value, label=label, elem_id=name, buttons=[], **more
        )

    def _add_field(self, section: str, name: str, start: Any) -> None:
        gr, table = self._gr, SECTIONS[section]
        users = kinds.users(table)[name]
        entry = table[users[0]]
        rule, hint, value = entry.fields[name].metadata, entry.hints[name], getattr(start, name)
        common: dict[str, Any] = {
            "label": name.replace("_", " "),
            "info": rule["doc"],
            "elem_id": f"{section}-{name}",
            "visible": name in own_fields(section, start.kind),
        }
        choices = rule["choices"]
        if choices is not None and not isinstance(choices, OrImportPath):
            control = gr.Dropdown(list(choices), value=value, **common)
        elif hint is bool:
            control = gr.Checkbox(value, **common)
        elif hint in (int, float) and name in _RANGES:
            del common["elem_id"], common["label"]
            label = name.replace("_", " ")
            control = self.slider(f"{section}-{name}", label, value, _RANGES[name], **common)
        else:
            control = gr.Textbox(as_text(value), max_lines=3, **common)
            self.typed.add(f"{section}.{name}")
        self.by_name[f"{section}.{name}"] = control


def _slider_of_any_number(gr: Any) -> Any:
    """A slider beyond whose ends one may type: it is for the config's own bounds to judge that, in its words.

    A class, since Gradio makes a slider anew from its class when it has been shown or hidden.
    """
    own = {"is_template": True, "preprocess": lambda self, payload: payload}
    # Not by a class statement, for which Gradio would write a stub into this folder.
    return ABCMeta.__new__(type(gr.Slider), "AnyNumber", (gr.Slider,), own)


def as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return repr(value)


def basis_to_begin_with(config: Any) -> str:
    for section in ("schedule", "noise"):
        own = getattr(config, section)
        name = basis_field(section, own.kind)
        if name is not None:
            return getattr(own, name)
    return "fourier"
