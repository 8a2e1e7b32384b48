"""Whose Arrays ``x[idx] = y`` may change: not those that gradkit hands to a function it calls.

A transform gives a function its arguments in the caller's place, some of them the caller's own objects. If the function
assigned to one, whoever else holds that object would see another value: the caller, a second run, or the function
itself, which a derivative is taken of. So what is handed over is noted while the function runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from threading import get_ident
from typing import Any

from gradkit.core.above import above
from gradkit.core.array import Array
from gradkit.tree import leaves

__all__ = ["handed_over", "is_argument", "keeping_arguments"]


handed_over: defaultdict[int, list[Any]] = defaultdict(list)
"""By thread: the arguments of the functions that run now, the innermost last.

Neither a context variable nor a `threading.local`, which take several times as long: a function stays in its thread.
"""


def keeping_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs `function`, in which items of its arguments cannot be assigned."""

    def run(*args: Any, **kwargs: Any) -> Any:
        arguments = handed_over[get_ident()]
        arguments.append((args, kwargs))
        try:
            return function(*args, **kwargs)
        finally:
            arguments.pop()

    return run


def is_argument(array: Array) -> bool:
    """Return whether an Array is an argument, or a leaf of one, of a function that gradkit is running."""
    return any(leaf is array for arguments in handed_over[get_ident()] for leaf in leaves(arguments))


above.is_argument = is_argument
