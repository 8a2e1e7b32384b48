"""What a tape keeps for its backward pass, taken out of it and put back: so a pullback can be a pytree.

A record without its values is an `Outline`. Filled with other values (those of a graph that is being captured, or the
slices for one step of a loop) it is a record again, of the same operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gradkit.backend import backend_of
from gradkit.core.array import Array
from gradkit.core.namespace import as_bound
from gradkit.core.node import Leaf, Node
from gradkit.core.reverse import ReverseTrace

__all__ = ["Outline", "Record"]

Nodes = Sequence[Node | None]
Values = dict[tuple[int, int], tuple[int, Array]]
"""By the identity of what an array wraps and of its node: which value it is, and the value."""


class Record:
    """Recorded operations that can be walked back: their results and their inputs.

    Parameters
    ----------
    trace : ReverseTrace
        The trace that recorded them.
    roots : sequence of (Node or None)
        The results' nodes; None for a result that does not depend on the inputs.
    leaves : sequence of (Node or None)
        The inputs' nodes.
    """

    __slots__ = ("leaves", "roots", "trace")

    def __init__(self, trace: ReverseTrace, roots: Nodes, leaves: Nodes) -> None:
        self.trace = trace
        self.roots = roots
        self.leaves = leaves

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        """Return the inputs' cotangents for the results'; None stands for zeros, of either."""
        pairs = [
            (root, g) for root, g in zip(self.roots, cotangents, strict=True) if root is not None and g is not None
        ]
        found = self.trace.backward(pairs, retain=True)
        return [None if leaf is None else found.get(leaf) for leaf in self.leaves]

    def take_apart(self) -> tuple[list[Array], Outline]:
        """Return the values that are kept, each once, as Arrays, and the record without them."""
        values: Values = {}
        outline = _outline(self, values)
        return [value for _, value in values.values()], outline


# Records without values


@dataclass(frozen=True)
class ValueIndex:
    """Which of the kept values it is."""

    index: int


@dataclass(frozen=True)
class NodeIndex:
    """Which of the nodes it is."""

    index: int


@dataclass(frozen=True, eq=False)
class NodeOutline:
    """A node without its values. An input has no primitive."""

    primitive: Any
    shape: Any
    dtype: Any
    params: Any
    plain: bool
    parents: tuple[int | None, ...]
    saved: Any


@dataclass(frozen=True, eq=False)
class Outline:
    """A record without its values. It equals itself alone; a tree may have it as metadata.

    Attributes
    ----------
    nodes : sequence of NodeOutline
        In the order of their making.
    roots, leaves : sequence of (int or None)
        Which nodes give the results and are the inputs.
    """

    nodes: Sequence[NodeOutline]
    roots: Sequence[int | None]
    leaves: Sequence[int | None]

    def fill(self, values: Sequence[Any]) -> Record:
        """Return a record that keeps these values, Arrays."""
        trace = ReverseTrace()
        trace.end()
        nodes: list[Node] = []
        for outline in self.nodes:
            if outline.primitive is None:
                nodes.append(Leaf(trace, outline.shape, outline.dtype))
                continue
            saved = _fill(outline.saved, values, nodes)
            plain = outline.plain and not any(type(part) is Array for part in _parts(saved))
            nodes.append(
                Node(
                    trace,
                    outline.shape,
                    outline.dtype,
                    outline.primitive,
                    _at(outline.parents, nodes),
                    saved,
                    outline.params,
                    plain,
                )
            )
        return Record(trace, _at(self.roots, nodes), _at(self.leaves, nodes))


def _at(indices: Iterable[int | None], nodes: Sequence[Node]) -> list[Node | None]:
    return [None if index is None else nodes[index] for index in indices]


def _outline(record: Record, values: Values) -> Outline:
    nodes = _reachable(record)
    indices = {node: index for index, node in enumerate(nodes)}
    outlines = [
        NodeOutline(
            node.primitive,
            node.shape,
            node.dtype,
            node.params,
            node.plain,
            tuple(None if parent is None else indices[parent] for parent in node.parents),
            _empty(node.saved, values, indices),
        )
        for node in nodes
    ]
    ends = [None if root is None else indices[root] for root in record.roots]
    return Outline(outlines, ends, [None if leaf is None else indices.get(leaf) for leaf in record.leaves])


def _reachable(record: Record) -> list[Node]:
    """Return the nodes on which the results depend, in the order of their making."""
    found: set[Node] = set()
    waiting = [root for root in record.roots if root is not None]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(parent for parent in node.parents if parent is not None)
    return sorted(found, key=lambda node: node.sequence)


def _empty(part: Any, values: Values, indices: dict[Node, int]) -> Any:
    """Return what a node saves with indices where there were values, which are noted."""
    if isinstance(part, Node):
        return NodeIndex(indices[part]) if part in indices else Node(*_description(part))
    if type(part) is tuple or isinstance(part, list):  # one with checksums is a list of a kind of its own
        return tuple(_empty(p, values, indices) for p in part)
    if isinstance(part, Record):
        return _outline(part, values)
    if type(part) is not Array and backend_of(part) is None:
        return part  # a number, or a function
    # Of two arrays that wrap the same value a transform may follow one alone: `x` and `stop_gradient(x)`.
    key = (id(part._value), id(part._node)) if type(part) is Array else (id(part), id(None))
    return ValueIndex(values.setdefault(key, (len(values), as_bound(part)))[0])


def _description(node: Node) -> tuple[Any, ...]:
    return (node.trace, node.shape, node.dtype, None, (), None, node.params, False)


def _fill(part: Any, values: Sequence[Any], nodes: Sequence[Node]) -> Any:
    if type(part) is ValueIndex:
        value = values[part.index]
        return value._value if type(value) is Array and value._node is None else value
    if type(part) is NodeIndex:
        return nodes[part.index]
    if type(part) is Outline:
        return part.fill(values)
    return tuple(_fill(p, values, nodes) for p in part) if type(part) is tuple else part


def _parts(saved: Any) -> Iterator[Any]:
    for part in saved:
        if type(part) is tuple:
            yield from _parts(part)
        else:
            yield part
