"""`lax.linalg`: decompositions and solvers of batches of matrices."""

from __future__ import annotations

from typing import Any

from gradkit.core import Array
from gradkit.core.operands import dtype_name
from gradkit.errors import ShapeError
from gradkit.lax.arguments import INEXACT, array_of, convert, require, require_same_dtype, together
from gradkit.primitives import decompositions, pivoting, solvers
from gradkit.primitives import elementwise as e
from gradkit.primitives.linalg import matmul
from gradkit.primitives.manipulation import concat, expand_dims, matrix_transpose, reshape
from gradkit.primitives.matrices import tril
from gradkit.primitives.reductions import sum

__all__ = ["cholesky", "eig", "eigh", "lu", "qr", "svd", "symmetric_product", "triangular_solve", "tridiagonal_solve"]


def _matrices(x: Any, caller: str, square: bool = False) -> Array:
    array = array_of(x, caller)
    require(caller, (array,), (INEXACT,))
    if array.ndim < 2:
        raise ShapeError(f"{caller}: expected matrices, of at least 2 axes, got shape {array.shape}")
    if square and array.shape[-1] != array.shape[-2]:
        raise ShapeError(f"{caller}: expected square matrices, got shape {array.shape}")
    return array


def _hermitian(x: Array) -> Array:
    return e.conj(matrix_transpose(x))


def _symmetrize(x: Array) -> Array:
    return (x + _hermitian(x)) / 2


def cholesky(x: Any, *, symmetrize_input: bool = True) -> Array:
    """Return the lower Cholesky factors of positive definite matrices.

    Parameters
    ----------
    x : array, shape (..., n, n)
        Hermitian matrices.
    symmetrize_input : bool
        Take the mean of each matrix and its adjoint first. Otherwise the lower triangle alone counts.
    """
    array = _matrices(x, "cholesky", square=True)
    return decompositions.cholesky(_symmetrize(array) if symmetrize_input else array)


def eigh(
    x: Any,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    sort_eigenvalues: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    implementation: Any = None,
) -> tuple[Array, Array]:
    """Return the eigenvectors and the eigenvalues, from the least on, of Hermitian matrices (..., n, n).

    Parameters
    ----------
    x : array, shape (..., n, n)
        Hermitian matrices.
    lower : bool
        Which triangle counts where `symmetrize_input` is False.
    symmetrize_input : bool
        Take the mean of each matrix and its adjoint first.
    sort_eigenvalues : bool
        They are always sorted.
    subset_by_index : (int, int), optional
        Return only the eigenvalues, and their vectors, from one position up to and without another.
    implementation : optional
        Ignored.
    """
    array = _matrices(x, "eigh", square=True)
    if symmetrize_input:
        array = _symmetrize(array)
    elif not lower:
        array = _hermitian(array)
    values, vectors = decompositions.eigh(array)
    if subset_by_index is None:
        return vectors, values
    start, stop = subset_by_index
    return vectors[..., :, start:stop], values[..., start:stop]


def eig(x: Any, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True) -> list[Array]:
    """Return the eigenvalues, the left and the right eigenvectors of square matrices, all complex."""
    array = _matrices(x, "eig", square=True)
    if not (compute_left_eigenvectors or compute_right_eigenvectors):
        return [decompositions.eigvals(array)]
    values, vectors = decompositions.eig(array)
    results = [values]
    if compute_left_eigenvectors:
        # The rows of the inverse, of length 1.
        left = _hermitian(solvers.inv(vectors))
        size = e.sqrt(e.real(expand_dims(_sum_of_squares(left), axis=-2)))
        results.append(left / convert(size, dtype_name(left)))
    if compute_right_eigenvectors:
        results.append(vectors)
    return results


def _sum_of_squares(x: Array) -> Array:
    return sum(x * e.conj(x), axis=-2)


def lu(x: Any) -> tuple[Array, Array, Array]:
    """Return the LU decomposition of matrices (..., m, n), with exchanged rows.

    Returns
    -------
    lu : Array, shape (..., m, n)
        Both factors in one; the ones on the diagonal of the lower one are left out.
    pivots : Array of int32, shape (..., k)
        With which row each of the first k rows was exchanged, one after another.
    permutation : Array of int32, shape (..., m)
        The order that the rows then have.
    """
    factors, pivots, permutation = pivoting.lu(_matrices(x, "lu"))
    return factors, convert(pivots, "int32"), convert(permutation, "int32")


def qr(x: Any, *, pivoting: bool = False, full_matrices: bool = True, use_magma: bool | None = None) -> Any:
    """Return the QR decomposition of matrices.

    Parameters
    ----------
    x : array, shape (..., m, n)
        The matrices.
    pivoting : bool
        Not supported.
    full_matrices : bool
        Return square `q`.
    use_magma : bool, optional
        Ignored.
    """
    if pivoting:
        raise NotImplementedError("lax.linalg.qr: pivoting is not supported")
    return decompositions.qr(_matrices(x, "qr"), mode="complete" if full_matrices else "reduced")


def svd(
    x: Any,
    *,
    full_matrices: bool = True,
    compute_uv: bool = True,
    subset_by_index: tuple[int, int] | None = None,
    algorithm: Any = None,
) -> Any:
    """Return the singular vectors and values ``u, s, vh`` of matrices, or `s` alone.

    Parameters
    ----------
    x : array, shape (..., m, n)
        The matrices.
    full_matrices : bool
        Return square `u` and `vh`.
    compute_uv : bool
        Return the vectors as well.
    subset_by_index : (int, int), optional
        Return only the singular values, and their vectors, from one position up to and without another.
    algorithm : optional
        Ignored.
    """
    array = _matrices(x, "svd")
    if not compute_uv:
        values = decompositions.svdvals(array)
        return values if subset_by_index is None else values[..., slice(*subset_by_index)]
    if subset_by_index is None:
        return decompositions.svd(array, full_matrices=full_matrices)
    if full_matrices and tuple(subset_by_index) != (0, min(array.shape[-2:])):
        raise ValueError("full_matrices and subset_by_index cannot both be set")
    u, s, vh = decompositions.svd(array, full_matrices=False)
    part = slice(*subset_by_index)
    return u[..., :, part], s[..., part], vh[..., part, :]


def triangular_solve(
    a: Any,
    b: Any,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Array:
    """Solve ``op(a) x = b`` or ``x op(a) = b`` for triangular matrices.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices, of which one triangle counts.
    b : array, shape (..., n, k) or (..., k, n)
        The right sides; (..., n) is one of them.
    left_side : bool
        Whether `a` is on the left.
    lower : bool
        Whether its lower triangle counts.
    transpose_a, conjugate_a : bool
        What `op` does.
    unit_diagonal : bool
        Whether the diagonal counts as ones.

    Examples
    --------
    >>> from gradkit import lax
    >>> import gradkit.numpy as jnp
    >>> a = jnp.asarray([[2.0, 0.0], [1.0, 4.0]])
    >>> lax.linalg.triangular_solve(a, jnp.asarray([[2.0], [9.0]]), left_side=True, lower=True)
    Array([[1.],
           [2.]], dtype=float32)
    """
    matrix, right = together("triangular_solve", a, b)
    require("triangular_solve", (matrix, right), (INEXACT, INEXACT))
    require_same_dtype("triangular_solve", (matrix, right))
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"The first input to triangular_solve must be a square matrix. Got shape {matrix.shape}.")
    vector = right.ndim == matrix.ndim - 1
    if vector:
        right = expand_dims(right, axis=-1 if left_side else -2)
    if right.ndim != matrix.ndim or matrix.shape[-1] != right.shape[-2 if left_side else -1]:
        raise ValueError(f"Incompatible shapes for arguments to triangular_solve: {matrix.shape} and {right.shape}.")
    if matrix.shape[:-2] != right.shape[:-2]:
        raise TypeError(
            f"triangular_solve requires both arguments to have the same batch dimensions, got {matrix.shape} and "
            f"{right.shape}."
        )
    if conjugate_a:
        matrix = e.conj(matrix)
    # x a = b is a^T x^T = b^T.
    if transpose_a == left_side:
        matrix, lower = matrix_transpose(matrix), not lower
    solution = solvers.triangular_solve(
        matrix, right if left_side else matrix_transpose(right), lower=lower, unit_diagonal=unit_diagonal
    )
    result = solution if left_side else matrix_transpose(solution)
    return reshape(result, b.shape) if vector else result


def symmetric_product(
    a_matrix: Any, c_matrix: Any, *, alpha: float = 1.0, beta: float = 0.0, symmetrize_output: bool = False
) -> Array:
    """Return ``alpha a a^T + beta c`` for matrices `a` (..., n, k) and `c` (..., n, n)."""
    a, c = together("symmetric_product", a_matrix, c_matrix)
    result = alpha * matmul(a, matrix_transpose(a)) + beta * c
    if not symmetrize_output:
        return result
    return tril(result, k=0) + matrix_transpose(tril(result, k=-1))


def tridiagonal_solve(dl: Any, d: Any, du: Any, b: Any, *, perturb_singular: bool = False) -> Array:
    """Solve systems with three diagonals by elimination, without exchanging rows.

    Parameters
    ----------
    dl, d, du : array, shape (..., n)
        The lower diagonal (its first element does not count), the main one, the upper one (its last does not count).
    b : array, shape (..., n, k)
        The right sides.
    perturb_singular : bool
        Not supported.
    """
    if perturb_singular:
        raise NotImplementedError("lax.linalg.tridiagonal_solve: perturb_singular is not supported")
    lower, main, upper, right = together("tridiagonal_solve", dl, d, du, b)
    require_same_dtype("tridiagonal_solve", (lower, main, upper, right))
    if not lower.shape == main.shape == upper.shape == right.shape[:-1]:
        raise ValueError(
            f"tridiagonal_solve: diagonals must have one shape, that of b without its last axis, got {lower.shape}, "
            f"{main.shape}, {upper.shape} and b {right.shape}"
        )
    factors: list[Array] = []
    sides: list[Array] = []
    for i in range(main.shape[-1]):
        pivot = main[..., i] - (lower[..., i] * factors[-1] if i else 0)
        side = right[..., i, :] - (lower[..., i, None] * sides[-1] if i else 0)
        factors.append(upper[..., i] / pivot)
        sides.append(side / pivot[..., None])
    rows: list[Array] = []
    for factor, side in zip(factors[::-1], sides[::-1], strict=True):
        rows.append(side - factor[..., None] * rows[-1] if rows else side)
    return concat([expand_dims(row, axis=-2) for row in rows[::-1]], axis=-2)
