"""CuPy's other functions: NumPy's, on CuPy's arrays alone."""

import numpy as np

from cupy import cuda
from cupy._core import check_peer, get_compute_type, is_array, launched, of_numpy, quietly, raw, unwrapped, wrap
from cupy._indexing import nonzero
from cupy._ledger import products
from cupy._ufunc import choose, unsupported

VIEWS = "atleast_1d broadcast_to expand_dims flip moveaxis rollaxis squeeze swapaxes"
OF_SEQUENCES = "concatenate hstack stack vstack"
OTHERS = (
    "argmax argmin count_nonzero cross diagonal diff inner isin kron median nan_to_num outer prod ptp "
    "repeat roll std tensordot tile trace tril triu unique var vecdot"
)
FUNCTIONS = {
    **{name: of_numpy(name, getattr(np, name), launches=False) for name in VIEWS.split()},
    **{name: of_numpy(name, getattr(np, name), takes_sequence=True) for name in OF_SEQUENCES.split()},
    **{name: of_numpy(name, getattr(np, name)) for name in OTHERS.split()},
}


def _reduction(name):
    function = quietly(getattr(np, name))

    def reduce(a, axis=None, dtype=None, out=None, keepdims=False):
        if out is not None:
            raise NotImplementedError(f"the stand-in's {name} takes no out=")
        options = {} if dtype is None else {"dtype": dtype}
        result = np.asarray(function(raw(a, name), axis=axis, keepdims=keepdims, **options))
        launched(name, result.size)
        return wrap(result)

    def without_dtype(a, axis=None, out=None, keepdims=False):
        return reduce(a, axis, None, out, keepdims)

    found = reduce if name in ("sum", "mean") else without_dtype
    found.__name__ = found.__qualname__ = name
    return found


FUNCTIONS |= {name: _reduction(name) for name in "all any max mean min sum".split()}
FUNCTIONS |= {"amax": FUNCTIONS["max"], "amin": FUNCTIONS["min"]}


def where(condition, x=None, y=None):
    return nonzero(condition) if x is None else choose(condition.astype("?", copy=False), x, y)


def broadcast_arrays(*args):
    shape = np.broadcast_shapes(*(a.shape for a in args))
    return [wrap(np.broadcast_to(raw(a, "broadcast_arrays"), shape)) for a in args]


def einsum(*operands, **kwargs):
    result = quietly(np.einsum)(*(unwrapped(x, "einsum") for x in operands), **kwargs)
    launched("einsum")
    return wrap(result)


def dot(a, b, out=None):
    for x in (a, b):
        if not is_array(x):
            raise unsupported(x)
        check_peer(x)
    launched("dot")
    products.append(get_compute_type("f"))
    return wrap(quietly(np.dot)(a._a, b._a))


def matmul(x1, x2, /, out=None, **kwargs):
    for x in (x1, x2):
        if not is_array(x):
            raise unsupported(x)
        check_peer(x)
    if x1.dtype == x2.dtype == bool:
        raise TypeError("the stand-in knows no matmul of bool")
    launched("matmul")
    products.append(get_compute_type("f"))
    return wrap(quietly(np.matmul)(x1._a, x2._a))


def clip(a, a_min=None, a_max=None, out=None, **kwargs):
    launched("clip", a.size)
    return wrap(np.clip(raw(a, "clip"), unwrapped(a_min, "clip"), unwrapped(a_max, "clip")))


def round(a, decimals=0, out=None):
    launched("round", a.size)
    return wrap(quietly(np.round)(raw(a, "round"), decimals))


around = round


def meshgrid(*xi, **kwargs):
    return [wrap(x) for x in np.meshgrid(*(raw(x, "meshgrid") for x in xi), **kwargs)]


def _scan(name, operation):
    of_one = getattr(np, name)

    def scan(a, axis=None, dtype=None, out=None):
        """Scan by doubling the distance: the order of operations is not that of a loop, as CuPy's is not."""
        values = raw(a, name)
        kind = of_one(values.ravel()[:1], dtype=dtype).dtype
        values = values.ravel() if axis is None else values
        axis = 0 if axis is None else axis
        values = np.moveaxis(values.astype(kind), axis, -1).copy()
        distance = 1
        while distance < values.shape[-1]:
            values[..., distance:] = quietly(operation)(values[..., distance:], values[..., :-distance])
            distance *= 2
        launched(name, values.size)
        return wrap(np.ascontiguousarray(np.moveaxis(values, -1, axis)))

    scan.__name__ = scan.__qualname__ = name
    return scan


FUNCTIONS |= {"cumsum": _scan("cumsum", np.add), "cumprod": _scan("cumprod", np.multiply)}


# Shapes and dtypes


def reshape(a, shape, order="C", *, copy=None):
    return a.reshape(shape, order=order)


def transpose(a, axes=None):
    return a.transpose() if axes is None else a.transpose(axes)


def ravel(a, order="C"):
    return a.ravel(order)


def copy(a, order="K"):
    return a.copy()


def astype(x, dtype, /, *, copy=True, device=None):
    return x.astype(dtype, copy=copy)


def real(val):
    return val.real


def imag(val):
    return val.imag


def ndim(a):
    return a.ndim


def shape(a):
    return a.shape


def size(a, axis=None):
    return a.size if axis is None else a.shape[axis]


def may_share_memory(a, b):
    return np.may_share_memory(a._a, b._a)


def broadcast(*arrays):
    return np.broadcast(*(a._a for a in arrays))


def isdtype(dtype, kind):
    return np.isdtype(dtype, kind)


# Sorting


def _sorting(a, kind, name):
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")
    values = raw(a, name)
    if not a.ndim and name == "sort":
        raise np.exceptions.AxisError("Sorting arrays with the rank of zero is not supported")
    launched("copy", a.size)
    launched(name, a.size)
    return np.atleast_1d(values)


def sort(a, axis=-1, kind=None):
    return wrap(np.sort(_sorting(a, kind, "sort"), axis=axis, kind="stable"))


def argsort(a, axis=-1, kind=None):
    return wrap(np.argsort(_sorting(a, kind, "argsort"), axis=axis, kind="stable"))


def searchsorted(a, v, side="left", sorter=None):
    if not is_array(a):
        raise NotImplementedError("Only int or ndarray are supported for a")
    if a.ndim != 1:
        raise ValueError("object too deep or of too small depth for desired array")
    if not is_array(v):
        import cupy

        v = cupy.asarray(v)
    launched("searchsorted", v.size)
    order = None if sorter is None else raw(sorter, "searchsorted")
    return wrap(np.asarray(np.searchsorted(raw(a, "searchsorted"), raw(v, "searchsorted"), side, order)))


# The library


def get_default_memory_pool():
    return cuda.MemoryPool()


def get_default_pinned_memory_pool():
    return cuda.MemoryPool()


def get_array_module(*args):
    import cupy

    return cupy if any(map(is_array, args)) else np


def show_config():
    pass
