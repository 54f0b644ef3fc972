"""Figures: arrays and processes in, a matplotlib figure out; nothing is written or shown.

`figure.savefig("x.png")` writes one, and a notebook shows it by itself. Matplotlib is the extra `pictures`
and is imported when something is drawn. Where panels are compared they have one scale, and colours are told
apart by all readers (`show/palette.py`).
"""

from __future__ import annotations

from sagd_jax.show.plots.bands import band_errors
from sagd_jax.show.plots.clip import contact_sheet, write_gif
from sagd_jax.show.plots.forward import forward_process, processes
from sagd_jax.show.plots.grids import class_grid, side_by_side
from sagd_jax.show.plots.levels import basis_of, log_snr_map, process_map
from sagd_jax.show.plots.noise import noise_fields
from sagd_jax.show.plots.radial import draw_profiles, radial_spectra
from sagd_jax.show.plots.sound import spectrograms
from sagd_jax.show.plots.spectrum_tool import data_spectrum, plot_spectrum
from sagd_jax.show.plots.toy import score_fields, trajectories

__all__ = [
    "band_errors",
    "basis_of",
    "class_grid",
    "contact_sheet",
    "data_spectrum",
    "draw_profiles",
    "forward_process",
    "log_snr_map",
    "noise_fields",
    "plot_spectrum",
    "process_map",
    "processes",
    "radial_spectra",
    "score_fields",
    "side_by_side",
    "spectrograms",
    "trajectories",
    "write_gif",
]
