"""Making arrays: on the current backend and device, 32-bit unless another dtype is asked for."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradkit.backend import Backend, Device, backend_of, current_backend, current_device, get_backend
from gradkit.core import Array
from gradkit.core.array import backend_of_array, raw, wrap
from gradkit.core.calls import as_array, as_operand, dtype_name
from gradkit.core.promotion import FLOATING, INTEGER, canonical, default_dtype, kind_of, promote
from gradkit.errors import ShapeError
from gradkit.primitives.manipulation import astype, broadcast_to, stack, to_device

__all__ = [
    "arange",
    "array",
    "asarray",
    "broadcast_arrays",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "linspace",
    "ones",
    "result_type",
    "zeros",
]

Shape = int | Sequence[int]


def _place(device: Device | None) -> tuple[Backend, Any]:
    """Return the backend, and what it takes as ``device=``, for a new array."""
    if device is None:
        return current_backend(), current_device()
    if not isinstance(device, Device):
        raise TypeError(f"device: expected a Device, one of gradkit.devices(), got {device!r}")
    return get_backend(device.backend), device.raw


def _raw_dtype(backend: Backend, dtype: Any, default: str) -> Any:
    name = default if dtype is None else np.dtype(dtype).name
    kind_of(name)  # an error for a dtype that is not one of numbers
    return backend.raw_dtype_named(name)


def _shape(shape: Shape) -> tuple[int, ...]:
    sizes = tuple(map(operator.index, shape)) if isinstance(shape, Sequence) else (operator.index(shape),)
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape: sizes must not be negative, got {sizes}")
    return sizes


def asarray(obj: Any, /, *, dtype: Any = None, device: Device | None = None, copy: bool | None = None) -> Array:
    """Make an Array of numbers, nested lists, a NumPy array, or a backend's own array.

    Parameters
    ----------
    obj : object
        Numbers and lists are new: they become 32-bit unless x64 is enabled or `dtype` says otherwise. An array keeps
        its dtype. A NumPy array is copied to the current backend where that is another one; an array that is on a
        backend already stays there unless `device` is given.
    dtype : dtype, optional
        The dtype of the result.
    device : Device, optional
        Where the result should be, one of `gradkit.devices`.
    copy : bool, optional
        True always copies; None and False share memory where they can.

    Raises
    ------
    TypeError
        If `obj` is no array, number or nested list of numbers.
    ValueError
        If nested lists are ragged.

    Examples
    --------
    >>> asarray([1.0, 2.0])
    Array([1., 2.], dtype=float32)
    """
    result = _as_is(obj, dtype, device)
    if dtype is not None:
        result = astype(result, dtype)
    if device is not None:
        result = to_device(result, device)
    if copy and result._node is None and raw(result) is raw(obj):
        result = wrap(backend_of_array(result).xp.asarray(raw(result), copy=True))
    return result


def _as_is(obj: Any, dtype: Any, device: Device | None) -> Array:
    if type(obj) is Array:
        return obj
    owner = backend_of(obj)
    if isinstance(obj, np.ndarray) and not isinstance(obj, np.generic):
        backend, place = _place(device)
        return wrap(backend.from_host(_native(obj), place))
    if owner is not None and not owner.is_scalar(obj):
        return wrap(obj)
    if isinstance(obj, list | tuple) and _holds_array(obj):
        return stack([_as_is(item, dtype, device) for item in obj])
    try:
        values = np.asarray(obj)
    except ValueError as error:
        raise ValueError(f"asarray: nested lists must have equal lengths at each depth ({error})") from error
    if values.dtype.kind not in "biufc":
        raise TypeError(f"asarray: expected numbers or arrays, got {obj!r} of type {type(obj).__name__}")
    if dtype is None:
        narrow = canonical(values.dtype.name) if values.size else default_dtype(FLOATING)
        values = _checked_cast(values, np.dtype(narrow))
    else:
        values = values.astype(dtype)
    backend, place = _place(device)
    return wrap(backend.from_host(values, place))


def _native(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array in this machine's byte order, which is the only one other libraries take."""
    if values.dtype.kind not in "biufc":
        raise TypeError(
            f"asarray: expected an array of numbers, got dtype {values.dtype}. Convert it first: x.astype('float32')."
        )
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def _checked_cast(values: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if dtype.kind in "iu" and values.size and values.dtype != dtype:
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise OverflowError(
                f"asarray: {values.min()}..{values.max()} does not fit {dtype.name}. Ask for a dtype, or enable x64: "
                f"gradkit.config.update('jax_enable_x64', True)."
            )
    return values.astype(dtype)


def _holds_array(items: Sequence[Any]) -> bool:
    return any(type(item) is Array or (isinstance(item, list | tuple) and _holds_array(item)) for item in items)


def array(obj: Any, /, dtype: Any = None, copy: bool = True, *, device: Device | None = None) -> Array:
    """Make an Array as `asarray` does, by default with memory of its own."""
    return asarray(obj, dtype=dtype, device=device, copy=copy)


def zeros(shape: Shape, dtype: Any = None, *, device: Device | None = None) -> Array:
    """Return an array of zeros."""
    return full(shape, 0.0, dtype=dtype, device=device)


def ones(shape: Shape, dtype: Any = None, *, device: Device | None = None) -> Array:
    """Return an array of ones."""
    return full(shape, 1.0, dtype=dtype, device=device)


def empty(shape: Shape, dtype: Any = None, *, device: Device | None = None) -> Array:
    """Return an array of zeros: there is no array without values."""
    return zeros(shape, dtype=dtype, device=device)


def full(shape: Shape, fill_value: Any, dtype: Any = None, *, device: Device | None = None) -> Array:
    """Return an array of one value.

    Parameters
    ----------
    shape : int or tuple of int
        Its shape.
    fill_value : number or array
        The value; an array is broadcast to `shape`.
    dtype : dtype, optional
        By default that of the value, 32-bit for a Python number.
    device : Device, optional
        Where to make it.
    """
    sizes = _shape(shape)
    if type(fill_value) is Array:
        value = fill_value if dtype is None else astype(fill_value, dtype)
        return broadcast_to(value, sizes)
    backend, place = _place(device)
    kind = promote([], [type(fill_value)]) if type(fill_value) in (bool, int, float, complex) else None
    default = kind or canonical(np.asarray(fill_value).dtype.name)
    raw_dtype = _raw_dtype(backend, dtype, default)
    name = default if dtype is None else np.dtype(dtype).name
    number = np.asarray(fill_value).astype(name).item()
    return wrap(backend.xp.full(sizes, number, dtype=raw_dtype, device=place))


def empty_like(x: Any, /, dtype: Any = None) -> Array:
    """Return zeros of the shape, dtype and device of `x`."""
    return full_like(x, 0, dtype=dtype)


def full_like(x: Any, /, fill_value: Any, dtype: Any = None) -> Array:
    """Return an array of one value, of the shape, dtype and device of `x`."""
    like = as_array(x, "full_like")
    return full(like.shape, fill_value, dtype=like.dtype if dtype is None else dtype, device=like.device)


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None, device: Device | None = None
) -> Array:
    """Return evenly spaced numbers from `start` (0 if one number is given) to below `stop`."""
    if stop is None:
        start, stop = 0, start
    numbers = [number.item() if hasattr(number, "item") else number for number in (start, stop, step)]
    kind = FLOATING if any(isinstance(number, float) for number in numbers) else INTEGER
    backend, place = _place(device)
    raw_dtype = _raw_dtype(backend, dtype, default_dtype(kind))
    return wrap(backend.xp.arange(*numbers, dtype=raw_dtype, device=place))


def linspace(
    start: float, stop: float, num: int = 50, *, endpoint: bool = True, dtype: Any = None, device: Device | None = None
) -> Array:
    """Return `num` evenly spaced numbers from `start` to `stop`, which is left out without `endpoint`."""
    backend, place = _place(device)
    raw_dtype = _raw_dtype(backend, dtype, default_dtype(FLOATING))
    return wrap(backend.xp.linspace(start, stop, num, dtype=raw_dtype, device=place, endpoint=endpoint))


def eye(n: int, m: int | None = None, *, k: int = 0, dtype: Any = None, device: Device | None = None) -> Array:
    """Return a matrix of shape (n, m) with ones on its k-th diagonal."""
    backend, place = _place(device)
    raw_dtype = _raw_dtype(backend, dtype, default_dtype(FLOATING))
    return wrap(backend.xp.eye(n, m, k=k, dtype=raw_dtype, device=place))


def broadcast_arrays(*arrays: Any) -> list[Array]:
    """Broadcast arrays to their common shape."""
    given = [as_array(array, "broadcast_arrays") for array in arrays]
    try:
        shape = np.broadcast_shapes(*(array.shape for array in given))
    except ValueError as error:
        raise ShapeError(f"broadcast_arrays: shapes do not broadcast: {[a.shape for a in given]}") from error
    return [broadcast_to(array, shape) for array in given]


def result_type(*operands: Any) -> np.dtype[Any]:
    """Return the dtype in which arrays, dtypes and Python numbers meet."""
    names, weak = [], []
    for operand in operands:
        if isinstance(operand, bool | int | float | complex) and not hasattr(operand, "dtype"):
            weak.append(type(operand))
        elif isinstance(operand, type | np.dtype | str):
            names.append(np.dtype(operand).name)
        else:
            names.append(dtype_name(as_operand(operand, "result_type")))
    return np.dtype(promote(names, weak))
