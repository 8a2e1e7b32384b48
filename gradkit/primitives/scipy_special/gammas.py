"""The gamma function and its relatives: beta, incomplete functions, densities."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.core.namespace import bound, publish
from gradkit.primitives.saddle_points import LARGE
from gradkit.primitives.scipy_special.declaring import declare, refuse

__all__ = [
    "beta", "beta_density", "betainc", "betaincc", "betaln", "digamma", "gamma", "gamma_density", "gammainc",
    "gammainc_slope", "gammaincc", "gammaln", "gammasgn", "poch", "polygamma", "zeta",
]  # fmt: skip

gammaln = declare("gammaln", lambda xp, _y, x: xp.digamma(x))
gamma = declare("gamma", lambda xp, y, x: y * xp.digamma(x))
gammasgn = declare("gammasgn", None)
digamma = declare("digamma", lambda xp, _y, x: xp.polygamma(1, x))
polygamma = declare(
    "polygamma",
    refuse("polygamma gradient with respect to n"),
    lambda xp, _y, n, x: xp.polygamma(n + 1, x),
)
zeta = declare(
    "zeta",
    refuse("zeta gradient with respect to x"),
    lambda xp, _y, x, q: -x * xp.zeta(x + 1, q),
)
betaln = declare(
    "betaln",
    lambda xp, _y, a, b: -xp.digamma_difference(a, b),
    lambda xp, _y, a, b: -xp.digamma_difference(b, a),
)
beta = declare(
    "beta",
    lambda xp, _y, a, b: xp.beta_slope(a, b),
    lambda xp, _y, a, b: xp.beta_slope(b, a),
)


LARGEST = 80.0
"""The exponent up to which exp neither overflows nor underflows in any dtype but float16."""


def _beta_density(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """Compute x**(a - 1) (1 - x)**(b - 1) / B(a, b): at 0 and 1, where its logarithm is infinite, from powers."""
    constant, rest = -xp.betaln(a, b), 1 - x
    few = constant < LARGEST
    left = (x * (a + b + 1) < 0.02) & (((x == 0) & (a > 1)) | few)
    right = (rest * (a + b + 1) < 0.02) & (((rest == 0) & (b > 1)) | few) & ~left
    half = xp.ones_like(x) / 2
    constant_at = xp.where(few, constant, xp.zeros_like(constant))
    at_left, at_right = xp.where(left, x, half), xp.where(right, rest, half)
    from_left = at_left ** (a - 1) * xp.exp(xp.xlog1py(b - 1, -at_left) + constant_at)
    from_right = at_right ** (b - 1) * xp.exp(xp.xlog1py(a - 1, -at_right) + constant_at)
    middle = xp.where(left | right, half, x)
    large = (a > LARGE) & (b > LARGE) & (a + b < math.inf) & (middle > 0) & (middle < 1)
    ten, small_a, small_b = 10 * xp.ones_like(a * b), xp.where(large, 2 * half, a), xp.where(large, 2 * half, b)
    first, second, at = xp.where(large, a, ten), xp.where(large, b, ten), xp.where(large, middle, half)
    saddle = xp.exp(xp.log_binomial(first, second, at) + xp.log_share(first, second)) * second / at / (1 - at)
    inner = xp.exp(xp.xlog1py(small_b - 1, -middle) + xp.xlogy(small_a - 1, middle) - xp.betaln(small_a, small_b))
    inner = xp.where(large, saddle, inner)
    return xp.where(left, from_left, xp.where(right, from_right, inner))


def beta_density(a: Array, b: Array, x: Array) -> Array:
    """Compute the density of the beta distribution."""
    return _beta_density(bound(), a, b, x)  # type: ignore[no-any-return]


def gamma_density(a: Array, x: Array, rate: float = 1.0) -> Array:
    """Compute the density of the gamma distribution."""
    return _gamma_density(bound(), a, x, rate)  # type: ignore[no-any-return]


def _betaincc(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """Compute 1 - betainc, without the loss of a small `x` in 1 - x unless the result itself would cancel."""
    lower = xp.betainc(a, b, x)
    steep = (x * (a + b + 1) < 0.02) & (x < a)  # there 1 - x loses more than 1 - lower does
    return xp.where((x < 0.5) & ((lower < 0.5) | steep), 1 - lower, xp.betainc(b, a, 1 - x))


_no_shapes = refuse("betainc gradient with respect to a and b")
betainc = declare("betainc", _no_shapes, _no_shapes, lambda xp, _y, a, b, x: _beta_density(xp, a, b, x))
betaincc = declare(
    "betaincc",
    _no_shapes,
    _no_shapes,
    lambda xp, _y, a, b, x: -_beta_density(xp, a, b, x),
    forward=lambda xp, a, b, x: _betaincc(xp, a, b, x),
)
poch = declare(
    "poch",
    lambda xp, y, z, m: y * xp.digamma_difference(z, m),
    lambda xp, y, z, m: y * xp.digamma(z + m),
)


def _log_constant(xp: Any, a: Any, rate: float) -> Any:
    return -xp.gammaln(a) + (a * math.log(rate) if rate != 1 else 0.0)


def _gamma_density(xp: Any, a: Any, x: Any, rate: float = 1.0) -> Any:
    """Compute x**(a - 1) rate**a exp(-rate x) / gamma(a): near 0, where its logarithm is infinite, from the power."""
    constant = _log_constant(xp, a, rate)
    left = (x < 0.1) & ((x == 0) | (constant > -LARGEST))
    one = xp.ones_like(x)
    at_left, middle = xp.where(left, x, one), xp.where(left, one, x)
    near = at_left ** (a - 1) * xp.exp(constant - rate * at_left)
    large = (a > LARGE) & (a < math.inf) & (middle > 0)
    shape, at = xp.where(large, a, 10 * one), xp.where(large, middle, one)
    saddle = xp.exp(xp.log_poisson(shape, rate * at) + xp.log_quotient(shape, at))
    small = xp.where(large, one, a)
    inner = xp.exp(xp.xlogy(small - 1, middle) - rate * middle + _log_constant(xp, small, rate))
    return xp.where(left, near, xp.where(large, saddle, inner))


STENCIL = (5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260)
SERIES_TERMS = 20


def _gammainc_slope(xp: Any, a: Any, x: Any) -> Any:
    """Differentiate `gammainc` with respect to a, in float64. No library has this function.

    Of the logarithm of the function, or of 1 less it on the right of a, the part a log(x) - x - log(gamma(a + 1)) has a
    derivative by heart. What is left is smooth: up to 1 the logarithm of a power series (DLMF 8.7.1), and beyond
    differences of the tenth order, whose step is a part of the scale on which the rest changes.
    """
    dtype = a.dtype
    a, x = xp.astype(a + 0 * x, xp.float64), xp.astype(x + 0 * a, xp.float64)
    below, above = x <= 1, (x > 1) & (x > a)
    lower, upper = xp.gammainc(a, x), xp.gammaincc(a, x)
    rest = xp.where(below, _slope_of_series(xp, a, xp.where(below, x, 0 * x)), _slope_of_rest(xp, a, x, above))
    share = xp.where(above, -upper, lower)
    nothing = (share == 0) | (x == 0)
    slope = xp.poisson_in_count(a, xp.where(nothing, 0 * x + 1, x)) + rest
    return xp.astype(xp.where(nothing, 0 * share, share * xp.where(nothing, 0 * x, slope)), dtype)


def _slope_of_series(xp: Any, a: Any, x: Any) -> Any:
    """Return the derivative in a of log(1 + x / (a + 1) + x**2 / ((a + 1) (a + 2)) + ...)."""
    total, slope = 0 * a + 1, 0 * a
    term, term_slope = total, slope
    for k in range(1, SERIES_TERMS):
        term_slope = (term_slope - term / (a + k)) * x / (a + k)
        term = term * x / (a + k)
        total, slope = total + term, slope + term_slope
    return slope / total


def _slope_of_rest(xp: Any, a: Any, x: Any, above: Any) -> Any:
    step = xp.minimum(a, xp.sqrt(a)) / 25
    total = 0 * a
    for k, weight in enumerate(STENCIL, start=1):
        high, low = (_log_rest(xp, a + move * step, x, above) for move in (k, -k))
        total = total + weight * (high - low)
    return total / step


def _log_rest(xp: Any, a: Any, x: Any, above: Any) -> Any:
    share = xp.where(above, xp.gammaincc(a, x), xp.gammainc(a, x))
    return xp.log(share) - xp.log_poisson(a, x)


gammainc_slope = declare(
    "gammainc_slope",
    refuse("the second derivative of gammainc with respect to a"),
    lambda xp, _y, a, x: _gamma_density(xp, a, x) * (xp.poisson_in_count(a, x) + 1 / a),
    forward=_gammainc_slope,
)
gammainc = declare(
    "gammainc",
    lambda xp, _y, a, x: xp.gammainc_slope(a, x),
    lambda xp, _y, a, x: _gamma_density(xp, a, x),
)
gammaincc = declare(
    "gammaincc",
    lambda xp, _y, a, x: -xp.gammainc_slope(a, x),
    lambda xp, _y, a, x: -_gamma_density(xp, a, x),
)

publish(globals(), __all__)
