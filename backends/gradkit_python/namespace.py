"""The array API standard's functions on arrays of no axes: Python's `math`, and NumPy for what it has not."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import array_api_compat.numpy
import numpy as np

from gradkit_python.numbers import ARITHMETIC, COMPARISON, UNARY, Number, as_numpy, as_raw, ieee, of_dtype

__all__ = ["Namespace"]

OPERATORS = {
    "add": ARITHMETIC["add"],
    "subtract": ARITHMETIC["sub"],
    "multiply": ARITHMETIC["mul"],
    "divide": ARITHMETIC["truediv"],
    "floor_divide": ARITHMETIC["floordiv"],
    "remainder": ARITHMETIC["mod"],
    "pow": ARITHMETIC["pow"],
    "negative": UNARY["neg"],
    "positive": UNARY["pos"],
    "abs": UNARY["abs"],
    "less": COMPARISON["lt"],
    "less_equal": COMPARISON["le"],
    "greater": COMPARISON["gt"],
    "greater_equal": COMPARISON["ge"],
    "equal": COMPARISON["eq"],
    "not_equal": COMPARISON["ne"],
}
MATH = """
    acos acosh asin asinh atan atan2 atanh cos cosh copysign exp expm1 hypot log log10 log1p log2 sin sinh sqrt tan tanh
""".split()


class Namespace:
    """What a rule's ``xp`` finds: the functions below, else NumPy's on arrays of no axes."""

    bool = np.dtype("bool")
    float64 = np.dtype("float64")
    int64 = np.dtype("int64")

    def __init__(self) -> None:
        for name, function in OPERATORS.items():
            setattr(self, name, functools.partial(function))
        for name in MATH:
            setattr(self, name, ieee(getattr(math, name), getattr(array_api_compat.numpy, name)))

    def asarray(self, value: Any, dtype: Any = None, device: Any = None, copy: Any = None) -> Any:
        """Return a number as an array."""
        raw = as_raw(_only_number(value, "asarray"))
        return raw if dtype is None else of_dtype(raw, dtype)

    def astype(self, x: Any, dtype: Any, copy: Any = True, device: Any = None) -> Any:
        """Return an array in another dtype."""
        return of_dtype(x, dtype)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Return one of two."""
        chosen = x if condition else y
        return chosen if isinstance(chosen, Number) else of_dtype(chosen, (y if condition else x).dtype)

    def __getattr__(self, name: str) -> Any:
        found = getattr(array_api_compat.numpy, name)
        return by_numpy(name, found) if callable(found) and not isinstance(found, type) else found


def by_numpy(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function of NumPy's on arrays of no axes."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        with np.errstate(all="ignore"):
            result = function(
                *map(_to_numpy, args), **{word: _to_numpy(value) for word, value in options.items() if word != "device"}
            )
        return _from_numpy(result, name)

    return call


def _to_numpy(value: Any) -> Any:
    return [as_numpy(item) for item in value] if isinstance(value, list) else as_numpy(value)


def _from_numpy(result: Any, name: str) -> Any:
    if isinstance(result, tuple | list):
        return type(result)(_from_numpy(part, name) for part in result)
    return as_raw(_only_number(result, name)) if isinstance(result, np.ndarray | np.generic) else result


def _only_number(value: Any, caller: str) -> Any:
    """Return the number that an array of no axes holds.

    Raises
    ------
    ValueError
        If it has axes.
    """
    if isinstance(value, np.ndarray | np.generic | list | tuple):
        array = np.asarray(value)
        if array.ndim:
            raise ValueError(
                f"{caller}: the backend 'python' holds single numbers, and this is an array of shape {array.shape}. "
                f"Use the backend 'numpy' for arrays."
            )
        return array.item()
    return value
