"""Functions of numbers that the array API standard leaves out: cube roots and common divisors."""

from __future__ import annotations

from typing import Any

from gradkit.core import Elementwise
from gradkit.core.calls import binary, unary

__all__ = ["cbrt", "gcd"]


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
        rest = xp.remainder(x, xp.where(done, xp.ones_like(y), y))
        # The smallest number has no absolute value, and what is left by it is negative.
        x, y = xp.where(done, x, y), xp.where(done, y, xp.abs(rest))
    return x


_cbrt_primitive = Elementwise("cbrt", _cbrt, (lambda xp, y, _x: 1 / (3 * y * y),))
cbrt = unary(_cbrt_primitive, True)
_gcd_primitive = Elementwise("gcd", _gcd, (None, None), leaf=True)
gcd = binary(_gcd_primitive, False)
