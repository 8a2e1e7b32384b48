"""`optimization_barrier`: the identity, across which a compiler moves and merges nothing."""

from __future__ import annotations

from gradkit.core.array import Array
from gradkit.core.binding import bind
from gradkit.core.node import NO_PARAMS
from gradkit.primitives.naming import identity

__all__ = ["BARRIER", "behind_barrier"]

BARRIER = identity("optimization_barrier", leaf=True)
BARRIER.distinct = True


def behind_barrier(x: Array) -> Array:
    """Return `x`; what is computed of the result is not merged with what is computed of `x`."""
    return bind(BARRIER, (x,), NO_PARAMS)
