"""Whole functions that come with rules of their own (`custom_jvp`, `custom_vjp`, linear solves), under each transform.

They take and give flat lists of Arrays. The highest trace among the arguments and what the function closes over
decides: it runs the function's own rule, or hands a changed function to the levels below. In a graph such a call is one
operation, which keeps the rule. What a function closes over is found in its results: where a batch or a graph follows
them that is above all that the function was given, the call is made again under that one. A derivative by it is an
error, since the rule says nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gradkit.core.array import Array, dtype_as_stored, wrap
from gradkit.core.batching import BatchTrace, at_front
from gradkit.core.binding import in_branch
from gradkit.core.families import Parts, record_call
from gradkit.core.forward import ForwardTrace
from gradkit.core.graph import Graph, GraphTrace, HigherOrder, abstract_like, capturing, zeros_of
from gradkit.core.layers import followers
from gradkit.core.namespace import as_bound, bound
from gradkit.core.node import Leaf, Node, Trace, again, in_progress, new_level, places, recording
from gradkit.core.promotion import is_inexact
from gradkit.core.residuals import Record
from gradkit.core.reverse import ReverseTrace
from gradkit.errors import UnexpectedTracerError

__all__ = [
    "Batch",
    "call_with_jvp",
    "call_with_rules",
    "call_with_vjp",
    "closure_error",
    "highest_trace",
    "is_at",
    "split",
]

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
    return None if trace is None or not (trace.level or recording()) else in_branch(trace, args)


# What functions close over

ClosedOver = Sequence[Trace]


class ClosesOver(Exception):
    """Says that what a function closes over belongs to a transform above all that it was given."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace


def _called(call: Callable[[ClosedOver], Flat]) -> Flat:
    """Make a call, again where the function turns out to close over what belongs to a batch or a graph above."""
    closed_over: list[Trace] = []
    while True:
        try:
            return call(closed_over)
        except ClosesOver as found:
            closed_over.append(found.trace)


def _highest(args: Flat, closed_over: ClosedOver) -> tuple[Trace | None, ClosedOver]:
    """Return the highest trace among those of the arguments and of what is closed over, and the rest of these."""
    trace = highest_trace(args)
    for other in closed_over:
        if trace is None or other.level > trace.level:
            trace = other
    return trace, [other for other in closed_over if other is not trace]


def _checked(trace: Trace | None, values: Flat, kind: str, own: Trace | None = None) -> Flat:
    """Return what a function has computed, if it depends on nothing at the level of its trace or above.

    `own` is the trace of its tangents, which may.
    """
    above = [other for other in followers(values) if other is not own and _is_from(other, trace)]
    if not above:
        return values
    highest = max(above, key=lambda other: other.number)
    if isinstance(highest, ForwardTrace | ReverseTrace):
        raise closure_error(kind)
    raise ClosesOver(highest)


def _is_from(other: Trace, trace: Trace | None) -> bool:
    """Return whether a trace is not below another one."""
    if trace is None:
        return bool(other.level)  # the tape follows what a function closes over by the function's own operations
    if other is trace:
        return isinstance(trace, ForwardTrace | ReverseTrace)
    return other.level > trace.level


# Functions with a forward rule


def call_with_jvp(function: Function, push: PushRule, args: Flat) -> Flat:
    """Call a function whose derivative is ``push(primals, tangents) -> (results, tangents)``."""
    return _called(lambda closed_over: _call_with_jvp(function, push, args, closed_over))


def _call_with_jvp(function: Function, push: PushRule, args: Flat, closed_over: ClosedOver) -> Flat:
    trace, rest = _highest(args, closed_over)
    if isinstance(trace, ForwardTrace):
        return _pushed(trace, push, args, "custom_jvp")
    if isinstance(trace, LinearTrace) and trace.depth > 1:
        return function(args)
    if isinstance(trace, ReverseTrace):
        return _record_jvp(trace, push, args)
    if isinstance(trace, BatchTrace):
        values, axes = trace.unwrap(args)
        batch = RuleBatch(trace, "custom_jvp")
        outs = _call_with_jvp(_batched_function(batch, function, axes), _batched_push(batch, push, axes), values, rest)
        return batch.wrapped(outs)
    if isinstance(trace, GraphTrace):
        return _written_down(trace, CUSTOM_JVP, function, args, {"jvp": push})
    return _checked(None, function(args), "custom_jvp")


def _pushed(trace: ForwardTrace, push: PushRule, args: Flat, kind: str) -> Flat:
    primals, tangents = trace.unwrap(args)
    outs, out_tangents = push(primals, _with_zeros(primals, tangents))
    _checked(trace, [*outs, *out_tangents], kind)
    return [trace.wrap(o, t if _is_inexact(o) else None) for o, t in zip(outs, out_tangents, strict=True)]


def _batched_function(batch: Batch, function: Function, axes: Sequence[int | None]) -> Function:
    return lambda flat: batch.noted(*batch.run_as_found(function, flat, axes))


def _batched_push(batch: Batch, push: PushRule, axes: Sequence[int | None]) -> PushRule:
    def push_batch(primals: Flat, tangents: Flat) -> tuple[Flat, Flat]:
        count = len(primals)
        outs, found = batch.run_as_found(
            lambda flat: _joined(push(flat[:count], flat[count:])), [*primals, *tangents], [*axes, *axes]
        )
        half = len(outs) // 2
        either = [a or b for a, b in zip(found[:half], found[half:], strict=True)]
        return batch.noted(outs[:half], found[:half], either), batch.noted(outs[half:], found[half:], either)

    return push_batch


class LinearTrace(ReverseTrace):
    """The record of what a rule does with the tangents, which is linear, in the place of the trace whose rule it is.

    A rule may call its own function on a tangent. Where the record of that is made by the rule as well (`depth` is 2),
    a function is recorded by its operations, as JAX does at once: else there would be no end to it.
    """

    __slots__ = ("depth",)

    def __init__(self, above: ReverseTrace) -> None:
        super().__init__(above)
        self.depth: int = above.depth + 1 if isinstance(above, LinearTrace) else 1


def _record_jvp(trace: ReverseTrace, push: PushRule, args: Flat) -> Flat:
    """Record the function on the tape: its derivative is linear in the tangents, so it is recorded and transposed."""
    values, parents = split(trace, args)
    linear = LinearTrace(trace)
    zeros = [bound().zeros_like(value) for value in values]
    tangents = [z if parent is None else _leaf(linear, z) for z, parent in zip(zeros, parents, strict=True)]
    outs, out_tangents = push(values, tangents)
    _checked(trace, [*outs, *out_tangents], "custom_jvp", linear)
    linear.end()
    roots = [t._node if is_at(t, linear) else None for t in out_tangents]
    seeds = [t._node for t, parent in zip(tangents, parents, strict=True) if parent is not None]

    def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
        (record,) = residuals
        return record.pull([parts.get(i) for i in range(len(record.roots))])  # type: ignore[no-any-return]

    record = Record(linear, roots, seeds)
    return list(record_call(trace, outs, [p for p in parents if p is not None], pullback, (record,)))


# Functions with a reverse rule


def call_with_vjp(function: Function, forward: Forward, backward: Backward, args: Flat) -> Flat:
    """Call a function whose derivative is ``backward(residuals, cotangents)``, after ``forward(args)``."""
    return _called(lambda closed_over: _call_with_vjp(function, forward, backward, args, closed_over))


def _call_with_vjp(
    function: Function, forward: Forward, backward: Backward, args: Flat, closed_over: ClosedOver
) -> Flat:
    trace, rest = _highest(args, closed_over)
    if isinstance(trace, ForwardTrace):
        raise TypeError(
            "can't apply forward-mode autodiff (jvp) to a custom_vjp function. Use gradkit.custom_jvp, whose rule "
            "serves both modes."
        )
    if isinstance(trace, ReverseTrace):
        return _record_vjp(trace, forward, backward, args, "custom_vjp")
    if isinstance(trace, BatchTrace):
        values, axes = trace.unwrap(args)
        batch = RuleBatch(trace, "custom_vjp")
        rules = _batched_forward(batch, forward, axes), _batched_backward(batch, backward, axes)
        return batch.wrapped(_call_with_vjp(_batched_function(batch, function, axes), *rules, values, rest))
    if isinstance(trace, GraphTrace):
        return _written_down(trace, CUSTOM_VJP, function, args, {"fwd": forward, "bwd": backward})
    return _checked(None, function(args), "custom_vjp")


def _record_vjp(trace: ReverseTrace, forward: Forward, backward: Backward, args: Flat, kind: str) -> Flat:
    values, parents = split(trace, args)
    outs, residuals = forward(values)
    _checked(trace, [*outs, *residuals], kind)
    tracked = [i for i, parent in enumerate(parents) if parent is not None]
    forms = [abstract_like(out) for out in outs]

    def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
        cotangents = [as_bound(parts[i]) if i in parts else zeros_of(form) for i, form in enumerate(forms)]
        shares = backward([as_bound(residual) for residual in residuals], cotangents)
        return [_raw_where_plain(shares[i]) for i in tracked]

    return list(record_call(trace, outs, [p for p in parents if p is not None], pullback, residuals))


def _batched_forward(batch: Batch, forward: Forward, axes: Sequence[int | None]) -> Forward:
    def forward_batch(flat: Flat) -> tuple[Flat, Flat]:
        sizes: list[int] = []

        def joined(elements: Flat) -> Flat:
            outs, residuals = forward(elements)
            sizes.append(len(outs))
            return [*outs, *residuals]

        both, found = batch.run_as_found(joined, flat, axes)
        count = sizes[0]
        batch.kept = found[count:]
        return batch.noted(both[:count], found[:count]), both[count:]

    return forward_batch


def _batched_backward(batch: Batch, backward: Backward, axes: Sequence[int | None]) -> Backward:
    def backward_batch(residuals: Flat, cotangents: Flat) -> Flat:
        count = len(residuals)
        places = [0 if batched else None for batched in (*batch.kept, *batch.batched)]
        shares, found = batch.run_as_found(
            lambda both: backward(both[:count], both[count:]), [*residuals, *cotangents], places
        )
        return [
            share if axis is None and not batched else _unbatched(batch.whole(share, batched), axis)
            for share, axis, batched in zip(shares, axes, found, strict=True)
        ]

    return backward_batch


# Functions with both


def call_with_rules(function: Function, push: PushRule, forward: Forward, backward: Backward, args: Flat) -> Flat:
    """Call a function that has a rule for each mode."""
    return _called(lambda closed_over: _call_with_rules(function, push, forward, backward, args, closed_over))


def _call_with_rules(
    function: Function, push: PushRule, forward: Forward, backward: Backward, args: Flat, closed_over: ClosedOver
) -> Flat:
    trace, rest = _highest(args, closed_over)
    if isinstance(trace, ForwardTrace):
        return _pushed(trace, push, args, "custom_linear_solve")
    if isinstance(trace, ReverseTrace):
        return _record_vjp(trace, forward, backward, args, "custom_linear_solve")
    if isinstance(trace, BatchTrace):
        values, axes = trace.unwrap(args)
        batch = RuleBatch(trace, "custom_linear_solve")
        rules = (
            _batched_push(batch, push, axes),
            _batched_forward(batch, forward, axes),
            _batched_backward(batch, backward, axes),
        )
        return batch.wrapped(_call_with_rules(_batched_function(batch, function, axes), *rules, values, rest))
    if isinstance(trace, GraphTrace):
        return _written_down(trace, LINEAR_SOLVE, function, args, {"jvp": push, "fwd": forward, "bwd": backward})
    return _checked(None, function(args), "custom_linear_solve")


# Such functions in graphs


def _written_down(trace: GraphTrace, operation: HigherOrder, function: Function, args: Flat, rules: Any) -> Flat:
    capture = GraphTrace(trace)
    run = capture.run(
        lambda *flat: _checked(capture, function(list(flat)), operation.name.removesuffix("_call")),
        [abstract_like(arg) for arg in args],
    )
    graph, constants = run.closed(), [constant for _, constant in run.constants]
    params = {"call_jaxpr": graph, "num_consts": len(constants), **rules}
    return list(trace.process(operation, [*constants, *args], params))


def _calling(call: Callable[..., Flat], *names: str) -> Callable[..., Flat]:
    """Make what runs a call of a graph: `call` with the graph's function and the rules of these names."""

    def run(args: Sequence[Any], *, call_jaxpr: Graph, num_consts: int, **rules: Any) -> Flat:
        constants = args[:num_consts]
        arguments = list(map(as_bound, args[num_consts:]))
        return call(lambda flat: call_jaxpr.run([*constants, *flat]), *(rules[name] for name in names), arguments)

    return run


def _results(*, call_jaxpr: Graph, **_: Any) -> Flat:
    return call_jaxpr.outputs


def _reached(inputs: Sequence[bool], walk: Any, *, call_jaxpr: Graph, **_: Any) -> list[bool]:
    walk(call_jaxpr, inputs)
    return [True] * len(call_jaxpr.outputs)  # a rule's derivative may depend on more than the function does


CUSTOM_JVP = HigherOrder("custom_jvp_call", _calling(call_with_jvp, "jvp"), _results, _reached, ("jvp",))
CUSTOM_VJP = HigherOrder("custom_vjp_call", _calling(call_with_vjp, "fwd", "bwd"), _results, _reached, ("fwd", "bwd"))
LINEAR_SOLVE = HigherOrder(
    "custom_linear_solve", _calling(call_with_rules, "jvp", "fwd", "bwd"), _results, derivative=("jvp", "fwd", "bwd")
)


def _unbatched(share: Any, axis: int | None) -> Any:
    """Return a batch of cotangents, its first axis, as the cotangent of what had the batch at `axis` or not at all."""
    if share is None:
        return None
    if axis is None:
        return bound().sum(share, axis=0)
    rest = tuple(range(1, share.ndim))
    return bound().permute_dims(share, (*rest[:axis], 0, *rest[axis:]))


# Shared


class Batch:
    """Runs a function of the elements of a batch, which closes over nothing, on whole arrays above all other traces.

    Attributes
    ----------
    batched : list of bool
        Which of the results have the batch, as their first axis; the others are the same for every element.
    kept : list of bool
        Which of a forward rule's residuals do.
    """

    def __init__(self, trace: BatchTrace) -> None:
        self.trace = trace
        self.batched: list[bool] = []
        self.kept: list[bool] = []

    def in_progress(self, flat: Flat) -> AbstractContextManager[None]:
        """Let the batch be in progress inside a ``with`` block, in which the function runs on these arguments."""
        return self.trace.lifted()

    def checked(self, outs: Flat) -> Flat:
        """Return the function's results."""
        return outs

    def run_where(self, function: Function, flat: Flat, axes: Sequence[int | None], batched: Sequence[bool]) -> Flat:
        """Return the results with the batch as their first axis where `batched` says so, the others as they are."""
        outs, found = self.run_as_found(function, flat, axes)
        return [self.whole(o, has or not b) for o, has, b in zip(outs, found, batched, strict=True)]

    def run_as_found(self, function: Function, flat: Flat, axes: Sequence[int | None]) -> tuple[Flat, list[bool]]:
        """Return the results, with the batch as their first axis where they have it, and where that is."""
        trace = self.trace
        with self.in_progress(flat):
            outs = self.checked(function([trace.wrap(value, axis) for value, axis in zip(flat, axes, strict=True)]))
            values, places = trace.unwrap(outs)
        found = [place is not None for place in places]
        return [
            at_front(v, axis, trace.size) if b else v for v, axis, b in zip(values, places, found, strict=True)
        ], found

    def noted(self, outs: Flat, found: Sequence[bool], batched: Sequence[bool] | None = None) -> Flat:
        """Note which results have the batch (by default those `found` with it), and repeat those that lack it.

        In a graph, whose rules run later and may find others, all have it.
        """
        self.batched = [True] * len(outs) if capturing() else list(found if batched is None else batched)
        return [self.whole(o, has or not b) for o, has, b in zip(outs, found, self.batched, strict=True)]

    def whole(self, out: Any, batched: bool) -> Any:
        """Return a result with the batch as its first axis, repeated where it had none."""
        return out if batched or out is None else at_front(out, None, self.trace.size)

    def wrapped(self, outs: Flat) -> Flat:
        """Return whole results as the function under `vmap` sees them."""
        return [self.trace.wrap(out, 0 if b else None) for out, b in zip(outs, self.batched, strict=True)]


class RuleBatch(Batch):
    """Runs functions and rules of the user's, which may close over something, at the level of their trace."""

    def __init__(self, trace: BatchTrace, kind: str) -> None:
        super().__init__(trace)
        self._kind = kind
        self._places, self._last = places(), new_level()

    def in_progress(self, flat: Flat) -> AbstractContextManager[None]:
        """Let the batch be in progress, and all that began after it and before the call, with what that closes over."""
        trace = self.trace
        if in_progress(trace) and any(other.level > trace.level for other in followers(flat) if other is not trace):
            return trace.lifted()  # a rule in a graph, which a loop runs while the batch is in progress still
        return again(trace.number, self._last)

    def checked(self, outs: Flat) -> Flat:
        """Return the results, if they depend on nothing that was above the batch when the call was made."""
        if not self.trace.level > self._last:
            return _checked(self.trace, outs, self._kind)
        start, end = self._places(self.trace), (self._last, 0)
        above = (other for other in followers(outs) if start < self._places(other) < end)
        if any(isinstance(other, ForwardTrace | ReverseTrace) for other in above):
            raise closure_error(self._kind)
        return outs


def _joined(pair: tuple[Flat, Flat]) -> Flat:
    return [*pair[0], *pair[1]]


def _with_zeros(primals: Flat, tangents: Flat) -> Flat:
    return [bound().zeros_like(p) if t is None else t for p, t in zip(primals, tangents, strict=True)]


def split(trace: ReverseTrace, args: Flat) -> tuple[Flat, list[Node | None]]:
    """Return the arguments as the levels below see them, and their nodes."""
    parents = [arg._node if is_at(arg, trace) else None for arg in args]
    return [arg if p is None else as_bound(arg._value) for arg, p in zip(args, parents, strict=True)], parents


def closure_error(kind: str) -> UnexpectedTracerError:
    """Return the error for a function with rules of its own that is differentiated by what it closes over."""
    return UnexpectedTracerError(
        f"Encountered an unexpected tracer. Detected differentiation of a {kind} function with respect to a "
        f"closed-over value. That's not supported because the rule only specifies how to differentiate the {kind} "
        f"function with respect to explicit input parameters. Pass the value as an argument."
    )


def is_at(value: Any, trace: Trace) -> bool:
    """Return whether a trace follows a value."""
    return type(value) is Array and value._node is not None and value._node.trace is trace


def _leaf(trace: ReverseTrace, value: Array) -> Array:
    return wrap(value._value, Leaf(trace, value.shape, dtype_as_stored(value)))


def _is_inexact(value: Any) -> bool:
    return is_inexact(value.dtype.name)


def _raw_where_plain(value: Any) -> Any:
    return value._value if type(value) is Array and value._node is None else value
