"""Derivatives say nothing: what a library warns of inside a rule (1 / 0 in that of sqrt) is not the user's computation.

Becoming silent takes a while, so it is done once for a backward pass and not once for a rule. What users compute is
outside of it, and warns or raises as their `numpy.errstate` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.backend import Backend, backend_of
from gradkit.core.array import Array
from gradkit.core.stand_in import Batched

__all__ = ["SILENCES", "silence_of", "silenced"]

Silence = tuple[Callable[[], Any], Callable[[Any], None]]

SILENCES: dict[type, Silence] = {}
"""By the type of a raw array, once one has been seen: what makes its library silent, and what ends that."""


def _nothing(*_: Any) -> None:
    """Begin or end the silence of a library that never warns."""


NONE: Silence = (_nothing, _nothing)


def silence_of(value: Any) -> Silence:
    """Return what makes the library of an Array, a raw array, or a tuple or dict of them silent, and what ends it.

    The first returns what the second has to be given.
    """
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
            break
    known = SILENCES.get(type(value))
    if known is None:
        backend = backend_of(value)
        if backend is None:
            return NONE
        known = SILENCES[type(value)] = backend.silence or NONE
    return known


def silenced(backend: Backend, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` so that a backend's library is silent inside it."""
    if backend.silence is None:
        return function
    begin, end = backend.silence

    def call(*args: Any, **options: Any) -> Any:
        token = begin()
        try:
            return function(*args, **options)
        finally:
            end(token)

    return call
