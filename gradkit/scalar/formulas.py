"""Derivatives as text: the rule that a primitive declares, run on names instead of numbers.

A rule is text over a namespace ``xp`` already. On `Formula`s it writes itself down as an expression of Python's floats,
which the methods of `Value` have in their own bodies: so the derivative is stated once, and costs no call.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from gradkit.core import MINUS_ONE, ONE
from gradkit.core.families import Elementwise, PassesWhere
from gradkit.core.namespace import PRIMITIVES

__all__ = ["NAMES", "local_derivative", "passes_where"]

NAMES: dict[str, Any] = {name: function for name, function in vars(math).items() if callable(function)}
"""What an expression may call, beside Python's own functions."""

X, Y, Z = "x", "y", "z"
"""The names of the operands and of the result."""


class Formula:
    """An expression, as text."""

    __slots__ = ("text",)
    dtype = SimpleNamespace(kind="f", name="float64")

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __neg__(self) -> Formula:
        return Formula(f"(-{self})")

    def __pow__(self, other: Any) -> Formula:
        return Formula(f"pow({self}, {other})")

    def __eq__(self, other: object) -> Any:
        return Formula(f"({self} == {other})")

    __hash__ = None  # type: ignore[assignment]


def _infix(symbol: str) -> tuple[Callable[[Any, Any], Formula], Callable[[Any, Any], Formula]]:
    return (
        lambda self, other: Formula(f"({self} {symbol} {other})"),
        lambda self, other: Formula(f"({other} {symbol} {self})"),
    )


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    _method, _reflected = _infix(_symbol)
    setattr(Formula, f"__{_name}__", _method)
    setattr(Formula, f"__r{_name}__", _reflected)
for _name, _symbol in {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    setattr(Formula, f"__{_name}__", _infix(_symbol)[0])


class Writer:
    """What a rule's ``xp`` is: each function writes its call down."""

    @staticmethod
    def where(condition: Any, x: Any, y: Any) -> Formula:
        """Write a choice, of which one side is computed."""
        return Formula(f"({x} if {condition} else {y})")

    @staticmethod
    def ones_like(x: Any) -> Formula:
        """Write 1."""
        return Formula("1.0")

    @staticmethod
    def zeros_like(x: Any) -> Formula:
        """Write 0."""
        return Formula("0.0")

    @staticmethod
    def abs(x: Any) -> Formula:
        """Write the size of a number."""
        return Formula(f"abs({x})")

    @staticmethod
    def astype(x: Any, dtype: Any) -> Formula:
        """Write the conversion of a truth value."""
        return Formula(f"float({x})")

    def __getattr__(self, name: str) -> Callable[..., Formula]:
        if name in NAMES:
            return lambda *args: Formula(f"{name}({', '.join(map(str, args))})")
        primitive = PRIMITIVES.named(name)
        if primitive is None or primitive.forward is None:
            raise AttributeError(f"the rule calls {name}, which Python's math does not have")
        # A primitive that is text itself is written out.
        return functools.partial(primitive.forward, self)


def local_derivative(primitive: Elementwise, position: int) -> str:
    """Return the local derivative of a primitive as an expression in the operands ``x`` and ``y`` and the result ``z``.

    Examples
    --------
    >>> from gradkit.core.namespace import PRIMITIVES
    >>> local_derivative(PRIMITIVES["sqrt"], 0), local_derivative(PRIMITIVES["divide"], 1)
    ('(0.5 / z)', '((-z) / y)')
    """
    rule = primitive.rules[position]
    if rule is ONE or rule is MINUS_ONE:
        return repr(float(rule.value))
    operands = [Formula(name) for name in (X, Y)[: len(primitive.rules)]]
    condition = rule.condition if isinstance(rule, PassesWhere) else rule
    return str(condition(Writer(), Formula(Z), *operands))


def passes_where(primitive: Elementwise) -> bool:
    """Return whether the derivative of a primitive of one operand is 1 or 0, which selects and does not multiply."""
    return isinstance(primitive.rules[0], PassesWhere)
