"""Objectives for few steps: consistency (30), the variational bound and learned paths (31).

`make_objective` chooses among them and `Denoising`, and refuses in one line what does not go together.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagd_jax.data.source import ValueRange
from sagd_jax.diffusion import bound, consistency, losses
from sagd_jax.diffusion.denoisers import of_kind
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.schedules import Capped, LearnedSchedule
from sagd_jax.run.config import RunConfig
from sagd_jax.run.denoiser import PATH, apply_network, of_kinds, with_path
from sagd_jax.system.schema import ConfigError, as_config_error
from sagd_jax.training import quarters
from sagd_jax.training.objectives import Denoising, Drawn, Objective, Recovering


def make_objective(
    config: RunConfig, model: nn.Module, diffusion: Diffusion, value_range: ValueRange
) -> Objective:
    """What `config.objective` asks for.

    Raises:
      ConfigError: one line saying what does not fit together.
    """
    if isinstance(diffusion.schedule, Capped):
        if config.objective.kind != "denoising":
            raise ConfigError(
                f"config.objective.kind={config.objective.kind!r}: corrupted examples "
                "(config.schedule.kind='capped') are learned from by denoising alone"
            )
        if config.data.filtered_bands:
            raise ConfigError(
                f"config.data.filtered_bands={config.data.filtered_bands}: filtered examples have another "
                "corruption than config.schedule.corruption says (config.schedule.kind='capped'); expected ()"
            )
        return Recovering(config, model, diffusion, value_range)
    kind = {"denoising": Denoising, "consistency": Consistency, "bound": Bound}[
        config.objective.kind
    ]
    learns = isinstance(diffusion.schedule, LearnedSchedule)
    _check(config, diffusion, learns)
    objective = kind(config, model, diffusion, value_range)
    return WithPath(objective) if learns else objective


def _check(config: RunConfig, diffusion: Diffusion, learns: bool) -> None:
    objective = config.objective
    if not learns and (objective.path != "steps" or not objective.network):
        name = "path" if objective.path != "steps" else "network"
        raise ConfigError(
            f"config.objective.{name}={getattr(objective, name)!r}: nothing is learned but the network "
            f"with config.schedule.kind={config.schedule.kind!r}; it needs learned or learned_slope"
        )
    if learns and not objective.network and objective.path == "frozen":
        raise ConfigError(
            "config.objective.network=False with config.objective.path='frozen': nothing is trained"
        )
    if objective.kind == "denoising":
        return
    for name in ("norm", "weighting"):
        value, default = getattr(config.train, name), getattr(type(config.train)(), name)
        if value != default:
            raise ConfigError(
                f"config.train.{name}={value!r} has no effect with config.objective.kind="
                f"{objective.kind!r}; it needs kind='denoising'"
            )
    if objective.kind == "consistency":
        with as_config_error("config.model.prediction"):
            consistency.check(diffusion, config.model.prediction)
        _check_consistency(config, diffusion, learns)
        return
    if not diffusion.covariance.is_full_rank:
        raise ConfigError(
            "config.objective.kind='bound': a covariance with a hole has no density, hence no bound"
        )
    if config.train.times == "logit_normal":
        raise ConfigError(
            "config.train.times='logit_normal': the bound is an average over uniform times; use "
            "uniform or stratified"
        )


def _check_consistency(config: RunConfig, diffusion: Diffusion, learns: bool) -> None:
    if learns and config.objective.path != "frozen":
        raise ConfigError(
            f"config.objective.path={config.objective.path!r}: a path is learned beside a network that "
            "denoises, and a consistency model does not; use path='frozen'"
        )
    no_data = float(diffusion.schedule.clock.alpha(1.0)) == 0
    for name in ("pairs", "weighting"):
        if no_data and getattr(config.objective, name) == "ratio":
            raise ConfigError(
                f"config.objective.{name}='ratio': sigma / alpha is infinite at t = 1 under "
                f"config.schedule.kind={config.schedule.kind!r}; use 'angle'"
            )


@dataclasses.dataclass(frozen=True)
class Consistency(Denoising):
    """Easy consistency tuning, equation (30): two times of one example agree on its x_0."""

    def draw(self, batch, time_key, noise_key, label_key):
        drawn = super().draw(batch, time_key, noise_key, label_key)
        options = self.config.objective
        stage = jnp.minimum(batch["step"] // options.stage_steps, options.stages - 1)
        return {**drawn, "stage": jnp.broadcast_to(stage, drawn["t"].shape)}

    def loss(self, params, ema, drawn, dropout_key):
        options = self.config.objective
        diffusion = of_kinds(self.diffusion, drawn["kind"])
        r = consistency.earlier(
            diffusion, drawn["t"], q=options.q, stage=drawn["stage"], position=options.pairs
        )
        # The same dropout at both times: the two differ by the times alone.
        function = consistency.function(
            _denoiser(self, params, diffusion, drawn, dropout_key),
            diffusion,
            self.config.model.prediction,
        )
        per_example = consistency.loss(
            function,
            function,
            diffusion,
            drawn["x0"],
            drawn["noise"],
            drawn["t"],
            r,
            norm=options.norm,
            c=options.huber_c,
            weighting=options.weighting,
        )
        return jnp.mean(per_example), quarters.sums(per_example, drawn["t"])


@dataclasses.dataclass(frozen=True)
class Bound(Denoising):
    """The variational bound (31) without its constants, in nats per value."""

    def loss(self, params, ema, drawn, dropout_key):
        diffusion = of_kinds(self.diffusion, drawn["kind"])
        nats = bound.estimate(
            _denoiser(self, params, diffusion, drawn, dropout_key),
            diffusion,
            drawn["x0"],
            drawn["noise"],
            drawn["t"],  # uniform: the place among the levels or steps
            num_steps=self.config.objective.bound_steps,
            prediction=self.config.model.prediction,
        )
        per_example = nats / drawn["x0"][0].size
        return jnp.mean(per_example), quarters.sums(per_example, drawn["t"])


@dataclasses.dataclass(frozen=True)
class WithPath:
    """An objective of the network and, beside it, that of the path of a learned schedule.

    Neither sees the gradient of the other: the network learns on the path as it is, and the path for the
    network as it is. The path is among the parameters, so that it has its average, its moments and its
    place in a checkpoint as they have.
    """

    network: Denoising

    def draw(self, batch, time_key, noise_key, label_key):
        drawn = self.network.draw(batch, time_key, noise_key, label_key)
        count = drawn["t"].shape[0]
        key = jax.random.fold_in(time_key, 1)
        return {**drawn, "place": losses.sample_times(key, count, method="stratified")}

    def loss(self, params, ema, drawn, dropout_key):
        options = self.network.config.objective
        total, sums = jnp.float32(0), {}
        if options.network:
            still = self._on(jax.lax.stop_gradient(params[PATH]))
            x_t, noise = still.diffusion.noised(drawn["x0"], drawn["noise"], drawn["t"])
            seen = {**drawn, "x_t": x_t, "noise": noise}
            total, sums = still.loss(params, ema, seen, dropout_key)
        if options.path != "frozen":
            cost = self._path_cost(jax.lax.stop_gradient(params) | {PATH: params[PATH]}, drawn)
            # Parts of a batch add up their numbers, which are means.
            shown = jax.lax.stop_gradient(cost) / self.network.config.train.accumulate
            sums = {**sums, f"path_{options.path}": shown}
            # Of two losses the first is shown.
            total = total + (cost - jax.lax.stop_gradient(cost) if options.network else cost)
        return total, sums

    def _on(self, path: jax.Array) -> Denoising:
        """The network's objective on this path."""
        diffusion = with_path(self.network.diffusion, {PATH: path})
        return dataclasses.replace(self.network, diffusion=diffusion)

    def _path_cost(self, params: Any, drawn: Drawn) -> jax.Array:
        """What the path is trained on, in nats per value or, for the variance, their square."""
        options = self.network.config.objective
        objective = self._on(params[PATH])
        diffusion, x0, noise, place = (
            objective.diffusion,
            *(drawn[name] for name in ("x0", "noise", "place")),
        )
        denoiser = of_kind(
            _denoiser(objective, params, diffusion, drawn, None),
            self.network.config.model.prediction,
        )
        size = x0[0].size
        if options.path == "steps":
            steps = options.path_steps
            nats = bound.estimate(denoiser, diffusion, x0, noise, place, num_steps=steps)
            return jnp.mean(nats + bound.path_terms(diffusion, x0)) / size
        first, last = bound.ends(diffusion)
        t = first + (last - first) * place
        nats = (last - first) * bound.rate(denoiser, diffusion, x0, noise, t)
        return jnp.var(nats / size)


def _denoiser(
    objective: Denoising,
    params: Any,
    diffusion: Diffusion,
    drawn: Drawn,
    dropout_key: jax.Array | None,
) -> Any:
    """`(x_t, t) -> prediction` for the examples of a batch."""

    def denoise(x_t: jax.Array, t: jax.Array) -> jax.Array:
        return apply_network(
            objective.model,
            params,
            diffusion,
            x_t,
            t,
            drawn["label"],
            project_input=objective.config.model.project_input,
            dropout_key=dropout_key,
        )

    return denoise
