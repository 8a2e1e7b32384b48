"""Whose Arrays ``x[idx] = y`` may change: not those that gradkit hands to a function it calls.

A transform gives a function its arguments in the caller's place, some of them the caller's own objects. If the function
assigned to one, whoever else holds that object would see another value: the caller, a second run, or the function
itself, which a derivative is taken of. So what is handed over is noted while the function runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from gradkit.core.array import Array
from gradkit.tree import leaves

__all__ = ["is_argument", "keeping_arguments"]

_given: ContextVar[tuple[Any, Any] | None] = ContextVar("gradkit_given", default=None)
"""The arguments of the functions that run now, the innermost first: ``(arguments, (arguments, ...))``."""


def keeping_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs `function`, in which items of its arguments cannot be assigned."""

    def run(*args: Any, **kwargs: Any) -> Any:
        token = _given.set(((args, kwargs), _given.get()))
        try:
            return function(*args, **kwargs)
        finally:
            _given.reset(token)

    return run


def is_argument(array: Array) -> bool:
    """Return whether an Array is an argument, or a leaf of one, of a function that gradkit is running."""
    given = _given.get()
    while given is not None:
        arguments, given = given
        if any(leaf is array for leaf in leaves(arguments)):
            return True
    return False
