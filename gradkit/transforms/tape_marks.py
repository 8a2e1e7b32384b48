"""Where the lecture's tape ends in a captured graph: at the arguments that a transform inside took as plain values.

`grad(loss)(model)` does not record a module's parameters on the tape a second time. When it is captured there are no
parameters yet, so what it does with an argument of the captured function is noted (`WITHOUT_TAPE`). The graph that runs
has no such notes; the one that the tape differentiates has a `stop_gradient` for each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from gradkit.core.graph import Equation, Graph, Params, Variable
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.primitive import Primitive
from gradkit.primitives.naming import WITHOUT_TAPE

__all__ = ["as_the_tape_sees", "without_marks"]

MARKED = "marked"


def without_marks(graph: Graph) -> Graph:
    """Return a graph without marks; what the tape is to see of it stays known."""
    if not _has_marks(graph):
        return graph
    result = _without(graph)
    result.derived[MARKED] = graph
    return result


def as_the_tape_sees(graph: Graph) -> Graph:
    """Return a graph in which the derivative ends where the tape's does."""
    found: Graph | None = graph.derived.get("tape")
    if found is None:
        marked = graph.derived.get(MARKED, graph)
        found = graph.derived["tape"] = _stopped(marked) if _has_marks(marked, deep=True) else graph
    return found


def _has_marks(graph: Graph, deep: bool = False) -> bool:
    return any(
        equation.primitive is WITHOUT_TAPE
        or any((deep and MARKED in inner.derived) or _has_marks(inner, deep) for inner in equation.graphs)
        for equation in graph.equations
    )


def _without(graph: Graph) -> Graph:
    instead: dict[Variable, Any] = {}

    def now(operand: Any) -> Any:
        return instead.get(operand, operand) if type(operand) is Variable else operand

    equations = []
    for equation in graph.equations:
        inputs = tuple(map(now, equation.inputs))
        if equation.primitive is WITHOUT_TAPE:
            instead[equation.outputs[0]] = inputs[0]
        else:
            equations.append(dataclasses.replace(_inside(equation, _without), inputs=inputs))
    return Graph(graph.inputs, graph.constants, equations, list(map(now, graph.outputs)))


def _stopped(graph: Graph) -> Graph:
    graph = graph.derived.get(MARKED, graph)
    stop: Primitive = PRIMITIVES["stop_gradient"]
    equations = [
        dataclasses.replace(equation, primitive=stop)
        if equation.primitive is WITHOUT_TAPE
        else _inside(equation, _stopped)
        for equation in graph.equations
    ]
    return Graph(graph.inputs, graph.constants, equations, graph.outputs)


def _inside(equation: Equation, change: Callable[[Graph], Graph]) -> Equation:
    """Return an operation with its functions' graphs changed."""
    if not equation.graphs:
        return equation
    params = Params((name, _changed(value, change)) for name, value in equation.params.items())
    return dataclasses.replace(equation, params=params)


def _changed(value: Any, change: Callable[[Graph], Graph]) -> Any:
    if type(value) is tuple:
        return tuple(_changed(part, change) for part in value)
    return change(value) if isinstance(value, Graph) else value
