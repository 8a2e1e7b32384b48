"""The first two derivatives of functions of `gradkit.scipy.special` at special values and far out, against mpmath."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from abilities import told_apart
from references import kept

import gradkit
from gradkit.scipy import special

mp = mpmath.mp.clone()
mp.dps = 60
ROOT_PI = mp.sqrt(mp.pi)
Formula = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def expit(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def normal(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def dawsn(x: Any) -> Any:
    return ROOT_PI / 2 * mp.exp(-x * x) * mp.erfi(x)


def i0e_second(x: Any) -> Any:
    curvature = (mp.besseli(0, x) + mp.besseli(2, x)) / 2 - 2 * mp.sign(x) * mp.besseli(1, x)
    return mp.exp(-abs(x)) * (curvature + mp.besseli(0, x))


LINE = (-math.inf, math.inf)
POSITIVE = (0.0, math.inf)
EXACT: dict[str, tuple[Formula, Formula, tuple[float, float]]] = {
    "erf": (lambda x: 2 / ROOT_PI * mp.exp(-x * x), lambda x: -4 * x / ROOT_PI * mp.exp(-x * x), LINE),
    "erfc": (lambda x: -2 / ROOT_PI * mp.exp(-x * x), lambda x: 4 * x / ROOT_PI * mp.exp(-x * x), LINE),
    "ndtr": (normal, lambda x: -x * normal(x), LINE),
    "expit": (lambda x: expit(x) * expit(-x), lambda x: -expit(x) * expit(-x) * mp.tanh(x / 2), LINE),
    "logit": (lambda x: 1 / (x * (1 - x)), lambda x: (2 * x - 1) / (x * (1 - x)) ** 2, (0.0, 0.9)),
    "gammaln": (mp.digamma, lambda x: mp.polygamma(1, x), POSITIVE),
    "loggamma": (mp.digamma, lambda x: mp.polygamma(1, x), POSITIVE),
    "digamma": (lambda x: mp.polygamma(1, x), lambda x: mp.polygamma(2, x), POSITIVE),
    "gamma": (
        lambda x: mp.gamma(x) * mp.digamma(x),
        lambda x: mp.gamma(x) * (mp.digamma(x) ** 2 + mp.polygamma(1, x)),
        (0.0, 1e4),
    ),
    "exp1": (lambda x: -mp.exp(-x) / x, lambda x: mp.exp(-x) * (1 + 1 / x) / x, POSITIVE),
    "expi": (lambda x: mp.exp(x) / x, lambda x: mp.exp(x) * (1 - 1 / x) / x, POSITIVE),
    "dawsn": (
        lambda x: 1 - 2 * x * dawsn(x),
        lambda x: -2 * dawsn(x) - 2 * x * (1 - 2 * x * dawsn(x)),
        (-200.0, 200.0),
    ),
    "i0": (lambda x: mp.besseli(1, x), lambda x: (mp.besseli(0, x) + mp.besseli(2, x)) / 2, (-1e4, 1e4)),
    "i1": (
        lambda x: (mp.besseli(0, x) + mp.besseli(2, x)) / 2,
        lambda x: (3 * mp.besseli(1, x) + mp.besseli(3, x)) / 4,
        (-1e4, 1e4),
    ),
    "i0e": (
        lambda x: mp.exp(-abs(x)) * (mp.besseli(1, x) - mp.sign(x) * mp.besseli(0, x)),
        i0e_second,
        (1e-30, 1e4),
    ),
    "spence": (lambda x: mp.log(x) / (1 - x), lambda x: ((1 - x) / x + mp.log(x)) / (1 - x) ** 2, (1e-37, 1e25)),
}
RELATIVE = {"float32": 3e-4, "float64": 1e-8}
SIZES = [
    0.0,
    1e-45,
    1e-38,
    1e-30,
    1e-10,
    0.05,
    0.3,
    0.5,
    1.5,
    2.0,
    2.5,
    5.5,
    9.0,
    20.0,
    40.0,
    80.0,
    200.0,
    1e3,
    1e4,
    1e25,
]


def points(name: str, dtype: str) -> np.ndarray:
    low, high = EXACT[name][2]
    limits = np.finfo(dtype)
    sizes = np.asarray([*SIZES, float(limits.smallest_subnormal), float(limits.tiny), float(limits.max)]).astype(dtype)
    x = np.unique(np.concatenate([-sizes, sizes])) + sizes.dtype.type(0)
    return x[(x >= low) & (x <= high)]


def right(formula: Formula, x: np.ndarray) -> np.ndarray:
    return np.asarray([value(formula, float(point)) for point in x])


def value(formula: Formula, x: float) -> float:
    """Return the exact value; at 0 the limit from the right."""
    far = (abs(x) > 200 or abs(x) < 1e-5) and abs(x) != 0
    with mp.workdps(700 if far and abs(x) > 1e4 else 120):
        return float(formula(mp.mpf(x) if x else mp.mpf(10) ** -5000))


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("name", EXACT)
def test_two_derivatives_are_those_of_mpmath(name: str, dtype: str, xp: Any) -> None:
    x = points(name, dtype)

    def slope(x: Any) -> Any:
        return gradkit.grad(lambda x: getattr(special, name)(x).sum())(x)

    second = gradkit.grad(lambda x: slope(x).sum())(xp.asarray(x))
    limits = np.finfo(dtype)
    wrong = []
    for order, got in enumerate((slope(xp.asarray(x)), second)):
        exact = kept(right, EXACT[name][order], x).astype(dtype).astype(float).tolist()
        values = zip(x, np.asarray(gradkit.device_get(got), float), exact, told_apart(x), strict=True)
        for point, found, expected, is_known in values:
            same = (
                not is_known
                or found == expected
                or abs(found - expected) <= RELATIVE[dtype] * abs(expected) + 8 * limits.tiny
            )
            same |= abs(expected) > 0.99 * limits.max and found == math.copysign(math.inf, expected)
            if not same:
                wrong.append(f"derivative {order + 1} of {name} at {point} is {found}, not {expected}")
    assert not wrong, "\n".join(wrong)
