"""Linear systems and functions of square matrices: `solve`, inverses, determinants, the exponential.

All of them take leading axes as batches. Most of the formulas are those of Giles, "Collected matrix derivative results
for forward and reverse mode algorithmic differentiation" (2008).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradkit.core import Array, General, bind
from gradkit.core.batching import broadcast_sizes, broadcasting_leading, leading, same_shape
from gradkit.core.binding import bind_several
from gradkit.core.namespace import lift, publish, unbroadcast
from gradkit.core.node import NO_PARAMS, Node
from gradkit.core.operands import as_array
from gradkit.core.promotion import is_complex, real_part_of
from gradkit.primitives.matrices import Decomposition, adjoint, conjugate, eye_like, hermitian

__all__ = ["cofactor", "det", "expm", "inv", "pinv", "slogdet", "solve", "triangular_solve"]


class Solver(General):
    """A primitive that solves ``a x = b``: the cotangent of `b`, of which that of `a` is made, is computed once."""

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Solve the transposed system for the cotangent of `b`, and multiply it with the result for that of `a`."""
        xp, cotangent, (x, a, _) = lift(cotangent, saved)
        if cotangent.shape != node.shape:
            cotangent = xp.broadcast_to(cotangent, node.shape)
        g = _transposed_solve(xp, cotangent, a, **node.params)
        a_node, b_node = node.parents
        shares = []
        if a_node is not None:
            shares.append((a_node, _of_matrix(xp, g, x, a, **node.params)))
        if b_node is not None:
            shares.append((b_node, unbroadcast(xp, g, g.shape, b_node.shape)))
        return shares


def _transposed_solve(xp: Any, g: Any, a: Any, **params: Any) -> Any:
    transposed = xp.matrix_transpose(a)
    if not params:
        return xp.solve(transposed, g)
    return xp.triangular_solve(transposed, g, lower=not params["lower"], unit_diagonal=params["unit_diagonal"])


def _of_matrix(xp: Any, g: Any, x: Any, a: Any, **params: Any) -> Any:
    """Return the cotangent of the matrix: ``-g x^T``, and for a triangle that triangle of it."""
    product = -xp.matmul(g, xp.matrix_transpose(x))
    return _triangle(xp, unbroadcast(xp, product, product.shape, a.shape), **params)


def _triangle(xp: Any, a: Any, lower: bool | None = None, unit_diagonal: bool = False) -> Any:
    if lower is None:
        return a
    return xp.tril(a, k=-1 if unit_diagonal else 0) if lower else xp.triu(a, k=1 if unit_diagonal else 0)


def _push_solution(xp: Any, tangents: Sequence[Any], x: Any, a: Any, b: Any, **params: Any) -> Any:
    """Solve ``a dx = db - da x``."""
    da, db = tangents
    right = None if db is None else xp.broadcast_to(db, x.shape)
    if da is not None:
        change = xp.matmul(_triangle(xp, da, **params), x)
        right = -change if right is None else right - change
    return xp.triangular_solve(a, right, **params) if params else xp.solve(a, right)


def _solution_shape(a: Any, b: Any, **_: Any) -> tuple[int, ...]:
    return (*broadcast_sizes([a.shape[:-2], b.shape[:-2]]), *b.shape[-2:])


def _triangular_solve(xp: Any, a: Any, b: Any, *, lower: bool, unit_diagonal: bool) -> Any:
    triangle = _triangle(xp, a, lower, unit_diagonal)
    return xp.solve(triangle + eye_like(xp, triangle) if unit_diagonal else triangle, b)


_RULES = (
    lambda xp, g, x, a, _b, **params: _of_matrix(xp, _transposed_solve(xp, g, a, **params), x, a, **params),
    lambda xp, g, _x, a, _b, **params: unbroadcast(xp, _transposed_solve(xp, g, a, **params), g.shape, _b.shape),
)
solve = Solver(
    "solve",
    lambda xp, a, b: xp.library.linalg.solve(a, b),
    _RULES,
    _push_solution,
    batch=broadcasting_leading,
    shape=_solution_shape,
    leaf=True,
)
"""Solve ``a x = b`` for matrices `b` (..., n, k); leading axes broadcast."""
_solve_triangle = Solver(
    "triangular_solve",
    _triangular_solve,
    _RULES,
    _push_solution,
    batch=broadcasting_leading,
    shape=_solution_shape,
)


def _pull_inverse(xp: Any, g: Any, y: Any, _x: Any) -> Any:
    transposed = xp.matrix_transpose(y)
    return -xp.matmul(xp.matmul(transposed, g), transposed)


def _pinv_by_singular_values(xp: Any, x: Any, rtol: Any) -> Any:
    u, s, vh = xp.svd(x, full_matrices=False)
    largest = s[..., : min(1, s.shape[-1])]  # matrices of no rows have none
    sizes = xp.where(s > rtol[..., None] * largest, s, xp.full_like(s, math.inf))
    return xp.matmul(hermitian(xp, vh) / xp.astype(sizes, x.dtype)[..., None, :], hermitian(xp, u))


def _pull_pinv(xp: Any, g: Any, p: Any, a: Any, _rtol: Any) -> Any:
    """Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems" (1973)."""
    ph, gh = hermitian(xp, p), hermitian(xp, g)
    result = -xp.matmul(ph, xp.matmul(g, ph))
    rows = xp.matmul(gh, xp.matmul(p, ph))
    result = result + rows - xp.matmul(a, xp.matmul(p, rows))
    rest = xp.matmul(xp.matmul(ph, p), gh)
    return result + rest - xp.matmul(xp.matmul(rest, p), a)


# Determinants


def _roll(xp: Any, x: Any, rows: int, columns: int) -> Any:
    """Return matrices whose first `rows` and `columns` went to the end."""
    if rows:
        x = xp.concat([x[..., rows:, :], x[..., :rows, :]], axis=-2)
    return xp.concat([x[..., columns:], x[..., :columns]], axis=-1) if columns else x


def _cofactors(xp: Any, x: Any) -> Any:
    """Return the matrices of cofactors, which are the derivatives of determinants."""
    n = x.shape[-1]
    if n <= 1:
        return xp.ones_like(x)
    if n == 2:
        corner = _roll(xp, x, 1, 1)
        return _checkered(xp, corner)
    if n == 3:
        return _roll(xp, x, 1, 1) * _roll(xp, x, 2, 2) - _roll(xp, x, 1, 2) * _roll(xp, x, 2, 1)
    return xp.cofactor(x)


def _checkered(xp: Any, x: Any) -> Any:
    """Negate the elements of 2 x 2 matrices that are not on the diagonal."""
    diagonal = xp.tril(xp.triu(x, k=0), k=0)
    return diagonal + diagonal - x


def _cofactor(xp: Any, x: Any) -> Any:
    """Compute cofactors of singular matrices, too: by the singular values, of which each is left out once."""
    u, s, vh = xp.svd(x, full_matrices=False)
    eye = xp.eye(s.shape[-1], dtype=xp.bool, device=xp.device_of(x))
    others = xp.where(eye, xp.ones_like(s[..., None]), s[..., None, :])
    products = xp.astype(xp.prod(others, axis=(s.ndim,), keepdims=False), x.dtype)
    factor = xp.det(u) * xp.det(vh)
    return factor[..., None, None] * xp.matmul(conjugate(xp, u) * products[..., None, :], conjugate(xp, vh))


def _pull_cofactor(xp: Any, g: Any, c: Any, x: Any) -> Any:
    """Differentiate ``det(x) inv(x)^T``: second derivatives of determinants are for invertible matrices."""
    inverse = xp.matrix_transpose(xp.inv(x))
    total = xp.sum(g * c, axis=(g.ndim - 2, g.ndim - 1), keepdims=True)
    return inverse * total - xp.matmul(inverse, xp.matmul(xp.matrix_transpose(g), c))


def _pull_slogdet(xp: Any, g: Any, results: Any, x: Any) -> Any:
    """Differentiate ``log(det(x))``, whose imaginary part turns the sign of complex matrices."""
    of_sign, of_log = g
    sign, _ = results
    total = None if of_log is None else xp.astype(of_log, x.dtype)
    if is_complex(x.dtype) and of_sign is not None:
        turn = xp.astype(xp.imag(of_sign * xp.conj(sign)), x.dtype) * 1j
        total = turn if total is None else total + turn
    if total is None:
        return xp.zeros_like(x)
    return total[..., None, None] * hermitian(xp, xp.inv(x))


inv = General(
    "inv", lambda xp, x: xp.library.linalg.inv(x), (_pull_inverse,), batch=leading, shape=same_shape, leaf=True
)
"""Return the inverses of square matrices."""
pinv = General(
    "pinv",
    _pinv_by_singular_values,
    (adjoint(_pull_pinv), None),
    batch=leading,
    shape=lambda x, rtol: (*x.shape[:-2], x.shape[-1], x.shape[-2]),
)
"""Return the pseudo-inverses of matrices; singular values up to `rtol` (an array) times the largest count as 0."""
det = General(
    "det",
    lambda xp, x: xp.library.linalg.det(x),
    (lambda xp, g, _y, x: g[..., None, None] * _cofactors(xp, x),),
    batch=leading,
    shape=lambda x: x.shape[:-2],
    leaf=True,
)
"""Return the determinants of square matrices. Their derivatives are those of singular matrices, too."""
cofactor = General("cofactor", _cofactor, (_pull_cofactor,), batch=leading, shape=same_shape)
"""Return the matrices of cofactors of square matrices: the derivatives of their determinants."""
_slogdet = Decomposition(
    "slogdet",
    lambda xp, x: tuple(xp.library.linalg.slogdet(x)),
    (adjoint(_pull_slogdet),),
    batch=leading,
    shape=lambda x: [(x.shape[:-2], x.dtype), (x.shape[:-2], real_part_of(x.dtype.name))],
    leaf=True,
)


# The exponential

# The largest norm for which the approximant of degree 13 is exact to rounding (Higham 2005, table 2.3).
LARGEST_NORM = 5.371920351148152


def _expm(xp: Any, x: Any) -> Any:
    """Scale, take the Padé approximant of degree 13, square: Higham, "The scaling and squaring method" (2005)."""
    library = xp.library
    if 0 in x.shape:
        return x
    norms = library.max(library.sum(library.abs(x), axis=-2), axis=-1)
    scales = library.where(
        library.isfinite(norms) & (norms > LARGEST_NORM), norms / LARGEST_NORM, library.ones_like(norms)
    )
    squarings = library.ceil(library.log2(scales))
    scaled = x / library.astype(2**squarings, x.dtype)[..., None, None]
    eye = library.eye(x.shape[-1], dtype=x.dtype, device=xp.device_of(x))
    even, odd = _pade(xp, scaled, eye)
    result = xp.solve(even - odd, even + odd)
    for i in range(int(library.max(squarings))):
        result = library.where((squarings > i)[..., None, None], xp.matmul(result, result), result)
    return result


def _pade(xp: Any, x: Any, eye: Any) -> tuple[Any, Any]:
    """Return the even and the odd part of the approximant's numerator of degree 13."""
    b = [math.factorial(26 - j) // (math.factorial(j) * math.factorial(13 - j)) for j in range(14)]
    scale = float(b[0])
    c = [n / scale for n in b]
    x2 = xp.matmul(x, x)
    x4 = xp.matmul(x2, x2)
    x6 = xp.matmul(x2, x4)
    odd = xp.matmul(x6, c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2 + c[1] * eye
    even = xp.matmul(x6, c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2 + c[0] * eye
    return even, xp.matmul(x, odd)


def _pull_expm(xp: Any, g: Any, _y: Any, x: Any) -> Any:
    """Take the derivative of the exponential, in direction `g` at the transpose of `x`, from that of a block matrix.

    (Mathias, "A chain rule for matrix functions and applications", 1996.)
    """
    n = x.shape[-1]
    transposed = xp.matrix_transpose(x)
    above = xp.concat([transposed, g], axis=-1)
    below = xp.concat([xp.zeros_like(x), transposed], axis=-1)
    return xp.expm(xp.concat([above, below], axis=-2))[..., :n, n:]


expm = General("expm", _expm, (_pull_expm,), batch=leading, shape=same_shape, leaf=True)
"""Return the exponentials of square matrices."""


def triangular_solve(a: Any, b: Any, /, *, lower: bool, unit_diagonal: bool = False) -> Array:
    """Solve ``a x = b`` by one triangle of `a`, which alone is read; leading axes broadcast.

    Parameters
    ----------
    a : array, shape (..., n, n)
        The matrices.
    b : array, shape (..., n, k)
        The right sides.
    lower : bool
        Which triangle.
    unit_diagonal : bool
        Whether the diagonal is taken to be 1, and not read.
    """
    params = {"lower": bool(lower), "unit_diagonal": bool(unit_diagonal)}
    return bind(_solve_triangle, (as_array(a, "triangular_solve"), as_array(b, "triangular_solve")), params)


def slogdet(x: Any, /) -> tuple[Array, Array]:
    """Return the signs of determinants and the logarithms of their absolute values."""
    sign, log = bind_several(_slogdet, (as_array(x, "slogdet"),), NO_PARAMS)
    return sign, log


publish(globals(), __all__)
