"""Exponential, trigonometric and Fresnel integrals, and hypergeometric functions."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core.namespace import publish
from gradkit.primitives.scipy_special.declaring import declare, refuse

__all__ = [
    "cosine_integral", "exp1", "expi", "expi_slope", "expn", "fresnel_cosine", "fresnel_sine", "hyp1f1", "hyp2f1",
    "sine_integral", "spence",
]  # fmt: skip

# The derivative of expi by a rule that has no difference of infinities.
expi_slope = declare("expi_slope", lambda xp, y, x: y * (1 - 1 / x), forward=lambda xp, x: xp.exp(x) / x)
expi = declare("expi", lambda xp, _y, x: xp.expi_slope(x))
exp1 = declare("exp1", lambda xp, _y, x: -xp.exp(-x) / x)
expn = declare(
    "expn",
    refuse("expn gradient with respect to n"),
    lambda xp, _y, n, x: -xp.expn(n - 1, x),
)
sine_integral = declare("sine_integral", lambda xp, _y, x: _sinc(xp, x), of="sici", part=0)
cosine_integral = declare("cosine_integral", lambda xp, _y, x: xp.cos(x) / x, of="sici", part=1)
fresnel_sine = declare("fresnel_sine", lambda xp, _y, x: xp.sin(math.pi / 2 * x * x), of="fresnel", part=0)
fresnel_cosine = declare("fresnel_cosine", lambda xp, _y, x: xp.cos(math.pi / 2 * x * x), of="fresnel", part=1)


def _sinc(xp: Any, x: Any) -> Any:
    zero = x == 0
    return xp.where(zero, xp.ones_like(x), xp.sin(x) / xp.where(zero, xp.ones_like(x), x))


def _slope_of_spence(xp: Any, x: Any) -> Any:
    # log(x) / (1 - x), whose digits cancel around 1: there by its series. Around 0 it is log(x), at infinity 0.
    near, small, finite = xp.abs(x - 1) < 1e-3, x < 1e-30, xp.isfinite(x)
    t = xp.where(near, x - 1, xp.zeros_like(x))
    series = -1 + t / 2 - t * t / 3 + t * t * t / 4 - t * t * t * t / 5
    safe = xp.where(near | small | ~finite, xp.ones_like(x) * 2, x)
    slope = xp.where(near, series, xp.log(safe) / (1 - safe))
    at_end = xp.where(x > 0, xp.zeros_like(x), x)
    slope = xp.where(finite, slope, at_end)
    return xp.where(small & finite, xp.log(xp.where(small & finite, x, xp.ones_like(x))), slope)


spence = declare("spence", lambda xp, _y, x: _slope_of_spence(xp, x))

hyp1f1 = declare(
    "hyp1f1",
    *[refuse("hyp1f1 gradient with respect to a and b")] * 2,
    lambda xp, _y, a, b, x: a / b * xp.hyp1f1(a + 1, b + 1, x),
)
hyp2f1 = declare(
    "hyp2f1",
    *[refuse("hyp2f1 gradient with respect to a, b and c")] * 3,
    lambda xp, _y, a, b, c, x: a * b / c * xp.hyp2f1(a + 1, b + 1, c + 1, x),
)

publish(globals(), __all__)
