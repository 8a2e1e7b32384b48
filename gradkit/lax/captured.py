"""Control flow in graphs: what loops and choices share where one is an operation of a graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gradkit.core.array import Array, dtype_as_stored, wrap
from gradkit.core.closures import closure_error
from gradkit.core.forward import ForwardTrace
from gradkit.core.graph import Graph, abstract_like, zeros_of
from gradkit.core.namespace import as_bound
from gradkit.core.node import Leaf, Trace
from gradkit.core.residuals import Record
from gradkit.core.reverse import ReverseTrace
from gradkit.core.stand_in import Abstract
from gradkit.primitives import broadcast_to

__all__ = [
    "elements_of", "fill_with_none", "instantiate_zeros", "push_through", "record_graph", "refuse_closures", "runner",
    "split_list", "unwrap_parts",
]  # fmt: skip

Flags = Sequence[bool]
Flat = list[Any]


def refuse_closures(constants: Iterable[Any], trace: Trace | None) -> None:
    """Raise where the derivative of a loop or choice closes over what its transform follows.

    All that the functions of a captured loop close over is among its operands: so it is a rule of `custom_jvp` or
    `custom_vjp` that does, which says nothing of the derivative by it.
    """
    if trace is not None and any(map(trace.follows, constants)):
        raise closure_error("custom_jvp or custom_vjp")


def elements_of(x: Array) -> Abstract:
    """Return what stands for an element of the first axis."""
    whole = abstract_like(x)
    return Abstract(whole.shape[1:], whole.dtype, whole.backend, whole.device)


def fill_with_none(values: Iterable[Any], flags: Flags) -> Flat:
    """Return the values at the positions whose flag is set, and None elsewhere."""
    rest = iter(values)
    return [next(rest) if flag else None for flag in flags]


def split_list(values: Sequence[Any], counts: Sequence[int]) -> list[Flat]:
    """Split a list into lists of these lengths, and the rest."""
    ends = [0, *itertools.accumulate(counts), len(values)]
    return [list(values[start:end]) for start, end in itertools.pairwise(ends)]


def unwrap_parts(trace: Any, args: Flat, counts: Sequence[int]) -> tuple[list[Flat], list[Flat], list[list[bool]]]:
    """Take arguments apart at a trace: their values, what it knows of them, and whether it follows them.

    Each of the three is split into lists of these lengths, and the rest.
    """
    values, facts = trace.unwrap(args)
    follows = [fact is not None for fact in facts]
    return split_list(values, counts), split_list(facts, counts), split_list(follows, counts)


def instantiate_zeros(share: Any, form: Abstract) -> Array:
    """Return a derivative as an Array; zeros for None."""
    return zeros_of(form) if share is None else as_bound(share)


# A graph's function under the transforms


def runner(graph: Graph) -> Callable[[Flat], Flat]:
    """Return a graph as a function of a list, whose results are Arrays."""
    return lambda flat: list(map(as_bound, graph.run(flat)))


def push_through(graph: Graph, primals: Flat, tangents: Flat, wanted: Flags) -> tuple[Flat, Flat]:
    """Run a graph in forward mode: give the results, and the tangents of those that are wanted."""
    trace = ForwardTrace()
    outs = runner(graph)([trace.wrap(p, t) for p, t in zip(primals, tangents, strict=True)])
    values, found = trace.unwrap(outs)
    trace.end()
    return values, [_instantiate(t, value) for value, t, want in zip(values, found, wanted, strict=True) if want]


def _instantiate(tangent: Array | None, value: Array) -> Array:
    if tangent is None:
        return zeros_of(abstract_like(value))
    return tangent if tangent.shape == value.shape else broadcast_to(tangent, value.shape)


def record_graph(graph: Graph, inputs: Flat, tracked: Flags) -> tuple[Flat, Record]:
    """Run a graph in reverse mode: give the results, and the record from them back to the inputs that are tracked."""
    trace = ReverseTrace()
    given = []
    for x, flag in zip(inputs, tracked, strict=True):
        value = x._value if x._node is None else x
        given.append(wrap(value, Leaf(trace, tuple(value.shape), dtype_as_stored(value))) if flag else x)
    outs = runner(graph)(given)
    trace.end()
    roots = [out._node if trace.follows(out) else None for out in outs]
    values = [out if root is None else as_bound(out._value) for out, root in zip(outs, roots, strict=True)]
    return values, Record(trace, roots, [x._node for x in itertools.compress(given, tracked)])
