"""`scan` and `while` as operations of a graph, under each transform.

Every transform of a loop is a loop: in forward mode the tangents are carried along; reverse mode keeps what each step's
pullback reads, and runs a loop backwards over that; `vmap` carries batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.compiler.passes import Walk, dependent, differentiable, settled
from gradkit.core.array import Array, raw
from gradkit.core.batching import BatchTrace, at_front
from gradkit.core.families import Parts, record_call
from gradkit.core.forward import ForwardTrace
from gradkit.core.functions import Batch, highest_trace, split
from gradkit.core.graph import Graph, GraphTrace, HigherOrder, Variable, abstract_like, capturing, graph_of
from gradkit.core.namespace import as_bound
from gradkit.core.node import Trace
from gradkit.core.reverse import ReverseTrace
from gradkit.core.stand_in import Batched
from gradkit.lax.captured import (
    Flags,
    Flat,
    chosen,
    divided,
    elements_of,
    has_no_values,
    push_through,
    recorded,
    refuse_closures,
    spread,
    zeros_unless,
)
from gradkit.primitives import any as any_along
from gradkit.primitives import permute_dims, reshape, stack, where
from gradkit.primitives.new_arrays import zeros

__all__ = ["SCAN", "WHILE", "run_scan", "run_while", "scan_flat", "while_flat"]

Step = Callable[[Flat, Flat], tuple[Flat, Flat]]


# scan


def scan_flat(step: Step, carry: Flat, xs: Flat, length: int, reverse: bool, of: Trace | None = None) -> Flat:
    """Run ``step(carry, x) -> (carry, ys)`` over the first axis of `xs`; give the last carry and the stacked ys.

    `of` is the transform whose rule for a loop this is.
    """
    if capturing():
        inputs = [*map(abstract_like, carry), *map(elements_of, xs)]
        graph, constants = graph_of(lambda *flat: _joined(step(*_halves(flat, len(carry)))), inputs)
        refuse_closures(constants, of)
        operands = [*constants, *carry, *xs]
        if has_no_values(operands):
            return run_scan(operands, **_scan_params(graph, len(constants), len(carry), length, reverse))
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


def _scan_params(graph: Graph, consts: int, carry: int, length: int, reverse: bool) -> dict[str, Any]:
    return {
        "jaxpr": graph,
        "length": length,
        "num_carry": carry,
        "num_consts": consts,
        "reverse": reverse,
        "unroll": 1,
    }


def run_scan(args: Sequence[Any], **params: Any) -> Flat:
    """Run a `scan` on its constants, carry and xs, under the highest transform among them."""
    args = list(map(as_bound, args))
    trace = highest_trace(args)
    graph, consts, carried = params["jaxpr"], params["num_consts"], params["num_carry"]
    if not has_no_values(args):
        constants, carry, xs = divided(args, consts, carried)

        def step(values: Flat, elements: Flat) -> tuple[Flat, Flat]:
            return _halves(list(map(as_bound, graph.run([*constants, *values, *elements]))), carried)

        if not params["length"]:
            return [*carry, *map(_no_rows, graph.outputs[carried:])]
        return scan_flat(step, carry, xs, params["length"], params["reverse"])
    if isinstance(trace, ForwardTrace):
        return _push_scan(trace, args, graph, consts, carried, params["length"], params["reverse"])
    if isinstance(trace, ReverseTrace):
        return _record_scan(trace, args, graph, consts, carried, params["length"], params["reverse"])
    if isinstance(trace, BatchTrace):
        return _batch_scan(trace, args, graph, consts, carried, params["length"], params["reverse"])
    assert isinstance(trace, GraphTrace)
    return list(trace.process(SCAN, args, params))


def _no_rows(form: Any) -> Array:
    return zeros((0, *form.shape), dtype=form.dtype)


def _scan_results(*, jaxpr: Graph, num_carry: int, length: int, **_: Any) -> Flat:
    carry, ys = _halves(jaxpr.outputs, num_carry)
    return [*carry, *(_Stacked((length, *y.shape), y.dtype) for y in ys)]


class _Stacked:
    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = dtype


def _scan_reached(inputs: Flags, walk: Walk, *, jaxpr: Graph, num_consts: int, num_carry: int, **_: Any) -> list[bool]:
    of_consts, of_carry, of_xs = divided(inputs, num_consts, num_carry)
    return settled(jaxpr, of_consts, of_carry, of_xs, walk)


SCAN = HigherOrder("scan", run_scan, _scan_results, _scan_reached)


def _push_scan(
    trace: ForwardTrace, args: Flat, graph: Graph, consts: int, carried: int, length: int, reverse: bool
) -> Flat:
    primals, tangents = trace.unwrap(args)
    constants, carry, xs = divided(primals, consts, carried)
    constants_t, carry_t, xs_t = divided(tangents, consts, carried)
    has_t = [t is not None for t in tangents]
    of_consts, of_carry, of_xs = divided(has_t, consts, carried)
    wanted = settled(graph, of_consts, of_carry, of_xs, differentiable)
    moving = wanted[:carried]

    def step(values: Flat, elements: Flat) -> tuple[Flat, Flat]:
        c, c_t = _halves(values, carried)
        x, x_t = _halves(elements, len(xs))
        directions = [*constants_t, *spread(c_t, moving), *spread(x_t, of_xs)]
        outs, outs_t = push_through(graph, [*constants, *c, *x], directions, wanted)
        new, ys = _halves(outs, carried)
        new_t, ys_t = _halves(outs_t, sum(moving))
        return [*new, *new_t], [*ys, *ys_t]

    starts = [zeros_unless(t, abstract_like(c)) for t, c in zip(carry_t, carry, strict=True)]
    outs = scan_flat(step, [*carry, *chosen(starts, moving)], [*xs, *chosen(xs_t, of_xs)], length, reverse, trace)
    count = len(graph.outputs) - carried
    new, new_t, ys, ys_t = divided(outs, carried, sum(moving), count)
    return [trace.wrap(o, t) for o, t in zip([*new, *ys], spread([*new_t, *ys_t], wanted), strict=True)]


def _record_scan(
    trace: ReverseTrace, args: Flat, graph: Graph, consts: int, carried: int, length: int, reverse: bool
) -> Flat:
    values, parents = split(trace, args)
    constants, carry, xs = divided(values, consts, carried)
    of_consts, of_carry, of_xs = divided([parent is not None for parent in parents], consts, carried)
    wanted = settled(graph, of_consts, of_carry, of_xs, differentiable)
    moving = wanted[:carried]
    tracked = [*of_consts, *moving, *of_xs]
    found: list[Any] = []

    def step(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
        outs, record = recorded(graph, [*constants, *state, *elements], tracked)
        residuals, outline = record.taken_apart()
        places = _places(residuals, state, elements)
        found[:] = [outline, places, [r for r, place in zip(residuals, places, strict=True) if place == "once"]]
        new, ys = _halves(outs, carried)
        return new, [*ys, *(r for r, place in zip(residuals, places, strict=True) if place == "each")]

    outs = scan_flat(step, carry, xs, length, reverse, trace)
    results, stacks = _halves(outs, len(graph.outputs))
    outline, places, same = found
    given = [xs[place] for place in places if isinstance(place, int)]
    of_results = chosen(map(abstract_like, results), wanted)
    forms = chosen([abstract_like(c) for c in constants], of_consts)
    carry_forms = chosen([abstract_like(c) for c in carry], moving)
    x_forms = chosen([elements_of(x) for x in xs], of_xs)

    def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
        once, kept = _halves(list(map(as_bound, residuals)), len(same))
        cotangents = [
            zeros_unless(parts.get(i), form)
            for i, form in zip([i for i, want in enumerate(wanted) if want], of_results, strict=True)
        ]
        of_state, of_ys = _halves(cotangents, sum(moving))

        def back(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
            sums, g_carry = _halves(state, len(forms))
            g_ys, slices = _halves(elements, len(of_ys))
            sources = {"once": iter(once), "each": iter(slices[len(given) :]), "given": iter(slices)}
            record = outline.filled([next(sources["given" if isinstance(p, int) else p]) for p in places])
            shares = record.pull(spread([*g_carry, *g_ys], wanted))
            of_constants, of_state, of_elements = divided(shares, len(forms), len(carry_forms))
            new_sums = [
                s if share is None else s + as_bound(share) for s, share in zip(sums, of_constants, strict=True)
            ]
            new_carry = [zeros_unless(s, form) for s, form in zip(of_state, carry_forms, strict=True)]
            return [*new_sums, *new_carry], [zeros_unless(s, f) for s, f in zip(of_elements, x_forms, strict=True)]

        starts = [zeros_unless(None, form) for form in forms]
        found = scan_flat(back, [*starts, *of_state], [*of_ys, *kept], length, not reverse)
        sums, g_carry, g_xs = divided(found, len(forms), len(carry_forms))
        return [*sums, *chosen(g_carry, chosen(of_carry, moving)), *g_xs]

    return list(record_call(trace, results, [p for p in parents if p is not None], pullback, [*same, *given, *stacks]))


def _places(residuals: Flat, state: Flat, elements: Flat) -> list[int | str]:
    """Say where a step's pullback finds what it reads: which of the xs; once, the same for all steps; or for each."""
    inputs = [x._node for x in elements]
    captured = next((x._node.trace for x in [*state, *elements] if isinstance(x._node, Variable)), None)

    def place(residual: Array) -> int | str:
        node = residual._node
        if captured is not None and (node is None or node.trace is not captured):
            return "once"
        return next((i for i, x in enumerate(inputs) if x is node and node is not None), "each")

    return list(map(place, residuals))


def _batch_scan(
    trace: BatchTrace, args: Flat, graph: Graph, consts: int, carried: int, length: int, reverse: bool
) -> Flat:
    values, axes = trace.unwrap(args)
    constants, carry, xs = divided(values, consts, carried)
    const_axes, carry_axes, x_axes = divided(axes, consts, carried)
    of_consts, of_carry, of_xs = divided([axis is not None for axis in axes], consts, carried)
    batched = settled(graph, of_consts, of_carry, of_xs, dependent)
    moving = batched[:carried]
    batch = Batch(trace)

    def step(state: Flat, elements: Flat) -> tuple[Flat, Flat]:
        places = [*const_axes, *(0 if m else None for m in moving), *(0 if b else None for b in of_xs)]
        outs = batch.run_where(graph.run, [*constants, *state, *elements], places, batched)
        return _halves(outs, carried)

    starts = [at_front(c, axis, trace.size) if m else c for c, axis, m in zip(carry, carry_axes, moving, strict=True)]
    rows = [x if axis is None else _second(x, axis) for x, axis in zip(xs, x_axes, strict=True)]
    outs = scan_flat(step, starts, rows, length, reverse)
    return [
        trace.wrap(out, (0 if i < carried else 1) if b else None)
        for i, (out, b) in enumerate(zip(outs, batched, strict=True))
    ]


def _second(x: Array, axis: int) -> Array:
    """Return an array with the batch's axis second, behind the one that a loop runs over."""
    first = 1 if axis == 0 else 0
    return permute_dims(x, (first, axis, *(i for i in range(x.ndim) if i not in (first, axis))))


# while


def while_flat(
    test: Callable[[Flat], Array], body: Callable[[Flat], Flat], values: Flat, of: Trace | None = None
) -> Flat:
    """Run ``values = body(values)`` as long as ``test(values)`` holds; `of` is the transform whose rule this is."""
    if capturing():
        forms = [abstract_like(value) for value in values]
        test_graph, test_consts = graph_of(lambda *flat: [test(list(flat))], forms)
        body_graph, body_consts = graph_of(lambda *flat: body(list(flat)), forms)
        refuse_closures(body_consts, of)
        operands = [*test_consts, *body_consts, *values]
        if has_no_values(operands):
            return run_while(
                operands,
                body_jaxpr=body_graph,
                body_nconsts=len(body_consts),
                cond_jaxpr=test_graph,
                cond_nconsts=len(test_consts),
            )
    while True:
        going = test(values)
        if type(raw(going)) is not Batched:
            if not bool(going):
                return values
            values = body(values)
            continue
        # Each element of the batch stops by itself.
        if not bool(any_of_batch(going)):
            return values
        values = [where(going, n, v) for n, v in zip(body(values), values, strict=True)]


def any_of_batch(condition: Array) -> Array:
    """Return whether a condition holds for any element of the batches around it."""
    while type(raw(condition)) is Batched:
        batched = condition._value
        condition = _any(batched.array, batched.axis)
    return condition


def _any(x: Array, axis: int) -> Array:
    return any_along(x, axis=axis)


def run_while(
    args: Sequence[Any], *, cond_jaxpr: Graph, cond_nconsts: int, body_jaxpr: Graph, body_nconsts: int
) -> Flat:
    """Run a `while` on its constants and carry, under the highest transform among them."""
    args = list(map(as_bound, args))
    trace = highest_trace(args)
    test_consts, body_consts, values = divided(args, cond_nconsts, body_nconsts)

    def test(state: Flat) -> Array:
        return as_bound(cond_jaxpr.run([*test_consts, *state])[0])  # type: ignore[no-any-return]

    def body(state: Flat) -> Flat:
        return list(map(as_bound, body_jaxpr.run([*body_consts, *state])))

    if not has_no_values(args):
        return while_flat(test, body, values)
    if isinstance(trace, ForwardTrace):
        return _push_while(trace, args, cond_jaxpr, cond_nconsts, body_jaxpr, body_nconsts)
    if isinstance(trace, ReverseTrace):
        return _record_while(trace, args, cond_jaxpr, cond_nconsts, body_jaxpr, body_nconsts)
    if isinstance(trace, BatchTrace):
        return _batch_while(trace, args, cond_jaxpr, cond_nconsts, body_jaxpr, body_nconsts)
    assert isinstance(trace, GraphTrace)
    params = {
        "body_jaxpr": body_jaxpr,
        "body_nconsts": body_nconsts,
        "cond_jaxpr": cond_jaxpr,
        "cond_nconsts": cond_nconsts,
    }
    return list(trace.process(WHILE, args, params))


def _while_reached(
    inputs: Flags, walk: Walk, *, cond_jaxpr: Graph, cond_nconsts: int, body_jaxpr: Graph, body_nconsts: int
) -> list[bool]:
    of_test, of_consts, of_carry = divided(inputs, cond_nconsts, body_nconsts)
    moving = settled(body_jaxpr, of_consts, of_carry, [], walk)
    return [True] * len(moving) if walk(cond_jaxpr, [*of_test, *moving])[0] else moving


WHILE = HigherOrder("while", run_while, lambda *, body_jaxpr, **_: body_jaxpr.outputs, _while_reached)


def _push_while(trace: ForwardTrace, args: Flat, test: Graph, test_count: int, body: Graph, body_count: int) -> Flat:
    primals, tangents = trace.unwrap(args)
    test_consts, constants, carry = divided(primals, test_count, body_count)
    _, constants_t, carry_t = divided(tangents, test_count, body_count)
    moving = settled(body, [t is not None for t in constants_t], [t is not None for t in carry_t], [], differentiable)
    count = len(carry)

    def step(state: Flat) -> Flat:
        values, directions = _halves(state, count)
        outs, outs_t = push_through(body, [*constants, *values], [*constants_t, *spread(directions, moving)], moving)
        return [*outs, *outs_t]

    starts = chosen([zeros_unless(t, abstract_like(c)) for t, c in zip(carry_t, carry, strict=True)], moving)
    outs = while_flat(
        lambda state: as_bound(test.run([*test_consts, *state[:count]])[0]), step, [*carry, *starts], trace
    )
    values, directions = _halves(outs, count)
    return [trace.wrap(v, t) for v, t in zip(values, spread(directions, moving), strict=True)]


def _record_while(trace: ReverseTrace, args: Flat, test: Graph, test_count: int, body: Graph, body_count: int) -> Flat:
    values, parents = split(trace, args)
    outs = run_while(values, cond_jaxpr=test, cond_nconsts=test_count, body_jaxpr=body, body_nconsts=body_count)
    _, of_consts, of_carry = divided([parent is not None for parent in parents], test_count, body_count)
    moving = settled(body, of_consts, of_carry, [], differentiable)
    nodes = [parent for parent in parents[test_count:] if parent is not None]
    followed = iter(record_call(trace, chosen(outs, moving), nodes, _refuse))
    return [next(followed) if m else out for out, m in zip(outs, moving, strict=True)]


def _refuse(parts: Parts, residuals: Flat) -> Sequence[Any]:
    raise ValueError(
        "Reverse-mode differentiation does not work for lax.while_loop or lax.fori_loop with dynamic start/stop values "
        "in a captured graph. Try using lax.scan, or using fori_loop with static start/stop."
    )


def _batch_while(trace: BatchTrace, args: Flat, test: Graph, test_count: int, body: Graph, body_count: int) -> Flat:
    values, axes = trace.unwrap(args)
    test_consts, constants, carry = divided(values, test_count, body_count)
    test_axes, const_axes, carry_axes = divided(axes, test_count, body_count)
    of_test, of_consts, of_carry = divided([axis is not None for axis in axes], test_count, body_count)
    moving = settled(body, of_consts, of_carry, [], dependent)
    each = dependent(test, [*of_test, *moving])[0]
    if each:  # elements stop by themselves, so every value is one of a batch
        moving = [True] * len(carry)
    batch = Batch(trace)
    places = [0 if m else None for m in moving]

    def going(state: Flat) -> Array:
        (result,) = batch.run_where(test.run, [*test_consts, *state], [*test_axes, *places], [each])
        return result  # type: ignore[no-any-return]

    def step(state: Flat) -> Flat:
        new = batch.run_where(body.run, [*constants, *state], [*const_axes, *places], moving)
        if not each:
            return new
        condition = going(state)
        return [where(_aligned(condition, v.ndim), n, v) for n, v in zip(new, state, strict=True)]

    starts = [at_front(c, axis, trace.size) if m else c for c, axis, m in zip(carry, carry_axes, moving, strict=True)]
    outs = while_flat(lambda state: _any(going(state), 0) if each else going(state), step, starts)
    return [trace.wrap(out, place) for out, place in zip(outs, places, strict=True)]


def _aligned(condition: Array, ndim: int) -> Array:
    return reshape(condition, (*condition.shape, *(1,) * (ndim - 1)))
