"""The LU decomposition with exchange of rows."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.core.batching import leading
from gradkit.core.binding import bind_several
from gradkit.core.namespace import publish
from gradkit.core.node import NO_PARAMS
from gradkit.core.operands import as_array
from gradkit.core.promotion import is_complex
from gradkit.primitives.matrices import Decomposition, adjoint, eye_like, hermitian

__all__ = ["lu"]


def _forward(xp: Any, x: Any) -> tuple[Any, Any, Any]:
    """Eliminate one column after another, in all matrices of the batch at once: the standard has no such function."""
    library, updated = xp.library, xp.backend.updated
    m, n = x.shape[-2:]
    batch = tuple(x.shape[:-2])
    work = library.asarray(library.reshape(x, (math.prod(batch), m, n)), copy=True)
    positions = library.arange(m, dtype=library.int64, device=xp.device_of(x))
    permutation = library.broadcast_to(positions, (work.shape[0], m))
    pivots = []
    for j in range(min(m, n)):
        pivot = library.argmax(_sizes(library, work[:, j:, j]), axis=1, keepdims=True) + j
        order = library.where(positions == j, pivot, library.where(positions == pivot, j, positions))
        work = library.take_along_axis(work, library.broadcast_to(order[:, :, None], work.shape), axis=1)
        permutation = library.take_along_axis(permutation, order, axis=1)
        pivots.append(pivot)
        divisor = work[:, j : j + 1, j : j + 1]
        factors = work[:, j + 1 :, j : j + 1] / library.where(divisor == 0, library.ones_like(divisor), divisor)
        below, rest = (slice(None), slice(j + 1, None), slice(j, j + 1)), (slice(None), *(slice(j + 1, None),) * 2)
        work = updated(work, below, factors)
        work = updated(work, rest, work[rest] - factors * work[:, j : j + 1, j + 1 :])
    found = library.concat(pivots, axis=1) if pivots else permutation[:, :0]
    return (
        library.reshape(work, x.shape),
        library.astype(library.reshape(found, (*batch, len(pivots))), library.int32),
        library.astype(library.reshape(permutation, (*batch, m)), library.int32),
    )


def _sizes(library: Any, x: Any) -> Any:
    """Return what LAPACK takes for the size of a pivot."""
    if not is_complex(x.dtype):
        return library.abs(x)
    return library.abs(library.real(x)) + library.abs(library.imag(x))


def _pull(xp: Any, g: Any, results: Any, _x: Any) -> Any:
    """De Hoog, Anderssen and Lukas, "Differentiation of matrix functionals using triangular factorization" (2011)."""
    g, (factors, _, permutation) = g[0], results
    lower, upper = _square_lower(xp, factors), _square_upper(xp, factors)
    below = xp.tril(g + xp.matmul(hermitian(xp, xp.tril(lower, k=-1)), g), k=-1)
    middle = below + xp.triu(xp.matmul(g, hermitian(xp, upper)), k=0)
    left = xp.triangular_solve(hermitian(xp, lower), middle, lower=False, unit_diagonal=True)
    both = hermitian(xp, xp.triangular_solve(upper, hermitian(xp, left), lower=False, unit_diagonal=False))
    rows = xp.broadcast_to(permutation[..., None], both.shape)
    return xp.add_along_axis(both, rows, axis=both.ndim - 2, size=both.shape[-2])


def _square_lower(xp: Any, factors: Any) -> Any:
    """Return the (m, m) lower factor; its diagonal, of ones, is not stored."""
    m, n = factors.shape[-2:]
    if m <= n:
        return factors[..., :m]
    zeros = xp.zeros_like(factors[..., :1])
    return xp.concat([factors, xp.broadcast_to(zeros, (*factors.shape[:-2], m, m - n))], axis=-1)


def _square_upper(xp: Any, factors: Any) -> Any:
    """Return the upper factor, made an (n, n) matrix by rows of the identity."""
    m, n = factors.shape[-2:]
    if m >= n:
        return xp.triu(factors[..., :n, :], k=0)
    zeros = xp.zeros_like(factors[..., :1, :])
    square = xp.concat([factors, xp.broadcast_to(zeros, (*factors.shape[:-2], n - m, n))], axis=-2)
    eye = eye_like(xp, square)
    rows = xp.concat([xp.zeros_like(factors), eye[..., m:, :]], axis=-2)
    return xp.triu(square, k=0) + rows


_lu = Decomposition(
    "lu",
    _forward,
    (adjoint(_pull),),
    batch=leading,
    shape=lambda x: [
        (x.shape, x.dtype),
        ((*x.shape[:-2], min(x.shape[-2:])), "int32"),
        (x.shape[:-1], "int32"),
    ],
    leaf=True,
)


def lu(x: Any, /) -> tuple[Array, Array, Array]:
    """Return the LU decomposition of matrices with exchanged rows.

    Parameters
    ----------
    x : array, shape (..., m, n)
        The matrices.

    Returns
    -------
    factors : Array, shape (..., m, n)
        Below the diagonal the lower factor, whose diagonal is 1; above it and on it the upper factor.
    pivots : Array of int, shape (..., min(m, n))
        Which row changed places with each, one after the other.
    permutation : Array of int, shape (..., m)
        Which row of `x` each row of the product is.
    """
    factors, pivots, permutation = bind_several(_lu, (as_array(x, "lu"),), NO_PARAMS)
    return factors, pivots, permutation


publish(globals(), __all__)
