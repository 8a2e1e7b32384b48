"""NaN, infinities, signed zeros, subnormals and huge numbers give the same eagerly, by NumPy's calls and natively."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn
from gradkit.backend import get_backend
from gradkit.scipy import special

WAYS = ["interpreter", *(printer.name for printer in get_backend("numpy").printers)]
EXPONENTS = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    -1,
    -2,
    -3,
    0.0,
    -0.0,
    0.25,
    0.5,
    -0.5,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    -1.0,
    np.inf,
    -np.inf,
)
NUMBERS = (0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan)
POWERS: dict[str, Callable[[Any], Any]] = {
    **{f"x ** {y}": lambda x, y=y: x**y for y in EXPONENTS},  # type: ignore[misc]
    **{f"power(x, {y})": lambda x, y=y: jnp.power(x, y) for y in EXPONENTS},  # type: ignore[misc]
    **{f"x ** array({y})": lambda x, y=y: x ** jnp.asarray(y, x.dtype) for y in EXPONENTS},  # type: ignore[misc]
    **{f"{y} ** x": lambda x, y=y: y**x for y in NUMBERS},  # type: ignore[misc]
    "rows of powers": lambda x: x[:, None] ** jnp.asarray([0.5, 1.0, 2.0, 3.0, -1.0], x.dtype),
    "columns of powers": lambda x: x ** jnp.asarray([[0.5], [3.0], [-0.5]], x.dtype),
}
UNARY = """
    abs acos acosh asin asinh atan atanh cbrt ceil cos cosh exp exp2 expm1 floor i0 log log10 log1p log2 nan_to_num
    negative reciprocal rint round sign signbit sin sinc sinh sqrt square tan tanh trunc isnan isinf isfinite
    logical_not
""".split()
BINARY = """
    add subtract multiply divide power floor_divide remainder fmod arctan2 hypot copysign maximum minimum fmax fmin
    logaddexp logaddexp2 heaviside nextafter equal less less_equal
""".split()
ACTIVATIONS = """
    relu sigmoid silu gelu softplus elu selu leaky_relu log_sigmoid hard_tanh mish soft_sign squareplus sparse_plus
""".split()
SPECIAL = "digamma entr erf erfc erfinv expit gammaln i0e i1 i1e log_ndtr logit ndtr ndtri".split()
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod]


def beside(function: Callable[[Any, Any], Any], y: float) -> Callable[[Any], Any]:
    return lambda x: jnp.stack([function(x, y), function(y, x)])


ALL: dict[str, Callable[[Any], Any]] = {
    **POWERS,
    **{name: getattr(jnp, name) for name in UNARY},
    **{name: getattr(nn, name) for name in ACTIVATIONS},
    **{name: getattr(special, name) for name in SPECIAL},
    "rsqrt": lax.rsqrt,
    **{name: lambda x, name=name: getattr(jnp, name)(x[:, None], x) for name in BINARY},  # type: ignore[misc]
    **{f"{of.__name__} {y}": beside(of, y) for of in OPERATORS for y in NUMBERS},
    **{f"{name} {y}": beside(getattr(jnp, name), y) for name in ("maximum", "arctan2", "hypot") for y in NUMBERS},
}


def special_numbers(dtype: str) -> Any:
    info = np.finfo(dtype)
    limits = [info.max, info.tiny, info.smallest_subnormal, info.eps, np.sqrt(info.max), 2 / info.eps]
    sizes = np.array([0, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 10, 88, 104, 710, np.inf, *map(float, limits)])
    return jnp.asarray(np.concatenate([sizes, -sizes, [np.nan]]).astype(dtype))


CANCEL = {"logaddexp", "logaddexp2"}
"""Sums of a negative number and a positive one, which round where these are as large."""


def different(found: Any, expected: Any, name: str) -> Any:
    """Return where numbers differ by more than rounding, or in the sign of a zero."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.dtype.kind != "f":
        return found != expected
    info = np.finfo(found.dtype)
    absolute = float(info.eps if name in CANCEL else 4 * info.smallest_subnormal)
    close = np.isclose(found, expected, 64 * float(info.eps), absolute, equal_nan=True)
    return ~close | (found == 0) & (expected == 0) & (np.signbit(found) != np.signbit(expected))


def check(functions: dict[str, Callable[[Any], Any]], dtype: str, ways: list[str], patch: pytest.MonkeyPatch) -> None:
    with gradkit.use_backend("numpy"), np.errstate(all="ignore"):
        x = special_numbers(dtype)
        expected = [function(x) for function in functions.values()]
        wrong = []
        for way in ways:
            patch.setenv("GRADKIT_COMPILER", way)
            found = gradkit.jit(lambda x: [function(x) for function in functions.values()])(x)
            for name, one, other in zip(functions, found, expected, strict=True):
                where = different(one, other, name)
                if where.any():
                    wrong.append(f"{way} {name}: {np.asarray(one)[where][:4]} for {np.asarray(other)[where][:4]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_special_values_are_the_same_by_numpys_calls(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(ALL, dtype, ["numpy"], monkeypatch)


def test_powers_of_special_values_are_the_same_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    check(
        {name: POWERS[name] for name in ("x ** 0.5", "x ** -0.5", "x ** 3", "rows of powers")},
        "float32",
        WAYS,
        monkeypatch,
    )


@pytest.mark.long("some hundred functions are compiled")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values_are_the_same_natively(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(ALL)
    for first in range(0, len(names), 24):
        check({name: ALL[name] for name in names[first : first + 24]}, dtype, WAYS, monkeypatch)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pullbacks_of_special_values_are_eagerly_what_their_rules_say(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eager ones have kernels of their own, where a product may be taken in another order; a graph has the rules."""
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    wrong = []
    with gradkit.use_backend("numpy"), np.errstate(all="ignore"):
        x = special_numbers(dtype)
        for name, function in ALL.items():
            for cotangent in (0.0, 1.0, np.inf):

                def pulled(x: Any, function: Any = function, cotangent: float = cotangent) -> Any:
                    out, pull = gradkit.vjp(function, x)
                    return pull(jnp.full_like(out, cotangent))[0]

                if not jnp.issubdtype(gradkit.eval_shape(function, x).dtype, jnp.floating):
                    continue
                found, expected = np.asarray(pulled(x)), np.asarray(gradkit.jit(pulled)(x))
                absolute = 4 * float(np.finfo(dtype).smallest_subnormal)
                where = ~np.isclose(found, expected, 1e3 * float(np.finfo(dtype).eps), absolute, equal_nan=True)
                if where.any():
                    wrong.append(f"{name}, {cotangent}: {found[where][:3]} for {expected[where][:3]} at {x[where][:3]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_power_of_one_half_is_no_square_root(dtype: str) -> None:
    """NumPy's is one where it sees a single exponent; C's, the array API standard's and JAX's is not."""
    with gradkit.use_backend("numpy"), np.errstate(invalid="raise"):
        x = jnp.asarray(np.array([-0.0, -np.inf, 4.0, 0.0], dtype))
        half = jnp.asarray(0.5, dtype)
        for result in (
            x**0.5,
            jnp.power(x, 0.5),
            x**half,
            x ** half[None],
            x ** jnp.full(4, 0.5, dtype),
            x[None] ** half,
        ):
            assert result.dtype == dtype
            np.testing.assert_array_equal(np.asarray(result).reshape(-1), [0.0, np.inf, 2.0, 0.0])
            assert not np.signbit(np.asarray(result)).any()
        assert float((-np.inf) ** half) == np.inf
        for function in (lambda x: x**1.5, lambda x: jnp.float_power(x, 1.5), lambda x: x ** (1 + half)):
            slope = gradkit.grad(lambda x, function=function: jnp.sum(function(x)))(x)
            np.testing.assert_array_equal(np.asarray(slope), [0.0, np.inf, 3.0, 0.0])
            assert not np.signbit(np.asarray(slope)).any()


@pytest.mark.parametrize("dtype", ["complex64", "float16", "float32", "int8"])
def test_updates_by_index_let_no_infinity_go_elsewhere(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with gradkit.use_backend("numpy"), np.errstate(all="ignore"):
        updates = np.array([1, np.inf, np.nan, 2], "float16").astype(dtype)
        expected = np.zeros(5, dtype)
        np.add.at(expected, [3, 1, 2, 3], updates)
        arguments = [jnp.zeros(5, dtype), jnp.asarray([3, 1, 2, 3]), jnp.asarray(updates)]
        for way in WAYS:
            monkeypatch.setenv("GRADKIT_COMPILER", way)
            found = gradkit.jit(lambda x, indices, updates: x.at[indices].add(updates))(*arguments)
            np.testing.assert_array_equal(np.asarray(found), expected, way)
