"""Making arrays: on the current backend and device, 32-bit unless another dtype is asked for."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradkit.backend import (
    NARROW,
    Backend,
    Device,
    backend_of,
    current_backend,
    current_device,
    first_on_gpu,
    get_backend,
    note_use,
)
from gradkit.core import Array
from gradkit.core.array import backend_of_array, place_of_array, raw, wrap
from gradkit.core.namespace import publish
from gradkit.core.node import Leaf, made_of_one_number
from gradkit.core.operands import as_array, as_arrays, dtype_name, require_fit
from gradkit.core.printing import shaped
from gradkit.core.promotion import (
    FLOATING,
    INTEGER,
    PYTHON_NUMBERS,
    canonical,
    default_dtype,
    dtype_named,
    kind_of,
    letter_of,
    promote,
    requested_dtype,
)
from gradkit.core.sharding import refuse_sharding
from gradkit.core.sizes import whole_numbers
from gradkit.errors import ShapeError, TracerIntegerConversionError
from gradkit.primitives.elementwise import positive
from gradkit.primitives.manipulation import astype, broadcast_to, reshape, stack, to_device
from gradkit.transfers import crossing, guards

__all__ = [
    "arange", "array", "asarray", "broadcast_arrays", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like",
    "ones", "ones_like", "zeros", "zeros_like",
]  # fmt: skip

Shape = int | Sequence[int]


def _place(device: Device | None) -> tuple[Backend, Any]:
    """Return the backend, and what it takes as ``device=``, for a new array."""
    if device is None:
        return current_backend(), current_device()
    if not isinstance(device, Device):
        raise TypeError(f"device: expected a Device, one of gradkit.devices(), got {device!r}")
    return get_backend(device.backend), device.raw


def _raw_dtype(backend: Backend, dtype: Any, default: str) -> Any:
    name = default if dtype is None else requested_dtype(dtype)
    kind_of(name)  # an error for a dtype that is not one of numbers
    return backend.raw_dtype_named(name)


def _shape(shape: Shape) -> tuple[int, ...]:
    try:
        sizes = whole_numbers(shape)
    except TracerIntegerConversionError as error:
        raise TypeError(f"Shapes must be 1D sequences of concrete values of integer type, got {shape}") from error
    if min(sizes, default=0) < 0:
        raise ValueError(f"shape: sizes must not be negative, got {sizes}")
    return sizes


def asarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    device: Device | None = None,
    out_sharding: None = None,
) -> Array:
    """Make an Array of numbers, nested lists, a NumPy array, or a backend's own array.

    Parameters
    ----------
    a : object
        Numbers and lists are new: they become 32-bit unless x64 is enabled or `dtype` says otherwise. An array keeps
        its dtype. A NumPy array is copied to the current backend where that is another one; an array that is on a
        backend already stays there unless `device` is given.
    dtype : dtype, optional
        The dtype of the result.
    order : {"C", "K", "A"}, optional
        It makes no difference.
    copy : bool, optional
        True always copies, None where it must, and False never.
    device : Device, optional
        Where the result should be, one of `gradkit.devices`.

    Raises
    ------
    TypeError
        If `a` is no array, number or nested list of numbers.
    ValueError
        If nested lists are ragged, or ``copy=False`` and it takes a copy.

    Examples
    --------
    >>> asarray([1.0, 2.0])
    Array([1., 2.], dtype=float32)
    """
    if out_sharding is not None:
        refuse_sharding(out_sharding, "asarray")
    if order not in (None, "C", "K", "A"):
        raise NotImplementedError(f"asarray: only row-major order is there, got order={order!r}")
    result = _as_is(a, dtype, device)
    if dtype is not None and (copy is not False or requested_dtype(dtype) != dtype_name(result)):
        result = astype(result, dtype)
    if device is not None:
        result = to_device(result, device)
    if copy and result._node is None and raw(result) is raw(a):
        result = wrap(backend_of_array(result).xp.asarray(raw(result), copy=True))
    elif copy and raw(result) is raw(a):
        # Another object, so that one can be assigned to (gradkit.item_assignment) without the other.
        result = positive(result) if type(result._node) is Leaf else wrap(result._value, result._node)
    if copy is False and raw(result) is not raw(a):
        raise ValueError(
            f"asarray: copy=False, but an Array of {type(a).__name__} with this dtype and device is a copy"
        )
    return result


def _as_is(obj: Any, dtype: Any, device: Device | None) -> Array:
    if type(obj) is Array:
        return obj
    if hasattr(type(obj), "__gradkit_array__"):
        array: Array = obj.__gradkit_array__()
        return array
    owner = None if type(obj) in (list, tuple) else backend_of(obj)
    if isinstance(obj, np.ndarray) and not isinstance(obj, np.generic):
        backend, place = _place(device)
        values = _native(obj)
        if dtype is not None and not backend.has_dtype(values.dtype.name):
            wanted = dtype_named(requested_dtype(dtype))
            if wanted.kind == "c" or values.dtype.kind != "c":
                values = values.astype(wanted)  # here, since the backend cannot
        return wrap(_brought(values, backend, place))
    if owner is not None and not owner.is_scalar(obj):
        owner.dtype_name(obj)  # which notes a dtype that is seen first
        return wrap(owner.admit(obj, "asarray"))
    if isinstance(obj, list | tuple) and _holds_array(obj):
        return stack([_as_is(item, dtype, device) for item in obj])
    try:
        values = np.asarray(obj)
    except ValueError as error:
        raise ValueError(f"asarray: nested lists must have equal lengths at each depth ({error})") from error
    if values.dtype.kind == "O" and all(type(item) in PYTHON_NUMBERS for item in values.flat):
        # Among them are integers that no integer dtype holds.
        dtype = promote([], map(type, values.flat)) if dtype is None else dtype
    elif letter_of(values.dtype) not in "biufc":
        raise TypeError(f"asarray: expected numbers or arrays, got {obj!r} of type {type(obj).__name__}")
    if dtype is not None:
        # From the numbers themselves: NumPy refuses one that does not fit, where those of an array wrap around.
        values = np.asarray(obj, dtype=dtype_named(requested_dtype(dtype)))
    else:
        narrow = canonical(values.dtype.name) if values.size else default_dtype(FLOATING)
        values = _checked_cast(values, dtype_named(narrow))
    backend, place = _place(device)
    return wrap(_brought(values, backend, place))


def _brought(values: np.ndarray[Any, Any], backend: Backend, device: Any) -> Any:
    """Return a NumPy array as a backend's: the door through which values come from the host."""
    if guards.is_on and not backend.is_on_host(device):
        where = next((d for d in backend.devices if d.raw == device), backend.devices[0])
        crossing("host_to_device", f"{shaped(values)} to {where}", "a new array")
    return backend.from_host(values, device)


def _native(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array in this machine's byte order, which is the only one other libraries take."""
    if values.dtype.kind not in "biufc" and values.dtype.name not in NARROW:
        raise TypeError(
            f"asarray: expected an array of numbers, got dtype {values.dtype}. Convert it first: x.astype('float32')."
        )
    if values.dtype.name in NARROW:
        note_use()
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


def array(
    object: Any,
    dtype: Any = None,
    copy: bool = True,
    order: str | None = "K",
    ndmin: int = 0,
    *,
    device: Device | None = None,
    out_sharding: None = None,
) -> Array:
    """Make an Array as `asarray` does, by default with memory of its own, and of at least `ndmin` axes."""
    if out_sharding is not None:
        refuse_sharding(out_sharding, "array")
    result = asarray(object, dtype, order, copy=copy or None, device=device)
    return result if result.ndim >= ndmin else reshape(result, (1,) * (ndmin - result.ndim) + result.shape)


def zeros(shape: Shape, dtype: Any = None, *, device: Device | None = None, out_sharding: None = None) -> Array:
    """Return an array of zeros."""
    if out_sharding is not None:
        refuse_sharding(out_sharding, "zeros")
    return _new("zeros", shape, dtype, device)


def ones(shape: Shape, dtype: Any = None, *, device: Device | None = None, out_sharding: None = None) -> Array:
    """Return an array of ones."""
    if out_sharding is not None:
        refuse_sharding(out_sharding, "ones")
    return _new("ones", shape, dtype, device)


def empty(shape: Shape, dtype: Any = None, *, device: Device | None = None, out_sharding: None = None) -> Array:
    """Return an array of zeros: there is no array without values."""
    if out_sharding is not None:
        refuse_sharding(out_sharding, "empty")
    return _new("zeros", shape, dtype, device)


def _new(creator: str, shape: Shape, dtype: Any, device: Device | None) -> Array:
    backend, place = _place(device)
    raw_dtype = _raw_dtype(backend, dtype, default_dtype(FLOATING))
    return made_of_one_number(wrap(getattr(backend.xp, creator)(_shape(shape), dtype=raw_dtype, device=place)))


def full(
    shape: Shape, fill_value: Any, dtype: Any = None, *, device: Device | None = None, out_sharding: None = None
) -> Array:
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
    if out_sharding is not None:
        refuse_sharding(out_sharding, "full")
    sizes = _shape(shape)
    if _is_one_number(fill_value):
        return _filled(sizes, fill_value, dtype, *_place(device))
    if dtype is not None:
        require_fit(requested_dtype(dtype), fill_value, "full")
    return broadcast_to(asarray(fill_value, dtype=dtype, device=device), sizes)


def _is_one_number(value: Any) -> bool:
    return type(value) is not Array and not isinstance(value, list | tuple) and not getattr(value, "shape", None)


def _filled(sizes: tuple[int, ...], fill_value: Any, dtype: Any, backend: Backend, place: Any) -> Array:
    kind = promote([], [type(fill_value)]) if type(fill_value) in (bool, int, float, complex) else None
    default = kind or canonical(np.asarray(fill_value).dtype.name)
    raw_dtype = _raw_dtype(backend, dtype, default)
    name = default if dtype is None else requested_dtype(dtype)
    if dtype is not None:
        require_fit(name, fill_value, "full")
    value = np.asarray(fill_value)
    number = (_checked_cast if type(fill_value) is int else np.ndarray.astype)(value, dtype_named(name)).item()
    return made_of_one_number(wrap(backend.xp.full(sizes, number, dtype=raw_dtype, device=place)))


def _like(creator: str, x: Any, dtype: Any, shape: Shape | None, device: Device | None) -> Array:
    """Return zeros or ones of the shape, dtype and device of `x`, unless others are given."""
    array = as_array(x, f"{creator}_like")
    backend, place = place_of_array(array) if device is None else _place(device)
    sizes = array.shape if shape is None else _shape(shape)
    raw_dtype = _raw_dtype(backend, dtype, dtype_name(array))
    return made_of_one_number(wrap(getattr(backend.xp, creator)(sizes, dtype=raw_dtype, device=place)))


def zeros_like(
    a: Any, dtype: Any = None, shape: Shape | None = None, *, device: Device | None = None, out_sharding: None = None
) -> Array:
    """Return zeros of the shape, dtype and device of `a`, unless others are given."""
    if out_sharding is not None:
        refuse_sharding(out_sharding, "zeros_like")
    return _like("zeros", a, dtype, shape, device)


def ones_like(
    a: Any, dtype: Any = None, shape: Shape | None = None, *, device: Device | None = None, out_sharding: None = None
) -> Array:
    """Return ones of the shape, dtype and device of `a`, unless others are given."""
    if out_sharding is not None:
        refuse_sharding(out_sharding, "ones_like")
    return _like("ones", a, dtype, shape, device)


def empty_like(prototype: Any, dtype: Any = None, shape: Shape | None = None, *, device: Device | None = None) -> Array:
    """Return zeros of the shape, dtype and device of `prototype`, unless others are given."""
    return _like("zeros", prototype, dtype, shape, device)


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    shape: Shape | None = None,
    *,
    device: Device | None = None,
    out_sharding: None = None,
) -> Array:
    """Return an array of one value, of the shape, dtype and device of `a`, unless others are given."""
    if out_sharding is not None:
        refuse_sharding(out_sharding, "full_like")
    array = as_array(a, "full_like")
    sizes = array.shape if shape is None else shape
    dtype = dtype_name(array) if dtype is None else dtype
    if device is None and _is_one_number(fill_value):
        return _filled(_shape(sizes), fill_value, dtype, *place_of_array(array))
    return full(sizes, fill_value, dtype=dtype, device=array.device if device is None else device)


def arange(
    start: Any,
    stop: Any = None,
    step: Any = None,
    dtype: Any = None,
    *,
    device: Device | None = None,
    out_sharding: None = None,
) -> Array:
    """Return evenly spaced numbers.

    Parameters
    ----------
    start, stop : number
        From where, and below what; of one number alone the range is from 0.
    step : number, optional
        The distance, by default 1.
    dtype : dtype, optional
        By default the default integer dtype, or the default floating dtype if one of the numbers has a fraction.
    device : Device, optional
        Where to make it.

    Examples
    --------
    >>> arange(2, 8, 3)
    Array([2, 5], dtype=int32)
    """
    if out_sharding is not None:
        refuse_sharding(out_sharding, "arange")
    if stop is None:
        start, stop = 0, start
    numbers = [number.item() if hasattr(number, "item") else number for number in (start, stop, step)]
    kind = FLOATING if any(isinstance(number, float) for number in numbers) else INTEGER
    backend, place = _place(device)
    raw_dtype = _raw_dtype(backend, dtype, default_dtype(kind))
    first, last, distance = numbers
    distance = 1 if distance is None else distance
    if distance == 0:
        raise ValueError("arange: step must not be 0")
    if (name := requested_dtype(dtype) if dtype is not None else "") in backend.computes_in_float32:
        return astype(arange(first, last, distance, "float32", device=device), name)
    return wrap(backend.xp.arange(first, last, distance, dtype=raw_dtype, device=place))


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None, *, device: Device | None = None) -> Array:
    """Return a matrix of shape (N, M) with ones on its k-th diagonal."""
    backend, place = _place(device)
    raw_dtype = _raw_dtype(backend, dtype, default_dtype(FLOATING))
    return wrap(backend.xp.eye(N, M, k=operator.index(k), dtype=raw_dtype, device=place))


HOST_MEMORY = 1
"""DLPack's number for it."""


def from_dlpack(x: Any, /, *, device: Device | None = None, copy: bool | None = None) -> Array:
    """Make an Array of another library's array, by the DLPack protocol, without copying where it can.

    Parameters
    ----------
    x : object
        An array with ``__dlpack__``.
    device : Device, optional
        Where the result should be; by default where `x` is.
    copy : bool, optional
        True always copies; False raises where a copy would be needed.

    Raises
    ------
    ValueError
        If ``copy=False`` and `device` is another one.
    """
    if type(x) is Array or backend_of(x) is not None:
        return asarray(x, device=device, copy=copy)
    kind = int(x.__dlpack_device__()[0])
    backend, _ = _place(device)
    if (backend.platform == "cpu") is not (kind == HOST_MEMORY):
        backend = get_backend("numpy") if kind == HOST_MEMORY else first_on_gpu()
    options = {} if copy is None else {"copy": copy}
    return asarray(wrap(backend.xp.from_dlpack(x, **options)), device=device, copy=False if copy is False else None)


def broadcast_arrays(*arrays: Any) -> tuple[Array, ...]:
    """Broadcast arrays to their common shape."""
    given = as_arrays(arrays, "broadcast_arrays")
    try:
        shape = np.broadcast_shapes(*(array.shape for array in given))
    except ValueError as error:
        raise ShapeError(f"broadcast_arrays: shapes do not broadcast: {[a.shape for a in given]}") from error
    return tuple(broadcast_to(array, shape) for array in given)


publish(globals(), ("arange", "eye", "full", "full_like", "ones", "zeros"))
