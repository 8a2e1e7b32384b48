"""Continuous distributions: a table of formulas for each in its standard form."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.numpy import abs as absolute
from gradkit.numpy import (
    atan2,
    cosh,
    equal,
    exp,
    expm1,
    isfinite,
    isinf,
    log,
    log1p,
    maximum,
    ones_like,
    sin,
    sqrt,
    square,
    tan,
    where,
)
from gradkit.primitives import log_ndtr, logit, ndtr, ndtri, sigmoid, softplus
from gradkit.primitives.scipy_special import bessel_i0e, betaln, erfcx, normal_density
from gradkit.primitives.special import erf, polynomial
from gradkit.scipy.stats.distribution import Distribution, Standard

__all__ = [
    "cauchy", "expon", "gumbel_l", "gumbel_r", "laplace", "logistic", "norm", "pareto", "t", "truncnorm", "uniform",
    "vonmises", "wrapcauchy",
]  # fmt: skip

ROOT_2 = math.sqrt(2)
LOG_2 = math.log(2)
LOG_PI = math.log(math.pi)
LOG_2PI = math.log(2 * math.pi)
POSITIVE = (0.0, math.inf)
UNIT = (0.0, 1.0)
DISTANT = 1e9
"""Beyond this 1 + y**2 is y**2, in float64 too, and y**2 may overflow."""


def _log1p_square(y: Array) -> Array:
    """Return log(1 + y**2)."""
    distant = absolute(y) > DISTANT
    return where(distant, 2 * log(where(distant, absolute(y), 1.0)), log1p(square(where(distant, 0.0, y))))


def _log1m_exp(y: Array) -> Array:
    """Return log(1 - exp(-y)) for y > 0, by the one of two formulas that does not cancel; minus infinity at 0."""
    large = y > LOG_2
    small = (y <= LOG_2) & (y > 0)
    near = where(
        small, log(-expm1(-where(small, y, 1.0))), log(where(equal(y, 0), y, 1.0)) + where(equal(y, 0), 0.0, -math.inf)
    )
    return where(large, log1p(-exp(-where(large, y, 1.0))), near)


norm = Distribution(
    "norm",
    logpdf=lambda y: -(square(y) + LOG_2PI) / 2,
    pdf=normal_density,
    cdf=ndtr,
    logcdf=log_ndtr,
    sf=lambda y: ndtr(-y),
    logsf=lambda y: log_ndtr(-y),
    ppf=ndtri,
    isf=lambda q: -ndtri(q),
)
expon = Distribution(
    "expon",
    support=POSITIVE,
    logpdf=lambda y: -y,
    cdf=lambda y: -expm1(-y),
    logcdf=_log1m_exp,
    logsf=lambda y: -y,
    ppf=lambda q: -log1p(-q),
)
uniform = Distribution("uniform", support=UNIT, logpdf=lambda y: 0 * y, cdf=lambda y: +y, logcdf=log, ppf=lambda q: q)
laplace = Distribution(
    "laplace",
    logpdf=lambda y: -absolute(y) - LOG_2,
    # By the smaller of y and 0, and not by -abs(y), whose slope at 0 belongs to one side.
    cdf=lambda y: where(y <= 0, exp(where(y <= 0, y, 0.0)) / 2, 1 - exp(-where(y <= 0, 0.0, y)) / 2),
    logcdf=lambda y: where(y <= 0, y - LOG_2, log1p(-exp(-where(y <= 0, 0.0, y)) / 2)),
)


def _logistic_logpdf(y: Array) -> Array:
    # Around 0 the derivatives of the terms of the usual formula cancel.
    near = absolute(y) < 1
    centre = -2 * log(2 * cosh(where(near, y, 0.0) / 2))
    size = absolute(where(near, 1.0, y))
    return where(near, centre, -size - 2 * softplus(-size))


logistic = Distribution(
    "logistic",
    logpdf=_logistic_logpdf,
    cdf=sigmoid,
    logcdf=lambda y: -softplus(-y),
    sf=lambda y: sigmoid(-y),
    logsf=lambda y: -softplus(y),
    ppf=logit,
    isf=lambda q: -logit(q),
)


def _cauchy_cdf(y: Array) -> Array:
    # The angle is measured from the left: that of atan is near -pi/2 there, and its difference from it would cancel.
    return atan2(ones_like(y), -y) / math.pi


def _cauchy_logcdf(y: Array) -> Array:
    distant, right = y < -DISTANT, y > 0
    left = log(_cauchy_cdf(where(distant | right, 0.0, y)))
    left = where(distant, -LOG_PI - log(where(distant, -y, 1.0)), left)
    return where(right, log1p(-_cauchy_cdf(where(right, -y, -1.0))), left)


def _cauchy_ppf(q: Array) -> Array:
    left, right = q < 0.25, q > 0.75
    middle = where(left | right, 0.5, q)
    outer = 1 / tan(math.pi * where(left, q, where(right, 1 - q, 0.5)))
    return where(left, -outer, where(right, outer, tan(math.pi * (middle - 0.5))))


cauchy = Distribution(
    "cauchy",
    indefinite=("logpdf", "logcdf", "logsf"),
    logpdf=lambda y: -LOG_PI - _log1p_square(y),
    cdf=_cauchy_cdf,
    logcdf=_cauchy_logcdf,
    sf=lambda y: _cauchy_cdf(-y),
    logsf=lambda y: _cauchy_logcdf(-y),
    ppf=_cauchy_ppf,
    isf=lambda q: -_cauchy_ppf(q),
)


def _pareto_logpdf(y: Array, b: Array) -> Array:
    # With an infinite b all of it is at 1.
    whole = isinf(b)
    power = where(whole, 1.0, b)
    return where(whole, where(y > 1, -math.inf, math.inf), log(power) - (power + 1) * log(y))


def _pareto_exponent(y: Array, b: Array) -> Array:
    """Return b log(y), which is 0 at 1 for an infinite b as well."""
    return where(isinf(b) & (y <= 1), 1.0, b) * log(y)


pareto = Distribution(
    "pareto",
    "b",
    endless=True,
    support=(1.0, math.inf),
    inside=2.0,
    indefinite=("logpdf", "logsf"),
    logpdf=_pareto_logpdf,
    cdf=lambda y, b: -expm1(-_pareto_exponent(y, b)),
    logcdf=lambda y, b: _log1m_exp(_pareto_exponent(y, b)),
    logsf=lambda y, b: -_pareto_exponent(y, b),
    ppf=lambda q, b: exp(-log1p(-q) / b),
)


EXPONENTIAL = [(-1) ** k / math.factorial(k) for k in range(16, 1, -1)] + [0.0, 1.0]
"""The polynomial of exp(-y) + y around 0, whose derivatives cancel there when they are those of its terms."""


def _gumbel_logpdf(y: Array) -> Array:
    near = absolute(y) < 0.5
    distant = where(near, 1.0, y)
    return where(near, -polynomial(where(near, y, 0.0), EXPONENTIAL), -(distant + exp(-distant)))


def _gumbel_logsf(y: Array) -> Array:
    """Return log(1 - exp(-w)) for w = exp(-y): where w is small -y plus the series of log((1 - exp(-w)) / w)."""
    right = y > 2.5
    w = exp(-where(right, y, 3.0))
    series = -w / 2 + w**2 / 24 - w**4 / 2880 + w**6 / 181440 - w**8 / 9676800
    return where(right, series - y, _log1m_exp(exp(-where(right, 0.0, y))))


gumbel_r = Distribution(
    "gumbel_r",
    reach=(-80.0, math.inf),
    indefinite=("logpdf",),
    logpdf=lambda y: _gumbel_logpdf(y),
    logcdf=lambda y: -exp(-y),
    sf=lambda y: -expm1(-exp(-y)),
    logsf=_gumbel_logsf,
    ppf=lambda q: -log(-log(q)),
)
gumbel_l = Distribution(
    "gumbel_l",
    reach=(-math.inf, 80.0),
    indefinite=("logpdf",),
    logpdf=lambda y: _gumbel_logpdf(-y),
    cdf=lambda y: -expm1(-exp(y)),
    logcdf=lambda y: _gumbel_logsf(-y),
    logsf=lambda y: -exp(y),
    ppf=lambda q: log(-log1p(-q)),
)


def _t_logpdf(y: Array, df: Array) -> Array:
    # With infinitely many degrees of freedom it is the normal distribution.
    normal = isinf(df)
    df = where(normal, 1.0, df)
    limit = -(square(where(normal, y, 0.0)) + LOG_2PI) / 2
    return where(normal, limit, _t_constant(df) - (_df_log1p(y, df) + _log1p_quotient(y, df)) / 2)


T_SERIES = (-1 / 4, 1 / 24, -1 / 20, 17 / 112, -31 / 36, 691 / 88)
"""Of log(gamma((n + 1) / 2) / gamma(n / 2)) - log(n / 2) / 2 in odd powers of 1 / n, from Stirling's series."""


def _t_constant(df: Array) -> Array:
    """Return the logarithm of the density at 0: for a large `df` by a series, whose derivative does not cancel."""
    large = df > 30
    inverse = 1 / where(large, df, 30.0)
    series = inverse * polynomial(square(inverse), T_SERIES[::-1]) - LOG_2PI / 2
    small = where(large, 1.0, df)
    result: Array = where(large, series, -betaln(small / 2, 0.5) - log(small) / 2)
    return result


LOG1P_SERIES = [(-1) ** k / (k + 1) for k in range(18, -1, -1)]


def _df_log1p(y: Array, df: Array) -> Array:
    """Return df log(1 + y**2 / df), which is y**2 less a little where df is large."""
    root = y / sqrt(df)
    near = absolute(root) < 0.3
    inner = where(near, y, 0.0)
    series = square(inner) * polynomial(square(inner / sqrt(df)), LOG1P_SERIES)
    return where(near, series, df * _log1p_quotient(where(near, 1.0, y), where(near, 1.0, df)))


def _log1p_quotient(y: Array, df: Array) -> Array:
    """Return log(1 + y**2 / df), also where the root of the quotient overflows."""
    size = absolute(y)
    distant = size > DISTANT * sqrt(df)
    far = 2 * log(where(distant, size, 1.0)) - log(where(distant, df, 1.0))
    return where(distant, far, log1p(square(where(distant, 0.0, y) / sqrt(where(distant, 1.0, df)))))


t = Distribution("t", "df", indefinite=("logpdf",), endless=True, logpdf=_t_logpdf)


# The normal distribution between two bounds. Its mass between two points of one sign is reckoned from the density at
# the one nearer to 0, exp(-near**2 / 2): that factor is kept apart as `near`, so quotients of masses do not cancel.

Mass = tuple[Array, Array]


def _mass(a: Array, b: Array) -> Mass:
    """Return `near` and r: the standard normal distribution has exp(r - near**2 / 2) between a and b."""
    width = b - a
    thin = width * maximum(1.0, maximum(absolute(a), absolute(b))) < 0.1
    middle = _middle(a, b)
    # Where the bounds are far apart the formula of thin slices sees other ones, and the other way round.
    slice_ = _mass_of_slice(where(thin, a, 0.0), where(thin, b, 0.05))
    near, r = _mass_of_differences(where(thin, middle - 1, a), where(thin, middle + 1, b))
    return where(thin, slice_[0], near), where(thin, slice_[1], r)


def _mass_of_slice(a: Array, b: Array) -> Mass:
    """Return the mass of a thin slice: the series of the density around its middle, integrated."""
    width = b - a
    middle = a + width / 2
    x, h = square(middle), square(width / 2)
    second, fourth = x - 1, x * (x - 6) + 3
    sixth, eighth = x * (x * (x - 15) + 45) - 15, x * (x * (x * (x - 28) + 210) - 420) + 105
    more = h * (second / 6 + h * (fourth / 120 + h * (sixth / 5040 + h * eighth / 362880)))
    near = where(a > 0, a, where(b <= 0, -b, 0.0))
    # The middle's density, from that of the point nearest to 0.
    beyond = where(equal(near, 0), x / 2, (width / 2) * ((absolute(middle) + near) / 2))
    return near, log(width) - LOG_2PI / 2 - beyond + log1p(more)


def _mass_of_differences(a: Array, b: Array) -> Mass:
    right, left = a > 0, b <= 0
    tail = right | left
    near = where(right, a, where(left, -b, 1.0))
    far = where(right, b, where(left, -a, 2.0))
    open_ended = isinf(far)
    finite = where(open_ended, near + 1, far)
    ratio = (finite - near) * ((finite + near) / 2) + _log_erfcx(near) - _log_erfcx(finite)
    in_tail = _log_erfcx(near) - LOG_2 + where(open_ended, 0.0, _log1m_exp(ratio))
    low, high = where(tail | isinf(a), -1.0, a), where(tail | isinf(b), 1.0, b)
    low_part = where(isinf(a) | tail, 1.0, erf(-low / ROOT_2))
    high_part = where(isinf(b) | tail, 1.0, erf(high / ROOT_2))
    low_lost = where(isinf(a) | tail, 0.0, ndtr(low))
    high_lost = where(isinf(b) | tail, 0.0, ndtr(-high))
    mass = (low_part + high_part) / 2
    most = mass > 0.5
    central = where(most, log1p(-where(most, low_lost + high_lost, 0.0)), log(where(most, 1.0, mass)))
    return where(tail, near, 0.0), where(tail, in_tail, central)


def _log_erfcx(x: Array) -> Array:
    return log(erfcx(x / ROOT_2))


def _log_quotient(part: Mass, whole: Mass) -> Array:
    (near, r), (whole_near, whole_r) = part, whole
    return (whole_near - near) * ((whole_near + near) / 2) + (r - whole_r)


def _truncnorm_logpdf(y: Array, a: Array, b: Array) -> Array:
    near, r = _mass(a, b)
    y = absolute(y)
    return (near - y) * ((near + y) / 2) - LOG_2PI / 2 - r


def _truncnorm_logcdf(y: Array, a: Array, b: Array) -> Array:
    whole = _mass(a, b)
    # At the upper bound it is the logarithm of 1 by this formula; at the lower one it is infinite.
    inner = y < b
    beyond = where(y > a, y, _middle(a, b))
    below, above = (
        _log_quotient(_mass(a, beyond), whole),
        _log_quotient(_mass(where(inner, beyond, _middle(a, b)), b), whole),
    )
    most = inner & (below > -LOG_2)
    result = where(most, log1p(-exp(where(most, above, -1.0))), below)
    at_bound = equal(y, a) & isfinite(a)
    return where(y > a, result, where(at_bound, log(where(at_bound, y - a, 1.0)), -math.inf))


def _truncnorm_cdf(y: Array, a: Array, b: Array) -> Array:
    # At the lower bound it is 0, and its derivatives are those of a thin slice's mass.
    at_bound = equal(y, a)
    low = where(at_bound, a, 0.0)
    slice_ = (where(at_bound, y, 0.0) - low) * exp(
        _truncnorm_logpdf(where(at_bound, y / 2 + low / 2, _middle(a, b)), a, b)
    )
    return where(at_bound, slice_, exp(_truncnorm_logcdf(where(at_bound, _middle(a, b), y), a, b)))


def _middle(a: Array, b: Array) -> Array:
    """Return a point between two bounds, which may be infinite; 0 where there is none."""
    low, high = where(isinf(a), where(isinf(b), -1.0, b - 1), a), where(isinf(b), where(isinf(a), 1.0, a + 1), b)
    return low / 2 + high / 2


truncnorm = Distribution(
    "truncnorm",
    "a b",
    endless=True,
    support=lambda a, b: (a, b),
    inside=_middle,
    valid=lambda a, b: a < b,
    logpdf=_truncnorm_logpdf,
    cdf=_truncnorm_cdf,
    logcdf=_truncnorm_logcdf,
    sf=lambda y, a, b: _truncnorm_cdf(-y, -b, -a),
    logsf=lambda y, a, b: _truncnorm_logcdf(-y, -b, -a),
)


class Periodic(Standard):
    """A distribution on a circle: it has no limit at infinity."""

    def _at(self, kind: str, formula: Any, valid: Array, named: dict[str, Array], shapes: list[Array]) -> Any:
        return super()._at(kind, formula, valid & isfinite(named["x"]), named, shapes)


def _vonmises_logpdf(x: Array, kappa: Array) -> Array:
    # bessel_i0e has a kink at 0, where kappa ends.
    zero = equal(kappa, 0)
    at_zero = where(zero, kappa, 0.0)
    scaled = where(zero, square(at_zero) / 4 - at_zero, log(bessel_i0e(where(zero, 1.0, kappa))))
    result: Array = -2 * (kappa * square(sin(x / 2))) - LOG_2PI - scaled
    return result


def _wrapcauchy_logpdf(x: Array, c: Array) -> Array:
    result: Array = log1p(-c) + log1p(c) - LOG_2PI - log(square(1 - c) + 4 * c * square(sin(x / 2)))
    return result


vonmises = Periodic("vonmises", "kappa", valid=lambda kappa: kappa >= 0, logpdf=_vonmises_logpdf)
wrapcauchy = Standard(
    "wrapcauchy",
    "c",
    support=(0.0, 2 * math.pi),
    valid=lambda c: (c > 0) & (c < 1),
    logpdf=_wrapcauchy_logpdf,
)
