"""How an Array prints: as JAX prints one."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["array_repr"]


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
