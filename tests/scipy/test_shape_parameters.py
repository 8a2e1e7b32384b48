"""Derivatives with respect to the shape parameters of distributions, also where these are tiny or huge, against mpmath.

mpmath takes them as differences of the logarithm of the density, with so many digits that nothing is lost.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from references import kept

import gradkit
from gradkit.scipy import stats

mp = mpmath.mp.clone()
mp.dps = 160
STEP = mp.mpf(10) ** -40
log, gammaln = mp.log, mp.loggamma


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def xlogy(x: Any, y: Any) -> Any:
    return x * log(y) if x else mp.mpf(0)


def betaln(a: Any, b: Any) -> Any:
    return gammaln(a) + gammaln(b) - gammaln(a + b)


def log_binomial(n: Any, k: Any) -> Any:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


class Sweep:
    """The logarithm of a density, where to look at it, and by which shape parameters it is differentiated."""

    def __init__(
        self, formula: Callable[..., Any], points: list[float], *shapes: list[float], fixed: tuple[int, ...] = ()
    ) -> None:
        self.formula = formula
        self.columns = [points, *shapes]
        self.positions = [i for i in range(1, len(self.columns)) if i not in fixed]


LARGE = [1e-10, 0.5, 2.0, 170.0, 1e5, 1e10]
PROBABILITIES = [1e-10, 1e-5, 0.3, 0.999]
SWEEPS = {
    "bernoulli": Sweep(lambda k, p: xlogy(k, p) + xlogy(1 - k, 1 - p), [0.0, 1.0], PROBABILITIES),
    "beta": Sweep(
        lambda x, a, b: xlogy(a - 1, x) + xlogy(b - 1, 1 - x) - betaln(a, b),
        [1e-5, 0.3],
        [1e-5, 0.5, 2.0, 170.0, 1e5],
        [1e-5, 0.5, 3.0, 170.0],
    ),
    "betabinom": Sweep(
        lambda k, n, a, b: log_binomial(n, k) + betaln(k + a, n - k + b) - betaln(a, b),
        [0.0, 1.0, 2.0],
        [5.0, 1e3],
        [0.5, 5.0, 1e5],
        [0.5, 3.0, 100.0],
        fixed=(1,),
    ),
    "binom": Sweep(
        lambda k, n, p: log_binomial(n, k) + xlogy(k, p) + xlogy(n - k, 1 - p),
        [0.0, 1.0, 5.0],
        [5.0, 1e3, 1e6],
        PROBABILITIES,
        fixed=(1,),
    ),
    "chi2": Sweep(lambda x, n: xlogy(n / 2 - 1, x) - x / 2 - gammaln(n / 2) - n / 2 * log(2), [1e-30, 0.3, 1e3], LARGE),
    "gamma": Sweep(lambda x, a: xlogy(a - 1, x) - x - gammaln(a), [1e-30, 0.3, 1e3], LARGE),
    "gennorm": Sweep(
        lambda x, b: log(b / 2) - gammaln(1 / b) - abs(x) ** b, [1e-5, 0.3, 1.0, 1.5], [0.05, 0.5, 1.0, 2.0, 30.0]
    ),
    "geom": Sweep(lambda k, p: xlogy(k - 1, 1 - p) + log(p), [1.0, 5.0, 1e3], PROBABILITIES),
    "nbinom": Sweep(
        lambda k, n, p: log_binomial(n + k - 1, k) + xlogy(n, p) + xlogy(k, 1 - p),
        [0.0, 1.0, 5.0],
        [2e-5, 0.5, 5.0, 1e3, 1e6],
        [1e-5, 0.3, 0.9],
    ),
    "pareto": Sweep(lambda x, b: log(b) - (b + 1) * log(x), [1.0, 1.5, 1e5], LARGE),
    "poisson": Sweep(lambda k, mu: xlogy(k, mu) - mu - gammaln(k + 1), [0.0, 1.0, 5.0], LARGE),
    "t": Sweep(
        lambda x, n: gammaln((n + 1) / 2) - gammaln(n / 2) - log(n * mp.pi) / 2 - (n + 1) / 2 * mp.log1p(x * x / n),
        [0.0, 0.3, 2.0, 100.0, 1e15],
        [1e-5, 0.5, 2.0, 29.0, 31.0, 170.0, 1e5, 1e8, 1e12, 1e18],
    ),
    "truncnorm": Sweep(
        lambda x, a, b: -x * x / 2 - log(2 * mp.pi) / 2 - log((mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))) / 2),
        [11.0],
        [-10.0, 0.0, 1.0, 9.0],
        [11.5, 13.0],
    ),
    "vonmises": Sweep(
        lambda x, k: k * mp.cos(x) - log(2 * mp.pi * mp.besseli(0, k)), [0.0, 0.3, 3.0], [0.0, 1e-5, 0.5, 2.0, 30.0]
    ),
    "wrapcauchy": Sweep(
        lambda x, c: log(1 - c * c) - log(2 * mp.pi) - log(1 + c * c - 2 * c * mp.cos(x)), [0.3, 3.0], [0.1, 0.5, 0.99]
    ),
}
WITHOUT_SHAPES = {"cauchy", "expon", "gumbel_l", "gumbel_r", "laplace", "logistic", "norm", "uniform"}
VECTORS = {"dirichlet", "multinomial", "multivariate_normal", "Distribution"}
RELATIVE = {"float32": 1e-3, "float64": 1e-8}


def rows(name: str, dtype: str) -> np.ndarray:
    return np.asarray([*itertools.product(*SWEEPS[name].columns)], dtype)


@functools.cache
def right(name: str, position: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    first, second = kept(by_mpmath, SWEEPS[name].formula, rows(name, dtype), position)
    return first, second


def by_mpmath(formula: Callable[..., Any], points: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = [], []
    for row in points:
        numbers = [mp.mpf(float(value)) for value in row]
        step = STEP * (numbers[position] or 1)
        values = []
        for move in (-1, 0, 1):
            moved = [*numbers]
            moved[position] += move * step
            values.append(mp.re(formula(*moved)))
        slope, bend = (values[2] - values[0]) / (2 * step), (values[2] - 2 * values[1] + values[0]) / step**2
        # What the differences leave of a 0.
        first.append(float(slope) if abs(slope) > 1e-60 else 0.0)
        second.append(float(bend) if abs(bend) > 1e-60 else 0.0)
    return np.asarray(first), np.asarray(second)


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name", SWEEPS)
def test_two_derivatives_in_shape_parameters_are_those_of_mpmath(name: str, dtype: str, xp: Any) -> None:
    distribution = getattr(stats, name)
    function = vars(distribution).get("logpdf") or distribution.logpmf
    points = rows(name, dtype)
    columns = [xp.asarray(np.ascontiguousarray(column)) for column in points.T]
    limits = np.finfo(dtype)
    wrong = []
    for position in SWEEPS[name].positions:

        def slope(*args: Any, position: int = position) -> Any:
            return gradkit.grad(lambda *args: function(*args).sum(), position)(*args)

        def bend(*args: Any, position: int = position, slope: Any = slope) -> Any:
            return gradkit.grad(lambda *args: slope(*args).sum(), position)(*args)

        for order, derivative in enumerate((slope, bend)):
            found = np.asarray(gradkit.device_get(derivative(*columns)))
            expected = right(name, position, dtype)[order].astype(dtype).astype(float)
            near = np.abs(found - expected) <= RELATIVE[dtype] * np.abs(expected) + 8 * float(limits.tiny)
            near |= np.isinf(found) & (np.abs(expected) > 0.99 * float(limits.max))
            wrong += [
                f"derivative {order + 1} in argument {position} at {points[i]}: {found[i]}, not {expected[i]}"
                for i in np.flatnonzero(~near)
            ]
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:30])


def test_the_sweep_has_every_distribution_with_shape_parameters() -> None:
    assert set(stats.__all__) == set(SWEEPS) | WITHOUT_SHAPES | VECTORS


@pytest.mark.parametrize("dtype", RELATIVE)
def test_with_an_infinite_exponent_all_of_a_pareto_distribution_is_at_1(dtype: str, xp: Any) -> None:
    x, b = xp.asarray(np.asarray([1.0, 1.5, 1e30], dtype)), xp.asarray(np.asarray(math.inf, dtype))
    for kind, expected in (("logpdf", [math.inf, -math.inf, -math.inf]), ("pdf", [math.inf, 0, 0])):
        np.testing.assert_array_equal(gradkit.device_get(getattr(stats.pareto, kind)(x, b)), expected)
    np.testing.assert_array_equal(gradkit.device_get(stats.pareto.sf(x[1:], b)), [0, 0])


@pytest.mark.parametrize("dtype", RELATIVE)
def test_with_infinitely_many_degrees_of_freedom_t_is_normal(dtype: str, xp: Any) -> None:
    x, df = xp.asarray(np.asarray([0.0, 2.0, 30.0], dtype)), xp.asarray(np.asarray(math.inf, dtype))
    far = xp.asarray(np.asarray(1e30, dtype))
    normal = gradkit.device_get(stats.norm.logpdf(x))
    for freedom in (df, far):
        np.testing.assert_allclose(gradkit.device_get(stats.t.logpdf(x, freedom)), normal, rtol=1e-6)
        assert float(gradkit.grad(lambda df: stats.t.logpdf(x, df).sum())(freedom)) == pytest.approx(0, abs=1e-40)


@pytest.mark.parametrize("dtype", RELATIVE)
def test_with_an_infinite_exponent_the_generalized_normal_distribution_is_uniform(dtype: str, xp: Any) -> None:
    x, b = xp.asarray(np.asarray([0.0, 0.3, -0.9, 1.5], dtype)), xp.asarray(np.asarray(math.inf, dtype))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6)
    close(gradkit.device_get(stats.gennorm.logpdf(x, b)), [-math.log(2)] * 3 + [-math.inf])
    close(gradkit.device_get(stats.gennorm.pdf(x, b)), [0.5, 0.5, 0.5, 0.0])
    close(gradkit.device_get(stats.gennorm.cdf(x, b)), [0.5, 0.65, 0.05, 1.0])
    far = xp.asarray(np.asarray(1e30, dtype))
    close(gradkit.device_get(stats.gennorm.logpdf(x[:3], far)), [-math.log(2)] * 3)


# Cumulative functions, whose derivatives in shape parameters are those that are declared


def below_gamma(x: Any, a: Any) -> tuple[Any, Any]:
    return mp.gammainc(a, 0, x, regularized=True), mp.gammainc(a, x, mp.inf, regularized=True)


def normal_between(low: Any, high: Any) -> Any:
    if low > 0:
        low, high = -high, -low
    return (mp.erfc(-high / mp.sqrt(2)) - mp.erfc(-low / mp.sqrt(2))) / 2


SHAPES_OF_GAMMA = [1e-10, 0.3, 2.5, 30.0, 300.0]
CUMULATIVE: dict[str, tuple[Callable[..., tuple[Any, Any]], list[list[float]]]] = {
    # What is on the left and on the right, and where to look at it.
    "bernoulli": (lambda k, p: (1 - p, p), [[0.5], PROBABILITIES]),
    "chi2": (lambda x, n: below_gamma(x / 2, n / 2), [[1e-3, 0.5, 5.0, 40.0, 250.0], SHAPES_OF_GAMMA]),
    "gamma": (below_gamma, [[1e-3, 0.5, 5.0, 40.0, 250.0], SHAPES_OF_GAMMA]),
    "gennorm": (
        lambda x, b: (below_gamma(abs(x) ** b, 1 / b)[1] / 2, 1 - below_gamma(abs(x) ** b, 1 / b)[1] / 2)[
            :: -1 if x > 0 else 1
        ],
        [[-3.0, -0.5, 0.3, 1.5], [0.5, 1.0, 2.0, 5.0]],
    ),
    "pareto": (lambda x, b: (-mp.expm1(-b * log(x)), x**-b), [[1.0001, 1.5, 1e5], [0.01, 2.5, 30.0]]),
    "poisson": (lambda k, mu: below_gamma(mu, k + 1)[::-1], [[0.0, 1.0, 5.0, 40.0], [1e-5, 0.5, 5.0, 40.0, 300.0]]),
    "truncnorm": (
        lambda x, a, b: (normal_between(a, x) / normal_between(a, b), normal_between(x, b) / normal_between(a, b)),
        [[-0.5, 0.9], [-10.0, -1.0], [1.0, 10.0]],
    ),
}
REFUSED = {"beta"}
"""Without a derivative in shape parameters: an error says so."""
CUMULATIVE_KINDS = [
    (name, kind)
    for name in CUMULATIVE
    for kind in ("cdf", "sf", "logcdf", "logsf")
    if kind in vars(getattr(stats, name))
]


@functools.cache
def cumulative_slopes(name: str, kind: str, position: int, dtype: str) -> np.ndarray:
    formula, columns = CUMULATIVE[name]
    with mp.workdps(220):
        slopes: np.ndarray = kept(
            slopes_by_mpmath, formula, kind, position, np.asarray([*itertools.product(*columns)], dtype)
        )
    return slopes


def slopes_by_mpmath(formula: Callable[..., Any], kind: str, position: int, points: np.ndarray) -> np.ndarray:
    found = []
    for row in points:
        numbers = [mp.mpf(float(value)) for value in row]
        step = STEP * numbers[position]
        values = []
        for move in (-1, 1):
            moved = [*numbers]
            moved[position] += move * step
            value = mp.re(formula(*moved)[kind.endswith("sf")])
            values.append(log(value) if kind.startswith("log") else value)
        found.append(float((values[1] - values[0]) / (2 * step)))
    return np.asarray(found)


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name, kind", CUMULATIVE_KINDS)
def test_cumulative_functions_have_derivatives_in_their_shape_parameters(
    name: str, kind: str, dtype: str, xp: Any
) -> None:
    function = getattr(getattr(stats, name), kind)
    points = np.asarray([*itertools.product(*CUMULATIVE[name][1])], dtype)
    columns = [xp.asarray(np.ascontiguousarray(column)) for column in points.T]
    wrong = []
    for position in range(1, len(columns)):
        slope = gradkit.grad(lambda *args: function(*args).sum(), position)(*columns)
        found = np.asarray(gradkit.device_get(slope), float)
        expected = cumulative_slopes(name, kind, position, dtype)
        near = np.abs(found - expected) <= RELATIVE[dtype] * np.abs(expected) + max(
            8 * float(np.finfo(dtype).tiny), 1e-100
        )
        wrong += [f"{position} at {points[i]}: {found[i]}, not {expected[i]}" for i in np.flatnonzero(~near)]
    assert not wrong, f"{len(wrong)} of {len(points)} wrong\n" + "\n".join(wrong[:30])


def test_what_has_no_derivative_in_a_shape_parameter_says_so(xp: Any) -> None:
    with_cumulative = {n for n in SWEEPS if any(k in vars(getattr(stats, n)) for k in ("cdf", "sf", "logcdf", "logsf"))}
    assert with_cumulative == set(CUMULATIVE) | REFUSED
    for kind in ("cdf", "sf", "logcdf", "logsf"):
        for position in (1, 2):
            with pytest.raises(NotImplementedError, match="betainc gradient with respect to a and b"):
                gradkit.grad(getattr(stats.beta, kind), position)(0.3, 2.0, 3.0)


# Where an outcome is certain, p being 0 or 1: there a probability is a polynomial of p

DRAWS = [
    *(("bernoulli", k, (), 1) for k in (0, 1)),
    *(("binom", k, (n,), n) for n in (1, 2, 3, 7) for k in range(n + 1)),
    *(("geom", k, (), k) for k in (1, 2, 3, 5)),
]


def polynomial(name: str, k: int, n: int) -> np.polynomial.Polynomial:
    p = np.polynomial.Polynomial([0.0, 1.0])
    if name == "geom":
        return p * (1 - p) ** (k - 1)
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("name, k, shapes, n", DRAWS)
def test_probabilities_have_slopes_where_an_outcome_is_certain(
    name: str, k: int, shapes: tuple[int, ...], n: int, p: float, dtype: str, xp: Any
) -> None:
    if name == "geom" and p == 0:
        pytest.skip("p = 0 is no parameter of it")
    exact = polynomial(name, k, n)
    right = [float(each(p)) for each in (exact, exact.deriv(), exact.deriv(2))]
    at = xp.asarray(p, dtype=dtype)
    distribution = getattr(stats, name)

    def pmf(p: Any) -> Any:
        return distribution.pmf(k, *shapes, p)

    def logpmf(p: Any) -> Any:
        return distribution.logpmf(k, *shapes, p)

    def in_three_orders(f: Any) -> list[float]:
        return [float(f(at)), float(gradkit.grad(f)(at)), float(gradkit.jvp(gradkit.grad(f), (at,), (at * 0 + 1,))[1])]

    tolerance = {"float32": 1e-5, "float64": 1e-13}[dtype]
    assert in_three_orders(pmf) == pytest.approx(right, rel=tolerance, abs=tolerance)
    value, slope, curve = in_three_orders(logpmf)
    if right[0] == 0:
        assert (value, slope, curve) == (-math.inf, math.inf if p == 0 else -math.inf, -math.inf)
    else:
        of_log = [math.log(right[0]), right[1] / right[0], right[2] / right[0] - (right[1] / right[0]) ** 2]
        assert [value, slope, curve] == pytest.approx(of_log, rel=tolerance, abs=tolerance)
