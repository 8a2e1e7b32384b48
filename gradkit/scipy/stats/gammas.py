"""Continuous distributions made of the incomplete gamma and beta functions, with what holds where those underflow."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.numpy import abs as absolute
from gradkit.numpy import astype, exp, isfinite, log, log1p, not_equal, ones_like, sqrt, where
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
from gradkit.scipy.stats.distribution import Distribution, Standard, in_double, logarithm_of

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


_gammainc_logarithm = logarithm_of(lambda y, a: gammainc(a, y), lambda y, a: gammaincc(a, y))
_gammaincc_logarithm = logarithm_of(lambda y, a: gammaincc(a, y), lambda y, a: gammainc(a, y))
_betainc_logarithm = logarithm_of(lambda y, a, b: betainc(a, b, y), lambda y, a, b: betaincc(a, b, y))


def _gamma_logcdf(y: Array, a: Array, rate: float = 1.0) -> Array:
    left = (y < 0.1) | (isfinite(a) & (rate * y < 0.1 * a))
    # Where the power of y is near 1 so are gammainc and its logarithm's terms: they would cancel.
    left = left & ~((y < 0.1) & (a * log(y) > -1))
    small = where(left, y, 0.05)
    x = rate * small
    # The logarithm of y and not of its product: the smallest number has no half.
    series = _log_of_series(a * (log(small) + math.log(rate)) - x - gammaln(a + 1), lambda k: x / (a + k))
    # In float64, where gammainc underflows later.
    middle = _gammainc_logarithm(rate * in_double(where(left, 1.0, y)), in_double(where(left, 1.0, a)))
    return where(left, series, astype(middle, y.dtype))


FRACTIONS = 30


def _gamma_logsf(y: Array, a: Array, rate: float = 1.0) -> Array:
    """Far right, where gammaincc underflows, take Legendre's continued fraction (DLMF 8.9.2)."""
    x = rate * y
    left = (x < 0.1) & (a > 0.5)
    right = x > a + 10 * sqrt(a) + 10
    far = where(right, x, 2 * a + 50)
    fraction = far + (2 * FRACTIONS + 1) - a
    for k in range(FRACTIONS, 0, -1):
        fraction = far + (2 * k - 1) - a + k * (a - k) / fraction
    tail = log_poisson(a, far) + log(a) - log(fraction)
    near_all = log1p(-gammainc(where(left, a, 1.0), where(left, x, 0.05)))
    other = left | right
    return where(right, tail, where(left, near_all, _gammaincc_logarithm(where(other, 1.0, x), where(other, 1.0, a))))


def _beta_logcdf(y: Array, a: Array, b: Array) -> Array:
    # As in _gamma_logcdf.
    left = (y * (a + b + 1) < 0.02) & (a * log(y) < -1)
    x = where(left, y, 0.0)
    first = a * log(where(left, y, 0.5)) + b * log1p(-x) - log(a) - betaln(a, b)
    series = _log_of_series(first, lambda k: x * (a + b + (k - 1)) / (a + k))
    return where(left, series, _betainc_logarithm(where(left, 0.5, y), a, b))


def _beta_logsf(y: Array, a: Array, b: Array) -> Array:
    left = y < 0.1
    return where(left, log1p(-betainc(a, b, where(left, y, 0.0))), _beta_logcdf(where(left, 0.5, 1 - y), b, a))


def _gamma_logpdf(y: Array, a: Array) -> Array:
    large = (a > LARGE) & isfinite(a) & (y > 0)
    shape, at = where(large, a, 2 * LARGE), where(large, y, 2 * LARGE)
    small = where(large, 1.0, a)
    plain = xlogy(small - 1, where(large, 1.0, y)) - where(large, 1.0, y) - gammaln(small)
    result: Array = where(large, log_poisson(shape, at) + log_quotient(shape, at), plain)
    return result


def _chi2_logpdf(y: Array, df: Array) -> Array:
    # The logarithm of y and not of its half: the smallest number has none.
    large = (df > 2 * LARGE) & isfinite(df)
    at = where(large, y, 1.0)
    small = where(large, 1.0, df)
    point = where(large, 1.0, y)
    plain = xlogy(small / 2 - 1, point) - point / 2 - gammaln(small / 2) - small / 2 * LOG_2
    return where(large, _gamma_logpdf(at / 2, where(large, df, 4 * LARGE) / 2) - LOG_2, plain)


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
    logcdf=_gamma_logcdf,
    logsf=_gamma_logsf,
    logpdf=_gamma_logpdf,
    pdf=lambda y, a: gamma_density(a, y),
    cdf=lambda y, a: gammainc(a, y),
    sf=lambda y, a: gammaincc(a, y),
)
chi2 = Distribution(
    "chi2",
    "df",
    support=POSITIVE,
    indefinite=("logpdf", "logsf"),
    logcdf=lambda y, df: _gamma_logcdf(y, df / 2, rate=0.5),
    logsf=lambda y, df: _gamma_logsf(y, df / 2, rate=0.5),
    pdf=lambda y, df: gamma_density(df / 2, y, rate=0.5),
    logpdf=_chi2_logpdf,
    cdf=lambda y, df: gammainc(df / 2, y / 2),
    sf=lambda y, df: gammaincc(df / 2, y / 2),
)
beta = Distribution(
    "beta",
    "a b",
    support=UNIT,
    logcdf=_beta_logcdf,
    logsf=_beta_logsf,
    pdf=lambda y, a, b: beta_density(a, b, y),
    logpdf=_beta_logpdf,
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
