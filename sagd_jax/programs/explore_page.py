"""The page of the explorer: controls made from the tables of kinds, and what answers them.

Every answer is a function of the page's values alone (`explored_*.py`); what a person has drawn from a checkpoint is
kept in that person's session. So people do not mix. A value that is none gives one line, and the pictures stay,
greyed, until it is mended.
"""

from __future__ import annotations

import html
import os
import sys
import traceback
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from sagd_jax.diffusion.samplers import METHODS
from sagd_jax.programs import explored_lines as lines
from sagd_jax.programs import explored_pictures as drawn
from sagd_jax.programs.explore_controls import AS_IT_IS, Controls, as_text, basis_to_begin_with
from sagd_jax.programs.explore_style import CSS, DRAG, TYPED
from sagd_jax.programs.explored import Explorer
from sagd_jax.programs.explored_choice import (
    BAND_USES,
    PROCESSES,
    SECTIONS,
    allowed_bases,
    own_fields,
    read,
)
from sagd_jax.programs.explored_samples import MOST_SAMPLES, MOST_STEPS, Trajectories, picture
from sagd_jax.show import svg
from sagd_jax.system import schema
from sagd_jax.system.errors import ForPeople, one_line
from sagd_jax.system.late import optional


def build(explorer: Explorer) -> tuple[Any, dict[str, Any]]:
    """The page, and what it has to be launched with (`theme`, `css`).

    Raises:
      MissingExtraError: gradio is not installed.
    """
    # Gradio reads it when it is imported; nothing is to leave the machine.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    with optional("the explorer"):
        import gradio as gr

    theme = gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    with gr.Blocks(title="sagd explore", analytics_enabled=False) as page:
        _Page(gr, explorer).fill(page)
    return page, {"theme": theme, "css": CSS}


class _Page:
    """The controls, by the names that `read` knows, and their wiring."""

    def __init__(self, gr: Any, explorer: Explorer) -> None:
        self._gr, self._explorer = gr, explorer
        self._controls = Controls(gr, explorer)
        self._trajectories: Trajectories | None = None
        self._no_samples = "begin with --workdir to draw samples from its checkpoint"
        if explorer.run:
            try:
                self._trajectories = Trajectories(explorer.run)
            except schema.ConfigError as error:  # all else can be explored
                self._no_samples = str(error)

    def fill(self, page: Any) -> None:
        gr = self._gr
        gr.HTML(f'<div style="font-size: 14px"><b>sagd explore</b> {self._about()}</div>')
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                self._controls.add_all()
            with gr.Column(scale=4, min_width=640):
                self._message = gr.HTML('<div class="fine">...</div>', elem_id="message")
                self._pictures = gr.HTML(
                    '<div class="sagd"><p>The first pictures take some seconds.</p></div>',
                    elem_id="pictures",
                    js_on_load=DRAG + TYPED,
                )
                with gr.Tabs():
                    with gr.Tab("Lines to copy"):
                        self._add_lines()
                    with gr.Tab("What stands out of the data") as self._tab:
                        self._add_findings()
                    with gr.Tab("Samples, step by step"):
                        self._add_samples()
        self._wire(page)

    def _about(self) -> str:
        source, config = self._explorer.source, self._explorer.config
        words = f"{len(source):,} examples of shape {tuple(source.shape)} ({config.data.name})"
        if self._explorer.run:
            words += f"; samples from step {self._explorer.run.step}"
        left = [
            name
            for name, there in (
                ("config.corrupted_noise", config.corrupted_noise.kind != "same"),
                ("config.noise.per_class", config.noise.per_class),
            )
            if there
        ]
        return html.escape(words + (f"; not shown: {', '.join(left)}" if left else ""))

    def _add_lines(self) -> None:
        gr = self._gr
        with gr.Column(elem_id="lines"):
            with gr.Row():
                self._config = gr.Code(
                    language="python", label="In a config file", elem_id="config_lines", lines=4
                )
                self._python = gr.Code(
                    language="python", label="In Python", elem_id="python_lines", lines=4
                )
            self._flags = gr.Code(
                language="shell", label="As flags of sagd train", elem_id="flags", lines=1
            )
        with gr.Row():
            self._write = gr.Button(
                "Write the file of the holes", elem_id="write", size="sm", scale=0, min_width=220
            )
            self._written = gr.HTML("", elem_id="written")

    def _add_findings(self) -> None:
        gr = self._gr
        self._controls.by_name["holes"] = gr.CheckboxGroup(
            [], label="Take into a hole in the noise", elem_id="holes"
        )
        self._controls.by_name["margin"] = self._controls.slider(
            "margin", "Margin of the holes, in bins", 1, (0, 5, 0.5), visible=False
        )
        self._found = gr.HTML(
            '<div class="sagd"><p>Looking at the data; it may take a minute.</p></div>',
            elem_id="found",
        )

    def _add_samples(self) -> None:
        gr = self._gr
        if self._trajectories is None:
            gr.HTML(f'<div class="sagd"><p>{html.escape(self._no_samples)}</p></div>')
            return
        gr.HTML(
            '<div class="sagd"><p>By the process that the checkpoint was trained with, whatever is chosen '
            "at the left; the same as sagd sample draws.</p></div>"
        )
        with gr.Row():
            count = self._controls.slider("count", "Samples", 16, (1, MOST_SAMPLES, 1))
            steps = self._controls.slider("steps", "Steps", 25, (1, MOST_STEPS, 1))
            method = gr.Dropdown(list(METHODS), value="ddim", label="Method", elem_id="method")
            seed = gr.Number(0, label="Seed", precision=None, elem_id="sample_seed")
        button = gr.Button("Draw", elem_id="draw")
        step = self._controls.slider("step", "After step", 25, (0, 25, 1), interactive=True)
        shown = gr.HTML("", elem_id="samples")
        states = gr.State(None)
        button.click(
            self._draw, [seed, count, steps, method], [self._message, states, step, shown],
            api_visibility="private", concurrency_limit=1,
        )  # fmt: skip
        step.input(
            self._step, [states, step], [self._message, shown], queue=False, show_progress="hidden",
            trigger_mode="always_last", api_visibility="private",
        )  # fmt: skip

    def _wire(self, page: Any) -> None:
        gr, controls = self._gr, self._controls.by_name
        values = list(controls.values())
        outputs = [
            self._message,
            self._pictures,
            self._config,
            self._python,
            self._flags,
            self._written,
        ]
        quiet: dict[str, Any] = {
            "queue": False,
            "show_progress": "hidden",
            "api_visibility": "private",
        }
        kind_controls = [controls["noise.kind"], controls["schedule.kind"]]
        # What sets controls ends in it. All pictures come by the one listener below, one at a time: of several
        # an early answer could come last.
        again = gr.Textbox("", visible="hidden", elem_id="again")
        triggers = [page.load, again.change]
        for name, control in controls.items():
            if control in kind_controls:
                continue
            typed = name in self._controls.typed
            triggers += [control.submit, control.blur] if typed else [control.input]
        gr.on(triggers, self._show, values, outputs, trigger_mode="always_last", **quiet)
        fields = [name for name in controls if "." in name and not name.endswith(".kind")]
        shown = [*(controls[name] for name in fields), controls["basis"], again]
        gr.on(
            [control.input for control in kind_controls],
            self._of_kinds(fields),
            [*kind_controls, controls["basis"]],
            shown,
            **quiet,
        )
        self._controls.process.input(
            self._of_process(fields), [self._controls.process], [*kind_controls, *shown], **quiet
        )
        band = [controls["low"], controls["high"], controls["band"]]
        controls["band"].input(
            lambda use: [gr.update(visible=use != BAND_USES[0])] * 2, band[2:], band[:2], **quiet
        )
        controls["holes"].input(
            lambda holes: gr.update(visible=bool(holes)),
            [controls["holes"]],
            controls["margin"],
            **quiet,
        )
        self._pictures.select(self._dragged(), [controls["band"]], [*band, again], **quiet)
        found: dict[str, Any] = {"inputs": values, **quiet}
        # Only when asked for: while it looks, sliders answer late.
        self._tab.select(self._find, outputs=[controls["holes"], self._found, again], **found)
        gr.on(
            [controls["holes"].input, controls["margin"].input],
            lambda *now: self._find(*now)[1],
            outputs=self._found,
            trigger_mode="always_last",
            **found,
        )
        self._write.click(self._write_holes, values, self._written, **quiet)

    # What answers. Arguments are the page's values, in the order of the controls.

    def _choice(self, values: Sequence[Any]) -> Any:
        return read(dict(zip(self._controls.by_name, values, strict=True)), self._explorer.config)

    def _show(self, *values: Any) -> tuple[Any, ...]:
        def made() -> tuple[Any, ...]:
            choice = self._choice(values)
            return (
                '<div class="fine">drag over the spectrum to choose a band of frequencies</div>',
                drawn.page(self._explorer, choice),
                lines.config_lines(self._explorer, choice),
                lines.python_lines(self._explorer, choice),
                lines.flags(self._explorer, choice),
                "",
            )

        return self._answered(made, 6)

    def _find(self, *values: Any) -> tuple[Any, ...]:
        gr = self._gr
        try:
            choice = self._choice(values)
            found, words = drawn.findings(self._explorer, choice)
        except Exception as error:
            words = f'<div class="sagd"><p>{html.escape(_words(error))}</p></div>'
            return gr.skip(), words, gr.skip()
        return gr.update(choices=found), words, _new()

    def _write_holes(self, *values: Any) -> str:
        try:
            path = self._explorer.write_holes(self._choice(values))
        except Exception as error:
            return _wrong(_words(error))
        said = f"written: {path}" if path else "there are no holes: take a finding into one first"
        return f'<div class="sagd"><p>{html.escape(said)}</p></div>'

    def _dragged(self) -> Callable[..., Any]:
        """Sets the band to what was dragged over; without a use yet, noise is taken out of it."""

        def dragged(band: str, event: Any) -> tuple[Any, ...]:
            low, high = (round(float(event._data[name]), 4) for name in ("low", "high"))
            ends = [self._gr.update(value=end, visible=True) for end in (low, high)]
            return *ends, BAND_USES[1] if band == BAND_USES[0] else band, _new()

        # Gradio gives the event to the argument of this type.
        dragged.__annotations__ = {"event": self._gr.EventData}
        return dragged

    def _of_kinds(self, fields: list[str]) -> Callable[..., Any]:
        """Shows the fields of the kinds, and the bases that both can have."""

        def changed(noise: str, schedule: str, basis: str) -> list[Any]:
            gr = self._gr
            visible = {f"noise.{n}" for n in own_fields("noise", noise)}
            visible |= {f"schedule.{n}" for n in own_fields("schedule", schedule)}
            updates = [gr.update(visible=name in visible) for name in fields]
            return [*updates, self._basis_update(noise, schedule, basis), _new()]

        return changed

    def _basis_update(self, noise: str, schedule: str, basis: str) -> Any:
        allowed = allowed_bases(noise, schedule)
        value = basis if basis in allowed else (allowed or ["fourier"])[0]
        return self._gr.update(choices=allowed or ["fourier"], value=value, visible=bool(allowed))

    def _of_process(self, fields: list[str]) -> Callable[..., Any]:
        """Sets kinds and fields to those of a process, others to what was given."""

        def changed(name: str) -> list[Any]:
            gr, config = self._gr, self._explorer.config
            if name == AS_IT_IS:
                process: dict[str, Any] = {
                    "noise": {"kind": config.noise.kind},
                    "schedule": {"kind": config.schedule.kind},
                    "basis": basis_to_begin_with(config),
                }
            else:
                process = PROCESSES[name]
            updates = [gr.update(value=process[section]["kind"]) for section in SECTIONS]
            for field in fields:
                section, own = field.split(".")
                kind = process[section]["kind"]
                value = process[section].get(own, getattr(getattr(config, section), own))
                if not isinstance(value, bool | int | float):
                    value = as_text(value)
                updates.append(gr.update(value=value, visible=own in own_fields(section, kind)))
            kinds_ = (process["noise"]["kind"], process["schedule"]["kind"])
            return [*updates, self._basis_update(*kinds_, process["basis"]), _new()]

        return changed

    def _draw(self, seed: Any, count: Any, steps: Any, method: str) -> tuple[Any, ...]:
        def made() -> tuple[Any, ...]:
            assert self._trajectories is not None
            whole = {
                name: schema.checked(_whole(value), int, {}, name)
                for name, value in (("seed", seed), ("samples", count), ("steps", steps))
            }
            states = self._trajectories.draw(
                whole["seed"], whole["samples"], whole["steps"], method
            )
            last = len(states) - 1
            return (
                '<div class="fine">drawn</div>',
                states,
                self._gr.update(maximum=last, value=last),
                self._picture(states, last),
            )

        return self._answered(made, 4)

    def _step(self, states: Any, step: Any) -> tuple[Any, ...]:
        def made() -> tuple[Any, ...]:
            if states is None:
                raise schema.ConfigError("nothing has been drawn yet: press Draw")
            rule = {"low": 0, "high": len(states) - 1}
            number = schema.checked(_whole(step), int, rule, "step")
            return '<div class="fine">drawn</div>', self._picture(states, number)

        return self._answered(made, 2)

    def _picture(self, states: Any, step: int) -> str:
        words = f"after step {step} of {len(states) - 1}"
        image = svg.image(picture(self._explorer.run, states, step), words)  # type: ignore[arg-type]
        return f'<div class="sagd drawn">{image}</div>'

    def _answered(self, made: Callable[[], tuple[Any, ...]], count: int) -> tuple[Any, ...]:
        """What `made` gives, or a message and everything else as it was."""
        try:
            return made()
        except Exception as error:
            return (_wrong(_words(error)), *(self._gr.skip() for _ in range(count - 1)))


def _new() -> str:
    """A text like no other before."""
    return uuid.uuid4().hex


def _wrong(text: str) -> str:
    return f'<div class="wrong">{html.escape(text)}</div>'


def _words(error: Exception) -> str:
    """One line for people; what is no fault of theirs goes to the terminal, whole."""
    if not isinstance(error, ForPeople | ValueError | OSError):
        traceback.print_exception(error, file=sys.stderr)
        return f"a fault of the explorer, its traceback is in the terminal: {one_line(error, 200)}"
    return one_line(error, 400)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value == int(value) else value
