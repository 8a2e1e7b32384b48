"""Indexing: indices are not checked but wrap around, lists travel to the GPU, and a mask's count comes back."""

import numpy as np

from cupy._core import check_peer, is_array, launched, quietly, raw, wrap
from cupy._ledger import TO_DEVICE, TO_HOST, note

ADDED_ATOMICALLY = "ilqILQefd"
"""The dtypes that `cupy.add.at` takes with arrays of indices."""


def is_mask(part):
    return isinstance(part, np.ndarray) and part.dtype.kind == "b"


def _part(part):
    """Return one part of an index as NumPy takes it, and whether it takes elements."""
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part, False
    if is_array(part):
        check_peer(part)
        found = part._a
    elif np.isscalar(part) and not isinstance(part, bool | np.bool_):
        return (int(part) if hasattr(part, "__index__") else part), False
    else:
        note(TO_DEVICE, "index")
        found = np.asarray(part)
        if not found.size and isinstance(part, list | tuple):
            found = found.astype(np.int32)
    if found.dtype.kind not in "biu":
        raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {found.dtype})")
    return found, True


def wrapped_around(index, size):
    """Return an array of indices as CuPy reads it: modulo the size, whatever it is."""
    if index.dtype.kind == "u":
        index = index % np.uint64(size) if size else index
    elif size:
        index = index.astype(np.int64) % size
    return index.astype(np.int64)


def prepared(array, key):
    """Return NumPy's index, and whether it takes elements."""
    found = [_part(part) for part in (key if isinstance(key, tuple) else (key,))]
    parts = [part for part, _ in found]
    if not any(takes for _, takes in found):
        return tuple(parts), False
    used = sum(part.ndim if is_mask(part) else part is not None for part in parts if part is not Ellipsis)
    if not any(part is Ellipsis for part in parts):
        parts.append(Ellipsis)
    axis, done = 0, []
    for part in parts:
        if isinstance(part, np.ndarray) and not is_mask(part):
            done.append(wrapped_around(part, array.shape[axis] if axis < array.ndim else 0))
        else:
            done.append(part)
        if part is Ellipsis:
            axis += array.ndim - used
        elif is_mask(part):
            axis += part.ndim
        elif part is not None:
            axis += 1
    return tuple(done), True


def get_item(array, key):
    index, takes = prepared(array, key)
    if not takes:
        return wrap(np.asarray(array._a[index]), array._device)
    if any(map(is_mask, index)):
        note(TO_HOST, "how many elements of a mask are true")
    result = array._a[index]
    launched("take", result.size)
    return wrap(result)


@quietly
def set_item(array, key, value):
    index, takes = prepared(array, key)
    if isinstance(value, np.ndarray):
        if value.shape and not takes:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        note(TO_DEVICE, "value")
    elif is_array(value):
        check_peer(value)
        value = value._a
        while value.ndim and value.shape[0] == 1:
            value = value[0]
    launched("set", array.size)
    array._a[index] = value


def scatter(array, key, value):
    """Add at indices, as `cupy.add.at` does."""
    index, takes = prepared(array, key)
    if takes and array.dtype.char not in ADDED_ATOMICALLY:
        raise TypeError(
            "cupy.add.at only supports int32, int64, float16, float32, float64, uint32, uint64, as data type, got "
            f"{array.dtype}"
        )
    if is_array(value):
        value = raw(value, "add.at").astype(array.dtype, copy=False)
    launched("scatter_add", np.size(value))
    np.add.at(array._a, index, value)


def take(a, indices, axis=None, out=None, mode="wrap"):
    source = raw(a, "take")
    if is_array(indices):
        indices = raw(indices, "take")
    elif not np.isscalar(indices):
        note(TO_DEVICE, "index")
        indices = np.asarray(indices, int)
    size = source.size if axis is None else source.shape[axis]
    if not size and np.size(indices):
        raise IndexError("cannot do a non-empty take from an empty axes.")
    result = np.asarray(np.take(source, wrapped_around(np.asarray(indices), size), axis))
    launched("take", result.size)
    return wrap(result)


def take_along_axis(a, indices, axis):
    import cupy

    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        a, axis = a.ravel(), 0
    if a.ndim != indices.ndim:
        raise ValueError("`indices` and `a` must have the same number of dimensions")
    axis %= a.ndim
    index = [
        indices if i == axis else cupy.arange(n).reshape((1,) * i + (-1,) + (1,) * (a.ndim - i - 1))
        for i, n in enumerate(a.shape)
    ]
    for _ in index:
        launched("prepare index")
    return a[tuple(index)]


def nonzero(a):
    note(TO_HOST, "how many elements are not 0")
    launched("nonzero", a.size)
    return tuple(map(wrap, np.nonzero(raw(a, "nonzero"))))
