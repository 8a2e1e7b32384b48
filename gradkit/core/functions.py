"""Whole functions that come with rules of their own (`custom_jvp`, `custom_vjp`, `checkpoint`), under each transform.

They take and give flat lists of Arrays. The highest trace among the arguments decides: it runs the function's own rule,
or hands a changed function to the levels below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from gradkit.core.array import Array
from gradkit.core.batching import BatchTrace, at_front
from gradkit.core.families import Parts, record_call
from gradkit.core.forward import ForwardTrace
from gradkit.core.namespace import as_bound, bound
from gradkit.core.node import Leaf, Node, Trace, enable_grad, new_sequence, recording
from gradkit.core.promotion import is_inexact
from gradkit.core.reverse import ReverseTrace

__all__ = ["call_checkpointed", "call_with_jvp", "call_with_vjp"]

Flat = list[Any]
Function = Callable[[Flat], Flat]
PushRule = Callable[[Flat, Flat], tuple[Flat, Flat]]
Forward = Callable[[Flat], tuple[Flat, Flat]]
Backward = Callable[[Flat, Flat], Flat]


def highest_trace(args: Sequence[Any]) -> Trace | None:
    """Return the highest transform in progress among the arguments; the tape counts where it records."""
    trace: Trace | None = None
    for arg in args:
        node = arg._node if type(arg) is Array else None
        if node is not None and (trace is None or node.trace.level > trace.level):
            trace = node.trace
    return None if trace is None or not (trace.level or recording()) else trace


# Functions with a forward rule


def call_with_jvp(function: Function, push: PushRule, args: Flat) -> Flat:
    """Call a function whose derivative is ``push(primals, tangents) -> (results, tangents)``."""
    trace = highest_trace(args)
    if isinstance(trace, ForwardTrace):
        primals, tangents = trace.unwrap(args)
        outs, out_tangents = push(primals, _with_zeros(primals, tangents))
        _refuse_closures(trace, outs, "custom_jvp")
        return [trace.wrap(o, t if _is_inexact(o) else None) for o, t in zip(outs, out_tangents, strict=True)]
    if isinstance(trace, ReverseTrace):
        return _record_jvp(trace, push, args)
    if isinstance(trace, BatchTrace):
        values, axes = trace.unwrap(args)
        batch = Batch(trace)

        def push_batch(primals: Flat, tangents: Flat) -> tuple[Flat, Flat]:
            count = len(primals)
            outs = batch.run(
                lambda flat: _joined(push(flat[:count], flat[count:])), [*primals, *tangents], [*axes, *axes]
            )
            half = len(outs) // 2
            return outs[:half], outs[half:]

        return batch.wrapped(call_with_jvp(lambda flat: batch.run(function, flat, axes), push_batch, values))
    return function(args)


def _record_jvp(trace: ReverseTrace, push: PushRule, args: Flat) -> Flat:
    """Record the function on the tape: its derivative is linear in the tangents, so it is recorded and transposed."""
    values, parents = _split(trace, args)
    linear = ReverseTrace()
    zeros = [bound().zeros_like(value) for value in values]
    tangents = [z if parent is None else _leaf(linear, z) for z, parent in zip(zeros, parents, strict=True)]
    outs, out_tangents = push(values, tangents)
    linear.end()
    _refuse_closures(trace, outs, "custom_jvp")
    roots = {i: t._node for i, t in enumerate(out_tangents) if _is_at(t, linear)}
    seeds = [cast(Node, t._node) for t, parent in zip(tangents, parents, strict=True) if parent is not None]

    def pullback(parts: Parts) -> Sequence[Any]:
        found = linear.backward([(roots[i], g) for i, g in parts.items() if i in roots], retain=True)
        return [found.get(seed) for seed in seeds]

    return list(record_call(trace, outs, [p for p in parents if p is not None], pullback))


# Functions with a reverse rule


def call_with_vjp(function: Function, forward: Forward, backward: Backward, args: Flat) -> Flat:
    """Call a function whose derivative is ``backward(residuals, cotangents)``, after ``forward(args)``."""
    trace = highest_trace(args)
    if isinstance(trace, ForwardTrace):
        raise TypeError(
            "can't apply forward-mode differentiation (jvp) to a custom_vjp function. Use gradkit.custom_jvp, whose "
            "rule serves both modes."
        )
    if isinstance(trace, ReverseTrace):
        values, parents = _split(trace, args)
        outs, residuals = forward(values)
        _refuse_closures(trace, outs, "custom_vjp")
        tracked = [i for i, parent in enumerate(parents) if parent is not None]

        def pullback(parts: Parts) -> Sequence[Any]:
            cotangents = [as_bound(parts[i]) if i in parts else bound().zeros_like(o) for i, o in enumerate(outs)]
            shares = backward(residuals, cotangents)
            return [_raw_where_plain(shares[i]) for i in tracked]

        nodes = [parent for parent in parents if parent is not None]
        return list(record_call(trace, outs, nodes, pullback))
    if isinstance(trace, BatchTrace):
        values, axes = trace.unwrap(args)
        batch = Batch(trace)

        def forward_batch(flat: Flat) -> tuple[Flat, Flat]:
            sizes: list[int] = []

            def joined(elements: Flat) -> Flat:
                outs, residuals = forward(elements)
                sizes.append(len(outs))
                return [*outs, *residuals]

            both = batch.run(joined, flat, axes)
            return both[: sizes[0]], both[sizes[0] :]

        def backward_batch(residuals: Flat, cotangents: Flat) -> Flat:
            count = len(residuals)
            flat = [*residuals, *cotangents]
            shares = batch.run(lambda both: backward(both[:count], both[count:]), flat, (0,) * len(flat))
            return [_unbatched(share, axis) for share, axis in zip(shares, axes, strict=True)]

        return batch.wrapped(
            call_with_vjp(lambda flat: batch.run(function, flat, axes), forward_batch, backward_batch, values)
        )
    return function(args)


def _unbatched(share: Any, axis: int | None) -> Any:
    """Return a batch of cotangents, its first axis, as the cotangent of what had the batch at `axis` or not at all."""
    if share is None:
        return None
    if axis is None:
        return bound().sum(share, axis=0)
    rest = tuple(range(1, share.ndim))
    return bound().permute_dims(share, (*rest[:axis], 0, *rest[axis:]))


# Functions that run again in the backward pass


def call_checkpointed(function: Function, args: Flat) -> Flat:
    """Call a function of which the tape keeps the arguments alone, and runs it again in the backward pass."""
    trace = highest_trace(args)
    if isinstance(trace, ForwardTrace):
        primals, tangents = trace.unwrap(args)
        pushed = [i for i, t in enumerate(tangents) if t is not None]
        kept = [t is not None for t in tangents]
        present: list[bool] = []

        def pushing(flat: Flat) -> Flat:
            directions = iter(flat[len(primals) :])
            with trace.resumed():
                outs = function(
                    [trace.wrap(p, next(directions) if k else None) for p, k in zip(flat, kept, strict=False)]
                )
            outs, out_tangents = trace.unwrap(outs)
            present[:] = [t is not None for t in out_tangents]
            return [*outs, *(t for t in out_tangents if t is not None)]

        flat = call_checkpointed(pushing, [*primals, *(tangents[i] for i in pushed)])
        directions = iter(flat[len(present) :])
        return [trace.wrap(o, next(directions) if p else None) for o, p in zip(flat, present, strict=False)]
    if isinstance(trace, ReverseTrace):
        return _record_checkpoint(trace, function, args)
    if isinstance(trace, BatchTrace):
        values, axes = trace.unwrap(args)
        batch = Batch(trace)
        return batch.wrapped(call_checkpointed(lambda flat: batch.run(function, flat, axes), values))
    return function(args)


def _record_checkpoint(trace: ReverseTrace, function: Function, args: Flat) -> Flat:
    # The function is recorded as any other, which finds what it depends on: its arguments, and what it holds itself.
    # Then the record goes, and with it the values that it saved.
    start = new_sequence()
    outs = function(args)
    tracked = [o._node if _is_at(o, trace) else None for o in outs]
    parents = _boundary([node for node in tracked if node is not None], start)

    def pullback(parts: Parts) -> Sequence[Any]:
        floor = new_sequence()
        with enable_grad(), trace.resumed():
            again = function(args)
        roots = [(again[i]._node, g) for i, g in parts.items() if _is_at(again[i], trace)]
        found = trace.backward(roots, floor=floor)
        return [found.get(parent) for parent in parents]

    values = [o if node is None else as_bound(o._value) for o, node in zip(outs, tracked, strict=True)]
    recorded = record_call(trace, values, parents, pullback)
    return [o if node is None else r for o, node, r in zip(outs, tracked, recorded, strict=True)]


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


# Shared


class Batch:
    """Runs a function of the elements of a batch on whole arrays, at the level of its trace."""

    def __init__(self, trace: BatchTrace) -> None:
        self.trace = trace

    def run(self, function: Function, flat: Flat, axes: Sequence[int | None]) -> Flat:
        """Return the results with the batch as their first axis."""
        trace = self.trace
        with trace.resumed():
            outs = function([trace.wrap(value, axis) for value, axis in zip(flat, axes, strict=True)])
            values, places = trace.unwrap(outs)
        return [None if v is None else at_front(v, axis, trace.size) for v, axis in zip(values, places, strict=True)]

    def wrapped(self, outs: Flat) -> Flat:
        """Return whole results as the function under `vmap` sees them."""
        return [self.trace.wrap(out, 0) for out in outs]


def _joined(pair: tuple[Flat, Flat]) -> Flat:
    return [*pair[0], *pair[1]]


def _with_zeros(primals: Flat, tangents: Flat) -> Flat:
    return [bound().zeros_like(p) if t is None else t for p, t in zip(primals, tangents, strict=True)]


def _split(trace: ReverseTrace, args: Flat) -> tuple[Flat, list[Node | None]]:
    """Return the arguments as the levels below see them, and their nodes."""
    parents = [arg._node if _is_at(arg, trace) else None for arg in args]
    return [arg if p is None else as_bound(arg._value) for arg, p in zip(args, parents, strict=True)], parents


def _refuse_closures(trace: Trace, outs: Flat, kind: str) -> None:
    """Raise where a result depends on an array of the trace that was no argument: the rule says nothing of it."""
    if any(_is_at(out, trace) for out in outs):
        raise TypeError(
            f"Detected differentiation of a {kind} function with respect to a closed-over value. That's not supported "
            f"because the rule only specifies how to differentiate the {kind} function with respect to explicit input "
            f"parameters. Pass the value as an argument."
        )


def _is_at(value: Any, trace: Trace) -> bool:
    return type(value) is Array and value._node is not None and value._node.trace is trace


def _leaf(trace: ReverseTrace, value: Array) -> Array:
    from gradkit.core.array import wrap

    return wrap(value._value, Leaf(trace, value.shape, value.dtype))


def _is_inexact(value: Any) -> bool:
    return is_inexact(value.dtype.name)


def _raw_where_plain(value: Any) -> Any:
    return value._value if type(value) is Array and value._node is None else value
