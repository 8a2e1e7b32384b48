"""The complete elliptic integral K, by its parameter m and by 1 - m.

Its derivative is (K - D) / (2 (1 - m)), where D = (K - E) / m is Carlson's R_D(0, 1 - m, 1) / 3 (DLMF 19.25.1): so
nothing cancels where m is small, as it does between K and E.
"""

from __future__ import annotations

import math
from typing import Any

from gradkit.core.namespace import publish
from gradkit.primitives.scipy_special.declaring import declare, polynomial

__all__ = ["elliptic_d_of_complement", "elliptic_k", "elliptic_k_of_complement"]


def _slopes_of_series() -> list[float]:
    """Return the coefficients of the derivative of D = pi / 4 * (1 + 3/8 m + 15/64 m**2 + ...), the highest first."""
    coefficients, term = [], math.pi / 4
    for k in range(1, 16):
        term *= (2 * k - 1) * (2 * k + 1) / (4 * k * (k + 1))
        coefficients.append(k * term)
    return coefficients[::-1]


SERIES = _slopes_of_series()


def _carlson(xp: Any, p: Any) -> Any:
    one = xp.ones_like(p)
    return xp.backend.special("elliprd")(xp.zeros_like(p), p, one) / 3


def _slope_of_d(xp: Any, y: Any, p: Any) -> Any:
    m = 1 - p
    near = xp.abs(m) < 0.05
    safe_m = xp.where(near, xp.ones_like(m) / 2, m)
    series = polynomial(xp.where(near, m, xp.zeros_like(m)), SERIES)
    slope = (xp.elliptic_k_of_complement(p) - (1 + p) * y) / (2 * safe_m * p)
    return -xp.where(near, series, slope)


elliptic_d_of_complement = declare(
    "elliptic_d_of_complement", _slope_of_d, forward=lambda xp, p: _carlson(xp, p), leaf=True
)
elliptic_k_of_complement = declare(
    "elliptic_k_of_complement", lambda xp, y, p: -(y - xp.elliptic_d_of_complement(p)) / (2 * p), of="ellipkm1"
)
elliptic_k = declare(
    "elliptic_k", lambda xp, y, m: (y - xp.elliptic_d_of_complement(1 - m)) / (2 * (1 - m)), of="ellipk"
)

publish(globals(), __all__)
