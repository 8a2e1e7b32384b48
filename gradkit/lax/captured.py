"""Control flow in captured graphs: what loops and choices share where one becomes an operation of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.array import raw
from gradkit.core.graph import Graph, GraphTrace
from gradkit.core.stand_in import Abstract
from gradkit.transforms.abstract import ClosedJaxpr, capture
from gradkit.transforms.arguments import as_array

__all__ = ["abstracts", "captured", "runner"]


def captured(trace: GraphTrace, functions: Sequence[Callable[..., Any]], operands: Sequence[Any]) -> Any:
    """Return the functions' graphs, or None where one of them uses arrays of another transform."""
    jaxprs = [capture(function, given, {}) for function, given in zip(functions, operands, strict=True)]
    known = all(
        constant._node is None or constant._node.trace is trace for jaxpr in jaxprs for constant in jaxpr.consts
    )
    return jaxprs if known else None


def abstracts(leaves: Sequence[Any], like: Sequence[Any], lead: tuple[int, ...] = ()) -> tuple[Abstract, ...]:
    """Return stand-ins for `leaves`, at the place of the first Array without values in `like`."""
    place = next(raw(leaf) for leaf in like if type(raw(leaf)) is Abstract)
    return tuple(Abstract((*lead, *leaf.shape), leaf.dtype, place.backend, place.device) for leaf in leaves)


def runner(jaxpr: ClosedJaxpr, constants: Sequence[Any]) -> Callable[[Sequence[Any]], list[Any]]:
    """Return the function that runs a graph, whose own constants are arrays of the graph around it."""
    graph = jaxpr.jaxpr
    variables = [variable for variable, _ in graph.constants]
    inner = Graph([*variables, *graph.inputs], [], graph.equations, graph.outputs)
    return lambda arguments: [as_array(out) for out in inner.run([*constants, *arguments])]
