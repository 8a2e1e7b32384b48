"""Products with logarithms that are 0 where a factor is, the logit, and (exp(x) - 1) / x."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradkit.core.namespace import publish
from gradkit.primitives.scipy_special.declaring import declare, polynomial

__all__ = ["exprel", "logit", "xlog1py", "xlogx", "xlogy"]


def _times_log(log: str, one: int) -> Callable[..., Any]:
    """Return the text of ``x * log(y)`` that is 0 where x is, unless y is NaN."""

    def forward(xp: Any, x: Any, y: Any) -> Any:
        return x * getattr(xp, log)(xp.where((x == 0) & (y == y), xp.zeros_like(y) + one, y))

    return forward


xlogy = declare("xlogy", lambda xp, _z, _x, y: xp.log(y), lambda xp, _z, x, y: x / y, forward=_times_log("log", 1))
xlog1py = declare(
    "xlog1py", lambda xp, _z, _x, y: xp.log1p(y), lambda xp, _z, x, y: x / (1 + y), forward=_times_log("log1p", 0)
)
xlogx = declare(
    "xlogx", lambda xp, _y, x: xp.log(x) + 1, forward=lambda xp, x: x * xp.log(xp.where(x == 0, xp.ones_like(x), x))
)
logit = declare("logit", lambda xp, _y, x: 1 / x + 1 / (1 - x), forward=lambda xp, x: xp.log(x / (1 - x)))

EXPREL_SERIES = [(k + 1) / math.factorial(k + 2) for k in range(16, -1, -1)]


def _slope_of_exprel(xp: Any, y: Any, x: Any) -> Any:
    near = xp.abs(x) < 1
    series = polynomial(xp.where(near, x, xp.zeros_like(x)), EXPREL_SERIES)
    inverse = 1 / xp.where(near, xp.ones_like(x), x)
    return xp.where(near, series, y * (1 - inverse) + inverse)


exprel = declare("exprel", _slope_of_exprel)

publish(globals(), __all__)
