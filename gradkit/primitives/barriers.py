"""`optimization_barrier`: the identity, across which a compiler moves and merges nothing."""

from __future__ import annotations

from gradkit.core import Linear
from gradkit.core.array import Array
from gradkit.core.batching import elementwise, same_shape
from gradkit.core.binding import bind
from gradkit.core.node import NO_PARAMS

__all__ = ["BARRIER", "behind_barrier"]

BARRIER = Linear(
    "optimization_barrier",
    lambda xp, x: x,
    (lambda xp, g, _x: g,),
    small_cotangent=True,
    batch=elementwise,
    shape=same_shape,
    shares_memory=True,
    leaf=True,
)
BARRIER.distinct = True


def behind_barrier(x: Array) -> Array:
    """Return `x`; what is computed of the result is not merged with what is computed of `x`."""
    return bind(BARRIER, (x,), NO_PARAMS)
