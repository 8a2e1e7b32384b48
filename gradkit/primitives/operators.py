"""Python's operators and the methods of Arrays: a table from each name to the operation it calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend import backend_of
from gradkit.core import Array, Elementwise
from gradkit.core.above import above
from gradkit.core.binding import PYTHON_NUMBERS
from gradkit.core.calls import apply, binary
from gradkit.core.promotion import dtype_named
from gradkit.primitives import elementwise as e
from gradkit.primitives import indexing, linalg, manipulation, moments, reductions, taking
from gradkit.primitives.bit_patterns import bitcast
from gradkit.primitives.creation import stop_gradient
from gradkit.primitives.in_place import IN_PLACE, Flat, in_place, setitem
from gradkit.primitives.updates import IndexUpdateHelper

__all__ = ["install"]


def _power(x: Any, y: Any) -> Array:
    # x ** 2 is what losses are made of, and a product is much cheaper than a general power.
    return e.square(x) if type(y) is int and y == 2 else e.pow(x, y)


BINARY: dict[str, Callable[[Any, Any], Array]] = {
    "add": e.add,
    "sub": e.subtract,
    "mul": e.multiply,
    "truediv": e.divide,
    "floordiv": e.floor_divide,
    "mod": e.remainder,
    "pow": _power,
    "matmul": linalg.matmul,
    "and": e.bitwise_and,
    "or": e.bitwise_or,
    "xor": e.bitwise_xor,
    "lshift": e.bitwise_left_shift,
    "rshift": e.bitwise_right_shift,
}
COMPARISON: dict[str, Callable[[Any, Any], Array]] = {
    "lt": e.less,
    "le": e.less_equal,
    "gt": e.greater,
    "ge": e.greater_equal,
    "eq": e.equal,
    "ne": e.not_equal,
}
UNARY: dict[str, Callable[[Any], Array]] = {
    "neg": e.negative,
    "pos": e.positive,
    "abs": e.abs,
    "invert": e.bitwise_invert,
}


def _is_foreign(other: Any) -> bool:
    """Return whether an operand is no number and no array that gradkit knows: it may know what to do with an Array."""
    return backend_of(other) is None and not hasattr(type(other), "__gradkit_array__")


SEQUENCES = (str, bytes, bytearray, list, tuple)


def _refuse(name: str, x: Any, y: Any, other: Any) -> Any:
    """Return NotImplemented, unless Python would take a sequence as one to repeat: ``[1, 2] * x`` of a whole number."""
    if name in ("add", "mul") and type(other) in SEQUENCES:
        raise TypeError(
            f"unsupported operand type(s) for {'+' if name == 'add' else '*'}: '{type(x).__name__}' and "
            f"'{type(y).__name__}'. Make an array of a sequence of numbers with gradkit.numpy.asarray."
        )
    return NotImplemented


def _method(function: Callable[[Any, Any], Array], name: str = "") -> Callable[[Any, Any], Any]:
    """Make the method of an operator: its function, which refuses what may know itself what to do with an Array."""
    if hasattr(function, "primitive"):

        def general(primitive: Elementwise, args: Sequence[Any], least: int) -> Any:
            other = args[1]
            if type(other) is Array or type(other) in PYTHON_NUMBERS or not _is_foreign(other):
                return apply(primitive, args, least)
            return _refuse(name, args[0], other, other)

        return binary(function.primitive, general=general, **function.options)  # type: ignore[attr-defined]

    def method(self: Array, other: Any) -> Any:
        if type(other) is Array or type(other) in PYTHON_NUMBERS:
            return function(self, other)
        return _refuse(name, self, other, other) if _is_foreign(other) else function(self, other)

    return method


def _reflect(function: Callable[[Any, Any], Array], name: str = "") -> Callable[[Any, Any], Any]:
    def method(self: Array, other: Any) -> Any:
        if type(other) in PYTHON_NUMBERS:
            return function(other, self)
        return _refuse(name, other, self, other) if _is_foreign(other) else function(other, self)

    return method


def _divmod(x: Any, y: Any) -> Any:
    return e.floor_divide(x, y), e.remainder(x, y)


LAYOUT = ("base", "ctypes", "flags", "strides")
"""Attributes of NumPy's arrays that say how they are in memory."""


def _no_layout(name: str) -> property:
    """Make the property of what an Array does not have: `hasattr` says no, and `getattr` why."""

    def missing(self: Array) -> Any:
        raise AttributeError(
            f"'Array' object has no attribute {name!r}: gradkit's Arrays do not say how elements are in memory, and "
            f"what writes there would leave the derivative behind. Of a plain one: numpy.asarray(x).{name}."
        )

    return property(missing)


def _from_numpy(name: str) -> Callable[..., Any]:
    """Make the method that calls `gradkit.numpy`'s function of that name, which stands above this layer."""

    def method(self: Array, *args: Any, **kwargs: Any) -> Any:
        return getattr(above.numpy(), name)(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"Call `gradkit.numpy.{name}` on this array."
    return method


def _reshape(self: Array, *shape: Any, order: str = "C") -> Array:
    """Return the elements in another shape, given as one tuple or as several integers."""
    return manipulation.reshape(self, shape[0] if len(shape) == 1 else shape, order)


def _transpose(self: Array, *axes: Any) -> Array:
    """Reorder the axes; without arguments, reverse them."""
    order = None if not axes else (axes[0] if len(axes) == 1 else axes)
    return manipulation.permute_dims(self, order)


def _flatten(self: Array, order: str = "C") -> Array:
    """Return the elements in one axis: row by row, or column by column with ``order="F"``."""
    return manipulation.reshape(self, -1, order, copy=True)


def _ravel(self: Array, order: str = "C") -> Array:
    """Return the elements in one axis, as `flatten` does; in code that may assign it is a part of the array."""
    return manipulation.reshape(self, -1, order)


def _view(self: Array, dtype: Any = None) -> Array:
    """Return the bits of the elements as those of another dtype; where the sizes differ, so does the last axis."""
    if dtype is None:
        return self
    new = dtype_named(dtype)
    if new == self.dtype:
        return self
    ratio = new.itemsize // self.dtype.itemsize
    if ratio < 2:
        result = bitcast(self, dtype=new.name)
        return manipulation.reshape(result, (*self.shape[:-1], -1)) if result.ndim > self.ndim else result
    if not self.ndim or self.shape[-1] % ratio:
        raise ValueError(
            f"view: the last axis of shape {self.shape}, of {self.dtype}, has no whole number of elements of {new}"
        )
    return bitcast(manipulation.reshape(self, (*self.shape[:-1], -1, ratio)), dtype=new.name)


FROM_NUMPY = """
    argpartition argsort choose compress copy cumprod cumsum diagonal nonzero ptp repeat round searchsorted sort
    swapaxes trace
""".split()
METHODS: dict[str, Callable[..., Any]] = {
    **{name: getattr(reductions, name) for name in "all any argmax argmin max mean min prod sum".split()},
    "std": moments.std,
    "var": moments.var,
    **{name: _from_numpy(name) for name in FROM_NUMPY},
    "reshape": _reshape,
    "transpose": _transpose,
    "__divmod__": _method(_divmod),
    "__rdivmod__": _reflect(_divmod),
    "__round__": lambda self, decimals=0: _from_numpy("round")(self, decimals or 0),
    "flatten": _flatten,
    "view": _view,
    "ravel": _ravel,
    "squeeze": manipulation.squeeze,
    "astype": manipulation.astype,
    "clip": e.clip,
    "conj": e.conj,
    "conjugate": e.conj,
    "dot": _from_numpy("dot"),
    "take": taking.take,
    "to_device": manipulation.to_device,
    "__getitem__": indexing.getitem,
    "__iter__": indexing.iterate,
    "__setitem__": setitem,
}


def install() -> None:
    """Attach the operators and methods to `Array`."""
    for name, function in BINARY.items():
        setattr(Array, f"__{name}__", _method(function, name))
        setattr(Array, f"__r{name}__", _reflect(function, name))
    for name, function in COMPARISON.items():
        setattr(Array, f"__{name}__", _method(function))
    for name, function in IN_PLACE.items():
        setattr(Array, name, in_place(function))
    for name, unary_function in UNARY.items():
        setattr(Array, f"__{name}__", unary_function)
    for name, method in METHODS.items():
        setattr(Array, name, method)
    for name in LAYOUT:
        setattr(Array, name, _no_layout(name))
    above.stop_gradient = stop_gradient
    Array.real = property(e.real)  # type: ignore[assignment]
    Array.imag = property(e.imag)  # type: ignore[assignment]
    Array.T = property(manipulation.permute_dims)  # type: ignore[assignment]
    Array.at = property(IndexUpdateHelper)  # type: ignore[assignment]
    Array.flat = property(Flat)  # type: ignore[assignment]
    Array.mT = property(manipulation.matrix_transpose)  # type: ignore[assignment]
