"""Values and the first two derivatives of every elementwise function at special values and far out, against mpmath.

The functions are those of `gradkit.numpy`, `gradkit.nn` and `gradkit.lax` of one array of floats that give one of the
same shape: a new one fails here until it has a formula in `EXACT`, or a reason not to.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from abilities import told_apart

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn, primitives
from gradkit.scalar import Value

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

mp = mpmath.mp.clone()
mp.dps = 60


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


def squareplus(x: Any) -> Any:
    root = mp.sqrt(x * x + 4)
    return (x + root) / 2 if x > 0 else 2 / (root - x)


EXACT: dict[str, tuple[Callable[..., Any], ...]] = {
    # The function, its derivative and the second one.
    "arccos": (mp.acos, lambda x: -1 / mp.sqrt(1 - x * x), lambda x: -x / mp.sqrt(1 - x * x) ** 3),
    "arccosh": (mp.acosh, lambda x: 1 / mp.sqrt(x * x - 1), lambda x: -x / mp.sqrt(x * x - 1) ** 3),
    "arcsin": (mp.asin, lambda x: 1 / mp.sqrt(1 - x * x), lambda x: x / mp.sqrt(1 - x * x) ** 3),
    "arcsinh": (mp.asinh, lambda x: 1 / mp.sqrt(x * x + 1), lambda x: -x / mp.sqrt(x * x + 1) ** 3),
    "arctan": (mp.atan, lambda x: 1 / (x * x + 1), lambda x: -2 * x / (x * x + 1) ** 2),
    "arctanh": (mp.atanh, lambda x: 1 / (1 - x * x), lambda x: 2 * x / (1 - x * x) ** 2),
    "cbrt": (
        lambda x: mp.sign(x) * mp.cbrt(abs(x)),
        lambda x: mp.cbrt(abs(x)) ** -2 / 3,
        lambda x: -2 * mp.sign(x) * mp.cbrt(abs(x)) ** -5 / 9 if x else mp.nan,
    ),
    "cosh": (mp.cosh, mp.sinh, mp.cosh),
    "exp": (mp.exp, mp.exp, mp.exp),
    "exp2": (lambda x: 2**x, lambda x: 2**x * mp.log(2), lambda x: 2**x * mp.log(2) ** 2),
    "expm1": (mp.expm1, mp.exp, mp.exp),
    "log": (mp.log, lambda x: 1 / x, lambda x: -1 / x**2),
    "log10": (mp.log10, lambda x: 1 / (x * mp.log(10)), lambda x: -1 / (x**2 * mp.log(10))),
    "log1p": (mp.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2),
    "log2": (lambda x: mp.log(x, 2), lambda x: 1 / (x * mp.log(2)), lambda x: -1 / (x**2 * mp.log(2))),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3),
    "sinh": (mp.sinh, mp.cosh, mp.sinh),
    "sqrt": (mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), lambda x: -1 / (4 * mp.sqrt(x) ** 3)),
    "square": (lambda x: x * x, lambda x: 2 * x, lambda x: mp.mpf(2)),
    "tanh": (mp.tanh, lambda x: mp.sech(x) ** 2, lambda x: -2 * mp.sech(x) ** 2 * mp.tanh(x)),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x), lambda x: -sigmoid(x) * sigmoid(-x) * mp.tanh(x / 2)),
    "softplus": (softplus, sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "log_sigmoid": (lambda x: -softplus(-x), lambda x: sigmoid(-x), lambda x: -sigmoid(x) * sigmoid(-x)),
    "silu": (
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) + x * sigmoid(x) * sigmoid(-x),
        lambda x: sigmoid(x) * sigmoid(-x) * (2 - x * mp.tanh(x / 2)),
    ),
    "soft_sign": (
        lambda x: x / (1 + abs(x)),
        lambda x: 1 / (1 + abs(x)) ** 2,
        lambda x: -2 * (mp.sign(x) if x else 1) / (1 + abs(x)) ** 3,
    ),
    "squareplus": (
        squareplus,
        lambda x: squareplus(x) / mp.sqrt(x * x + 4),
        lambda x: 2 / mp.sqrt(x * x + 4) ** 3,
    ),
    "elu": (
        lambda x: x if x > 0 else mp.expm1(x),
        lambda x: 1 if x > 0 else mp.exp(x),
        lambda x: 0 if x > 0 else mp.exp(x),
    ),
}
GELU = math.sqrt(2 / math.pi)
DIFFERENTIATED: dict[str, Callable[[Any], Any]] = {
    "gelu": lambda x: x * sigmoid(2 * mp.mpf(GELU) * (x + mp.mpf("0.044715") * x**3)),
    "mish": lambda x: x * mp.tanh(softplus(x)),
}
"""Those whose derivatives mpmath takes itself, with 400 digits."""

SAME_AS = {"acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan"}
SAME_AS |= {"atanh": "arctanh", "swish": "silu", "logistic": "sigmoid", "celu": "elu"}

ELSEWHERE = frozenset(
    """
    abs absolute angle around ceil conj conjugate cos deg2rad degrees fabs fix floor hard_sigmoid hard_silu hard_swish
    hard_tanh i0 identity imag leaky_relu log1mexp nan_to_num neg negative positive rad2deg radians real relu relu6 rint
    round rsqrt selu sign sin sinc spacing sparse_plus sparse_sigmoid tan trunc
    """.split()
)
"""Piecewise linear, without a derivative, periodic, or a multiple of one that is here."""

SHAPES = frozenset(
    """
    array asarray block clip copy empty_like flipud from_dlpack fromiter hstack ones_like optimization_barrier
    permute_dims ravel sort stop_gradient transpose unique_values zeros_like zeros_like_array
    bessel_i0e bessel_i1e digamma erf erf_inv erfc lgamma
    """.split()
)
"""What changes shapes, places or nothing; and `lax`'s special functions, which are those of `scipy.special`."""

SIZES = [1e-300, 1e-45, 1e-38, 1e-20, 1e-4, 0.5, 0.9, 0.99609375, 1.0, 1.00390625, 2, 3, 4, 5.5, 9, 20, 50, 100, 600]
SIZES += [1e4, 6e4, 1e10, 1e19, 1.9e19, 1e25, 3e38, 1e154, 1e200, 1.7e308]
DTYPES = {"float16": 3e-2, "float32": 3e-5, "float64": 1e-12}


def points(dtype: str) -> np.ndarray:
    limits = np.finfo(dtype)
    sizes = np.asarray(SIZES)
    sizes = sizes[(sizes <= float(limits.max)) & (sizes >= float(limits.smallest_subnormal))].astype(dtype)
    sizes = np.unique(np.concatenate([sizes, [limits.tiny, limits.max, limits.smallest_subnormal]]).astype(dtype))
    return np.concatenate([-sizes[::-1], [0.0], sizes]).astype(dtype)


@functools.cache
def exact(name: str, order: int, x: float) -> float:
    """Return the true value: NaN outside the domain."""
    number = mp.mpf(x)
    if order and math.isnan(exact(name, 0, x)):
        return math.nan
    try:
        value = _differentiated(name, order, x) if name in DIFFERENTIATED else EXACT[name][order](number)
    except ZeroDivisionError:
        return math.inf
    except (ValueError, OverflowError):
        return math.nan
    if isinstance(value, mp.mpc):
        return float(value.real) if value.imag == 0 else math.nan
    return float(value)


def _differentiated(name: str, order: int, x: float) -> Any:
    if abs(x) > 1000:
        return ((x, 1.0, 0.0) if x > 0 else (0.0, 0.0, 0.0))[order]
    with mpmath.workdps(400):
        wide = mpmath.mp
        f = {"gelu": _wide_gelu, "mish": _wide_mish}[name]
        return mp.mpf(f(wide.mpf(x)) if order == 0 else mpmath.diff(f, wide.mpf(x), order))


def _wide_gelu(x: Any) -> Any:
    return x / (1 + mpmath.exp(-2 * mpmath.mpf(GELU) * (x + mpmath.mpf(0.044715) * x**3)))


def _wide_mish(x: Any) -> Any:
    return x * mpmath.tanh(mpmath.log1p(mpmath.exp(x)))


def derivatives(f: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    first = gradkit.grad(lambda x: f(x).sum())
    second = gradkit.grad(lambda x: first(x).sum())
    return f, first, second


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


def wrong(found: np.ndarray, expected: np.ndarray, dtype: str) -> np.ndarray:
    """Return where a result is none of the numbers next to the right one; subnormal results may be 0."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(dtype).astype(np.float64)
        limit = np.abs(rounded)
        tolerance = DTYPES[dtype] * limit + 4 * float(np.finfo(dtype).tiny)
        near = np.abs(found.astype(np.float64) - rounded) <= tolerance
    # Next to the largest number a rounded product may have overflowed.
    large = np.isinf(found) & (limit > float(np.finfo(dtype).max) * 0.9)
    return ~(near | large | (np.isnan(rounded) & ~np.isfinite(found)) | (found == rounded) | np.isnan(rounded))


def unary() -> list[tuple[str, Callable[..., Any]]]:
    found: dict[str, Callable[..., Any]] = {}
    for module in (jnp, nn, lax):
        for name in module.__all__:
            if SAME_AS.get(name, name) in EXACT | DIFFERENTIATED:
                found[f"{module.__name__.rpartition('.')[2]}.{name}"] = getattr(module, name)
    return sorted(found.items())


def test_every_elementwise_function_has_a_formula_here() -> None:
    x = jnp.asarray(np.asarray([0.3, 0.6]))
    missing = []
    for module in (jnp, nn, lax):
        for name in module.__all__:
            function = getattr(module, name)
            if isinstance(function, type) or not callable(function):
                continue
            try:
                parameters = inspect.signature(function).parameters
                needed = [p for p in parameters.values() if p.default is p.empty]
                if len(needed) != 1 or needed[0].kind > 1 or "axis" in parameters:
                    continue
                result = function(x)
            except (TypeError, ValueError, AttributeError, OSError, NameError):
                continue
            known = SAME_AS.get(name, name) in EXACT | DIFFERENTIATED or name in ELSEWHERE | SHAPES
            if not known and isinstance(result, gradkit.Array) and result.shape == (2,) and result.dtype.kind == "f":
                missing.append(name)
    assert " ".join(missing) == ""


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, f", unary(), ids=[name for name, _ in unary()])
def test_values_and_two_derivatives_are_exact_from_the_smallest_to_the_largest_number(
    name: str, f: Callable[..., Any], dtype: str, xp: Any
) -> None:
    if dtype == "float16" and xp.ones(1).device.backend == "strict":
        pytest.skip("the array API standard has no float16")
    x = points(dtype)
    formula = SAME_AS.get(name.rpartition(".")[2], name.rpartition(".")[2])
    for order, function in enumerate(derivatives(f)):
        found = host(function(xp.asarray(x)))
        expected = np.asarray([exact(formula, order, float(v)) for v in x])
        bad = wrong(found, expected, dtype) & told_apart(x)
        assert found.dtype == np.dtype(dtype)
        assert not bad.any(), [*zip(x[bad], found[bad], expected[bad], strict=True)]


BOUNDED = "arcsinh arctan tanh sigmoid softplus log_sigmoid silu soft_sign squareplus elu".split()


@pytest.mark.parametrize("name", [*BOUNDED, "gelu", "mish"])
def test_at_infinities_derivatives_are_their_limits_and_nan_stays_nan(name: str, xp: Any) -> None:
    f = getattr(nn, name, None) or getattr(jnp, name)
    for order, function in enumerate(derivatives(f)):
        low, high, nan = host(function(xp.asarray(np.asarray([-np.inf, np.inf, np.nan]))))
        assert np.isnan(nan)
        for found, x in ((low, -1e300), (high, 1e300)):
            expected = exact(name, order, x)
            assert found == expected or abs(found - expected) < 1e-9 or (np.isinf(found) and abs(expected) > 600)


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sqrt", "sigmoid", "sinh", "cosh"])
def test_a_value_has_the_exact_derivative_as_well(name: str) -> None:
    for x in points("float64"):
        number = Value(float(x))
        getattr(number, name)().backward()
        found, expected = np.asarray([number.grad]), np.asarray([exact(name, 1, float(x))])
        assert not wrong(found, expected, "float64").any(), (x, found, expected)


def test_hypot_and_arctan2_have_derivatives_where_squares_overflow_or_vanish(xp: Any) -> None:
    sizes = np.asarray([1e-30, 1e-20, 1.0, 3.0, 1e15, 1e20, 2e38], np.float32)
    x, y = (a.ravel() for a in np.meshgrid(np.concatenate([-sizes, sizes]), sizes))
    formulas: dict[str, dict[tuple[int, ...], Callable[..., Any]]] = {
        "hypot": {
            (0,): lambda x, y: x / mp.hypot(x, y),
            (1,): lambda x, y: y / mp.hypot(x, y),
            (0, 0): lambda x, y: y * y / mp.hypot(x, y) ** 3,
            (0, 1): lambda x, y: -x * y / mp.hypot(x, y) ** 3,
        },
        "arctan2": {
            (0,): lambda x, y: y / (x * x + y * y),
            (1,): lambda x, y: -x / (x * x + y * y),
            (0, 0): lambda x, y: -2 * x * y / (x * x + y * y) ** 2,
        },
    }
    for name, derivatives_of in formulas.items():
        for argnums, formula in derivatives_of.items():
            f = getattr(jnp, name)
            for argnum in argnums:
                f = gradkit.grad(lambda x, y, f=f: f(x, y).sum(), argnum)
            found = host(f(xp.asarray(x), xp.asarray(y)))
            expected = np.asarray(
                [float(formula(mp.mpf(float(a)), mp.mpf(float(b)))) for a, b in zip(x, y, strict=True)]
            )
            bad = wrong(found, expected, "float32")
            assert not bad.any(), (name, argnums, [*zip(x[bad], y[bad], found[bad], expected[bad], strict=True)])


@pytest.mark.parametrize("gap", [1.0, 20.0, 80.0])
def test_shares_of_exponentials_keep_their_digits_where_one_has_nearly_all(gap: float, xp: Any) -> None:
    x = np.asarray([0.0, gap, 0.5], np.float32)
    weights = np.exp(x.astype(np.float64) - gap)
    p = weights / weights.sum()
    rest = np.asarray([p[[j for j in range(3) if j != i]].sum() for i in range(3)])
    covariance = np.diag(p * rest) - np.outer(p, p) * (1 - np.eye(3))
    at_top = np.where(np.arange(3) == 1, rest, -p)
    v = xp.asarray(x)
    label = xp.asarray(np.asarray([1]))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-37)
    close(host(gradkit.grad(lambda v: nn.log_softmax(v)[1])(v)), at_top)
    close(host(gradkit.hessian(nn.logsumexp)(v)), covariance)
    close(host(gradkit.grad(lambda v: nn.softmax(v)[1])(v)), covariance[1])
    close(host(gradkit.grad(lambda v: primitives.label_cross_entropy(v[None], label).sum())(v)), -at_top)
    both = gradkit.hessian(lambda v: jnp.logaddexp(v[0], v[1]))(v)
    small = 1 / (1 + np.exp(gap)) * (1 / (1 + np.exp(-gap)))
    close(host(both)[:2, :2], [[small, -small], [-small, small]])


def test_half_precision_sums_of_log_softmax_over_70000_elements_are_finite() -> None:
    with gradkit.use_backend("numpy"):
        x = np.zeros(70_000, np.float16)
        assert np.abs(host(gradkit.grad(lambda v: nn.log_softmax(v).sum())(x))).max() < 1e-3
        assert abs(float(nn.logsumexp(x)) - math.log(70_000)) < 1e-2
