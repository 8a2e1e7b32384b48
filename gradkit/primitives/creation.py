"""New arrays like given ones: zeros and ones on their device, and the same values without their derivative."""

from __future__ import annotations

from typing import Any

from gradkit.core import Array, General, bind
from gradkit.core.array import place_of_array, wrap
from gradkit.core.batching import elementwise, same_shape
from gradkit.core.namespace import publish
from gradkit.core.node import NO_PARAMS, Trace, made_of_one_number
from gradkit.core.operands import as_array, dtype_name
from gradkit.core.promotion import is_inexact, requested_dtype

__all__ = ["gate_side", "ones_like", "stop_gradient", "zeros_like"]

_stop_gradient = General(
    "stop_gradient", lambda xp, x: x, (None,), batch=elementwise, shape=same_shape, shares_memory=True
)


class _Side(General):
    """The same for a gate in front of a branch, ``where(chosen, x, gate_side(x))``, which is linear as a whole."""

    def record(self, trace: Trace, out: Any, *_: Any) -> Array:
        """Record nothing, whatever the trace asks for."""
        return as_array(out, self.name)

    def is_linear_in(self, bits: int) -> bool:
        """Say that it is, for the gate's sake."""
        return True


gate_side = _Side("gate_side", lambda xp, x: x, (None,), batch=elementwise, shape=same_shape, shares_memory=True)
"""What a gate passes on where it is closed: the values, without what they depend on."""


def stop_gradient(x: Array) -> Array:
    """Return the array without what it depends on, at every level; whole numbers depend on nothing."""
    return bind(_stop_gradient, (x,), NO_PARAMS) if is_inexact(dtype_name(x)) else x


def zeros_like(x: Any, /, *, dtype: Any = None) -> Array:
    """Return zeros of the shape and device of `x`, and of its dtype unless another is given."""
    return _like(x, dtype, "zeros")


def ones_like(x: Any, /, *, dtype: Any = None) -> Array:
    """Return ones of the shape and device of `x`, and of its dtype unless another is given."""
    return _like(x, dtype, "ones")


def _like(x: Any, dtype: Any, creator: str) -> Array:
    array = as_array(x, f"{creator}_like")
    backend, device = place_of_array(array)
    raw_dtype = backend.raw_dtype_named(dtype_name(array) if dtype is None else requested_dtype(dtype))
    return made_of_one_number(wrap(getattr(backend.xp, creator)(array.shape, dtype=raw_dtype, device=device)))


publish(globals(), __all__)
