"""The derivatives of the beta function: of the mixed second one usual formulas leave nothing for a tiny argument.

As a goes to 0, B(a, b) goes to 1 / a, and its derivative in a and b to a number; by psi functions that is
B ((psi(a) - psi(s)) (psi(b) - psi(s)) - psi'(s)), s = a + b, where terms of the size of 1 / a cancel. With the
recurrence of psi (DLMF 5.5.2) taken out of it and the series of what is left (DLMF 5.7.6), it is a sum of positive
terms: for a <= b it is B times

    Q(b, a) + (psi(s + 1) - psi(a + 1)) (psi(s + 1) - psi(b + 1)) + a / s (Q(a, b) - Q(b, a)),

where Q(x, d) = (psi(x + 1 + d) - psi(x + 1)) / d - psi'(x + 1 + d).
"""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Elementwise
from gradkit.core.calls import binary
from gradkit.core.namespace import publish

__all__ = ["beta_mixed", "beta_slope"]

FEW = 0.05
"""Up to which part of its distance to 0 the series around a point ends with its eighth term."""
FAR = 40.0
"""From where on a polygamma function is its asymptotic series."""


def _scaled_polygamma(xp: Any, n: int, y: Any) -> Any:
    """Return y**n times the polygamma function of order n, over (n - 1)! and without its sign (DLMF 5.15.8)."""
    far, one = y > FAR, xp.ones_like(y)
    near_y, far_y = xp.where(far, one, y), xp.where(far, y, FAR * one)
    near = xp.abs(xp.polygamma(n * one, near_y)) * near_y**n / math.factorial(n - 1)
    inverse = 1 / far_y
    bends = n * (n + 1) / 12 - n * (n + 1) * (n + 2) * (n + 3) / 720 * inverse * inverse
    return xp.where(far, 1 + inverse * (n / 2 + inverse * bends), near)


def _gap(xp: Any, x: Any, d: Any) -> Any:
    """Return (psi(x + d) - psi(x)) / d - psi'(x + d), which is of the size of d: by Taylor's series around x + d."""
    y = x + d
    few = d < FEW * y
    u = xp.where(few, d / y, xp.zeros_like(y))
    series, power = xp.zeros_like(y), u
    for n in range(2, 10):
        series = series + power / n * _scaled_polygamma(xp, n, y)
        power = power * u
    step = xp.where(few, xp.ones_like(d), d)
    return xp.where(few, series / y, xp.digamma_difference(x, step) / step - xp.polygamma(xp.ones_like(y), y))


def _beta_mixed(xp: Any, a: Any, b: Any) -> Any:
    positive = (a > 0) & (b > 0)
    one = xp.ones_like(a + b)
    low, high = xp.where(positive, xp.where(a < b, a, b), one), xp.where(positive, xp.where(a < b, b, a), one)
    total = low + high
    up, down = xp.digamma_difference(low + 1, high), xp.digamma_difference(high + 1, low)
    wide, narrow = _gap(xp, low + 1, high), _gap(xp, high + 1, low)
    parts = narrow + up * down + low / total * (wide - narrow)
    psi = xp.digamma(a + b)
    plain = (xp.digamma(a * one) - psi) * (xp.digamma(b * one) - psi) - xp.polygamma(one, a + b)
    return xp.beta(a, b) * xp.where(positive, parts, plain)


def _mixed_in_first(xp: Any, y: Any, a: Any, b: Any) -> Any:
    """Differentiate B (d e - psi'(s)), where d and e are the differences of psi at a and s, and at b and s."""
    d, e = -xp.digamma_difference(a, b), -xp.digamma_difference(b, a)
    one = xp.ones_like(a + b)
    inner = xp.trigamma_difference(a, b) * e + d * xp.polygamma(one, a + b) + xp.polygamma(2 * one, a + b)
    return y * d - xp.beta(a, b) * inner


beta_slope = binary(
    Elementwise(
        "beta_slope",
        lambda xp, a, b: -xp.beta(a, b) * xp.digamma_difference(a, b),
        (
            lambda xp, y, a, b: -y * xp.digamma_difference(a, b) - xp.beta(a, b) * xp.trigamma_difference(a, b),
            lambda xp, _y, a, b: xp.beta_mixed(a, b),
        ),
    ),
    True,
    "Compute the derivative of the beta function in its first argument, element by element.",
)
beta_mixed = binary(
    Elementwise(
        "beta_mixed",
        _beta_mixed,
        (_mixed_in_first, lambda xp, y, a, b: _mixed_in_first(xp, y, b, a)),
    ),
    True,
    "Compute the derivative of the beta function in both arguments, element by element.",
)


publish(globals(), __all__)
