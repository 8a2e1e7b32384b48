"""The first two derivatives of every function of every continuous distribution, at special values and in the tails.

The functions are those that `gradkit.scipy.stats` lists, the right derivatives those of `distributions_in_mpmath`.
Tolerances are relative: nothing but numbers below the smallest normal one is let through as 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import distributions_in_mpmath as exact
import numpy as np
import pytest
from abilities import told_apart
from references import kept

import gradkit
from gradkit.scipy import stats

SHAPES = {"beta": (2.0, 3.0), "chi2": (3.0,), "gamma": (2.5,), "gennorm": (1.5,), "pareto": (2.5,), "t": (4.0,)}
SHAPES |= {"truncnorm": (-1.0, 1.5), "vonmises": (1.5,), "wrapcauchy": (0.4,)}
OTHERS = {"bernoulli", "betabinom", "binom", "geom", "nbinom", "poisson"}
OTHERS |= {"dirichlet", "multinomial", "multivariate_normal", "Distribution"}
"""Distributions of integers or of vectors."""
KINDS = ("logpdf", "pdf", "logcdf", "cdf", "logsf", "sf")
FUNCTIONS = [(name, kind) for name in exact.EXACT for kind in KINDS if kind in vars(getattr(stats, name))]
RELATIVE = {"float32": 3e-4, "float64": 1e-8}
Slopes = tuple[np.ndarray, np.ndarray]


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def points(name: str, dtype: str, long: bool) -> np.ndarray:
    limits = np.finfo(dtype)
    sizes = [0.0, float(limits.smallest_subnormal), float(limits.tiny), float(limits.max), math.inf, 1e-10, 0.3, 1.0]
    sizes += [1.5, 40.0, 1e4]
    if long:
        sizes += [1e-30, 0.05, 0.5, 1.2, 2.0, 5.5, 20.0, 200.0, 1e3, 1e10, 1e25]
    if name == "vonmises":
        sizes = [size for size in sizes if size < 1e4]  # of larger ones a circle has few digits
    if name == "gennorm":
        sizes.remove(float(limits.smallest_subnormal))  # half of it, which it computes with, is no number
    return np.unique(np.asarray(sizes + [-size for size in sizes], dtype))


def slopes(function: Callable[..., Any], position: int, columns: list[Any]) -> Slopes:
    """Return the first two derivatives with respect to one argument."""

    def slope(*args: Any) -> Any:
        return gradkit.grad(lambda *args: function(*args).sum(), position)(*args)

    second = gradkit.grad(lambda *args: slope(*args).sum(), position)(*columns)
    first = gradkit.device_get(slope(*columns))
    return np.asarray(first, float), np.asarray(gradkit.device_get(second), float)


def columns_of(xp: Any, name: str, kind: str, x: np.ndarray) -> list[Any]:
    located = "loc" in getattr(getattr(stats, name), kind).__signature__.parameters
    values = [*SHAPES.get(name, ()), *((0.0, 1.0) if located else ())]
    return [xp.asarray(x), *(xp.asarray(np.full_like(x, value)) for value in values)]


def compare(label: str, x: np.ndarray, got: Slopes, right: Any, terms: Any) -> None:
    """Compare two derivatives; `terms` is the size of the numbers of which each is the sum."""
    limits = np.finfo(x.dtype)
    wrong = []
    for order in (0, 1):
        for i, point in enumerate(x):
            expected = float(np.asarray(right[order][i]).astype(x.dtype))
            found = got[order][i]
            near = RELATIVE[str(x.dtype)] * min(float(terms[order][i]), float(limits.max)) + 8 * float(limits.tiny)
            same = found == expected or abs(found - expected) <= near
            same |= abs(expected) > 0.99 * limits.max and found == math.copysign(math.inf, expected)
            # At infinity the function is constant, or has the derivative that it tends to.
            same |= math.isinf(point) and found == 0
            # On the two sides of a kink it has two signs.
            same |= point == 0 and label.startswith("laplace") and found in (0, -expected)
            if not same:
                wrong.append(f"derivative {order + 1} of {label} at {point} is {found}, not {expected}")
    assert not wrong, f"{len(wrong)} of {2 * len(x)} wrong\n" + "\n".join(wrong)


def in_digits(name: str, kind: str, dtype: str, long: bool) -> np.ndarray:
    """Return mpmath's numbers as text, mantissa and exponent of 2: many are beyond all floating-point numbers."""
    rows = [exact.values(name, kind, float(x), SHAPES.get(name, ())) for x in points(name, dtype, long)]
    with exact.mp.workdps(30):
        return np.asarray([[digits(+exact.mp.mpf(value)) for value in row] for row in rows])


def digits(value: Any) -> str:
    if not exact.mp.isfinite(value):
        return str(float(value))
    return f"{'-' * (value < 0)}{int(value.man):x} {int(value.exp):x}"


def number(text: str) -> Any:
    return exact.mp.mpf(tuple(int(part, 16) for part in text.split()) if " " in text else text)


@functools.cache
def right_values(name: str, kind: str, dtype: str, long: bool) -> list[tuple[Any, ...]]:
    return [tuple(map(number, row)) for row in kept(in_digits, name, kind, dtype, long).tolist()]


def check(name: str, kind: str, dtype: str, xp: Any, long: bool) -> None:
    x = points(name, dtype, long)
    known = told_apart(x / 2 if name == "gennorm" else x)
    x, rows = (
        x[known],
        [row for row, is_known in zip(right_values(name, kind, dtype, long), known, strict=True) if is_known],
    )
    function = getattr(getattr(stats, name), kind)
    columns = columns_of(xp, name, kind, x)
    right = [[float(row[order]) for row in rows] for order in (2, 3)]
    sizes = [np.abs(part) for part in right]
    # Around 0 a derivative of what is symmetric there crosses 0.
    if (name, kind) in CROSSING:
        sizes[1] = np.where(np.abs(x) < 0.1, 1.0, sizes[1])
    compare(f"{name}.{kind}", x, slopes(function, 0, columns), right, sizes)
    if len(columns) == 1 + len(SHAPES.get(name, ())):
        return
    # d/dloc is -d/dx where the scale is 1.
    opposite = [[-slope for slope in right[0]], right[1]]
    compare(f"{name}.{kind} in loc", x, slopes(function, len(columns) - 2, columns), opposite, sizes)
    check_scale(name, kind, x, slopes(function, len(columns) - 1, columns), rows)


CROSSING = {("gumbel_l", "cdf"), ("gumbel_l", "sf"), ("gumbel_r", "cdf"), ("gumbel_r", "sf")}
CROSSING |= {("truncnorm", "cdf"), ("truncnorm", "sf")}


def check_scale(name: str, kind: str, x: np.ndarray, got: Slopes, rows: list[tuple[Any, ...]]) -> None:
    """Compare derivatives in the scale, where the terms of these are numbers: y f' and y**2 f''."""
    low, high = exact.EXACT[name].support
    limits = np.finfo(x.dtype)
    used, right, sizes = [], ([], []), ([], [])  # type: ignore[var-annotated]
    for i, (y, value, first, second) in enumerate(rows):
        with exact.mp.workdps(1000):
            if kind == "pdf":
                terms = ([-value, -y * first], [2 * value, 4 * y * first, y * y * second])
            else:
                constant = 1 if kind == "logpdf" and low <= x[i] <= high else 0
                terms = ([-y * first, -constant], [2 * y * first, y * y * second, constant])
            sums = [float(sum(part)) for part in terms]
            magnitudes = [float(sum(map(abs, part))) for part in terms]
        parts = np.asarray([float(first), float(second)], x.dtype)
        tiny = any(0 < abs(part) < 1e3 * limits.tiny / limits.eps for part in (first, second))
        if math.isinf(x[i]) or not (tiny or np.isinf(parts).any() or abs(x[i]) > 1e9):
            used.append(i)
            for order in (0, 1):
                right[order].append(sums[order])
                sizes[order].append(magnitudes[order])
    compare(f"{name}.{kind} in scale", x[used], (got[0][used], got[1][used]), right, sizes)


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name, kind", FUNCTIONS)
def test_two_derivatives_are_those_of_mpmath(name: str, kind: str, dtype: str, xp: Any) -> None:
    check(name, kind, dtype, xp, long=False)


@pytest.mark.long
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name, kind", FUNCTIONS)
def test_two_derivatives_are_those_of_mpmath_at_more_points(name: str, kind: str, dtype: str, xp: Any) -> None:
    check(name, kind, dtype, xp, long=True)


def test_the_sweep_has_every_continuous_distribution() -> None:
    assert set(stats.__all__) == set(exact.EXACT) | OTHERS


ENDLESS = [(name, kind) for name in exact.EXACT for kind in ("ppf", "isf") if kind in vars(getattr(stats, name))]


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name, kind", ENDLESS)
def test_derivatives_of_infinite_quantiles_are_infinite(name: str, kind: str, dtype: str, xp: Any) -> None:
    function, ends = getattr(getattr(stats, name), kind), np.asarray([0.0, 1.0], dtype)
    shapes = [xp.asarray(np.full_like(ends, value)) for value in SHAPES.get(name, ())]
    value = gradkit.device_get(function(xp.asarray(ends), *shapes))
    first, second = slopes(function, 0, [xp.asarray(ends), *shapes])
    infinite = np.isinf(value)
    assert infinite.any() or name == "uniform"
    sign = math.inf if kind == "ppf" else -math.inf
    np.testing.assert_array_equal(first[infinite], sign)
    np.testing.assert_array_equal(second[infinite], np.where(ends == 0, -sign, sign)[infinite])
    assert np.isfinite(first[~infinite]).all()
