"""Products over chosen axes: `dot_general` and what it serves."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from gradkit.core import Array
from gradkit.core.operands import dtype_name
from gradkit.core.precision import Precision, PrecisionLike, check_precision, products_with
from gradkit.core.promotion import promote, summed_in
from gradkit.lax.arguments import convert, named_dtype, together
from gradkit.primitives.linalg import matmul
from gradkit.primitives.manipulation import permute_dims, reshape

__all__ = ["DotDimensionNumbers", "Precision", "PrecisionLike", "batch_matmul", "dot", "dot_general"]

DotDimensionNumbers = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]
"""``((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))``"""


class Axes(NamedTuple):
    """The axes of one factor, by what becomes of them."""

    batch: tuple[int, ...]
    contracting: tuple[int, ...]
    free: tuple[int, ...]


def dot(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: DotDimensionNumbers | None = None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    out_sharding: None = None,
) -> Array:
    """Multiply vectors and matrices.

    Parameters
    ----------
    lhs, rhs : array
        Of one or two axes each, unless `dimension_numbers` are given; see `dot_general`.
    dimension_numbers : pair of pairs, optional
        Which axes are summed over and which are batches.
    precision : Precision, optional
        How exactly products of float32 are computed: see `gradkit.default_matmul_precision`.
    preferred_element_type : dtype, optional
        The dtype of the result.
    """
    left, right = together("dot", lhs, rhs)
    if dimension_numbers is None:
        if not (1 <= left.ndim <= 2 and 1 <= right.ndim <= 2 and left.shape[-1] == right.shape[0]):
            raise ValueError(
                f"jax.lax.dot: dimension_numbers must be specified when not performing simple un-batched "
                f"matrix-matrix, matrix-vector, or vector-vector products; got lhs_shape={left.shape} "
                f"rhs_shape={right.shape}"
            )
        dimension_numbers = (((left.ndim - 1,), (0,)), ((), ()))
    return dot_general(left, right, dimension_numbers, precision, preferred_element_type)


def dot_general(
    lhs: Any,
    rhs: Any,
    dimension_numbers: DotDimensionNumbers,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    *,
    out_sharding: None = None,
) -> Array:
    """Multiply over chosen axes.

    Parameters
    ----------
    lhs, rhs : array
        The factors; of two dtypes they are promoted.
    dimension_numbers : ((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))
        The axes that are summed over, in pairs of one size, and those that are batches, in pairs.
    precision : Precision, optional
        How exactly products of float32 are computed: see `gradkit.default_matmul_precision`.
    preferred_element_type : dtype, optional
        The dtype of the result, in which the products are summed if it is wider.

    Returns
    -------
    Array
        The batch axes, then what is left of `lhs`, then what is left of `rhs`.

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> x, y = jnp.ones((4, 2, 3)), jnp.ones((4, 3, 5))
    >>> lax.dot_general(x, y, (((2,), (1,)), ((0,), (0,)))).shape
    (4, 2, 5)
    """
    check_precision(precision, "dot_general")
    left, right = together("dot_general", lhs, rhs)
    (contracting, batch) = dimension_numbers
    x, y = (
        _axes(side, array.ndim, tuple(map(operator.index, c)), tuple(map(operator.index, b)))
        for side, array, c, b in zip(("lhs", "rhs"), (left, right), contracting, batch, strict=True)
    )
    for kind, ours, theirs in (("contracting", x.contracting, y.contracting), ("batch", x.batch, y.batch)):
        sizes, others = tuple(left.shape[a] for a in ours), tuple(right.shape[a] for a in theirs)
        if len(ours) != len(theirs):
            raise TypeError(
                f"dot_general requires equal numbers of lhs_{kind} and rhs_{kind} dimensions, got lhs_{kind} {ours} "
                f"and rhs_{kind} {theirs}."
            )
        if sizes != others:
            raise TypeError(f"dot_general requires {kind} dimensions to have the same shape, got {sizes} and {others}.")
    target = promote([dtype_name(left), dtype_name(right)])
    result_dtype = target if preferred_element_type is None else named_dtype(preferred_element_type)
    dtype = summed_in(target, result_dtype)
    batches = tuple(left.shape[a] for a in x.batch)
    rows, columns = (tuple(array.shape[a] for a in axes.free) for array, axes in ((left, x), (right, y)))
    inner = math.prod(left.shape[a] for a in x.contracting)
    matrices = (
        _matrices(convert(left, dtype), (*x.batch, *x.free, *x.contracting), (*batches, math.prod(rows), inner)),
        _matrices(convert(right, dtype), (*y.batch, *y.contracting, *y.free), (*batches, inner, math.prod(columns))),
    )
    with products_with(precision, "dot_general"):
        product = reshape(matmul(*matrices), (*batches, *rows, *columns))
    return convert(product, result_dtype)


def _axes(side: str, ndim: int, contracting: tuple[int, ...], batch: tuple[int, ...]) -> Axes:
    if not all(0 <= a < ndim for a in (*contracting, *batch)):
        raise TypeError(
            f"dot_general requires {side} dimension numbers to be nonnegative and less than the number of axes of the "
            f"{side} value, got {side}_batch of {batch} and {side}_contracting of {contracting} for {side} of "
            f"rank {ndim}"
        )
    for kind, axes in (("contracting", contracting), ("batch", batch)):
        if len(set(axes)) != len(axes):
            raise TypeError(f"dot_general requires {side} {kind} dimensions to be distinct, got {side}_{kind} {axes}.")
    if set(contracting) & set(batch):
        raise TypeError(
            f"dot_general requires {side} batch dimensions to be disjoint from contracting dimensions, got "
            f"{side}_batch {batch} and {side}_contracting {contracting}."
        )
    return Axes(batch, contracting, tuple(a for a in range(ndim) if a not in contracting and a not in batch))


def _matrices(array: Array, order: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    return reshape(array if order == tuple(range(array.ndim)) else permute_dims(array, order), shape)


def batch_matmul(lhs: Any, rhs: Any, precision: PrecisionLike = None) -> Array:
    """Multiply matrices in the last two axes; the leading axes, which must be equal, are batches."""
    left, right = together("batch_matmul", lhs, rhs)
    if left.ndim < 2 or right.ndim < 2:
        raise ValueError(f"Arguments to batch_matmul must be at least 2D, got {left.ndim}, {right.ndim}")
    if left.ndim != right.ndim:
        raise ValueError(f"Arguments to batch_matmul must have same ndim, got {left.ndim}, {right.ndim}")
    rank = left.ndim
    batch = tuple(range(rank - 2))
    return dot_general(left, right, (((rank - 1,), (rank - 2,)), (batch, batch)), precision)
