"""Functions of numbers that the array API standard leaves out: cube roots, common divisors, roots of polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.core import Array, Elementwise, General, bind
from gradkit.core.calls import binary, unary
from gradkit.core.node import NO_PARAMS

__all__ = ["cbrt", "gcd", "polynomial_roots"]


def _cbrt(xp: Any, x: Any) -> Any:
    size = xp.abs(x)
    usual = xp.isfinite(x) & (x != 0)
    safe = xp.where(usual, size, xp.ones_like(size))
    root = xp.pow(safe, xp.ones_like(safe) / 3)
    # 1/3 is rounded; one step of Newton's method makes up for it.
    root = root - (root - safe / (root * root)) / 3
    return xp.where(usual, xp.where(x < 0, -root, root), x)


def _gcd(xp: Any, x: Any, y: Any) -> Any:
    x, y = (xp.abs(value) for value in xp.broadcast_arrays(x, y))
    while xp.any(y != 0):
        done = y == 0
        x, y = xp.where(done, x, y), xp.where(done, y, xp.remainder(x, xp.where(done, xp.ones_like(y), y)))
    return x


_cbrt_primitive = Elementwise("cbrt", _cbrt, (lambda xp, y, _x: 1 / (3 * y * y),))
cbrt = unary(_cbrt_primitive, True)
_gcd_primitive = Elementwise("gcd", _gcd, (None, None))
gcd = binary(_gcd_primitive, False)


def _polynomial_roots(xp: Any, p: Any) -> Any:
    # The companion matrix is not symmetric, and the standard has no eigenvalues of such: the host's LAPACK does it.
    coefficients = xp.backend.to_host(p)
    degree = coefficients.shape[0] - 1
    companion = np.diag(np.ones(max(degree - 1, 0), coefficients.dtype), -1)
    if degree and coefficients[0] != 0:
        companion[0, :] = -coefficients[1:] / coefficients[0]
    dtype = "complex64" if coefficients.dtype.name in ("float32", "complex64") else "complex128"
    roots = np.linalg.eigvals(companion).astype(dtype) if degree else np.zeros(0, dtype)
    return xp.backend.from_host(roots, p.device)


def _pull_roots(xp: Any, g: Any, roots: Any, p: Any) -> Any:
    # By the implicit function theorem: p(r) = 0, so dr / dp_i = -r ** (n - i) / p'(r).
    degree = p.shape[0] - 1
    coefficients = xp.astype(p, roots.dtype)
    powers = [xp.ones_like(roots)]
    for _ in range(degree):
        powers.append(powers[-1] * roots)
    slope = sum((degree - i) * coefficients[i] * powers[degree - i - 1] for i in range(degree))
    shares = xp.stack([xp.sum(g * -powers[degree - i] / slope, axis=(0,), keepdims=False) for i in range(degree + 1)])
    return shares if "complex" in str(p.dtype) else xp.real(shares)


_polynomial_roots_primitive = General(
    "polynomial_roots",
    _polynomial_roots,
    (_pull_roots,),
    shape=lambda p: (p.shape[0] - 1,),
    dtype=lambda p: "complex64" if p.dtype.name in ("float32", "complex64") else "complex128",
)


def polynomial_roots(p: Array, /) -> Array:
    """Return the roots of the polynomial with the coefficients `p`, the highest power first, which is not 0."""
    return bind(_polynomial_roots_primitive, (p,), NO_PARAMS)
