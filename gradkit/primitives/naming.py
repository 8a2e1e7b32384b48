"""`name`: the identity, which says to a policy of `checkpoint` which value it is."""

from __future__ import annotations

from gradkit.core import Linear
from gradkit.core.array import Array
from gradkit.core.batching import elementwise, same_shape
from gradkit.core.binding import bind

__all__ = ["NAME", "named"]

NAME = Linear(
    "name",
    lambda xp, x, *, name: x,
    (lambda xp, g, _x, *, name: g,),
    small_cotangent=True,
    batch=elementwise,
    shape=same_shape,
    shares_memory=True,
)


def named(x: Array, name: str) -> Array:
    """Return `x`, under a name."""
    return bind(NAME, (x,), {"name": name})
