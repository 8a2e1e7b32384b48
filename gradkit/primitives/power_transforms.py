"""The power transform of Box and Cox, (x**k - 1) / k, which is log(x) at k = 0: smooth there, exact far out.

All follows from the integrals of t**n exp(t) over an exponent: the derivatives in k are L**(n + 1) phi_n(k L) for the
logarithm L, where phi_n is the n-th derivative of (exp(t) - 1) / t.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradkit.core import Array, Elementwise
from gradkit.core.calls import binary
from gradkit.core.namespace import publish
from gradkit.primitives.slopes import vanishing
from gradkit.primitives.special import polynomial

__all__ = [
    "power_transform", "power_transform_1p", "power_transform_1p_slope", "power_transform_1p_slope_slope",
    "power_transform_slope", "power_transform_slope_slope",
]  # fmt: skip

LAST = 2
"""The derivative in k up to which all is stated."""

TERMS = 18
SMALL = 0.5
"""Up to which exponent the series is taken."""


def _series(order: int) -> list[float]:
    """Return the coefficients of phi_n, the highest power first."""
    return [math.perm(k + order, order) / math.factorial(k + order + 1) for k in range(TERMS, -1, -1)]


SERIES = tuple(map(_series, range(LAST + 2)))


def _power_transform(xp: Any, logarithm: Any, k: Any, order: int) -> Any:
    """Return the derivative of that order in k of (exp(k L) - 1) / k."""
    exponent = k * logarithm
    zero = xp.zeros_like(exponent)
    small = (xp.abs(exponent) < SMALL) | (k == 0)
    finite = xp.abs(exponent) < math.inf
    series = logarithm ** (order + 1) * polynomial(xp.where(small & finite, exponent, zero), SERIES[order])
    t, divisor = xp.where(small, zero + 1, exponent), xp.where(small, zero + 1, k)
    if order == 0:
        return xp.where(small, series, xp.expm1(t) / divisor)
    power = xp.exp(t)
    # A power that is 0 is that of minus infinity.
    t = xp.where(power == 0, zero, t)
    factor, rest = (t - 1, 1) if order == 1 else (t * t - 2 * t + 2, -2)
    return xp.where(small, series, (power * factor + rest) / divisor ** (order + 1))


def _after_the_last(xp: Any, y: Any, logarithm: Any, k: Any) -> Any:
    """Return the third derivative in k, from the second one `y`."""
    exponent = k * logarithm
    zero = xp.zeros_like(exponent)
    small = (xp.abs(exponent) < SMALL) | (k == 0)
    series = logarithm**4 * polynomial(xp.where(small, exponent, zero), SERIES[3])
    divisor = xp.where(small, zero + 1, k)
    power = xp.exp(exponent)
    return xp.where(small, series, (vanishing(xp, logarithm**3, power) - 3 * y) / divisor)


def _power_of_1p(xp: Any, x: Any, k: Any) -> Any:
    """Return (1 + x)**k, around 0 by the logarithm: 1 + x has not its digits there."""
    near = xp.abs(x) < 0.5
    inner = xp.where(near, x, xp.zeros_like(x))
    return xp.where(near, xp.exp(k * xp.log1p(inner)), xp.where(near, xp.ones_like(x), 1 + x) ** k)


LOGARITHMS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "": ("log", lambda _xp, x, k: x**k, "x"),
    "_1p": ("log1p", _power_of_1p, "(1 + x)"),
}
"""By what a name ends in: the logarithm, and the power of what it is of."""


def _declare(ending: str, order: int) -> Callable[[Any, Any], Array]:
    logarithm, power_of, text = LOGARITHMS[ending]
    name, following = (f"power_transform{ending}" + "_slope" * n for n in (order, order + 1))

    def forward(xp: Any, x: Any, k: Any) -> Any:
        return _power_transform(xp, getattr(xp, logarithm)(x), k, order)

    def in_base(xp: Any, _y: Any, x: Any, k: Any) -> Any:
        power = power_of(xp, x, k - 1)
        return power if order == 0 else vanishing(xp, getattr(xp, logarithm)(x) ** order, power)

    def in_exponent(xp: Any, y: Any, x: Any, k: Any) -> Any:
        if order == LAST:
            return _after_the_last(xp, y, getattr(xp, logarithm)(x), k)
        return getattr(xp, following)(x, k)

    doc = f"Compute the derivative of order {order} in k of ({text}**k - 1) / k, element by element."
    return binary(Elementwise(name, forward, (in_base, in_exponent)), True, doc)


power_transform, power_transform_slope, power_transform_slope_slope = (_declare("", n) for n in range(LAST + 1))
power_transform_1p, power_transform_1p_slope, power_transform_1p_slope_slope = (
    _declare("_1p", n) for n in range(LAST + 1)
)


publish(globals(), __all__)
