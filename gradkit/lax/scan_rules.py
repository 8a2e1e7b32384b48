"""`scan` as an operation of a graph, under each transform.

Every transform of a scan is one: in forward mode the tangents are carried along; reverse mode keeps what each step's
pullback reads, and runs a scan backwards over that; `vmap` carries batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gradkit.compiler.passes import Walk, dependent, differentiable, settled
from gradkit.core.array import Array
from gradkit.core.batching import BatchTrace, at_front
from gradkit.core.binding import has_no_values
from gradkit.core.families import Parts, record_call
from gradkit.core.forward import ForwardTrace
from gradkit.core.functions import Batch
from gradkit.core.graph import Graph, HigherOrder, Variable, abstract_like, capturing, graph_of
from gradkit.core.namespace import as_bound
from gradkit.core.node import Trace
from gradkit.core.reverse import ReverseTrace
from gradkit.lax.captured import (
    Flags,
    Flat,
    chosen,
    divided,
    elements_of,
    push_through,
    recorded,
    refuse_closures,
    runner,
    spread,
    zeros_unless,
)
from gradkit.primitives import permute_dims, stack
from gradkit.primitives.new_arrays import zeros

__all__ = ["SCAN", "scan_flat"]

Step = Callable[[Flat, Flat], tuple[Flat, Flat]]


def scan_flat(step: Step, carry: Flat, xs: Flat, length: int, reverse: bool, of: Trace | None = None) -> Flat:
    """Run ``step(carry, x) -> (carry, ys)`` over the first axis of `xs`; give the last carry and the stacked ys.

    `of` is the transform whose rule for a scan this is.
    """
    if capturing():
        inputs = [*map(abstract_like, carry), *map(elements_of, xs)]
        graph, constants = graph_of(lambda *flat: _joined(step(*_halves(flat, len(carry)))), inputs)
        refuse_closures(constants, of)
        operands = [*constants, *carry, *xs]
        if has_no_values(operands):
            counts = {"num_consts": len(constants), "num_carry": len(carry), "length": length}
            return list(SCAN.run(operands, jaxpr=graph, **counts, reverse=reverse, unroll=1))
    rows = []
    for i in range(length)[:: -1 if reverse else 1]:
        carry, ys = step(carry, [x[i] for x in xs])
        rows.append(ys)
    if reverse:
        rows.reverse()
    return [*carry, *(stack(column, axis=0) for column in zip(*rows, strict=True))]


def _halves(values: Sequence[Any], count: int) -> tuple[Flat, Flat]:
    return list(values[:count]), list(values[count:])


def _joined(pair: tuple[Flat, Flat]) -> Flat:
    return [*pair[0], *pair[1]]


class Stacked(NamedTuple):
    """The shape and dtype of the results of all steps."""

    shape: tuple[int, ...]
    dtype: Any


class Scan(HigherOrder):
    """A loop over the first axis of arrays. Its arguments are constants, the carry, and xs.

    Its parameters are JAX's: `jaxpr` is the graph of a step, of the same three, `num_consts` and `num_carry` say how
    many of them there are. In the rules the flags of the carry are *moving*: those of the start that spread to the rest
    of the carry after some steps.
    """

    def evaluate(
        self, args: Flat, *, jaxpr: Graph, num_consts: int, num_carry: int, length: int, reverse: bool, **_: Any
    ) -> Flat:
        """Run one step after another."""
        constants, carry, xs = divided(args, num_consts, num_carry)
        run = runner(jaxpr)
        if not length:
            return [*carry, *(zeros((0, *y.shape), dtype=y.dtype) for y in jaxpr.outputs[num_carry:])]
        return scan_flat(lambda c, x: _halves(run([*constants, *c, *x]), num_carry), carry, xs, length, reverse)

    def results(self, *, jaxpr: Graph, num_carry: int, length: int, **_: Any) -> Flat:
        """Return the carry, and the results of one step stacked."""
        carry, ys = _halves(jaxpr.outputs, num_carry)
        return [*carry, *(Stacked((length, *y.shape), y.dtype) for y in ys)]

    def reached(
        self, inputs: Flags, walk: Walk, *, jaxpr: Graph, num_consts: int, num_carry: int, **_: Any
    ) -> list[bool]:
        """Go round until the carry spreads no more."""
        of_consts, of_carry, of_xs = divided(inputs, num_consts, num_carry)
        return settled(jaxpr, of_consts, of_carry, of_xs, walk)

    def in_forward(
        self,
        trace: ForwardTrace,
        args: Flat,
        *,
        jaxpr: Graph,
        num_consts: int,
        num_carry: int,
        length: int,
        reverse: bool,
        **_: Any,
    ) -> Flat:
        """Carry the tangents along."""
        primals, tangents = trace.unwrap(args)
        constants, carry, xs = divided(primals, num_consts, num_carry)
        constants_t, carry_t, xs_t = divided(tangents, num_consts, num_carry)
        of_consts, of_carry, of_xs = divided([t is not None for t in tangents], num_consts, num_carry)
        wanted = settled(jaxpr, of_consts, of_carry, of_xs, differentiable)
        moving = wanted[:num_carry]

        def step(values: Flat, elements: Flat) -> tuple[Flat, Flat]:
            c, c_t = _halves(values, num_carry)
            x, x_t = _halves(elements, len(xs))
            directions = [*constants_t, *spread(c_t, moving), *spread(x_t, of_xs)]
            outs, outs_t = push_through(jaxpr, [*constants, *c, *x], directions, wanted)
            new, ys = _halves(outs, num_carry)
            new_t, ys_t = _halves(outs_t, sum(moving))
            return [*new, *new_t], [*ys, *ys_t]

        starts = [zeros_unless(t, abstract_like(c)) for t, c in zip(carry_t, carry, strict=True)]
        outs = scan_flat(step, [*carry, *chosen(starts, moving)], [*xs, *chosen(xs_t, of_xs)], length, reverse, trace)
        new, new_t, ys, ys_t = divided(outs, num_carry, sum(moving), len(jaxpr.outputs) - num_carry)
        return [trace.wrap(o, t) for o, t in zip([*new, *ys], spread([*new_t, *ys_t], wanted), strict=True)]

    def in_reverse(
        self,
        trace: ReverseTrace,
        args: Flat,
        *,
        jaxpr: Graph,
        num_consts: int,
        num_carry: int,
        length: int,
        reverse: bool,
        **_: Any,
    ) -> Flat:
        """Keep what the pullback of each step reads; the pullback is a scan over that, the other way."""
        values, parents = trace.unwrap(args)
        constants, carry, xs = divided(values, num_consts, num_carry)
        of_consts, of_carry, of_xs = divided([parent is not None for parent in parents], num_consts, num_carry)
        wanted = settled(jaxpr, of_consts, of_carry, of_xs, differentiable)
        moving = wanted[:num_carry]
        tracked = [*of_consts, *moving, *of_xs]
        found: list[Any] = []

        def step(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
            outs, record = recorded(jaxpr, [*constants, *state, *elements], tracked)
            residuals, outline = record.taken_apart()
            sources = _sources(residuals, state, elements)
            found[:] = [outline, sources, [r for r, source in zip(residuals, sources, strict=True) if source == "once"]]
            new, ys = _halves(outs, num_carry)
            return new, [*ys, *(r for r, source in zip(residuals, sources, strict=True) if source == "each")]

        outs = scan_flat(step, carry, xs, length, reverse, trace)
        results, stacks = _halves(outs, len(jaxpr.outputs))
        outline, sources, same = found
        given = [xs[source] for source in sources if isinstance(source, int)]
        of_results = chosen(map(abstract_like, results), wanted)
        forms = chosen([abstract_like(c) for c in constants], of_consts)
        carry_forms = chosen([abstract_like(c) for c in carry], moving)
        x_forms = chosen([elements_of(x) for x in xs], of_xs)

        def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
            once, kept = _halves(list(map(as_bound, residuals)), len(same))
            numbers = [i for i, want in enumerate(wanted) if want]
            cotangents = [zeros_unless(parts.get(i), form) for i, form in zip(numbers, of_results, strict=True)]
            of_state, of_ys = _halves(cotangents, sum(moving))

            def back(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
                sums, g_carry = _halves(state, len(forms))
                g_ys, slices = _halves(elements, len(of_ys))
                rows = {"once": iter(once), "each": iter(slices[len(given) :]), "given": iter(slices)}
                record = outline.filled([next(rows["given" if isinstance(s, int) else s]) for s in sources])
                shares = record.pull(spread([*g_carry, *g_ys], wanted))
                of_constants, of_state, of_elements = divided(shares, len(forms), len(carry_forms))
                new_sums = [
                    total if share is None else total + as_bound(share)
                    for total, share in zip(sums, of_constants, strict=True)
                ]
                new_carry = [zeros_unless(s, form) for s, form in zip(of_state, carry_forms, strict=True)]
                return [*new_sums, *new_carry], [zeros_unless(s, f) for s, f in zip(of_elements, x_forms, strict=True)]

            starts = [zeros_unless(None, form) for form in forms]
            shares = scan_flat(back, [*starts, *of_state], [*of_ys, *kept], length, not reverse)
            sums, g_carry, g_xs = divided(shares, len(forms), len(carry_forms))
            return [*sums, *chosen(g_carry, chosen(of_carry, moving)), *g_xs]

        nodes = [parent for parent in parents if parent is not None]
        return list(record_call(trace, results, nodes, pullback, [*same, *given, *stacks]))

    def in_batch(
        self,
        trace: BatchTrace,
        args: Flat,
        *,
        jaxpr: Graph,
        num_consts: int,
        num_carry: int,
        length: int,
        reverse: bool,
        **_: Any,
    ) -> Flat:
        """Carry batches."""
        values, axes = trace.unwrap(args)
        constants, carry, xs = divided(values, num_consts, num_carry)
        const_axes, carry_axes, x_axes = divided(axes, num_consts, num_carry)
        of_consts, of_carry, of_xs = divided([axis is not None for axis in axes], num_consts, num_carry)
        batched = settled(jaxpr, of_consts, of_carry, of_xs, dependent)
        moving = batched[:num_carry]
        batch = Batch(trace)
        inside = [*const_axes, *(0 if flag else None for flag in (*moving, *of_xs))]

        def step(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
            return _halves(batch.run_where(jaxpr.run, [*constants, *state, *elements], inside, batched), num_carry)

        starts = [
            at_front(c, axis, trace.size) if m else c for c, axis, m in zip(carry, carry_axes, moving, strict=True)
        ]
        rows = [x if axis is None else _second(x, axis) for x, axis in zip(xs, x_axes, strict=True)]
        outs = scan_flat(step, starts, rows, length, reverse)
        return [
            trace.wrap(out, int(i >= num_carry) if flag else None)
            for i, (out, flag) in enumerate(zip(outs, batched, strict=True))
        ]


SCAN = Scan("scan")


def _sources(residuals: Flat, state: Flat, elements: Flat) -> list[int | str]:
    """Say where a step's pullback finds what it reads: which of the xs; once, the same for all steps; or for each."""
    inputs = [x._node for x in elements]
    captured = next((x._node.trace for x in [*state, *elements] if isinstance(x._node, Variable)), None)

    def source(residual: Array) -> int | str:
        node = residual._node
        if captured is not None and (node is None or node.trace is not captured):
            return "once"
        return next((i for i, x in enumerate(inputs) if x is node and node is not None), "each")

    return list(map(source, residuals))


def _second(x: Array, axis: int) -> Array:
    """Return an array with the batch's axis second, behind the one that a loop runs over."""
    first = 1 if axis == 0 else 0
    return permute_dims(x, (first, axis, *(i for i in range(x.ndim) if i not in (first, axis))))
