"""`jax.numpy.linalg`: linear algebra, on any backend and differentiable; leading axes are batches."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradkit.core import Array
from gradkit.core.calls import as_array, dtype_name, require_inexact
from gradkit.core.promotion import real_part_of
from gradkit.errors import ShapeError
from gradkit.numpy import contractions, products
from gradkit.numpy.arguments import promoted
from gradkit.numpy.creation import asarray, broadcast_arrays, eye
from gradkit.numpy.norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from gradkit.numpy.rearranging import moveaxis
from gradkit.numpy.sorting import argsort
from gradkit.primitives import along_axis, decompositions, solvers
from gradkit.primitives import elementwise as e
from gradkit.primitives.linalg import matmul
from gradkit.primitives.manipulation import astype, broadcast_to, expand_dims, matrix_transpose, reshape
from gradkit.primitives.reductions import sum as sum_over

__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]


class EighResult(NamedTuple):
    """Eigenvalues and eigenvectors of Hermitian matrices."""

    eigenvalues: Array
    eigenvectors: Array


class EigResult(NamedTuple):
    """Eigenvalues and eigenvectors of square matrices."""

    eigenvalues: Array
    eigenvectors: Array


class QRResult(NamedTuple):
    """Matrices with orthonormal columns, and triangular ones."""

    Q: Array
    R: Array


class SlogdetResult(NamedTuple):
    """Signs of determinants, and logarithms of their absolute values."""

    sign: Array
    logabsdet: Array


class SVDResult(NamedTuple):
    """Singular vectors and values."""

    U: Array
    S: Array
    Vh: Array


vecdot = products.vecdot
tensordot = products.tensordot


def _matrices(x: Any, caller: str) -> Array:
    array = require_inexact(as_array(x, caller))
    if array.ndim < 2:
        raise ShapeError(f"{caller}: expected matrices, of shape (..., m, n), got shape {array.shape}")
    return array


def _square(x: Any, caller: str) -> Array:
    array = _matrices(x, caller)
    if array.shape[-1] != array.shape[-2]:
        raise ShapeError(f"Argument to {caller}() must have shape [..., n, n], got {array.shape}")
    return array


def _adjoint(x: Array) -> Array:
    return e.conj(matrix_transpose(x))


def _symmetrized(x: Array) -> Array:
    return (x + _adjoint(x)) / 2


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
    matrix, right = promoted("solve", a, b, inexact=True)
    matrix = _square(matrix, "solve")
    if not right.ndim or right.shape[-1 if right.ndim == 1 else -2] != matrix.shape[-1]:
        raise ShapeError(f"solve: expected a (..., n, n) and b (n,) or (..., n, k), got {matrix.shape}, {right.shape}")
    if right.ndim == 1:
        return solvers.solve(matrix, expand_dims(right, axis=-1))[..., 0]
    return solvers.solve(matrix, right)


def inv(a: Any) -> Array:
    """Return the inverses of square matrices (..., n, n). A singular one gives NaN or infinity."""
    return solvers.inv(_square(a, "inv"))


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
    array = _matrices(a, "pinv")
    if hermitian:
        array = _symmetrized(_square(array, "pinv"))
    bound = rcond if rtol is None else rtol
    real = real_part_of(dtype_name(array))
    if bound is None:
        bound = 10.0 * max(array.shape[-2:]) * float(np.finfo(real).eps)
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
    matrix, right = promoted("lstsq", a, b, inexact=True)
    if matrix.ndim != 2 or right.ndim not in (1, 2) or matrix.shape[0] != right.shape[0]:
        raise ShapeError(f"lstsq: expected a (m, n) and b (m,) or (m, k), got {matrix.shape} and {right.shape}")
    columns = right if right.ndim == 2 else expand_dims(right, axis=-1)
    m, n = matrix.shape
    u, s, vh = decompositions.svd(matrix, full_matrices=False)
    epsilon = float(np.finfo(s.dtype).eps)
    if rcond is None:
        rcond = epsilon * max(n, m)
    elif type(rcond) is not Array:
        rcond = epsilon if rcond < 0 else rcond
    present = e.logical_and(e.greater(s, 0), e.greater_equal(s, rcond * s[:1]))
    rank = sum_over(present)
    inverse = e.where(present, 1 / e.where(present, s, 1), 0)
    x = matmul(_adjoint(vh), expand_dims(inverse, axis=-1) * matmul(_adjoint(u), columns))
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
    array, right = as_array(a, "tensorsolve"), as_array(b, "tensorsolve")
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
    return solvers.det(_square(a, "det"))


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
    return SlogdetResult(*solvers.slogdet(_square(a, "slogdet")))


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
    factors = promoted("multi_dot", *arrays)
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
    return contractions.einsum(*(item for pair in zip(factors, names, strict=True) for item in pair))


# Decompositions


def cholesky(a: Any, *, upper: bool = False, symmetrize_input: bool = True) -> Array:
    """Return the Cholesky factors of positive definite matrices: ``a = L @ L.mT.conj()``.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices. One that is not positive definite gives NaN.
    upper : bool
        Whether the upper triangles ``L.mT.conj()`` are asked for.
    symmetrize_input : bool
        Whether the mean of `a` and its conjugate transpose is taken first. Otherwise the lower triangle is read.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.linalg.cholesky(jnp.asarray([[4.0, 2.0], [2.0, 5.0]]))
    Array([[2., 0.],
           [1., 2.]], dtype=float32)
    """
    array = _square(a, "cholesky")
    factor = decompositions.cholesky(_symmetrized(array) if symmetrize_input else array)
    return _adjoint(factor) if upper else factor


def qr(a: Any, mode: str = "reduced") -> Any:
    """Return matrices with orthonormal columns and upper triangles whose product is `a`.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrices.
    mode : {"reduced", "complete", "r"}
        Whether Q has ``min(m, n)`` or m columns, or R alone is asked for.

    Returns
    -------
    QRResult or Array
        ``Q, R``; in the mode "r" R.
    """
    if mode not in ("reduced", "complete", "r", "full"):
        raise ValueError(f"Unsupported QR decomposition mode '{mode}'")
    q, r = decompositions.qr(_matrices(a, "qr"), mode="complete" if mode == "complete" else "reduced")
    return r if mode == "r" else QRResult(q, r)


def _side(array: Array, uplo: str | None, symmetrize: bool) -> Array:
    if uplo not in (None, "L", "U"):
        raise ValueError(f"UPLO must be one of None, 'L', or 'U', got {uplo}")
    if symmetrize:
        return _symmetrized(array)
    return _adjoint(array) if uplo == "U" else array


def eigh(a: Any, UPLO: str | None = None, symmetrize_input: bool = True) -> EighResult:
    """Return the eigenvalues and eigenvectors of Hermitian matrices.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices.
    UPLO : {"L", "U"}, optional
        Which triangle is read if `symmetrize_input` is False.
    symmetrize_input : bool
        Whether the mean of `a` and its conjugate transpose is taken first.

    Returns
    -------
    eigenvalues : Array, shape (..., n)
        Real, from the least on. Their derivatives exist for equal ones, too.
    eigenvectors : Array, shape (..., n, n)
        In the columns. Their derivatives need distinct eigenvalues.
    """
    return EighResult(*decompositions.eigh(_side(_square(a, "eigh"), UPLO, symmetrize_input)))


def eigvalsh(a: Any, UPLO: str | None = "L", *, symmetrize_input: bool = True) -> Array:
    """Return the eigenvalues of Hermitian matrices, from the least on; see `eigh`."""
    return decompositions.eigvalsh(_side(_square(a, "eigvalsh"), UPLO, symmetrize_input))


def eig(a: Any) -> EigResult:
    """Return the eigenvalues and eigenvectors of square matrices, both complex.

    The derivatives of the eigenvectors are those of vectors of length 1 whose largest element is real, which is how
    LAPACK scales them. (JAX has them, too, but on demand only: `jax.lax.linalg.eig` with `enable_eigvec_derivs`.) They
    need distinct eigenvalues.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices.

    Returns
    -------
    eigenvalues : Array, shape (..., n)
        In no order.
    eigenvectors : Array, shape (..., n, n)
        In the columns.
    """
    return EigResult(*decompositions.eig(_square(a, "eig")))


def eigvals(a: Any) -> Array:
    """Return the eigenvalues of square matrices (..., n, n): complex, in no order."""
    return decompositions.eigvals(_square(a, "eigvals"))


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Return the singular value decomposition ``a = U @ diag(S) @ Vh``.

    Parameters
    ----------
    a : array, shape (..., m, n)
        The matrices.
    full_matrices : bool
        Whether U and Vh are square. Then they have a derivative if `a` is square, too.
    compute_uv : bool
        Whether U and Vh are asked for.
    hermitian : bool
        Whether `a` is Hermitian, so that its eigenvectors serve; it is made so.

    Returns
    -------
    SVDResult or Array
        ``U, S, Vh``, or S alone. The singular values begin with the largest.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.linalg.svd(jnp.asarray([[3.0, 0.0], [0.0, 5.0]]), compute_uv=False)
    Array([5., 3.], dtype=float32)
    """
    array = _matrices(a, "svd")
    if hermitian:
        return _hermitian_svd(_symmetrized(_square(array, "svd")), compute_uv)
    if not compute_uv:
        return decompositions.svdvals(array)
    return SVDResult(*decompositions.svd(array, full_matrices=full_matrices))


def _hermitian_svd(array: Array, compute_uv: bool) -> Any:
    values, vectors = decompositions.eigh(array)
    sizes = e.abs(values)
    order = argsort(sizes, axis=-1, descending=True)
    sizes = along_axis.take_along_axis(sizes, order, axis=sizes.ndim - 1)
    if not compute_uv:
        return sizes
    signs = along_axis.take_along_axis(e.sign(values), order, axis=sizes.ndim - 1)
    places = broadcast_to(expand_dims(order, axis=-2), vectors.shape)
    u = along_axis.take_along_axis(vectors, places, axis=vectors.ndim - 1)
    return SVDResult(u, sizes, _adjoint(u * expand_dims(signs, axis=-2)))


def svdvals(x: Any, /) -> Array:
    """Return the singular values of matrices (..., m, n), from the largest on."""
    return decompositions.svdvals(_matrices(x, "svdvals"))


# The standard's products, some of which are narrower here than in the main namespace


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """Return the cross products of vectors with 3 elements along an axis."""
    arrays = as_array(x1, "cross"), as_array(x2, "cross")
    if any(not array.ndim or array.shape[axis] != 3 for array in arrays):
        raise ValueError(f"cross: vectors must have 3 elements along axis {axis}, got {[a.shape for a in arrays]}")
    left, right = broadcast_arrays(*arrays)
    return contractions.cross(left, right, axis=axis)


def outer(x1: Any, x2: Any, /) -> Array:
    """Return the products of all pairs of elements of two vectors."""
    arrays = as_array(x1, "outer"), as_array(x2, "outer")
    if any(array.ndim != 1 for array in arrays):
        raise ValueError(f"outer: x1 and x2 must be one-dimensional, got shapes {[array.shape for array in arrays]}")
    return contractions.outer(*arrays)


def diagonal(x: Any, /, *, offset: int = 0) -> Array:
    """Return diagonals of the matrices in the last two axes; positive offsets are above the main one."""
    return contractions.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Return the sums of diagonals of the matrices in the last two axes."""
    return contractions.trace(x, offset, -2, -1, dtype)
