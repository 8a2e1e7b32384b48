"""The methods of `Value`, written from the table of operations: each has its derivative in its own body.

For ``multiply`` this is, in short::

    def multiply(self, other):
        if type(other) is Value:
            try:
                x, y = self._data, other._data
                z = x * y
                first, second = y, x
            except SPECIAL:
                return general(operation, self, other)
            out = new(Value)
            ...

where ``y`` and ``x`` are what the rules of the primitive ``multiply`` say. `general` is asked where one of the two
holds an Array (it has no ``_data``), and where Python refuses to compute what IEEE arithmetic has a value for.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from numbers import Real
from textwrap import indent
from typing import Any

from gradkit.config import config
from gradkit.core.families import Elementwise
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.node import open_no_grad, recording
from gradkit.scalar.formulas import NAMES, local_derivative, passes_where
from gradkit.scalar.operations import BINARY, UNARY, Operation, not_a_number

__all__ = ["install"]

SPECIAL = (ArithmeticError, ValueError, AttributeError)
OPERATORS = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv", "pow": "pow"}
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}

COMPUTE = """\
try:
    {reads}
    z = {forward}
    {slopes}
except SPECIAL:
    return general({operation}, {operands})
{check}out = new(Value)
out._data = z
out._grad = 0.0
out._pending = 0
if open_no_grad and not recording():
    out._first = out._second = out._operation = None
    return out
out._operation = {operation}
{parents}
return out
"""
CHECK = "if z != z and config.jax_debug_nans:\n    raise not_a_number({operation}.name)\n"
ONE_VALUE = "out._first = self\nout._first_slope = slope\nout._second = None"
TWO_VALUES = "out._first = self\nout._first_slope = first_slope\nout._second = other\nout._second_slope = second_slope"
SELECTED = """\
if slope:
    out._first = self
    out._first_slope = 1.0
    out._second = None
else:
    out._first = None
    out._second = self
"""
BINARY_METHODS = """\
def method(self, other):
    kind = type(other)
    if kind is Value:
{with_value}
    if kind is float or kind is int:
{with_number}
    return mixed(with_value, {method!r}, self, other)


def reflected(self, other):
    if type(other) is float or type(other) is int:
{with_number_first}
    return mixed(with_value, {reflected!r}, other, self)
"""


def install(value: Any, check_for_nans: bool, **names: Any) -> None:
    """Attach the operators, functions and comparisons to `Value`; they look at their results where that is wished."""
    names = {**NAMES, **names, "Value": value, "new": object.__new__, "SPECIAL": SPECIAL}
    names |= {"open_no_grad": open_no_grad, "recording": recording, "not_a_number": not_a_number, "config": config}
    check = CHECK if check_for_nans else ""
    for name, forward in UNARY.items():
        setattr(value, name, _unary(name, forward, check, names))
    for name, forward in BINARY.items():
        operator = OPERATORS[name]
        method, reflected = _binary(name, forward, check, f"__{operator}__", f"__r{operator}__", names)
        setattr(value, f"__{operator}__", method)
        setattr(value, f"__r{operator}__", reflected)
    for name, symbol in COMPARISONS.items():
        setattr(value, f"__{name}__", _comparison(name, symbol, value))
    for operator, name in {"neg": "negative", "abs": "abs"}.items():
        setattr(value, f"__{operator}__", getattr(value, name))
    del value.negative
    value.__pow__ = _with_square(value.__pow__, value.square)
    del value.square


def _unary(name: str, forward: str, check: str, names: dict[str, Any]) -> Callable[..., Any]:
    primitive = _elementwise(name)
    body = COMPUTE.format(
        reads="x = self._data",
        forward=forward,
        slopes=f"slope = {local_derivative(primitive, 0)}",
        operation="operation",
        check=check.format(operation="operation"),
        operands="self",
        parents=SELECTED if passes_where(primitive) else ONE_VALUE,
    )
    text = f'def method(self):\n    """Compute `{name}` of this value."""\n{indent(body, "    ")}'
    return _rename(_compile(name, text, {**names, "operation": Operation(name)})["method"], name)


def _binary(name: str, forward: str, check: str, method: str, reflected: str, names: dict[str, Any]) -> tuple[Any, Any]:
    primitive = _elementwise(name)
    first, second = local_derivative(primitive, 0), local_derivative(primitive, 1)
    with_value = COMPUTE.format(
        reads="x = self._data\n    y = other._data",
        forward=forward,
        slopes=f"first_slope = {first}\n    second_slope = {second}",
        operation="with_value",
        check=check.format(operation="with_value"),
        operands="self, other",
        parents=TWO_VALUES,
    )
    parents = ONE_VALUE + "\nout._second_slope = other"
    with_number = COMPUTE.format(
        reads="x = self._data\n    y = other",
        forward=forward,
        slopes=f"slope = {first}",
        operation="with_number",
        check=check.format(operation="with_number"),
        operands="self, other",
        parents=parents,
    )
    with_number_first = COMPUTE.format(
        reads="x = other\n    y = self._data",
        forward=forward,
        slopes=f"slope = {second}",
        operation="with_number_first",
        check=check.format(operation="with_number_first"),
        operands="other, self",
        parents=parents,
    )
    text = BINARY_METHODS.format(
        method=method,
        reflected=reflected,
        with_value=indent(with_value, " " * 8),
        with_number=indent(with_number, " " * 8),
        with_number_first=indent(with_number_first, " " * 8),
    )
    operations = {
        "with_value": Operation(name),
        "with_number": Operation(name, 1),
        "with_number_first": Operation(name, 0),
    }
    found = _compile(name, text, {**names, **operations})
    return _rename(found["method"], method), _rename(found["reflected"], reflected)


def _rename(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = name
    function.__qualname__ = f"Value.{name}"
    return function


def _elementwise(name: str) -> Elementwise:
    primitive = PRIMITIVES[name]
    assert isinstance(primitive, Elementwise)
    return primitive


def _compile(name: str, text: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run a text that defines functions; tracebacks and debuggers find its lines."""
    file = f"<gradkit.scalar {name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), names)
    return names


def _comparison(name: str, symbol: str, value: type) -> Callable[[Any, Any], Any]:
    text = f"""\
def __{name}__(self, other):
    if isinstance(other, Value):
        return self._seen {symbol} other._seen
    return self._seen {symbol} other if isinstance(other, Real) else NotImplemented
"""
    found: Callable[[Any, Any], Any] = _compile(name, text, {"Value": value, "Real": Real})[f"__{name}__"]
    return found


def _with_square(power: Callable[[Any, Any], Any], square: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the power, where x ** 2 is a product: losses are made of it, and a product is exact."""

    def __pow__(self: Any, other: Any) -> Any:
        return square(self) if type(other) is int and other == 2 else power(self, other)

    return __pow__
