"""From a captured graph to the plan that a printer is given, and how the program's results come of the plan's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradkit.backend import Backend
from gradkit.backend.plan import Buffer, Plan
from gradkit.backend.printers import Printer
from gradkit.compiler.access import SCATTERS
from gradkit.compiler.expansion import expanded
from gradkit.compiler.lowering import lowered
from gradkit.compiler.outputs import Outputs, outputs_of
from gradkit.compiler.passes import variables_in
from gradkit.compiler.planning import planned
from gradkit.compiler.preparing import plannable
from gradkit.compiler.simplify import simplified
from gradkit.compiler.taking import is_taken
from gradkit.core.array import Array, device_of_array
from gradkit.core.graph import Equation, Graph, Variable
from gradkit.core.values import host

__all__ = ["Made", "made_of"]


class Made(NamedTuple):
    """What is made of a graph.

    Attributes
    ----------
    graph : Graph
        The simplified graph.
    plan : Plan
        Its plan, whose first arguments are the constants.
    constants : list of Array
        What passes have computed.
    outputs : tuple or None
        Where the program's results are, by `outputs.outputs_of`.
    donated : tuple of int
        The inputs whose memory results have.
    """

    graph: Graph
    plan: Plan
    constants: list[Array]
    outputs: Outputs | None
    donated: tuple[int, ...]


def made_of(graph: Graph, backend: Backend, printer: Printer, donated: Sequence[int]) -> Made:
    """Simplify and plan a graph."""
    graph = expanded(graph, lambda equation: _stays(printer, equation), lambda leaf: lowered(printer, leaf))
    graph = simplified(graph)
    made = {out for equation in graph.equations for out in equation.outputs}
    results = list(dict.fromkeys(out for out in graph.outputs if type(out) is Variable and out in made))
    # What passes have computed goes in front of the arguments.
    constants = [array for _, array in graph.constants]
    program = Graph(graph.closed().inputs, [], graph.equations, list(results))
    ranges = {variable: found for variable, array in graph.constants if (found := _range(array)) is not None}
    # An argument that is a result as it is keeps its memory.
    handed_on = set(variables_in(graph.outputs))
    free = [i + len(constants) for i in donated if graph.inputs[i] not in handed_on]
    plan = planned(plannable(program), printer, backend, free, ranges)
    taken = [plan.memory.get(buffer) for buffer in plan.results]
    given = tuple(plan.arguments.index(x) - len(constants) for x in taken if isinstance(x, Buffer))
    return Made(graph, plan, constants, outputs_of(graph, results), given)


def _stays(printer: Printer, equation: Equation) -> bool:
    """Return whether an operation is what a printer writes down or calls: updates by index are never their texts."""
    name = equation.primitive.name
    return is_taken(printer, equation) or printer.calls(name) or name in SCATTERS


def _range(array: Array) -> tuple[int, int] | None:
    """Return start and step of a vector of whole numbers whose neighbours are all as far apart."""
    device = device_of_array(array)
    if len(array.shape) != 1 or array.shape[0] < 2 or array.dtype.kind not in "iu" or device.platform != "cpu":
        return None
    values = host(array)
    start, step, last = int(values[0]), int(values[1]) - int(values[0]), int(values[-1])
    # Differences wrap around as the numbers would, but then the last one is another.
    if not step or start + step * (values.size - 1) != last:
        return None
    return (start, step) if ((values[1:] - values[:-1]) == values[1:2] - values[:1]).all() else None
