"""The dtypes that JAX has where its x64 is on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gradkit.backend import as_numpy_dtype

__all__ = ["WIDE", "dtype_named", "with_wide_numbers"]

WIDE = {"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}
"""By their names: what JAX has instead where that is off."""


def dtype_named(name: str) -> Any:
    """Return the dtype of that name. JAX itself would take a narrower one, with a warning at most.

    Raises
    ------
    TypeError
        If it has 64 bits (a complex one 128), and JAX's x64 is off.
    """
    import jax  # optional

    if name in WIDE and not jax.config.jax_enable_x64:
        raise TypeError(
            f"dtype {name}: JAX does not have it while its x64 is off, which is its default. Switch it on before "
            f"the first array is made, by jax.config.update('jax_enable_x64', True) or JAX_ENABLE_X64=1 in the "
            f"environment; or use {WIDE[name]}: x.astype('{WIDE[name]}'), dtype='{WIDE[name]}'."
        )
    return as_numpy_dtype(name)


def with_wide_numbers(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel that takes Python integers of more than 32 bits as numbers of the dtype beside them.

    JAX itself takes each for an int32, where its x64 is off, before it looks at what is beside it.
    """

    def run(*args: Any, **params: Any) -> Any:
        for arg in args:
            if type(arg) is int and not -(1 << 31) <= arg < 1 << 31:
                dtype = next(other.dtype for other in args if hasattr(other, "dtype") and other.dtype != bool)
                return kernel(*(dtype.type(x) if type(x) is int else x for x in args), **params)
        return kernel(*args, **params)

    return functools.update_wrapper(run, kernel, assigned=("__name__", "__doc__"), updated=())
