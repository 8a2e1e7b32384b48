"""Modified Bessel functions, and those scaled by exp(-abs(x)), whose derivatives cancel far out.

There they are taken from the asymptotic series (DLMF 10.40.1) of exp(-x) I_n(x) sqrt(2 pi x), term by term.
"""

from __future__ import annotations

import math
from typing import Any

from gradkit.core.namespace import publish
from gradkit.primitives.scipy_special.declaring import ROOT_2PI, declare, polynomial

__all__ = ["bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e"]

BESSEL_DISTANT = 50.0


def _slopes_of_series(order: int) -> list[float]:
    """Return the coefficients of the derivative, of x**(-k - 3/2), the highest k first."""
    coefficients, term = [], 1.0
    for k in range(14):
        coefficients.append(-(k + 0.5) * term / ROOT_2PI)
        term *= -(4 * order**2 - (2 * k + 1) ** 2) / (8 * (k + 1))
    return coefficients[::-1]


BESSEL_SLOPES = (_slopes_of_series(0), _slopes_of_series(1))


def _distant_slope(xp: Any, x: Any, order: int) -> Any:
    inverse = 1 / xp.abs(x)
    slope = inverse * xp.sqrt(inverse) * polynomial(inverse, BESSEL_SLOPES[order])
    return slope if order else slope * xp.sign(x)


def _slope_of_i0e(xp: Any, x: Any) -> Any:
    distant = xp.abs(x) > BESSEL_DISTANT
    near, far = xp.where(distant, xp.ones_like(x), x), xp.where(distant, x, xp.ones_like(x) * BESSEL_DISTANT)
    slope = xp.bessel_i1e(near) - xp.sign(near) * xp.bessel_i0e(near)
    return xp.where(distant, _distant_slope(xp, far, 0), slope)


def _slope_of_i1e(xp: Any, x: Any) -> Any:
    distant = xp.abs(x) > BESSEL_DISTANT
    near, far = xp.where(distant, xp.ones_like(x), x), xp.where(distant, x, xp.ones_like(x) * BESSEL_DISTANT)
    scaled = xp.exp(-xp.abs(near)) * _i1_over(xp, near)
    slope = xp.bessel_i0e(near) - xp.bessel_i1e(near) * xp.sign(near) - scaled
    return xp.where(distant, _distant_slope(xp, far, 1), slope)


I1_SERIES = [0.5 / (4.0**k * math.factorial(k) * math.factorial(k + 1)) for k in range(10, -1, -1)]


def _i1_over(xp: Any, x: Any) -> Any:
    """Return I_1(x) / x, around 0 by its series in x**2."""
    near = xp.abs(x) < 1
    series = polynomial(xp.square(xp.where(near, x, xp.zeros_like(x))), I1_SERIES)
    safe = xp.where(near, xp.ones_like(x), x)
    return xp.where(near, series, xp.bessel_i1(safe) / safe)


def _slope_of_i1(xp: Any, y: Any, x: Any) -> Any:
    # Where it overflows it is its own derivative, but for the sign.
    finite = xp.isfinite(y)
    safe = xp.where(finite, x, xp.ones_like(x))
    return xp.where(finite, xp.bessel_i0(safe) - _i1_over(xp, safe), xp.abs(xp.where(finite, xp.zeros_like(y), y)))


bessel_i0 = declare("bessel_i0", lambda xp, _y, x: xp.bessel_i1(x), of="i0")
bessel_i1 = declare("bessel_i1", _slope_of_i1, of="i1")
bessel_i0e = declare("bessel_i0e", lambda xp, _y, x: _slope_of_i0e(xp, x), of="i0e")
bessel_i1e = declare("bessel_i1e", lambda xp, _y, x: _slope_of_i1e(xp, x), of="i1e")

publish(globals(), __all__)
