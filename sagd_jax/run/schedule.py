"""The section `config.schedule`, and the schedule that it describes.

Scalar schedules have their names and fields in `diffusion/schedules/scalar.py`. Those of this file have a
coefficient per coordinate: they need a grid, and most of them the data's spectrum, labels or a shift, which
are estimated or read once. A checkpoint stores these arrays as they were given, so that it can be opened
without the data and goes through the same checks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from sagd_jax.diffusion import schedules
from sagd_jax.diffusion.schedules import Capped, Schedule
from sagd_jax.run import corruption as run_corruption
from sagd_jax.run.noise import DATA, Signals, from_text, read_on_grid
from sagd_jax.spectral import bases
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.diagonal import from_coefficients
from sagd_jax.spectral.stacks import CovarianceStack
from sagd_jax.system import kinds
from sagd_jax.system.schema import ConfigError, Free, OrImportPath, field

STORED = "schedule_"  # before the name of an array in a checkpoint
_WHERE = "config.schedule"


@dataclasses.dataclass
class Inputs:
    """What a spectral schedule is made from, and which of it a checkpoint has to hold.

    Attributes:
      signals: their sizes and, before a run starts, their source.
      covariance: of `config.noise`.
      stored: arrays of a checkpoint, from which it is made again; None: made for the first time.
      used: the arrays that it was made from, float32, by their names in a checkpoint.
    """

    signals: Signals
    covariance: Covariance | CovarianceStack | None = None
    stored: dict[str, np.ndarray] | None = None
    used: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array of the checkpoint, or one made now."""
        key = STORED + name
        if self.stored is None:
            values = np.asarray(make(), np.float32)
        elif key in self.stored:
            values = np.asarray(self.stored[key])
        else:
            raise ConfigError(f"{_WHERE}: the checkpoint has no array {key!r}")
        self.used[key] = values
        return values

    def basis(self, name: str) -> Basis:
        """The basis of this name on the signals' grid."""
        return bases.KINDS[name](self.signals.spatial_shape)

    def spectrum(self, given: str, basis: Basis) -> np.ndarray:
        """S of the data on the grid of a basis: estimated from the data, or from a file."""

        def make() -> np.ndarray:
            if given != DATA:
                return _read(self, "spectrum", given, basis)
            if self.signals.source is None:
                raise ConfigError(f"{_WHERE}.spectrum={DATA!r}: there is no data here; give a file")
            values = self.signals.spectrum(basis)
            # Coordinates in which the data never change would ask for infinite ratios.
            return np.maximum(values, 1e-6 * values.max())

        return self.array("spectrum", make)


def _equal_snr(inputs: Inputs, base: str, basis: str, spectrum: str, include_dc: bool) -> Schedule:
    coordinates = inputs.basis(basis)
    values = inputs.spectrum(spectrum, coordinates)
    return schedules.equal_snr(_base(base), values, coordinates, include_dc)


def _flipped_snr(inputs: Inputs, base: str, basis: str, spectrum: str) -> Schedule:
    coordinates = inputs.basis(basis)
    return schedules.flipped_snr(_base(base), inputs.spectrum(spectrum, coordinates), coordinates)


def _shifted(inputs: Inputs, base: str, basis: str, shift: str | None) -> Schedule:
    coordinates = inputs.basis(basis)

    def make() -> np.ndarray:
        try:
            return np.full((*coordinates.spatial_shape, 1), float(shift or ""))
        except ValueError:  # no number, but a file
            return _read(inputs, "shift", shift, coordinates)

    values = inputs.array("shift", make)
    return schedules.shifted(_base(base), values, coordinates)


def _blurring(
    inputs: Inputs, base: str, blur_basis: str, blur_max: float, blur_floor: float
) -> Schedule:
    return schedules.blurring(_base(base), inputs.basis(blur_basis), blur_max, blur_floor)


def _heat(
    inputs: Inputs, blur_basis: str, blur_max: float, blur_min: float, noise: float, spectrum: str
) -> Schedule:
    coordinates = inputs.basis(blur_basis)
    values = inputs.spectrum(spectrum, coordinates)
    mean = inputs.array("mean", lambda: _mean_of(inputs, coordinates))
    return schedules.heat(coordinates, blur_max, noise, blur_min, values, mean)


def _shortest_path(inputs: Inputs, basis: str, spectrum: str) -> Schedule:
    coordinates = inputs.basis(basis)
    return schedules.shortest_path(inputs.spectrum(spectrum, coordinates), coordinates)


def _moving(inputs: Inputs, base: str, basis: str, start: str, end: str) -> Schedule:
    coordinates = inputs.basis(basis)

    def made(name: str, text: str) -> Covariance:
        values = inputs.array(name, lambda: _member(inputs, name, text, coordinates))
        return from_coefficients(values, coordinates)

    return schedules.moving(_base(base), made("start", start), made("end", end))


def _hierarchical(inputs: Inputs, base: str, basis: str, labels: str, softness: float) -> Schedule:
    coordinates = inputs.basis(basis)

    def make() -> np.ndarray:
        if labels in ("coarse_first", "fine_first"):
            return coordinates.radius * (1 if labels == "fine_first" else -1)
        return _read(inputs, "labels", labels, coordinates)

    return schedules.hierarchical(_base(base), inputs.array("labels", make), softness, coordinates)


def _learned(
    inputs: Inputs, basis: str, knots: int, pieces: int, log_snr_max: float, log_snr_min: float
) -> Schedule:
    # Its path is among the parameters of a checkpoint.
    return schedules.learned(
        inputs.basis(basis),
        knots=knots,
        pieces=pieces,
        log_snr_max=log_snr_max,
        log_snr_min=log_snr_min,
    )


def _learned_slope(
    inputs: Inputs, basis: str, slope: float, log_snr_max: float, log_snr_min: float
) -> Schedule:
    return schedules.learned_slope(
        inputs.basis(basis),
        log_snr_max=log_snr_max,
        log_snr_min=log_snr_min,
        path=np.array([slope]),
    )


def _capped(
    inputs: Inputs,
    base: str,
    basis: str,
    corruption: tuple[str, ...],
    levels: tuple[float, ...],
    margin: float,
    restoring_share: float,
    data_spectrum: str,
) -> Schedule:
    coordinates, signals = inputs.basis(basis), dataclasses.replace(inputs.signals, where=_WHERE)
    values = inputs.array(
        "corruption",
        lambda: run_corruption.variances(signals, coordinates, basis, corruption, levels),
    )
    if not isinstance(inputs.covariance, Covariance):
        raise ConfigError(f"{_WHERE}.kind='capped': it needs the one covariance of config.noise")
    made = schedules.capped(
        _base(base),
        inputs.covariance,
        values,
        margin,
        basis=coordinates,
        restoring=restoring_share > 0,
        spectrum=_of_clean(inputs, data_spectrum, values, coordinates) if data_spectrum else None,
    )
    if not isinstance(made, Capped):  # nothing is corrupted
        return made

    def count() -> np.ndarray:
        if signals.source is None:
            raise ConfigError(f"{_WHERE}.kind='capped': there is no data here")
        return run_corruption.counts(signals.source, made.kinds - 1, _WHERE)

    number = inputs.array("counts", count)
    if number.shape != (made.kinds, 1) or not (np.all(number >= 0) and np.any(number > 0)):
        raise ConfigError(f"{_WHERE}: counts of shape {number.shape}; expected one per kind, >= 0")
    if restoring_share and not number[0, 0]:
        raise ConfigError(
            f"{_WHERE}.restoring_share={restoring_share:g}: the restoring path is learned from clean (or "
            "restored) examples, and there are none; expected 0"
        )
    return made.at(run_corruption.sampled_kind(made, number))


def _of_clean(inputs: Inputs, given: str, corruption: np.ndarray, basis: Basis) -> np.ndarray:
    """S of (28b), the clean data's mean square: estimated from the data and N, or from a file."""

    def make() -> np.ndarray:
        if given != DATA:
            return _read(inputs, "data_spectrum", given, basis)
        if inputs.signals.source is None:
            raise ConfigError(
                f"{_WHERE}.data_spectrum={DATA!r}: there is no data here; give a file"
            )
        return run_corruption.clean_spectrum(inputs.signals, basis, corruption)

    return inputs.array("data_spectrum", make)


_SCALAR = tuple(schedules.KINDS)
_LOG_SNR_MAX = field(13.3, "log-SNR at t = 0", low=-30, high=30)
_LOG_SNR_MIN = field(-8.0, "log-SNR at t = 1", low=-30, high=30)
_BASE = field("cosine", "the scalar schedule that it is made of", choices=_SCALAR)
_BASIS = field("fourier", "its coordinates", choices=tuple(bases.KINDS))
_BLUR_BASIS = field("cosine", "its coordinates", choices=("cosine", "fourier"))
_BLUR_MAX = field(20.0, "width of the blur at t = 1, in sites", above=0)
_SPECTRUM = field(
    DATA, "a .npy of the data's variance per coordinate; data: estimated from the run's own"
)
SPECTRAL_KINDS = {
    "equal_snr": kinds.kind(
        _equal_snr,
        base=_BASE,
        basis=_BASIS,
        spectrum=_SPECTRUM,
        include_dc=field(True, "whether the constant counts in the mean of the spectrum"),
    ),
    "flipped_snr": kinds.kind(_flipped_snr, base=_BASE, basis=_BASIS, spectrum=_SPECTRUM),
    "shifted": kinds.kind(
        _shifted,
        base=_BASE,
        basis=_BASIS,
        shift=field(
            None, "what is added to the log-SNR: a .npy, or one number for all", hint=str | None
        ),
    ),
    "blurring": kinds.kind(
        _blurring,
        base=_BASE,
        blur_basis=_BLUR_BASIS,
        blur_max=_BLUR_MAX,
        blur_floor=field(1e-3, "what blur leaves of an amplitude", above=0, below=1),
    ),
    "heat": kinds.kind(
        _heat,
        blur_basis=_BLUR_BASIS,
        blur_max=_BLUR_MAX,
        blur_min=field(0.5, "width of the blur just after t = 0", above=0),
        noise=field(0.02, "standard deviation of the noise", above=0),
        spectrum=_SPECTRUM,
    ),
    "shortest_path": kinds.kind(_shortest_path, basis=_BASIS, spectrum=_SPECTRUM),
    "moving": kinds.kind(
        _moving,
        base=_BASE,
        basis=_BASIS,
        start=field("white", "noise near the data: a kind with its fields, power_law:alpha=-0.5"),
        end=field("white", "noise at t = 1, likewise"),
    ),
    "capped": kinds.kind(
        _capped,
        base=_BASE,
        basis=_BASIS,
        corruption=field(
            (),
            "variance N of the corruption, of each kind: a .npy or .npz, a spectrum with its fields such as "
            "band_pass:bands=((0.4,0.6),), or planted: what config.data.corruption adds",
            hint=tuple[str, ...],
        ),
        levels=field(
            (),
            "what each kind's N is multiplied by; of a spectrum it is the mean variance",
            low=0,
            hint=tuple[float, ...],
        ),
        margin=field(0.1, "of the levels above N, relative to it", above=0),
        restoring_share=field(
            0.0,
            "share of a batch that is clean examples on the way from data to corrupted example, for "
            "restoring by draws",
            low=0,
            below=1,
        ),
        data_spectrum=field(
            "",
            "by which the network is preconditioned in each coordinate: data, estimated from the run's own less N, or "
            "a .npy of the clean data's mean square; empty: not",
        ),
    ),
    "hierarchical": kinds.kind(
        _hierarchical,
        base=_BASE,
        basis=_BASIS,
        labels=field(
            "coarse_first", "what is made first: coarse_first, fine_first or a .npy of labels"
        ),
        softness=field(1.0, "a coordinate's own time over the delay of the last", above=0),
    ),
    "learned": kinds.kind(
        _learned,
        basis=_BASIS,
        knots=field(6, "radii that have paths of their own", low=1, high=1024),
        pieces=field(8, "lines that a path is made of", low=1, high=1024),
        log_snr_max=_LOG_SNR_MAX,
        log_snr_min=_LOG_SNR_MIN,
    ),
    "learned_slope": kinds.kind(
        _learned_slope,
        basis=_BASIS,
        slope=field(0.0, "alpha that it begins with", low=-4, high=4),
        log_snr_max=_LOG_SNR_MAX,
        log_snr_min=_LOG_SNR_MIN,
    ),
}
SCHEDULE_KINDS = {**schedules.KINDS, **SPECTRAL_KINDS}


@dataclasses.dataclass(frozen=True)
@kinds.of_kinds(SCHEDULE_KINDS)
class ScheduleConfig:
    """alpha_t and sigma_t: scalars, or with a coefficient per coordinate."""

    kind: str = field("cosine", "schedule", choices=OrImportPath(SCHEDULE_KINDS))
    options: Free = kinds.own_options()


def make(config: ScheduleConfig, inputs: Inputs | None = None) -> Schedule:
    """The schedule that the section describes; a scalar one needs no inputs.

    Raises:
      ConfigError, ValueError: one line saying what cannot be made.
    """
    if config.kind in SPECTRAL_KINDS:
        if inputs is None:
            raise ConfigError(f"{_WHERE}.kind={config.kind!r}: it is made for signals of some size")
        return kinds.make(SPECTRAL_KINDS, config, inputs)
    return kinds.make(schedules.KINDS, config)


def _base(name: str) -> Schedule:
    return schedules.KINDS[name].make()


def _read(inputs: Inputs, name: str, file: str | None, basis: Basis) -> np.ndarray:
    return read_on_grid(dataclasses.replace(inputs.signals, where=_WHERE), name, file, basis)


def _mean_of(inputs: Inputs, basis: Basis) -> np.ndarray:
    """The data's mean in coordinates: of each channel, hence in the constant's alone."""
    if inputs.signals.source is None:
        raise ConfigError(
            f"{_WHERE}.kind='heat': its start needs the mean of the data; there are none"
        )
    means = inputs.signals.means()
    state = np.zeros((*basis.spatial_shape, len(means)))
    state[(0,) * len(basis.spatial_shape)] = means * math.sqrt(math.prod(basis.spatial_shape))
    return state


def _member(inputs: Inputs, name: str, text: str, basis: Basis) -> np.ndarray:
    covariance = from_text(text, dataclasses.replace(inputs.signals, where=f"{_WHERE}.{name}"))
    return np.asarray(covariance.coefficients(basis))
