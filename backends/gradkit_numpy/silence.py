"""What keeps NumPy from warning, for little more than a call."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

__all__ = ["SILENCE"]


def _variable() -> ContextVar[Any] | None:
    """Return where NumPy 2 keeps what `numpy.errstate` sets, or None where it is elsewhere."""
    try:
        found = getattr(importlib.import_module("numpy._core.umath"), "_extobj_contextvar", None)
    except ImportError:
        return None
    return found if isinstance(found, ContextVar) else None


def _enter() -> np.errstate:
    silent = np.errstate(all="ignore")
    silent.__enter__()
    return silent


def _left(silent: np.errstate) -> None:
    silent.__exit__(None, None, None)


def _ends() -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """Return what enters ``numpy.errstate(all="ignore")``, and what leaves it.

    `numpy.errstate` makes its settings anew at each entry, which takes as long as three operations on a small array.
    Here they are made once, and put where it would put them.
    """
    variable = _variable()
    if variable is None:
        return _enter, _left
    with np.errstate(all="ignore"):
        silent = variable.get()
    return partial(variable.set, silent), variable.reset


SILENCE = _ends()
