"""What activations are made of that are x times a gate from 0 to 1: the product, and gates that keep their digits.

At an infinite x the derivative of the gate is 0, and a plain product would make inf * 0 of them. The gates here have
reached 0 or 1 (exactly, in every dtype) before x reaches `FAR`, so the product's rule reads a limited x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradkit.core import Elementwise, passes_where
from gradkit.core.calls import binary, unary
from gradkit.core.namespace import publish
from gradkit.core.promotion import is_complex
from gradkit.primitives.special import ERFC_LARGE, polynomial

__all__ = ["gated", "limited", "normal_cdf", "soft_sign"]

Raw = Any

FAR = 800.0
"""exp(-800) is 0 in float64."""

ERFC_FAR = (
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242,
        1.87295284992346725,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)
"""Cody's approximation beyond 4, in 1 / x**2; `gradkit.primitives.special` has those before."""


def _limited(xp: Any, x: Raw) -> Raw:
    if is_complex(x.dtype):
        return x
    limit = xp.ones_like(x) * FAR
    return xp.maximum(xp.minimum(x, limit), -limit)


def _gated(xp: Any, x: Raw, gate: Raw) -> Raw:
    if type(x) in (int, float):
        return max(x, -FAR) * gate
    return x * gate if is_complex(x.dtype) else xp.maximum(x, xp.ones_like(x) * -FAR) * gate


def _normal_cdf(xp: Any, x: Raw) -> Raw:
    wide = xp.astype(x, xp.float64)
    size = xp.abs(wide) * math.sqrt(0.5)
    centre = xp.minimum(size, xp.full_like(size, 1.0))
    middle = xp.minimum(size, xp.full_like(size, 4.0))
    beyond = xp.maximum(xp.minimum(size, xp.full_like(size, 40.0)), xp.full_like(size, 4.0))
    inner = xp.erf(centre)
    tail = xp.where(size > 4, _beyond_4(beyond), polynomial(middle, ERFC_LARGE[0]) / polynomial(middle, ERFC_LARGE[1]))
    far = xp.minimum(size, xp.full_like(size, 40.0))
    complement = 0.5 * xp.exp(-far * far) * tail
    result = xp.where(wide < 0, complement, 1 - complement)
    result = xp.where(size < 0.46875, 0.5 * (1 + xp.where(wide < 0, -inner, inner)), result)
    return xp.astype(result, x.dtype)


def _beyond_4(x: Raw, coefficients: Sequence[Sequence[float]] = ERFC_FAR) -> Raw:
    """Return erfc(x) * exp(x**2) for x > 4."""
    t = 1 / (x * x)
    return (1 / math.sqrt(math.pi) - t * (polynomial(t, coefficients[0]) / polynomial(t, coefficients[1]))) / x


def _soft_sign(xp: Any, x: Raw) -> Raw:
    infinite = xp.isinf(x)
    return xp.where(infinite, xp.sign(x), x / (1 + xp.abs(x)))


def _slope_of_soft_sign(xp: Any, x: Raw) -> Raw:
    share = 1 / (1 + xp.abs(x))
    return share * share


limited = unary(
    Elementwise("limited", _limited, (passes_where(lambda xp, y, x: y == x),), shares_memory=True),
    True,
    "Return x, but at most 800 and at least -800.",
)
gated = binary(
    Elementwise("gated", _gated, (lambda xp, _z, _x, gate: gate, lambda xp, _z, x, _gate: xp.limited(x))),
    True,
    "Return x * gate for a gate that is exactly 0 for x below -800 and 1 above 800.",
)
normal_cdf = unary(
    Elementwise(
        "normal_cdf",
        _normal_cdf,
        (lambda xp, _y, x: (1 / math.sqrt(2 * math.pi)) * xp.exp(-0.5 * xp.square(xp.limited(x))),),
    ),
    True,
    "Compute the distribution function of the standard normal distribution, to the digits of its lower tail.",
)
soft_sign = unary(
    Elementwise("soft_sign", _soft_sign, (lambda xp, _y, x: _slope_of_soft_sign(xp, x),)),
    True,
    "Compute x / (1 + abs(x)).",
)


publish(globals(), __all__)
