"""Gates: what a branch computes is cut off from the elements of a batch that do not choose it.

Where a choice differs between elements every branch runs on all of them, and its results are selected. In the backward
pass a branch gets a cotangent of 0 for an element that does not choose it; but 0 times an infinite derivative is NaN.
So a gate is put between the branch and each array from before it, an operand or one that it closes over: it passes on
the cotangents of the elements that choose the branch, and exactly 0 for the others.

Reverse mode that began inside the batch has recorded the branch by its elements. A node of the tape names what it
depends on, so here the gates come in once the branch has run: at each such level, and in what the rules of the levels
above have saved. Reverse mode from outside records what `vmap` makes of the branch, on whole arrays; there a gate is an
operation, through which `vmap` takes the arguments of those of the branch while that runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gradkit.core.array import Array, wrap
from gradkit.core.batching import BatchTrace
from gradkit.core.capture import GraphTrace
from gradkit.core.checkpoints import Rerun
from gradkit.core.forward import Dual
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.node import NO_PARAMS, Node, Trace, in_progress, new_sequence, recording
from gradkit.core.promotion import is_inexact
from gradkit.core.residuals import Record
from gradkit.core.reverse import ReverseTrace
from gradkit.core.stand_in import Batched
from gradkit.primitives import any as any_of
from gradkit.primitives import where
from gradkit.primitives.creation import gate_side

__all__ = ["behind_gates", "gated", "run_behind_gates"]

Condition = Callable[[], Array]
WHERE = PRIMITIVES["where"]


def run_behind_gates(
    branch: Callable[[list[Any]], list[Any]], operands: list[Any], batches: Sequence[BatchTrace], chosen: Condition
) -> list[Any]:
    """Run a branch on all elements of a batch, and return its results behind gates.

    Parameters
    ----------
    branch : callable
        A function of a list of Arrays that gives another one.
    operands : list of Array
        Its arguments.
    batches : sequence of BatchTrace
        The vmaps between whose elements the choice differs, the innermost first.
    chosen : callable
        ``chosen()`` gives an Array of bool: whether an element of the batch chooses the branch.
    """
    start = new_sequence()
    condition = functools.cache(chosen)
    # What it computes for all elements of this batch at once may differ between those of a batch around it.
    entries = [Entry(batch, condition, start) for batch in batches]
    before = [batch.gate for batch in batches]
    for entry in entries:
        entry.install(entries)
    try:
        outs = branch(operands)
    finally:
        for batch, gate in zip(batches, before, strict=True):
            batch.gate = gate
    outs = behind_gates(outs, condition, batches[0].level, start, entries[0])
    same = [array for entry in entries for array in entry.same]
    if same:  # a gate before what it computes for all elements at once: open if one of them chooses the branch
        behind_gates(same, condition, -1, start)
    return outs


def gated(array: Array, chosen: Condition) -> Array:
    """Return an array behind a gate of its own, if a transform follows it: the operation, for what is written down."""
    if array._node is None or not is_inexact(array.dtype.name):
        return array
    return where(chosen(), array, gate_side(array))


def _of_some(condition: Array, level: int) -> Array:
    """Return whether a condition holds for some of the elements of the batches that began after a level."""
    while type(batch := condition._value) is Batched and condition._node.trace.level > level:  # type: ignore[union-attr]
        condition = any_of(batch.array, axis=batch.axis)
    return condition


class Entry:
    """What arrays of whole batches go through while a branch runs.

    Attributes
    ----------
    same : list of Array
        What came that is the same for all elements.
    """

    def __init__(self, trace: BatchTrace, chosen: Condition, start: int) -> None:
        self._trace = trace
        self._choose = chosen
        self._condition: Array | None = None
        self._start = start
        self._outer = trace.gate
        self._entries: Sequence[Entry] = ()
        # By identity, with the array itself, which keeps that alive, and the position in the order of making.
        self._arrays: dict[int, tuple[Array, Array, int]] = {}
        self.same: list[Array] = []

    def install(self, entries: Sequence[Entry]) -> None:
        """Let the arguments of the batch's operations go through it; `entries` are all that the branch has."""
        self._entries = entries
        self._trace.gate = self

    def copy(self, before: int, again: Sequence[tuple[int, Any]] = (), copies: dict[Any, Any] | None = None) -> Entry:
        """Return one that knows the gates made before, for what runs again later, and those of what is made anew."""
        copies = {} if copies is None else copies
        if self in copies:
            return copies[self]  # type: ignore[no-any-return]
        other = copies[self] = Entry(self._trace, self._choose, self._start)
        other._condition = self._condition
        other._outer = None if self._outer is None else self._outer.copy(before, again, copies)
        other._entries = [entry.copy(before, again, copies) for entry in self._entries]
        other._arrays = {key: known for key, known in self._arrays.items() if known[2] < before}
        stand_ins = ((array, other._arrays.get(key)) for key, array in again)
        other._arrays |= {id(array): (array, *known[1:]) for array, known in stand_ins if known is not None}
        return other

    def chosen(self) -> Array:
        """Return whether an element chooses the branch."""
        if self._condition is None:
            self._condition = _of_some(self._choose(), self._trace.level)
        return self._condition

    def __call__(self, array: Any) -> Any:
        """Return an array behind a gate, if reverse mode from outside follows it and it is from before the branch."""
        node = array._node if type(array) is Array else None
        if node is None:
            return array
        whole = array._value.array if node.trace is self._trace else None
        if not (_is_recorded(array) if whole is None else _is_recorded(whole, self._start)):
            return array
        if id(array) not in self._arrays:
            if whole is None:
                self.same.append(array)
            with self._open():
                self._arrays[id(array)] = array, where(self.chosen(), array, gate_side(array)), new_sequence()
        return self._arrays[id(array)][1]

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Let arrays pass inside a ``with`` block, in which a gate is made."""
        current = [entry._trace.gate for entry in self._entries]
        for entry in self._entries:
            entry._trace.gate = entry._outer
        try:
            yield
        finally:
            for entry, gate in zip(self._entries, current, strict=True):
                entry._trace.gate = gate


def _is_recorded(value: Any, before: float = float("inf")) -> bool:
    """Return whether reverse mode follows an array, by a node made before."""
    while type(value) is Array:
        node = value._node
        if node is not None and isinstance(node.trace, ReverseTrace) and node.sequence < before:
            return bool(node.trace.level or recording())
        if isinstance(node, Dual) and _is_recorded(node.tangent, before):
            return True
        value = value._value.array if type(value._value) is Batched else value._value
    return False


class Gate(Node):
    """The node of ``where(chosen, x, gate_side(x))``, for an `x` that a branch uses."""

    __slots__ = ()

    def __init__(self, node: Node, chosen: Array, sequence: int) -> None:
        parents, saved = (None, node, None), (None, chosen, node, node)
        super().__init__(node.trace, node.shape, node.dtype, WHERE, parents, saved, NO_PARAMS, False)
        self.sequence = sequence

    def __lt__(self, other: Node) -> bool:
        return False  # the gates of a branch come at one position in the order, and do not depend on each other


def behind_gates(
    outs: Sequence[Any], chosen: Condition, level: int, start: int, entry: Callable[[Any], Any] = lambda array: array
) -> list[Any]:
    """Put gates between a branch and all from before it, and return the branch's results as they are then.

    Parameters
    ----------
    outs : sequence of Array
        The branch's results.
    chosen : callable
        ``chosen()`` gives an Array of bool: whether an element of the batch chooses the branch.
    level : int
        The level of the transform that the choice belongs to. The gates are those of the levels above.
    start : int
        The position of the gates in the order of making: before the nodes of the branch, behind all from before it.
    entry : callable
        What the arrays of the levels below go through.
    """
    if any(type(out) is Array and out._node is not None and _is_inside(out._node.trace, level) for out in outs):
        return Gates(chosen, level, start, entry).put_before(outs)
    return list(map(entry, outs))


class Gates:
    """The gates of one branch; the parameters are those of `behind_gates`."""

    def __init__(self, chosen: Condition, level: int, start: int, entry: Callable[[Any], Any]) -> None:
        self._chosen = chosen
        self._entry = entry
        self._level = level
        self._start = start
        self._conditions: dict[Trace, Array] = {}
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
            return self._entry(array)
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
        if isinstance(node.trace, GraphTrace):  # what is written down in a graph has no record to walk through
            return node
        if node.sequence >= self._start:
            if node not in self._seen:
                self._seen.add(node)
                self._waiting.append(node)
            return node
        if not (isinstance(node.trace, ReverseTrace) and _is_inside(node.trace, self._level)):
            return node
        gate = self._gates.get(node)
        if gate is None:
            gate = self._gates[node] = Gate(node, self._condition(node.trace), self._start)
        return gate

    def _condition(self, trace: Trace) -> Array:
        """Return whether an element, as a transform sees it, chooses the branch."""
        if trace not in self._conditions:
            self._conditions[trace] = _of_some(self._chosen(), trace.level)
        return self._conditions[trace]

    def _part(self, part: Any) -> Any:
        """Return what a node saves as it is behind the gates."""
        if isinstance(part, Rerun):
            entry = self._entry.copy(new_sequence()) if isinstance(self._entry, Entry) else self._entry
            part.cuts.append(functools.partial(_cut, self._chosen(), self._level, entry))
        if type(part) in (tuple, list):
            return type(part)(map(self._part, part))
        if isinstance(part, Record):
            part.roots = [root and self._node(root) for root in part.roots]
        return self._behind(part)


def _cut(chosen: Array, level: int, entry: Callable[[Any], Any], arrays: list[Any], start: int) -> list[Any]:
    return behind_gates(arrays, lambda: chosen, level, start, entry)


def _is_inside(trace: Trace, level: int) -> bool:
    """Return whether a transform began inside the batch of that level, and is in progress."""
    return in_progress(trace) and trace.level > level
