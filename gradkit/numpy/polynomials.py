"""Polynomials, as vectors of coefficients with the highest power first."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gradkit import primitives as xp
from gradkit.core import Array
from gradkit.core.operands import as_array, require_inexact
from gradkit.core.promotion import is_complex
from gradkit.core.values import host
from gradkit.numpy import linalg
from gradkit.numpy.arguments import beside, promote_args
from gradkit.numpy.contractions import diagonal
from gradkit.numpy.data_types import finfo
from gradkit.numpy.joining import stack
from gradkit.numpy.padding import pad
from gradkit.numpy.products import matmul
from gradkit.numpy.shaping import atleast_1d, trim_zeros
from gradkit.numpy.signals import convolve
from gradkit.primitives import new_arrays
from gradkit.primitives.new_arrays import arange, asarray, eye, ones, ones_like, zeros_like

__all__ = [
    "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval", "roots", "vander",
]  # fmt: skip


def polyval(p: Any, x: Any, *, unroll: int = 16) -> Array:
    """Evaluate a polynomial by Horner's rule.

    Parameters
    ----------
    p : array, shape (n, ...)
        The coefficients, the highest power first; further axes are more polynomials.
    x : array
        Where to evaluate, of a shape that broadcasts with those axes.
    unroll : int
        Ignored: it is about XLA.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> jnp.polyval(jnp.asarray([1.0, 0.0, -2.0]), jnp.asarray([2.0, 3.0]))
    Array([2., 7.], dtype=float32)
    """
    coefficients, x = promote_args("polyval", p, x)
    shape = np.broadcast_shapes(coefficients.shape[1:], x.shape)
    result = xp.broadcast_to(zeros_like(x), shape)
    for i in range(coefficients.shape[0]):
        result = result * x + coefficients[i]
    return result


def polyadd(a1: Any, a2: Any) -> Array:
    """Add two polynomials."""
    x, y = promote_args("polyadd", a1, a2)
    if x.shape[0] < y.shape[0]:
        x, y = y, x
    return x + pad(y, [(x.shape[0] - y.shape[0], 0)] + [(0, 0)] * (y.ndim - 1))


def polysub(a1: Any, a2: Any) -> Array:
    """Subtract the second polynomial from the first."""
    x, y = promote_args("polysub", a1, a2)
    return polyadd(x, -y)


def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = False) -> Array:
    """Multiply two polynomials, without their leading zeros with `trim_leading_zeros`."""
    x, y = promote_args("polymul", a1, a2, inexact=True)
    if trim_leading_zeros:
        x, y = trim_zeros(x, trim="f"), trim_zeros(y, trim="f")
    if x.shape[0] == 0 or y.shape[0] == 0:
        return new_arrays.zeros(max(x.shape[0], y.shape[0], 1), dtype=x.dtype, device=x.device)
    return convolve(x, y)


def polydiv(u: Any, v: Any, *, trim_leading_zeros: bool = False) -> tuple[Array, Array]:
    """Divide polynomials.

    Parameters
    ----------
    u, v : array, shapes (m,) and (n,)
        Dividend and divisor.
    trim_leading_zeros : bool
        Whether to take the leading zeros off the remainder.

    Returns
    -------
    tuple of Array
        Quotient, and remainder of the size of `u`.
    """
    rest, divisor = promote_args("polydiv", u, v, inexact=True)
    m, n = rest.shape[0], divisor.shape[0]
    quotient = []
    for k in range(m - n + 1):
        digit = rest[k] / divisor[0]
        quotient.append(digit)
        rest = rest - pad(digit * divisor, (k, m - n - k))
    result = stack(quotient) if quotient else new_arrays.zeros(1, dtype=rest.dtype, device=rest.device)
    if trim_leading_zeros:
        small = np.abs(host(rest.detach())) <= np.sqrt(float(finfo(rest.dtype).eps))
        rest = rest[int(np.argmin(small)) if not small.all() else m :]
    return result, rest


def polyder(p: Any, m: int = 1) -> Array:
    """Differentiate a polynomial `m` times."""
    coefficients = require_inexact(as_array(p, "polyder"))
    if operator.index(m) < 0:
        raise ValueError(f"Order of derivative must be positive, got {m}")
    for _ in range(m):
        powers = arange(coefficients.shape[0] - 1, 0, -1, dtype=coefficients.dtype, device=coefficients.device)
        coefficients = coefficients[:-1] * powers
    return coefficients


def polyint(p: Any, m: int = 1, k: Any = None) -> Array:
    """Integrate a polynomial `m` times, with the constants `k` (one, or `m` of them; by default 0)."""
    if operator.index(m) < 0:
        raise ValueError(f"Order of integral must be positive (see polyder), got {m}")
    if isinstance(k, list | tuple):
        k = asarray(k)
    coefficients, constants = promote_args("polyint", p, 0 if k is None else k, inexact=True)
    constants = xp.reshape(constants, -1)
    if constants.shape[0] not in (1, m):
        raise ValueError(f"k must be a scalar or a rank-1 array of length 1 or m, got shape {constants.shape}")
    constants = xp.broadcast_to(constants, (m,))
    for i in range(m):
        powers = arange(coefficients.shape[0], 0, -1, dtype=coefficients.dtype, device=coefficients.device)
        coefficients = xp.concat([coefficients / powers, constants[i : i + 1]])
    return coefficients


def poly(seq_of_zeros: Any) -> Array:
    """Return the polynomial with the given zeros, the leading coefficient 1."""
    zeros = atleast_1d(require_inexact(as_array(seq_of_zeros, "poly")))
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1] and zeros.size:
        return _characteristic(zeros)
    if zeros.ndim != 1:
        raise ValueError(f"input must be 1d or non-empty square 2d array, got shape {zeros.shape}")
    if zeros.shape[0] == 0:
        return ones((), dtype=zeros.dtype, device=zeros.device)
    result = ones(1, dtype=zeros.dtype, device=zeros.device)
    for i in range(zeros.shape[0]):
        result = pad(result, (0, 1)) - pad(zeros[i] * result, (1, 0))
    return result


def _characteristic(matrix: Array) -> Array:
    """Return the characteristic polynomial of a matrix (Faddeev and LeVerrier), complex as in JAX."""
    size = matrix.shape[0]
    unit = eye(size, dtype=matrix.dtype, device=matrix.device)
    coefficients = [ones((), dtype=matrix.dtype, device=matrix.device)]
    power = unit
    for k in range(1, size + 1):
        product = matmul(matrix, power)
        coefficients.append(-xp.sum(diagonal(product)) / k)
        power = product + coefficients[-1] * unit
    result = stack(coefficients)
    return result if is_complex(result.dtype) else xp.add(result, 0j)


def roots(p: Any, *, strip_zeros: bool = True) -> Array:
    """Return the roots of a polynomial, as complex numbers.

    Parameters
    ----------
    p : array, shape (n + 1,)
        The coefficients, the highest power first.
    strip_zeros : bool
        Whether to look for leading zeros; without it there must be none.

    Returns
    -------
    Array, shape (n,)
        The roots: eigenvalues of the companion matrix. Where a root is single it has a derivative.
    """
    coefficients = atleast_1d(require_inexact(as_array(p, "roots")))
    if coefficients.ndim != 1:
        raise ValueError(f"Input must be a rank-1 array, got shape {coefficients.shape}")
    if strip_zeros:
        coefficients = trim_zeros(coefficients, trim="f")
    if coefficients.shape[0] < 2:
        return xp.add(coefficients[:0], 0j)
    first = -coefficients[1:] / coefficients[0]
    below = eye(first.shape[0], k=-1, dtype=first.dtype, device=first.device)
    return linalg.eigvals(xp.concat([xp.expand_dims(first, axis=0), below[1:]], axis=0))


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Array:
    """Return the Vandermonde matrix: the powers of `x` below `N` (its size) in columns, falling or rising."""
    array = as_array(x, "vander")
    if array.ndim != 1:
        raise ValueError(f"x must be a one-dimensional array, got shape {array.shape}")
    count = array.shape[0] if N is None else operator.index(N)
    if count < 0:
        raise ValueError(f"N must be nonnegative, got {N}")
    powers = arange(count, dtype=array.dtype, device=array.device)
    return xp.pow(xp.expand_dims(array, axis=1), powers if increasing else powers[::-1])


def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """Fit a polynomial to points by least squares.

    Parameters
    ----------
    x : array, shape (n,)
        The points' positions.
    y : array, shape (n,) or (n, k)
        The values there.
    deg : int
        The degree.
    rcond : float, optional
        Singular values smaller than this part of the largest are left out.
    full : bool
        Whether to return the residuals, the rank, the singular values and `rcond` as well.
    w : array, shape (n,), optional
        Weights of the residuals.
    cov : bool or "unscaled"
        Whether to return the covariance of the coefficients as well.

    Returns
    -------
    Array, shape (deg + 1,) or (deg + 1, k), or a tuple
        The coefficients, the highest power first.
    """
    positions, values = promote_args("polyfit", x, y, inexact=True)
    order = operator.index(deg) + 1
    if order < 1:
        raise ValueError(f"expected deg >= 0, got {deg}")
    if positions.ndim != 1 or positions.shape[0] == 0:
        raise TypeError(f"expected non-empty 1D vector for x, got shape {positions.shape}")
    if values.ndim not in (1, 2) or values.shape[0] != positions.shape[0]:
        raise TypeError(f"expected 1D or 2D array of length {positions.shape[0]} for y, got shape {values.shape}")
    if rcond is None:
        rcond = positions.shape[0] * float(finfo(positions.dtype).eps)
    lhs, rhs = vander(positions, order), xp.reshape(values, (values.shape[0], -1))
    if w is not None:
        weights = xp.astype(beside(w, positions), positions.dtype)
        if weights.shape != positions.shape:
            raise TypeError(f"expected w of shape {positions.shape}, got {weights.shape}")
        lhs, rhs = lhs * xp.expand_dims(weights, axis=1), rhs * xp.expand_dims(weights, axis=1)
    scale = xp.expand_dims(xp.sqrt(xp.sum(lhs * lhs, axis=0)), axis=1)
    lhs = lhs / xp.matrix_transpose(scale)
    scaled = matmul(linalg.pinv(lhs, rtol=rcond), rhs)
    coefficients = xp.reshape(scaled / scale, (order, *values.shape[1:]))
    if not full and not cov:
        return coefficients
    singular = linalg.svdvals(lhs)
    rank = xp.sum(singular > rcond * singular[0])
    residuals = xp.sum(xp.square(matmul(lhs, scaled) - rhs), axis=0)
    if full:
        # As LAPACK has it: none where the matrix has not full rank, or no more rows than columns.
        complete = positions.shape[0] > order and int(rank) == order
        return coefficients, residuals if complete else residuals[:0], rank, singular, asarray(rcond)
    inverse = linalg.inv(matmul(xp.matrix_transpose(lhs), lhs)) / (scale * xp.matrix_transpose(scale))
    if cov == "unscaled":
        factor = ones_like(residuals)
    elif positions.shape[0] <= order:
        raise ValueError("the number of data points must exceed order to scale the covariance matrix")
    else:
        factor = residuals / (positions.shape[0] - order)
    covariance = xp.expand_dims(inverse, axis=2) * factor
    return coefficients, covariance[:, :, 0] if values.ndim == 1 else covariance
