"""`jax.ops`: reductions of segments of an array, each segment named by an integer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.core import Array
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.operands import as_array, dtype_name, wide_integers
from gradkit.errors import ConcretizationTypeError, ShapeError
from gradkit.numpy import full, max, where

__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]


def _segments(name: str, update: str, reduction: str, what: str) -> Callable[..., Array]:
    def reduce(
        data: Any,
        segment_ids: Any,
        num_segments: int | None = None,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        bucket_size: int | None = None,
        mode: Any = None,
    ) -> Array:
        values, ids = as_array(data, name), as_array(segment_ids, name)
        if not dtype_name(ids).startswith(("int", "uint")):
            raise TypeError(f"{name}: segment_ids must be integers, got {ids.dtype}. Convert: ids.astype('int32').")
        if values.shape[: ids.ndim] != ids.shape:
            raise ShapeError(
                f"{name}: segment_ids name a segment for each element of data's first axes, so their shape must be "
                f"that of these axes; got data of shape {values.shape} and segment_ids of shape {ids.shape}."
            )
        if num_segments is None:
            try:
                num_segments = int(max(ids)) + 1 if ids.size else 0
            except ConcretizationTypeError as error:
                raise ConcretizationTypeError(
                    f"{name}: the number of segments depends on values that are not known here. Give num_segments."
                ) from error
        if num_segments < 0:
            raise ValueError(f"{name}: num_segments must not be negative, got {num_segments}.")
        empty = PRIMITIVES[reduction].identity_of(dtype_name(values))  # type: ignore[attr-defined]
        start = full((num_segments, *values.shape[ids.ndim :]), empty, dtype=values.dtype, device=values.device)
        # A negative number names no segment; as an index it would count from the end.
        ids = wide_integers(ids, num_segments)
        ids = where(ids < 0, num_segments, ids)
        result: Array = getattr(start.at[ids], update)(values, mode="drop" if mode is None else mode)
        return result

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"""Return {what} of each segment of an array.

    Parameters
    ----------
    data : array, shape (n, ...)
        The values.
    segment_ids : array of int, shape (n,)
        The segment of each. What belongs to no segment from 0 to below `num_segments` is left out.
    num_segments : int, optional
        The number of segments; by default one more than the largest of `segment_ids`, which under `vmap` and in graphs
        has no value.
    indices_are_sorted, unique_indices, bucket_size
        Accepted; they are about JAX's compiler.
    mode : str, optional
        What is done with segments out of range, as in ``x.at[...].add(y, mode=mode)``; by default they are dropped.

    Returns
    -------
    Array, shape (num_segments, ...)

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> gradkit.ops.{name}(jnp.asarray([1, 2, 3, 4]), jnp.asarray([0, 0, 1, 1])).tolist()
    {_EXAMPLES[name]}
    """
    return reduce


_EXAMPLES = {
    "segment_sum": "[3, 7]",
    "segment_prod": "[2, 12]",
    "segment_max": "[2, 4]",
    "segment_min": "[1, 3]",
}


segment_sum = _segments("segment_sum", "add", "sum", "the sum")
segment_prod = _segments("segment_prod", "multiply", "prod", "the product")
segment_max = _segments("segment_max", "max", "max", "the largest element")
segment_min = _segments("segment_min", "min", "min", "the smallest element")
