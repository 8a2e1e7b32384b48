"""Making arrays: on the current GPU, of the dtypes that CuPy has."""

import functools

import numpy as np

from cupy._core import UNINITIALIZED, is_array, launched, raw, supported, unwrapped, wrap
from cupy._ledger import TO_DEVICE, note
from cupy._table import check_call


def has_arrays(value):
    return is_array(value) or (isinstance(value, list | tuple) and any(map(has_arrays, value)))


def fetched(value):
    return (
        [fetched(part) for part in value] if isinstance(value, list | tuple) else value._a if is_array(value) else value
    )


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    if is_array(obj):
        if not copy and (dtype is None or np.dtype(dtype) == obj.dtype) and obj.ndim >= ndmin:
            return obj
        return obj.astype(obj.dtype if dtype is None else dtype)
    if has_arrays(obj):
        values = np.array(fetched(obj), dtype)
        launched("concatenate", values.size)
        return wrap(values)
    if (
        hasattr(obj, "__array__")
        and not isinstance(obj, np.ndarray | np.generic)
        and type(obj).__module__.startswith("gradkit")
    ):
        raise TypeError("a gradkit Array reached cupy.array")
    values = np.array(obj, dtype, ndmin=ndmin)
    supported(values.dtype)
    if not values.dtype.isnative:
        raise ValueError(f"the stand-in takes native byte order alone, got {values.dtype.str}")
    note(TO_DEVICE, f"{values.dtype}{list(values.shape)}")
    return wrap(values)  # its dtype stays the very object that NumPy's array has, as in CuPy


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    return array(a, dtype, copy=bool(copy), blocking=blocking)


def asanyarray(a, dtype=None, order=None, *, blocking=False):
    return asarray(a, dtype)


def ascontiguousarray(a, dtype=None):
    if not is_array(a):
        return asarray(a, dtype)
    values = raw(a, "ascontiguousarray")
    if values.flags.c_contiguous and (dtype is None or a.dtype == dtype):
        return a
    launched("copy", values.size)
    return wrap(np.ascontiguousarray(values, dtype))


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(stream, order, out, blocking) if is_array(a) else np.asarray(a, order=order)


def _making(name):
    make = getattr(np, name)

    @functools.wraps(make)
    def function(*args, **kwargs):
        check_call(name, args, kwargs)
        result = make(*(unwrapped(a, name) for a in args), **{k: unwrapped(v, name) for k, v in kwargs.items()})
        supported(result.dtype)
        if name.startswith("empty"):
            result.fill(UNINITIALIZED)
        else:
            launched(name, result.size)
        return wrap(result)

    return function


FUNCTIONS = {
    name: _making(name)
    for name in (
        "arange empty empty_like eye full full_like identity linspace ones ones_like tri zeros zeros_like"
    ).split()
}
