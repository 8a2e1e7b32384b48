"""Derivatives say nothing: what a library warns of inside a rule (1 / 0 in that of sqrt) is not the user's computation.

Entering `numpy.errstate` takes about as long as an operation on a small array, so it is entered once for a backward
pass and not once for a rule. What users compute is outside of it, and warns or raises as their `errstate` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.backend import Backend, backend_of
from gradkit.core.array import Array
from gradkit.core.stand_in import Batched

__all__ = ["silently"]


def silently(function: Callable[..., Any], by_type: dict[type, Callable[..., Any]]) -> Callable[..., Any]:
    """Return ``call(value, *args)``, which is ``function(*args)`` while the library of `value` is silent.

    `value` is an Array, a raw array, or a tuple or dict of them: it says which library that is. `by_type` keeps what is
    called for each type of raw array.
    """

    def call(value: Any, *args: Any) -> Any:
        run = by_type.get(type(value))
        if run is None:
            kind, backend = _library_of(value)
            run = by_type.get(kind)
            if run is None:
                run = function if backend is None else backend.silenced(function)
                if backend is not None:
                    by_type[kind] = run
        return run(*args)

    return call


def _library_of(value: Any) -> tuple[type, Backend | None]:
    while True:
        if type(value) is Array:
            value = value._value
        elif type(value) is Batched:
            value = value.array
        elif isinstance(value, tuple) and value:
            value = value[0]
        elif isinstance(value, dict) and value:
            value = next(iter(value.values()))
        else:
            return type(value), backend_of(value)
