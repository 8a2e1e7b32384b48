"""Functions that run again in the backward pass (`checkpoint`), under each transform.

The tape keeps the arguments. Where a policy says what else to keep, and in graphs, the function's graph runs again
instead: `transforms.rematerialization`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import Any, cast

from gradkit.backend import TRACED, backend_of
from gradkit.config import items
from gradkit.core.array import Array, owner_of, wrap
from gradkit.core.batching import BatchTrace, Gating
from gradkit.core.forward import Dual, ForwardTrace
from gradkit.core.function_batches import Flat, Function
from gradkit.core.layers import changed_inside, followers, layers
from gradkit.core.namespace import as_bound
from gradkit.core.node import Leaf, Node, Trace, again, enable_grad, new_level, new_sequence
from gradkit.core.promotion import is_inexact, limits_of, real_part_of
from gradkit.core.reverse import ReverseTrace
from gradkit.core.several_results import Parts, record_call
from gradkit.core.stand_in import STAND_INS, Batched

__all__ = ["Rerun", "run_checkpointed"]


def run_checkpointed(function: Function, args: Flat) -> Flat:
    """Call a function of which the tape keeps the arguments, and which it runs again."""
    start, last = new_sequence(), new_level()
    outs = function(args)
    # The record of a rule's tangents stays as it is, for it has to be seen whether it is linear.
    traces = [trace for trace in followers(outs) if isinstance(trace, ReverseTrace) and not trace.is_linear]
    for trace in sorted(traces, key=lambda trace: trace.number):
        outs = _forgotten(trace, function, args, outs, start, last)
    return outs


def _forgotten(trace: ReverseTrace, function: Function, args: Flat, outs: Flat, start: int, last: int) -> Flat:
    """Return the results of a call with one operation in place of all that the call has recorded at one level.

    The function has run as any other, under whatever transforms its arguments and what it closes over belong to. Where
    it is to run again those above the level have returned, and they resume.
    """
    parts = _parts(outs, trace, start)
    if not parts:
        return outs
    parents = _boundary([part._node for part in parts], start)  # type: ignore[misc]
    kept: Flat = []
    arguments = [_take_apart(arg, trace, kept) for arg in args]
    traces = followers((*args, *outs))
    again = Rerun(trace, function, arguments, parents, len(parts), last, _gates(traces, start))
    again.known = frozenset(each.number for each in traces)
    values = [as_bound(part._value) for part in parts]
    if items.on:  # what the function closes over may be another array by then
        again.results = [_seen(part._value) for part in parts]
    new = iter(record_call(trace, values, [True] * len(values), parents, again, [_lower(value) for value in kept]))

    def replaced(value: Any) -> Any:
        node = value._node if type(value) is Array else None
        if node is None or (node.trace is trace and node.sequence < start):
            return value if node is not None or type(value) is not Array else changed_inside(value, replaced)
        return next(new) if node.trace is trace else changed_inside(value, replaced)

    return [replaced(out) for out in outs]


def _parts(outs: Sequence[Any], trace: ReverseTrace, start: int) -> list[Array]:
    """Return the parts of results that were made at one level since `start`."""
    return [part for part in _at_level(outs, trace) if part._node.sequence >= start]  # type: ignore[union-attr]


def _at_level(outs: Sequence[Any], trace: ReverseTrace) -> list[Array]:
    """Return the parts of results that one level follows."""
    return [layer for out in outs for layer in layers(out) if layer._node is not None and layer._node.trace is trace]


Made = list[tuple[int, Any]]
"""What was put together: the identity of what was taken apart, and what is in its place now."""


def _take_apart(value: Any, trace: ReverseTrace, kept: Flat) -> Callable[[Flat, Made], Any]:
    """Put what an argument holds below one level into `kept`; give the function that puts it together again."""
    together, name = _parts_of(value, trace, kept), id(value)

    def put_together(values: Flat, made: Made) -> Any:
        new = together(values, made)
        made.append((name, new))
        return new

    return put_together


def _parts_of(value: Any, trace: ReverseTrace, kept: Flat) -> Callable[[Flat, Made], Any]:
    node = value._node if type(value) is Array else None
    if node is None or not (node.trace is trace or node.trace.level > trace.level):
        index = len(kept)
        kept.append(value)
        return lambda values, made: as_bound(values[index])
    if type(value._value) is Batched:
        axis, whole = value._value.axis, _take_apart(value._value.array, trace, kept)
        return lambda values, made: wrap(Batched(whole(values, made), axis), node)
    inner = _take_apart(value._value, trace, kept)
    if isinstance(node, Dual):
        forward, tangent = cast(ForwardTrace, node.trace), _take_apart(node.tangent, trace, kept)
        return lambda values, made: forward.wrap(inner(values, made), tangent(values, made))
    # What another tape, of a level above, knows of it is of no use to this one; that it follows it is.
    own = node if node.trace is trace else Leaf(node.trace, node.shape, node.dtype)
    return lambda values, made: wrap(_lower(inner(values, made)), own)


def _gates(traces: Iterable[Trace], start: int) -> dict[BatchTrace, Gating]:
    """Return copies of the gates that the arguments of batches' operations go through, as they were at `start`."""
    batches = (trace for trace in traces if isinstance(trace, BatchTrace))
    copies: dict[Any, Any] = {}
    return {batch: batch.gate.copy(start, (), copies) for batch in batches if batch.gate is not None}


class Rerun:
    """The pullback of a checkpoint at one level: the function runs again, and the record of that is walked back.

    Attributes
    ----------
    cuts : list of callable
        ``cut(arrays, start)`` gives arrays behind gates, where the call was in a branch of a choice that differs
        between elements of a batch: what runs again is in that branch as well, and so is its derivative. `start` is
        where it began.
    known : frozenset of int
        The levels that the call's arguments and results belong to.
    """

    results: Sequence[Any] = ()
    """What its results were, where Arrays may be assigned to; None for those that cannot be seen."""
    known: frozenset[int] = frozenset()

    def __init__(
        self,
        trace: ReverseTrace,
        function: Function,
        arguments: Sequence[Callable[[Flat, Made], Any]],
        parents: Sequence[Node],
        count: int,
        last: int,
        gates: Mapping[BatchTrace, Gating],
    ) -> None:
        self._trace = trace
        self._function = function
        self._arguments = arguments
        self._parents = parents
        self._count = count
        self._first, self._last = trace.number, last
        self._gates = gates
        self.cuts: list[Callable[[list[Any], int], list[Any]]] = []

    def __call__(self, parts: Parts, residuals: Flat) -> Sequence[Any]:
        """Return the cotangents of what the call depends on."""
        trace = self._trace
        start = new_sequence()
        made: Made = []
        given = [argument(residuals, made) for argument in self._arguments]
        with enable_grad(), again(self._first, self._last, self.known), self._behind_gates(made):
            outs = self._function(given)
            new = [layer._node.sequence >= start for layer in _at_level(outs, trace)]  # type: ignore[union-attr]
            for cut in self.cuts:  # which puts a gate before a result that is from before the call as well
                outs = cut(outs, start)
        found = [*compress(_at_level(outs, trace), new)]
        if len(found) != self._count:
            raise RuntimeError(
                f"checkpoint: the function has to compute the same when it runs again in the backward pass, but "
                f"{len(found)} of its results depend on what is differentiated, and before {self._count} did. It may "
                f"not depend on state that has changed in the meantime."
            )
        if self.results and not self.cuts:
            for part, before in zip(found, self.results, strict=True):
                if before is not None and _differ(before, _lower(part._value)):
                    raise RuntimeError(
                        "checkpoint: the function has to compute the same when it runs again in the backward pass, but "
                        "its results are others now. It may not close over an array that is assigned to in the "
                        "meantime: give it as an argument."
                    )
        cotangents = trace.backward([(found[i]._node, g) for i, g in parts.items()], floor=start)  # type: ignore[misc]
        if not cotangents.keys() <= set(self._parents):
            raise RuntimeError(
                "checkpoint: the function has to compute the same when it runs again in the backward pass, but then it "
                "depends on an array that it did not depend on before. It may not close over an array that is assigned "
                "to in the meantime: give it as an argument."
            )
        shares = [cotangents.get(parent) for parent in self._parents]
        for cut in self.cuts:
            shares = cut(shares, start)
        return shares

    @contextmanager
    def _behind_gates(self, made: Made) -> Iterator[None]:
        before = {batch: batch.gate for batch in self._gates}
        copies: dict[Any, Any] = {}
        try:
            for batch, gate in self._gates.items():
                batch.gate = gate.copy(new_sequence(), made, copies)
            yield
        finally:
            for batch, outer in before.items():
                batch.gate = outer


def _seen(value: Any) -> Any:
    """Return a copy of a raw array, or None if it has no values yet; to compare it waits for a GPU."""
    value = _lower(value)
    backend = None if type(value) is Array or type(value) in STAND_INS or TRACED[type(value)] else backend_of(value)
    return None if backend is None else backend.xp.asarray(value, copy=True)


def _differ(before: Any, now: Any) -> bool:
    """Return whether two arrays differ by more than rounding, of which sums have some where memory begins elsewhere."""
    backend = owner_of(before)
    xp, name = backend.xp, backend.dtype_name(before)
    if tuple(before.shape) != tuple(now.shape) or name != backend.dtype_name(now):
        return True
    if not is_inexact(name):
        return not bool(xp.all(before == now))
    if name in backend.computes_in_float32 or name == "float16":
        before, now = (xp.astype(x, backend.raw_dtype_named("float32")) for x in (before, now))
    finite = xp.isfinite(before) & xp.isfinite(now)
    nothing = xp.zeros_like(before)
    size = xp.abs(xp.where(finite, before, nothing))
    distance = xp.abs(xp.where(finite, before, nothing) - xp.where(finite, now, nothing))
    rounding = float(limits_of(real_part_of(name)).eps) ** 0.5 * (
        float(xp.max(size)) if math.prod(before.shape) else 0.0
    )
    same = (before == now) | (xp.isnan(before) & xp.isnan(now)) | (finite & (distance <= rounding))
    return not bool(xp.all(same))


def _boundary(nodes: Sequence[Node], start: int) -> list[Node]:
    """Return the nodes made before `start` on which the others depend."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.sequence < start:
            found[node] = None
        elif node not in seen:
            seen.add(node)
            waiting.extend(parent for parent in node.parents if parent is not None)
    return list(found)


def _lower(value: Any) -> Any:
    """Return an Array as a record keeps it: raw where no transform follows it."""
    return value._value if type(value) is Array and value._node is None else value
