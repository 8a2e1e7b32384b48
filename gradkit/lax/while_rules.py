"""`while` as an operation of a graph, under each transform: a loop again, or, in reverse mode, an error."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, NamedTuple

from gradkit.compiler.passes import Walk, dependent, differentiable, settled
from gradkit.core.array import Array, raw
from gradkit.core.batching import BatchTrace, at_front
from gradkit.core.binding import has_no_values, highest_trace
from gradkit.core.capture import graph_of
from gradkit.core.forward import ForwardTrace
from gradkit.core.function_batches import Batch
from gradkit.core.graph import Graph, HigherOrder, abstract_like
from gradkit.core.node import Trace, capturing
from gradkit.core.reverse import ReverseTrace
from gradkit.core.several_results import Parts, record_call
from gradkit.core.stand_in import Batched
from gradkit.errors import NoReverseModeError
from gradkit.lax.captured import (
    Flags,
    Flat,
    fill_with_none,
    instantiate_zeros,
    push_through,
    refuse_closures,
    runner,
    split_list,
    unwrap_parts,
)
from gradkit.lax.compiled_loops import captured, may_be_compiled, must_be_compiled, pays, run_compiled
from gradkit.primitives import any as any_along
from gradkit.primitives import reshape, where

__all__ = ["WHILE", "while_flat"]

LOOKED_AT = frozenset(2**i for i in range(6, 24))
"""After how many steps in Python it is asked whether to go on in native code."""


def while_flat(
    test: Callable[[Flat], Array], body: Callable[[Flat], Flat], values: Flat, of: Trace | None = None
) -> Flat:
    """Run ``values = body(values)`` as long as ``test(values)`` holds; `of` is the transform whose rule this is."""
    outside = must_be_compiled(values)
    if capturing() or outside:
        forms = [abstract_like(value) for value in values]
        test_graph, test_consts = graph_of(lambda *flat: [test(list(flat))], forms)
        body_graph, body_consts = graph_of(lambda *flat: body(list(flat)), forms)
        refuse_closures(body_consts, of)
        operands = [*test_consts, *body_consts, *values]
        if has_no_values(operands):
            return list(WHILE.run(operands, **_params(test_graph, test_consts, body_graph, body_consts)))
        if outside:
            return run_compiled(WHILE, operands, _params(test_graph, test_consts, body_graph, body_consts))
    steps = 0
    while True:
        going = test(values)
        if type(raw(going)) is not Batched:
            if not bool(going):
                return values
            values = body(values)
            steps += 1
            if steps in LOOKED_AT and (found := _compiled(test, body, values, steps)) is not None:
                return found
            continue
        # Each element of the batch stops by itself.
        if not bool(any_of_batch(going)):
            return values
        values = [where(going, n, v) for n, v in zip(body(values), values, strict=True)]


def _compiled(test: Callable[[Flat], Array], body: Callable[[Flat], Flat], values: Flat, steps: int) -> Flat | None:
    """Go on with a loop that has taken so many steps as one operation, if that pays."""
    if highest_trace(values) is not None or not may_be_compiled(values, steps):
        return None
    forms = [abstract_like(value) for value in values]
    # How long it will go on nobody knows: about as long as it has been.
    of_body = captured(lambda *flat: body(list(flat)), forms)
    if of_body is None or not pays(of_body[0], steps):
        return None
    of_test = captured(lambda *flat: [test(list(flat))], forms)
    if of_test is None:
        return None
    (body_graph, body_consts), (test_graph, test_consts) = of_body, of_test
    if highest_trace([*body_consts, *test_consts]) is not None:
        return None
    params = _params(test_graph, test_consts, body_graph, body_consts)
    return run_compiled(WHILE, [*test_consts, *body_consts, *values], params)


def _params(test: Graph, test_consts: Flat, body: Graph, body_consts: Flat) -> dict[str, Any]:
    return Loop(test, len(test_consts), body, len(body_consts))._asdict()


def any_of_batch(condition: Array) -> Array:
    """Return whether a condition holds for any element of the batches around it."""
    while type(raw(condition)) is Batched:
        batched = condition._value
        condition = any_along(batched.array, axis=batched.axis)
    return condition


class Loop(NamedTuple):
    """The parameters of a `while`, which are JAX's: two graphs, and how many of its arguments are their constants."""

    cond_jaxpr: Graph
    cond_nconsts: int
    body_jaxpr: Graph
    body_nconsts: int

    @property
    def counts(self) -> tuple[int, int]:
        """How many of the arguments are constants of the condition, and of the body; the rest are the carry."""
        return self.cond_nconsts, self.body_nconsts


class While(HigherOrder):
    """A loop as long as a condition holds."""

    def evaluate(self, args: Flat, **params: Any) -> Flat:
        """Go on until the condition does not hold."""
        loop = Loop(**params)
        test_consts, constants, values = split_list(args, loop.counts)
        test, body = runner(loop.cond_jaxpr), runner(loop.body_jaxpr)
        return while_flat(lambda v: test([*test_consts, *v])[0], lambda v: body([*constants, *v]), values)

    def results(self, **params: Any) -> Flat:
        """Return the body's."""
        return Loop(**params).body_jaxpr.outputs

    def reached(self, inputs: Flags, walk: Walk, **params: Any) -> list[bool]:
        """Go round until the carry spreads no more; where the condition depends on it all results do."""
        loop = Loop(**params)
        of_test, of_consts, of_carry = split_list(inputs, loop.counts)
        moving = settled(loop.body_jaxpr, of_consts, of_carry, [], walk)
        return [True] * len(moving) if walk(loop.cond_jaxpr, [*of_test, *moving])[0] else moving

    def in_forward(self, trace: ForwardTrace, args: Flat, **params: Any) -> Flat:
        """Carry the tangents along."""
        loop = Loop(**params)
        primals, tangents, follows = unwrap_parts(trace, args, loop.counts)
        (test_consts, constants, carry), (_, constants_t, carry_t), (_, of_consts, of_carry) = (
            primals,
            tangents,
            follows,
        )
        moving = settled(loop.body_jaxpr, of_consts, of_carry, [], differentiable)
        test, count = runner(loop.cond_jaxpr), len(carry)

        def step(state: Flat) -> Flat:
            directions = [*constants_t, *fill_with_none(state[count:], moving)]
            outs, outs_t = push_through(loop.body_jaxpr, [*constants, *state[:count]], directions, moving)
            return [*outs, *outs_t]

        starts = [instantiate_zeros(t, abstract_like(c)) for t, c in compress(zip(carry_t, carry, strict=True), moving)]
        outs = while_flat(lambda state: test([*test_consts, *state[:count]])[0], step, [*carry, *starts], trace)
        return [trace.wrap(v, t) for v, t in zip(outs[:count], fill_with_none(outs[count:], moving), strict=True)]

    def in_reverse(self, trace: ReverseTrace, args: Flat, **params: Any) -> Flat:
        """Run it; the derivative of its results is an error."""
        loop = Loop(**params)
        values, parents, (_, of_consts, of_carry) = unwrap_parts(trace, args, loop.counts)
        outs = self.run([*itertools.chain(*values)], **params)
        moving = settled(loop.body_jaxpr, of_consts, of_carry, [], differentiable)
        nodes = [parent for parent in itertools.chain(*parents[1:]) if parent is not None]
        return list(record_call(trace, outs, moving, nodes, _refuse))

    def in_batch(self, trace: BatchTrace, args: Flat, **params: Any) -> Flat:
        """Carry batches; go on until all elements have stopped, and keep the values of those that have."""
        loop = Loop(**params)
        (test_consts, constants, carry), (test_axes, const_axes, carry_axes), follows = unwrap_parts(
            trace, args, loop.counts
        )
        of_test, of_consts, of_carry = follows
        moving = settled(loop.body_jaxpr, of_consts, of_carry, [], dependent)
        each = dependent(loop.cond_jaxpr, [*of_test, *moving])[0]
        if each:  # elements stop by themselves, so every value is one of a batch
            moving = [True] * len(carry)
        batch = Batch(trace)
        inside = [0 if m else None for m in moving]

        def going(state: Flat) -> Array:
            (result,) = batch.run_where(loop.cond_jaxpr.run, [*test_consts, *state], [*test_axes, *inside], [each])
            return result  # type: ignore[no-any-return]

        def step(state: Flat) -> Flat:
            new = batch.run_where(loop.body_jaxpr.run, [*constants, *state], [*const_axes, *inside], moving)
            if not each:
                return new
            condition = going(state)
            return [where(_align(condition, v.ndim), n, v) for n, v in zip(new, state, strict=True)]

        starts = [
            at_front(c, axis, trace.size) if m else c for c, axis, m in zip(carry, carry_axes, moving, strict=True)
        ]
        outs = while_flat(lambda state: any_along(going(state), axis=0) if each else going(state), step, starts)
        return [trace.wrap(out, axis) for out, axis in zip(outs, inside, strict=True)]


WHILE = While("while")


def _refuse(parts: Parts, residuals: Flat) -> Sequence[Any]:
    raise NoReverseModeError(
        "Reverse-mode differentiation does not work for lax.while_loop or lax.fori_loop with dynamic start/stop values "
        "in a captured graph. Try using lax.scan, or using fori_loop with static start/stop."
    )


def _align(condition: Array, ndim: int) -> Array:
    return reshape(condition, (*condition.shape, *(1,) * (ndim - 1)))
