"""The sections `config.noise` and `config.corrupted_noise`, and the covariances that they describe.

All spectra of `spectral/spectra.py` and `spectral/named.py` have a name there, with the fields that
stand in their tables. The kinds of this file need more than a grid: a file, the data, a sample rate, or
other spectra. Those that are made of others name them by `members`, one line of text each: a kind and its
fields, such as `power_law:alpha=-0.5:basis=cosine`.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.data.files import Unreadable, read_npy
from sagd_jax.data.source import Source
from sagd_jax.run.estimates import channel_means_of, spectra_of_classes, spectrum_of
from sagd_jax.spectral import bases, combine, named, spectra
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.half_grid import half_grid_shape, whole_from_half
from sagd_jax.spectral.stacks import CovarianceStack, stack
from sagd_jax.system import kinds, schema
from sagd_jax.system.schema import ConfigError, Free, OrImportPath, field

MAKE_ANEW = "make it anew from them: python -m sagd_jax.spectrum --config=CONFIG --out=FOLDER"
DATA = "data"  # in place of a file: estimated from the run's own


@dataclasses.dataclass(frozen=True)
class Signals:
    """What a spectrum is made for.

    Attributes:
      spatial_shape: of the signals.
      sample_rate: per second along their first axis, time, where it is known.
      source: of the data, for spectra that are estimated from it.
      where: the section, for errors.
    """

    spatial_shape: tuple[int, ...]
    sample_rate: float | None = None
    source: Source | None = None
    where: str = "config.noise"

    def spectrum(self, basis: Basis) -> np.ndarray:
        """S of the source on the whole grid of a basis, as `spectrum_of` estimates it."""
        assert self.source is not None
        return spectrum_of(self.source, basis)

    def means(self) -> np.ndarray:
        """The mean of each channel of the source, `(channels,)`, as `channel_means_of` has it."""
        assert self.source is not None
        return channel_means_of(self.source)


def _wedge(
    signals: Signals,
    direction: tuple[float, ...],
    width: float,
    band: tuple[float, float] | None,
    unit: str,
) -> Covariance:
    if unit == "hz":
        raise ConfigError(
            f"{signals.where}.unit='hz': a wedge has no one sample rate; expected cycles, nyquist or max"
        )
    return spectra.wedge(signals.spatial_shape, direction, width, band, unit)


def _notch(
    signals: Signals, frequencies: tuple[tuple[float, ...], ...], width: float, hertz: bool
) -> Covariance:
    if hertz and signals.sample_rate is None:
        raise ConfigError(f"{signals.where}.hertz=True: this data has no sample rate")
    # Hz are of the first axis, time; others stay in cycles per sample.
    others = (1.0,) * (len(signals.spatial_shape) - 1)
    rates = (signals.sample_rate, *others) if hertz and signals.sample_rate else None
    return spectra.notch(signals.spatial_shape, frequencies, width, sample_rate=rates)


def _from_file(signals: Signals, file: str | None, basis: str) -> Covariance:
    return spectra.on_grid(_read(signals, "file", file, basis), signals.spatial_shape, basis)


def _from_data(
    signals: Signals, power: str, exponent: float, floor: float, basis: str
) -> Covariance:
    values = _power(signals, power, basis)
    return spectra.from_data(values, signals.spatial_shape, exponent, floor, basis=basis)


def _product(signals: Signals, members: tuple[str, ...]) -> Covariance:
    return combine.product(*_made_members(signals, members))


def _mixture(signals: Signals, members: tuple[str, ...], weights: tuple[float, ...]) -> Covariance:
    return combine.mixture(_made_members(signals, members), weights)


def _complement(signals: Signals, members: tuple[str, ...]) -> Covariance:
    if len(members) != 1:
        raise ConfigError(f"{signals.where}.members={members!r}: expected one, to be complemented")
    return combine.complement(*_made_members(signals, members))


_MEMBERS = field(
    (),
    "the spectra that it is made of, each a kind with its fields: power_law:alpha=-0.5",
    hint=tuple[str, ...],
)
_WIDTH = field(0.0, "wedge: full angle in degrees; notch: radius within which bins go", low=0)
# These are made for `Signals`, the others for a spatial shape.
_OWN_KINDS = {
    "wedge": kinds.kind(
        _wedge,
        direction=field(
            (), "of the frequencies, a number per axis; streaks lie across", hint=tuple[float, ...]
        ),
        width=_WIDTH,
        band=field(None, "(low, high) of the radius; None: all", hint=tuple[float, float] | None),
        unit=spectra.UNIT,
    ),
    "notch": kinds.kind(
        _notch,
        frequencies=field(
            (),
            "vectors of frequencies to remove, in cycles per sample",
            hint=tuple[tuple[float, ...], ...],
        ),
        width=_WIDTH,
        hertz=field(False, "whether frequencies of the first axis, time, are in Hz"),
    ),
    "from_data": kinds.kind(
        _from_data,
        power=field(
            DATA,
            "a .npy of the data's power, as sagd_jax.spectrum writes it; data: estimated from the "
            "run's own",
        ),
        exponent=field(1.0, "of the power; 1: equal signal-to-noise ratio, 0: white"),
        floor=field(1e-6, "smallest power, relative to the mean", low=0, high=1),
        basis=spectra.BASIS,
    ),
    "file": kinds.kind(
        _from_file,
        file=field(None, "a .npy spectrum for from_variance", hint=str | None),
        basis=spectra.BASIS,
    ),
    "product": kinds.kind(_product, members=_MEMBERS),
    "mixture": kinds.kind(
        _mixture,
        members=_MEMBERS,
        weights=field((), "shares of the energy, one per member", low=0, hint=tuple[float, ...]),
    ),
    "complement": kinds.kind(_complement, members=_MEMBERS),
}
_COMBINED = ("product", "mixture", "complement")
PER_CLASS = {"kind": ("from_data", "file")}
NOISE_KINDS = {**spectra.KINDS, **named.KINDS, **_OWN_KINDS}


@dataclasses.dataclass(frozen=True)
@kinds.of_kinds(NOISE_KINDS)
class NoiseConfig:
    """The covariance of the noise."""

    kind: str = field("white", "how the spectrum is given", choices=OrImportPath(NOISE_KINDS))
    options: Free = kinds.own_options()
    per_class: bool = field(
        False,
        "a covariance per class: of an array (classes, ...), or of its own data",
        only=PER_CLASS,
    )
    unit_draws: bool = field(
        False,
        "divide each draw by its own standard deviation, as the article's listing does: no longer "
        "Gaussian, to reproduce it",
    )


@dataclasses.dataclass(frozen=True)
class CorruptedNoiseConfig(NoiseConfig):
    """The covariance for examples that are flagged as corrupted, so that clean ones teach the band.

    Sampling uses `noise`, under which the clean examples are learned.
    """

    kind: str = field(
        "same",
        "how the spectrum is given; same: as noise",
        choices=OrImportPath(("same", *NOISE_KINDS)),
    )


def make(config: NoiseConfig, signals: Signals) -> Covariance:
    """The covariance that a section describes.

    Raises:
      ConfigError, ValueError: one line saying what cannot be made.
    """
    if config.per_class:
        raise ConfigError(f"{signals.where}.per_class=True: here all classes need one covariance")
    if config.kind in _OWN_KINDS:
        return kinds.make(NOISE_KINDS, config, signals)
    axis: dict[str, Any] = {}
    if kinds.options(NOISE_KINDS, config).get("unit") == "hz":
        axis = {"sample_rate": signals.sample_rate, "axes": (0,)}
    return kinds.make(NOISE_KINDS, config, signals.spatial_shape, **axis)


def make_stack(config: NoiseConfig, signals: Signals, num_classes: int) -> CovarianceStack:
    """The covariances of a section with `per_class`, one per class and in their order.

    Raises:
      ConfigError, ValueError: one line: no labels, or an array of another number of classes.
    """
    where, shape = signals.where, signals.spatial_shape
    if not num_classes:
        raise ConfigError(f"{where}.per_class=True: this data has no labels")
    options = kinds.options(NOISE_KINDS, config)
    basis = options["basis"]
    if config.kind == "from_data":
        name, values = "power", _power(signals, options["power"], basis, per_class=True)
    else:
        name, values = "file", _read(signals, "file", options["file"])
    if values.ndim not in (len(shape) + 1, len(shape) + 2):
        raise ConfigError(
            f"{where}.{name}: its array has {values.ndim} axes; expected classes first, then the grid"
        )
    if len(values) != num_classes:
        raise ConfigError(
            f"{where}.{name}: its spectra are of {len(values)} classes, the data has {num_classes}"
        )
    members = []
    for label, one in enumerate(values):
        try:
            if config.kind == "from_data":
                exponent, floor = options["exponent"], options["floor"]
                members.append(spectra.from_data(one, shape, exponent, floor, basis=basis))
            else:
                members.append(spectra.on_grid(one, shape, basis))
        except ValueError as error:
            raise ConfigError(f"{where}.{name}: class {label}: {error}") from error
    return stack(members)


def from_text(text: str, signals: Signals) -> Covariance:
    """The covariance of a kind and its fields in one line, such as `power_law:alpha=-0.5`.

    Raises:
      ConfigError: one line saying what cannot be made.
    """
    with schema.as_config_error(signals.where):
        return make(read_member(signals.where, text), signals)


def basis_of(config: NoiseConfig) -> str:
    """The name of the basis in which the covariance of a section is diagonal, and is stored.

    Raises:
      ConfigError: for members that are none.
    """
    if config.kind in _COMBINED:
        members = kinds.options(NOISE_KINDS, config)["members"]
        of_members = {basis_of(member) for member in _read_members("config.noise", members)}
        return next((name for name in sorted(of_members) if name != "fourier"), "fourier")
    if config.kind not in NOISE_KINDS:  # "same"
        return "fourier"
    return kinds.options(NOISE_KINDS, config).get("basis", "fourier")


def _read_members(where: str, members: tuple[str, ...]) -> list[NoiseConfig]:
    """The sections that lines of text stand for."""
    if not members:
        raise ConfigError(f"{where}.members=(): expected spectra, such as 'power_law:alpha=-0.5'")
    return [read_member(f"{where}.members[{i}]", text) for i, text in enumerate(members)]


def read_member(place: str, text: str) -> NoiseConfig:
    """The section that one line of text stands for, such as `power_law:alpha=-0.5`.

    Raises:
      ConfigError: one line, which begins with `place`.
    """
    # A colon may stand in the name of a file: only one before `name=` divides.
    hints = typing.get_type_hints(NoiseConfig)
    kind, *fields = re.split(r":(?=\s*\w+\s*=)", text)
    kind = kind.strip()
    simple = [name for name in NOISE_KINDS if name not in _COMBINED]
    if kind not in simple:
        raise ConfigError(
            f"{place}={text!r}: expected a kind and its fields, such as 'power_law:alpha=-0.5'; "
            f"kinds: {', '.join(simple)}"
        )
    values: dict[str, Any] = {"kind": kind}
    for part in fields:
        name, _, value = part.partition("=")
        values[name.strip()] = schema.parse(value.strip(), hints.get(name.strip()))
    for name in ("per_class", "unit_draws"):
        if name in values:
            raise ConfigError(f"{place}.{name}: it is said of the whole noise, not of a member")
    return schema.build(NoiseConfig, values, place)


def _made_members(signals: Signals, members: tuple[str, ...]) -> list[Covariance]:
    made = []
    for i, config in enumerate(_read_members(signals.where, members)):
        own = dataclasses.replace(signals, where=f"{signals.where}.members[{i}]")
        with schema.as_config_error(own.where):
            made.append(make(config, own))
    return made


def read_on_grid(signals: Signals, name: str, file: str | None, basis: Basis) -> np.ndarray:
    """The array of a file on the whole grid of a basis; of Fourier's, also from its half.

    Raises:
      ConfigError: one line saying what is wrong with the file.
    """
    shape = signals.spatial_shape
    values = _read(signals, name, file)
    half = half_grid_shape(shape)
    if isinstance(basis, bases.Fourier) and half in (values.shape, values.shape[:-1]):
        values = values if values.ndim > len(half) else values[..., None]
        return whole_from_half(values, shape)
    if shape not in (values.shape, values.shape[:-1]):
        raise ConfigError(
            f"{signals.where}.{name}={file!r}: shape {values.shape} is of other data than these, of "
            f"size {'x'.join(map(str, shape))}; {MAKE_ANEW}"
        )
    return values


def _read(signals: Signals, name: str, file: str | None, basis: str | None = None) -> np.ndarray:
    """The array of a file, which has to be of signals of this size if a basis is given."""
    where = f"{signals.where}.{name}={file!r}"
    if not file:
        raise ConfigError(f"{where}: expected the path of an .npy spectrum")
    try:
        values = np.array(read_npy(Path(file).expanduser()))
    except Unreadable as error:
        raise ConfigError(f"{where}: {error.why}") from None
    if values.dtype.kind not in "fiu":
        raise ConfigError(f"{where}: dtype {values.dtype}; expected real numbers")
    if not np.isfinite(values).all():
        raise ConfigError(f"{where}: some of its values are not finite; {MAKE_ANEW}")
    if basis is not None:
        shape = signals.spatial_shape
        grid = half_grid_shape(shape) if basis == "fourier" else shape
        if values.shape != grid and values.shape[:-1] != grid:
            raise ConfigError(
                f"{where}: shape {values.shape} is of other data than these, of size "
                f"{'x'.join(map(str, shape))}, whose spectra have shape "
                f"({', '.join(map(str, grid))}, 1 or channels); {MAKE_ANEW}"
            )
    return values


def _power(signals: Signals, power: str, basis: str, per_class: bool = False) -> np.ndarray:
    """Powers on the grid of a basis, from a file or the data."""
    if power != DATA:
        return _read(signals, "power", power, None if per_class else basis)
    if signals.source is None:
        raise ConfigError(
            f"{signals.where}.power={DATA!r}: there is no data here; give a .npy file"
        )
    coordinates = bases.KINDS[basis](signals.spatial_shape)
    with schema.as_config_error(f"{signals.where}.power={DATA!r}"):
        if per_class:
            values = spectra_of_classes(signals.source, coordinates)
        else:
            values = signals.spectrum(coordinates)
    if basis == "fourier":
        return values[..., : signals.spatial_shape[-1] // 2 + 1, :]
    return values
