"""Whether a call keeps the derivative of an array that it is given: its slope on plain values, and under transforms.

Whatever numbers come out of a call count, Arrays or not: so a derivative that is lost on the way is a wrong slope.
"""

from __future__ import annotations

import array
import collections
import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import gradkit
import gradkit.numpy as jnp
from gradkit import Array

POINT = np.asarray([0.33, 0.62, 0.88])
OTHER = np.asarray([0.41, 0.29, 0.71])
DIRECTION = np.asarray([0.7, -0.4, 0.5])
STEP = 1e-5

Function = Callable[[Any], Any]


# What came out, as one number


def numbers(result: Any) -> list[Any]:
    """Return the numbers in a result, Arrays as they are: of trees, iterators, bytes and text too."""
    if isinstance(result, Array):
        return [result] if result.dtype.kind in "fc" else []
    if isinstance(result, np.ndarray | np.generic):
        return [jnp.asarray(result)] if result.dtype.kind in "fc" else []
    if isinstance(result, bool | int | type | None):
        return []
    if isinstance(result, float | complex):
        return [jnp.asarray(result)]
    if isinstance(result, str):
        return [jnp.asarray(float(result))]  # or an error: what is no number cannot be taken for one
    if isinstance(result, bytes | bytearray | memoryview | array.array):
        return [jnp.asarray(np.frombuffer(result))] if len(result) == POINT.nbytes else []
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple | set | frozenset | collections.deque) or hasattr(result, "__next__"):
        return [number for part in result for number in numbers(part)]
    if hasattr(type(result), "__gradkit_array__"):
        return [result.__gradkit_array__()]
    leaves = gradkit.tree.leaves(result)
    if not (len(leaves) == 1 and leaves[0] is result):
        return numbers(leaves)
    return numbers(result(1)) if callable(result) else []  # what a schedule gives


@functools.cache
def weights(shape: tuple[int, ...]) -> Any:
    """Return numbers of which no two are the same."""
    return np.cos(np.arange(math.prod(shape)) + 1.0).reshape(shape)


def total(result: Any) -> Any:
    """Return one number that every number of a result moves."""
    parts = [jnp.sum(jnp.real(part) * jnp.asarray(weights(part.shape))) for part in numbers(result)]
    return sum(parts, jnp.asarray(0.0))


def along(f: Function, there: Any, there_along: Any) -> Function:
    return lambda t: total(f(there + t * there_along))


def slope_on_plain_values(f: Function, x: np.ndarray[Any, Any] = POINT, d: np.ndarray[Any, Any] = DIRECTION) -> float:
    """Return the central difference of `f` along `d`; an error of `f` is passed on."""
    there, ahead, behind = (f(jnp.asarray(x + part * STEP * d)) for part in (0, 1, -1))
    if any(np.finfo(number.dtype).bits < 64 for number in numbers(there)):
        raise ValueError("of coarse numbers there is no difference")
    change = float(total(ahead)) - float(total(behind))
    if not math.isfinite(change):
        raise ValueError("there is no slope")
    return change / (2 * STEP)


# The transforms, nested in all the ways in which one may follow an array and another not


def _jvp(g: Function) -> Any:
    return gradkit.jvp(g, (0.0,), (1.0,))[1]


def _linearize(g: Function) -> Any:
    return gradkit.linearize(g, 0.0)[1](1.0)


def _vmap_of_grad(g: Function) -> Any:
    return gradkit.vmap(gradkit.grad(g))(jnp.zeros(2))[1]


def _grad_of_vmap(g: Function) -> Any:
    return gradkit.grad(lambda t: gradkit.vmap(lambda s: g(t) + 0 * s)(jnp.zeros(2))[0])(0.0)


def _grad_of_grad(g: Function) -> Any:
    # The inner transform follows the array, and so does the outer one: the derivative of t g'(0) is g'(0).
    return gradkit.grad(lambda t: t * gradkit.grad(g)(0.0 * t))(1.0)


def _grad_around_grad(g: Function) -> Any:
    # The outer transform follows the array alone.
    return gradkit.grad(lambda t: gradkit.grad(lambda w: w * g(t))(1.0))(0.0)


def _jvp_around_vmap(g: Function) -> Any:
    return _jvp(lambda t: gradkit.vmap(lambda w: w * g(t))(jnp.ones(2))[1])


def _jvp_around_grad(g: Function) -> Any:
    return _jvp(lambda t: gradkit.grad(lambda w: w * g(t))(1.0))


TRANSFORMS: dict[str, Callable[[Function], Any]] = {
    "grad": lambda g: gradkit.grad(g)(0.0),
    "jvp": _jvp,
    "linearize": _linearize,
    "vmap(grad)": _vmap_of_grad,
    "grad(vmap)": _grad_of_vmap,
    "grad(grad)": _grad_of_grad,
    "grad around grad": _grad_around_grad,
    "jvp around vmap": _jvp_around_vmap,
    "jvp around grad": _jvp_around_grad,
}


def lost(name: str, f: Function, transform: str, slope: float, at: tuple[Any, Any] = (POINT, DIRECTION)) -> str | None:
    """Say what a transform found instead of the slope, or None: it found that, or an error that says why not."""
    there, there_along = map(jnp.asarray, at)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = float(TRANSFORMS[transform](along(f, there, there_along)))
    except Exception:  # noqa: BLE001 - that a library's own error is no silent loss either
        return None
    if math.isnan(found) or math.isclose(found, slope, rel_tol=1e-4, abs_tol=1e-6):
        return None
    return f"{name} under {transform}: {found}, right {slope}"


def slope_or_none(f: Function, *at: Any) -> float | None:
    """Return the slope on plain values, or None where `f` does not take them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return slope_on_plain_values(f, *at)
    except Exception:  # noqa: BLE001 - whatever does not take an array
        return None


def swept(functions: dict[str, Function], transforms: Any = TRANSFORMS) -> tuple[int, list[str]]:
    """Return how many calls took an array, and what each transform lost."""
    tried, found = 0, []
    for name, f in functions.items():
        slope = slope_or_none(f)
        if slope is None:
            continue
        tried += 1
        found += [said for transform in transforms if (said := lost(name, f, transform, slope))]
    return tried, found
