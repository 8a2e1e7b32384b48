"""Continuous distributions: a table of formulas for each in its standard form."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.numpy import abs as absolute
from gradkit.numpy import atan, clip, cos, exp, expm1, log, log1p, maximum, ones_like, sign, square, stack, tan, where
from gradkit.primitives import log_ndtr, logit, ndtr, ndtri, sigmoid, softplus, xlog1py, xlogy
from gradkit.primitives.scipy_special import (
    bessel_i0e,
    betainc,
    betaln,
    floating_together,
    gammainc,
    gammaincc,
    gammaln,
)
from gradkit.scipy.special import logsumexp
from gradkit.scipy.stats.distribution import Distribution

__all__ = [
    "beta",
    "cauchy",
    "chi2",
    "expon",
    "gamma",
    "gennorm",
    "gumbel_l",
    "gumbel_r",
    "laplace",
    "logistic",
    "norm",
    "pareto",
    "t",
    "truncnorm",
    "uniform",
    "vonmises",
    "wrapcauchy",
]

LOG_2PI = math.log(2 * math.pi)


def _within(inside: Array, value: Any, outside: float = -math.inf) -> Array:
    return where(inside, value, outside)


def _quantile(q: Array, value: Array) -> Array:
    """Return NaN where `q` is no probability."""
    return where((q >= 0) & (q <= 1), value, math.nan)


def _probability(q: Array) -> Array:
    """Return 1/2 for what is no probability: a place where everything is finite."""
    return where((q < 0) | (q > 1), 0.5, q)


def _upper(y: Array) -> Array:
    """Return max(y, 0), and 1 for what is left of the support: a place where everything is finite."""
    return where(y < 0, 1.0, y)


norm = Distribution(
    "norm",
    logpdf=lambda y: -(square(y) + LOG_2PI) / 2,
    cdf=ndtr,
    logcdf=log_ndtr,
    sf=lambda y: ndtr(-y),
    logsf=lambda y: log_ndtr(-y),
    ppf=ndtri,
    isf=lambda q: ndtri(1 - q),
)
expon = Distribution(
    "expon",
    logpdf=lambda y: _within(y >= 0, -y),
    cdf=lambda y: _within(y >= 0, -expm1(-y), 0.0),
    logcdf=lambda y: _within(y > 0, log(-expm1(-where(y > 0, y, 1.0)))),
    logsf=lambda y: _within(y >= 0, -y, 0.0),
    ppf=lambda q: _quantile(q, -log1p(-_probability(q))),
)
uniform = Distribution(
    "uniform",
    logpdf=lambda y: _within((y >= 0) & (y <= 1), 0 * y),
    cdf=lambda y: clip(y, 0.0, 1.0),
    ppf=lambda q: _quantile(q, q),
)
laplace = Distribution(
    "laplace",
    logpdf=lambda y: -absolute(y) - math.log(2),
    cdf=lambda y: where(y <= 0, exp(-absolute(y)) / 2, 1 - exp(-absolute(y)) / 2),
)
logistic = Distribution(
    "logistic",
    logpdf=lambda y: -absolute(y) - 2 * softplus(-absolute(y)),
    cdf=sigmoid,
    sf=lambda y: sigmoid(-y),
    ppf=lambda q: _quantile(q, logit(_probability(q))),
    isf=lambda q: _quantile(q, -logit(_probability(q))),
)
cauchy = Distribution(
    "cauchy",
    logpdf=lambda y: -math.log(math.pi) - log1p(square(y)),
    cdf=lambda y: 0.5 + atan(y) / math.pi,
    sf=lambda y: 0.5 - atan(y) / math.pi,
    ppf=lambda q: tan(math.pi * (q - 0.5)),
    isf=lambda q: tan(math.pi * (0.5 - q)),
)
pareto = Distribution(
    "pareto",
    "b",
    logpdf=lambda y, b: _within(y >= 1, log(b) - (b + 1) * log(maximum(y, 1.0))),
    cdf=lambda y, b: _within(y >= 1, -expm1(-b * log(maximum(y, 1.0))), 0.0),
    logsf=lambda y, b: _within(y >= 1, -b * log(maximum(y, 1.0)), 0.0),
    ppf=lambda q, b: _quantile(q, exp(-log1p(-_probability(q)) / b)),
)
gumbel_r = Distribution(
    "gumbel_r",
    logpdf=lambda y: -(y + exp(-y)),
    logcdf=lambda y: -exp(-y),
    sf=lambda y: -expm1(-exp(-y)),
    ppf=lambda q: _quantile(q, -log(-log(_probability(q)))),
)
gumbel_l = Distribution(
    "gumbel_l",
    logpdf=lambda y: y - exp(y),
    cdf=lambda y: -expm1(-exp(y)),
    logsf=lambda y: -exp(y),
    ppf=lambda q: _quantile(q, log(-log1p(-_probability(q)))),
)
gamma = Distribution(
    "gamma",
    "a",
    logpdf=lambda y, a: _within(y >= 0, xlogy(a - 1, _upper(y)) - _upper(y) - gammaln(a)),
    cdf=lambda y, a: _within(y >= 0, gammainc(a, _upper(y)), 0.0),
    sf=lambda y, a: _within(y >= 0, gammaincc(a, _upper(y)), 1.0),
)
chi2 = Distribution(
    "chi2",
    "df",
    logpdf=lambda y, df: _within(
        y >= 0, xlogy(df / 2 - 1, _upper(y)) - _upper(y) / 2 - gammaln(df / 2) - df / 2 * math.log(2)
    ),
    cdf=lambda y, df: _within(y >= 0, gammainc(df / 2, _upper(y) / 2), 0.0),
    sf=lambda y, df: _within(y >= 0, gammaincc(df / 2, _upper(y) / 2), 1.0),
)


def _in_unit(y: Array) -> Array:
    return where((y < 0) | (y > 1), 0.5, y)


beta = Distribution(
    "beta",
    "a b",
    logpdf=lambda y, a, b: _within(
        (y >= 0) & (y <= 1), xlogy(a - 1, _in_unit(y)) + xlog1py(b - 1, -_in_unit(y)) - betaln(a, b)
    ),
    cdf=lambda y, a, b: where(y <= 0, 0.0, where(y >= 1, 1.0, betainc(a, b, _in_unit(y)))),
    sf=lambda y, a, b: where(y <= 0, 1.0, where(y >= 1, 0.0, betainc(b, a, 1 - _in_unit(y)))),
)
t = Distribution(
    "t",
    "df",
    logpdf=lambda y, df: (
        gammaln((df + 1) / 2) - gammaln(df / 2) - log(math.pi * df) / 2 - (df + 1) / 2 * log1p(square(y) / df)
    ),
)


# The normal distribution between two bounds


def _log_difference(x: Array, y: Array) -> Array:
    """Return log(exp(x) - exp(y))."""
    result: Array = logsumexp(stack([x, y]), b=stack([ones_like(x), -ones_like(y)]), axis=0)
    return result


def _log_mass(a: Array, b: Array) -> Array:
    """Return the logarithm of what the standard normal distribution has between a and b."""
    a, b = a + 0 * b, b + 0 * a
    right = a > 0
    central = (a <= 0) & (b > 0)
    in_tail = _log_difference(log_ndtr(where(right, -a, b)), log_ndtr(where(right, -b, a)))
    return where(central, log1p(-ndtr(a) - ndtr(-b)), in_tail)


def _truncnorm_logpdf(y: Array, a: Array, b: Array) -> Array:
    density = norm.logpdf(y) - _log_mass(a, b)
    return where(a >= b, math.nan, where((y < a) | (y > b), -math.inf, density))


def _truncnorm_logcdf(y: Array, a: Array, b: Array) -> Array:
    whole = _log_mass(a, b)
    inside = (y > a) & (y < b)
    middle = where(inside, y, (a + b) / 2)
    below, above = _log_mass(a, middle) - whole, _log_mass(middle, b) - whole
    result = where(below > -0.1, log1p(-exp(above)), below)
    return where(a >= b, math.nan, where(inside, result, where(y >= b, 0.0, -math.inf)))


truncnorm = Distribution(
    "truncnorm",
    "a b",
    logpdf=_truncnorm_logpdf,
    logcdf=_truncnorm_logcdf,
    logsf=lambda y, a, b: _truncnorm_logcdf(-y, -b, -a),
)


class Standard(Distribution):
    """A distribution that has its standard form alone."""

    has_scale = False

    def _function(self, kind: str, formula: Any) -> Any:
        signature = self._signature("x", defaults=())

        def function(*args: Any, **kwargs: Any) -> Array:
            given = signature.bind(*args, **kwargs)
            return formula(*floating_together(list(given.arguments.values()), f"{self.__name__}.{kind}"))  # type: ignore[no-any-return]

        return self._named(function, kind, signature)


def _gennorm_cdf(x: Array, beta: Array) -> Array:
    result: Array = 0.5 * (1 + sign(x) * gammainc(1 / beta, absolute(x) ** beta))
    return result


def _wrapcauchy_logpdf(x: Array, c: Array) -> Array:
    density = log(1 - c * c) - LOG_2PI - log(1 + c * c - 2 * c * cos(x))
    return where((c > 0) & (c < 1), _within((x >= 0) & (x <= 2 * math.pi), density), math.nan)


gennorm = Standard(
    "gennorm",
    "beta",
    logpdf=lambda x, beta: log(0.5 * beta) - gammaln(1 / beta) - absolute(x) ** beta,
    cdf=_gennorm_cdf,
)
vonmises = Standard(
    "vonmises",
    "kappa",
    logpdf=lambda x, kappa: where(kappa > 0, kappa * (cos(x) - 1) - log(2 * math.pi * bessel_i0e(kappa)), math.nan),
)
wrapcauchy = Standard("wrapcauchy", "c", logpdf=_wrapcauchy_logpdf)
