"""The gamma function and its relatives: beta, incomplete functions, densities."""

from __future__ import annotations

import math
from typing import Any

from gradkit.core import Array
from gradkit.core.namespace import bound, publish
from gradkit.primitives.saddle_points import LARGE
from gradkit.primitives.scipy_special.declaring import ask_backend, declare, refuse

__all__ = [
    "beta", "beta_density", "betainc", "betaincc", "betaln", "binom", "digamma", "gamma", "gamma_density", "gammainc",
    "gammainc_slope", "gammaincc", "gammaln", "gammasgn", "poch", "polygamma", "rgamma", "zeta",
]  # fmt: skip

TINY = 1e-100
"""Below it an incomplete function is linear in a shape, in every digit. Libraries lose shapes of some 1e-305: they take
1 / a or the logarithm of gamma(a), which overflow."""
LITTLE = 1e-17
"""Where both shapes of the beta distribution are below it, all of it is at 0 and 1, in the ratio of b to a."""


def _tiny(a: Any) -> Any:
    return (a > 0) & (a < TINY)


def _not_tiny(xp: Any, a: Any) -> tuple[Any, Any]:
    """Return a shape, or TINY in its stead, and by what part of that it is."""
    tiny = _tiny(a)
    limit = xp.full_like(a, TINY)
    return xp.where(tiny, limit, a), xp.where(tiny, a / TINY, xp.ones_like(a))


def _in_double(xp: Any, formula: Any, *args: Any) -> Any:
    """Compute a formula in float64: in float32 its factors overflow and underflow, and TINY is 0."""
    first = next(arg for arg in args if hasattr(arg, "dtype"))
    wide = xp.astype(first, xp.float64)
    # A rule has Python's numbers beside arrays.
    doubles = (xp.astype(arg, xp.float64) if hasattr(arg, "dtype") else xp.full_like(wide, arg) for arg in args)
    return xp.astype(formula(xp, *doubles), first.dtype)


def _gammaln(xp: Any, x: Any) -> Any:
    tiny = _tiny(x)
    one = xp.ones_like(x)
    return xp.where(tiny, -xp.log(xp.where(tiny, x, one)), ask_backend("gammaln")(xp, xp.where(tiny, one, x)))


def _betaln(xp: Any, a: Any, b: Any) -> Any:
    tiny = (_tiny(a) & (b > 0) & (b < math.inf)) | (_tiny(b) & (a > 0) & (a < math.inf))
    one = xp.ones_like(a + b)
    low, high = xp.where(tiny, xp.minimum(a, b), one), xp.where(tiny, xp.maximum(a, b), one)
    usual = ask_backend("betaln")(xp, xp.where(tiny, one, a), xp.where(tiny, one, b))
    return xp.where(tiny, xp.log1p(low / high) - xp.log(low), usual)


gammaln = declare(
    "gammaln",
    lambda xp, _y, x: xp.digamma(x),
    forward=lambda xp, x: _in_double(xp, _gammaln, x),
    leaf=True,
)
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
    forward=lambda xp, a, b: _in_double(xp, _betaln, a, b),
    leaf=True,
)
beta = declare(
    "beta",
    lambda xp, _y, a, b: xp.beta_slope(a, b),
    lambda xp, _y, a, b: xp.beta_slope(b, a),
)


def _slope_of_rgamma(xp: Any, y: Any, x: Any) -> Any:
    """Differentiate 1 / gamma(x); at 0, -1, ..., where it is 0 and digamma infinite, it is (-1)**x (-x)!."""
    pole = (x <= 0) & (x == xp.floor(x))
    one = xp.ones_like(x)
    return xp.where(
        pole, xp.cos(math.pi * x) * xp.gamma(1 - xp.where(pole, x, one)), -y * xp.digamma(xp.where(pole, one, x))
    )


rgamma = declare("rgamma", _slope_of_rgamma)
binom = declare(
    "binom",
    lambda xp, y, n, k: y * (xp.digamma(n + 1) - xp.digamma(n - k + 1)),
    lambda xp, y, n, k: y * (xp.digamma(n - k + 1) - xp.digamma(k + 1)),
)


LARGEST = 80.0
"""The exponent up to which exp neither overflows nor underflows in any dtype but float16."""


def _powers(xp: Any, a: Any, x: Any, rest: Any) -> Any:
    """Compute x**(a - 1) times what is left, which is small where `a` is and the power of a tiny `x` overflows."""
    few = (a < 0.5) & (x > 0)
    at, one = xp.where(few, x, xp.ones_like(x)), xp.ones_like(a)
    return xp.where(few, at ** xp.where(few, a, one) * rest / at, x ** (xp.where(few, one, a) - 1) * rest)


def _beta_density(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """Compute x**(a - 1) (1 - x)**(b - 1) / B(a, b), which is linear in a tiny shape, and in two of them harmonic."""
    both = (a > 0) & (b > 0) & (a < LITTLE) & (b < LITTLE) & (x > 0) & (x < 1)
    half = xp.ones_like(a + b + x) / 2
    (first, part), (second, other) = _not_tiny(xp, xp.where(both, half, a)), _not_tiny(xp, xp.where(both, half, b))
    at = xp.where(both, half, x)
    usual = _plain_beta_density(xp, first, second, at) * part * other
    low, high = xp.where(both, xp.minimum(a, b), half), xp.where(both, xp.maximum(a, b), half)
    point = xp.where(both, x, half)
    return xp.where(both, low / (point * (1 - point)) * (high / (low + high)), usual)


def _plain_beta_density(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """Compute it for shapes that are not tiny: at 0 and 1, where its logarithm is infinite, from powers."""
    constant, rest = -xp.betaln(a, b), 1 - x
    few = constant < LARGEST
    left = (x * (a + b + 1) < 0.02) & (((x == 0) & (a > 1)) | few)
    right = (rest * (a + b + 1) < 0.02) & (((rest == 0) & (b > 1)) | few) & ~left
    half = xp.ones_like(x) / 2
    constant_at = xp.where(few, constant, xp.zeros_like(constant))
    at_left, at_right = xp.where(left, x, half), xp.where(right, rest, half)
    from_left = _powers(xp, a, at_left, xp.exp(xp.xlog1py(b - 1, -at_left) + constant_at))
    from_right = _powers(xp, b, at_right, xp.exp(xp.xlog1py(a - 1, -at_right) + constant_at))
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
    return _in_double(bound(), _beta_density, a, b, x)  # type: ignore[no-any-return]


def gamma_density(a: Array, x: Array, rate: float = 1.0) -> Array:
    """Compute the density of the gamma distribution."""
    return _in_double(bound(), lambda xp, a, x: _gamma_density(xp, a, x, rate), a, x)  # type: ignore[no-any-return]


NEAR = 1e-290
"""Numbers below it have not all their digits: there a library gets such a point times FACTOR."""
FACTOR = 2.0**64
FAR = 1e200


def _betainc(xp: Any, a: Any, b: Any, x: Any) -> Any:
    both = (a > 0) & (b > 0) & (a < LITTLE) & (b < LITTLE) & (x > 0) & (x < 1)
    one = xp.ones_like(a + b + x)
    (first, _), (second, part) = _not_tiny(xp, xp.where(both, one, a)), _not_tiny(xp, xp.where(both, one, b))
    near = (x > 0) & (x < NEAR) & (b < FAR) & (a > 0)
    usual = ask_backend("betainc")(xp, first, second, xp.where(near, x * FACTOR, x))
    usual = xp.where(near, usual * xp.exp(-math.log(FACTOR) * xp.where(near, first, one)), usual)
    # At 1 it is 1 for a tiny `b` as well, and where `a` is 0 all of it is at 0.
    usual = xp.where((x < 1) & (a > 0), usual * part, usual)
    return xp.where(both, xp.where(both, b, one) / xp.where(both, a + b, one), usual)


def _betaincc(xp: Any, a: Any, b: Any, x: Any) -> Any:
    both = (a > 0) & (b > 0) & (a < LITTLE) & (b < LITTLE) & (x > 0) & (x < 1)
    one = xp.ones_like(a + b + x)
    (first, part), (second, _) = _not_tiny(xp, xp.where(both, one, a)), _not_tiny(xp, xp.where(both, one, b))
    usual = ask_backend("betaincc")(xp, first, second, x)
    usual = xp.where((x > 0) & (b > 0), usual * part, usual)
    return xp.where(both, xp.where(both, a, one) / xp.where(both, a + b, one), usual)


_no_shapes = refuse("betainc gradient with respect to a and b")
betainc = declare(
    "betainc",
    _no_shapes,
    _no_shapes,
    lambda xp, _y, a, b, x: _in_double(xp, _beta_density, a, b, x),
    forward=lambda xp, a, b, x: _in_double(xp, _betainc, a, b, x),
    leaf=True,
)
betaincc = declare(
    "betaincc",
    _no_shapes,
    _no_shapes,
    lambda xp, _y, a, b, x: -_in_double(xp, _beta_density, a, b, x),
    forward=lambda xp, a, b, x: _in_double(xp, _betaincc, a, b, x),
    leaf=True,
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
    a, part = _not_tiny(xp, a)
    constant = _log_constant(xp, a, rate)
    left = (x < 0.1) & ((x == 0) | (constant > -LARGEST))
    one = xp.ones_like(x)
    at_left, middle = xp.where(left, x, one), xp.where(left, one, x)
    near = _powers(xp, a, at_left, xp.exp(constant - rate * at_left))
    large = (a > LARGE) & (a < math.inf) & (middle > 0)
    shape, at = xp.where(large, a, 10 * one), xp.where(large, middle, one)
    saddle = xp.exp(xp.log_poisson(shape, rate * at) + xp.log_quotient(shape, at))
    small = xp.where(large, one, a)
    inner = xp.exp(xp.xlogy(small - 1, middle) - rate * middle + _log_constant(xp, small, rate))
    return xp.where(left, near, xp.where(large, saddle, inner)) * part


STENCIL = (5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260)
SERIES_TERMS = 20


def _gammainc_slope(xp: Any, a: Any, x: Any) -> Any:
    """Differentiate `gammainc` with respect to a. No library has this function.

    Of the logarithm of the function, or of 1 less it on the right of a, the part a log(x) - x - log(gamma(a + 1)) has a
    derivative by heart. What is left is smooth: up to 1 the logarithm of a power series (DLMF 8.7.1), and beyond
    differences of the tenth order, whose step is a part of the scale on which the rest changes.
    """
    a, _ = _not_tiny(xp, a + 0 * x)
    x = x + 0 * a
    below, above = x <= 1, (x > 1) & (x > a)
    lower, upper = xp.gammainc(a, x), xp.gammaincc(a, x)
    rest = xp.where(below, _slope_of_series(xp, a, xp.where(below, x, 0 * x)), _slope_of_rest(xp, a, x, above))
    share = xp.where(above, -upper, lower)
    nothing = (share == 0) | (x == 0)
    slope = xp.poisson_in_count(a, xp.where(nothing, 0 * x + 1, x)) + rest
    return xp.where(nothing, 0 * share, share * xp.where(nothing, 0 * x, slope))


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


def _gammainc(xp: Any, a: Any, x: Any) -> Any:
    tiny = _tiny(a) & (x > 0)
    one = xp.ones_like(a + x)
    return xp.where(tiny, one, ask_backend("gammainc")(xp, xp.where(tiny, one, a), x))


def _gammaincc(xp: Any, a: Any, x: Any) -> Any:
    shape, part = _not_tiny(xp, a)
    result = ask_backend("gammaincc")(xp, shape, x)
    return xp.where(x > 0, result * part, result)


gammainc_slope = declare(
    "gammainc_slope",
    refuse("the second derivative of gammainc with respect to a"),
    lambda xp, _y, a, x: _gamma_density(xp, a, x) * (xp.poisson_in_count(a, x) + 1 / a),
    forward=lambda xp, a, x: _in_double(xp, _gammainc_slope, a, x),
)
gammainc = declare(
    "gammainc",
    lambda xp, _y, a, x: xp.gammainc_slope(a, x),
    lambda xp, _y, a, x: _in_double(xp, _gamma_density, a, x),
    forward=lambda xp, a, x: _in_double(xp, _gammainc, a, x),
    leaf=True,
)
gammaincc = declare(
    "gammaincc",
    lambda xp, _y, a, x: -xp.gammainc_slope(a, x),
    lambda xp, _y, a, x: -_in_double(xp, _gamma_density, a, x),
    forward=lambda xp, a, x: _in_double(xp, _gammaincc, a, x),
    leaf=True,
)

publish(globals(), __all__)
