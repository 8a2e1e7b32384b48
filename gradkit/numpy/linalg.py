"""`jax.numpy.linalg`: linear algebra, on any backend and differentiable; leading axes are batches."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from gradkit.core import Array
from gradkit.core.operands import as_array, as_arrays, dtype_name
from gradkit.core.promotion import limits_of, real_part_of
from gradkit.errors import ShapeError
from gradkit.numpy import contractions, products
from gradkit.numpy.arguments import promote_args
from gradkit.numpy.factorizations import (
    adjoint,
    average_with_adjoint,
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    matrices,
    qr,
    square,
    svd,
    svdvals,
)
from gradkit.numpy.norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from gradkit.numpy.products import matmul
from gradkit.primitives import decompositions, solvers
from gradkit.primitives import elementwise as e
from gradkit.primitives.manipulation import astype, broadcast_to, expand_dims, matrix_transpose, moveaxis, reshape
from gradkit.primitives.new_arrays import asarray, broadcast_arrays, eye
from gradkit.primitives.reductions import sum as sum_over

__all__ = [
    "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]  # fmt: skip


class SlogdetResult(NamedTuple):
    """Signs of determinants, and logarithms of their absolute values."""

    sign: Array
    logabsdet: Array


vecdot = products.vecdot
tensordot = products.tensordot


# Systems and inverses


def solve(a: Any, b: Any) -> Array:
    """Solve ``a x = b``.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices. A singular one gives NaN or infinity.
    b : array, shape (n,) or (..., n, k)
        The right sides. One with a single axis is a vector; the leading axes of others broadcast with those of `a`.

    Returns
    -------
    Array, shape (..., n) or (..., n, k)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.linalg.solve(jnp.asarray([[2.0, 0.0], [0.0, 4.0]]), jnp.asarray([1.0, 1.0]))
    Array([0.5 , 0.25], dtype=float32)
    """
    matrix, right = promote_args("solve", a, b, inexact=True)
    matrix = square(matrix, "solve")
    if not right.ndim or right.shape[-1 if right.ndim == 1 else -2] != matrix.shape[-1]:
        raise ShapeError(f"solve: expected a (..., n, n) and b (n,) or (..., n, k), got {matrix.shape}, {right.shape}")
    if right.ndim == 1:
        return solvers.solve(matrix, expand_dims(right, axis=-1))[..., 0]
    return solvers.solve(matrix, right)


def inv(a: Any) -> Array:
    """Return the inverses of square matrices (..., n, n). A singular one gives NaN or infinity."""
    return solvers.inv(square(a, "inv"))


def pinv(a: Any, rtol: Any = None, hermitian: bool = False, *, rcond: Any = None) -> Array:
    """Return the pseudo-inverses (Moore, Penrose) of matrices.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrices.
    rtol : number or array, optional
        Singular values up to this times the largest count as 0; by default 10 times ``max(m, n)`` times the dtype's
        epsilon.
    hermitian : bool
        Whether `a` is Hermitian; it is made so.
    rcond : number or array, optional
        The older name of `rtol`.

    Returns
    -------
    Array, shape (..., n, m)
        Its derivative is that among matrices of equal rank.
    """
    array = matrices(a, "pinv")
    if hermitian:
        array = average_with_adjoint(square(array, "pinv"))
    bound = rcond if rtol is None else rtol
    real = real_part_of(dtype_name(array))
    if bound is None:
        bound = 10.0 * max(array.shape[-2:]) * float(limits_of(real).eps)
    limit = astype(bound if type(bound) is Array else asarray(bound, device=array.device), real)
    return solvers.pinv(array, broadcast_to(limit, array.shape[:-2]))


def lstsq(a: Any, b: Any, rcond: Any = None, *, numpy_resid: bool = False) -> tuple[Array, Array, Array, Array]:
    """Solve ``a x = b`` as well as it goes: with the least sum of squared residuals, and the shortest such `x`.

    Parameters
    ----------
    a : array, shape (m, n)
        The matrix.
    b : array, shape (m,) or (m, k)
        The right sides.
    rcond : float, optional
        Singular values below this times the largest count as 0; by default ``max(m, n)`` times the dtype's epsilon.
    numpy_resid : bool
        Whether the sums of squared residuals are left out, as NumPy does, where the rank is less than n or m <= n.

    Returns
    -------
    x : Array, shape (n,) or (n, k)
    residuals : Array
        The sums of squared residuals.
    rank : Array
        The rank of `a`.
    s : Array
        The singular values of `a`.
    """
    matrix, right = promote_args("lstsq", a, b, inexact=True)
    if matrix.ndim != 2 or right.ndim not in (1, 2) or matrix.shape[0] != right.shape[0]:
        raise ShapeError(f"lstsq: expected a (m, n) and b (m,) or (m, k), got {matrix.shape} and {right.shape}")
    columns = right if right.ndim == 2 else expand_dims(right, axis=-1)
    m, n = matrix.shape
    u, s, vh = decompositions.svd(matrix, full_matrices=False)
    epsilon = float(limits_of(s.dtype).eps)
    if rcond is None:
        rcond = epsilon * max(n, m)
    elif type(rcond) is not Array:
        rcond = epsilon if rcond < 0 else rcond
    present = e.logical_and(e.greater(s, 0), e.greater_equal(s, rcond * s[:1]))
    rank = sum_over(present)
    inverse = e.where(present, 1 / e.where(present, s, 1), 0)
    x = matmul(adjoint(vh), expand_dims(inverse, axis=-1) * matmul(adjoint(u), columns))
    if numpy_resid and (m <= n or int(rank) < n):
        residuals = asarray([], dtype=s.dtype, device=s.device)
    else:
        residuals = norm(columns - matmul(matrix, x), axis=0) ** 2
    return (x if right.ndim == 2 else x[:, 0]), residuals, rank, s


def tensorinv(a: Any, ind: int = 2) -> Array:
    """Return the inverse of the linear map that `tensordot` with `a` over its last axes is.

    Parameters
    ----------
    a : array
        Of which the first `ind` axes have as many elements as the others.
    ind : int
        How many axes are those of the map's results.
    """
    array = as_array(a, "tensorinv")
    ind = operator.index(ind)
    if ind <= 0:
        raise ValueError(f"ind must be a positive integer; got ind={ind}")
    first, last = array.shape[:ind], array.shape[ind:]
    if math.prod(first) != math.prod(last):
        raise ShapeError(
            f"tensorinv: the first {ind} axes must have as many elements as the others, got shape {array.shape}"
        )
    return reshape(inv(reshape(array, (math.prod(first), math.prod(last)))), (*last, *first))


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Array:
    """Solve ``tensordot(a, x, x.ndim) = b`` for `x`; the axes `axes` of `a` are moved to its end first."""
    array, right = as_arrays([a, b], "tensorsolve")
    if axes is not None:
        array = moveaxis(array, tuple(axes), tuple(range(array.ndim - len(axes), array.ndim)))
    shape = array.shape[right.ndim :]
    if array.shape[: right.ndim] != right.shape or right.size != math.prod(shape):
        raise ShapeError(
            f"tensorsolve: a must have the shape of b and one of as many elements behind it, "
            f"got a {array.shape} and b {right.shape}"
        )
    return reshape(solve(reshape(array, (right.size, right.size)), reshape(right, (-1,))), shape)


# Determinants and powers


def det(a: Any) -> Array:
    """Return the determinants of square matrices (..., n, n)."""
    return solvers.det(square(a, "det"))


def slogdet(a: Any, *, method: str | None = None) -> SlogdetResult:
    """Return the signs of determinants (for complex matrices: their phases) and the logarithms of their sizes.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices. A singular one gives 0 and minus infinity.
    method : {"lu", "qr"}, optional
        Accepted; the backend has a way of its own.
    """
    if method not in (None, "lu", "qr"):
        raise ValueError(f"Unknown slogdet method '{method}'. Supported methods are 'lu' (`None`), and 'qr'.")
    return SlogdetResult(*solvers.slogdet(square(a, "slogdet")))


def matrix_power(a: Any, n: int) -> Array:
    """Return the n-th powers of square matrices; of negative ones, those of their inverses."""
    array = as_array(a, "matrix_power")
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise TypeError(f"matrix_power: expected square matrices, of shape (..., n, n), got shape {array.shape}")
    try:
        n = operator.index(n)
    except TypeError as error:
        raise TypeError(f"exponent must be an integer, got {n}") from error
    if n == 0:
        return broadcast_to(eye(array.shape[-1], dtype=array.dtype, device=array.device), array.shape)
    if n < 0:
        array, n = inv(array), -n
    result: Array | None = None
    while True:
        n, odd = divmod(n, 2)
        if odd:
            result = array if result is None else matmul(result, array)
        if not n:
            break
        array = matmul(array, array)
    assert result is not None
    return result


def multi_dot(arrays: Sequence[Any], *, precision: Any = None) -> Array:
    """Multiply matrices in the order that takes the fewest operations; the first and the last may be vectors."""
    factors = promote_args("multi_dot", *arrays)
    if len(factors) < 2:
        raise ValueError(f"multi_dot requires at least two arrays; got len(arrays)={len(factors)}")
    shapes = [factor.shape for factor in factors]
    if any(len(shape) != 2 for shape in shapes[1:-1]) or any(len(shape) not in (1, 2) for shape in shapes):
        raise ShapeError(
            f"multi_dot: arrays must be matrices, the first and the last matrices or vectors, got {shapes}"
        )
    if any(one[-1] != other[0] for one, other in itertools.pairwise(shapes)):
        raise ShapeError(f"multi_dot: the last axis of each array must fit the first of the next, got {shapes}")
    names = [[i, i + 1] for i in range(len(factors))]
    names[0] = names[0][-factors[0].ndim :]
    names[-1] = names[-1][: factors[-1].ndim]
    return contractions.einsum(
        *(item for pair in zip(factors, names, strict=True) for item in pair), precision=precision
    )


# The standard's products, some of which are narrower here than in the main namespace


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """Return the cross products of vectors with 3 elements along an axis."""
    arrays = as_arrays([x1, x2], "cross")
    if any(not array.ndim or array.shape[axis] != 3 for array in arrays):
        raise ValueError(f"cross: vectors must have 3 elements along axis {axis}, got {[a.shape for a in arrays]}")
    left, right = broadcast_arrays(*arrays)
    return contractions.cross(left, right, axis=axis)


def outer(x1: Any, x2: Any, /) -> Array:
    """Return the products of all pairs of elements of two vectors."""
    left, right = as_arrays([x1, x2], "outer")
    if left.ndim != 1 or right.ndim != 1:
        raise ValueError(f"outer: x1 and x2 must be one-dimensional, got shapes {[left.shape, right.shape]}")
    return contractions.outer(left, right)


def diagonal(x: Any, /, *, offset: int = 0) -> Array:
    """Return diagonals of the matrices in the last two axes; positive offsets are above the main one."""
    return contractions.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Return the sums of diagonals of the matrices in the last two axes."""
    return contractions.trace(x, offset, -2, -1, dtype)
