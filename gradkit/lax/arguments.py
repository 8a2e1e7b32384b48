"""How strict `lax` is with its arguments: one dtype, no promotion, one number of axes; errors in JAX's words."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_operand, cast, cast_to_fit, dtype_name, new_array, require_fit
from gradkit.core.promotion import canonical, dtype_named

__all__ = [
    "ANY", "BITS", "FLOAT", "INEXACT", "INTEGER", "NUMBER", "ORDERED", "array_of", "in_dtype_of", "named_dtype",
    "remembering", "require", "require_same_dtype", "require_shapes_that_fit", "sizes_of", "together",
]  # fmt: skip

FLOAT = ("floating",)
INEXACT = ("floating", "complexfloating")
INTEGER = ("integer",)
NUMBER = ("integer", "floating", "complexfloating")
BITS = ("integer", "bool")
ORDERED = ("integer", "floating", "bool")
ANY = ("integer", "floating", "complexfloating", "bool")
COMPLEX = ("complexfloating",)
PREFIXES = {"integer": ("int", "uint"), "floating": ("float", "bfloat"), "complexfloating": ("complex",)}

TIPS = {
    "abs": "fabs", "acos": "arccos", "acosh": "arccosh", "add": "add", "asin": "arcsin", "asinh": "arcsinh",
    "atan": "arctan", "atan2": "arctan2", "atanh": "arctanh", "concatenate": "concatenate", "div": "divide",
    "eq": "equal", "max": "maximum", "min": "minimum", "mul": "multiply", "ne": "not_equal", "nextafter": "nextafter",
    "pow": "float_power", "select": "where", "shift_left": "left_shift", "shift_right_logical": "right_shift",
    "shift_right_arithmetic": "right_shift", "sub": "subtract",
}  # fmt: skip
"""The functions of `gradkit.numpy` that promote where those of `lax` do not."""


def remembering(direct: Callable[..., Array]) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Make the decorator of a function that looks at its arguments once for each dtype.

    One array, or two of one shape and dtype, or one and a float are passed on to `direct`, which computes the same
    without looking at them, when the function has taken such arguments before.
    """
    takes_numbers = hasattr(direct, "primitive")  # by the rules of promotion, which agree for one dtype alone

    def decorate(function: Callable[..., Array]) -> Callable[..., Array]:
        taken: set[Any] = set()

        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Array:
            if named or not args or len(args) > 2:
                return function(*args, **named)
            x, y = args[0], args[-1]
            beside: Array | None = None
            if type(x) is Array:
                a = x._value
                key: Any = (type(a), a.dtype, len(args))
                if type(y) is Array:
                    b = y._value
                    if x is not y and (type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape):
                        return function(*args)
                elif takes_numbers and type(y) is float:
                    beside, key = x, (type(a), a.dtype, "and a number")
                else:
                    return function(*args)
            elif takes_numbers and type(x) is float and type(y) is Array:
                beside, key = y, ("a number and", type(y._value), y._value.dtype)
            else:
                return function(*args)
            if key in taken:
                return direct(*args)
            result = function(*args)
            if beside is None or dtype_name(beside) == "float32":  # others have fewer digits, or more
                taken.add(key)
            return result

        return call

    return decorate


def array_of(value: Any, caller: str, like: Array | None = None) -> Array:
    """Return an argument as an Array; a number becomes one where `like` is."""
    operand = as_operand(value, caller)
    return operand if type(operand) is Array else _number(operand, like)


def _number(value: Any, like: Array | None) -> Array:
    """Return a number as a 0-d array of the default dtype of its kind, or in 64 bits beside an array of 64 bits."""
    array = new_array(value, like=like)
    if like is not None and canonical(wide := dtype_name(like)) == dtype_name(array):
        return convert(array, wide)
    return array


def in_dtype_of(array: Array, value: Any, caller: str) -> Array:
    """Return an argument as an Array of the dtype of another one; a Python integer has to fit."""
    name = dtype_name(array)
    require_fit(name, value, caller)
    given = array_of(value, caller, like=array)
    return given if dtype_name(given) == name else cast_to_fit(given, name)


def together(caller: str, *values: Any) -> list[Array]:
    """Return arguments as Arrays, numbers beside the first array."""
    operands = [as_operand(value, caller) for value in values]
    like = next((operand for operand in operands if type(operand) is Array), None)
    return [operand if type(operand) is Array else _number(operand, like) for operand in operands]


def require(caller: str, arrays: Sequence[Array], accepted: Sequence[Sequence[str]]) -> None:
    """Raise TypeError for an array of a dtype that the function does not take."""
    for position, (array, words) in enumerate(zip(arrays, accepted, strict=True)):
        name = dtype_name(array)
        if not any(name.startswith(PREFIXES.get(word, (word,))) for word in words):
            where = f" at position {position}" if len(arrays) > 1 else ""
            raise TypeError(
                f"{caller} does not accept dtype {name}{where}. Accepted dtypes{where} are subtypes of "
                f"{', '.join(words)}."
            )


def require_same_dtype(caller: str, arrays: Sequence[Array]) -> None:
    """Raise TypeError for arrays of different dtypes: `lax` does not promote."""
    names = [dtype_name(array) for array in arrays]
    if names.count(names[0]) != len(names):
        tip = TIPS.get(caller, caller if caller in ("lt", "le", "gt", "ge") else None)
        advice = (
            ""
            if tip is None
            else f" (Tip: jnp.{tip} is a similar function that does automatic type promotion on inputs)."
        )
        raise TypeError(
            f"lax.{caller} requires arguments to have the same dtypes, got {', '.join(names)}.{advice if tip else ''}"
        )


def require_shapes_that_fit(caller: str, arrays: Sequence[Array]) -> None:
    """Raise TypeError for arrays that are not numbers and differ in their number of axes, or do not broadcast."""
    shapes = [array.shape for array in arrays if array.ndim]
    ranks = {len(shape) for shape in shapes}
    if len(ranks) > 1:
        raise TypeError(f"{caller}: arrays must have the same number of dimensions, got {ranks}")
    for sizes in zip(*shapes, strict=True):
        if len({size for size in sizes if size != 1}) > 1:
            raise TypeError(f"{caller} got incompatible shapes for broadcasting: {', '.join(map(str, shapes))}.")


def named_dtype(dtype: Any) -> str:
    """Return the name of a dtype for new numbers: its 32-bit relative unless x64 is enabled."""
    return canonical(dtype_named(dtype).name)


def convert(array: Array, dtype: str) -> Array:
    """Return an array in the dtype of that name."""
    return array if dtype_name(array) == dtype else cast(array, dtype)


def sizes_of(shape: Any, caller: str) -> tuple[int, ...]:
    """Return a shape, whose sizes must be integers and not negative."""
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError as error:
        raise TypeError(f"Shapes must be 1D sequences of concrete values of integer type, got {shape}.") from error
    if any(size < 0 for size in sizes):
        raise TypeError(f"{caller} shape must have every element be nonnegative, got {sizes}.")
    return sizes
