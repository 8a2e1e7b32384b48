"""Functions that run while NumPy does not warn, for little more than the call."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

__all__ = ["silenced"]


def _variable() -> ContextVar[Any] | None:
    """Return where NumPy 2 keeps what `numpy.errstate` sets, or None where it is elsewhere."""
    try:
        found = getattr(importlib.import_module("numpy._core.umath"), "_extobj_contextvar", None)
    except ImportError:
        return None
    return found if isinstance(found, ContextVar) else None


def silenced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` inside ``numpy.errstate(all="ignore")``.

    `numpy.errstate` makes its settings anew at each entry, which takes as long as three operations on a small array.
    Here they are made once, and put where it would put them.
    """
    variable = _variable()
    if variable is None:
        return np.errstate(all="ignore")(function)
    with np.errstate(all="ignore"):
        silent = variable.get()

    def call(*args: Any, **options: Any) -> Any:
        token = variable.set(silent)
        try:
            return function(*args, **options)
        finally:
            variable.reset(token)

    return call
