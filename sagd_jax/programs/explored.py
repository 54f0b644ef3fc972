"""What the explorer makes of a choice, without the page: noise, process, holes, their lines of a config.

`Explorer` holds what does not change: the data, their spectrum, the
run; its methods are functions of a choice, so that any number of people may ask it at once. What they have in
common is made once and kept. Noise is made of up to three parts, whose powers are multiplied: the spectrum that is
chosen, a band, and holes for findings.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sagd_jax.data.source import DataError, Source
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.schedules import Schedule
from sagd_jax.diffusion.schedules.spectral import checked_at
from sagd_jax.programs.explored_choice import Choice, member_text
from sagd_jax.programs.spectrum_examples import Examples
from sagd_jax.run import build, noise
from sagd_jax.run.config import RunConfig
from sagd_jax.run.noise import NoiseConfig, Signals
from sagd_jax.run.schedule import Inputs, ScheduleConfig
from sagd_jax.spectral import bases, combine, spectra
from sagd_jax.spectral.analysis import Analysis, analyse
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.detector.finding import Finding
from sagd_jax.spectral.diagonal import DiagonalCovariance
from sagd_jax.spectral.frequencies import BASES
from sagd_jax.spectral.power_spectrum import variance_in
from sagd_jax.system import schema
from sagd_jax.system.files import write_whole
from sagd_jax.system.schema import ConfigError, as_config_error

if TYPE_CHECKING:
    from sagd_jax.run.saved import Run

# Multiplied by a band or a hole they would need members that have members.
_UNDIVIDED = ("mixture", "complement")
_IN_ANY_BASIS = ("white", "offset")
_TIMES_CHECKED = 17
_KEPT = 8  # of each thing that is made of choices


class _Memory:
    """What is made once, by whoever asks first; others who ask for the same wait for it."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}
        self._locks: dict[Any, threading.Lock] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    def known(self, key: Any) -> Any:
        return self._made.get(key)


@dataclasses.dataclass(frozen=True)
class _Known(Signals):
    """Signals whose spectra are estimated once."""

    memory: _Memory = dataclasses.field(default_factory=_Memory)

    def spectrum(self, basis: Basis) -> np.ndarray:
        return self.memory.once(("spectrum", basis), lambda: Signals.spectrum(self, basis))

    def means(self) -> np.ndarray:
        return self.memory.once("means", lambda: Signals.means(self))


class Explorer:
    """What is explored: data, their spectrum and findings, and perhaps a run.

    Args:
      config: to begin with; its data are those of `source`.
      source: of at least two examples.
      num_examples: that spectrum and findings are estimated from.
      out: folder for the files of holes.
      run: a checkpoint to sample from.

    Raises:
      DataError: a single example, which has no spectrum.
    """

    def __init__(
        self,
        config: RunConfig,
        source: Source,
        *,
        num_examples: int = 1000,
        out: str | Path = "explored",
        run: Run | None = None,
    ) -> None:
        if len(source) < 2:
            raise DataError(
                "the data hold a single example; expected at least two (sagd spectrum cuts one in pieces)"
            )
        self.config, self.source, self.run = config, source, run
        self.out = Path(out)
        self.spatial = tuple(source.shape[:-1])
        self.examples = Examples(source, num_examples)
        self._memory = _Memory()
        self._signals = _Known(self.spatial, source.sample_rate, source)
        self._families = functools.lru_cache(_KEPT)(self._family)
        self._covariances = functools.lru_cache(_KEPT)(self._covariance)
        self._schedules = functools.lru_cache(_KEPT)(self._schedule)

    def analysis(self, basis: str = "fourier") -> Analysis:
        """Findings and spectrum of the data, with holes on the grid of a basis, Fourier's or the cosine one."""

        def make() -> Analysis:
            rate = self.source.sample_rate if len(self.spatial) == 1 else None
            return analyse(self.examples, basis=basis, sample_rate=rate)

        return self._memory.once(("analysis", basis), make)

    def known_findings(self) -> list[Finding]:
        """The findings, if they have been looked for already: pictures do not wait for them."""
        analysis = self._memory.known(("analysis", "fourier"))
        return [] if analysis is None else analysis.findings

    def power(self, basis: Basis) -> np.ndarray:
        """The data's variance per coordinate, mean over channels, float64 `(*spatial,)`."""
        return self._memory.once(
            ("power", basis),
            lambda: variance_in(self.examples, basis).mean(axis=-1),  # type: ignore[arg-type]
        )

    def covariance(self, choice: Choice) -> Covariance:
        """The noise of a choice.

        Raises:
          ConfigError: one line saying what cannot be made.
        """
        return self._covariances(_of_noise(choice))

    def process(self, choice: Choice) -> Diffusion:
        """The process of a choice.

        Raises:
          ConfigError: as `covariance`, or for parts that do not go together.
        """
        covariance = self.covariance(choice)
        # Only capped levels are made of the noise; the others are kept while it changes.
        own = _of_noise(choice) if choice.schedule.kind == "capped" else None
        schedule = self._schedules(choice.schedule, own)
        with as_config_error("config.noise"):
            return build.with_noise(schedule, covariance)

    def noise_section(self, choice: Choice) -> NoiseConfig:
        """The section of a config that makes this noise, once `write_holes` has written its file.

        Raises:
          ConfigError: for a spectrum that cannot be multiplied by others in a config.
        """
        basis = self._hole_basis(choice)
        suffix = "" if basis == "fourier" else f":basis={basis}"
        parts = []
        if choice.band != "off":
            bands = ":".join(["band_pass", f"bands={self._bands(choice)!r}", "unit=cycles"])
            parts.append(bands + suffix)
        if choice.holes:
            parts.append(f"file:file={self.holes_file(choice)}{suffix}")
        if not parts:
            return choice.noise
        if choice.noise.kind in _UNDIVIDED or schema.is_import_path(choice.noise.kind):
            raise ConfigError(
                f"config.noise.kind={choice.noise.kind!r}: a band or a hole cannot be cut into it; choose "
                "another spectrum, or product with members"
            )
        if choice.noise.kind == "product":
            return NoiseConfig(kind="product", members=(*choice.noise.members, *parts))  # type: ignore
        if choice.noise.kind == "white":
            if len(parts) == 1:
                return noise.read_member("config.noise", parts[0])
            return NoiseConfig(kind="product", members=tuple(parts))  # type: ignore[call-arg]
        members = (member_text(choice.noise), *parts)
        return NoiseConfig(kind="product", members=members)  # type: ignore[call-arg]

    def kept(self, choice: Choice) -> np.ndarray:
        """1 where the noise stays, 0 in the holes, float64 on the grid of the noise's basis."""
        analysis = self.analysis(self._hole_basis(choice))
        with as_config_error("holes"):
            return analysis.kept_without(choice.holes, choice.margin)

    def holes_file(self, choice: Choice) -> Path:
        """Where `write_holes` writes; its name is that of its contents."""
        values = self.kept(choice)
        digest = hashlib.sha256(values.tobytes() + str(values.shape).encode()).hexdigest()[:8]
        return self.out / f"holes-{'-'.join(map(str, choice.holes))}-{digest}.npy"

    def write_holes(self, choice: Choice) -> Path | None:
        """Writes the holes of a choice, as `config.noise.kind = "file"` reads them; None where there are none."""
        if not choice.holes:
            return None
        path = self.holes_file(choice)
        buffer = io.BytesIO()
        np.save(buffer, self.kept(choice))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue(), alone=False)
        return path

    def _bands(self, choice: Choice) -> tuple[tuple[float, float], ...]:
        """What stays, in cycles per sample."""
        low, high = choice.low, choice.high
        if choice.band == "keep":
            return ((low, high),)
        top = float(self.basis(self._hole_basis(choice)).radius.max())
        bands = [(0.0, low)] if low > 0 else []
        if high < top:
            bands.append((high, 1.0))
        if not bands:
            raise ConfigError(
                f"band: {low:g} to {high:g} is all there is; expected a part of 0 to {top:.4g}"
            )
        return tuple(bands)

    def basis(self, name: str) -> Basis:
        """The basis of this name on the grid of the data."""
        with as_config_error(f"basis {name!r}"):
            return bases.KINDS[name](self.spatial)

    def basis_of(self, diffusion: Diffusion) -> Basis:
        """The coordinates in which a process is looked at."""
        if diffusion.schedule.basis is not None:
            return diffusion.schedule.basis
        if isinstance(diffusion.covariance, DiagonalCovariance):
            return diffusion.covariance.basis
        return self.basis("fourier")

    def _hole_basis(self, choice: Choice) -> str:
        """Of bands and holes: the noise's own, or the one that is chosen where the noise is at home in it."""
        if choice.noise.kind not in _IN_ANY_BASIS:
            return noise.basis_of(choice.noise)
        return choice.basis if choice.basis in BASES else "fourier"

    def _family(self, section: NoiseConfig) -> Covariance:
        if schema.is_import_path(section.kind):
            return build.covariance(section, self.spatial)
        with as_config_error("config.noise"):
            return noise.make(section, self._signals)

    def _covariance(self, choice: Choice) -> Covariance:
        self.noise_section(choice)  # refuses what has no config
        parts = [self._families(choice.noise)]
        basis = self._hole_basis(choice)
        with as_config_error("config.noise"):
            if choice.band != "off":
                bands = self._bands(choice)
                parts.append(spectra.band_pass(self.spatial, bands, "cycles", basis=basis))
            if choice.holes:
                parts.append(spectra.on_grid(self.kept(choice), self.spatial, basis))
            return parts[0] if len(parts) == 1 else combine.product(*parts)

    def _schedule(self, section: ScheduleConfig, own: Choice | None) -> Schedule:
        signals = dataclasses.replace(self._signals, where="config.schedule")
        covariance = None if own is None else self._covariances(own)
        with checked_at(_TIMES_CHECKED):
            return build.schedule(section, Inputs(signals, covariance))


def _of_noise(choice: Choice) -> Choice:
    """The choice as far as the noise is concerned."""
    own = Choice(choice.noise, basis=choice.basis)
    if choice.band != "off":
        own = dataclasses.replace(own, band=choice.band, low=choice.low, high=choice.high)
    if choice.holes:
        own = dataclasses.replace(own, holes=choice.holes, margin=choice.margin)
    return own
