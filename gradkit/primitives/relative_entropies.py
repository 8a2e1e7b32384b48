"""Relative entropies of two positive numbers, with derivatives that are logarithms and quotients, as in a book.

By the product rule the second derivative of p log(p / q) would be 1 / p + 1 / p - p / p**2, whose square overflows.
"""

from __future__ import annotations

from typing import Any

from gradkit.core import Elementwise
from gradkit.core.calls import binary
from gradkit.core.namespace import publish

__all__ = ["divergence", "log_quotient", "relative_entropy"]


def _log_quotient(xp: Any, p: Any, q: Any) -> Any:
    """Return log(p / q) for positive p and q: near 1 from their difference, which has all its digits."""
    near = xp.abs(p - q) < q / 2
    one = xp.ones_like(p + q)
    inner_p, inner_q = xp.where(near, p, one), xp.where(near, q, one)
    return xp.where(near, xp.log1p((inner_p - inner_q) / inner_q), xp.log(p) - xp.log(q))


def _declare(name: str, forward: Any, rules: tuple[Any, Any], formula: str) -> Any:
    return binary(
        Elementwise(name, forward, rules), True, f"Compute {formula} of positive numbers, element by element."
    )


log_quotient = _declare(
    "log_quotient", _log_quotient, (lambda xp, _y, p, q: 1 / p, lambda xp, _y, p, q: -1 / q), "log(p / q)"
)
relative_entropy = _declare(
    "relative_entropy",
    lambda xp, p, q: p * xp.log_quotient(p, q),
    (lambda xp, _y, p, q: xp.log_quotient(p, q) + 1, lambda xp, _y, p, q: -p / q),
    "p log(p / q)",
)
divergence = _declare(
    "divergence",
    lambda xp, p, q: p * xp.log_quotient(p, q) - p + q,
    (lambda xp, _y, p, q: xp.log_quotient(p, q), lambda xp, _y, p, q: -xp.expm1(xp.log_quotient(p, q))),
    "p log(p / q) - p + q",
)


publish(globals(), __all__)
