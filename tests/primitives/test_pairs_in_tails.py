"""Derivatives of functions of two numbers at special values, and where formulas cancel or overflow, against mpmath.

The functions are those of `gradkit.numpy`, `gradkit.lax` and `gradkit.scipy.special` of two arrays of floats that give
one of the same shape: a new one fails here until it has formulas in `EXACT`, or a reason not to.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from abilities import keeps_subnormals
from references import kept

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.scalar import Value
from gradkit.scipy import special

mp = mpmath.mp.clone()
mp.dps = 250
Formula = Callable[[Any, Any], Any]
psi, log, log1p, exp, expm1 = mp.digamma, mp.log, mp.log1p, mp.exp, mp.expm1


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def psi1(x: Any) -> Any:
    return mp.polygamma(1, x)


def beta(x: Any, y: Any) -> Any:
    return exp(mp.loggamma(x) + mp.loggamma(y) - mp.loggamma(x + y))


def rising(z: Any, m: Any) -> Any:
    return exp(mp.loggamma(z + m) - mp.loggamma(z))


def choose(n: Any, k: Any) -> Any:
    return exp(mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1))


def normal(x: Any) -> Any:
    return exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def share(d: Any) -> Any:
    return 1 / (1 + exp(-d))


def first_of_boxcox(logarithm: Any, k: Any) -> Any:
    t = k * logarithm
    return logarithm**2 / 2 if k == 0 else (exp(t) * (t - 1) + 1) / k**2


def second_of_boxcox(logarithm: Any, k: Any) -> Any:
    t = k * logarithm
    return logarithm**3 / 3 if k == 0 else (exp(t) * (t * t - 2 * t + 2) - 2) / k**3


EXACT: dict[str, tuple[tuple[list[float], list[float]], dict[tuple[int, ...], Formula]]] = {
    # Where to look, and the derivatives by the numbers of the arguments.
    "pow": (
        ([1e-30, 1e-20, 0.3, 1.0, 2.0, 1e5, 1e30], [-2.0, -0.5, 0.0, 1e-5, 0.5, 1.0, 1.5, 2.0, 3.0]),
        {
            (0,): lambda x, y: y * x ** (y - 1),
            (1,): lambda x, y: x**y * log(x),
            (0, 0): lambda x, y: y * (y - 1) * x ** (y - 2),
            (0, 1): lambda x, y: x ** (y - 1) * (1 + y * log(x)),
            (1, 0): lambda x, y: x ** (y - 1) * (1 + y * log(x)),
            (1, 1): lambda x, y: x**y * log(x) ** 2,
        },
    ),
    "divide": (
        ([-1e30, -0.3, 0.0, 1e-30, 2.0, 1e30], [-1e30, 1e-30, 0.3, 2.0, 1e5]),
        {(0,): lambda x, y: 1 / y, (1,): lambda x, y: -x / y**2, (1, 1): lambda x, y: 2 * x / y**3},
    ),
    "logaddexp": (
        ([-1e30, -700.0, -40.0, 0.0, 0.3, 40.0, 1e5], [-1e30, -700.0, 0.0, 40.0, 50.0, 1e5]),
        {
            (0,): lambda x, y: share(x - y),
            (1,): lambda x, y: share(y - x),
            (0, 0): lambda x, y: share(x - y) * share(y - x),
            (0, 1): lambda x, y: -share(x - y) * share(y - x),
        },
    ),
    "logaddexp2": (
        ([-1e30, -100.0, -40.0, 0.0, 0.25, 40.0, 1e5], [-1e30, -100.0, 0.0, 40.0, 50.0, 1e5]),
        {
            (0,): lambda x, y: share((x - y) * log(2)),
            (0, 0): lambda x, y: share((x - y) * log(2)) * share((y - x) * log(2)) * log(2),
        },
    ),
    "remainder": (
        ([-7.0, -0.3, 0.4, 5.0, 1e5], [-3.0, 0.7, 2.0]),
        {(0,): lambda x, y: mp.mpf(1), (1,): lambda x, y: -mp.floor(x / y)},
    ),
    "fmod": (
        ([-7.0, -0.3, 0.4, 5.0, 1e5], [-3.0, 0.7, 2.0]),
        {(0,): lambda x, y: mp.mpf(1), (1,): lambda x, y: -(mp.floor(x / y) if x * y > 0 else mp.ceil(x / y))},
    ),
    "copysign": (([-7.0, 0.4, 1e30], [-3.0, 1e-30, 2.0]), {(0,): lambda x, y: mp.sign(x) * mp.sign(y)}),
    "xlogy": (
        ([-2.0, 0.0, 1e-30, 0.3, 1e30], [1e-30, 0.3, 1.0, 2.0, 1e30]),
        {
            (0,): lambda x, y: log(y),
            (1,): lambda x, y: x / y,
            (0, 1): lambda x, y: 1 / y,
            (1, 1): lambda x, y: -x / y**2,
        },
    ),
    "xlog1py": (
        ([-2.0, 0.0, 1e-30, 0.3, 1e30], [-0.999, 1e-30, 1e-17, 0.3, 2.0, 1e30]),
        {
            (0,): lambda x, y: log1p(y),
            (1,): lambda x, y: x / (1 + y),
            (0, 1): lambda x, y: 1 / (1 + y),
            (1, 1): lambda x, y: -x / (1 + y) ** 2,
        },
    ),
    "rel_entr": (
        ([1e-30, 0.3, 0.7, 2.0, 2.0000002, 1e30], [1e-30, 0.3, 2.0, 1e5, 1e30]),
        {
            (0,): lambda p, q: log(p / q) + 1,
            (1,): lambda p, q: -p / q,
            (0, 0): lambda p, q: 1 / p,
            (0, 1): lambda p, q: -1 / q,
            (1, 1): lambda p, q: p / q**2,
        },
    ),
    "kl_div": (
        ([1e-30, 0.3, 0.7, 2.0, 2.0000002, 1e30], [1e-30, 0.3, 2.0, 1e5, 1e30]),
        {
            (0,): lambda p, q: log(p / q),
            (1,): lambda p, q: 1 - p / q,
            (0, 0): lambda p, q: 1 / p,
            (0, 1): lambda p, q: -1 / q,
            (1, 1): lambda p, q: p / q**2,
        },
    ),
    "betaln": (
        ([1e-30, 1e-5, 0.3, 2.0, 170.0, 1e10], [1e-30, 1e-5, 0.3, 2.0, 170.0, 1e10]),
        {
            (0,): lambda x, y: psi(x) - psi(x + y),
            (1,): lambda x, y: psi(y) - psi(x + y),
            (0, 0): lambda x, y: psi1(x) - psi1(x + y),
            (0, 1): lambda x, y: -psi1(x + y),
            (1, 1): lambda x, y: psi1(y) - psi1(x + y),
        },
    ),
    "beta": (
        ([1e-30, 1e-10, 1e-5, 0.3, 2.0, 9.0, 170.0, 1e5], [1e-20, 1e-5, 0.3, 2.0, 10.0]),
        {
            (0,): lambda x, y: beta(x, y) * (psi(x) - psi(x + y)),
            (1,): lambda x, y: beta(x, y) * (psi(y) - psi(x + y)),
            (0, 0): lambda x, y: beta(x, y) * ((psi(x) - psi(x + y)) ** 2 + psi1(x) - psi1(x + y)),
            (0, 1): lambda x, y: beta(x, y) * ((psi(x) - psi(x + y)) * (psi(y) - psi(x + y)) - psi1(x + y)),
            (1, 0): lambda x, y: beta(x, y) * ((psi(x) - psi(x + y)) * (psi(y) - psi(x + y)) - psi1(x + y)),
            (1, 1): lambda x, y: beta(x, y) * ((psi(y) - psi(x + y)) ** 2 + psi1(y) - psi1(x + y)),
        },
    ),
    "poch": (
        ([0.3, 2.0, 10.0, 1e5], [1e-30, 1e-5, 0.3, 2.0]),
        {
            (0,): lambda z, m: rising(z, m) * (psi(z + m) - psi(z)),
            (1,): lambda z, m: rising(z, m) * psi(z + m),
            (0, 0): lambda z, m: rising(z, m) * ((psi(z + m) - psi(z)) ** 2 + psi1(z + m) - psi1(z)),
            (0, 1): lambda z, m: rising(z, m) * ((psi(z + m) - psi(z)) * psi(z + m) + psi1(z + m)),
            (1, 1): lambda z, m: rising(z, m) * (psi(z + m) ** 2 + psi1(z + m)),
        },
    ),
    "comb": (
        ([5.0, 170.0, 1e5, 1e10], [1e-5, 0.25, 2.0, 3.0]),
        {
            (0,): lambda n, k: choose(n, k) * (psi(n + 1) - psi(n - k + 1)),
            (1,): lambda n, k: choose(n, k) * (psi(n - k + 1) - psi(k + 1)),
            (0, 0): lambda n, k: choose(n, k) * ((psi(n + 1) - psi(n - k + 1)) ** 2 + psi1(n + 1) - psi1(n - k + 1)),
            (0, 1): lambda n, k: (
                choose(n, k) * ((psi(n + 1) - psi(n - k + 1)) * (psi(n - k + 1) - psi(k + 1)) + psi1(n - k + 1))
            ),
            (1, 1): lambda n, k: choose(n, k) * ((psi(n - k + 1) - psi(k + 1)) ** 2 - psi1(n - k + 1) - psi1(k + 1)),
        },
    ),
    "boxcox": (
        ([1e-30, 0.3, 0.999, 2.0, 1e5, 1e30], [-1.0, -0.5, -1e-9, 0.0, 1e-30, 1e-9, 0.5, 1.0, 3.0]),
        {
            (0,): lambda x, k: x ** (k - 1),
            (1,): lambda x, k: first_of_boxcox(log(x), k),
            (0, 0): lambda x, k: (k - 1) * x ** (k - 2),
            (0, 1): lambda x, k: log(x) * x ** (k - 1),
            (1, 0): lambda x, k: log(x) * x ** (k - 1),
            (1, 1): lambda x, k: second_of_boxcox(log(x), k),
        },
    ),
    "boxcox1p": (
        ([-0.999, -0.3, 1e-30, 1e-9, 0.3, 2.0, 1e5, 1e30], [-1.0, -0.5, -1e-9, 0.0, 1e-30, 1e-9, 0.5, 1.0, 3.0]),
        {
            (0,): lambda x, k: (1 + x) ** (k - 1),
            (1,): lambda x, k: first_of_boxcox(log1p(x), k),
            (0, 0): lambda x, k: (k - 1) * (1 + x) ** (k - 2),
            (0, 1): lambda x, k: log1p(x) * (1 + x) ** (k - 1),
            (1, 1): lambda x, k: second_of_boxcox(log1p(x), k),
        },
    ),
    "owens_t": (
        ([-20.0, -3.0, 0.0, 1e-30, 0.3, 3.0, 1e5], [-1e30, -3.0, -0.3, 0.0, 1e-30, 0.3, 20.0]),
        {
            (0,): lambda h, a: -normal(h) * mp.erf(a * h / mp.sqrt(2)) / 2,
            (1,): lambda h, a: normal(h) * normal(a * h) / (1 + a * a),
            (0, 1): lambda h, a: -h * normal(h) * normal(a * h),
        },
    ),
    "gammainc": (
        ([1e-5, 0.3, 1.0, 30.0], [1e-30, 0.3, 1.0, 30.0]),
        {
            (1,): lambda a, x: exp((a - 1) * log(x) - x - mp.loggamma(a)),
            (1, 1): lambda a, x: exp((a - 1) * log(x) - x - mp.loggamma(a)) * ((a - 1) / x - 1),
            (1, 0): lambda a, x: exp((a - 1) * log(x) - x - mp.loggamma(a)) * (log(x) - psi(a)),
        },
    ),
}
SAME_AS = {"div": "divide", "true_divide": "divide", "power": "pow", "float_power": "pow", "mod": "remainder"}
SAME_AS |= {"rem": "fmod", "igamma": "gammainc"}

ELSEWHERE = frozenset(
    """
    add subtract multiply sub mul max min maximum minimum fmax fmin nextafter floor_divide heaviside
    astype convert_element_type broadcast_like full_like
    arctan2 atan2 hypot gammaincc igammac igamma_grad_a expn zeta polygamma
    compress extract gradient polyval polyadd polysub setxor1d percentile nanpercentile quantile nanquantile
    """.split()
)
"""Linear, choices or steps; of shapes; in test_far_tails.py or differentiated in one argument alone; of data."""

RELATIVE = {"float32": 3e-4, "float64": 2e-9}


def functions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    x = jnp.asarray(np.asarray([2.0, 3.0]))
    for module in (jnp, lax, special):
        for name in module.__all__:
            function = getattr(module, name)
            if isinstance(function, type) or not callable(function):
                continue
            try:
                parameters = inspect.signature(function).parameters.values()
                needed = [p.kind for p in parameters if p.default is p.empty and p.kind != p.KEYWORD_ONLY]
                if len(needed) != 2 and needed != [inspect.Parameter.VAR_POSITIONAL]:
                    continue
                result = function(x, x - 1)
            except (
                TypeError,
                ValueError,
                AttributeError,
                OSError,
                NotImplementedError,
                IndexError,
                KeyError,
                NameError,
            ):
                continue
            if isinstance(result, gradkit.Array) and result.shape == (2,) and result.dtype.kind == "f":
                found[f"{module.__name__.rpartition('.')[2]}.{name}"] = function
    return found


FUNCTIONS = functions()
SWEPT = {name: f for name, f in FUNCTIONS.items() if SAME_AS.get(name.split(".")[1], name.split(".")[1]) in EXACT}


def test_every_function_of_two_arrays_has_formulas_here() -> None:
    missing = {name for name in set(FUNCTIONS) - set(SWEPT) if name.split(".")[1] not in ELSEWHERE}
    assert missing == set()
    assert {SAME_AS.get(name.split(".")[1], name.split(".")[1]) for name in SWEPT} == set(EXACT)


def derivative(f: Callable[..., Any], argnums: tuple[int, ...]) -> Callable[..., Any]:
    for argnum in argnums:
        f = gradkit.grad(lambda x, y, f=f: f(x, y).sum(), argnum)
    return f


def rows(name: str, dtype: str) -> np.ndarray:
    x, y = EXACT[name][0]
    found = np.asarray([*itertools.product(x, y)], dtype)
    return found[np.isfinite(found).all(axis=1)]


@functools.cache
def right(name: str, argnums: tuple[int, ...], dtype: str) -> np.ndarray:
    exact: np.ndarray = kept(by_mpmath, EXACT[name][1][argnums], rows(name, dtype))
    return exact.astype(dtype)


def by_mpmath(formula: Formula, points: np.ndarray) -> np.ndarray:
    values = [formula(mp.mpf(float(x)), mp.mpf(float(y))) for x, y in points]
    return np.asarray([float(mp.re(value)) for value in values])


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name", SWEPT)
def test_two_derivatives_are_those_of_mpmath(name: str, dtype: str, xp: Any) -> None:
    formulas = SAME_AS.get(name.split(".")[1], name.split(".")[1])
    points = rows(formulas, dtype)
    columns = [xp.asarray(np.ascontiguousarray(column)) for column in points.T]
    limits = np.finfo(dtype)
    wrong = []
    for argnums in EXACT[formulas][1]:
        found = np.asarray(gradkit.device_get(derivative(SWEPT[name], argnums)(*columns)))
        assert found.dtype == dtype
        expected = right(formulas, argnums, dtype).astype(float)
        near = np.abs(found - expected) <= RELATIVE[dtype] * np.abs(expected) + 8 * float(limits.tiny)
        near |= (found == expected) | (np.isinf(found) & (np.abs(expected) > 0.99 * float(limits.max)))
        if not keeps_subnormals():  # a factor of it is 0 there
            near |= (found == 0) & (np.abs(expected) < 1e4 * float(limits.tiny))
        wrong += [f"{argnums} of {name} at {points[i]}: {found[i]}, not {expected[i]}" for i in np.flatnonzero(~near)]
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:30])


INFINITE = math.inf
POWERS: dict[tuple[float, float], tuple[float, ...]] = {
    # Limits of x**y: the derivatives in x, in y, twice in x, in x and y, twice in y.
    (0.0, -1.0): (-INFINITE, -INFINITE, INFINITE, INFINITE, INFINITE),
    (0.0, 0.5): (INFINITE, 0.0, -INFINITE, -INFINITE, 0.0),
    (0.0, 1.0): (1.0, 0.0, 0.0, -INFINITE, 0.0),
    (0.0, 2.0): (0.0, 0.0, 2.0, 0.0, 0.0),
    (0.5, INFINITE): (0.0, 0.0, 0.0, 0.0, 0.0),
    (2.0, -INFINITE): (0.0, 0.0, 0.0, 0.0, 0.0),
    (2.0, INFINITE): (INFINITE, INFINITE, INFINITE, INFINITE, INFINITE),
    (INFINITE, -1.0): (0.0, 0.0, 0.0, 0.0, 0.0),
    (INFINITE, 0.5): (0.0, INFINITE, 0.0, 0.0, INFINITE),
    (INFINITE, 2.0): (INFINITE, INFINITE, 2.0, INFINITE, INFINITE),
    (2.0, 0.0): (0.0, math.log(2), 0.0, 0.5, math.log(2) ** 2),
    (-2.0, 2.0): (-4.0, math.nan, 2.0, math.nan, math.nan),
    (-2.0, 3.0): (12.0, math.nan, -12.0, math.nan, math.nan),
}


@pytest.mark.parametrize("dtype", RELATIVE)
def test_derivatives_of_powers_at_zeros_and_infinities_are_their_limits(dtype: str, xp: Any) -> None:
    x, y = (xp.asarray(np.asarray(column, dtype)) for column in zip(*POWERS, strict=True))
    orders = [(0,), (1,), (0, 0), (0, 1), (1, 1)]
    for order, argnums in enumerate(orders):
        found = gradkit.device_get(derivative(jnp.pow, argnums)(x, y))
        np.testing.assert_allclose(found, [row[order] for row in POWERS.values()], rtol=1e-6)
    np.testing.assert_allclose(
        gradkit.device_get(derivative(jnp.pow, (1, 0))(x, y)), [row[3] for row in POWERS.values()], rtol=1e-6
    )


def test_powers_of_numbers_have_the_derivatives_of_powers_of_arrays(xp: Any) -> None:
    for x, y in POWERS:
        rules = POWERS[x, y]
        base, exponent = xp.asarray(np.asarray(x)), xp.asarray(np.asarray(y))
        if (x, y) != (0.0, -1.0):
            assert float(gradkit.grad(lambda x, y=y: x**y)(base)) == pytest.approx(rules[0])
        if x >= 0:
            assert float(gradkit.grad(lambda y, x=x: x**y)(exponent)) == pytest.approx(rules[1])


def test_a_value_to_a_power_has_the_same_derivatives() -> None:
    for x, y in itertools.product([0.3, 1.0, 2.0, 1e5], [-2.0, 0.0, 0.5, 1.0, 3.0]):
        base, exponent = Value(x), Value(y)
        (base**exponent).backward()
        assert base.grad == pytest.approx(y * x ** (y - 1))
        assert exponent.grad == pytest.approx(x**y * math.log(x))
