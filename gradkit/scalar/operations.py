"""The operations of `Value`: a table of primitives, and the general path, which is their definition.

The general path runs a primitive as it is declared: on Arrays where a transform is in progress, and on the backend of
Python's numbers where plain arithmetic has no value (a division by zero, an exponential that overflows).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from gradkit import primitives
from gradkit.backend import Backend, load_backend
from gradkit.core import MINUS_ONE, ONE
from gradkit.core.families import Elementwise, PassesWhere
from gradkit.core.namespace import PRIMITIVES, kernel_namespace

__all__ = ["BINARY", "UNARY", "Operation", "backend", "evaluate", "function_of", "not_a_number"]


class Operation(NamedTuple):
    """How a value was computed.

    Attributes
    ----------
    name : str
        The primitive's name.
    number : int or None
        Which operand is a plain number; None where all are values.
    """

    name: str
    number: int | None = None


BINARY = {
    "add": "x + y",
    "subtract": "x - y",
    "multiply": "x * y",
    "divide": "x / y",
    "pow": "pow(x, y)",
}
"""Primitives of two operands, and what Python computes for floats."""
UNARY = {
    "negative": "-x",
    "abs": "abs(x)",
    "square": "x * x",
    "relu": "x if x > 0.0 or x != x else 0.0",
    "sigmoid": "1.0 / (1.0 + exp(-x))",
    **{name: f"{name}(x)" for name in "exp log tanh sin cos tan sinh cosh sqrt".split()},
}
"""Primitives of one operand, and what Python computes for a float."""


@cache
def backend() -> Backend:
    """Return the backend that a Value's number is an array of."""
    return load_backend("python")


def not_a_number(where: str) -> FloatingPointError:
    """Return the error of ``jax_debug_nans``, in JAX's words."""
    return FloatingPointError(f"invalid value (nan) encountered in {where}")


def function_of(name: str) -> Callable[..., Any]:
    """Return the function that calls a primitive on Arrays."""
    function: Callable[..., Any] = getattr(primitives, name)
    return function


def evaluate(name: str, *numbers: float) -> tuple[float, list[float]]:
    """Run a primitive on Python's numbers by its kernel and its rules.

    Returns
    -------
    tuple
        The result, and the local derivative with respect to each operand.

    Examples
    --------
    >>> evaluate("divide", 1.0, 0.0)
    (inf, [inf, -inf])
    """
    primitive = PRIMITIVES[name]
    assert isinstance(primitive, Elementwise)
    owner = backend()
    operands = [owner.xp.asarray(number, owner.xp.float64) for number in numbers]
    result = primitive.kernel_of(owner)(*operands)
    xp = kernel_namespace(owner)
    return float(result), [_slope(rule, xp, result, operands) for rule in primitive.rules]


def _slope(rule: Any, xp: Any, result: Any, operands: list[Any]) -> float:
    if rule is ONE or rule is MINUS_ONE:
        return float(rule.value)
    return float((rule.condition if isinstance(rule, PassesWhere) else rule)(xp, result, *operands))
