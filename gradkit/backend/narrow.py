"""Floating dtypes that NumPy does not have: bfloat16 and those of 8 bits, which the package ml_dtypes adds to it.

A dtype is NumPy's on every backend, so these take ml_dtypes everywhere. It is imported when one of them is first asked
for, or comes in. From then on `NARROW_DTYPES` has them as libraries do; until then it is empty, which is all that the
paths of other dtypes ask, so that no program pays which does without them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from gradkit.errors import MissingDependencyError

if TYPE_CHECKING:
    from gradkit.backend.protocol import Backend

__all__ = ["NARROW", "NARROW_DTYPES", "NARROW_SIZES", "as_numpy_dtype", "note_backend", "note_use"]

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

NARROW_DTYPES: set[Any] = set()
"""The dtypes that backends compute in float32, as their libraries have them; none before one of these is used."""

_backends: list[Backend] = []
_used = False


def note_backend(backend: Backend) -> None:
    """Note a backend whose arrays have been seen."""
    if backend not in _backends:
        _backends.append(backend)
        if _used:
            _add(backend)


def note_use() -> None:
    """Note that one of these dtypes is used."""
    global _used
    if not _used:
        _used = True
        for backend in _backends:
            _add(backend)


def _add(backend: Backend) -> None:
    NARROW_DTYPES.update(
        backend.raw_dtype_named(name) for name in backend.computes_in_float32 if backend.has_dtype(name)
    )


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
