"""What is compared for each function: its value, reverse mode, forward mode, second order and vmap."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from compiled import compiled
from parity.cases import WITHOUT_JAX, Case

import gradkit

__all__ = ["MEASURES", "TOLERANCE", "difference"]

TOLERANCE = 1e-6
"""Relative to the largest element of a result, or absolute where that is below 1."""


def real_leaves(m: Any, result: Any) -> list[Any]:
    """Return a result's inexact leaves as real arrays."""
    leaves = [leaf for leaf in m.tree.leaves(result) if m.numpy.asarray(leaf).dtype.kind in "fc"]
    return [part for leaf in leaves for part in ([leaf.real, leaf.imag] if leaf.dtype.kind == "c" else [leaf])]


def weights(shape: tuple[int, ...]) -> np.ndarray:
    """Return a cotangent that is not all ones, which would hide a wrong transpose."""
    return np.cos(np.arange(1.0, 1.0 + np.prod(shape, dtype=int))).reshape(shape)


def scalar(m: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the weighted sum of all results."""

    def function(*args: Any) -> Any:
        return sum((part * m.numpy.asarray(weights(part.shape))).sum() for part in real_leaves(m, f(*args)))

    return function


def squared_gradient(m: Any, f: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Return a scalar function whose gradient takes second derivatives."""
    gradient = m.grad(scalar(m, f), tuple(range(count)))
    return lambda *args: sum((g * g * 0.5).sum() for g in gradient(*args))


def _value(m: Any, f: Any, args: Any) -> Any:
    return real_leaves(m, f(*args))


def _reverse(m: Any, f: Any, args: Any) -> Any:
    return m.grad(scalar(m, f), tuple(range(len(args))))(*args)


def _forward(m: Any, f: Any, args: Any) -> Any:
    tangents = tuple(m.numpy.asarray(weights(arg.shape)) for arg in args)
    return m.jvp(lambda *args: real_leaves(m, f(*args)), tuple(args), tangents)[1]


def _second(m: Any, f: Any, args: Any) -> Any:
    return m.grad(squared_gradient(m, f, len(args)), tuple(range(len(args))))(*args)


def _vmap(m: Any, f: Any, args: Any) -> Any:
    batches = [m.numpy.stack([arg, arg * 0.9 + 0.05]) for arg in args]
    return m.vmap(lambda *args: real_leaves(m, f(*args)))(*batches)


MEASURES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "value": _value,
    "reverse": _reverse,
    "forward": _forward,
    "second order": _second,
    "vmap": _vmap,
}


@functools.cache
def theirs(case: Case) -> dict[str, list[np.ndarray]]:
    """Return JAX's results by measure, in float64."""
    measures = [measure for measure in MEASURES if (case.name, measure) not in WITHOUT_JAX]

    def all_of_them(*args: Any) -> dict[str, Any]:
        return {measure: jax.tree.leaves(MEASURES[measure](jax, case.call(jax), args)) for measure in measures}

    found: dict[str, list[np.ndarray]] = compiled(all_of_them, *case.arguments())
    return found


def ours(case: Case, measure: str) -> list[np.ndarray]:
    """Return gradkit's result, in float64."""
    before = gradkit.config.jax_enable_x64
    gradkit.config.update("jax_enable_x64", True)
    try:
        args = [gradkit.numpy.asarray(arg) for arg in case.arguments()]
        found = MEASURES[measure](gradkit, case.call(gradkit), args)
        return [np.asarray(gradkit.device_get(leaf)) for leaf in gradkit.tree.leaves(found)]
    finally:
        gradkit.config.update("jax_enable_x64", before)


def difference(case: Case, measure: str) -> str | None:
    """Return how gradkit's result differs from JAX's, or None where it does not."""
    expected, got = theirs(case)[measure], ours(case, measure)
    if [leaf.shape for leaf in got] != [leaf.shape for leaf in expected]:
        return f"shapes {[leaf.shape for leaf in got]}, expected {[leaf.shape for leaf in expected]}"
    for a, b in zip(got, expected, strict=True):
        limit = TOLERANCE * max(1.0, np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
        close = (np.abs(a - b) <= limit) | (a == b) | (np.isnan(a) & np.isnan(b))
        if not np.all(close):
            return f"{a[~close][:3]} where JAX gives {b[~close][:3]}"
    return None
