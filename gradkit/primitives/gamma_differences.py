"""Differences of polygamma functions at two points, and what has them as derivatives: they do not cancel.

The derivative of log B(a, b) in a is psi(a) - psi(a + b), of which nothing is left where b is small beside a. Here it
is summed up as differences, by the recurrence and the asymptotic series of the polygamma functions (DLMF 5.15.5 and
5.15.8).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from gradkit.core import Array, Elementwise
from gradkit.core.calls import binary
from gradkit.core.namespace import publish

__all__ = ["digamma_difference", "log_choices", "tetragamma_difference", "trigamma_difference"]

SHIFT = 10
"""By how much the recurrence moves a point, so that the asymptotic series holds there."""
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
"""Bernoulli's numbers of even index, from the second on."""
LARGEST_ORDER = 2


def _difference(xp: Any, x: Any, d: Any, order: int) -> Any:
    """Return psi(x + d) - psi(x), or that of the derivative of the digamma function psi of that order."""
    positive = (x > 0) & (x + d > 0)
    one = xp.ones_like(x + d)
    at, step = xp.where(positive, x, one), xp.where(positive, d, one)
    total, sign = xp.zeros_like(one), (-1) ** (order + 1)
    for k in range(SHIFT):
        total = total + sign * math.factorial(order) * _of_powers(xp, at + k, step, order + 1)
    far = at + SHIFT
    series = xp.log1p(step / far) if order == 0 else sign * math.factorial(order - 1) * _of_powers(xp, far, step, order)
    series = series + sign * math.factorial(order) / 2 * _of_powers(xp, far, step, order + 1)
    for k, number in enumerate(BERNOULLI, start=1):
        factor = sign * number * math.factorial(2 * k + order - 1) / math.factorial(2 * k)
        series = series + factor * _of_powers(xp, far, step, 2 * k + order)
    return xp.where(positive, total + series, _polygamma(xp, order, x + d) - _polygamma(xp, order, x * one))


def _of_powers(xp: Any, x: Any, d: Any, n: int) -> Any:
    """Return (x + d)**-n - x**-n."""
    relative = xp.expm1(-n * xp.log1p(d / x))
    # Where the power overflows a difference of 0 is 0.
    return xp.where(relative == 0, xp.zeros_like(relative), (1 / x) ** n) * relative


def _polygamma(xp: Any, order: int, x: Any) -> Any:
    return xp.polygamma(xp.zeros_like(x) + order, x) if order else xp.digamma(x)


def _in_point(xp: Any, _y: Any, x: Any, d: Any, *, order: int) -> Any:
    if order < LARGEST_ORDER:
        return getattr(xp, NAMES[order + 1])(x, d)
    return _polygamma(xp, order + 1, x + d) - _polygamma(xp, order + 1, x)


def _in_distance(xp: Any, _y: Any, x: Any, d: Any, *, order: int) -> Any:
    return _polygamma(xp, order + 1, x + d)


NAMES = ("digamma_difference", "trigamma_difference", "tetragamma_difference")


def _declare(name: str, forward: Any, rules: tuple[Any, Any], formula: str) -> Callable[[Any, Any], Array]:
    doc = f"Compute {formula} element by element, in full precision where both points are positive."
    return binary(Elementwise(name, forward, rules), True, doc)


def _declared_difference(order: int) -> Callable[[Any, Any], Array]:
    return _declare(
        NAMES[order],
        functools.partial(_difference, order=order),
        (functools.partial(_in_point, order=order), functools.partial(_in_distance, order=order)),
        f"psi(x + d) - psi(x) for the derivative of order {order} of the digamma function psi",
    )


digamma_difference, trigamma_difference, tetragamma_difference = map(_declared_difference, range(LARGEST_ORDER + 1))


def _log_choices(xp: Any, k: Any, n: Any) -> Any:
    value = -xp.betaln(k + 1, n) - xp.log(k + n)
    return xp.where((k == 0) & (n == n), xp.zeros_like(value), value)


log_choices = _declare(
    "log_choices",
    _log_choices,
    (
        lambda xp, _y, k, n: xp.digamma_difference(k + 1, n - 1),
        lambda xp, _y, k, n: xp.digamma_difference(n, k),
    ),
    "log(gamma(n + k) / (gamma(n) k!)), of the ways to choose k times among n",
)


publish(globals(), __all__)
