"""Bessel functions of the first and second kind, modified ones that decay, and functions of angles in degrees.

The derivatives are DLMF 10.6 and 10.29. Far out those of the scaled functions are taken from the asymptotic series
(DLMF 10.40.2) of exp(x) K_n(x) sqrt(2 x / pi), term by term, since there the formula cancels.
"""

from __future__ import annotations

import math
from typing import Any

from gradkit.core.namespace import publish
from gradkit.primitives.scipy_special.declaring import declare, polynomial, refuse

__all__ = [
    "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e", "bessel_y0", "bessel_y1",
    "bessel_yn", "cos_of_degrees", "cot_of_degrees", "legendre", "sin_of_degrees", "tan_of_degrees",
]  # fmt: skip

DISTANT = 50.0
DEGREE = math.pi / 180


def _slopes_of_series(order: int) -> list[float]:
    """Return the coefficients of the derivative, of x**(-k - 3/2), the highest k first."""
    coefficients, term = [], math.sqrt(math.pi / 2)
    for k in range(14):
        coefficients.append(-(k + 0.5) * term)
        term *= (4 * order**2 - (2 * k + 1) ** 2) / (8 * (k + 1))
    return coefficients[::-1]


SLOPES = (_slopes_of_series(0), _slopes_of_series(1))


def _slope_of_scaled(xp: Any, x: Any, order: int) -> Any:
    distant = x > DISTANT
    near, far = xp.where(distant, xp.ones_like(x), x), xp.where(distant, x, xp.ones_like(x) * DISTANT)
    difference = xp.bessel_k0e(near) - xp.bessel_k1e(near)
    slope = -difference - xp.bessel_k1e(near) / near if order else difference
    inverse = 1 / far
    return xp.where(distant, inverse * xp.sqrt(inverse) * polynomial(inverse, SLOPES[order]), slope)


def _slope_of_j1(xp: Any, y: Any, x: Any) -> Any:
    origin = x == 0
    half = xp.ones_like(x) / 2
    return xp.where(origin, half, xp.bessel_j0(x) - y / xp.where(origin, half, x))


bessel_j0 = declare("bessel_j0", lambda xp, _y, x: -xp.bessel_j1(x), of="j0")
bessel_j1 = declare("bessel_j1", _slope_of_j1, of="j1")
bessel_y0 = declare("bessel_y0", lambda xp, _y, x: -xp.bessel_y1(x), of="y0")
bessel_y1 = declare("bessel_y1", lambda xp, y, x: xp.bessel_y0(x) - y / x, of="y1")
bessel_yn = declare(
    "bessel_yn",
    refuse("yn gradient with respect to n"),
    lambda xp, y, n, x: n * y / x - xp.bessel_yn(n + 1, x),
    of="yn",
)
bessel_k0 = declare("bessel_k0", lambda xp, _y, x: -xp.bessel_k1(x), of="k0")
bessel_k1 = declare("bessel_k1", lambda xp, y, x: -xp.bessel_k0(x) - y / x, of="k1")
bessel_k0e = declare("bessel_k0e", lambda xp, _y, x: _slope_of_scaled(xp, x, 0), of="k0e")
bessel_k1e = declare("bessel_k1e", lambda xp, _y, x: _slope_of_scaled(xp, x, 1), of="k1e")

sin_of_degrees = declare("sin_of_degrees", lambda xp, _y, x: DEGREE * xp.cos_of_degrees(x), of="sindg")
cos_of_degrees = declare("cos_of_degrees", lambda xp, _y, x: -DEGREE * xp.sin_of_degrees(x), of="cosdg")
tan_of_degrees = declare("tan_of_degrees", lambda xp, y, _x: DEGREE * (1 + y * y), of="tandg")
cot_of_degrees = declare("cot_of_degrees", lambda xp, y, _x: -DEGREE * (1 + y * y), of="cotdg")

_no_order = refuse("lpmv gradient with respect to m and v")
legendre = declare(
    "legendre",
    _no_order,
    _no_order,
    lambda xp, y, m, v, x: (v * x * y - (v + m) * xp.legendre(m, v - 1, x)) / (x * x - 1),
    of="lpmv",
)

publish(globals(), __all__)
