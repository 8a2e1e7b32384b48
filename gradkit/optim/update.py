"""The arithmetic of SGD over all leaves, and the global norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradkit import tree
from gradkit.core import Array
from gradkit.core.array import is_followed
from gradkit.core.operands import as_array, cast, dtype_name
from gradkit.core.promotion import promote
from gradkit.numpy import concat, reshape, where
from gradkit.primitives import any as any_along
from gradkit.primitives.roots import root_of_squares

__all__ = ["clip_scale", "global_norm", "sgd_update"]


def sgd_update(
    params: Sequence[Any],
    grads: Sequence[Any],
    velocities: Sequence[Any] | None,
    *,
    learning_rate: Any,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    scale: Any,
) -> tuple[list[Any], list[Any] | None]:
    """Compute one step over all leaves: the text that a backend's kernel ``sgd_update`` may replace.

    Parameters
    ----------
    params, grads : sequence of arrays
        The leaves; raw arrays, or Arrays where a transform follows them.
    velocities : sequence of arrays or None
        None where `momentum` is 0.
    learning_rate, momentum, weight_decay : float
        The learning rate may be a 0-d array.
    nesterov : bool
        Whether the step looks ahead.
    scale : 0-d array or None
        What the gradients are multiplied with first (clipping).

    Returns
    -------
    tuple of (list, list or None)
        The new parameters and velocities, in new memory.
    """
    new_params, new_velocities = [], []
    for i, (parameter, gradient) in enumerate(zip(params, grads, strict=True)):
        if scale is not None:
            gradient = gradient * scale
        if weight_decay:
            gradient = gradient + weight_decay * parameter
        if velocities is not None:
            velocity = momentum * velocities[i] + gradient
            new_velocities.append(velocity)
            gradient = gradient + momentum * velocity if nesterov else velocity
        new_params.append(parameter - learning_rate * gradient)
    return new_params, new_velocities if velocities is not None else None


def global_norm(grads: Any) -> Array:
    """Return the Euclidean norm over all elements of all leaves.

    Parameters
    ----------
    grads : pytree of arrays
        The leaves.

    Returns
    -------
    Array, shape ()
        In float32 at least, and right wherever it is a number of that dtype: no square overflows. Its derivative where
        all are 0 is 0.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> global_norm({"a": jnp.asarray([3.0]), "b": jnp.asarray([4.0])})
    Array(5., dtype=float32)
    """
    leaves = [as_array(leaf, "global_norm") for leaf in tree.leaves(grads)]
    if not leaves:
        raise ValueError("global_norm: grads has no arrays")
    wide = promote([*map(dtype_name, leaves), "float32"])
    flat = [reshape(leaf if dtype_name(leaf) == wide else cast(leaf, wide), (-1,)) for leaf in leaves]
    joined = flat[0] if len(flat) == 1 else concat(flat)
    if joined._node is None and not is_followed(joined):
        return root_of_squares(joined, (0,))
    # At 0 the root has no derivative, and 0 times none is none: so it is taken of something else there.
    some = any_along(joined != 0, axis=0)
    return where(some, root_of_squares(where(some, joined, 1.0), (0,)), 0.0)


def clip_scale(grads: Sequence[Any], largest: float) -> Array:
    """Return what the gradients are multiplied with; it stays on their device."""
    norm = global_norm(list(grads))
    return where(norm > largest, largest / where(norm > 0, norm, 1.0), 1.0)
