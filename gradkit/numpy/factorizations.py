"""Decompositions of matrices: the part of `gradkit.numpy.linalg` that gives factors, eigenvalues, singular values."""

from __future__ import annotations

from typing import Any, NamedTuple

from gradkit.core import Array
from gradkit.core.operands import as_array, require_inexact
from gradkit.errors import ShapeError
from gradkit.numpy.sorting import argsort
from gradkit.primitives import along_axis, decompositions
from gradkit.primitives import elementwise as e
from gradkit.primitives.manipulation import broadcast_to, expand_dims, matrix_transpose

__all__ = ["cholesky", "eig", "eigh", "eigvals", "eigvalsh", "qr", "svd", "svdvals"]


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


class SVDResult(NamedTuple):
    """Singular vectors and values."""

    U: Array
    S: Array
    Vh: Array


def matrices(x: Any, caller: str) -> Array:
    array = require_inexact(as_array(x, caller))
    if array.ndim < 2:
        raise ShapeError(f"{caller}: expected matrices, of shape (..., m, n), got shape {array.shape}")
    return array


def square(x: Any, caller: str) -> Array:
    array = matrices(x, caller)
    if array.shape[-1] != array.shape[-2]:
        raise ShapeError(f"Argument to {caller}() must have shape [..., n, n], got {array.shape}")
    return array


def adjoint(x: Array) -> Array:
    return e.conj(matrix_transpose(x))


def average_with_adjoint(x: Array) -> Array:
    return (x + adjoint(x)) / 2


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
    array = square(a, "cholesky")
    factor = decompositions.cholesky(average_with_adjoint(array) if symmetrize_input else array)
    return adjoint(factor) if upper else factor


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
    q, r = decompositions.qr(matrices(a, "qr"), mode="complete" if mode == "complete" else "reduced")
    return r if mode == "r" else QRResult(q, r)


def _side(array: Array, uplo: str | None, symmetrize: bool) -> Array:
    if uplo not in (None, "L", "U"):
        raise ValueError(f"UPLO must be one of None, 'L', or 'U', got {uplo}")
    if symmetrize:
        return average_with_adjoint(array)
    return adjoint(array) if uplo == "U" else array


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
    return EighResult(*decompositions.eigh(_side(square(a, "eigh"), UPLO, symmetrize_input)))


def eigvalsh(a: Any, UPLO: str | None = "L", *, symmetrize_input: bool = True) -> Array:
    """Return the eigenvalues of Hermitian matrices, from the least on; see `eigh`."""
    return decompositions.eigvalsh(_side(square(a, "eigvalsh"), UPLO, symmetrize_input))


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
    return EigResult(*decompositions.eig(square(a, "eig")))


def eigvals(a: Any) -> Array:
    """Return the eigenvalues of square matrices (..., n, n): complex, in no order."""
    return decompositions.eigvals(square(a, "eigvals"))


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
    array = matrices(a, "svd")
    if hermitian:
        return _hermitian_svd(average_with_adjoint(square(array, "svd")), compute_uv)
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
    positions = broadcast_to(expand_dims(order, axis=-2), vectors.shape)
    u = along_axis.take_along_axis(vectors, positions, axis=vectors.ndim - 1)
    return SVDResult(u, sizes, adjoint(u * expand_dims(signs, axis=-2)))


def svdvals(x: Any, /) -> Array:
    """Return the singular values of matrices (..., m, n), from the largest on."""
    return decompositions.svdvals(matrices(x, "svdvals"))
