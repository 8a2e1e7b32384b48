"""`cupy.ndarray`: a NumPy array that shows itself as CuPy's do."""

import warnings

import numpy as np

import cupy
from cupy import cuda
from cupy._core import UNINITIALIZED, check_peer, is_array, launched, quietly, raw, supported, wrap
from cupy._indexing import get_item, scatter, set_item
from cupy._ledger import STARTED, TO_DEVICE, TO_HOST, note, started


def _is_pinned(array):
    """Return whether the host's array is in memory that a GPU writes to by itself."""
    owner = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(getattr(owner, "obj", owner), cuda.PinnedMemory)


class MemoryPointer:
    """Where an array begins."""

    def __init__(self, array):
        self.ptr = array._a.ctypes.data if array.size else 0
        self.device_id = array._device
        self.device = cuda.Device(array._device)


class ndarray:
    """An array of a pretended GPU."""

    __module__ = "cupy"
    __array_priority__ = 100
    __hash__ = None
    __slots__ = ("__weakref__", "_a", "_device")

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        if memptr is not None or strides is not None:
            raise NotImplementedError("the stand-in allocates by itself")
        self._a = np.full(shape, UNINITIALIZED, supported(dtype), order=order)
        self._device = cuda.Device().id

    # What it is

    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)
    flags = property(lambda self: self._a.flags)
    device = property(lambda self: cuda.Device(self._device))
    data = property(MemoryPointer)
    T = property(lambda self: self._view(self._a.T))
    mT = property(lambda self: self._view(np.swapaxes(self._a, -1, -2)))

    @property
    def __cuda_array_interface__(self):
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.data.ptr, False), "version": 3}

    def _view(self, part):
        return wrap(part, self._device)

    @property
    def real(self):
        return self._view(self._a.real) if self.dtype.kind == "c" else self

    @real.setter
    def real(self, value):
        self._a.real[...] = raw(value, "real")

    @property
    def imag(self):
        return self._view(self._a.imag) if self.dtype.kind == "c" else cupy.zeros_like(self)

    @imag.setter
    def imag(self, value):
        self._a.imag[...] = raw(value, "imag")

    # To the host

    def get(self, stream=None, order="C", out=None, blocking=True):
        if not blocking and out is not None and _is_pinned(out):
            note(STARTED, f"{self.dtype}{list(self.shape)}")
            copied = self._a.copy()  # as it is now, whatever comes behind it
            started(lambda: np.copyto(out, copied))
            return out
        note(TO_HOST, f"{self.dtype}{list(self.shape)}")
        if out is None:
            return np.array(self._a, order=order)
        out[...] = self._a
        return out

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if (self.dtype, self.shape) != (arr.dtype, arr.shape):
            raise ValueError(f"Shape or dtype mismatch. Old: {self.shape}, {self.dtype}, new: {arr.shape}, {arr.dtype}")
        note(TO_DEVICE, f"{self.dtype}{list(self.shape)}")
        self._a[...] = arr

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def item(self):
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C"):
        return self.get().tobytes(order)

    def __bool__(self):
        if self.size == 0:
            warnings.warn("The truth value of an empty array is ambiguous.", DeprecationWarning, stacklevel=2)
            return False
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous.")
        return bool(self.get())

    def __int__(self):
        return int(self.get())

    def __float__(self):
        return float(self.get())

    def __complex__(self):
        return complex(self.get())

    def __index__(self):
        return self.get().__index__()

    def __repr__(self):
        return repr(self.get())

    def __str__(self):
        return str(self.get())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __reduce__(self):
        return cupy.array, (self.get(),)

    def __len__(self):
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        with self.device:
            return self.copy()

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        return self._a.view()  # something that stands for the GPU's memory: no capsule, so NumPy cannot take it

    def __dlpack_device__(self):
        return (2, self._device)

    # Memory

    @quietly
    def _cast(self, dtype, order):
        source = self._a.real if self.dtype.kind == "c" and dtype.kind not in "bc" else self._a
        return source.astype(dtype, order=order)

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        check_peer(self)
        dtype = supported(dtype)
        if dtype == self.dtype and not copy:
            return self
        if self.dtype.kind == "c" and dtype.kind not in "bc":
            warnings.warn(
                "Casting complex values to real discards the imaginary part", np.exceptions.ComplexWarning, stacklevel=2
            )
        launched("astype", self.size)
        return wrap(self._cast(dtype, order))

    def copy(self, order="C"):
        launched("copy", self.size)
        return wrap(self._a.copy(order=order))

    def view(self, dtype=None, array_class=None):
        return self._view(self._a if dtype is None else self._a.view(dtype))

    def fill(self, value):
        if isinstance(value, np.ndarray):
            if value.shape:
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            value = value.item()
        launched("fill", self.size)
        self._a.fill(value._a if is_array(value) else value)

    def _reshaped(self, shape, order="C"):
        result = self._a.reshape(shape, order=order)
        if not np.shares_memory(result, self._a):
            launched("copy for reshape", result.size)
        return self._view(result)

    def reshape(self, *shape, order="C", copy=None):
        if len(shape) == 1 and not isinstance(shape[0], int | np.integer):
            shape = tuple(shape[0])
        return self._reshaped(shape, order)

    def ravel(self, order="C"):
        return self._reshaped(-1, order)

    def flatten(self, order="C"):
        launched("copy", self.size)
        return wrap(self._a.flatten(order))

    def transpose(self, *axes):
        return self._view(self._a.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        return self._view(self._a.swapaxes(axis1, axis2))

    def squeeze(self, axis=None):
        return self._view(self._a.squeeze(axis))

    def diagonal(self, offset=0, axis1=0, axis2=1):
        return self._view(self._a.diagonal(offset, axis1, axis2))

    # Methods that are functions

    def dot(self, b, out=None):
        if not is_array(b):
            raise TypeError(f"Argument 'b' has incorrect type (expected cupy.ndarray, got {type(b).__name__})")
        return cupy.dot(self, b, out)

    def conj(self):
        return cupy.conj(self) if self.dtype.kind == "c" else self

    conjugate = conj

    def sort(self, axis=-1, kind=None):
        self._a[...] = cupy.sort(self, axis, kind)._a

    # Indexing

    __getitem__ = get_item
    __setitem__ = set_item

    def scatter_add(self, slices, value):
        warnings.warn(
            "`ndarray.scatter_add` is deprecated. Please use `cupy.add.at` instead.", DeprecationWarning, stacklevel=2
        )
        scatter(self, slices, value)

    # NumPy's protocols

    def __array_ufunc__(self, function, method, *inputs, **kwargs):
        import cupyx.scipy.special as special

        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        ours = getattr(cupy, function.__name__, None) or getattr(special, function.__name__, None)
        if ours is None or method not in ("__call__", "outer", "at", "reduce", "accumulate"):
            return NotImplemented
        operands = (*inputs, *([kwargs["out"]] if "out" in kwargs else []))
        if not all(isinstance(x, ndarray | np.ndarray | np.generic | bool | int | float | complex) for x in operands):
            return NotImplemented
        return (ours if method == "__call__" else getattr(ours, method))(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if not all(issubclass(kind, ndarray | np.ndarray) for kind in types):
            return NotImplemented
        place = cupy
        for part in function.__module__.split(".")[1:]:
            place = getattr(place, part, None)
        ours = getattr(place, function.__name__, None)
        return NotImplemented if ours is None else ours(*args, **kwargs)


def _method(name):
    def method(self, *args, **kwargs):
        return getattr(cupy, name)(self, *args, **kwargs)

    method.__name__ = name
    return method


for _name in (
    "all any argmax argmin argsort clip cumprod cumsum max mean min nonzero prod repeat round searchsorted std sum "
    "take trace var"
).split():
    setattr(ndarray, _name, _method(_name))


# Operators: CuPy's own between its arrays, NumPy's protocol with anything else


def gives_way(x, y):
    """Return whether the other operand's reflected operator is to be asked."""
    missing = object()
    theirs = getattr(y, "__array_ufunc__", missing)
    return theirs is None if theirs is not missing else x.__array_priority__ < getattr(y, "__array_priority__", 0)


BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def _binary(name, function):
    of_numpy = getattr(np, function)

    def forward(x, y):
        if is_array(y):
            return getattr(cupy, function)(x, y)
        return NotImplemented if gives_way(x, y) else of_numpy(x, y)

    def reflected(x, y):
        return NotImplemented if gives_way(x, y) else of_numpy(y, x)

    def in_place(x, y):
        return getattr(cupy, function)(x, y, x)

    setattr(ndarray, f"__{name}__", forward)
    setattr(ndarray, f"__r{name}__", reflected)
    setattr(ndarray, f"__i{name}__", in_place)


def _comparison(name, function):
    of_numpy = getattr(np, function)

    def compare(x, y):
        if is_array(y):
            return getattr(cupy, function)(x, y)
        if gives_way(x, y):
            return NotImplemented
        if name in ("eq", "ne") and (y is None or type(y).__eq__ is object.__eq__):
            return cupy.full(x.shape, name == "ne", bool)
        return of_numpy(x, y)

    setattr(ndarray, f"__{name}__", compare)


for _name, _function in BINARY.items():
    _binary(_name, _function)
for _name, _function in COMPARISONS.items():
    _comparison(_name, _function)
for _name, _function in UNARY.items():
    setattr(ndarray, f"__{_name}__", (lambda f: lambda x: getattr(cupy, f)(x))(_function))
ndarray.__matmul__ = lambda x, y: cupy.matmul(x, y) if is_array(y) else NotImplemented
ndarray.__divmod__ = lambda x, y: (x // y, x % y)

_general_power = ndarray.__pow__
SHORT_POWERS = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}


def _power(x, y):
    # CuPy's short ways for Python's numbers.
    if type(y) is int and y == 2:
        return cupy.square(x)
    if type(y) is float and y in SHORT_POWERS and x.dtype.kind in "fc":
        return getattr(cupy, SHORT_POWERS[y])(x)
    return _general_power(x, y)


ndarray.__pow__ = _power
