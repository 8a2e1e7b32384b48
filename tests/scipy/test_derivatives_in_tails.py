"""Derivatives of `gradkit.scipy` far out, where usual formulas cancel or overflow, against exact ones in mpmath."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradkit
from gradkit.scipy import special, stats

TOLERANCE = {"float32": 2e-5, "float64": 1e-10}
Formula = Callable[..., Any]


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def hazard(x: Any) -> Any:
    """Return the normal density over its tail on the right, sqrt(2 / pi) / erfcx(x / sqrt(2))."""
    if x < 50:
        return mp.npdf(x) / (mp.erfc(x / mp.sqrt(2)) / 2)
    fraction = mp.mpf(0)
    for k in range(60, 0, -1):
        fraction = k / (x + fraction)
    return x + fraction


def scaled(x: Any) -> Any:
    return mp.sqrt(2 / mp.pi) / hazard(x * mp.sqrt(2))


TAILS: dict[str, tuple[Formula, Formula, Formula, list[float]]] = {
    "log_ndtr": (
        special.log_ndtr,
        lambda x: hazard(-x),
        lambda x: -hazard(-x) * (x + hazard(-x)),
        [-1e18, -1e10, -1e3, -30.0, -3.0, -2.8, -0.5, 0.0, 0.5, 5.0],
    ),
    "norm.logcdf": (
        stats.norm.logcdf,
        lambda x: hazard(-x),
        lambda x: -hazard(-x) * (x + hazard(-x)),
        [-1e18, -1e3, -8.0, 1.0],
    ),
    "norm.logsf": (
        stats.norm.logsf,
        lambda x: -hazard(x),
        lambda x: -hazard(x) * (hazard(x) - x),
        [1e18, 1e3, 8.0, -1.0],
    ),
    "erfcx": (
        special.erfcx,
        lambda x: 2 * x * scaled(x) - 2 / mp.sqrt(mp.pi),
        lambda x: 2 * scaled(x) + 2 * x * (2 * x * scaled(x) - 2 / mp.sqrt(mp.pi)),
        [-3.0, -0.5, 0.3, 1.0, 2.5, 10.0, 1e3, 1e8],
    ),
    "cauchy.logpdf": (
        stats.cauchy.logpdf,
        lambda x: -2 * x / (1 + x * x),
        lambda x: 2 * (x * x - 1) / (1 + x * x) ** 2,
        [-1e25, -1e10, 0.3, 30.0, 1e10, 1e25],
    ),
    "t.logpdf": (
        lambda x: stats.t.logpdf(x, 4.0),
        lambda x: -5 * x / (4 + x * x),
        lambda x: 5 * (x * x - 4) / (4 + x * x) ** 2,
        [-1e25, -1e10, 0.3, 30.0, 1e10, 1e25],
    ),
    "truncnorm.logpdf in a": (
        lambda a: stats.truncnorm.logpdf(10.0, a, 1e6),
        hazard,
        lambda a: hazard(a) * (hazard(a) - a),
        [9.0, 5.0, 0.5],
    ),
    "truncnorm.logpdf in b": (
        lambda b: stats.truncnorm.logpdf(-10.0, -np.inf, b),
        lambda b: -hazard(-b),
        lambda b: hazard(-b) * (b + hazard(-b)),
        [-9.0, -5.0, 0.5],
    ),
    "cauchy.logcdf": (
        stats.cauchy.logcdf,
        lambda x: 1 / (1 + x * x) / mp.atan2(1, -x),
        lambda x: -2 * x / (1 + x * x) ** 2 / mp.atan2(1, -x) - (1 / (1 + x * x) / mp.atan2(1, -x)) ** 2,
        [-1e25, -1e10, -30.0, 0.3],
    ),
    "logistic.logcdf": (
        stats.logistic.logcdf,
        lambda x: 1 / (1 + mp.exp(x)),
        lambda x: -mp.exp(x) / (1 + mp.exp(x)) ** 2,
        [-1e10, -3.0, 0.3],
    ),
    "logistic.logpdf": (
        stats.logistic.logpdf,
        lambda x: -mp.tanh(x / 2),
        lambda x: -(mp.sech(x / 2) ** 2) / 2,
        [-20.0, 1e-10, 0.3, 20.0],
    ),
    "laplace.logcdf": (stats.laplace.logcdf, lambda x: mp.mpf(1), lambda x: mp.mpf(0), [-1e10, -800.0, -3.0]),
    "gumbel_r.logsf": (
        stats.gumbel_r.logsf,
        lambda x: -mp.exp(-x) / mp.expm1(mp.exp(-x)),
        lambda x: (lambda w: w / mp.expm1(w) - w * w * mp.exp(w) / mp.expm1(w) ** 2)(mp.exp(-x)),
        [-2.0, 0.3, 4.0, 30.0],
    ),
    "norm.isf": (
        stats.norm.isf,
        lambda q: -1 / mp.npdf(mp.sqrt(2) * mp.erfinv(1 - 2 * q)),
        lambda q: mp.sqrt(2) * mp.erfinv(1 - 2 * q) / mp.npdf(mp.sqrt(2) * mp.erfinv(1 - 2 * q)) ** 2,
        [0.001, 0.3, 0.9],
    ),
    "boxcox in lmbda": (
        lambda k: special.boxcox(3.0, k),
        lambda k: mp.log(3) ** 2 / 2 if k == 0 else (3**k * (k * mp.log(3) - 1) + 1) / k**2,
        lambda k: mp.log(3) ** 3 / 3 if k == 0 else mp.diff(lambda t: (mp.mpf(3) ** t - 1) / t, k, 2),
        [0.0, 1e-4, 0.2, 2.0],
    ),
}


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", TAILS)
def test_two_derivatives_keep_their_digits(name: str, dtype: str, xp: Any) -> None:
    f, first, second, points = TAILS[name]
    x = np.asarray(points, dtype)
    with mp.workdps(150):
        right = np.asarray([[float(rule(mp.mpf(float(value)))) for value in x] for rule in (first, second)])

    def slope(x: Any) -> Any:
        return gradkit.grad(lambda x: f(x).sum())(x)

    for got, expected in zip(
        (slope(xp.asarray(x)), gradkit.grad(lambda x: slope(x).sum())(xp.asarray(x))), right, strict=True
    ):
        floor = float(np.finfo(dtype).tiny)
        np.testing.assert_allclose(gradkit.device_get(got), expected, rtol=TOLERANCE[dtype], atol=floor)


def test_a_truncated_normal_with_an_open_end_has_values(xp: Any) -> None:
    close = np.testing.assert_allclose
    close(
        gradkit.device_get(stats.truncnorm.logpdf(xp.asarray(np.asarray(3.0)), 2.0, np.inf)), -1.6357541995, rtol=1e-9
    )
    slope = gradkit.grad(lambda a: stats.truncnorm.logpdf(10.0, a, 20.0))(xp.asarray(np.asarray(9.0)))
    close(gradkit.device_get(slope), 9.10852, rtol=1e-5)


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["cauchy", "gumbel_l", "gumbel_r", "laplace", "logistic", "norm"])
def test_derivatives_beyond_all_digits_are_0(name: str, dtype: str, xp: Any) -> None:
    x = xp.asarray(np.asarray([-np.inf, -1e30, -1e3, 1e3, 1e30, np.inf], dtype))
    for kind in ("pdf", "cdf", "sf"):
        f = vars(getattr(stats, name)).get(kind)
        if f is None:
            continue

        def slope(x: Any, f: Any = f) -> Any:
            return gradkit.grad(lambda x: f(x).sum())(x)

        for got in (slope(x), gradkit.grad(lambda x, slope=slope: slope(x).sum())(x)):
            np.testing.assert_allclose(gradkit.device_get(got), 0.0, atol=1e-6)


def test_gammainc_and_betainc_have_a_slope_at_0(xp: Any) -> None:
    def slope(f: Formula) -> float:
        return float(gradkit.grad(f)(xp.asarray(np.asarray(0.0))))

    assert slope(lambda x: special.gammainc(1.0, x)) == 1.0
    assert slope(lambda x: special.betainc(1.0, 2.0, x)) == pytest.approx(2.0)


@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("low", [-20.0, -1.0, -0.05, 0.0, 0.3, 3.0, 10.0])
def test_a_normal_distribution_between_close_bounds_keeps_its_digits(low: float, width: float, xp: Any) -> None:
    """A mass between two points is no difference of two probabilities, in values and derivatives."""
    a = np.float32(low)
    b = np.float32(a + width * max(1, abs(low)))
    x = np.float32((a + b) / 2)
    arrays = [xp.asarray(value.item(), dtype=xp.float32) for value in (x, a, b)]
    with mp.workdps(150):
        exact_x, exact_a, exact_b = (mp.mpf(float(value)) for value in (x, a, b))

        def mass(low: Any, high: Any) -> Any:
            return (mp.erf(high / mp.sqrt(2)) - mp.erf(low / mp.sqrt(2))) / 2

        whole, part = mass(exact_a, exact_b), mass(exact_a, exact_x)
        density = mp.npdf(exact_x)
        expected = {
            "logpdf": (mp.log(density / whole), 1, mp.npdf(exact_a) / whole),
            "logcdf": (mp.log(part / whole), 0, density / part),
            "cdf": (part / whole, 0, density / whole),
            "sf": (1 - part / whole, 0, -density / whole),
        }
        right = {name: (float(value), i, float(slope)) for name, (value, i, slope) in expected.items()}
    for name, (value, argument, slope) in right.items():
        function = getattr(stats.truncnorm, name)
        assert float(function(*arrays)) == pytest.approx(value, rel=5e-6, abs=5e-6)
        assert float(gradkit.grad(function, argument)(*arrays)) == pytest.approx(slope, rel=1e-5)
