"""`scan` as an operation of a graph, under each transform.

Every transform of a scan is one: in forward mode the tangents are carried along; reverse mode keeps what each step's
pullback reads, and runs a scan backwards over that; `vmap` carries batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, NamedTuple

from gradkit.compiler.passes import Walk, dependent, differentiable, settled
from gradkit.core.array import Array
from gradkit.core.batching import BatchTrace, at_front
from gradkit.core.binding import has_no_values
from gradkit.core.capture import graph_of
from gradkit.core.forward import ForwardTrace
from gradkit.core.function_batches import Batch
from gradkit.core.graph import Graph, HigherOrder, Variable, abstract_like
from gradkit.core.namespace import as_bound
from gradkit.core.node import Trace, capturing
from gradkit.core.reverse import ReverseTrace
from gradkit.core.several_results import Parts, record_call
from gradkit.lax.captured import (
    Flags,
    Flat,
    elements_of,
    fill_with_none,
    instantiate_zeros,
    push_through,
    record_graph,
    refuse_closures,
    runner,
    split_list,
    unwrap_parts,
)
from gradkit.lax.compiled_loops import captured, may_be_compiled, must_be_compiled, pays, run_compiled
from gradkit.primitives import permute_dims, stack
from gradkit.primitives.new_arrays import zeros

__all__ = ["SCAN", "scan_flat"]

Step = Callable[[Flat, Flat], tuple[Flat, Flat]]


def scan_flat(step: Step, carry: Flat, xs: Flat, length: int, reverse: bool, of: Trace | None = None) -> Flat:
    """Run ``step(carry, x) -> (carry, ys)`` over the first axis of `xs`; give the last carry and the stacked ys.

    `of` is the transform whose rule for a scan this is.
    """
    in_graph, outside = capturing(), must_be_compiled([*carry, *xs])
    if in_graph or outside or may_be_compiled([*carry, *xs], length):
        inputs = [*map(abstract_like, carry), *map(elements_of, xs)]
        found = (graph_of if in_graph else captured)(lambda *flat: _join(step(*_halves(flat, len(carry)))), inputs)
        if found is not None:
            graph, constants = found
            refuse_closures(constants, of)
            operands = [*constants, *carry, *xs]
            params = Loop(graph, length, len(carry), len(constants), reverse)._asdict()
            if in_graph and has_no_values(operands):
                return list(SCAN.run(operands, **params))
            if outside or must_be_compiled(constants) or (not in_graph and pays(graph, length)):
                return run_compiled(SCAN, operands, params)
    rows = []
    for i in range(length)[:: -1 if reverse else 1]:
        carry, ys = step(carry, [x[i] for x in xs])
        rows.append(ys)
    if reverse:
        rows.reverse()
    return [*carry, *(stack(column, axis=0) for column in zip(*rows, strict=True))]


def _halves(values: Sequence[Any], count: int) -> tuple[Flat, Flat]:
    return list(values[:count]), list(values[count:])


def _join(pair: tuple[Flat, Flat]) -> Flat:
    return [*pair[0], *pair[1]]


class Loop(NamedTuple):
    """A scan's parameters, which are JAX's.

    Attributes
    ----------
    jaxpr : Graph
        A step: of constants, the carry, and elements of xs.
    length : int
        The number of steps.
    num_carry, num_consts : int
        How many of its arguments are the carry, and constants.
    reverse : bool
        Whether it begins at the end.
    unroll : int
        About JAX's compiler.
    """

    jaxpr: Graph
    length: int
    num_carry: int
    num_consts: int
    reverse: bool
    unroll: int = 1

    @property
    def counts(self) -> tuple[int, int]:
        """How many of the arguments are constants, and the carry; the rest are xs."""
        return self.num_consts, self.num_carry


class Stacked(NamedTuple):
    """The shape and dtype of the results of all steps."""

    shape: tuple[int, ...]
    dtype: Any


class Scan(HigherOrder):
    """A loop over the first axis of arrays.

    In the rules *moving* are those parts of the carry that the marks on the arguments reach after some steps.
    """

    def evaluate(self, args: Flat, **params: Any) -> Flat:
        """Run one step after another."""
        loop = Loop(**params)
        constants, carry, xs = split_list(args, loop.counts)
        run = runner(loop.jaxpr)
        if not loop.length:
            return [*carry, *(zeros((0, *y.shape), dtype=y.dtype) for y in loop.jaxpr.outputs[loop.num_carry :])]
        return scan_flat(
            lambda c, x: _halves(run([*constants, *c, *x]), loop.num_carry), carry, xs, loop.length, loop.reverse
        )

    def results(self, **params: Any) -> Flat:
        """Return the carry, and the results of one step stacked."""
        loop = Loop(**params)
        carry, ys = _halves(loop.jaxpr.outputs, loop.num_carry)
        return [*carry, *(Stacked((loop.length, *y.shape), y.dtype) for y in ys)]

    def reached(self, inputs: Flags, walk: Walk, **params: Any) -> list[bool]:
        """Go round until the carry spreads no more."""
        loop = Loop(**params)
        of_consts, of_carry, of_xs = split_list(inputs, loop.counts)
        return settled(loop.jaxpr, of_consts, of_carry, of_xs, walk)

    def in_forward(self, trace: ForwardTrace, args: Flat, **params: Any) -> Flat:
        """Carry the tangents along."""
        loop = Loop(**params)
        primals, tangents, follows = unwrap_parts(trace, args, loop.counts)
        (constants, carry, xs), (constants_t, carry_t, xs_t), (of_consts, of_carry, of_xs) = primals, tangents, follows
        wanted = settled(loop.jaxpr, of_consts, of_carry, of_xs, differentiable)
        moving = wanted[: loop.num_carry]

        def step(values: Flat, elements: Flat) -> tuple[Flat, Flat]:
            c, c_t = _halves(values, loop.num_carry)
            x, x_t = _halves(elements, len(xs))
            directions = [*constants_t, *fill_with_none(c_t, moving), *fill_with_none(x_t, of_xs)]
            outs, outs_t = push_through(loop.jaxpr, [*constants, *c, *x], directions, wanted)
            new, ys = _halves(outs, loop.num_carry)
            new_t, ys_t = _halves(outs_t, sum(moving))
            return [*new, *new_t], [*ys, *ys_t]

        starts = [instantiate_zeros(t, abstract_like(c)) for t, c in zip(carry_t, carry, strict=True)]
        outs = scan_flat(
            step, [*carry, *compress(starts, moving)], [*xs, *compress(xs_t, of_xs)], loop.length, loop.reverse, trace
        )
        new, new_t, ys, ys_t = split_list(outs, (loop.num_carry, sum(moving), len(loop.jaxpr.outputs) - loop.num_carry))
        return [trace.wrap(o, t) for o, t in zip([*new, *ys], fill_with_none([*new_t, *ys_t], wanted), strict=True)]

    def in_reverse(self, trace: ReverseTrace, args: Flat, **params: Any) -> Flat:
        """Keep what the pullback of each step reads; the pullback is a scan over that, the other way."""
        loop = Loop(**params)
        (constants, carry, xs), parents, (of_consts, of_carry, of_xs) = unwrap_parts(trace, args, loop.counts)
        wanted = settled(loop.jaxpr, of_consts, of_carry, of_xs, differentiable)
        moving = wanted[: loop.num_carry]
        tracked = [*of_consts, *moving, *of_xs]
        found: list[Any] = []

        def step(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
            outs, record = record_graph(loop.jaxpr, [*constants, *state, *elements], tracked)
            residuals, outline = record.take_apart()
            sources = _sources(residuals, state, elements)
            found[:] = [outline, sources, [r for r, source in zip(residuals, sources, strict=True) if source == "once"]]
            new, ys = _halves(outs, loop.num_carry)
            return new, [*ys, *(r for r, source in zip(residuals, sources, strict=True) if source == "each")]

        outs = scan_flat(step, carry, xs, loop.length, loop.reverse, trace)
        results, stacks = _halves(outs, len(loop.jaxpr.outputs))
        outline, sources, same = found
        given = [xs[source] for source in sources if isinstance(source, int)]
        of_results = list(map(abstract_like, compress(results, wanted)))
        forms = list(map(abstract_like, compress(constants, of_consts)))
        carry_forms = list(map(abstract_like, compress(carry, moving)))
        x_forms = list(map(elements_of, compress(xs, of_xs)))

        def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
            once, kept = _halves(list(map(as_bound, residuals)), len(same))
            numbers = [i for i, want in enumerate(wanted) if want]
            cotangents = [instantiate_zeros(parts.get(i), form) for i, form in zip(numbers, of_results, strict=True)]
            of_state, of_ys = _halves(cotangents, sum(moving))

            def back(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
                sums, g_carry = _halves(state, len(forms))
                g_ys, slices = _halves(elements, len(of_ys))
                rows = {"once": iter(once), "each": iter(slices[len(given) :]), "given": iter(slices)}
                record = outline.fill([next(rows["given" if isinstance(s, int) else s]) for s in sources])
                shares = record.pull(fill_with_none([*g_carry, *g_ys], wanted))
                of_constants, of_state, of_elements = split_list(shares, (len(forms), len(carry_forms)))
                new_sums = [
                    total if share is None else total + as_bound(share)
                    for total, share in zip(sums, of_constants, strict=True)
                ]
                new_carry = [instantiate_zeros(s, form) for s, form in zip(of_state, carry_forms, strict=True)]
                new_xs = [instantiate_zeros(s, form) for s, form in zip(of_elements, x_forms, strict=True)]
                return [*new_sums, *new_carry], new_xs

            starts = [instantiate_zeros(None, form) for form in forms]
            shares = scan_flat(back, [*starts, *of_state], [*of_ys, *kept], loop.length, not loop.reverse)
            sums, g_carry, g_xs = split_list(shares, (len(forms), len(carry_forms)))
            return [*sums, *compress(g_carry, compress(of_carry, moving)), *g_xs]

        nodes = [parent for parent in itertools.chain(*parents) if parent is not None]
        return list(record_call(trace, results, wanted, nodes, pullback, [*same, *given, *stacks]))

    def in_batch(self, trace: BatchTrace, args: Flat, **params: Any) -> Flat:
        """Carry batches."""
        loop = Loop(**params)
        values, axes, follows = unwrap_parts(trace, args, loop.counts)
        (constants, carry, xs), (const_axes, carry_axes, x_axes), (of_consts, of_carry, of_xs) = values, axes, follows
        batched = settled(loop.jaxpr, of_consts, of_carry, of_xs, dependent)
        moving = batched[: loop.num_carry]
        batch = Batch(trace)
        inside = [*const_axes, *(0 if flag else None for flag in (*moving, *of_xs))]

        def step(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
            return _halves(
                batch.run_where(loop.jaxpr.run, [*constants, *state, *elements], inside, batched), loop.num_carry
            )

        starts = [
            at_front(c, axis, trace.size) if m else c for c, axis, m in zip(carry, carry_axes, moving, strict=True)
        ]
        rows = [x if axis is None else _second(x, axis) for x, axis in zip(xs, x_axes, strict=True)]
        outs = scan_flat(step, starts, rows, loop.length, loop.reverse)
        return [
            trace.wrap(out, int(i >= loop.num_carry) if flag else None)
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
