"""From a captured graph to `Operations`: the same program, as a backend's library compiles it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.backend import Backend
from gradkit.backend.operations import Apply, Branches, Form, Operations, Repeat, Step, Value, Walk
from gradkit.compiler import control
from gradkit.compiler.control import control_of
from gradkit.core.array import Array, raw, wrap
from gradkit.core.graph import Equation, Graph, HigherOrder, Variable

__all__ = ["operations_of", "run_higher_order"]


def operations_of(graph: Graph, backend: Backend) -> Operations:
    """Return the operations of a graph, whose arrays are all of one backend.

    Parameters
    ----------
    graph : Graph
        The program; what it has as constants are arrays of the result.
    backend : Backend
        Whose kernels are applied.
    """
    known: dict[Variable, Any] = {variable: raw(array) for variable, array in graph.constants}
    arguments = [known.setdefault(variable, _value(variable)) for variable in graph.inputs]
    steps: list[Step] = []
    for equation in graph.equations:
        operands = tuple(_operand(known, x) for x in equation.inputs)
        results = tuple(map(_value, equation.outputs))
        known.update(zip(equation.outputs, results, strict=True))
        steps.append(_step(equation, operands, results, backend))
    return Operations(arguments, steps, [_operand(known, x) for x in graph.outputs])


def _value(variable: Variable) -> Value:
    return Value(Form(tuple(variable.shape), variable.dtype.name, variable.form.device.raw))


def _operand(known: Mapping[Variable, Any], operand: Any) -> Any:
    if type(operand) is Variable:
        return known[operand]
    return raw(operand) if type(operand) is Array else operand


def _step(equation: Equation, operands: tuple[Any, ...], results: tuple[Value, ...], backend: Backend) -> Step:
    primitive, params = equation.primitive, equation.params
    found = control_of(equation)
    if isinstance(found, control.Scan):
        first, last = len(found.constants), len(found.constants) + len(found.carry)
        parts = operands[:first], operands[first:last], operands[last:]
        return Walk(operations_of(found.body, backend), *parts, results, params["length"], params["reverse"])
    if isinstance(found, control.While):
        first, last = len(found.test_constants), len(found.test_constants) + len(found.constants)
        graphs = operations_of(found.test, backend), operations_of(found.body, backend)
        return Repeat(*graphs, operands[:first], operands[first:last], operands[last:], results)
    if isinstance(found, control.Choice):
        branches = tuple(operations_of(branch, backend) for branch in found.branches)
        return Branches(operands[0], branches, operands[1:], results)
    if isinstance(primitive, HigherOrder):
        function: Callable[..., Any] = functools.partial(run_higher_order, equation)
    else:
        function = functools.partial(primitive.kernel_of(backend), **params)
    is_higher = isinstance(primitive, HigherOrder)
    several = primitive.multiple_results or is_higher
    on_host = primitive.calls_host or (not is_higher and primitive.has_effect(params))
    return Apply(primitive.name, function, operands, results, several, on_host)


def run_higher_order(equation: Equation, *args: Any) -> Sequence[Any]:
    """Run an operation that no plan has (an equation that is solved, say) by its own rule, on raw arrays."""
    primitive: Any = equation.primitive
    found = primitive.run([wrap(arg) for arg in args], **equation.params)
    return tuple(raw(x) for x in found)
