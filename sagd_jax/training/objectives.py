"""What a network is trained on: the draws of a batch, and the loss given them.

An objective is what the step (`step.py`) differentiates. `Denoising` is the loss (6) of
`diffusion/losses.py`, or its options there; `few_steps.py` has others.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagd_jax.data.source import ValueRange, normalise
from sagd_jax.diffusion import losses
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.run.config import RunConfig
from sagd_jax.run.denoiser import apply_network, of_kinds
from sagd_jax.training import quarters

Drawn = dict[str, Any]


class Objective(Protocol):
    """A loss to be minimised over the parameters."""

    def draw(
        self,
        batch: dict[str, jax.Array],
        time_key: jax.Array,
        noise_key: jax.Array,
        label_key: jax.Array,
    ) -> Drawn:
        """Everything random but dropout, for a whole batch: its parts see what it would see.

        Args:
          batch: `x` of shape `(batch, *spatial, channels)`, raw data values; `label` and `corrupted`
            of shape `(batch,)`; and `step`, the number of the step.

        Returns:
          Arrays whose first axis is the batch, so that they can be split into parts.
        """

    def loss(
        self, params: Any, ema: Any, drawn: Drawn, dropout_key: jax.Array | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean loss of a batch or a part of it, and numbers for the log, which parts add up.

        Those of `quarters.sums` are shown by quarter of t; of others, scalars, the mean over the steps
        of a log line.

        Args:
          params: of the network; what the loss is differentiated by.
          ema: their average, for objectives that learn from it.
          dropout_key: None: no dropout.
        """


@dataclasses.dataclass(frozen=True)
class Denoising:
    """Denoising, equation (6): the network predicts what `config.model.prediction` says.

    Attributes:
      corrupted: the covariance of the noise of examples flagged as corrupted, made from the same
        white draw; None: the same for all.
    """

    config: RunConfig
    model: nn.Module
    diffusion: Diffusion
    value_range: ValueRange

    def draw(self, batch, time_key, noise_key, label_key):
        config, diffusion = self.config, self.diffusion
        x0 = normalise(batch["x"], self.value_range)
        t = losses.sample_times(time_key, x0.shape[0], method=config.train.times)
        kind = batch["corrupted"] > 0 if self._hides else batch["label"]
        x_t, noise = of_kinds(diffusion, kind).diffuse(noise_key, x0, t)
        label = self._labels(batch, label_key)
        return {"x0": x0, "x_t": x_t, "noise": noise, "t": t, "label": label, "kind": kind}

    def loss(self, params, ema, drawn, dropout_key):
        config, diffusion = self.config, of_kinds(self.diffusion, drawn["kind"])
        x0, noise, t = drawn["x0"], drawn["noise"], drawn["t"]
        prediction = apply_network(
            self.model,
            params,
            diffusion,
            drawn["x_t"],
            t,
            drawn["label"],
            project_input=config.model.project_input,
            dropout_key=dropout_key,
        )
        if self._hides:
            # What a corrupted example holds in the hole, and what is predicted there, teaches nothing.
            target = diffusion.target(x0, noise, t, config.model.prediction)
            taught = target + diffusion.covariance.project(prediction - target)
            prediction = jnp.where(_like(drawn["kind"], x0), taught, prediction)
        per_example = losses.denoising_loss(
            diffusion,
            prediction,
            x0,
            noise,
            t,
            kind=config.model.prediction,
            norm=config.train.norm,
            weighting=config.train.weighting,
        )
        return jnp.mean(per_example), quarters.sums(per_example, t)

    def _labels(self, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array | None:
        """The classes that the network is shown, some of them hidden; None where it knows none."""
        if not self.config.model.class_conditional:
            return None
        label = batch["label"]
        hidden = jax.random.bernoulli(key, self.config.model.class_dropout, label.shape)
        return jnp.where(hidden, self.model.num_classes, label)

    @property
    def _hides(self) -> bool:
        return self.config.corrupted_noise.kind != "same"


class Recovering(Denoising):
    """Denoising from examples of which some are corrupted, equations (26) to (28).

    Each is diffused at the levels of its kind, `batch["corrupted"]`. The loss of v is that of
    v / sqrt(alpha^2 + sigma^2) per coordinate, or the noisy ones would outweigh the others; or of (28b).
    """

    def draw(self, batch, time_key, noise_key, label_key):
        y = normalise(batch["x"], self.value_range)
        t = losses.sample_times(time_key, y.shape[0], method=self.config.train.times)
        kind = batch["corrupted"].astype(jnp.int32)
        x_t, x0, noise, weight = self.diffusion.diffuse_corrupted(noise_key, y, t, kind)
        label = self._labels(batch, label_key)
        return {
            "x0": x0, "x_t": x_t, "noise": noise, "t": t, "label": label, "kind": kind, "weight": weight
        }  # fmt: skip

    def loss(self, params, ema, drawn, dropout_key):
        config, t = self.config, drawn["t"]
        diffusion, weight = self.diffusion.at(drawn["kind"]), drawn["weight"]
        prediction = apply_network(
            self.model,
            params,
            diffusion,
            drawn["x_t"],
            t,
            drawn["label"],
            dropout_key=dropout_key,
            prediction=config.model.prediction,
        )
        if config.model.prediction == "v":
            schedule: Any = diffusion.schedule
            weight = weight * schedule.loss_scale(t)
        per_example = losses.denoising_loss(
            diffusion,
            prediction,
            drawn["x0"],
            drawn["noise"],
            t,
            kind=config.model.prediction,
            weighting=config.train.weighting,
            weight=weight,
        )
        return jnp.mean(per_example), quarters.sums(per_example, t)


def _like(flags: jax.Array, x: jax.Array) -> jax.Array:
    return flags.astype(bool).reshape(-1, *(1,) * (x.ndim - 1))
