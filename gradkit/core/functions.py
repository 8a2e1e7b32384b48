"""Whole functions that come with rules of their own (`custom_jvp`, `custom_vjp`, linear solves), under each transform.

They take and give flat lists of Arrays. The highest trace among the arguments and what the function closes over
decides: it runs the function's own rule, or hands a changed function to the levels below. In a graph such a call is one
operation, which keeps the rule. What a function closes over is found in its results: where a batch or a graph follows
them that is above all that the function was given, the call is made again under that one. A derivative by it is an
error, since the rule says nothing of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.core.above import above
from gradkit.core.array import Array, dtype_as_stored, wrap
from gradkit.core.batching import BatchTrace
from gradkit.core.capture import GraphTrace
from gradkit.core.closures import ClosedOver, ClosesOver, check_closures, highest
from gradkit.core.forward import ForwardTrace
from gradkit.core.function_batches import Batch, Flat, Function, RuleBatch
from gradkit.core.graph import Graph, HigherOrder, abstract_like, zeros_of
from gradkit.core.namespace import as_bound, bound
from gradkit.core.node import Leaf, Node, Trace
from gradkit.core.primitive import no_transpose
from gradkit.core.promotion import is_inexact
from gradkit.core.residuals import Record
from gradkit.core.reverse import ReverseTrace
from gradkit.core.several_results import Parts, record_call

__all__ = ["CUSTOM_JVP", "CUSTOM_VJP", "LINEAR_SOLVE", "NOT_LINEAR"]

PushRule = Callable[[Flat, Flat], tuple[Flat, Flat]]
Forward = Callable[[Flat], tuple[Flat, Flat]]
Backward = Callable[[Flat, Flat], Flat]
Rule = PushRule | Forward | Backward | int


# Functions with a forward rule


def _push(trace: ForwardTrace, push: PushRule, args: Flat, kind: str) -> Flat:
    primals, tangents = trace.unwrap(args)
    outs, out_tangents = push(primals, _with_zeros(primals, tangents))
    check_closures(trace, [*outs, *out_tangents], kind)
    return [trace.wrap(o, t if _is_inexact(o) else None) for o, t in zip(outs, out_tangents, strict=True)]


def _batched_function(batch: Batch, function: Function, axes: Sequence[int | None]) -> Function:
    return lambda flat: batch.note(*batch.run_as_found(function, flat, axes))


def _batched_push(batch: Batch, push: PushRule, axes: Sequence[int | None]) -> PushRule:
    def push_batch(primals: Flat, tangents: Flat) -> tuple[Flat, Flat]:
        count = len(primals)
        outs, found = batch.run_as_found(
            lambda flat: _join(push(flat[:count], flat[count:])), [*primals, *tangents], [*axes, *axes]
        )
        half = len(outs) // 2
        either = [a or b for a, b in zip(found[:half], found[half:], strict=True)]
        return batch.note(outs[:half], found[:half], either), batch.note(outs[half:], found[half:], either)

    return push_batch


class LinearTrace(ReverseTrace):
    """The record of what a rule does with the tangents, in the place of the trace whose rule it is.

    It is transposed, so what is not linear is refused: an operation when the record is complete, by its node, and one
    that runs graphs at once, by those. A function with a rule of its own is recorded by its operations.
    """

    __slots__ = ()
    is_linear = True

    def call(self, operation: HigherOrder, args: list[Any], params: Mapping[str, Any]) -> list[Any]:
        """Ask the operation, if it is linear."""
        if not isinstance(operation, CustomCall):
            above.require_linear(operation, [self.follows(arg) for arg in args], params, NOT_LINEAR)
        return super().call(operation, args, params)


NOT_LINEAR = "the rule of a custom_jvp function is not linear in the tangents"


def _record_jvp(trace: ReverseTrace, push: PushRule, args: Flat) -> Flat:
    """Record the function on the tape: its derivative is linear in the tangents, so it is recorded and transposed."""
    values, parents = trace.unwrap(args)
    linear = LinearTrace(trace)
    zeros = [bound().zeros_like(value) for value in values]
    tangents = [z if parent is None else _leaf(linear, z) for z, parent in zip(zeros, parents, strict=True)]
    outs, out_tangents = push(values, tangents)
    check_closures(trace, [*outs, *out_tangents], "custom_jvp", linear)
    linear.end()
    roots = [t._node if linear.follows(t) else None for t in out_tangents]
    _require_linear(roots)
    seeds = [t._node for t, parent in zip(tangents, parents, strict=True) if parent is not None]

    def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
        (record,) = residuals
        return record.pull([parts.get(i) for i in range(len(record.roots))])  # type: ignore[no-any-return]

    record = Record(linear, roots, seeds)
    return _recorded(trace, outs, parents, pullback, (record,))


def _require_linear(roots: Sequence[Node | None]) -> None:
    """Raise where a rule does what is not linear to the tangents: the record of that could not be transposed."""
    waiting = [root for root in roots if root is not None]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node in seen or node.primitive is None:
            continue
        seen.add(node)
        waiting += [parent for parent in node.parents if parent is not None]
        bits = sum(1 << i for i, parent in enumerate(node.parents) if parent is not None)
        if node.primitive.has_kernels and not node.primitive.is_linear_in(bits):
            raise no_transpose(node.primitive.name, NOT_LINEAR)


# Functions with a reverse rule


def _record_vjp(trace: ReverseTrace, forward: Forward, backward: Backward, args: Flat, kind: str) -> Flat:
    values, parents = trace.unwrap(args)
    outs, residuals = forward(values)
    check_closures(trace, [*outs, *residuals], kind)
    tracked = [i for i, parent in enumerate(parents) if parent is not None]
    forms = [abstract_like(out) for out in outs]

    def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
        cotangents = [as_bound(parts[i]) if i in parts else zeros_of(form) for i, form in enumerate(forms)]
        shares = backward([as_bound(residual) for residual in residuals], cotangents)
        return [_raw_where_plain(shares[i]) for i in tracked]

    return _recorded(trace, outs, parents, pullback, residuals)


def _recorded(trace: ReverseTrace, outs: Flat, parents: Sequence[Node | None], pullback: Any, kept: Any) -> Flat:
    """Record all results: the rule may depend on more than the function does."""
    nodes = [parent for parent in parents if parent is not None]
    return list(record_call(trace, outs, [True] * len(outs), nodes, pullback, kept))


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
        return batch.note(both[:count], found[:count]), both[count:]

    return forward_batch


def _batched_backward(batch: Batch, backward: Backward, axes: Sequence[int | None]) -> Backward:
    def backward_batch(residuals: Flat, cotangents: Flat) -> Flat:
        count = len(residuals)
        axes_of_all = [0 if batched else None for batched in (*batch.kept, *batch.batched)]
        shares, found = batch.run_as_found(
            lambda both: backward(both[:count], both[count:]), [*residuals, *cotangents], axes_of_all
        )
        return [
            share if axis is None and not batched else _unbatch(batch.whole(share, batched), axis)
            for share, axis, batched in zip(shares, axes, found, strict=True)
        ]

    return backward_batch


def _unbatch(share: Any, axis: int | None) -> Any:
    """Return a batch of cotangents, its first axis, as the cotangent of what had the batch at `axis` or not at all."""
    if share is None:
        return None
    if axis is None:
        return bound().sum(share, axis=0)
    rest = tuple(range(1, share.ndim))
    return bound().permute_dims(share, (*rest[:axis], 0, *rest[axis:]))


# The calls of such functions


class CustomCall(HigherOrder):
    """A call of a function with rules of its own, which are functions of flat lists as well.

    While transforms run it has three parameters: the function, the rules, and what they close over beside what the
    trace is of. In a graph it has the function's graph and the rules by name; there its first arguments are what the
    function closes over.
    """

    calls = "call_jaxpr"

    @property
    def kind(self) -> str:
        """Its name in errors."""
        return self.name.removesuffix("_call")

    def call(self, args: Flat, function: Function, *rules: Rule) -> Flat:
        """Call the function, again where it turns out to close over what belongs to a batch or a graph above."""
        closed_over: list[Trace] = []
        while True:
            try:
                return self._call(args, function, rules, closed_over)
            except ClosesOver as found:
                closed_over.append(found.trace)

    def _call(self, args: Flat, function: Function, rules: Sequence[Rule], closed_over: ClosedOver) -> Flat:
        trace, rest = highest(args, closed_over)
        if trace is None:
            return self.evaluate(args, function=function)
        return trace.call(self, args, {"function": function, "rules": rules, "rest": rest})

    def run(self, args: Sequence[Any], **params: Any) -> Flat:
        """Call the function of a graph, with the rules that stand there."""
        constants, arguments = args[: params["num_consts"]], list(map(as_bound, args[params["num_consts"] :]))
        graph, rules = params["call_jaxpr"], [params[name] for name in self.derivative]
        return self.call(arguments, lambda flat: graph.run([*constants, *flat]), *rules)

    def evaluate(self, args: Flat, *, function: Function) -> Flat:
        """Run the function."""
        return check_closures(None, function(args), self.kind)

    def in_batch(
        self, trace: BatchTrace, args: Flat, *, function: Function, rules: Sequence[Rule], rest: ClosedOver
    ) -> Flat:
        """Call the function of whole batches, with rules of whole batches, at the levels below."""
        values, axes = trace.unwrap(args)
        batch = RuleBatch(trace, self.kind)
        whole = _batched_function(batch, function, axes)
        return batch.wrap(self._call(values, whole, self.batch_rules(batch, axes, *rules), rest))

    @abstractmethod
    def batch_rules(self, batch: Batch, axes: Sequence[int | None], *rules: Any) -> Sequence[Rule]:
        """Return the rules of whole batches."""

    def in_graph(
        self, trace: GraphTrace, args: Flat, *, function: Function, rules: Sequence[Rule], rest: ClosedOver
    ) -> Flat:
        """Write the call down, with the function's graph."""
        capture = GraphTrace(trace)
        run = capture.run(
            lambda *flat: check_closures(capture, function(list(flat)), self.kind), [abstract_like(arg) for arg in args]
        )
        constants = [constant for _, constant in run.constants]
        params = {"call_jaxpr": run.closed(), "num_consts": len(constants)}
        named = dict(zip(self.derivative, rules, strict=True))
        return list(trace.process(self, [*constants, *args], {**params, **named}))

    def results(self, *, call_jaxpr: Graph, **_: Any) -> Flat:
        """Return the function's."""
        return call_jaxpr.outputs

    def reached(self, inputs: Sequence[bool], walk: Any, *, call_jaxpr: Graph, **_: Any) -> list[bool]:
        """Say that all results are: a rule's derivative may depend on more than the function does."""
        walk(call_jaxpr, inputs)
        return [True] * len(call_jaxpr.outputs)


class CustomJVP(CustomCall):
    """A call of a function whose derivative is ``push(primals, tangents) -> (results, tangents)``."""

    derivative = ("jvp",)

    def in_forward(self, trace: ForwardTrace, args: Flat, *, rules: Sequence[Any], **_: Any) -> Flat:
        """Run the rule."""
        return _push(trace, rules[0], args, self.kind)

    def in_reverse(
        self, trace: ReverseTrace, args: Flat, *, function: Function, rules: Sequence[Any], rest: ClosedOver
    ) -> Flat:
        """Record the rule, which is linear in the tangents."""
        if trace.is_linear:
            return function(args)
        return _record_jvp(trace, rules[0], args)

    def batch_rules(self, batch: Batch, axes: Sequence[int | None], *rules: Any) -> Sequence[Rule]:
        """Return the rule of whole batches."""
        return (_batched_push(batch, rules[0], axes),)


class CustomVJP(CustomCall):
    """A call of a function whose derivative is ``backward(residuals, cotangents)``, after ``forward(args)``."""

    derivative: Sequence[str] = ("fwd", "bwd")

    def in_forward(self, trace: ForwardTrace, args: Flat, *, rules: Sequence[Any], **_: Any) -> Flat:
        """Refuse: there is no rule for it."""
        raise TypeError(
            "can't apply forward-mode autodiff (jvp) to a custom_vjp function. Use gradkit.custom_jvp, whose rule "
            "serves both modes."
        )

    def in_reverse(
        self, trace: ReverseTrace, args: Flat, *, function: Function, rules: Sequence[Any], rest: ClosedOver
    ) -> Flat:
        """Run the forward rule, and keep what it gives for the backward rule."""
        if trace.is_linear and self is not LINEAR_SOLVE:
            return function(args)
        return _record_vjp(trace, rules[-2], rules[-1], args, self.kind)

    def batch_rules(self, batch: Batch, axes: Sequence[int | None], *rules: Any) -> Sequence[Rule]:
        """Return both rules of whole batches."""
        return _batched_forward(batch, rules[-2], axes), _batched_backward(batch, rules[-1], axes)


class LinearSolve(CustomVJP):
    """A call of a function that has a rule for each mode; beside them stands of how many leaves its right side is."""

    derivative = ("jvp", "size", "fwd", "bwd")

    def in_forward(self, trace: ForwardTrace, args: Flat, *, rules: Sequence[Any], **_: Any) -> Flat:
        """Run the forward mode's."""
        return _push(trace, rules[0], args, self.kind)

    def batch_rules(self, batch: Batch, axes: Sequence[int | None], *rules: Any) -> Sequence[Rule]:
        """Return all rules of whole batches."""
        return _batched_push(batch, rules[0], axes), rules[1], *super().batch_rules(batch, axes, *rules)

    def reached(self, inputs: Sequence[bool], walk: Any, *, call_jaxpr: Graph, **_: Any) -> list[bool]:
        """Say that all results are; what the solver does is nobody's concern."""
        return [True] * len(call_jaxpr.outputs)


CUSTOM_JVP = CustomJVP("custom_jvp_call")
CUSTOM_VJP = CustomVJP("custom_vjp_call")
LINEAR_SOLVE = LinearSolve("custom_linear_solve")


def _join(pair: tuple[Flat, Flat]) -> Flat:
    return [*pair[0], *pair[1]]


def _with_zeros(primals: Flat, tangents: Flat) -> Flat:
    return [bound().zeros_like(p) if t is None else t for p, t in zip(primals, tangents, strict=True)]


def _leaf(trace: ReverseTrace, value: Array) -> Array:
    return wrap(value._value, Leaf(trace, value.shape, dtype_as_stored(value)))


def _is_inexact(value: Any) -> bool:
    return is_inexact(value.dtype.name)


def _raw_where_plain(value: Any) -> Any:
    return value._value if type(value) is Array and value._node is None else value
