"""Reverse mode: recording at one level, and the pass that walks the nodes back.

The pass is a loop over the nodes in reverse order of their making. It never recurses, so the length of a
computation is limited by memory alone.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from gradkit.backend import NARROW_DTYPES, SEVERAL
from gradkit.core.array import Array, innermost, wrap
from gradkit.core.binding import bind
from gradkit.core.changes import refuse_changed
from gradkit.core.namespace import as_bound, namespace_of
from gradkit.core.narrow import widened_pull
from gradkit.core.node import Node, Trace, changes
from gradkit.core.primitive import Primitive
from gradkit.core.silence import SILENCES, silence_of

if TYPE_CHECKING:
    from gradkit.core.graph import HigherOrder

__all__ = ["TAPE", "GradientWatcher", "ReverseTrace", "Tape", "total"]


class GradientWatcher(ABC):
    """What is told of a backward pass while it runs: of each input's gradient once nothing more is added to it."""

    def start(self, cotangent: Any) -> Any:
        """Return the cotangent that the pass starts from, given 1, a raw array or an Array."""
        return cotangent

    @abstractmethod
    def node_done(self) -> None:
        """Hear that another node has been walked back."""

    @abstractmethod
    def gradient_done(self, leaf: Node, gradient: Any) -> None:
        """Take an input's gradient, which will not change any more."""


class ReverseTrace(Trace):
    """Reverse mode at one level. Level 0 is the tape."""

    __slots__ = ()

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Compute one level lower, and record what the primitive's rule will read."""
        values: list[Any] = []
        nodes: list[Node | None] = []
        tracked = 0
        for position, arg in enumerate(args):
            node = arg._node if type(arg) is Array else None
            if node is not None and node.trace is self:
                values.append(arg._value)
                nodes.append(node)
                tracked |= 1 << position
            else:
                # What is kept for the rule is no object of a user's, who may assign to it.
                values.append(arg if type(arg) is not Array else arg._value if node is None else wrap(arg._value, node))
                nodes.append(None)
        out = bind(primitive, values, params)
        outs = [o._value if o._node is None else o for o in (out if primitive.multiple_results else (out,))]
        result = tuple(outs) if primitive.multiple_results else outs[0]
        plain = not any(type(value) is Array for value in (*outs, *values))
        return primitive.record(self, result, values, nodes, tracked, params, plain)

    def call(self, operation: HigherOrder, args: list[Any], params: Mapping[str, Any]) -> list[Any]:
        """Ask the operation."""
        return operation.in_reverse(self, args, **params)

    def unwrap(self, args: Sequence[Any]) -> tuple[list[Any], list[Node | None]]:
        """Return the arguments as the levels below see them, and their nodes."""
        nodes = [arg._node if self.follows(arg) else None for arg in args]
        return [arg if node is None else as_bound(arg._value) for arg, node in zip(args, nodes, strict=True)], nodes

    def backward(
        self,
        roots: Sequence[tuple[Node, Any]],
        retain: bool = False,
        floor: int = 0,
        watcher: GradientWatcher | None = None,
    ) -> dict[Node, Any]:
        """Return the gradient of each reachable `Leaf`, given the cotangents of the roots.

        Parameters
        ----------
        roots : sequence of (Node, cotangent)
            The outputs and their cotangents, raw arrays or Arrays.
        retain : bool
            Keep the saved values, so that the pass can run again.
        floor : int
            Where to stop: nodes made before count as leaves.
        watcher : GradientWatcher, optional
            What is told of gradients while the pass runs.
        """
        if not roots:
            return {}
        value = roots[0][1]
        begin, end = SILENCES.get(type(value)) or silence_of(value)
        token = begin()
        try:
            if not SEVERAL:
                return _walk_back(roots, retain, floor, None, watcher)
            with Whereabouts() as here:
                return _walk_back(roots, retain, floor, here, watcher)
        finally:
            end(token)


class Whereabouts(ExitStack):
    """The device that is current during a pass: rules use operators, which some libraries run on the current one."""

    device: Any = None

    def go_to(self, value: Any) -> None:
        """Make the device of a value the current one."""
        raw = innermost(value) if type(value) is Array else value
        backend = SEVERAL.get(type(raw))
        if backend is None:
            return
        device = backend.device_of(raw)
        if device != self.device:
            self.close()
            self.enter_context(backend.placing(device))
            self.device = device


class Tape(ReverseTrace):
    """The lecture's tape: level 0, always there, silent inside `no_grad`."""

    __slots__ = ()

    def __init__(self) -> None:
        self.level = self.number = 0


TAPE = Tape()


def _walk_back(
    roots: Sequence[tuple[Node, Any]],
    retain: bool,
    floor: int,
    here: Whereabouts | None,
    watcher: GradientWatcher | None,
) -> dict[Node, Any]:
    # Leaves stay in `cotangents` to the end: what is left there is the result. A node waits from its first contribution
    # on. What was made later is taken earlier, so whatever depends on a node is taken before it. One that waits alone,
    # as all do in a chain, has no need of the heap.
    cotangents: dict[Node, Any] = {}
    owned: set[Node] = set()
    alone: Node | None = None
    waiting: list[tuple[int, Node]] = []
    unfinished = [] if watcher is None else _first_uses(roots)
    latest = changes.latest  # what was made later, no change in place can have reached
    for node, cotangent in roots:
        if node not in cotangents and node.sequence >= floor:
            heappush(waiting, (-node.sequence, node))
        _accumulate(cotangents, owned, node, cotangent)
    while alone is not None or waiting:
        if alone is None:
            node = heappop(waiting)[1]
        else:
            node, alone = alone, None
        cotangent = cotangents.pop(node)
        saved = node.saved
        if saved is None:
            raise RuntimeError(
                "backward: this graph was already walked and its saved values are freed. "
                "Pass retain_graph=True to the first backward() to walk it twice."
            )
        if node.sequence < latest:
            refuse_changed(node, saved)
        if not retain:
            node.saved = None
        primitive = node.primitive
        if here is not None:
            here.go_to(cotangent)
        pull = primitive.pull
        if NARROW_DTYPES and type(cotangent) is not Array and cotangent.dtype in NARROW_DTYPES:
            pull = functools.partial(widened_pull, primitive)
        for parent, contribution in pull(cotangent, node, saved):
            if here is not None:
                here.go_to(contribution)
            if parent in cotangents:
                _accumulate(cotangents, owned, parent, contribution)
            elif parent.sequence >= floor:
                cotangents[parent] = contribution
                if alone is None and not waiting:
                    alone = parent
                    continue
                if alone is not None:
                    heappush(waiting, (-alone.sequence, alone))
                    alone = None
                heappush(waiting, (-parent.sequence, parent))
            elif primitive.hands_on and type(contribution) is not Array:
                # A leaf's gradient outlives the pass, so it may not share memory with another one.
                cotangents[parent] = contribution + 0
            else:
                cotangents[parent] = contribution
        if watcher is not None:
            watcher.node_done()
            # Whatever is walked back from now on was made before this node, and so before the first use of these.
            while unfinished and unfinished[-1][0] >= node.sequence:
                leaf = unfinished.pop()[1]
                if leaf in cotangents:
                    cotangents[leaf] = _of_shape(cotangents[leaf], leaf, here)
                    watcher.gradient_done(leaf, cotangents[leaf])
    for leaf, cotangent in cotangents.items():
        cotangents[leaf] = _of_shape(cotangent, leaf, here)
    return cotangents


def _of_shape(cotangent: Any, leaf: Node, here: Whereabouts | None) -> Any:
    """Return a leaf's gradient, of which only a part that broadcasts may be there, as a whole."""
    if cotangent.shape == leaf.shape:
        return cotangent
    if here is not None:
        here.go_to(cotangent)
    return namespace_of(cotangent).broadcast_to(cotangent, leaf.shape) + 0


def _first_uses(roots: Sequence[tuple[Node, Any]]) -> list[tuple[int, Node]]:
    """Return the inputs that roots depend on, each with the position of the first node that uses it, in order."""
    found: dict[Node, int] = {}
    seen = {node for node, _ in roots}
    waiting = list(seen)
    while waiting:
        node = waiting.pop()
        for parent in node.parents:
            if parent is None:
                continue
            if parent.primitive is None:
                found[parent] = min(found.get(parent, node.sequence), node.sequence)
            elif parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return sorted(((first, leaf) for leaf, first in found.items()), key=lambda pair: pair[0])


def _accumulate(cotangents: dict[Node, Any], owned: set[Node], node: Node, contribution: Any) -> None:
    present = cotangents.get(node)
    if present is None:
        cotangents[node] = contribution
    elif node in owned and present.shape == node.shape and type(present) is type(contribution):
        # The buffer is this pass's own: the sum of two earlier contributions.
        present += contribution
        cotangents[node] = present
    else:
        cotangents[node] = total(present, contribution)
        owned.add(node)


def total(a: Any, b: Any) -> Any:
    """Add two values of one shape, raw arrays or Arrays."""
    # The operator of the Array: a library's own may not know what an Array is.
    return b + a if type(a) is not Array and type(b) is Array else a + b
