"""Things that differ in numbers alone, so that one program serves all of them: found, and stacked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")


def groups(items: Iterable[T], kind: Callable[[T], Any]) -> list[list[T]]:
    """The items in groups of equal `kind`, which is compared and need not be hashable.

    >>> groups([1, 12, 3, 25], lambda number: [len(str(number))])
    [[1, 3], [12, 25]]
    """
    found: list[tuple[Any, list[T]]] = []
    for item in items:
        own = kind(item)
        group = next((group for other, group in found if other == own), None)
        if group is None:
            found.append((own, [item]))
        else:
            group.append(item)
    return [group for _, group in found]


def stacked(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one, whose leaves have a leading axis of trees."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)
