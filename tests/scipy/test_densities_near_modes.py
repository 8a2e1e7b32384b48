"""Densities near their modes where parameters are large, with two derivatives, against mpmath.

There terms of the size of a log(a) have a sum of the size of log(a): formulas as they stand lose that many digits. The
distributions are those that `gradkit.scipy.stats` lists and that have shape parameters, and the formulas those of
`test_shape_parameters`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from references import kept
from test_shape_parameters import SWEEPS, mp

import gradkit
from gradkit.scipy import special, stats

RELATIVE = {"float16": 1e-2, "float32": 3e-4, "float64": 1e-8}
SIZES = {
    "float16": [12.0, 30.0, 1e3],
    "float32": [12.0, 30.0, 1e3, 1e5, 1e7],
    "float64": [12.0, 30.0, 1e5, 1e7, 1e10, 1e13],
}
DEVIATIONS = (-3.0, -1.3, 0.4, 2.1)
STEP = mp.mpf(10) ** -40
Row = tuple[float, ...]


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def binomial(n: float, p: float, z: float) -> float:
    return round(n * p + z * math.sqrt(n * p * (1 - p)))


def geometric(n: float, p: float, z: float) -> float:
    return round(n * (1 - p) / p + z * math.sqrt(n * (1 - p)) / p)


def mixed(n: float, a: float, b: float, z: float) -> float:
    p = a / (a + b)
    return round(n * p + z * math.sqrt(n * p * (1 - p) * (a + b + n) / (a + b + 1)))


def beta_point(a: float, b: float, z: float) -> float:
    return a / (a + b) + z * math.sqrt(a * b / (a + b + 1)) / (a + b)


POINTS: dict[str, Callable[[float, float], list[Row]]] = {
    # Arguments at so many standard deviations from the mean, where a parameter is of that size.
    "bernoulli": lambda s, z: [(1.0, 1 - 1 / s)],
    "beta": lambda s, z: [
        (beta_point(a, b, z), a, b)
        for a, b in ((s, s), (s, 3.0), (s, 20.0), (3.0, s), (20.0, s))
        if 0 < beta_point(a, b, z) < 1
    ],
    "betabinom": lambda s, z: [
        (mixed(n, a, b, z), n, a, b)
        for n, a, b in ((round(s), s, s), (round(s), 20.0, 15.0), (1000.0, s, s), (1000.0, s, 15 * s))
    ],
    "binom": lambda s, z: [(binomial(round(s), p, z), round(s), p) for p in (0.3, 0.9375, min(20 / s, 0.5))],
    "chi2": lambda s, z: [(s + z * math.sqrt(2 * s), s)],
    "gamma": lambda s, z: [(s + z * math.sqrt(s), s)],
    "gennorm": lambda s, z: [(1 - abs(z) / s, s)],
    "geom": lambda s, z: [(round(s * abs(z)), 1 / s)],
    "nbinom": lambda s, z: (
        [(geometric(s, p, z), s, p) for p in (0.3, 0.9375)] + [(geometric(2.5, 1 / s, abs(z)), 2.5, 1 / s)]
    ),
    "pareto": lambda s, z: [(1 + abs(z) / s, s)],
    "poisson": lambda s, z: [(round(s + z * math.sqrt(s)), s)],
    "t": lambda s, z: [(z, s)],
    "truncnorm": lambda s, z: [(s + abs(z) / s, s, 2 * s)],
    "vonmises": lambda s, z: [(z / math.sqrt(s), s)],
    "wrapcauchy": lambda s, z: [(abs(z) / s, 1 - 1 / s)],
}


@functools.cache
def rows(name: str, dtype: str) -> np.ndarray:
    found = [row for s, z in itertools.product(SIZES[dtype], DEVIATIONS) for row in POINTS[name](s, z)]
    found = [row for row in found if row[0] >= 0 or name in ("t", "vonmises")]
    if name == "binom":
        found = [row for row in found if row[0] <= row[1]]
    return np.unique(np.asarray(found, dtype), axis=0)


DISCRETE = {"bernoulli", "betabinom", "binom", "geom", "nbinom", "poisson"}
WHOLE = {("betabinom", 1), ("binom", 1)}


def positions(name: str) -> list[int]:
    """Return by which arguments there are derivatives."""
    count = len(SWEEPS[name].columns)
    return [i for i in range(count) if (i or name not in DISCRETE) and (name, i) not in WHOLE]


@functools.cache
def right(name: str, dtype: str) -> dict[tuple[int, ...], np.ndarray]:
    """Return the logarithm of the density, and its first two derivatives by each argument."""
    argnums = [(), *(argnum for position in positions(name) for argnum in ((position,), (position, position)))]
    columns = kept(by_mpmath, SWEEPS[name].formula, rows(name, dtype), positions(name))
    return dict(zip(argnums, columns, strict=True))


def by_mpmath(formula: Callable[..., Any], points: np.ndarray, positions: list[int]) -> list[np.ndarray]:
    found: dict[tuple[int, ...], list[float]] = {}
    for row in points:
        numbers = [mp.mpf(float(value)) for value in row]
        centre = mp.re(formula(*numbers))
        found.setdefault((), []).append(float(centre))
        for position in positions:
            step = STEP * (numbers[position] or 1)
            low, high = (
                mp.re(formula(*(v + move * step if i == position else v for i, v in enumerate(numbers))))
                for move in (-1, 1)
            )
            for argnums, value in (
                ((position,), (high - low) / (2 * step)),
                ((position, position), (high - 2 * centre + low) / step**2),
            ):
                found.setdefault(argnums, []).append(float(value) if abs(value) > 1e-60 else 0.0)
    return [np.asarray(values) for values in found.values()]


def derivative(f: Callable[..., Any], argnums: tuple[int, ...]) -> Callable[..., Any]:
    for argnum in argnums:
        f = gradkit.grad(lambda *args, f=f: f(*args).sum(), argnum)
    return f


def columns(xp: Any, points: np.ndarray) -> list[Any]:
    return [xp.asarray(np.ascontiguousarray(column)) for column in points.T]


def compare(label: str, points: np.ndarray, got: Any, expected: np.ndarray, noise: Any = 0.0) -> list[str]:
    found = np.asarray(gradkit.device_get(got), float)
    relative = RELATIVE[str(points.dtype)]
    near = (
        np.abs(found - expected)
        <= relative * np.abs(expected) + max(8 * float(np.finfo(points.dtype).tiny), 1e-70) + noise
    )
    return [f"{label} at {points[i].tolist()}: {found[i]}, not {expected[i]}" for i in np.flatnonzero(~near)]


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name", POINTS)
def test_values_and_two_derivatives_are_those_of_mpmath(name: str, dtype: str, xp: Any) -> None:
    distribution = getattr(stats, name)
    kind = "logpmf" if name in DISCRETE else "logpdf"
    points, exact = rows(name, dtype), right(name, dtype)
    if dtype == "float16" and xp.ones(1).device.backend == "strict":
        pytest.skip("the array API standard has no float16")
    args = columns(xp, points)
    eps = float(np.finfo(dtype).eps)
    wrong = []
    for argnums, expected in exact.items():
        if dtype == "float16" and len(argnums) > 1:
            continue  # second derivatives are beyond it
        got = derivative(getattr(distribution, kind), argnums)(*args)
        # What one digit of the argument changes: a first derivative crosses 0 at the mode.
        noise = 0.0
        if len(argnums) == 1:
            noise = 2 * eps * np.abs(points[:, argnums[0]] * exact[argnums * 2])
        wrong += compare(f"{argnums} of {name}.{kind}", points, got, expected, noise)
    density = getattr(distribution, kind.removeprefix("log"))(*args)
    wrong += compare(f"{name}.{kind[3:]}", points, density, np.exp(exact[()]))
    assert not wrong, f"{len(wrong)} of {len(points) * (len(exact) + 1)} wrong\n" + "\n".join(wrong[:30])


CUMULATIVE = {
    "gamma": (lambda x, a: special.gammainc(a, x), 0, 1),
    "chi2": (stats.chi2.cdf, 0, 1),
    "beta": (lambda x, a, b: special.betainc(a, b, x), 0, 1),
    "poisson": (stats.poisson.cdf, 1, -1),
}
"""Functions whose derivative is a density: in which argument, and with which sign."""


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CUMULATIVE)
def test_derivatives_of_incomplete_functions_are_densities(name: str, dtype: str, xp: Any) -> None:
    function, position, sign = CUMULATIVE[name]
    points = rows(name, dtype)
    got = derivative(function, (position,))(*columns(xp, points))
    wrong = compare(f"the derivative of {name}.cdf", points, got, sign * np.exp(right(name, dtype)[()]))
    assert not wrong, f"{len(wrong)} of {len(points)} wrong\n" + "\n".join(wrong[:30])


def test_the_sweep_has_every_distribution_with_shape_parameters() -> None:
    assert set(POINTS) == set(SWEEPS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions_of_many_counts_keep_their_digits(dtype: str, xp: Any) -> None:
    p, n = np.asarray([0.25, 0.625, 0.125], dtype), 800_000.0
    counts = np.asarray([200_500, 499_300, 100_200])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6)
    exact = mp.loggamma(n + 1) + sum(
        int(c) * mp.log(float(q)) - mp.loggamma(int(c) + 1) for c, q in zip(counts, p, strict=True)
    )
    got = stats.multinomial.logpmf(xp.asarray(counts), 800_000, xp.asarray(p))
    assert got.dtype == dtype
    close(float(got), float(exact))
    slope = gradkit.grad(lambda p: stats.multinomial.logpmf(xp.asarray(counts), 800_000, p))(xp.asarray(p))
    close(gradkit.device_get(slope), counts / p)
    alpha = counts.astype(dtype)
    exact = mp.loggamma(n) + sum(
        (float(a) - 1) * mp.log(float(q)) - mp.loggamma(float(a)) for a, q in zip(alpha, p, strict=True)
    )
    close(float(stats.dirichlet.logpdf(xp.asarray(p), xp.asarray(alpha))), float(exact))
    slope = gradkit.grad(lambda alpha: stats.dirichlet.logpdf(xp.asarray(p), alpha))(xp.asarray(alpha))
    right = [float(mp.log(float(q)) - mp.digamma(float(a)) + mp.digamma(n)) for a, q in zip(alpha, p, strict=True)]
    close(gradkit.device_get(slope), right)
