"""The error function, the normal distribution, and their relatives."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core.namespace import publish
from gradkit.primitives.scipy_special.declaring import ROOT_2PI, declare, polynomial

__all__ = [
    "dawsn", "erfc", "erfcx", "erfcx_ratio", "erfcx_ratio_2", "log_ndtr", "ndtr", "ndtri", "normal_density", "owens_t",
]  # fmt: skip

ROOT_PI = math.sqrt(math.pi)
ROOT_2 = math.sqrt(2)

# erfcx(x) is exp(x**2) erfc(x), and its n-th derivative is (-2)**n n! exp(x**2) i^n erfc(x), where i^n erfc are the
# repeated integrals (DLMF 7.18). Their quotients r_n have a recurrence, r_n = 1 / (2 x + 2 (n + 1) r_(n + 1)), and stay
# of the size of 1 / (2 x): in them the derivatives of erfcx and log_ndtr neither cancel nor under- or overflow.

RATIO_SPLIT = 2.0
"""Up to here the r_n come from erfcx, and beyond it from their recurrence, taken backwards."""


def _ratio_from(xp: Any, x: Any, n: int) -> Any:
    result = 1 / (x + xp.sqrt(x * x + 2 * (n + 60)))
    for k in range(n + 59, n - 1, -1):
        result = 1 / (2 * x + 2 * (k + 1) * result)
    return result


def _ratio(xp: Any, x: Any) -> Any:
    """Return r_1 = i erfc(x) / erfc(x), for x >= 0."""
    near = x < RATIO_SPLIT
    small, large = xp.where(near, x, xp.zeros_like(x)), xp.where(near, xp.ones_like(x) * RATIO_SPLIT, x)
    return xp.where(near, 1 / (ROOT_PI * xp.erfcx(small)) - small, _ratio_from(xp, large, 1))


def _ratio_2(xp: Any, x: Any) -> Any:
    """Return r_2 = i^2 erfc(x) / i erfc(x), for x >= 0."""
    near = x < RATIO_SPLIT
    small, large = xp.where(near, x, xp.zeros_like(x)), xp.where(near, xp.ones_like(x) * RATIO_SPLIT, x)
    return xp.where(near, (1 / _ratio(xp, small) - 2 * small) / 4, _ratio_from(xp, large, 2))


def _slope_of_ratio(xp: Any, y: Any, x: Any) -> Any:
    return 2 * y * (y - 2 * xp.erfcx_ratio_2(x))


def _slope_of_ratio_2(xp: Any, y: Any, x: Any) -> Any:
    finite = y != 0
    safe = xp.where(finite, y, xp.ones_like(y))
    third = xp.where(finite, (1 / safe - 2 * xp.where(finite, x, xp.zeros_like(x))) / 6, xp.zeros_like(y))
    return 2 * y * (2 * y - 3 * third)


def _slope_of_erfcx(xp: Any, y: Any, x: Any) -> Any:
    right = x > 0
    tail = -2 * y * xp.erfcx_ratio(xp.where(right, x, xp.ones_like(x)))
    return xp.where(right, tail, 2 * xp.where(right, -xp.ones_like(x), x) * y - 2 / ROOT_PI)


def _slope_of_log_ndtr(xp: Any, x: Any) -> Any:
    """Return the normal density over ndtr: on the left, sqrt(2 / pi) / erfcx(-x / sqrt(2)), it is -x + sqrt(2) r_1."""
    right = x > 0
    positive, size = xp.where(right, x, xp.zeros_like(x)), xp.where(right, xp.zeros_like(x), -x)
    tail = size + math.sqrt(2) * xp.erfcx_ratio(size / math.sqrt(2))
    return xp.where(right, xp.normal_density(positive) / xp.ndtr(positive), tail)


def _finite_product(xp: Any, small: Any, x: Any) -> Any:
    """Return ``small * x``, which is 0 where `small` is 0, whatever x."""
    nothing = small == 0
    return small * xp.where(nothing, xp.zeros_like(x), x)


erfc = declare("erfc", lambda xp, _y, x: -2 / ROOT_PI * xp.exp(-x * x))
erfcx = declare("erfcx", lambda xp, y, x: _slope_of_erfcx(xp, y, x))
erfcx_ratio = declare("erfcx_ratio", lambda xp, y, x: _slope_of_ratio(xp, y, x), forward=lambda xp, x: _ratio(xp, x))
erfcx_ratio_2 = declare(
    "erfcx_ratio_2", lambda xp, y, x: _slope_of_ratio_2(xp, y, x), forward=lambda xp, x: _ratio_2(xp, x)
)


DAWSN_SERIES = [*(-math.prod(range(1, 2 * k, 2)) / 2.0**k for k in range(25, 0, -1)), 0.0]


def _slope_of_dawsn(xp: Any, x: Any) -> Any:
    """Return 1 - 2 x dawsn(x), which cancels far out: there by its asymptotic series in x**-2."""
    distant = xp.abs(x) > 6
    near, far = xp.where(distant, xp.zeros_like(x), x), xp.where(distant, x, xp.ones_like(x) * 6)
    inverse = 1 / far
    return xp.where(distant, polynomial(inverse * inverse, DAWSN_SERIES), 1 - 2 * near * xp.dawsn(near))


dawsn = declare("dawsn", lambda xp, _y, x: _slope_of_dawsn(xp, x))
normal_density = declare(
    "normal_density", lambda xp, y, x: -_finite_product(xp, y, x), forward=lambda xp, x: xp.exp(-x * x / 2) / ROOT_2PI
)
ndtr = declare("ndtr", lambda xp, _y, x: xp.normal_density(x))
ndtri = declare("ndtri", lambda xp, y, _x: xp.exp(y * y / 2) * ROOT_2PI)
log_ndtr = declare("log_ndtr", lambda xp, _y, x: _slope_of_log_ndtr(xp, x))
owens_t = declare(
    "owens_t",
    lambda xp, _y, h, a: -_finite_product(xp, xp.normal_density(h), xp.erf(a * (h / ROOT_2))) / 2,
    lambda xp, _y, h, a: xp.normal_density(h) * xp.normal_density(a * h) * xp.atan_slope(a),
)

publish(globals(), __all__)
