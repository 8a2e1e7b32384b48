"""float0: JAX's dtype of the tangents of integers, which have no elements to speak of."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["FLOAT0", "is_float0", "zeros_of_float0"]

FLOAT0 = np.dtype([("float0", "V0")])


def is_float0(value: Any) -> bool:
    """Return whether a value is an array of float0."""
    return isinstance(value, np.ndarray) and value.dtype == FLOAT0


def zeros_of_float0(shape: tuple[int, ...]) -> Any:
    """Return a NumPy array of float0: the tangent of integers of that shape."""
    return np.zeros(shape, FLOAT0)
