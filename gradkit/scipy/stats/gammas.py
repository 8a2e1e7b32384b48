"""Continuous distributions made of the incomplete gamma and beta functions, with what holds where those underflow."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.numpy import abs as absolute
from gradkit.numpy import astype, exp, expm1, isfinite, log, log1p, not_equal, ones_like, sqrt, where
from gradkit.primitives import log_binomial, log_poisson, log_quotient, log_share, xlog1py, xlogy
from gradkit.primitives.saddle_points import LARGE
from gradkit.primitives.scipy_special import (
    beta_density,
    betainc,
    betaincc,
    betaln,
    gamma_density,
    gammainc,
    gammaincc,
    gammaln,
)
from gradkit.primitives.scipy_special.gammas import FACTOR, LITTLE, NEAR, TINY
from gradkit.scipy.stats.distribution import Distribution, Formula, Standard, in_double, logarithm_of

__all__ = ["beta", "chi2", "gamma", "gennorm"]

LOG_2 = math.log(2)
POSITIVE = (0.0, math.inf)
UNIT = (0.0, 1.0)

# The logarithms of gammainc and betainc on the left, where those underflow: their power series (DLMF 8.7.1 and 8.17.8)

TERMS = 10


def _log_of_series(first: Array, ratio: Any) -> Array:
    """Return first + log(1 + r(1) + r(1) r(2) + ...)."""
    total = term = ones_like(first)
    for k in range(1, TERMS):
        term = term * ratio(k)
        total = total + term
    return first + log(total)


# A tiny shape is taken at TINY, as in `gradkit.primitives.scipy_special.gammas`: what is linear in it has there an
# addend in its logarithm. `rate` is that of the variable, and 0.5 with twice the shape for chi2: the smallest numbers
# have no halves.


def _in_double(formula: Formula) -> Formula:
    """Return a formula that computes in float64: in float32 its factors overflow and underflow."""

    def wide(*args: Array) -> Array:
        return astype(formula(*map(in_double, args)), args[0].dtype)

    return wide


def _shape(a: Array, rate: float) -> tuple[Array, Array]:
    """Return a shape that is not tiny, and what part of that it is."""
    tiny = a < TINY
    return where(tiny, TINY, a) * rate, where(tiny, a / TINY, 1.0)


def _point(y: Array, a: Array) -> tuple[Array, Array, Array]:
    """Return y, a multiple of it where that is `near` 0, and the logarithm of what that costs its power."""
    near = (y > 0) & (y < NEAR)
    # With a small shape the density overflows there; with a larger one more than a factor of 2 would underflow.
    small, other = near & (a < 0.5), near & (a >= 0.5)
    x = where(small, y * FACTOR, where(other, 2 * y, y))
    return x, -where(small, a, 0.0) * math.log(FACTOR) - where(other, a, 0.0) * LOG_2, near


def _on_both_sides(lower: Formula, upper: Formula) -> tuple[Formula, Formula]:
    """Return functions of (y, a, other), given as such, that are exact for the smallest `y`: powers of it there."""

    def below(y: Array, a: Array, other: Any) -> Array:
        x, power, _ = _point(y, a)
        result: Array = lower(x, a, other) * exp(power)
        return result

    def above(y: Array, a: Array, other: Any) -> Array:
        x, power, near = _point(y, a)
        left: Array = lower(where(near, x, 0.5), where(near, a, 1.0), other) * exp(power)
        most = near & (left > 0.5)  # else the derivatives of the terms would cancel
        at, shape = where(most, x, 0.5), where(most, a, 1.0)
        rest: Array = upper(where(near, at, x), where(near, shape, a), other)
        rest = rest - lower(at, shape, other) * expm1(where(most, power, 0.0))
        return where(near & ~most, 1 - left, rest)

    return below, above


_below, _above = _on_both_sides(lambda y, a, rate: gammainc(a, rate * y), lambda y, a, rate: gammaincc(a, rate * y))
_beta_below, _beta_above = _on_both_sides(lambda y, a, b: betainc(a, b, y), lambda y, a, b: betaincc(a, b, y))
_gammainc_logarithm, _gammaincc_logarithm = logarithm_of(_below, _above), logarithm_of(_above, _below)
_betainc_logarithm, _betaincc_logarithm = logarithm_of(_beta_below, _beta_above), logarithm_of(_beta_above, _beta_below)


def _log(y: Array) -> Array:
    """Return log(y), whose derivative, multiplied by what is small, is finite for the smallest numbers as well."""
    near = y < NEAR
    return log(where(near, y * FACTOR, y)) - where(near, math.log(FACTOR), 0.0 * y)


def _chi2_cdf(y: Array, df: Array) -> Array:
    a, part = _shape(df, 0.5)
    tiny = (df < TINY) & (y > 0)
    result: Array = where(tiny, 1 - _above(where(tiny, y, 1.0), a, 0.5) * part, _below(y, a, 0.5))
    return result


def _chi2_sf(y: Array, df: Array) -> Array:
    a, part = _shape(df, 0.5)
    result: Array = _above(y, a, 0.5) * where(y > 0, part, 1.0)
    return result


def _gamma_logcdf(y: Array, a: Array, rate: float = 1.0) -> Array:
    shape, part = _shape(a, rate)
    tiny, a = a < TINY, shape
    left = (y < 0.1) | (isfinite(a) & (rate * y < 0.1 * a))
    # Where the power of y is near 1 so are gammainc and its logarithm's terms: they would cancel.
    left = left & ~((y < 0.1) & (a * log(y) > -1))
    small = where(left, y, 0.05)
    x = rate * small
    # The logarithm of y and not of its product: the smallest number has no half.
    series = _log_of_series(a * (_log(small) + math.log(rate)) - x - gammaln(a + 1), lambda k: x / (a + k))
    middle = _gammainc_logarithm(where(left | tiny, 1.0, y), where(left | tiny, 1.0, a), rate)
    # Of a tiny shape's it is what is missing to 1.
    missing = _above(where(tiny & (y > 0), y, 1.0), a, rate) * part
    return where(tiny & (y > 0), -missing, where(left, series, middle))


FRACTIONS = 30


def _gamma_logsf(y: Array, a: Array, rate: float = 1.0) -> Array:
    """Far right, where gammaincc underflows, take Legendre's continued fraction (DLMF 8.9.2)."""
    a, part = _shape(a, rate)
    x = rate * y
    left = (x < 0.1) & (a > 0.5)
    right = x > a + 10 * sqrt(a) + 10
    far = where(right, x, 2 * a + 50)
    fraction = far + (2 * FRACTIONS + 1) - a
    for k in range(FRACTIONS, 0, -1):
        fraction = far + (2 * k - 1) - a + k * (a - k) / fraction
    tail = log_poisson(a, far) + log(a) - log(fraction)
    near_all = log1p(-_below(where(left, y, 0.05 / rate), where(left, a, 1.0), rate))
    other = left | right
    middle = _gammaincc_logarithm(where(other, 1.0, y), where(other, 1.0, a), rate)
    return where(right, tail, where(left, near_all, middle)) + where(y > 0, log(part), 0.0)


def _beta_logarithm(formula: Formula, sign: int) -> Formula:
    """Return the logarithm of what is on one side of `y`, for a formula of shapes that are not tiny."""

    def logarithm(y: Array, a: Array, b: Array) -> Array:
        both = (a < LITTLE) & (b < LITTLE) & (y > 0) & (y < 1)
        (first, first_part), (second, second_part) = _shape(where(both, 0.5, a), 1.0), _shape(where(both, 0.5, b), 1.0)
        point, small_a, small_b = where(both, y, 0.5), where(both, a, 1.0), where(both, b, 1.0)
        this, other = (small_a, small_b) if sign > 0 else (small_b, small_a)
        # All is at 0 and 1. What is in between has no part in the sum, but it is the slope.
        ends = -log1p(this / other) + sign * this * (_log(point) - log1p(-point))
        # It is near 0 for a tiny shape on this side, and small beside it for one on the other.
        near, far = (first_part, second_part) if sign > 0 else (second_part, first_part)
        inner = (y < 1) if sign > 0 else (y > 0)
        usual = formula(where(both, 0.5, y), first, second) * near + where(inner, log(far), 0.0)
        return where(both, ends, usual)

    return logarithm


def _plain_beta_logcdf(y: Array, a: Array, b: Array) -> Array:
    # As in _gamma_logcdf.
    left = (y * (a + b + 1) < 0.02) & (a * log(y) < -1)
    x = where(left, y, 0.0)
    first = a * _log(where(left, y, 0.5)) + b * log1p(-x) - log(a) - betaln(a, b)
    series = _log_of_series(first, lambda k: x * (a + b + (k - 1)) / (a + k))
    return where(left, series, _betainc_logarithm(where(left, 0.5, y), a, b))


def _plain_beta_logsf(y: Array, a: Array, b: Array) -> Array:
    left = y < 0.1
    return where(
        left, _betaincc_logarithm(where(left, y, 0.05), a, b), _plain_beta_logcdf(where(left, 0.5, 1 - y), b, a)
    )


def _gamma_logpdf(y: Array, a: Array) -> Array:
    large = (a > LARGE) & isfinite(a) & (y > 0)
    shape, at = where(large, a, 2 * LARGE), where(large, y, 2 * LARGE)
    small = where(large, 1.0, a)
    plain = xlogy(small - 1, where(large, 1.0, y)) - where(large, 1.0, y) - gammaln(small)
    result: Array = where(large, log_poisson(shape, at) + log_quotient(shape, at), plain)
    return result


def _chi2_logpdf(y: Array, df: Array) -> Array:
    # The logarithm of y and not of its half: the smallest number has none.
    large = (df > 2 * LARGE) & isfinite(df) & (y >= NEAR)
    at = where(large, y, 1.0)
    small, part = _shape(where(large, 1.0, df), 0.5)
    point = where(large, 1.0, y)
    plain = xlogy(small - 1, point) - point / 2 - gammaln(small) - small * LOG_2 + log(part)
    return where(large, _gamma_logpdf(at / 2, where(large, df, 4 * LARGE) / 2) - LOG_2, plain)


def _chi2_pdf(y: Array, df: Array) -> Array:
    a, part = _shape(df, 0.5)
    result: Array = gamma_density(a, y, rate=0.5) * part
    return result


def _beta_logpdf(y: Array, a: Array, b: Array) -> Array:
    large = (a > LARGE) & (b > LARGE) & (y > 0) & (y < 1)
    first, second, at = where(large, a, 2 * LARGE), where(large, b, 2 * LARGE), where(large, y, 0.5)
    small_a, small_b, point = where(large, 1.0, a), where(large, 1.0, b), where(large, 0.5, y)
    saddle = log_binomial(first, second, at) + log_share(first, second) + log(second) - log(at) - log1p(-at)
    plain = xlogy(small_a - 1, point) + xlog1py(small_b - 1, -point) - betaln(small_a, small_b)
    return where(large, saddle, plain)


gamma = Distribution(
    "gamma",
    "a",
    support=POSITIVE,
    indefinite=("logpdf", "logsf"),
    logcdf=_in_double(_gamma_logcdf),
    logsf=_in_double(_gamma_logsf),
    logpdf=_in_double(_gamma_logpdf),
    pdf=lambda y, a: gamma_density(a, y),
    cdf=lambda y, a: gammainc(a, y),
    sf=lambda y, a: gammaincc(a, y),
)
chi2 = Distribution(
    "chi2",
    "df",
    support=POSITIVE,
    indefinite=("logpdf", "logsf"),
    logcdf=_in_double(lambda y, df: _gamma_logcdf(y, df, rate=0.5)),
    logsf=_in_double(lambda y, df: _gamma_logsf(y, df, rate=0.5)),
    pdf=_in_double(_chi2_pdf),
    logpdf=_in_double(_chi2_logpdf),
    cdf=_in_double(_chi2_cdf),
    sf=_in_double(_chi2_sf),
)
beta = Distribution(
    "beta",
    "a b",
    support=UNIT,
    logcdf=_in_double(_beta_logarithm(_plain_beta_logcdf, 1)),
    logsf=_in_double(_beta_logarithm(_plain_beta_logsf, -1)),
    pdf=lambda y, a, b: beta_density(a, b, y),
    logpdf=_in_double(_beta_logpdf),
    cdf=lambda y, a, b: betainc(a, b, y),
    sf=lambda y, a, b: betaincc(a, b, y),
)


LARGEST_POWER = 2000.0
"""Where abs(x)**beta is larger, the generalized normal distribution has nothing left in any dtype."""


def _gennorm_pdf(x: Array, beta: Array) -> Array:
    inner = absolute(x) ** beta < LARGEST_POWER
    return where(inner, exp(_gennorm_logpdf(where(inner, x, 0.5), where(inner, beta, 1.0))), 0.0)


def _gennorm_logpdf(x: Array, beta: Array) -> Array:
    result: Array = -LOG_2 - gammaln(1 + 1 / beta) - absolute(x) ** beta
    return result


def _gennorm_cdf(x: Array, beta: Array) -> Array:
    """Compute gammaincc(1 / beta, abs(x)**beta) / 2, or 1 less it; around 0 by the series in powers of abs(x)**beta."""
    power = absolute(x) ** beta
    near, far = power < 0.1, ~(power < LARGEST_POWER)
    at, shape = where(near | far, 1.0, x), where(far, 1.0, beta)
    upper = gammaincc(1 / shape, absolute(at) ** shape) / 2
    result = where(far, where(x <= 0, 0.0, 1.0), where(x <= 0, upper, 1 - upper))
    centre = where(near, x, 0.0)
    # At 0 itself it is a constant: its slope there is multiplied by 0, and may be infinite.
    z = where(near & not_equal(x, 0), absolute(where(near & not_equal(x, 0), x, 1.0)) ** shape, 0.0)
    a = 1 / shape
    series = _log_of_series(-z - gammaln(a + 1), lambda k: z / (a + k))
    return where(near, 0.5 + centre * exp(series) / 2, result)


gennorm = Standard(
    "gennorm",
    "beta",
    endless=True,
    logpdf=_gennorm_logpdf,
    pdf=_gennorm_pdf,
    cdf=_gennorm_cdf,
)
