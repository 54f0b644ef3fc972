"""Pictures of a learned path during training: the log-SNR over time and frequency, as it is then."""

from __future__ import annotations

import logging

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.diffusion.schedules import LearnedSchedule
from sagd_jax.run.denoiser import PATH
from sagd_jax.show import pictures
from sagd_jax.system.errors import reason
from sagd_jax.training.actions import Action, Moment, Parts

_ROWS, _COLUMNS, _CELL = 48, 96, 4

_log = logging.getLogger(__name__)


class PathPicture(Action):
    """Draws it into the folder `previews` as often as samples, and logs where data and noise are even.

    Time goes to the right, frequency down; white is data, black noise. The numbers are the times at which
    the log-SNR of the lowest and of the highest frequency falls below 0, and alpha of a learned slope.
    """

    doing = "drawing the path"

    def __init__(self, parts: Parts) -> None:
        schedule = parts.diffusion.schedule
        learns = isinstance(schedule, LearnedSchedule)
        self.every = parts.record.config.preview.every if learns else None
        self._schedule = schedule

    def __call__(self, moment: Moment) -> None:
        path = np.asarray(moment.state["ema"][PATH])
        levels = self.levels(path)
        even = [float(np.mean(row > 0)) for row in (levels[0], levels[-1])]
        values = {"path_even_lowest": even[0], "path_even_highest": even[1]}
        if path.size == 1:
            values["path_slope"] = float(path[0])
        moment.progress.note(moment.step, values)
        if not moment.is_first:
            return
        picture = self.picture(levels)
        file = moment.workdir / "previews" / f"path_{moment.step:08d}.png"
        try:
            pictures.write_png(file, picture)
        except OSError as error:
            _log.warning("%s could not be written: %s", file, reason(error))
        moment.progress.image("path", moment.step, picture)

    def levels(self, path: np.ndarray) -> np.ndarray:
        """The log-SNR over frequency, from low to high, and time: `(rows, columns)`."""
        schedule = self._schedule.with_path(path)  # type: ignore[attr-defined]
        order = np.argsort(schedule.basis.radius.ravel(), kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, _ROWS).round().astype(int)]
        times = jnp.linspace(0, 1, _COLUMNS)
        return np.asarray(jax.lax.map(lambda t: schedule.log_snr(t).ravel()[chosen], times)).T

    def picture(self, levels: np.ndarray) -> np.ndarray:
        """Grey values of the levels, uint8 `(height, width, 1)`."""
        low, high = self._schedule.log_snr_min, self._schedule.log_snr_max  # type: ignore[attr-defined]
        grey = np.clip((levels - low) / (high - low), 0, 1)
        cells = np.kron(np.round(255 * grey).astype(np.uint8), np.ones((_CELL, _CELL), np.uint8))
        return cells[..., None]
