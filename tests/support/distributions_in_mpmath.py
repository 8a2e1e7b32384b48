"""The continuous distributions in mpmath: what a function of one is, and its first two derivatives, exactly.

All follow from five formulas each: the logarithm of the density, its slope and second derivative, and what is on the
left and on the right. A bound of the support and infinity stand for the limits there, from inside the support: they are
taken at a point beyond all floating-point numbers, as is 0 on the right of a kink.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath

mp = mpmath.mp.clone()
Formula = Callable[..., Any]


class Standard(NamedTuple):
    """A distribution in its standard form."""

    log_density: Formula
    slope: Formula
    second: Formula
    left: Formula | None = None
    right: Formula | None = None
    support: tuple[float, float] = (-math.inf, math.inf)


def log_normal(y: Any) -> Any:
    return -(y * y) / 2 - mp.log(2 * mp.pi) / 2


def below(y: Any) -> Any:
    """Return the normal distribution on the left of a point."""
    if y > 30:
        return 1 - below(-y)
    if y >= -30:
        return mp.erfc(-y / mp.sqrt(2)) / 2
    fraction = mp.mpf(0)
    for k in range(150, 0, -1):
        fraction = k / (fraction - y)
    return mp.exp(log_normal(y)) / (fraction - y)


def truncated(low: Any, high: Any) -> Any:
    """Return the normal distribution between two points, by the tails that do not cancel."""
    return below(high) - below(low) if high < 0 else below(-low) - below(-high)


def sign(x: Any) -> int:
    return -1 if x < 0 else 1


def gennorm_left(y: Any, b: Any) -> Any:
    upper = mp.gammainc(1 / b, abs(y) ** b, regularized=True) / 2
    return upper if y <= 0 else 1 - upper


EXACT: dict[str, Standard] = {
    "norm": Standard(log_normal, lambda y: -y, lambda y: mp.mpf(-1), below, lambda y: below(-y)),
    "expon": Standard(
        lambda y: -y,
        lambda y: mp.mpf(-1),
        lambda y: mp.mpf(0),
        lambda y: -mp.expm1(-y),
        lambda y: mp.exp(-y),
        (0.0, math.inf),
    ),
    "uniform": Standard(
        lambda y: mp.mpf(0), lambda y: mp.mpf(0), lambda y: mp.mpf(0), lambda y: y, lambda y: 1 - y, (0.0, 1.0)
    ),
    "laplace": Standard(
        lambda y: -abs(y) - mp.log(2),
        lambda y: mp.mpf(-sign(y)),
        lambda y: mp.mpf(0),
        lambda y: mp.exp(y) / 2 if y < 0 else 1 - mp.exp(-y) / 2,
        lambda y: mp.exp(-y) / 2 if y > 0 else 1 - mp.exp(y) / 2,
    ),
    "logistic": Standard(
        lambda y: -abs(y) - 2 * mp.log1p(mp.exp(-abs(y))),
        lambda y: -mp.tanh(y / 2),
        lambda y: -(mp.sech(y / 2) ** 2) / 2,
        lambda y: 1 / (1 + mp.exp(-y)),
        lambda y: 1 / (1 + mp.exp(y)),
    ),
    "cauchy": Standard(
        lambda y: -mp.log(mp.pi) - mp.log1p(y * y),
        lambda y: -2 * y / (1 + y * y),
        lambda y: 2 * (y * y - 1) / (1 + y * y) ** 2,
        lambda y: mp.atan2(1, -y) / mp.pi,
        lambda y: mp.atan2(1, y) / mp.pi,
    ),
    "pareto": Standard(
        lambda y, b: mp.log(b) - (b + 1) * mp.log(y),
        lambda y, b: -(b + 1) / y,
        lambda y, b: (b + 1) / y**2,
        lambda y, b: -mp.expm1(-b * mp.log(y)),
        lambda y, b: mp.exp(-b * mp.log(y)),
        (1.0, math.inf),
    ),
    "gumbel_r": Standard(
        lambda y: -y - mp.exp(-y),
        lambda y: mp.expm1(-y),
        lambda y: -mp.exp(-y),
        lambda y: mp.exp(-mp.exp(-y)),
        lambda y: -mp.expm1(-mp.exp(-y)),
    ),
    "gumbel_l": Standard(
        lambda y: y - mp.exp(y),
        lambda y: -mp.expm1(y),
        lambda y: -mp.exp(y),
        lambda y: -mp.expm1(-mp.exp(y)),
        lambda y: mp.exp(-mp.exp(y)),
    ),
    "gamma": Standard(
        lambda y, a: (a - 1) * mp.log(y) - y - mp.loggamma(a),
        lambda y, a: (a - 1) / y - 1,
        lambda y, a: -(a - 1) / y**2,
        lambda y, a: mp.gammainc(a, 0, y, regularized=True),
        lambda y, a: mp.gammainc(a, y, regularized=True),
        (0.0, math.inf),
    ),
    "chi2": Standard(
        lambda y, df: (df / 2 - 1) * mp.log(y) - y / 2 - mp.loggamma(df / 2) - df / 2 * mp.log(2),
        lambda y, df: (df / 2 - 1) / y - mp.mpf(1) / 2,
        lambda y, df: -(df / 2 - 1) / y**2,
        lambda y, df: mp.gammainc(df / 2, 0, y / 2, regularized=True),
        lambda y, df: mp.gammainc(df / 2, y / 2, regularized=True),
        (0.0, math.inf),
    ),
    "beta": Standard(
        lambda y, a, b: (a - 1) * mp.log(y) + (b - 1) * mp.log(1 - y) - mp.log(mp.beta(a, b)),
        lambda y, a, b: (a - 1) / y - (b - 1) / (1 - y),
        lambda y, a, b: -(a - 1) / y**2 - (b - 1) / (1 - y) ** 2,
        lambda y, a, b: mp.betainc(a, b, 0, y, regularized=True),
        lambda y, a, b: mp.betainc(b, a, 0, 1 - y, regularized=True),
        (0.0, 1.0),
    ),
    "t": Standard(
        lambda y, n: -mp.log(mp.beta(n / 2, mp.mpf(1) / 2)) - mp.log(n) / 2 - (n + 1) / 2 * mp.log1p(y * y / n),
        lambda y, n: -(n + 1) * y / (n + y * y),
        lambda y, n: (n + 1) * (y * y - n) / (n + y * y) ** 2,
    ),
    "truncnorm": Standard(
        lambda y, a, b: log_normal(y) - mp.log(truncated(a, b)),
        lambda y, a, b: -y,
        lambda y, a, b: mp.mpf(-1),
        lambda y, a, b: truncated(a, y) / truncated(a, b),
        lambda y, a, b: truncated(y, b) / truncated(a, b),
        (-1.0, 1.5),
    ),
    "gennorm": Standard(
        lambda y, b: mp.log(b / 2) - mp.loggamma(1 / b) - abs(y) ** b,
        lambda y, b: -b * abs(y) ** (b - 1) * sign(y),
        lambda y, b: -b * (b - 1) * abs(y) ** (b - 2),
        gennorm_left,
    ),
    "vonmises": Standard(
        lambda y, k: k * mp.cos(y) - mp.log(2 * mp.pi * mp.besseli(0, k)),
        lambda y, k: -k * mp.sin(y),
        lambda y, k: -k * mp.cos(y),
    ),
    "wrapcauchy": Standard(
        lambda y, c: mp.log(1 - c * c) - mp.log(2 * mp.pi) - mp.log(1 + c * c - 2 * c * mp.cos(y)),
        lambda y, c: -2 * c * mp.sin(y) / (1 + c * c - 2 * c * mp.cos(y)),
        lambda y, c: (
            (4 * c * c * mp.sin(y) ** 2 - 2 * c * mp.cos(y) * (1 + c * c - 2 * c * mp.cos(y)))
            / (1 + c * c - 2 * c * mp.cos(y)) ** 2
        ),
        support=(0.0, 2 * math.pi),
    ),
}
DOUBLE_EXPONENTIAL = {"gumbel_r": -1, "gumbel_l": 1}
"""On which side of these there is the exponential of an exponential: mpmath has no numbers beyond some point."""
DIGITS = 50


@functools.cache
def values(name: str, kind: str, y: float, shapes: tuple[float, ...]) -> tuple[Any, Any, Any, Any]:
    """Return the point, and there the function and its first two derivatives, as numbers of mpmath."""
    exact = EXACT[name]
    low, high = exact.support
    if y < low or y > high:
        return mp.mpf(y), mp.mpf(0), mp.mpf(0), mp.mpf(0)
    digits = DIGITS
    with mp.workdps(digits):
        point = mp.mpf(y)
    if name == "gennorm":
        if abs(y) > 1e10:
            point = sign(y) * (
                mp.mpf(10) ** 10 if kind != "logpdf" else mp.mpf(10) ** 2000 if math.isinf(y) else abs(y)
            )
        elif y == 0:
            point = mp.mpf(10) ** -5000
    elif math.isinf(y):
        digits = 200 if name == "logistic" else 1000
        point = sign(y) * mp.mpf(10) ** 400
    elif y == 0 and (name == "laplace" or (y == low and name != "beta")):
        point = mp.mpf(10) ** -5000
    elif y in (low, high):
        digits = 1200
        with mp.workdps(digits):
            point += (1 if y == low else -1) * mp.mpf(10) ** -400
    elif (abs(y) > 1e30 and name != "logistic") or (0 < abs(y) < 1e-20 and name not in ("gamma", "chi2")):
        digits = 1000
    elif abs(y) > 20:
        digits = 200 if abs(y) < 100 or name == "logistic" else 500
    side = DOUBLE_EXPONENTIAL.get(name, 0)
    if side and side * point > 1000:
        point = side * mp.mpf(1000)
    with mp.workdps(digits):
        parameters = [mp.mpf(shape) for shape in shapes]
        return point, *_three(exact, kind, point, parameters)


def _three(exact: Standard, kind: str, y: Any, shapes: list[Any]) -> tuple[Any, Any, Any]:
    slope, second = exact.slope(y, *shapes), exact.second(y, *shapes)
    log_density = exact.log_density(y, *shapes)
    if kind == "logpdf":
        return log_density, slope, second
    density = mp.exp(log_density)
    if kind == "pdf":
        return density, density * slope, density * (slope**2 + second)
    side = exact.left if kind.endswith("cdf") else exact.right
    assert side is not None
    value = side(y, *shapes)
    first, bend = (density, density * slope) if kind.endswith("cdf") else (-density, -density * slope)
    if not kind.startswith("log"):
        return value, first, bend
    rate, fall = first / value, bend / value
    second = fall - rate**2
    return mp.log(value), rate, second if abs(second) > mp.eps * 1e9 * rate**2 else mp.mpf(0)
