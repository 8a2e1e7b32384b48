"""Logarithms of Poisson's and binomial probabilities, and what has them as derivatives, without what cancels.

Of k log(mu) - mu - log(k!) near its mode nothing is left where k is large: terms of the size of k log(k) have a sum of
the size of log(k). Here they are taken together, in the saddle-point form of C. Loader, "Fast and accurate computation
of binomial probabilities" (2000): log(k!) is Stirling's formula and a small `_stirling_error`, and what is left of the
rest is a deviance, k log(k / mu) + mu - k, which is small where k is close to mu and reckoned from their difference.

The derivatives are differences of a logarithm and a digamma function, and of two quotients, which cancel the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradkit.core import Array, Elementwise
from gradkit.core.calls import apply, binary
from gradkit.core.namespace import publish
from gradkit.core.promotion import FLOATING, PYTHON_NUMBERS

__all__ = [
    "binomial_in_first", "binomial_in_second", "binomial_score", "log_binomial", "log_poisson", "log_share",
    "poisson_in_count", "poisson_score",
]  # fmt: skip

LARGE = 10.0
"""From here on counts are taken by the saddle-point form; below nothing cancels that would be missed."""
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
"""Of log(n!) in odd powers of 1 / n (DLMF 5.11.1)."""
DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760, -1 / 12, 3617 / 8160)
"""Of the digamma function in even powers of 1 / n (DLMF 5.11.2)."""
DEVIANCE = [1 / (2 * j + 1) for j in range(8, 0, -1)]
LOG_2PI = math.log(2 * math.pi)


def _horner(x: Any, coefficients: Any) -> Any:
    total = x * 0.0 + coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def _stirling_error(n: Any) -> Any:
    """Return log(n!) - (n + 1/2) log(n) + n - log(2 pi) / 2."""
    inverse = 1 / n
    return inverse * _horner(inverse * inverse, STIRLING)


def _digamma_error(n: Any) -> Any:
    """Return psi(n + 1) - log(n)."""
    inverse = 1 / n
    return inverse / 2 + inverse * inverse * _horner(inverse * inverse, DIGAMMA)


def _deviance(xp: Any, k: Any, mu: Any, d: Any) -> Any:
    """Return k log(k / mu) + mu - k, where d is k - mu."""
    middle = k / 2 + mu / 2  # half of the sum, which may overflow
    near = xp.abs(d) < 0.2 * middle
    v = xp.where(near, d / middle / 2, xp.zeros_like(d))
    series = v * v * v * _horner(v * v, DEVIANCE[::-1])
    return xp.where(near, d * v + 2 * (k * series), k * xp.log_quotient(k, mu) - d)


def _log_ratio(xp: Any, k: Any, mu: Any, d: Any) -> Any:
    """Return log(k / mu), where d is k - mu."""
    near = xp.abs(d) < mu / 2
    one = xp.ones_like(d)
    return xp.where(near, xp.log1p(xp.where(near, d, 0 * one) / xp.where(near, mu, one)), xp.log_quotient(k, mu))


def _ratio(xp: Any, x: Any, y: Any) -> Any:
    """Return x / y, which is 0 where x is."""
    return xp.where(x == 0, xp.zeros_like(x * y), x / y)


# Poisson's probability of k where mu is the mean: its logarithm, exp(-mu) mu**k / k!


def _safe(xp: Any, large: Any, *args: Any) -> list[Any]:
    """Return arguments that are ordinary numbers where they are not large."""
    return [xp.where(large, arg, xp.ones_like(arg) * (2 * LARGE)) for arg in args]


def _log_poisson(xp: Any, k: Any, mu: Any) -> Any:
    return _log_poisson_at(xp, k, mu, k - mu)


def _log_poisson_at(xp: Any, k: Any, mu: Any, d: Any) -> Any:
    large = (k > LARGE) & (mu > 0) & (mu < math.inf)
    count, mean, d = _safe(xp, large, k, mu, d)
    saddle = -_stirling_error(count) - _deviance(xp, count, mean, d) - (LOG_2PI + xp.log(count)) / 2
    return xp.where(large, saddle, xp.xlogy(k, mu) - mu - xp.gammaln(k + 1))


def _poisson_in_count(xp: Any, k: Any, mu: Any) -> Any:
    large = (k > LARGE) & (mu > 0) & (mu < math.inf)
    count, mean = _safe(xp, large, k, mu)
    saddle = -_log_ratio(xp, count, mean, count - mean) - _digamma_error(count)
    return xp.where(large, saddle, xp.log(mu) - xp.digamma(k + 1))


def _poisson_score(xp: Any, k: Any, mu: Any) -> Any:
    # Not the difference where it overflows, and of nothing it is -1 at a mean of 0 as well.
    near = (k < 2 * mu) & (mu < 2 * k)
    return xp.where(near, (k - mu) / mu, _ratio(xp, k, mu) - 1)


# The binomial probability of a successes and b failures where x is the probability of success, for real a and b: its
# logarithm, a log(x) + b log(1 - x) + log(gamma(a + b + 1) / (gamma(a + 1) gamma(b + 1)))


def _deviation(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """Return a - (a + b) x: of single precision in double, for its digits are those of the derivative."""
    wide = [xp.astype(arg, xp.float64) for arg in (a, b, x)]
    return xp.astype(wide[0] * (1 - wide[2]) - wide[1] * wide[2], a.dtype)


def _log_binomial(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """Multiply Poisson's probability of the smaller count with what is left; plainly where both are small."""
    a, b, x = a + 0 * (b + x), b + 0 * (a + x), x + 0 * (a + b)
    large = ((a > LARGE) | (b > LARGE)) & (a + b < math.inf) & (x >= 0) & (x <= 1)
    first = a <= b
    few, many = xp.where(first, a, b), xp.where(large, xp.where(first, b, a), xp.ones_like(a) * (2 * LARGE))
    n, d = few + many, _deviation(xp, a, b, x)
    few_mean, many_mean = n * xp.where(first, x, 1 - x), n * xp.where(first, 1 - x, x)
    d = xp.where(first, d, -d)
    rest = _stirling_error(n) - _stirling_error(many) - _deviance(xp, many, many_mean, -d) - xp.log(many / n) / 2
    saddle = _log_poisson_at(xp, few, few_mean, d) + rest
    return xp.where(large, saddle, xp.xlogy(a, x) + xp.xlog1py(b, -x) + xp.log_choices(a, b + 1))


def _in_count(xp: Any, count: Any, other: Any, share: Any, log_share: Any, d: Any) -> Any:
    """Return log(share) + psi(n + 1) - psi(count + 1), of n = count + other; d is count - n share."""
    n, inside = count + other, (share > 0) & (share < 1) & (count + other < math.inf)
    both, one = (count > LARGE) & inside, (n > LARGE) & inside
    safe_n, safe_share, safe_d = (xp.where(one, v, 0 * n + 2 * LARGE) for v in (n, share, d))
    of_large = _digamma_error(xp.where(both, count, 0 * n + 2 * LARGE))
    of_large = of_large + _log_ratio(xp, xp.where(both, count, 0 * n + 2 * LARGE), safe_n * safe_share, safe_d)
    of_small = xp.digamma(xp.where(both, 0 * n + 1, count + 1)) - xp.log(safe_n * safe_share)
    saddle = _digamma_error(safe_n) - xp.where(both, of_large, of_small)
    return xp.where(one, saddle, log_share + xp.digamma_difference(count + 1, other))


def _binomial_in_first(xp: Any, a: Any, b: Any, x: Any) -> Any:
    return _in_count(xp, a, b, x, xp.log(x), _deviation(xp, a, b, x))


def _binomial_in_second(xp: Any, a: Any, b: Any, x: Any) -> Any:
    return _in_count(xp, b, a, 1 - x, xp.log1p(-x), -_deviation(xp, a, b, x))


def _binomial_score(xp: Any, a: Any, b: Any, x: Any) -> Any:
    large = (a > LARGE) & (b > LARGE) & (x > 0) & (x < 1)
    at = xp.where(large, x, xp.ones_like(a + b + x) / 2)
    near = _deviation(xp, a, b, x) / at / (1 - at)
    return xp.where(large, near, _ratio(xp, a, x) - _ratio(xp, b, 1 - x))


def _binomial_curvature(xp: Any, _y: Any, a: Any, b: Any, x: Any) -> Any:
    return -_ratio(xp, _ratio(xp, a, x), x) - _ratio(xp, _ratio(xp, b, 1 - x), 1 - x)


def _trigamma(xp: Any, x: Any) -> Any:
    return xp.polygamma(xp.ones_like(x), x)


def _on_arrays(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a forward rule whose Python numbers are arrays like the others."""

    def run(xp: Any, *args: Any) -> Any:
        like = next(arg for arg in args if type(arg) not in PYTHON_NUMBERS)  # a NumPy scalar is a float as well
        return forward(xp, *(xp.full_like(like, arg) if type(arg) in PYTHON_NUMBERS else arg for arg in args))

    return run


def _of_two(name: str, forward: Any, in_count: Any, in_mean: Any, formula: str) -> Callable[[Any, Any], Array]:
    return binary(
        Elementwise(name, _on_arrays(forward), (in_count, in_mean)), True, f"Compute {formula} element by element."
    )


def _of_three(name: str, forward: Any, rules: Any, formula: str) -> Callable[[Any, Any, Any], Array]:
    primitive = Elementwise(name, _on_arrays(forward), rules)

    def call(a: Any, b: Any, x: Any) -> Array:
        return apply(primitive, (a, b, x), FLOATING)

    call.primitive = primitive  # type: ignore[attr-defined]
    call.__doc__ = f"Compute {formula} element by element."
    return call


log_poisson = _of_two(
    "log_poisson",
    _log_poisson,
    lambda xp, _y, k, mu: xp.poisson_in_count(k, mu),
    lambda xp, _y, k, mu: xp.poisson_score(k, mu),
    "k log(mu) - mu - log(gamma(k + 1))",
)
poisson_in_count = _of_two(
    "poisson_in_count",
    _poisson_in_count,
    lambda xp, _y, k, mu: -_trigamma(xp, k + 1) + 0 * mu,
    lambda xp, _y, _k, mu: 1 / mu,
    "log(mu) - psi(k + 1)",
)
poisson_score = _of_two(
    "poisson_score",
    _poisson_score,
    lambda xp, _y, _k, mu: 1 / mu,
    lambda xp, _y, k, mu: -_ratio(xp, _ratio(xp, k, mu), mu),
    "(k - mu) / mu",
)
log_binomial = _of_three(
    "log_binomial",
    _log_binomial,
    (
        lambda xp, _y, a, b, x: xp.binomial_in_first(a, b, x),
        lambda xp, _y, a, b, x: xp.binomial_in_second(a, b, x),
        lambda xp, _y, a, b, x: xp.binomial_score(a, b, x),
    ),
    "a log(x) + b log(1 - x) + log(gamma(a + b + 1) / (gamma(a + 1) gamma(b + 1)))",
)
binomial_in_first = _of_three(
    "binomial_in_first",
    _binomial_in_first,
    (
        lambda xp, _y, a, b, _x: xp.trigamma_difference(a + 1, b),
        lambda xp, _y, a, b, _x: _trigamma(xp, a + b + 1),
        lambda xp, _y, _a, _b, x: 1 / x,
    ),
    "log(x) + psi(a + b + 1) - psi(a + 1)",
)
binomial_in_second = _of_three(
    "binomial_in_second",
    _binomial_in_second,
    (
        lambda xp, _y, a, b, _x: _trigamma(xp, a + b + 1),
        lambda xp, _y, a, b, _x: xp.trigamma_difference(b + 1, a),
        lambda xp, _y, _a, _b, x: -1 / (1 - x),
    ),
    "log(1 - x) + psi(a + b + 1) - psi(b + 1)",
)
binomial_score = _of_three(
    "binomial_score",
    _binomial_score,
    (
        lambda xp, _y, _a, _b, x: 1 / x,
        lambda xp, _y, _a, _b, x: -1 / (1 - x),
        _binomial_curvature,
    ),
    "a / x - b / (1 - x)",
)
log_share = _of_two(
    "log_share",
    lambda xp, a, b: xp.where(b < a, -xp.log1p(_ratio(xp, b, a)), xp.log(a) - xp.log(a + b)),
    lambda xp, _y, a, b: b / a / (a + b),
    lambda xp, _y, a, b: -1 / (a + b),
    "log(a / (a + b))",
)


publish(globals(), __all__)
