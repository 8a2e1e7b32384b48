"""Running sums and products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, cast, dtype_name
from gradkit.core.promotion import INTEGER, default_dtype
from gradkit.primitives import cumulative
from gradkit.primitives.axes import axis_of
from gradkit.primitives.manipulation import astype, concat, reshape
from gradkit.primitives.new_arrays import full
from gradkit.primitives.reductions import accumulator, refuse_out

__all__ = ["cumprod", "cumsum", "cumulative_prod", "cumulative_sum"]


def _numpys(name: str, run: Callable[..., Array], word: str) -> Callable[..., Array]:
    def function(a: Any, axis: int | None = None, dtype: Any = None, out: None = None) -> Array:
        refuse_out(out, name)
        array = as_array(a, name)
        if dtype is not None:
            array = astype(array, dtype)
        elif dtype_name(array) == "bool":
            array = cast(array, default_dtype(INTEGER))
        if axis is None:
            return run(reshape(array, -1), axis=0)
        return run(array, axis=axis_of(axis, array.ndim, name))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Return the running {word} along an axis, of the flattened array for None, in `dtype` or that of `a`."
    )
    return function


cumsum = _numpys("cumsum", cumulative.cumsum, "sums")
cumprod = _numpys("cumprod", cumulative.cumprod, "products")


def _standards(name: str, run: Callable[..., Array], word: str, initial: int) -> Callable[..., Array]:
    def function(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Array:
        array = as_array(x, name)
        if array.ndim == 0:
            raise ValueError(f"The input must be non-scalar to take {name}, but got shape ().")
        if axis is None:
            if array.ndim > 1:
                raise ValueError(
                    f"The input array has rank {array.ndim}, however axis was not set to an explicit value. The axis "
                    f"argument is only optional for one-dimensional arrays."
                )
            axis = 0
        axis = axis_of(axis, array.ndim, name)
        if dtype is not None:
            array = astype(array, dtype)
        elif (wide := accumulator(dtype_name(array))) != dtype_name(array):
            array = cast(array, wide)
        result = run(array, axis=axis)
        if not include_initial:
            return result
        shape = (*array.shape[:axis], 1, *array.shape[axis + 1 :])
        before = full(shape, initial, dtype=array.dtype, device=array.device)
        return concat([before, result], axis=axis)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Return the running {word} along an axis, which one-dimensional arrays need not name.\n\n"
        f"Narrow integers are counted in the default integer dtype; `include_initial` puts the empty one first."
    )
    return function


cumulative_sum = _standards("cumulative_sum", cumulative.cumsum, "sums", 0)
cumulative_prod = _standards("cumulative_prod", cumulative.cumprod, "products", 1)
