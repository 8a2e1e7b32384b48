"""Products of matrices in a mode that is asked for: with TensorFloat-32, or with all bits of float32.

CuPy has one setting for the process, which its own products read (it begins with the environment's ``CUPY_TF32``). So a
product in another mode changes it for as long as the product is started, one at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from cupy._core import _routines_linalg, get_compute_type, set_compute_type

__all__ = ["in_mode"]

COMPUTE_TYPES = {
    "float32": _routines_linalg.COMPUTE_TYPE_FP32,
    "tensorfloat32": _routines_linalg.COMPUTE_TYPE_TF32,
}
FLOAT32 = "f"
"""The setting is that of complex64 as well; other dtypes have none."""

_lock = threading.Lock()


def in_mode(product: Callable[..., Any]) -> Callable[..., Any]:
    """Return a product of two arrays that takes a mode, by that of CuPy."""

    def multiply(x: Any, y: Any, *, mode: str) -> Any:
        if x.dtype.char not in "fF":
            return product(x, y)
        with _lock:
            before = get_compute_type(FLOAT32)
            set_compute_type(FLOAT32, COMPUTE_TYPES[mode])
            try:
                return product(x, y)
            finally:
                set_compute_type(FLOAT32, before)

    return multiply


def _unlocked() -> None:
    """Let a child that was made while another thread held the lock go on: that thread is not in it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
