"""The special functions of `scipy.special`: a table of them, with their local derivatives.

Each is computed by the backend's own implementation (`Backend.special`): SciPy's on the CPU, CuPy's on a GPU. The
derivatives are those of the NIST Digital Library of Mathematical Functions (dlmf.nist.gov).
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend import current_backend, current_device
from gradkit.core import Array, Elementwise, bind
from gradkit.core.array import place_of_array, wrap
from gradkit.core.calls import unary
from gradkit.core.namespace import bound, publish
from gradkit.core.node import NO_PARAMS
from gradkit.core.operands import as_operand, cast, common_dtype, dtype_name

__all__ = [
    "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "beta", "beta_density", "betainc", "betaincc", "betaln",
    "cosine_integral", "dawsn", "digamma", "erfc", "erfcx", "erfcx_ratio", "erfcx_ratio_2", "exp1", "expi",
    "expi_slope", "expn", "fresnel_cosine", "fresnel_sine", "gamma", "gamma_density", "gammainc", "gammainc_slope",
    "gammaincc", "gammaln", "gammasgn", "hyp1f1", "hyp2f1", "log_ndtr", "logit", "ndtr", "ndtri", "normal_density",
    "owens_t", "poch", "polygamma", "sine_integral", "spence", "xlog1py", "xlogx", "xlogy", "zeta",
]  # fmt: skip

ROOT_PI = math.sqrt(math.pi)
ROOT_2 = math.sqrt(2)
ROOT_2PI = math.sqrt(2 * math.pi)


def _special(name: str, part: int | None = None) -> Callable[..., Any]:
    """Return the forward rule that asks the backend for `scipy.special`'s function of that name."""

    def forward(xp: Any, *args: Any) -> Any:
        result = xp.backend.special(name)(*args)
        if part is not None:
            result = result[part]
        dtype = next(arg.dtype for arg in args if hasattr(arg, "dtype"))
        result = result if result.dtype == dtype else xp.library.astype(result, dtype)
        if len(args) == 1:
            return result
        # Some of several arguments have a number (beta, betaln, poch, zeta) where one is NaN.
        unknown = functools.reduce(operator.or_, (arg != arg for arg in args))
        return xp.where(unknown, xp.full_like(result, math.nan), result)

    return forward


def _refuse(message: str) -> Callable[..., Any]:
    def rule(xp: Any, _y: Any, *_: Any) -> Any:
        raise NotImplementedError(message)

    return rule


NAMES = {
    "beta": ("a", "b"),
    "betainc": ("a", "b", "x"),
    "betaln": ("a", "b"),
    "expn": ("n", "x"),
    "gammainc": ("a", "x"),
    "gammaincc": ("a", "x"),
    "hyp1f1": ("a", "b", "x"),
    "hyp2f1": ("a", "b", "c", "x"),
    "owens_t": ("h", "a"),
    "poch": ("z", "m"),
    "xlog1py": ("x", "y"),
    "xlogy": ("x", "y"),
    "zeta": ("x", "q"),
}
"""What the arguments of functions of several are called."""


def _function(name: str, *rules: Any, forward: Any = None, part: int | None = None, of: str = "") -> Any:
    """Declare a function of as many arguments as there are rules: by its text, or by the backend's own `of`."""
    primitive = Elementwise(name, forward or _special(of or name, part), rules, leaf=forward is None)
    if len(rules) == 1:
        function: Any = unary(primitive, True)
    else:
        names = NAMES.get(name, ())

        def function(*args: Any, **named: Any) -> Array:
            args = (*args, *(named.pop(n) for n in names[len(args) :] if n in named))
            if named:
                raise TypeError(f"{name}() got an unexpected keyword argument {next(iter(named))!r}: it takes {names}")
            if len(args) != len(rules):
                raise TypeError(f"{name} takes {len(rules)} arguments, got {len(args)}")
            return bind(primitive, floating_together(args, name), NO_PARAMS)

        if names:
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            function.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])
    function.__doc__ = f"Compute `{name}` element by element; see `gradkit.scipy.special`."
    return function


def floating_together(args: Sequence[Any], caller: str) -> list[Array]:
    """Return operands as Arrays of one floating dtype, numbers among them too: not every library takes those."""
    operands = [as_operand(arg, caller) for arg in args]
    first = next((operand for operand in operands if type(operand) is Array), None)
    target = common_dtype(operands, floating=True)
    backend, device = (current_backend(), current_device()) if first is None else place_of_array(first)
    dtype = backend.raw_dtype_named(target)
    return [
        wrap(backend.xp.asarray(operand, dtype=dtype, device=device))
        if type(operand) is not Array
        else operand
        if dtype_name(operand) == target
        else cast(operand, target)
        for operand in operands
    ]


# The error function and the normal distribution
#
# erfcx(x) is exp(x**2) erfc(x), and its n-th derivative is (-2)**n n! exp(x**2) i^n erfc(x), where i^n erfc are the
# repeated integrals (DLMF 7.18). Their quotients r_n have a recurrence, r_n = 1 / (2 x + 2 (n + 1) r_(n + 1)), and stay
# of the size of 1 / (2 x): in them the derivatives of erfcx and log_ndtr neither cancel nor under- or overflow.

RATIO_SPLIT = 2.0
"""Up to here the r_n come from erfcx, and beyond it from their recurrence, taken backwards."""


def _ratio_from(xp: Any, x: Any, n: int) -> Any:
    result = 1 / (x + xp.sqrt(x * x + 2 * (n + 60)))
    for k in range(n + 59, n - 1, -1):
        result = 1 / (2 * x + 2 * (k + 1) * result)
    return result


def _ratio(xp: Any, x: Any) -> Any:
    """Return r_1 = i erfc(x) / erfc(x), for x >= 0."""
    near = x < RATIO_SPLIT
    small, large = xp.where(near, x, xp.zeros_like(x)), xp.where(near, xp.ones_like(x) * RATIO_SPLIT, x)
    return xp.where(near, 1 / (ROOT_PI * xp.erfcx(small)) - small, _ratio_from(xp, large, 1))


def _ratio_2(xp: Any, x: Any) -> Any:
    """Return r_2 = i^2 erfc(x) / i erfc(x), for x >= 0."""
    near = x < RATIO_SPLIT
    small, large = xp.where(near, x, xp.zeros_like(x)), xp.where(near, xp.ones_like(x) * RATIO_SPLIT, x)
    return xp.where(near, (1 / _ratio(xp, small) - 2 * small) / 4, _ratio_from(xp, large, 2))


def _slope_of_ratio(xp: Any, y: Any, x: Any) -> Any:
    return 2 * y * (y - 2 * xp.erfcx_ratio_2(x))


def _slope_of_ratio_2(xp: Any, y: Any, x: Any) -> Any:
    finite = y != 0
    safe = xp.where(finite, y, xp.ones_like(y))
    third = xp.where(finite, (1 / safe - 2 * xp.where(finite, x, xp.zeros_like(x))) / 6, xp.zeros_like(y))
    return 2 * y * (2 * y - 3 * third)


def _slope_of_erfcx(xp: Any, y: Any, x: Any) -> Any:
    right = x > 0
    tail = -2 * y * xp.erfcx_ratio(xp.where(right, x, xp.ones_like(x)))
    return xp.where(right, tail, 2 * xp.where(right, -xp.ones_like(x), x) * y - 2 / ROOT_PI)


def _slope_of_log_ndtr(xp: Any, x: Any) -> Any:
    """Return the normal density over ndtr: on the left, sqrt(2 / pi) / erfcx(-x / sqrt(2)), it is -x + sqrt(2) r_1."""
    right = x > 0
    positive, size = xp.where(right, x, xp.zeros_like(x)), xp.where(right, xp.zeros_like(x), -x)
    tail = size + math.sqrt(2) * xp.erfcx_ratio(size / math.sqrt(2))
    return xp.where(right, xp.normal_density(positive) / xp.ndtr(positive), tail)


def _finite_product(xp: Any, small: Any, x: Any) -> Any:
    """Return ``small * x``, which is 0 where `small` is 0, whatever x."""
    nothing = small == 0
    return small * xp.where(nothing, xp.zeros_like(x), x)


erfc = _function("erfc", lambda xp, _y, x: -2 / ROOT_PI * xp.exp(-x * x))
erfcx = _function("erfcx", lambda xp, y, x: _slope_of_erfcx(xp, y, x))
erfcx_ratio = _function("erfcx_ratio", lambda xp, y, x: _slope_of_ratio(xp, y, x), forward=lambda xp, x: _ratio(xp, x))
erfcx_ratio_2 = _function(
    "erfcx_ratio_2", lambda xp, y, x: _slope_of_ratio_2(xp, y, x), forward=lambda xp, x: _ratio_2(xp, x)
)


def _polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    result = x * 0.0 + coefficients[0]
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return result


DAWSN_SERIES = [*(-math.prod(range(1, 2 * k, 2)) / 2.0**k for k in range(25, 0, -1)), 0.0]


def _slope_of_dawsn(xp: Any, x: Any) -> Any:
    """Return 1 - 2 x dawsn(x), which cancels far out: there by its asymptotic series in x**-2."""
    distant = xp.abs(x) > 6
    near, far = xp.where(distant, xp.zeros_like(x), x), xp.where(distant, x, xp.ones_like(x) * 6)
    inverse = 1 / far
    return xp.where(distant, _polynomial(inverse * inverse, DAWSN_SERIES), 1 - 2 * near * xp.dawsn(near))


dawsn = _function("dawsn", lambda xp, _y, x: _slope_of_dawsn(xp, x))
normal_density = _function(
    "normal_density", lambda xp, y, x: -_finite_product(xp, y, x), forward=lambda xp, x: xp.exp(-x * x / 2) / ROOT_2PI
)
ndtr = _function("ndtr", lambda xp, _y, x: xp.normal_density(x))
ndtri = _function("ndtri", lambda xp, y, _x: xp.exp(y * y / 2) * ROOT_2PI)
log_ndtr = _function("log_ndtr", lambda xp, _y, x: _slope_of_log_ndtr(xp, x))
owens_t = _function(
    "owens_t",
    lambda xp, _y, h, a: -_finite_product(xp, xp.normal_density(h), xp.erf(a * (h / ROOT_2))) / 2,
    lambda xp, _y, h, a: xp.normal_density(h) * xp.normal_density(a * h) * xp.atan_slope(a),
)

# The gamma function and its relatives

gammaln = _function("gammaln", lambda xp, _y, x: xp.digamma(x))
gamma = _function("gamma", lambda xp, y, x: y * xp.digamma(x))
gammasgn = _function("gammasgn", None)
digamma = _function("digamma", lambda xp, _y, x: xp.polygamma(1, x))
polygamma = _function(
    "polygamma",
    _refuse("polygamma gradient with respect to n is not supported."),
    lambda xp, _y, n, x: xp.polygamma(n + 1, x),
)
zeta = _function(
    "zeta",
    _refuse("zeta gradient with respect to x is not supported."),
    lambda xp, _y, x, q: -x * xp.zeta(x + 1, q),
)
betaln = _function(
    "betaln",
    lambda xp, _y, a, b: -xp.digamma_difference(a, b),
    lambda xp, _y, a, b: -xp.digamma_difference(b, a),
)
beta = _function(
    "beta",
    lambda xp, y, a, b: -y * xp.digamma_difference(a, b),
    lambda xp, y, a, b: -y * xp.digamma_difference(b, a),
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
    inner = xp.exp(xp.xlog1py(b - 1, -middle) + xp.xlogy(a - 1, middle) + constant)
    return xp.where(left, from_left, xp.where(right, from_right, inner))


def beta_density(a: Array, b: Array, x: Array) -> Array:
    """Compute the density of the beta distribution."""
    return _beta_density(bound(), a, b, x)  # type: ignore[no-any-return]


def gamma_density(a: Array, x: Array, rate: float = 1.0) -> Array:
    """Compute the density of the gamma distribution."""
    return _gamma_density(bound(), a, x, rate)  # type: ignore[no-any-return]


_no_shapes = _refuse("betainc gradient with respect to a and b is not supported.")
betainc = _function("betainc", _no_shapes, _no_shapes, lambda xp, _y, a, b, x: _beta_density(xp, a, b, x))
betaincc = _function(
    "betaincc",
    _no_shapes,
    _no_shapes,
    lambda xp, _y, a, b, x: -_beta_density(xp, a, b, x),
    forward=lambda xp, a, b, x: xp.betainc(b, a, 1 - x),
)
poch = _function(
    "poch",
    lambda xp, y, z, m: y * xp.digamma_difference(z, m),
    lambda xp, y, z, m: y * xp.digamma(z + m),
)


def _gamma_density(xp: Any, a: Any, x: Any, rate: float = 1.0) -> Any:
    """Compute x**(a - 1) rate**a exp(-rate x) / gamma(a): near 0, where its logarithm is infinite, from the power."""
    constant = -xp.gammaln(a) + a * math.log(rate)
    left = (x < 0.1) & ((x == 0) | (constant > -LARGEST))
    one = xp.ones_like(x)
    at_left, middle = xp.where(left, x, one), xp.where(left, one, x)
    near = at_left ** (a - 1) * xp.exp(constant - rate * at_left)
    return xp.where(left, near, xp.exp(xp.xlogy(a - 1, middle) - rate * middle + constant))


def _gammainc_slope(xp: Any, a: Any, x: Any) -> Any:
    """Differentiate `gammainc` with respect to a by differences of the tenth order in float64.

    No library has this function. The step is a tenth of the scale on which it changes: the differences' error is about
    that of rounding, 1e-13 or so of the result's own scale.
    """
    dtype = a.dtype
    a, x = xp.astype(a, xp.float64), xp.astype(x, xp.float64)
    step = xp.minimum(a, xp.sqrt(a)) / 25
    total = xp.zeros_like(a + x)
    for k, weight in enumerate((5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260), start=1):
        total = total + weight * (xp.gammainc(a + k * step, x) - xp.gammainc(a - k * step, x))
    return xp.astype(total / step, dtype)


gammainc_slope = _function(
    "gammainc_slope",
    _refuse("the second derivative of gammainc with respect to a is not supported."),
    lambda xp, _y, a, x: _gamma_density(xp, a, x) * (xp.log(x) - xp.digamma(a)),
    forward=_gammainc_slope,
)
gammainc = _function(
    "gammainc",
    lambda xp, _y, a, x: xp.gammainc_slope(a, x),
    lambda xp, _y, a, x: _gamma_density(xp, a, x),
)
gammaincc = _function(
    "gammaincc",
    lambda xp, _y, a, x: -xp.gammainc_slope(a, x),
    lambda xp, _y, a, x: -_gamma_density(xp, a, x),
)

# Modified Bessel functions, and those scaled by exp(-abs(x)), whose derivatives cancel far out: there by the asymptotic
# series (DLMF 10.40.1) of exp(-x) I_n(x) sqrt(2 pi x), term by term

BESSEL_DISTANT = 50.0


def _slopes_of_series(order: int) -> list[float]:
    """Return the coefficients of the derivative, of x**(-k - 3/2), the highest k first."""
    coefficients, term = [], 1.0
    for k in range(14):
        coefficients.append(-(k + 0.5) * term / ROOT_2PI)
        term *= -(4 * order**2 - (2 * k + 1) ** 2) / (8 * (k + 1))
    return coefficients[::-1]


BESSEL_SLOPES = (_slopes_of_series(0), _slopes_of_series(1))


def _distant_slope(xp: Any, x: Any, order: int) -> Any:
    inverse = 1 / xp.abs(x)
    slope = inverse * xp.sqrt(inverse) * _polynomial(inverse, BESSEL_SLOPES[order])
    return slope if order else slope * xp.sign(x)


def _slope_of_i0e(xp: Any, x: Any) -> Any:
    distant = xp.abs(x) > BESSEL_DISTANT
    near, far = xp.where(distant, xp.ones_like(x), x), xp.where(distant, x, xp.ones_like(x) * BESSEL_DISTANT)
    slope = xp.bessel_i1e(near) - xp.sign(near) * xp.bessel_i0e(near)
    return xp.where(distant, _distant_slope(xp, far, 0), slope)


def _slope_of_i1e(xp: Any, x: Any) -> Any:
    distant = xp.abs(x) > BESSEL_DISTANT
    near, far = xp.where(distant, xp.ones_like(x), x), xp.where(distant, x, xp.ones_like(x) * BESSEL_DISTANT)
    scaled = xp.exp(-xp.abs(near)) * _i1_over(xp, near)
    slope = xp.bessel_i0e(near) - xp.bessel_i1e(near) * xp.sign(near) - scaled
    return xp.where(distant, _distant_slope(xp, far, 1), slope)


I1_SERIES = [0.5 / (4.0**k * math.factorial(k) * math.factorial(k + 1)) for k in range(10, -1, -1)]


def _i1_over(xp: Any, x: Any) -> Any:
    """Return I_1(x) / x, around 0 by its series in x**2."""
    near = xp.abs(x) < 1
    series = _polynomial(xp.square(xp.where(near, x, xp.zeros_like(x))), I1_SERIES)
    safe = xp.where(near, xp.ones_like(x), x)
    return xp.where(near, series, xp.bessel_i1(safe) / safe)


def _slope_of_i1(xp: Any, y: Any, x: Any) -> Any:
    # Where it overflows it is its own derivative, but for the sign.
    finite = xp.isfinite(y)
    safe = xp.where(finite, x, xp.ones_like(x))
    return xp.where(finite, xp.bessel_i0(safe) - _i1_over(xp, safe), xp.abs(xp.where(finite, xp.zeros_like(y), y)))


bessel_i0 = _function("bessel_i0", lambda xp, _y, x: xp.bessel_i1(x), of="i0")
bessel_i1 = _function("bessel_i1", _slope_of_i1, of="i1")
bessel_i0e = _function("bessel_i0e", lambda xp, _y, x: _slope_of_i0e(xp, x), of="i0e")
bessel_i1e = _function("bessel_i1e", lambda xp, _y, x: _slope_of_i1e(xp, x), of="i1e")

# Integrals
# The derivative of expi by a rule that has no difference of infinities.
expi_slope = _function("expi_slope", lambda xp, y, x: y * (1 - 1 / x), forward=lambda xp, x: xp.exp(x) / x)
expi = _function("expi", lambda xp, _y, x: xp.expi_slope(x))
exp1 = _function("exp1", lambda xp, _y, x: -xp.exp(-x) / x)
expn = _function(
    "expn",
    _refuse("expn gradient with respect to n is not supported."),
    lambda xp, _y, n, x: -xp.expn(n - 1, x),
)
sine_integral = _function("sine_integral", lambda xp, _y, x: _sinc(xp, x), of="sici", part=0)
cosine_integral = _function("cosine_integral", lambda xp, _y, x: xp.cos(x) / x, of="sici", part=1)
fresnel_sine = _function("fresnel_sine", lambda xp, _y, x: xp.sin(math.pi / 2 * x * x), of="fresnel", part=0)
fresnel_cosine = _function("fresnel_cosine", lambda xp, _y, x: xp.cos(math.pi / 2 * x * x), of="fresnel", part=1)


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


spence = _function("spence", lambda xp, _y, x: _slope_of_spence(xp, x))

# Hypergeometric functions

hyp1f1 = _function(
    "hyp1f1",
    _refuse("hyp1f1 gradient with respect to a and b is not supported."),
    _refuse("hyp1f1 gradient with respect to a and b is not supported."),
    lambda xp, _y, a, b, x: a / b * xp.hyp1f1(a + 1, b + 1, x),
)
hyp2f1 = _function(
    "hyp2f1",
    *[_refuse("hyp2f1 gradient with respect to a, b and c is not supported.")] * 3,
    lambda xp, _y, a, b, c, x: a * b / c * xp.hyp2f1(a + 1, b + 1, c + 1, x),
)

# Logarithms


def _times_log(log: str, one: int) -> Callable[..., Any]:
    """Return the text of ``x * log(y)`` that is 0 where x is, unless y is NaN."""

    def forward(xp: Any, x: Any, y: Any) -> Any:
        return x * getattr(xp, log)(xp.where((x == 0) & (y == y), xp.zeros_like(y) + one, y))

    return forward


xlogy = _function("xlogy", lambda xp, _z, _x, y: xp.log(y), lambda xp, _z, x, y: x / y, forward=_times_log("log", 1))
xlog1py = _function(
    "xlog1py", lambda xp, _z, _x, y: xp.log1p(y), lambda xp, _z, x, y: x / (1 + y), forward=_times_log("log1p", 0)
)
xlogx = _function(
    "xlogx", lambda xp, _y, x: xp.log(x) + 1, forward=lambda xp, x: x * xp.log(xp.where(x == 0, xp.ones_like(x), x))
)
logit = _function("logit", lambda xp, _y, x: 1 / x + 1 / (1 - x), forward=lambda xp, x: xp.log(x / (1 - x)))


publish(globals(), __all__)
