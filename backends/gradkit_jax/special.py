"""`scipy.special` for JAX's arrays: SciPy's functions on the host, JAX's own where it traces or the host is far."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy
import jax.scipy.special
import numpy as np

from gradkit.backend import scipy_special
from gradkit_jax.namespace import from_host

__all__ = ["special"]


@cache
def special(name: str) -> Callable[..., Any]:
    """Return the function of that name for JAX's arrays.

    SciPy's are exact where JAX's are not, in tails and for small arguments. So they compute what has values on the CPU.
    What JAX traces, or has on a GPU, is its own function's, where there is one; else SciPy's is called on the host, at
    each run of the program, and JAX has no derivative of that.
    """
    function, own = scipy_special(name), getattr(jax.scipy.special, name, None)

    def call(*args: Any) -> Any:
        arrays = [arg for arg in args if isinstance(arg, jax.Array)]

        def on_host(*given: Any) -> Any:
            rest = iter(given)
            found = function(*(np.asarray(next(rest)) if isinstance(arg, jax.Array) else arg for arg in args))
            return tuple(map(np.asarray, found)) if isinstance(found, tuple) else np.asarray(found)

        is_traced = any(isinstance(array, jax.core.Tracer) for array in arrays)
        if own is not None and (is_traced or arrays[0].device.platform != "cpu"):
            return own(*args)
        if not is_traced:
            return jax.tree.map(lambda part: from_host(part, arrays[0].device), on_host(*arrays))
        # One element says how many results there are, and of which dtypes.
        shape = np.broadcast_shapes(*(np.shape(arg) for arg in args))
        one = on_host(*(np.ones((), array.dtype) for array in arrays))
        forms = jax.tree.map(lambda part: jax.ShapeDtypeStruct(shape, part.dtype), one)
        return jax.pure_callback(on_host, forms, *arrays, vmap_method="broadcast_all")

    return call
