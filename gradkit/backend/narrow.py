"""Floating dtypes that NumPy does not have: bfloat16 and those of 8 bits, which the package ml_dtypes adds to it.

A dtype is NumPy's on every backend, so these take ml_dtypes everywhere. It is imported when one of them is first asked
for, or comes in; who has to know of that (`when_first_used`) is told then, and no program that does without them pays.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gradkit.errors import MissingDependencyError

__all__ = ["NARROW", "NARROW_SIZES", "as_numpy_dtype", "note_use", "when_first_used"]

NARROW_SIZES = {
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
}
"""The bytes of an element, by dtype."""
NARROW = frozenset(NARROW_SIZES)

_listeners: list[Callable[[], None]] = []
_used = False


def when_first_used(listener: Callable[[], None]) -> None:
    """Call `listener` when the first of these dtypes is used, once; at once if one has been."""
    if _used:
        listener()
    else:
        _listeners.append(listener)


def note_use() -> None:
    """Note that one of these dtypes is used."""
    global _used
    if not _used:
        _used = True
        for listener in _listeners:
            listener()
        _listeners.clear()


def as_numpy_dtype(name: Any) -> np.dtype[Any]:
    """Return NumPy's dtype of that name (or what else NumPy takes for one), ml_dtypes' where NumPy has none.

    Raises
    ------
    MissingDependencyError
        If it is one of ml_dtypes', which is not installed.
    """
    if type(name) is str and name in NARROW:
        try:
            module = importlib.import_module("ml_dtypes")
        except ImportError as error:
            raise MissingDependencyError(
                f"dtype {name}: NumPy does not have it; the package ml_dtypes, which adds it, cannot be imported "
                f"({error}). Install it with: pip install 'gradkit[ml_dtypes]'"
            ) from error
        dtype: np.dtype[Any] = np.dtype(getattr(module, name))
    else:
        dtype = np.dtype(name)
    if dtype.num > LAST_OF_NUMPY and dtype.name in NARROW:
        note_use()
    return dtype


LAST_OF_NUMPY = 255
"""The numbers of dtypes that packages add are above."""
