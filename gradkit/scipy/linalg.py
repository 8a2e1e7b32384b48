"""`jax.scipy.linalg`: what SciPy's linear algebra has beyond `gradkit.numpy.linalg`, and its own names for the rest."""

from __future__ import annotations

from typing import Any

from gradkit.core import Array
from gradkit.core.operands import as_array, require_inexact
from gradkit.core.promotion import real_part_of
from gradkit.errors import ShapeError
from gradkit.numpy import linalg
from gradkit.numpy.arguments import promote_args
from gradkit.numpy.sorting import argsort
from gradkit.primitives import decompositions, elementwise, pivoting, solvers
from gradkit.primitives.along_axis import take_along_axis
from gradkit.primitives.manipulation import astype, broadcast_to, concat, expand_dims, matrix_transpose, reshape
from gradkit.primitives.matrices import tril, triu
from gradkit.primitives.new_arrays import arange, eye, zeros
from gradkit.primitives.taking import take

__all__ = [
    "block_diag", "cho_factor", "cho_solve", "cholesky", "det", "eigh", "expm", "expm_frechet", "inv", "lu",
    "lu_factor", "lu_solve", "polar", "qr", "solve", "solve_triangular", "svd", "toeplitz",
]  # fmt: skip

TRANSPOSES = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}


def _adjoint(x: Array) -> Array:
    return elementwise.conj(matrix_transpose(x))


def _square(x: Any, caller: str) -> Array:
    array = require_inexact(as_array(x, caller))
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise ShapeError(f"{caller}: expected square matrices, of shape (..., n, n), got shape {array.shape}")
    return array


def _transpose(a: Array, trans: int | str) -> Array:
    """Return the matrices themselves (0), their transposes (1) or their conjugate transposes (2)."""
    if trans not in TRANSPOSES:
        raise ValueError(f"Invalid 'trans' value {trans}: expected one of {tuple(TRANSPOSES)}")
    number = TRANSPOSES[trans]
    return a if number == 0 else matrix_transpose(a) if number == 1 else _adjoint(a)


def _columns(a: Array, b: Array, caller: str) -> Array:
    """Return right sides as matrices, as they fit square matrices `a`."""
    if not b.ndim or b.shape[-1 if b.ndim == 1 else -2] != a.shape[-1]:
        raise ShapeError(f"{caller}: expected a (..., n, n) and b (n,) or (..., n, k), got {a.shape} and {b.shape}")
    return expand_dims(b, axis=-1) if b.ndim == 1 else b


# Systems


def solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    debug: bool = False,
    check_finite: bool = True,
    assume_a: str = "gen",
) -> Array:
    """Solve ``a x = b``; see `gradkit.numpy.linalg.solve`.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices, all of which is read, whatever `lower` and `assume_a` say.
    b : array, shape (n,) or (..., n, k)
        The right sides.
    assume_a : {"gen", "sym", "her", "pos"}
        What the matrices are.
    lower, overwrite_a, overwrite_b, debug, check_finite : bool
        Accepted, without effect.
    """
    if assume_a not in ("gen", "sym", "her", "pos"):
        raise ValueError(f"Expected assume_a to be one of ['gen', 'sym', 'her', 'pos']; got {assume_a!r}")
    return linalg.solve(a, b)


def solve_triangular(
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    debug: Any = None,
    check_finite: bool = True,
) -> Array:
    """Solve ``a x = b`` by one triangle of `a`, which alone is read.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices.
    b : array, shape (n,) or (..., n, k)
        The right sides.
    trans : {0, 1, 2, "N", "T", "C"}
        Whether to solve with `a`, its transpose or its conjugate transpose.
    lower : bool
        Which triangle of `a`.
    unit_diagonal : bool
        Whether the diagonal is taken to be 1, and not read.
    overwrite_b, debug, check_finite : bool
        Accepted, without effect.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> solve_triangular(jnp.asarray([[2.0, 7.0], [1.0, 1.0]]), jnp.asarray([2.0, 3.0]), lower=True)
    Array([1., 2.], dtype=float32)
    """
    matrix, right = promote_args("solve_triangular", a, b, inexact=True)
    matrix = _transpose(_square(matrix, "solve_triangular"), trans)
    columns = _columns(matrix, right, "solve_triangular")
    result = solvers.triangular_solve(
        matrix, columns, lower=bool(lower) != bool(TRANSPOSES[trans]), unit_diagonal=unit_diagonal
    )
    return result[..., 0] if right.ndim == 1 else result


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """Return the Cholesky factors of positive definite matrices, of which one triangle is read: the asked one."""
    array = _square(a, "cholesky")
    factor = decompositions.cholesky(array if lower else _adjoint(array))
    return factor if lower else _adjoint(factor)


def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Array, bool]:
    """Return what `cho_solve` needs: a Cholesky factor, and whether it is the lower one."""
    return cholesky(a, lower=lower), lower


def cho_solve(c_and_lower: tuple[Any, bool], b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Array:
    """Solve ``a x = b`` by the factor that `cho_factor` gave; `b` is (n,) or (..., n, k)."""
    c, lower = c_and_lower
    first, second = (0, 2) if lower else (2, 0)
    return solve_triangular(c, solve_triangular(c, b, trans=first, lower=lower), trans=second, lower=lower)


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """Return the inverses of square matrices (..., n, n)."""
    return linalg.inv(a)


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """Return the determinants of square matrices (..., n, n)."""
    return linalg.det(a)


# Decompositions


def svd(
    a: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """Return the singular value decomposition; see `gradkit.numpy.linalg.svd`."""
    result = linalg.svd(a, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(result) if compute_uv else result


def eigh(
    a: Any,
    b: None = None,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    turbo: bool = True,
    eigvals: None = None,
    type: int = 1,
    check_finite: bool = True,
) -> Any:
    """Return the eigenvalues and eigenvectors of Hermitian matrices; see `gradkit.numpy.linalg.eigh`.

    Of SciPy's generalized problems there are none: `b`, `eigvals` and `type` must be left as they are.
    """
    if b is not None or eigvals is not None or type != 1:
        raise NotImplementedError("eigh is implemented for b=None, eigvals=None and type=1 alone")
    return linalg.eigvalsh(a) if eigvals_only else tuple(linalg.eigh(a))


def qr(
    a: Any,
    overwrite_a: bool = False,
    lwork: Any = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Array, ...]:
    """Return the QR decomposition of matrices.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrices.
    mode : {"full", "r", "economic"}
        Whether Q has m columns, or R alone is asked for, or Q has ``min(m, n)`` columns.
    pivoting : bool
        Not supported.
    overwrite_a, lwork, check_finite
        Accepted, without effect.
    """
    if mode not in ("full", "r", "economic"):
        raise ValueError(f"Unsupported QR decomposition mode '{mode}'")
    if pivoting:
        raise NotImplementedError("qr is implemented for pivoting=False alone")
    q, r = linalg.qr(a, mode="reduced" if mode == "economic" else "complete")
    return (r,) if mode == "r" else (q, r)


def lu(a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Array, ...]:
    """Return the LU decomposition ``a = P @ L @ U``.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrices.
    permute_l : bool
        Whether ``P @ L, U`` is asked for, instead of ``P, L, U``.
    overwrite_a, check_finite : bool
        Accepted, without effect.
    """
    array = require_inexact(as_array(a, "lu"))
    if array.ndim < 2:
        raise ShapeError(f"lu: expected matrices, of shape (..., m, n), got shape {array.shape}")
    m, n = array.shape[-2:]
    k = min(m, n)
    factors, _, permutation = pivoting.lu(array)
    lower = tril(factors[..., :k], k=-1) + eye(m, k, dtype=array.dtype, device=array.device)
    upper = triu(factors[..., :k, :], k=0)
    if permute_l:
        positions = broadcast_to(expand_dims(argsort(permutation, axis=-1), axis=-1), lower.shape)
        return take_along_axis(lower, positions, axis=lower.ndim - 2), upper
    rows = expand_dims(arange(m, dtype="int32", device=array.device), axis=-1)
    matches = elementwise.equal(expand_dims(permutation, axis=-2), rows)
    return astype(matches, real_part_of(array.dtype.name)), lower, upper


def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Array, Array]:
    """Return what `lu_solve` needs: both factors in one matrix, and the rows that changed places, one after another."""
    factors, pivots, _ = pivoting.lu(_square(a, "lu_factor"))
    return factors, pivots


def lu_solve(
    lu_and_piv: tuple[Any, Any], b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """Solve ``a x = b`` by what `lu_factor` gave; `trans` is as in `solve_triangular`."""
    factors, right = promote_args("lu_solve", lu_and_piv[0], b, inexact=True)
    columns = _columns(_square(factors, "lu_solve"), right, "lu_solve")
    order = _permutation(as_array(lu_and_piv[1], "lu_solve"), factors.shape[-1])
    if trans == 0:
        columns = _permute(columns, order)
        columns = solve_triangular(factors, columns, lower=True, unit_diagonal=True)
        columns = solve_triangular(factors, columns)
    else:
        columns = solve_triangular(factors, columns, trans=trans)
        columns = solve_triangular(factors, columns, trans=trans, lower=True, unit_diagonal=True)
        columns = _permute(columns, argsort(order, axis=-1))
    return columns[..., 0] if right.ndim == 1 else columns


def _permutation(pivots: Array, n: int) -> Array:
    """Return which row comes where after rows changed places, one after another."""
    positions = arange(n, dtype=pivots.dtype, device=pivots.device)
    order = broadcast_to(positions, (*pivots.shape[:-1], n))
    for i in range(pivots.shape[-1]):
        other = pivots[..., i : i + 1]
        swap = elementwise.where(positions == i, other, elementwise.where(positions == other, i, positions))
        order = take_along_axis(order, swap, axis=order.ndim - 1)
    return order


def _permute(x: Array, order: Array) -> Array:
    batch = max(x.shape[:-2], order.shape[:-1], key=len)
    x = broadcast_to(x, (*batch, *x.shape[-2:]))
    return take_along_axis(x, broadcast_to(expand_dims(order, axis=-1), x.shape), axis=x.ndim - 2)


def polar(a: Any, side: str = "right", *, method: str = "svd") -> tuple[Array, Array]:
    """Return a unitary and a positive semidefinite factor of matrices: ``a = u @ p``, with `side` "left" ``p @ u``."""
    if side not in ("right", "left"):
        raise ValueError(f"The argument `side` must be either 'right' or 'left', got {side!r}")
    if method not in ("svd", "qdwh"):
        raise ValueError(f"Unknown polar decomposition method {method}.")
    u, s, vh = linalg.svd(a, full_matrices=False)
    sizes = expand_dims(s, axis=-2)
    positive = (_adjoint(vh) * sizes) @ vh if side == "right" else (u * sizes) @ _adjoint(u)
    return u @ vh, positive


# Functions of matrices, and matrices of a form


def expm(A: Any, *, upper_triangular: bool = False, max_squarings: int = 16) -> Array:
    """Return the exponentials of square matrices.

    Parameters
    ----------
    A : array, shape (..., n, n)
        The matrices.
    upper_triangular : bool
        Accepted, without effect.
    max_squarings : int
        How often results may be squared; a matrix of a norm above about ``5 * 2**max_squarings`` gives NaN.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> expm(jnp.asarray([[0.0, 1.0], [0.0, 0.0]]))
    Array([[1., 1.],
           [0., 1.]], dtype=float32)
    """
    array = _square(A, "expm")
    result = solvers.expm(array)
    largest = solvers.LARGEST_NORM * 2.0 ** (max_squarings + 1)
    norms = linalg.matrix_norm(array, ord=1, keepdims=True)
    return elementwise.where(norms < largest, result, float("nan"))


def expm_frechet(A: Any, E: Any, *, method: str | None = None, compute_expm: bool = True) -> Any:
    """Return the exponentials of matrices (if `compute_expm`) and their derivatives in the direction `E`."""
    array, direction = promote_args("expm_frechet", A, E, inexact=True)
    array = _square(array, "expm_frechet")
    if direction.shape != array.shape:
        raise ShapeError(f"expm_frechet: A and E must have one shape, got {array.shape} and {direction.shape}")
    n = array.shape[-1]
    below = concat([array * 0, array], axis=-1)
    both = solvers.expm(concat([concat([array, direction], axis=-1), below], axis=-2))
    derivative = both[..., :n, n:]
    return (both[..., :n, :n], derivative) if compute_expm else derivative


def block_diag(*arrs: Any) -> Array:
    """Return the matrix with given matrices on its diagonal; vectors are rows, numbers 1 x 1 matrices."""
    blocks = promote_args("block_diag", *arrs) if arrs else [zeros((1, 0))]
    if any(block.ndim > 2 for block in blocks):
        raise ValueError(
            f"Arguments to block_diag must have at most 2 dimensions, got shapes {[block.shape for block in blocks]}"
        )
    blocks = [block if block.ndim == 2 else reshape(block, (1, block.size)) for block in blocks]
    width, left, rows = sum(block.shape[1] for block in blocks), 0, []
    for block in blocks:
        height, size = block.shape
        sides = (left, width - left - size)
        before, after = (zeros((height, side), dtype=block.dtype, device=block.device) for side in sides)
        rows.append(concat([before, block, after], axis=1))
        left += size
    return concat(rows, axis=0)


def toeplitz(c: Any, r: Any = None) -> Array:
    """Return matrices that are constant along each diagonal.

    Parameters
    ----------
    c : array, shape (..., m)
        Their first columns.
    r : array, shape (..., n), optional
        Their first rows, but for the first element; by default the conjugates of `c`.
    """
    column = as_array(c, "toeplitz")
    column, row = promote_args("toeplitz", column, elementwise.conj(column) if r is None else r)
    column, row = (reshape(x, (1,)) if not x.ndim else x for x in (column, row))
    m, n = column.shape[-1], row.shape[-1]
    batch = max(column.shape[:-1], row.shape[:-1], key=len)
    column, row = broadcast_to(column, (*batch, m)), broadcast_to(row, (*batch, n))
    elements = concat([column[..., ::-1], row[..., 1:]], axis=-1)
    rows, columns = arange(m, device=column.device), arange(n, device=column.device)
    positions = reshape((m - 1) - expand_dims(rows, axis=-1) + columns, (m * n,))
    return reshape(take(elements, positions, axis=elements.ndim - 1), (*batch, m, n))
