"""How an Array prints, as JAX prints one, and what messages say of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.backend import backend_of
from gradkit.core.array import Array, device_of_array, wrap

__all__ = ["array_repr", "describe", "shaped"]


def array_repr(elements: np.ndarray[Any, Any]) -> str:
    """Return ``Array([1., 2.], dtype=float32)`` for the elements on the host.

    Long arrays are abridged by NumPy's print options; an empty one also states its shape.
    """
    options = np.get_printoptions()
    prefix = "Array("
    body = np.array2string(elements, separator=", ", prefix=prefix, suffix=",")
    shape = f"shape={elements.shape}, " if elements.size == 0 and elements.shape != (0,) else ""
    ending = f"{shape}dtype={elements.dtype.name})"
    last_line = len(prefix) * ("\n" not in body) + len(body) - (body.rfind("\n") + 1)
    joint = ", " if last_line + len(ending) + 2 <= options["linewidth"] else ",\n" + " " * len(prefix)
    return f"{prefix}{body}{joint}{ending}"


def describe(value: Any) -> str:
    """Say what a raw array or Array is, for messages: ``float32[3,4] on numpy:0``."""
    if type(value) is not Array:
        if backend_of(value) is None:
            return f"{value!r} of type {type(value).__name__}"
        value = wrap(value)
    return f"{value.dtype.name}[{','.join(map(str, value.shape))}] on {device_of_array(value)}"


def shaped(value: Any) -> str:
    """Say dtype and shape alone: ``float32[3,4]``."""
    return describe(value).partition(" on ")[0]
