"""Python's numbers as arrays of no axes: a float, an int or a truth value that knows its dtype.

A plain `float` in an operation is a *weak* number, as everywhere in gradkit, so an array has to be told from it: it is
of a subclass of Python's type, whose arithmetic gives arrays again. What Python refuses (a division by zero, an
exponential that overflows) has the value that IEEE arithmetic gives it, as on every other backend.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["REFUSED", "TYPES", "Float", "Integer", "Number", "Truth", "as_raw", "ieee"]

REFUSED = (ArithmeticError, ValueError)
"""What Python's arithmetic and its `math` raise where IEEE arithmetic has a value."""


class Number:
    """What the arrays have beside their value: the attributes of an array of no axes."""

    __slots__ = ()

    shape: tuple[int, ...] = ()
    ndim = 0
    size = 1
    dtype: np.dtype[Any]

    def __getitem__(self, index: Any) -> Any:
        if index in ((), (...,), ...):
            return self
        raise ValueError(
            f"x[{index}]: the backend 'python' holds single numbers, which have no axes. Use the backend 'numpy' for "
            f"arrays."
        )


class Float(float, Number):
    """A float64 array of no axes."""

    __slots__ = ()
    dtype = np.dtype("float64")


class Integer(int, Number):
    """An int64 array of no axes."""

    __slots__ = ()
    dtype = np.dtype("int64")


class Truth(int, Number):
    """A bool array of no axes. Python's own bool cannot be subclassed."""

    __slots__ = ()
    dtype = np.dtype("bool")

    def __repr__(self) -> str:
        return repr(bool(self))


TYPES: tuple[type[Any], ...] = (Float, Integer, Truth)
_BY_KIND: dict[str, type[Any]] = {"f": Float, "i": Integer, "u": Integer, "b": Truth}


def as_raw(value: Any) -> Any:
    """Return a Python number as an array.

    Raises
    ------
    TypeError
        If it is complex.
    """
    if isinstance(value, bool | np.bool):
        return Truth(value)
    if isinstance(value, int | np.integer):
        return Integer(value)
    if isinstance(value, complex | np.complexfloating):
        raise TypeError(f"the backend 'python' holds no complex numbers, got {value!r}. Use the backend 'numpy'.")
    return Float(value)


def as_numpy(value: Any) -> Any:
    """Return an array as NumPy's of no axes, and anything else as it is."""
    return np.asarray(value, value.dtype) if isinstance(value, Number) else value


def of_dtype(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a number as an array of a dtype."""
    return _BY_KIND[dtype.kind](value)


def ieee(python: Callable[..., Any], ufunc: Any) -> Callable[..., Any]:
    """Make a function of arrays: Python's where it has a value, NumPy's where it refuses."""

    def call(*args: Any) -> Any:
        try:
            return as_raw(python(*args))
        except REFUSED:
            with np.errstate(all="ignore"):
                return as_raw(ufunc(*map(as_numpy, args)).item())

    return call


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Take the operands as Python's own numbers, whose arithmetic these types have replaced."""

    def call(*args: Any) -> Any:
        return function(*[_python(arg) for arg in args])

    return call


def _python(value: Any) -> Any:
    kind = type(value)
    if kind is Float:
        return float(value)
    if kind is Truth:
        return bool(value)
    return int(value) if kind is Integer else value


def _reflect(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, other: function(other, self)


def _power(x: Any, y: Any) -> Any:
    if type(x) is int and type(y) is int and y >= 0:
        return x**y
    return math.pow(x, y)  # x ** y is complex for a negative x


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": ieee(_plain(operator.add), np.add),
    "sub": ieee(_plain(operator.sub), np.subtract),
    "mul": ieee(_plain(operator.mul), np.multiply),
    "truediv": ieee(_plain(operator.truediv), np.divide),
    "floordiv": ieee(_plain(operator.floordiv), np.floor_divide),
    "mod": ieee(_plain(operator.mod), np.remainder),
    "pow": ieee(_plain(_power), np.power),
    "and": ieee(_plain(operator.and_), np.bitwise_and),
    "or": ieee(_plain(operator.or_), np.bitwise_or),
    "xor": ieee(_plain(operator.xor), np.bitwise_xor),
    "lshift": ieee(_plain(operator.lshift), np.left_shift),
    "rshift": ieee(_plain(operator.rshift), np.right_shift),
}
COMPARISON: dict[str, Callable[..., Any]] = {
    name: ieee(_plain(getattr(operator, name)), None) for name in ("lt", "le", "gt", "ge", "eq", "ne")
}
UNARY: dict[str, Callable[..., Any]] = {
    "neg": ieee(_plain(operator.neg), np.negative),
    "pos": ieee(_plain(operator.pos), np.positive),
    "abs": ieee(_plain(operator.abs), np.abs),
    "invert": ieee(_plain(lambda x: not x if type(x) is bool else ~x), np.bitwise_not),
}


def _install() -> None:
    """Give the types their arithmetic."""
    for kind in TYPES:
        for name, function in ARITHMETIC.items():
            setattr(kind, f"__{name}__", function)
            setattr(kind, f"__r{name}__", _reflect(function))
        for name, function in (COMPARISON | UNARY).items():
            setattr(kind, f"__{name}__", function)
        kind.__hash__ = kind.__mro__[1].__hash__  # of Python's type: __eq__ is a new one


_install()
