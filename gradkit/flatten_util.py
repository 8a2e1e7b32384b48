"""`jax.flatten_util`: a pytree of arrays as one vector, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from gradkit.core import Array
from gradkit.errors import ShapeError
from gradkit.numpy import asarray, astype, concatenate, ravel, reshape, result_type, zeros
from gradkit.tree import flatten, unflatten

__all__ = ["ravel_pytree"]


def ravel_pytree(pytree: Any) -> tuple[Array, Callable[[Array], Any]]:
    """Lay out the leaves of a pytree in one vector.

    Parameters
    ----------
    pytree : pytree of arrays and numbers
        What to lay out.

    Returns
    -------
    flat : Array, shape (n,)
        The elements of all leaves, in the order of the leaves, in the dtype to which they promote.
    unravel : callable
        ``unravel(flat)`` gives a pytree of that structure, shapes and dtypes. Both ways are differentiable.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> flat, unravel = ravel_pytree({"w": jnp.ones((2, 2)), "b": jnp.zeros(1)})
    >>> flat.tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0]
    >>> unravel(flat * 2)["w"].shape
    (2, 2)
    """
    leaves, treedef = flatten(pytree)
    arrays = [asarray(leaf) for leaf in leaves]
    shapes = [array.shape for array in arrays]
    dtypes = [array.dtype for array in arrays]
    ends = list(accumulate(math.prod(shape) for shape in shapes))
    size = ends[-1] if ends else 0
    dtype = result_type(*dtypes) if dtypes else zeros(0).dtype
    flat = concatenate([ravel(astype(array, dtype)) for array in arrays]) if arrays else zeros(0)

    def unravel(flat: Array) -> Any:
        vector = asarray(flat)
        if vector.shape != (size,):
            raise ShapeError(f"unravel: expected a vector of shape {(size,)}, got an array of shape {vector.shape}.")
        if vector.dtype != dtype:
            raise TypeError(
                f"unravel: expected a vector of dtype {dtype}, got {vector.dtype}. Convert it: flat.astype('{dtype}')."
            )
        parts = [
            astype(reshape(vector[end - math.prod(shape) : end], shape), own)
            for end, shape, own in zip(ends, shapes, dtypes, strict=True)
        ]
        return unflatten(treedef, parts)

    return flat, unravel
