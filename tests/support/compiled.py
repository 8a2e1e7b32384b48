"""JAX's side of a comparison, compiled as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params
from references import kept

__all__ = ["compiled"]

NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
)


def compiled(function: Callable[..., Any], *args: Any) -> Any:
    """Return JAX's results of one call, in float64, as NumPy arrays; those that are kept as data are not computed."""
    return kept(by_jax, function, *args)


def dtypes(function: Callable[..., Any], *args: Any) -> set[str]:
    """Return the names of the dtypes in which JAX computes a call."""
    with jax.enable_x64(True):
        return set(_dtypes(jax.make_jaxpr(function)(*args).jaxpr))


def _dtypes(jaxpr: Any) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield from (variable.aval.dtype.name for variable in equation.outvars if hasattr(variable.aval, "dtype"))
        for inner in jaxprs_in_params(equation.params):
            yield from _dtypes(inner)


def by_jax(function: Callable[..., Any], *args: Any) -> Any:
    """Compute JAX's results of one call.

    One compilation of all that is compared takes as long as that of two or three operations, and run one after another
    each operation is compiled for each shape. What depends on values of its arguments does run one after another.
    """
    with jax.enable_x64(True):
        try:
            found = jax.jit(function)(*args)
        except NEEDS_VALUES:
            found = function(*jax.tree.map(jax.numpy.asarray, args))
        return jax.tree.map(np.asarray, found)


by_jax.dtypes = dtypes  # type: ignore[attr-defined]
