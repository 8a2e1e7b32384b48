"""Gates: what a branch computes is cut off from the elements of a batch that do not choose it.

Where a choice differs between elements every branch runs on all of them, and its results are selected. In the backward
pass a branch gets a cotangent of 0 for an element that does not choose it; but 0 times an infinite derivative is NaN.
So once a branch has run, a gate is put between it and each array from before it, an operand or one that it closes over:
a node that passes on the cotangents of the elements that choose the branch, and exactly 0 for the others. A node of the
tape names what it depends on, so the gates come in afterwards: at every level of reverse mode that began inside the
batch, and in what the rules of the levels above have saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.core.array import Array, wrap
from gradkit.core.forward import Dual
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.node import NO_PARAMS, Node, Trace
from gradkit.core.residuals import Record
from gradkit.core.reverse import ReverseTrace
from gradkit.core.stand_in import Batched

__all__ = ["behind_gates"]

WHERE = PRIMITIVES["where"]


class Gate(Node):
    """The node of ``where(chosen, x, stop_gradient(x))``, for an `x` that a branch uses."""

    __slots__ = ()

    def __init__(self, node: Node, chosen: Array, sequence: int) -> None:
        parents, saved = (None, node, None), (None, chosen, node, node)
        super().__init__(node.trace, node.shape, node.dtype, WHERE, parents, saved, NO_PARAMS, False)
        self.sequence = sequence

    def __lt__(self, other: Node) -> bool:
        return False  # the gates of a branch come at one place in the order, and do not depend on each other


def behind_gates(outs: Sequence[Any], chosen: Callable[[], Array], level: int, start: int) -> list[Any]:
    """Put gates between a branch and all from before it, and return the branch's results as they are then.

    Parameters
    ----------
    outs : sequence of Array
        The branch's results.
    chosen : callable
        ``chosen()`` gives an Array of bool: whether an element of the batch chooses the branch.
    level : int
        The level of the `vmap` whose batch it is. Reverse mode that began before, outside, sees the selection alone, as
        in JAX.
    start : int
        The place of the gates in the order of the nodes' making: before those of the branch, behind all from before it.
    """
    if not any(type(out) is Array and out._node is not None and _is_inside(out._node.trace, level) for out in outs):
        return list(outs)
    return Gates(chosen, level, start).put_before(outs)


class Gates:
    """The gates of one branch; the parameters are those of `behind_gates`."""

    def __init__(self, chosen: Callable[[], Array], level: int, start: int) -> None:
        self._chosen = chosen
        self._level = level
        self._start = start
        self._condition: Array | None = None
        self._gates: dict[Node, Node] = {}
        self._arrays: dict[int, tuple[Array, Array]] = {}  # by identity, with the array itself, which keeps that alive
        self._seen: set[Node] = set()
        self._waiting: list[Node] = []

    def put_before(self, outs: Sequence[Any]) -> list[Any]:
        """Put the gates in, and return the results behind them."""
        outs = [self._behind(out) for out in outs]
        while self._waiting:
            node = self._waiting.pop()
            node.parents = [parent and self._node(parent) for parent in node.parents]
            if node.saved is not None and not node.plain:
                node.saved = [self._part(part) for part in node.saved]
        return outs

    def _behind(self, array: Any) -> Any:
        """Return an array as it is behind the gates."""
        node = array._node if type(array) is Array else None
        if node is None or not _is_inside(node.trace, self._level):
            return array
        known = self._arrays.get(id(array))
        if known is None:
            value = array._value
            if type(value) is Batched:
                whole = self._behind(value.array)
                value = value if whole is value.array else Batched(whole, value.axis)
            else:
                value = self._behind(value)
            node = self._dual(node, value) if isinstance(node, Dual) else self._node(node)
            same = value is array._value and node is array._node
            known = self._arrays[id(array)] = array, array if same else wrap(value, node)
        return known[1]

    def _dual(self, node: Dual, primal: Any) -> Dual:
        tangent = self._behind(node.tangent)
        return node if tangent is node.tangent else Dual(node.trace, primal, tangent)

    def _node(self, node: Node) -> Node:
        """Return a node of the branch, or the gate of one from before."""
        if node.sequence >= self._start:
            if node not in self._seen:
                self._seen.add(node)
                self._waiting.append(node)
            return node
        if not (isinstance(node.trace, ReverseTrace) and _is_inside(node.trace, self._level)):
            return node
        gate = self._gates.get(node)
        if gate is None:
            if self._condition is None:
                self._condition = self._chosen()
            gate = self._gates[node] = Gate(node, self._condition, self._start)
        return gate

    def _part(self, part: Any) -> Any:
        """Return what a node saves as it is behind the gates."""
        if type(part) in (tuple, list):
            return type(part)(map(self._part, part))
        if isinstance(part, Record):
            part.roots = [root and self._node(root) for root in part.roots]
        return self._behind(part)


def _is_inside(trace: Trace, level: int) -> bool:
    """Return whether a transform began inside the batch of that level, and is in progress."""
    return type(trace.level) is int and trace.level > level
