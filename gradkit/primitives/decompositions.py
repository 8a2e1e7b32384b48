"""Decompositions of matrices: Cholesky, QR, eigenvalues, singular values.

All of them take leading axes as batches. The rules are those of JAX, transposed by hand and stated for adjoints (see
`gradkit.primitives.matrices`), so that gauges (the phases of vectors) are JAX's as well. Sources: Giles, "Collected
matrix derivative results for forward and reverse mode algorithmic differentiation" (2008); Seeger et al.,
"Auto-differentiating linear algebra" (2017); Murray, "Differentiation of the Cholesky decomposition" (2016); Walter and
Lehmann, "Algorithmic differentiation of linear algebra functions" (2010); Wan and Zhang, "Automatic differentiation for
complex valued SVD" (2019).
"""

from __future__ import annotations

import functools
import math
from typing import Any

from gradkit.core import Array, General
from gradkit.core.batching import leading, same_shape
from gradkit.core.binding import bind_several
from gradkit.core.namespace import publish
from gradkit.core.node import NO_PARAMS
from gradkit.core.operands import as_array
from gradkit.core.promotion import complex_of, is_complex, real_part_of
from gradkit.primitives.matrices import (
    Decomposition,
    adjoint,
    columns,
    diagonal_matrix,
    diagonal_of,
    eye_like,
    hermitian,
)

__all__ = ["cholesky", "eig", "eigh", "eigvals", "eigvalsh", "qr", "svd", "svdvals"]


def _inverse_differences(xp: Any, values: Any) -> Any:
    """Return ``1 / (v_j - v_i)`` with zeros on the diagonal."""
    return _inverses(xp, values[..., None, :] - values[..., :, None])


def _inverses(xp: Any, differences: Any) -> Any:
    """Return reciprocals with zeros on the diagonal; elsewhere that of 0 is NaN: equal values have no derivative."""
    eye = eye_like(xp, differences)
    differences = differences + eye
    equal = differences == 0
    inverses = 1 / xp.where(equal, xp.ones_like(differences), differences) - eye
    return xp.where(equal, xp.zeros_like(inverses) * math.nan, inverses)


def _pull_cholesky(xp: Any, g: Any, y: Any, _x: Any) -> Any:
    """Murray (2016), equation 10."""
    transposed = hermitian(xp, y)
    middle = xp.matmul(transposed, g)
    halved = (xp.tril(middle, k=0) + xp.tril(middle, k=-1)) / 2
    left = xp.triangular_solve(transposed, halved, lower=False, unit_diagonal=False)
    return hermitian(xp, xp.triangular_solve(transposed, hermitian(xp, left), lower=False, unit_diagonal=False))


def _pull_eigh(xp: Any, g: Any, results: Any, _x: Any) -> Any:
    """Giles (2008), section 3.1."""
    of_values, of_vectors = g
    values, vectors = results
    adjoint_vectors = hermitian(xp, vectors)
    if of_vectors is None:
        return xp.matmul(vectors * xp.astype(columns(xp, of_values), vectors.dtype), adjoint_vectors)
    inverses = xp.astype(_inverse_differences(xp, values), vectors.dtype)
    middle = inverses * xp.matmul(adjoint_vectors, of_vectors)
    if of_values is not None:
        middle = middle + diagonal_matrix(xp, xp.astype(of_values, vectors.dtype))
    return xp.matmul(vectors, xp.matmul(middle, adjoint_vectors))


def _pull_eigvalsh(xp: Any, g: Any, _y: Any, x: Any) -> Any:
    _, vectors = xp.eigh(x)
    return xp.matmul(vectors * xp.astype(columns(xp, g), x.dtype), hermitian(xp, vectors))


def _pull_eig(xp: Any, g: Any, results: Any, _x: Any) -> Any:
    """Giles (2008), section 3.1, and the scaling of LAPACK's vectors: length 1, and the largest element is real."""
    of_values, of_vectors = g
    values, vectors = results
    middle = None if of_values is None else diagonal_matrix(xp, of_values)
    if of_vectors is not None:
        along = xp.sum(xp.conj(vectors) * of_vectors, axis=(vectors.ndim - 2,), keepdims=True)
        of_moves = of_vectors - vectors * xp.astype(xp.real(along), vectors.dtype)
        row = vectors.ndim - 2
        largest = xp.argmax(xp.abs(vectors), axis=row, keepdims=True)
        turn = xp.astype(xp.imag(along) / xp.real(xp.take_along_axis(vectors, largest, axis=row)), vectors.dtype) * 1j
        of_moves = of_moves - xp.add_along_axis(turn, largest, axis=row, size=vectors.shape[-2])
        part = xp.conj(_inverse_differences(xp, values)) * xp.matmul(hermitian(xp, vectors), of_moves)
        middle = part if middle is None else middle + part
    return _back(xp, vectors, middle, _x)


def _back(xp: Any, vectors: Any, middle: Any, x: Any) -> Any:
    """Return ``V^-H M V^H``, of which a real matrix gets the real part."""
    transposed = hermitian(xp, vectors)
    result = xp.matmul(xp.solve(transposed, middle), transposed)
    return result if is_complex(x.dtype) else xp.real(result)


def _pull_eigvals(xp: Any, g: Any, _y: Any, x: Any) -> Any:
    _, vectors = xp.eig(x)
    return _back(xp, vectors, diagonal_matrix(xp, g), x)


def _pull_svd(xp: Any, g: Any, results: Any, x: Any, *, full_matrices: bool) -> Any:
    """Wan and Zhang (2019); the phases are JAX's, which leaves them to the left vectors."""
    of_u, of_s, of_vh = g
    u, s, vh = results
    m, n = x.shape[-2:]
    k = s.shape[-1]
    if full_matrices and m != n:
        if of_u is not None or of_vh is not None:
            raise NotImplementedError(
                f"svd: the singular vectors of a matrix of shape {(m, n)} have no derivative with full_matrices=True. "
                f"Use full_matrices=False."
            )
        u, vh = u[..., :k], vh[..., :k, :]
    uh, v = hermitian(xp, u), hermitian(xp, vh)
    if of_u is None and of_vh is None:
        return xp.matmul(u * xp.astype(columns(xp, of_s), u.dtype), vh)
    of_v = None if of_vh is None else hermitian(xp, of_vh)
    factors = xp.astype(_inverse_squared_differences(xp, s), u.dtype)
    sizes = xp.astype(s, u.dtype)
    inverses = xp.astype(_inverse_sizes(xp, s), u.dtype)
    shares = []
    if of_s is not None:
        shares.append(diagonal_matrix(xp, xp.astype(of_s, u.dtype)))
    if of_u is not None:
        turns = xp.matmul(uh, of_u)
        both = factors * turns
        shares.append((both + hermitian(xp, both)) * columns(xp, sizes))
        if is_complex(u.dtype):
            phases = xp.astype(xp.imag(diagonal_of(xp, turns)), u.dtype) * inverses
            shares.append(diagonal_matrix(xp, phases * 1j))
    if of_v is not None:
        both = factors * xp.matmul(vh, of_v)
        shares.append(sizes[..., :, None] * (both + hermitian(xp, both)))
    middle = shares[0]
    for share in shares[1:]:
        middle = middle + share
    result = xp.matmul(u, xp.matmul(middle, vh))
    if m > n and of_u is not None:
        outside = of_u - xp.matmul(u, xp.matmul(uh, of_u))
        result = result + xp.matmul(outside / columns(xp, sizes), vh)
    if n > m and of_v is not None:
        outside = of_v - xp.matmul(v, xp.matmul(vh, of_v))
        result = result + xp.matmul(u, hermitian(xp, outside / columns(xp, sizes)))
    return result


def _inverse_squared_differences(xp: Any, s: Any) -> Any:
    """Return ``1 / (s_j^2 - s_i^2)`` with zeros on the diagonal."""
    rows, cols = s[..., :, None], s[..., None, :]
    return _inverses(xp, (cols + rows) * (cols - rows))


def _inverse_sizes(xp: Any, s: Any) -> Any:
    """Return ``1 / s``, and 0 where it is 0."""
    zeros = xp.astype(s == 0, s.dtype)
    return 1 / (s + zeros) - zeros


def _pull_svdvals(xp: Any, g: Any, _y: Any, x: Any) -> Any:
    u, _, vh = xp.svd(x, full_matrices=False)
    return xp.matmul(u * xp.astype(columns(xp, g), x.dtype), vh)


def _pull_qr(xp: Any, g: Any, results: Any, x: Any, *, mode: str) -> Any:
    """Walter and Lehmann (2010), section 3.3; Seeger et al. (2017) for wide matrices."""
    of_q, of_r = g
    q, r = results
    m, n = x.shape[-2:]
    if m < n:
        square, rest = (None, None) if of_r is None else (of_r[..., :m], of_r[..., m:])
        if rest is not None:
            share = xp.matmul(x[..., m:], hermitian(xp, rest))
            of_q = share if of_q is None else of_q + share
        of_square = _pull_thin_qr(xp, of_q, square, q, r[..., :m])
        of_rest = xp.zeros_like(x[..., m:]) if rest is None else xp.matmul(q, rest)
        return xp.concat([of_square, of_rest], axis=-1)
    if mode == "complete" and m > n:
        if of_r is not None:
            of_r = of_r[..., :n, :]
        if of_q is not None:
            of_q = _pull_completion(xp, of_q, q, n)
        q, r = q[..., :n], r[..., :n, :]
    return _pull_thin_qr(xp, of_q, of_r, q, r)


def _pull_thin_qr(xp: Any, of_q: Any, of_r: Any, q: Any, r: Any) -> Any:
    inner = None if of_q is None else xp.matmul(hermitian(xp, q), of_q)
    if of_r is not None:
        product = xp.matmul(of_r, hermitian(xp, r))
        inner = -product if inner is None else inner - product
    turns = xp.tril(inner - hermitian(xp, inner), k=-1) - inner
    if is_complex(q.dtype):
        turns = turns + diagonal_matrix(xp, xp.astype(xp.imag(diagonal_of(xp, inner)), q.dtype) * 1j)
    outer = xp.matmul(q, turns)
    if of_q is not None:
        outer = outer + of_q
    return hermitian(xp, xp.triangular_solve(r, hermitian(xp, outer), lower=False, unit_diagonal=False))


def _pull_completion(xp: Any, of_q: Any, q: Any, n: int) -> Any:
    """Return the cotangent of the first `n` columns, of which Householder's reflections make the others as well.

    (The equations 32 and 33 of arXiv:2409.13374, transposed.)
    """
    thin, others, of_others = q[..., :n], q[..., n:], of_q[..., n:]
    top, bottom = thin[..., :n, :], thin[..., n:, :]
    z_h = xp.solve(hermitian(xp, top - eye_like(xp, top)), hermitian(xp, bottom))
    z = hermitian(xp, z_h)
    product = xp.matmul(hermitian(xp, of_others), thin + xp.matmul(others, z))
    return of_q[..., :n] + xp.matmul(of_others, z) + xp.concat([xp.matmul(z_h, product), -product], axis=-2)


# The primitives


def _batch_shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape[:-2])


def _svd_shapes(x: Any, full_matrices: bool) -> list[Any]:
    m, n = x.shape[-2:]
    k, batch = min(m, n), _batch_shape(x)
    return [
        ((*batch, m, m if full_matrices else k), x.dtype),
        ((*batch, k), real_part_of(x.dtype.name)),
        ((*batch, n if full_matrices else k, n), x.dtype),
    ]


def _qr_shapes(x: Any, mode: str) -> list[Any]:
    m, n = x.shape[-2:]
    k, batch = m if mode == "complete" else min(m, n), _batch_shape(x)
    return [((*batch, m, k), x.dtype), ((*batch, k, n), x.dtype)]


def _real_dtype(x: Any) -> str:
    return real_part_of(x.dtype.name)


_of_matrices = functools.partial(General, batch=leading, leaf=True)
_decomposition = functools.partial(Decomposition, batch=leading, leaf=True)

cholesky = _of_matrices(
    "cholesky", lambda xp, x: xp.library.linalg.cholesky(x), (adjoint(_pull_cholesky),), shape=same_shape
)
"""Return the lower Cholesky factors of positive definite matrices, of which the lower triangle is read."""
_eigh = _decomposition(
    "eigh",
    lambda xp, x: tuple(xp.library.linalg.eigh(x)),
    (adjoint(_pull_eigh),),
    shape=lambda x: [(x.shape[:-1], real_part_of(x.dtype.name)), (x.shape, x.dtype)],
)
eigvalsh = _of_matrices(
    "eigvalsh",
    lambda xp, x: xp.library.linalg.eigvalsh(x),
    (adjoint(_pull_eigvalsh),),
    shape=lambda x: x.shape[:-1],
    dtype=_real_dtype,
)
"""Return the eigenvalues of Hermitian matrices, from the least on."""
_eig = _decomposition(
    "eig",
    lambda xp, x: tuple(xp.library.linalg.eig(x)),
    (adjoint(_pull_eig),),
    shape=lambda x: [(x.shape[:-1], complex_of(x.dtype.name)), (x.shape, complex_of(x.dtype.name))],
)
eigvals = _of_matrices(
    "eigvals",
    lambda xp, x: xp.library.linalg.eigvals(x),
    (adjoint(_pull_eigvals),),
    shape=lambda x: x.shape[:-1],
    dtype=lambda x: complex_of(x.dtype.name),
)
"""Return the eigenvalues of square matrices, which are complex."""
_svd = _decomposition(
    "svd",
    lambda xp, x, *, full_matrices: tuple(xp.library.linalg.svd(x, full_matrices=full_matrices)),
    (adjoint(_pull_svd),),
    shape=_svd_shapes,
)
svdvals = _of_matrices(
    "svdvals",
    lambda xp, x: xp.library.linalg.svdvals(x),
    (adjoint(_pull_svdvals),),
    shape=lambda x: (*x.shape[:-2], min(x.shape[-2:])),
    dtype=_real_dtype,
)
"""Return the singular values of matrices, from the largest on."""
_qr = _decomposition(
    "qr",
    lambda xp, x, *, mode: tuple(xp.library.linalg.qr(x, mode=mode)),
    (adjoint(_pull_qr),),
    shape=_qr_shapes,
)


def eigh(x: Any, /) -> tuple[Array, Array]:
    """Return the eigenvalues, from the least on, and the eigenvectors of Hermitian matrices."""
    return bind_several(_eigh, (as_array(x, "eigh"),), NO_PARAMS)  # type: ignore[return-value]


def eig(x: Any, /) -> tuple[Array, Array]:
    """Return the eigenvalues and the eigenvectors of square matrices, which are complex."""
    return bind_several(_eig, (as_array(x, "eig"),), NO_PARAMS)  # type: ignore[return-value]


def svd(x: Any, /, *, full_matrices: bool) -> tuple[Array, Array, Array]:
    """Return the singular vectors and values ``u, s, vh`` of matrices."""
    return bind_several(_svd, (as_array(x, "svd"),), {"full_matrices": bool(full_matrices)})  # type: ignore[return-value]


def qr(x: Any, /, *, mode: str) -> tuple[Array, Array]:
    """Return ``q, r`` of matrices, in the mode "reduced" or "complete"."""
    return bind_several(_qr, (as_array(x, "qr"),), {"mode": mode})  # type: ignore[return-value]


publish(globals(), __all__)
