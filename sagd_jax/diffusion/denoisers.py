"""The kind of prediction that a denoiser says it makes.

A denoiser is any function `(x_t, t) -> prediction`. One that has an attribute `prediction`, as what
`sagd.load` returns, needs no `prediction=` where it is used: the kind goes along with it through
guidance, editing, `functools.partial` and `jax.jit`, so that it can be neither forgotten nor mistaken. Kinds
are those of equation (13) of `process.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sagd_jax.diffusion.process import PREDICTIONS

Function = TypeVar("Function", bound=Callable[..., Any])


def of_kind(denoiser: Function, prediction: str | None) -> Function:
    """Notes in a function which kind of prediction it makes, and returns it; None notes nothing.

    >>> kind_of(of_kind(lambda x, t: x, "v"))
    'v'
    """
    if prediction is not None:
        denoiser.prediction = prediction  # type: ignore[attr-defined]
    return denoiser


def kind_of(
    denoiser: Callable[..., Any], prediction: str | None = None, otherwise: str = "epsilon"
) -> str:
    """The kind of a denoiser's prediction: what is given, else its own, else `otherwise`.

    Raises:
      ValueError: the denoiser makes another kind than the one that is given.

    >>> kind_of(lambda x, t: x), kind_of(lambda x, t: x, "x0")
    ('epsilon', 'x0')
    """
    own = noted(denoiser)
    if own is not None and prediction not in (None, own):
        raise ValueError(
            f"prediction={prediction!r}: this denoiser predicts {own!r}; leave prediction out"
        )
    return prediction or own or otherwise


def noted(*denoisers: Any) -> str | None:
    """The kind that denoisers say they make; None if none of them says any.

    Raises:
      ValueError: they make different ones.
    """
    kinds = {kind for kind in map(_noted, denoisers) if kind is not None}
    if len(kinds) > 1:
        raise ValueError(f"the denoisers predict {' and '.join(sorted(kinds))}; expected one kind")
    return kinds.pop() if kinds else None


def _noted(denoiser: Any) -> str | None:
    while denoiser is not None:
        own = getattr(denoiser, "prediction", None)
        if isinstance(own, str) and own in PREDICTIONS:
            return own
        # What functools.partial, and what jax.jit and functools.wraps, are around.
        denoiser = getattr(denoiser, "func", None) or getattr(denoiser, "__wrapped__", None)
    return None
