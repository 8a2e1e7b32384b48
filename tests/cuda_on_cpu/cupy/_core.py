"""From NumPy's arrays to the stand-in's and back, and what every function checks."""

import functools
import types
import warnings

import numpy as np

from cupy import cuda
from cupy._ledger import LAUNCH, note
from cupy._table import check_call

_routines_linalg = types.SimpleNamespace(COMPUTE_TYPE_DEFAULT=1, COMPUTE_TYPE_FP32=4, COMPUTE_TYPE_TF32=7)
"""CuPy's numbers for how products of float32 are computed."""
_compute_types = {}


def get_compute_type(dtype):
    return _compute_types.get(np.dtype(dtype).char, _routines_linalg.COMPUTE_TYPE_DEFAULT)


def set_compute_type(dtype, compute_type):
    _compute_types[np.dtype(dtype).char] = compute_type


SUPPORTED = "?bBhHiIlLqQefdFD"
UNINITIALIZED = 77


class PerformanceWarning(RuntimeWarning):
    """An array of another GPU than the current one."""


def supported(dtype):
    dtype = np.dtype(dtype)
    if dtype.char not in SUPPORTED:
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype


def is_array(value):
    import cupy

    return isinstance(value, cupy.ndarray)


def check_peer(array):
    """Warn of an array of another GPU: CuPy reads it from the current one."""
    here = cuda.Device().id
    if array._device != here:
        warnings.warn(
            f"The device where the array resides ({array._device}) is different from the current device ({here}). "
            "Peer access has been activated automatically.",
            PerformanceWarning,
            stacklevel=5,
        )


def raw(value, caller):
    """Return an array's NumPy array; what is no array of CuPy's is refused."""
    if not is_array(value):
        raise TypeError(f"cupy.{caller}: expected cupy.ndarray, got {type(value)}")
    check_peer(value)
    return value._a


def unwrapped(value, caller):
    """Return an argument with NumPy's arrays for CuPy's; NumPy's own are refused."""
    if is_array(value):
        return raw(value, caller)
    if isinstance(value, np.ndarray):
        raise TypeError(f"cupy.{caller}: a numpy.ndarray among the arguments")
    if type(value) in (list, tuple):
        return type(value)(unwrapped(part, caller) for part in value)
    return value


def wrap(result, device=None):
    """Return NumPy's result as an array of the current device (or of `device`); a scalar becomes a 0-d array."""
    import cupy

    array = object.__new__(cupy.ndarray)
    array._a = result if type(result) is np.ndarray else np.asarray(result)
    array._device = cuda.Device().id if device is None else device
    return array


def wrapped(result):
    """Return a function's result with CuPy's arrays for NumPy's, in tuples and lists too."""
    if isinstance(result, np.ndarray | np.generic):
        return wrap(result)
    if isinstance(result, list | tuple):
        parts = [wrapped(part) for part in result]
        return parts if type(result) is list else tuple(parts)
    return result


def quietly(function):
    """Return `function` without NumPy's warnings: a GPU has none."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return call


def launched(name, size=1):
    """Note a launch; over no elements CuPy launches nothing."""
    if size:
        note(LAUNCH, name)


def of_numpy(name, function, *, prefix="", launches=True, takes_sequence=False):
    """Return NumPy's function behind the signature of CuPy's of that name, for CuPy's arrays alone.

    With `takes_sequence` the first argument may be a list or tuple of arrays.
    """
    function = quietly(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        check_call(prefix + name, args, kwargs)
        first = next(iter((*args, *kwargs.values())), None)
        parts = first if takes_sequence and isinstance(first, list | tuple) and first else [first]
        if not all(map(is_array, parts)):
            raise TypeError(
                f"cupy.{prefix}{name}: expected cupy.ndarray, got {[type(part).__name__ for part in parts]}"
            )
        result = function(
            *(unwrapped(value, name) for value in args), **{k: unwrapped(v, name) for k, v in kwargs.items()}
        )
        if launches:
            launched(prefix + name, getattr(result, "size", 1))
        return wrapped(result)

    call.__name__ = call.__qualname__ = name
    return call
