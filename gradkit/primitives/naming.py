"""Identities that say something of a value: its name, to a policy of `checkpoint`; that the tape ends there."""

from __future__ import annotations

from typing import Any

from gradkit.core import Linear
from gradkit.core.array import Array
from gradkit.core.batching import elementwise, same_shape
from gradkit.core.binding import bind

__all__ = ["NAME", "WITHOUT_TAPE", "identity", "named"]


def identity(name: str, **options: Any) -> Linear:
    """Declare a primitive that gives its argument."""
    return Linear(
        name,
        lambda xp, x, **_: x,
        (lambda xp, g, _x, **_: g,),
        small_cotangent=True,
        batch=elementwise,
        shape=same_shape,
        shares_memory=True,
        **options,
    )


NAME = identity("name")
WITHOUT_TAPE = identity("without_tape")
"""A module's parameter as a transform inside of a jitted function takes it: a plain value to the lecture's tape.

It stands in graphs that `transforms.call_rules` takes in and changes; none of those that run has it.
"""


def named(x: Array, name: str) -> Array:
    """Return `x`, under a name."""
    return bind(NAME, (x,), {"name": name})
