"""Choosing by conditions and positions, and functions made to work on arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, overload

import numpy as np

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.operands import as_array, as_arrays, dtype_name, require_bool, require_fit
from gradkit.core.promotion import INTEGER, default_dtype
from gradkit.core.sizes import whole_numbers
from gradkit.core.values import host
from gradkit.numpy.arguments import beside, in_dtype_of, promote_args, refuse_out
from gradkit.numpy.indexing import nonzero
from gradkit.numpy.sorting import argsort
from gradkit.primitives import elementwise
from gradkit.primitives.axes import axis_of
from gradkit.primitives.manipulation import moveaxis
from gradkit.primitives.new_arrays import asarray
from gradkit.transforms.vectorize import vmap

__all__ = [
    "apply_along_axis", "apply_over_axes", "choose", "compress", "extract", "piecewise", "select", "vectorize", "where",
]  # fmt: skip


@overload
def where(
    condition: Any, x: None = None, y: None = None, /, *, size: int | None = None, fill_value: Any = None
) -> tuple[Array, ...]: ...
@overload
def where(condition: Any, x: Any, y: Any, /) -> Array: ...
def where(condition: Any, x: Any = None, y: Any = None, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """Take elements of `x` where a condition holds, and of `y` elsewhere; of the condition alone, where it holds.

    Parameters
    ----------
    condition : array of bool
        Numbers count as true where they are not 0.
    x, y : array or number, optional
        Operands that broadcast with `condition` and with each other. Without them the result is
        ``nonzero(condition, size=size, fill_value=fill_value)``.
    size, fill_value : optional
        As in `nonzero`; with `x` and `y` they must be left out.

    Returns
    -------
    Array or tuple of Array
        Of the broadcast shape and the promoted dtype of `x` and `y`. An element that is not taken gets a cotangent of
        exactly 0, whatever is infinite or NaN in it.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.where(jnp.asarray([True, False]), 1.0, jnp.asarray([5.0, 6.0]))
    Array([1., 6.], dtype=float32)
    """
    if x is None and y is None:
        return nonzero(condition, size=size, fill_value=fill_value)
    if x is None or y is None:
        raise ValueError("Either both or neither of the x and y arguments should be provided to jax.numpy.where")
    if size is not None or fill_value is not None:
        raise ValueError("size and fill_value arguments cannot be used in three-term where function.")
    return elementwise.where(condition, x, y)


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Array:
    """Take each element from the first choice whose condition holds there.

    Parameters
    ----------
    condlist : sequence of array of bool
        The conditions.
    choicelist : sequence of array or number
        As many choices; all broadcast.
    default : array or number
        What to take where no condition holds.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> x = jnp.asarray([-2.0, 0.5, 3.0])
    >>> jnp.select([x < 0, x > 1], [0.0, 1.0], default=x)
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    if len(condlist) != len(choicelist):
        raise ValueError(f"condlist must have length equal to choicelist ({len(condlist)} vs {len(choicelist)})")
    if not condlist:
        raise ValueError("condlist must be non-empty")
    conditions = as_arrays(condlist, "select")
    for condition in conditions:
        if condition.dtype.kind != "b":
            raise TypeError(f"select: conditions must be of dtype bool, got {condition.dtype}")
    *choices, result = promote_args("select", *choicelist, default)
    for condition, choice in zip(conditions[::-1], choices[::-1], strict=True):
        result = xp.where(condition, choice, result)
    return result


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Array:
    """Compute each element by the function whose condition holds there, the last of those that do.

    Parameters
    ----------
    x : array
        Of any shape.
    condlist : sequence of array of bool
        The conditions, of the shape of `x`.
    funclist : sequence of callable or number
        As many functions of a number, ``f(x, *args, **kw)``, or constants, and one more for where no condition holds
        (by default 0). Each function is computed for every element.
    *args, **kw
        Further arguments of the functions.
    """
    array = as_array(x, "piecewise")
    conditions = list(condlist) if isinstance(condlist, list | tuple) else list(as_array(condlist, "piecewise"))
    if len(conditions) == 1 and isinstance(conditions[0], list):
        conditions = [asarray(conditions[0])]
    functions = list(funclist)
    if len(functions) == len(conditions):
        functions.append(0)
    elif len(functions) != len(conditions) + 1:
        raise ValueError(
            f"with {len(conditions)} condition(s), either {len(conditions)} or {len(conditions) + 1} functions are "
            f"expected; got {len(functions)}"
        )
    *functions, otherwise = functions
    result = _piece(array, otherwise, args, kw)
    for condition, function in zip(conditions, functions, strict=True):
        chosen = require_bool(beside(condition, array), "piecewise")
        result = xp.where(chosen, _piece(array, function, args, kw), result)
    return result


def _piece(x: Array, function: Any, args: Any, kw: Any) -> Array:
    if callable(function):

        def checked(number: Array) -> Any:
            found = function(number, *args, **kw)
            require_fit(dtype_name(x), found, "piecewise")
            return found

        value: Array = vectorize(checked)(x)
        return xp.astype(value, x.dtype)
    return xp.broadcast_to(in_dtype_of(x, function, "piecewise"), x.shape)


def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Array:
    """Take each element from the array whose number `a` gives there.

    Parameters
    ----------
    a : array of int
        The numbers.
    choices : sequence of array
        The arrays; they broadcast with `a`.
    out : None
        Not supported.
    mode : {"raise", "wrap", "clip"}
        What to do with numbers out of range; "raise" needs their values, so that it does not work under `vmap`.
    """
    refuse_out(out, "choose")
    numbers = as_array(a, "choose")
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"`a` array must be integer typed, got {numbers.dtype}")
    arrays = promote_args("choose", *choices)
    if mode == "raise":
        values = host(numbers)
        if ((values < 0) | (values >= len(arrays))).any():
            raise ValueError("invalid entry in choice array")
    elif mode == "wrap":
        numbers = numbers % len(arrays)
    elif mode == "clip":
        numbers = xp.clip(numbers, 0, len(arrays) - 1)
    else:
        raise ValueError(f"mode={mode!r} not understood. Must be 'raise', 'wrap', or 'clip'")
    result = arrays[0]
    for i, array in enumerate(arrays[1:], 1):
        result = xp.where(numbers == i, array, result)
    return xp.broadcast_to(result, np.broadcast_shapes(numbers.shape, result.shape))


def compress(
    condition: Any, a: Any, axis: int | None = None, *, size: int | None = None, fill_value: Any = 0, out: None = None
) -> Array:
    """Take the slices along an axis where a condition holds.

    Parameters
    ----------
    condition : array of bool, shape (n,)
        The condition; it may be shorter than the axis.
    a : array
        What to take from.
    axis : int or None
        The axis; None: of the flattened array.
    size : int, optional
        How many slices to return, filled up with `fill_value`. Without it the condition's values are needed, so that
        it must be given under `vmap`.
    fill_value : number
        What to fill up with.
    out : None
        Not supported.
    """
    refuse_out(out, "compress")
    array = as_array(a, "compress")
    array, axis = (xp.reshape(array, -1), 0) if axis is None else (array, axis_of(axis, array.ndim, "compress"))
    chosen = require_bool(beside(condition, array), "compress")
    if chosen.ndim != 1:
        raise ValueError(f"condition must be a 1D array, got shape {chosen.shape}")
    length = array.shape[axis]
    if size is None:
        positions = np.nonzero(host(chosen))[0]
        if positions.size and positions[-1] >= length:
            raise ValueError("condition contains entries that are out of bounds")
        return xp.take(array, asarray(positions, device=array.device), axis=axis)
    chosen = chosen[:length]
    rows = moveaxis(array, axis, 0)[: chosen.shape[0]]
    mask = xp.reshape(chosen, (-1,) + (1,) * (rows.ndim - 1))
    rows = xp.where(mask, rows, fill_value)
    first = argsort(xp.astype(xp.logical_not(chosen), default_dtype(INTEGER)))
    return moveaxis(xp.take(rows, first, axis=0)[:size], 0, axis)


def extract(condition: Any, arr: Any, *, size: int | None = None, fill_value: Any = 0) -> Array:
    """Take the elements where a condition holds; see `compress`."""
    return compress(xp.reshape(asarray(condition), -1), xp.reshape(arr, -1), size=size, fill_value=fill_value)


# Functions on arrays


def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """Apply a function of vectors to those along an axis.

    Parameters
    ----------
    func1d : callable
        ``func1d(vector, *args, **kwargs)``.
    axis : int
        The axis.
    arr : array
        The array.
    *args, **kwargs
        Further arguments of the function.

    Returns
    -------
    Array
        With the axes of the function's result in the place of `axis`.
    """
    array = as_array(arr, "apply_along_axis")
    axis = axis_of(axis, array.ndim, "apply_along_axis")
    function: Callable[..., Any] = lambda vector: func1d(vector, *args, **kwargs)  # noqa: E731
    for i in range(1, array.ndim - axis):
        function = vmap(function, in_axes=i, out_axes=-1)
    for _ in range(axis):
        function = vmap(function, in_axes=0, out_axes=0)
    return function(array)


def apply_over_axes(func: Callable[[Array, int], Any], a: Any, axes: Any) -> Array:
    """Apply ``func(a, axis)`` for one axis after another, keeping them."""
    array = as_array(a, "apply_over_axes")
    for axis in whole_numbers(axes):
        result = func(array, axis)
        if result.ndim == array.ndim - 1:
            result = xp.expand_dims(result, axis=axis)
        elif result.ndim != array.ndim:
            raise ValueError(f"function is not returning an array of the correct shape: {result.shape}")
        array = result
    return array


DIMENSION = r"\w+|\d+"
ARGUMENT = rf"\((?:{DIMENSION})?(?:,(?:{DIMENSION}))*\)"
SIGNATURE = re.compile(rf"^{ARGUMENT}(?:,{ARGUMENT})*->{ARGUMENT}(?:,{ARGUMENT})*$")


def _parse(signature: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the names of the core dimensions of the arguments and the results."""
    text = re.sub(r"\s+", "", signature)
    if not SIGNATURE.match(text):
        raise ValueError(f"not a valid gufunc signature: {signature}")
    left, right = (
        [tuple(re.findall(DIMENSION, argument)) for argument in re.findall(ARGUMENT, side)] for side in text.split("->")
    )
    return left, right


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Collection[int | str] = frozenset(), signature: str | None = None
) -> Callable[..., Any]:
    """Make a function of arrays of a function of numbers, or of arrays with fewer axes.

    Parameters
    ----------
    pyfunc : callable
        The function.
    excluded : set of int or str
        Arguments that are handed on as they are, by position or name.
    signature : str, optional
        The function's own axes, as in ``"(n,m),(m)->(n)"``; by default it takes and returns numbers.

    Returns
    -------
    callable
        It broadcasts the axes in front of those, and applies the function with `gradkit.vmap`.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> f = jnp.vectorize(lambda x, w: jnp.sum(x * w), signature="(n),(n)->()")
    >>> f(jnp.ones((2, 3)), jnp.asarray([1.0, 2.0, 3.0]))
    Array([6., 6.], dtype=float32)
    """
    if any(not isinstance(item, str | int) for item in excluded):
        raise TypeError(f"jax.numpy.vectorize can only exclude integer or string arguments, but excluded={excluded!r}")
    if any(isinstance(item, int) and item < 0 for item in excluded):
        raise ValueError(f"excluded={excluded!r} contains negative numbers")
    dimensions = None if signature is None else _parse(signature)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        names = [name for name in kwargs if name not in excluded]
        slots = [i for i in range(len(args)) if i not in excluded]

        def function(*arrays: Any) -> Any:
            values = list(args)
            for i, value in zip(slots, arrays, strict=False):
                values[i] = value
            return pyfunc(*values, **kwargs | dict(zip(names, arrays[len(slots) :], strict=True)))

        arrays = [as_array(args[i], "vectorize") for i in slots]
        arrays += [as_array(kwargs[name], "vectorize") for name in names]
        return _broadcast_call(function, arrays, dimensions, signature)

    name = getattr(pyfunc, "__name__", None)
    wrapped.__name__ = name if isinstance(name, str) else "vectorized"
    wrapped.__doc__ = getattr(pyfunc, "__doc__", None)
    wrapped.__wrapped__ = pyfunc  # type: ignore[attr-defined]
    return wrapped


def _broadcast_call(function: Any, arrays: list[Array], dimensions: Any, signature: str | None) -> Any:
    inputs, outputs = ([()] * len(arrays), None) if dimensions is None else dimensions
    if len(inputs) != len(arrays):
        raise TypeError(f"wrong number of positional arguments: expected {len(inputs)}, got {len(arrays)}")
    sizes: dict[str, int] = {}
    leads = []
    for array, names in zip(arrays, inputs, strict=True):
        if array.ndim < len(names):
            raise ValueError(
                f"input with shape {array.shape} does not have enough dimensions for {names} of {signature!r}"
            )
        split = array.ndim - len(names)
        _check_sizes(array.shape[split:], names, sizes, signature)
        leads.append(array.shape[:split])
    lead = np.broadcast_shapes(*leads)
    checked = _check(function, outputs, sizes, signature)
    # From the last axis to the first: an array without the axis, or with size 1 there, is the same for all.
    arrays = [
        xp.reshape(
            array,
            tuple(n for i, n in enumerate(own) if n != 1 or lead[len(lead) - len(own) + i] == 1)
            + array.shape[len(own) :],
        )
        for array, own in zip(arrays, leads, strict=True)
    ]
    for axis in reversed(range(len(lead))):
        has = [len(lead) - axis <= len(own) and (own[axis - len(lead)] != 1 or lead[axis] == 1) for own in leads]
        checked = vmap(checked, in_axes=tuple(0 if h else None for h in has), axis_size=lead[axis])
    return checked(*arrays)


def _check_sizes(shape: tuple[int, ...], names: Sequence[str], sizes: dict[str, int], signature: str | None) -> None:
    for size, name in zip(shape, names, strict=True):
        expected = int(name) if name.isdigit() else sizes.setdefault(name, size)
        if expected != size:
            raise ValueError(f"inconsistent size for core dimension {name!r} of {signature!r}: {size} vs {expected}")


def _check(function: Any, outputs: Any, sizes: dict[str, int], signature: str | None) -> Any:
    """Return the function, whose results are checked against the signature."""

    def call(*arrays: Any) -> Any:
        result = function(*arrays)
        results = result if isinstance(result, tuple) else (result,)
        expected = [()] * len(results) if outputs is None else outputs
        if len(expected) != len(results):
            raise TypeError(f"wrong number of results: {signature!r} says {len(expected)}, got {len(results)}")
        converted = [as_array(item, "vectorize") for item in results]
        for item, names in zip(converted, expected, strict=True):
            if item.ndim != len(names):
                raise ValueError(f"output shape {item.shape} does not match core dimensions {names} of {signature!r}")
            _check_sizes(item.shape, names, sizes, signature)
        return tuple(converted) if isinstance(result, tuple) else converted[0]

    return call
