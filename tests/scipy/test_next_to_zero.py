"""Incomplete gamma and beta functions, and all that is made of them, at the smallest points and shapes that there are.

Next to the smallest numbers there is little that may be written down: half of one is 0, 1 divided by one is infinite,
and so are powers of it. Points and shapes are drawn from all magnitudes, and many of them from the subnormal numbers.
mpmath has the values and first derivatives, from power series of positive terms.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest

import gradkit
from gradkit import lax
from gradkit.primitives.scipy_special import betaincc
from gradkit.scipy import special, stats

mp = mpmath.mp.clone()
RELATIVE = {"float32": 2e-6, "float64": 2e-12}
BY_DIFFERENCES = {"float32": 2e-6, "float64": 3e-10}
"""A derivative in a shape is a difference of values beyond 1."""
STEP = 30
"""mpmath has it as a difference of values whose step is that power of a tenth of it."""
NONE: Any = None


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


class Masses(NamedTuple):
    """What is on the left of a point and on the right of it, and the slopes of the former in the point and a shape."""

    left: Any
    right: Any
    density: Any
    in_shape: Any


def positive_sum(ratio: Callable[[int], Any], most: Any) -> Any:
    """Return 1 + r(1) + r(1) r(2) + ..., whose ratios r are less than 1 from `most` on."""
    total = term = mp.mpf(1)
    k = 1
    while term > total * mp.eps or k < most:
        term *= ratio(k)
        total += term
        k += 1
    return total


def gamma_below(a: Any, x: Any) -> Any:
    return mp.exp(a * mp.log(x) - x) / mp.gamma(a + 1) * positive_sum(lambda k: x / (a + k), x)


def gamma_masses(x: Any, a: Any) -> Masses:
    left, density = gamma_below(a, x), mp.exp((a - 1) * mp.log(x) - x) / mp.gamma(a)
    step = a * mp.mpf(10) ** -STEP
    slope = (gamma_below(a + step, x) - gamma_below(a - step, x)) / (2 * step)
    return Masses(left, 1 - left, density, slope)


def beta_masses(x: Any, a: Any, b: Any) -> Masses:
    rest = 1 - x
    # 1 / B(a, b), without the poles of its factors.
    constant = a * b / (a + b) * mp.gamma(a + b + 1) / mp.gamma(a + 1) / mp.gamma(b + 1)
    density = x ** (a - 1) * rest ** (b - 1) * constant
    shapes, point = ((a, b), x) if x <= 0.5 else ((b, a), rest)
    first, both = shapes[0], a + b
    nearer = density * x * rest / first * positive_sum(lambda k: point * (both + k - 1) / (first + k), 5)
    left, right = (nearer, 1 - nearer) if x <= 0.5 else (1 - nearer, nearer)
    return Masses(left, right, density, NONE)


def digits(row: list[float]) -> int:
    """Return how many digits of mpmath leave some of a difference from 1, for numbers of such magnitudes."""
    return int(4 * STEP + sum(abs(math.log10(value)) for value in row) + max(row))


def slope_of(kind: str, mass: Masses, by_left: Any) -> Any:
    """Return the derivative of a function of the mass on one side by what the one on the left has it by."""
    value, by = (mass.right, -by_left) if kind.endswith("sf") else (mass.left, by_left)
    return by / value if kind.startswith("log") else by


def exactly(kind: str, mass: Masses, scales: tuple[float, float]) -> tuple[Any, Any, Any]:
    """Return a function and its derivatives in the point and in the first shape, which `scales` multiply."""
    if kind in ("pdf", "logpdf"):
        density = mass.density * scales[0]
        return (density if kind == "pdf" else mp.log(density)), NONE, NONE
    value, other = (mass.right, mass.left) if kind.endswith("sf") else (mass.left, mass.right)
    if kind.startswith("log"):
        value = mp.log(value) if value < 0.5 else mp.log1p(-other)
    in_shape = NONE if mass.in_shape is NONE else slope_of(kind, mass, mass.in_shape) * scales[1]
    return value, slope_of(kind, mass, mass.density) * scales[0], in_shape


class Case(NamedTuple):
    """A function of (point, *shapes), of which distribution it is and by which arguments it has derivatives."""

    function: Callable[..., Any]
    family: str
    kind: str
    positions: tuple[int, ...]


def cases() -> dict[str, Case]:
    found = {}
    for name, positions in (("gamma", (0, 1)), ("chi2", (0, 1)), ("beta", (0,))):
        distribution = getattr(stats, name)
        for kind in ("cdf", "sf", "logcdf", "logsf", "pdf", "logpdf"):
            by = positions if "pdf" not in kind else ()
            found[f"stats.{name}.{kind}"] = Case(getattr(distribution, kind), name, kind, by)
    found["special.gammainc"] = Case(lambda x, a: special.gammainc(a, x), "gamma", "cdf", (0, 1))
    found["special.gammaincc"] = Case(lambda x, a: special.gammaincc(a, x), "gamma", "sf", (0, 1))
    found["special.betainc"] = Case(lambda x, a, b: special.betainc(a, b, x), "beta", "cdf", (0,))
    found["lax.igamma"] = Case(lambda x, a: lax.igamma(a, x), "gamma", "cdf", (0, 1))
    found["lax.igammac"] = Case(lambda x, a: lax.igammac(a, x), "gamma", "sf", (0, 1))
    found["lax.betainc"] = Case(lambda x, a, b: lax.betainc(a, b, x), "beta", "cdf", (0,))
    # What a Poisson distribution has at 0, by its parameter.
    found["stats.poisson.cdf"] = Case(lambda x, _: stats.poisson.cdf(0.0 * x, x), "poisson", "sf", (0,))
    return found


CASES = cases()


def drawn(family: str, dtype: str, count: int) -> np.ndarray:
    """Return rows of a point and shapes: a third of them next to the smallest number, some usual."""
    random = np.random.default_rng([ord(letter) for letter in family + dtype])
    least = float(np.finfo(dtype).smallest_subnormal)

    def column(most: float) -> np.ndarray:
        sizes = np.exp(random.uniform(math.log(least), math.log(most), count))
        usual = np.exp(random.uniform(math.log(1e-3), math.log(most), count))
        smallest = least * random.integers(1, 300, count)
        choice = random.integers(0, 6, count)
        return np.where(choice < 2, smallest, np.where(choice == 2, usual, sizes)).clip(least)

    if family != "beta":
        return np.stack([column(50.0), column(50.0)], -1).astype(dtype)
    x = column(1.0)
    x = np.where(random.random(count) < 0.3, 1 - x, x).clip(least, 1 - np.finfo(dtype).epsneg)
    return np.stack([x, column(30.0), column(30.0)], -1).astype(dtype)


@functools.cache
def masses(family: str, dtype: str, count: int) -> list[tuple[list[Any], Masses, int]]:
    found = []
    for row in drawn(family, dtype, count):
        numbers = [float(value) for value in row]
        places = digits(numbers)
        with mp.workdps(places):
            x, *shapes = map(mp.mpf, numbers)
            if family == "chi2":
                mass = gamma_masses(x / 2, shapes[0] / 2)
            elif family == "poisson":
                mass = gamma_masses(x, mp.mpf(1))
            else:
                mass = (beta_masses if family == "beta" else gamma_masses)(x, *shapes)
        found.append((numbers, mass, places))
    return found


def need_subnormal_numbers(xp: Any) -> None:
    """Skip where a library has none."""
    if xp.ones(1).device.backend == "jax":
        pytest.skip("XLA takes subnormal numbers for 0, and has float64 where x64 is on alone")


def check(name: str, dtype: str, count: int, xp: Any) -> None:
    need_subnormal_numbers(xp)
    case = CASES[name]
    limits = np.finfo(dtype)
    least, largest = float(limits.smallest_subnormal), float(limits.max)
    rows = masses(case.family, dtype, count)
    columns = [xp.asarray(np.ascontiguousarray(column)) for column in drawn(case.family, dtype, count).T]
    # Of the logarithms of a point and of shapes, up to 745, the density's is a sum.
    noise = 8 * least + (1e-12 if case.kind == "logpdf" else 0.0)
    scales = (0.5, 0.5) if case.family == "chi2" else (1.0, 1.0)
    found = {-1: case.function(*columns)}
    for position in case.positions:
        found[position] = gradkit.grad(lambda *args: case.function(*args).sum(), position)(*columns)
    wrong = []
    for position, values in found.items():
        relative = (RELATIVE if position < 1 else BY_DIFFERENCES)[dtype]
        for value, (numbers, mass, places) in zip(np.asarray(gradkit.device_get(values), float), rows, strict=True):
            with mp.workdps(places):
                right = exactly(case.kind, mass, scales)[position + 1]
                near = (
                    abs(mp.mpf(value) - right) <= relative * abs(right) + noise
                    if math.isfinite(value)
                    else math.isinf(value) and abs(right) > 0.99 * largest and (value > 0) == (right > 0)
                )
                if not near:
                    what = "value" if position < 0 else f"derivative in argument {position}"
                    wrong.append(f"{what} at {numbers}: {value}, not {mp.nstr(right, 12)}")
    assert not wrong, f"{len(wrong)} of {len(found) * len(rows)} wrong\n" + "\n".join(wrong[:30])


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name", CASES)
def test_functions_keep_their_digits_next_to_zero(name: str, dtype: str, xp: Any) -> None:
    check(name, dtype, 15, xp)


@pytest.mark.long
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name", CASES)
def test_functions_keep_their_digits_next_to_zero_at_many_points(name: str, dtype: str, xp: Any) -> None:
    check(name, dtype, 1000, xp)


@pytest.mark.parametrize("dtype", RELATIVE)
def test_logarithms_of_gamma_and_beta_of_the_smallest_numbers_are_finite(dtype: str, xp: Any) -> None:
    need_subnormal_numbers(xp)
    least = float(np.finfo(dtype).smallest_subnormal)
    sizes = np.asarray([least, 3 * least, 1e3 * least, float(np.finfo(dtype).tiny), 1e-20, 0.3], dtype)
    numbers = [mp.mpf(float(size)) for size in sizes]
    x = xp.asarray(sizes)
    close = functools.partial(np.testing.assert_allclose, rtol=RELATIVE[dtype])
    close(gradkit.device_get(special.gammaln(x)), [float(mp.loggamma(number)) for number in numbers])
    betas = [[float(mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)) for b in numbers] for a in numbers]
    close(gradkit.device_get(special.betaln(x[:, None], x[None, :])), betas)


def test_all_of_a_beta_distribution_is_at_the_end_whose_shape_is_0_however_small_the_other_one_is(xp: Any) -> None:
    need_subnormal_numbers(xp)
    for other in (1e-300, 1e-200, 1e-20, 2.0):
        for point in (1e-300, 0.3, 0.9):
            numbers = (xp.asarray(row, dtype=xp.float64) for row in ([0.0, other], [other, 0.0], [point, point]))
            a, b, x = map(gradkit.Array, numbers)
            assert gradkit.device_get(special.betainc(a, b, x)).tolist() == [1.0, 0.0]
            assert gradkit.device_get(betaincc(a, b, x)).tolist() == [0.0, 1.0]
