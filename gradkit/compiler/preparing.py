"""What is done to a graph before it is planned, so that a plan has fewer cases."""

from __future__ import annotations

from typing import Any

from gradkit.core.array import Array
from gradkit.core.families import Elementwise
from gradkit.core.graph import Equation, Graph, Params, Variable, abstract_like
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.values import host

__all__ = ["item_of", "plannable"]


def plannable(graph: Graph) -> Graph:
    """Return a graph that does the same, each of whose results is another one of its operations'.

    Means become sums, and arrays of one element that the program has are numbers.
    """
    equations = []
    for equation in graph.equations:
        inputs = tuple(_as_number(x, equation) for x in equation.inputs)
        equations.extend(_without_mean(Equation(equation.primitive, inputs, equation.params, equation.outputs)))
    made = {out for equation in equations for out in equation.outputs}
    outputs: list[Any] = []
    for output in graph.outputs:
        if type(output) is not Variable or output not in made:
            # An argument, a result that is there already, or (of a branch, a step) a literal.
            given = output if type(output) is Variable else item_of(output)
            form = output.form if type(output) is Variable else abstract_like(output)
            trace: Any = graph.inputs[0].trace if graph.inputs else None
            output = Variable(trace, form)
            equations.append(Equation(PRIMITIVES["stop_gradient"], (given,), Params(), (output,)))
        made.discard(output)
        outputs.append(output)
    return Graph(graph.inputs, [], equations, outputs)


def item_of(value: Any) -> Any:
    """Return the number of a literal."""
    return host(value).item() if type(value) is Array else value


def _as_number(x: Any, equation: Equation) -> Any:
    """Return a literal of one element as a number, where that changes no dtype."""
    if type(x) is Array and x.shape == () and isinstance(equation.primitive, Elementwise) and _promotes(x, equation):
        return item_of(x)
    return x


def _promotes(x: Array, equation: Equation) -> bool:
    """Return whether a number in place of an array has the array's dtype."""
    arrays = [y for y in equation.inputs if type(y) is Variable and y.dtype.kind != "b"]
    return bool(arrays) and all(y.dtype == x.dtype for y in arrays)


def _without_mean(equation: Equation) -> list[Equation]:
    """Return an operation, or for a mean a sum and a division, which nests know."""
    if equation.primitive.name != "mean" or not getattr(equation.primitive, "mean", False):
        return [equation]
    x, out = equation.inputs[0], equation.outputs[0]
    size = 1
    for axis in equation.params["axis"]:
        size *= x.shape[axis]
    if not size or out.dtype.kind != "f":
        return [equation]
    total = Variable(out.trace, out.form)
    return [
        Equation(PRIMITIVES["sum"], (x,), equation.params, (total,)),
        Equation(PRIMITIVES["divide"], (total, float(size)), Params(), (out,)),
    ]
