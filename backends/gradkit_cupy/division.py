"""Division of floats with a whole quotient: exact, where CuPy's is the floor of a rounded one (1 // 0.1 is 10)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from gradkit_cupy.launch import C_TYPES, launch

__all__ = ["floor_divide", "remainder"]

Raw = Any


def _division(name: str, kernel: str, of_integers: Callable[[Raw, Raw], Raw]) -> Callable[[Raw, Raw], Raw]:
    def divide(x: Raw, y: Raw) -> Raw:
        dtype = (x if isinstance(x, cupy.ndarray) else y).dtype
        if dtype.kind != "f":
            return of_integers(x, y)
        kind = C_TYPES.get(dtype.name, "float")
        computed = np.dtype(np.float64 if kind == "double" else np.float32)
        x, y = (
            cupy.asarray(n, computed) if isinstance(n, cupy.ndarray) else cupy.full((), n, computed) for n in (x, y)
        )
        shape = np.broadcast_shapes(x.shape, y.shape)
        out = cupy.empty(shape, computed)
        operands = [_broadcast(n, shape) for n in (x, y)]
        # One element stands for all of them: the kernel does not step on.
        steps = [np.int64(operand.size > 1) for operand in operands]
        launch("division", f"{kernel}<{kind}>", out.size, (*operands, out, *steps, np.int64(math.prod(shape))))
        return out.astype(dtype, copy=False)

    divide.__name__ = divide.__qualname__ = name
    return divide


def _broadcast(x: Raw, shape: tuple[int, ...]) -> Raw:
    return cupy.ascontiguousarray(x if x.size == 1 or x.shape == shape else cupy.broadcast_to(x, shape))


floor_divide = _division("floor_divide", "floor_quotient", cupy.floor_divide)
remainder = _division("remainder", "floor_remainder", cupy.remainder)
