"""The backend of Python's own numbers: arrays of no axes, each a float, an int or a truth value.

It is what `gradkit.Value` computes on. Its one floating dtype is that of Python's floats, float64, and its one integer
dtype is int64, whatever width is asked for.

Examples
--------
>>> import gradkit
>>> import gradkit.numpy as jnp
>>> with gradkit.use_backend("python"):
...     gradkit.grad(jnp.tanh)(jnp.asarray(0.5))
Array(0.78644773, dtype=float64)
"""

from __future__ import annotations

import platform
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from gradkit.backend import NARROW, Backend
from gradkit_python.namespace import Namespace
from gradkit_python.numbers import TYPES, as_numpy

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PythonBackend"]


class PythonBackend(Backend):
    """Python's numbers, on the CPU."""

    name: ClassVar[str] = "python"
    library: ClassVar[str] = "gradkit_python"
    install: ClassVar[str] = "pip install gradkit"
    has_axes: ClassVar[bool] = False

    @cached_property
    def xp(self) -> Any:
        """The functions of the array API standard, on single numbers."""
        return Namespace()

    @property
    def array_types(self) -> tuple[type[Any], ...]:
        """The types of a float, an int and a truth value."""
        return TYPES

    def versions(self) -> dict[str, str]:
        """Return Python's version."""
        return {"python": platform.python_version()}

    def from_host(self, array: np.ndarray[Any, Any], device: Any = None) -> Any:
        """Return the number in a NumPy array of no axes."""
        return self.xp.asarray(array, dtype=self.raw_dtype_named(array.dtype.name))

    def shares_memory(self, a: Any, b: Any) -> bool:
        """Return False: a number never changes."""
        return False

    def to_host(self, value: Any) -> np.ndarray[Any, Any]:
        """Return a number as a NumPy array."""
        array: np.ndarray[Any, Any] = as_numpy(value)
        return array

    def to_device(self, value: Any, device: Any) -> Any:
        """Return the number itself: there is one device."""
        return value

    def dtype_of(self, value: Any) -> np.dtype[Any]:
        """Return the number's dtype."""
        dtype: np.dtype[Any] = value.dtype
        return dtype

    @cached_property
    def inexact(self) -> frozenset[Any]:
        """The one floating dtype."""
        return frozenset({self.xp.float64})

    @property
    def real(self) -> frozenset[Any]:
        """The one floating dtype."""
        return self.inexact

    def raw_dtype_named(self, name: str) -> Any:
        """Return the dtype of Python's numbers of that kind."""
        if name in NARROW:
            raise TypeError(
                f"dtype {name}: the backend 'python' does not have it: its floats are float64. Use another backend."
            )
        for kind, dtype in (("bool", self.xp.bool), ("float", self.xp.float64)):
            if name.startswith(kind):
                return dtype
        if name.startswith(("int", "uint")):
            return self.xp.int64
        raise TypeError(f"dtype {name}: the backend 'python' has float64, int64 and bool alone. Use another backend.")

    def device_kind(self, raw: Any) -> str:
        """Say what interprets the operations."""
        return f"{platform.python_implementation()}, numbers without axes"
