"""JAX's NumPy as gradkit's texts ask for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy
import numpy as np

from gradkit_jax.linear_algebra import LinearAlgebra
from gradkit_jax.widths import WIDE

__all__ = ["Namespace", "from_host"]

SMALL = 1 << 12
"""Elements up to which a new array is made on the host, and copied: JAX would compile a program for its shape."""


def from_host(array: np.ndarray[Any, Any], device: Any) -> Any:
    """Copy a NumPy array to a device: now, also where JAX only traces what is called."""
    with jax.ensure_compile_time_eval():
        return jax.device_put(np.array(array), device)  # a copy of its own: JAX reads it when it comes to it


class Namespace:
    """`jax.numpy`, whose 64-bit dtypes are the narrower ones as long as JAX's x64 is off.

    JAX itself warns of each use of one. What a text counts positions in is as wide as JAX has it.
    """

    linalg = LinearAlgebra()

    def __getattr__(self, name: str) -> Any:
        if name in WIDE:
            return getattr(jax.numpy, name if jax.config.jax_enable_x64 else WIDE[name])
        found = getattr(jax.numpy, name)
        setattr(self, name, found)
        return found

    def asarray(self, value: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
        """Return a number or an array as one of this dtype and device."""
        if type(value) in (bool, int, float, complex) and dtype is not None:
            return from_host(np.asarray(value, dtype), device)
        return jax.numpy.asarray(value, dtype=dtype, device=device, copy=copy)

    def zeros(self, shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
        """Return an array of zeros."""
        return filled(np.zeros, jax.numpy.zeros, shape, dtype, device)

    def ones(self, shape: Any, *, dtype: Any = None, device: Any = None) -> Any:
        """Return an array of ones."""
        return filled(np.ones, jax.numpy.ones, shape, dtype, device)

    def full(self, shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
        """Return an array of one value."""
        if isinstance(fill_value, jax.Array) or dtype is None or _size(shape) > SMALL:
            return jax.numpy.full(shape, fill_value, dtype=dtype, device=device)
        return from_host(np.full(shape, fill_value, dtype), device)

    def arange(self, start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Any:
        """Return evenly spaced numbers."""
        first, last = (0, start) if stop is None else (start, stop)
        if dtype is None or not all(type(x) in (int, float) for x in (first, last, step)):
            return jax.numpy.arange(first, last, step, dtype=dtype, device=device)
        if step and (last - first) / step > SMALL:
            return jax.numpy.arange(first, last, step, dtype=dtype, device=device)
        made: Any = np.arange
        return from_host(made(first, last, step, dtype), device)

    def eye(self, rows: int, columns: int | None = None, *, k: int = 0, dtype: Any = None, device: Any = None) -> Any:
        """Return a matrix with ones on a diagonal."""
        if dtype is None or rows * (rows if columns is None else columns) > SMALL:
            return jax.numpy.eye(rows, columns, k=k, dtype=dtype, device=device)
        return from_host(np.eye(rows, columns, k, dtype), device)

    def floor_divide(self, x: Any, y: Any) -> Any:
        """Return whole quotients; of float16 rounded once: XLA would round the quotient before it is a whole number."""
        dtype = jax.numpy.result_type(x, y)
        if dtype != np.float16:
            return jax.numpy.floor_divide(x, y)
        wide = (jax.numpy.asarray(part).astype(np.float32) for part in (x, y))
        return jax.numpy.floor_divide(*wide).astype(dtype)


def filled(on_host: Callable[..., Any], by_jax: Callable[..., Any], shape: Any, dtype: Any, device: Any) -> Any:
    """Return an array that a function of NumPy or JAX makes."""
    if dtype is None or _size(shape) > SMALL:
        return by_jax(shape, dtype=dtype, device=device)
    return from_host(on_host(shape, dtype), device)


def _size(shape: Any) -> int:
    return shape if isinstance(shape, int) else math.prod(shape)
