"""`cond` as an operation of a graph, under each transform: a choice between transformed functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

from gradkit.compiler.passes import Walk, dependent, differentiable
from gradkit.core.array import Array, raw, weak_type
from gradkit.core.batching import BatchTrace
from gradkit.core.binding import has_no_values, highest_trace
from gradkit.core.capture import branch_of, graph_of
from gradkit.core.forward import ForwardTrace
from gradkit.core.function_batches import Batch
from gradkit.core.graph import Graph, HigherOrder, Variable, abstract_like
from gradkit.core.layers import layers
from gradkit.core.namespace import as_bound
from gradkit.core.node import Trace, capturing, new_sequence
from gradkit.core.operands import noting_fits_of
from gradkit.core.reverse import ReverseTrace
from gradkit.core.several_results import Parts, record_call
from gradkit.core.stand_in import Abstract, Batched
from gradkit.lax.captured import (
    Flags,
    Flat,
    fill_with_none,
    instantiate_zeros,
    push_through,
    record_graph,
    refuse_closures,
    runner,
    split_list,
)
from gradkit.lax.compiled_loops import must_be_compiled, run_compiled
from gradkit.lax.gates import behind_gates, gated, run_behind_gates
from gradkit.primitives import equal, where

__all__ = ["COND", "choose_flat"]

Branch = Callable[[Flat], Flat]


def choose_flat(
    index: Array,
    branches: Sequence[Branch],
    operands: Flat,
    check: Callable[[list[Flat]], None] = lambda _: None,
    of: Trace | None = None,
) -> Flat:
    """Apply the function that `index` names.

    `check` raises where the functions' results do not fit; `of` is the transform whose rule for a choice this is.
    """
    if type(raw(index)) is Batched:
        return _select(index, branches, operands, check)
    outside = must_be_compiled([index])
    if not outside and type(raw(index)) is not Abstract:
        return branches[int(index)](operands)
    forms = [abstract_like(operand, weak_type(operand)) for operand in operands]
    level = 0 if index._node is None else index._node.trace.level
    graphs = []
    constants = []
    for i, branch in enumerate(branches):
        start = new_sequence()
        with noting_fits_of(forms, operands):
            graph, own = branch_of(lambda *flat, b=branch: b(list(flat)), forms)
        graphs.append(graph)
        # What the function computes of what it closes over alone, where that has values, stands in front of the choice.
        constants.append(behind_gates(own, functools.partial(equal, index, i), level, start))
    check([graph.outputs for graph in graphs])
    # Every branch takes what all of them close over.
    joint = [constant for each in constants for constant in each]
    refuse_closures(joint, of)
    padded = []
    start = 0
    for graph, own in zip(graphs, constants, strict=True):
        end = start + len(own)
        pads = [Variable(v.trace, abstract_like(c)) for c, v in zip(joint, _variables(graphs, constants), strict=True)]
        inputs = [*pads[:start], *graph.inputs[: len(own)], *pads[end:], *graph.inputs[len(own) :]]
        padded.append(Graph(inputs, [], graph.equations, graph.outputs))
        start = end
    if outside:
        return run_compiled(COND, [index, *joint, *operands], {"branches": tuple(padded)})
    return COND.run([index, *joint, *operands], branches=tuple(padded))


def _variables(graphs: Sequence[Graph], constants: Sequence[Flat]) -> list[Variable]:
    return [v for graph, own in zip(graphs, constants, strict=True) for v in graph.inputs[: len(own)]]


def _select(index: Array, branches: Sequence[Branch], operands: Flat, check: Callable[[list[Flat]], None]) -> Flat:
    """Apply all functions, where the one that is named differs between elements of a batch, and select."""
    batches = [trace for layer in layers(index) if isinstance(trace := _trace_of(layer), BatchTrace)]
    from_here = [index >= i for i in range(1, len(branches))]

    def named(i: int) -> Array:
        return from_here[-1] if i and i == len(from_here) else index == i

    # The derivatives are selected too: a function's where another one is named (NaN, say) goes nowhere.
    run = run_behind_gates if capturing() is None else _run_gated
    results = [run(branch, operands, batches, functools.partial(named, i)) for i, branch in enumerate(branches)]
    check(results)
    outs = results[0]
    for here, result in zip(from_here, results[1:], strict=True):
        outs = [where(here, new, old) for new, old in zip(result, outs, strict=True)]
    return outs


def _run_gated(branch: Branch, operands: Flat, batches: Sequence[BatchTrace], chosen: Callable[[], Array]) -> Flat:
    """Run a branch while a graph is captured, as the graph of what it takes and closes over, each behind a gate.

    What is written down has no record to put gates into afterwards, and may be differentiated later, as a graph.
    """
    forms = [abstract_like(operand, weak_type(operand)) for operand in operands]
    graphs: list[Graph] = []

    def capture(_: Flat) -> Flat:
        with noting_fits_of(forms, operands):
            graph, own = branch_of(lambda *flat: branch(list(flat)), forms)
        graphs.append(graph)
        return own

    # What the branch computes of closures with values stands in front of its graph, and on the tape.
    own = run_behind_gates(capture, operands, batches, chosen)
    own = [gated(array, chosen) if has_no_values([array]) else array for array in own]
    return runner(graphs[0])([*own, *(gated(operand, chosen) for operand in operands)])


def _trace_of(array: Array) -> Trace | None:
    return None if array._node is None else array._node.trace


class Cond(HigherOrder):
    """A choice. Its arguments are the index, then what every branch takes; `branches` are their graphs."""

    def run(self, args: Sequence[Any], **params: Any) -> Flat:
        """Run it under the highest transform among its arguments; where the index is known, whatever they are."""
        index, *operands = map(as_bound, args)
        trace = highest_trace([index, *operands])
        if trace is None or (type(raw(index)) is not Abstract and not must_be_compiled([index])):
            return self.evaluate([index, *operands], **params)
        return trace.call(self, [index, *operands], params)

    def evaluate(self, args: Flat, *, branches: Sequence[Graph]) -> Flat:
        """Run the branch that is named, or select, where each element of a batch names one."""
        index, *operands = args
        if type(raw(index)) is Batched:
            return _select(index, list(map(runner, branches)), operands, lambda _: None)
        if must_be_compiled([index]):
            return run_compiled(self, args, {"branches": branches})
        return runner(branches[int(index)])(operands)

    def results(self, *, branches: Sequence[Graph]) -> Flat:
        """Return those of the first branch: all have the same shapes and dtypes."""
        return branches[0].outputs

    def reached(self, inputs: Flags, walk: Walk, *, branches: Sequence[Graph]) -> list[bool]:
        """Return which results follow from the inputs in one of the branches; from the index all do."""
        return [True] * len(branches[0].outputs) if inputs[0] else _either(branches, inputs[1:], walk)

    def in_forward(self, trace: ForwardTrace, args: Flat, *, branches: Sequence[Graph]) -> Flat:
        """Choose between the branches in forward mode."""
        (index, *primals), (_, *tangents) = trace.unwrap(args)
        flags = [t is not None for t in tangents]
        wanted = _either(branches, flags, differentiable)

        def pushed(branch: Graph) -> Branch:
            def run(flat: Flat) -> Flat:
                values, directions = split_list(flat, [len(primals)])
                outs, outs_t = push_through(branch, values, fill_with_none(directions, flags), wanted)
                return [*outs, *outs_t]

            return run

        both = [*primals, *compress(tangents, flags)]
        outs = choose_flat(index, [pushed(branch) for branch in branches], both, of=trace)
        values, directions = split_list(outs, [len(wanted)])
        return [trace.wrap(v, t) for v, t in zip(values, fill_with_none(directions, wanted), strict=True)]

    def in_reverse(self, trace: ReverseTrace, args: Flat, *, branches: Sequence[Graph]) -> Flat:
        """Let each branch give what its own pullback reads; the pullback chooses between those."""
        (index, *values), (_, *parents) = trace.unwrap(args)
        tracked = [parent is not None for parent in parents]
        wanted = _either(branches, tracked, differentiable)
        count = len(branches[0].outputs)
        forms = [abstract_like(value) for value in values]
        # What each branch's pullback reads: the results of all branches have room for that of every one.
        kept: list[list[Any]] = []
        outlines: list[Any] = []

        def measured(branch: Graph) -> None:
            def run(*flat: Any) -> Flat:
                residuals, outline = record_graph(branch, list(flat), tracked)[1].take_apart()
                outlines.append(outline)
                return residuals

            graph, _ = graph_of(run, forms)
            kept.append([abstract_of(out) for out in graph.outputs])

        def abstract_of(out: Any) -> Abstract:
            like = forms[0]
            return Abstract(tuple(out.shape), out.dtype, like.backend, like.device)

        for branch in branches:
            measured(branch)

        def keeping(position: int, branch: Graph) -> Branch:
            def run(flat: Flat) -> Flat:
                outs, record = record_graph(branch, flat, tracked)
                residuals, outlines[position] = record.take_apart()
                of_all = [
                    residuals if i == position else [instantiate_zeros(None, form) for form in each]
                    for i, each in enumerate(kept)
                ]
                return [*outs, *(value for each in of_all for value in each)]

            return run

        outs = choose_flat(index, [keeping(i, branch) for i, branch in enumerate(branches)], values, of=trace)
        results, stored = split_list(outs, [count])
        out_forms = [abstract_like(out) for out in results]
        shares_of = [*compress(forms, tracked)]

        def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
            which, *saved = map(as_bound, residuals)
            cotangents = [instantiate_zeros(parts.get(i), form) for i, form in enumerate(out_forms)]
            start = 0
            backs: list[Branch] = []
            for outline, each in zip(outlines, kept, strict=True):
                end = start + len(each)
                backs.append(_back(outline, slice(start, end), wanted, shares_of))
                start = end
            return choose_flat(which, backs, [*saved, *compress(cotangents, wanted)])

        nodes = [parent for parent in parents if parent is not None]
        return list(record_call(trace, results, wanted, nodes, pullback, [index, *stored]))

    def in_batch(self, trace: BatchTrace, args: Flat, *, branches: Sequence[Graph]) -> Flat:
        """Choose between the branches on batches."""
        (index, *values), (_, *axes) = trace.unwrap(args)
        batched = _either(branches, [axis is not None for axis in axes], dependent)
        batch = Batch(trace)
        functions = [lambda flat, b=b: batch.run_where(b.run, flat, axes, batched) for b in branches]
        outs = choose_flat(index, functions, values)
        return [trace.wrap(out, 0 if b else None) for out, b in zip(outs, batched, strict=True)]


COND = Cond("cond")


def _either(branches: Sequence[Graph], inputs: Flags, walk: Walk) -> list[bool]:
    """Return which results follow from the inputs in one of the branches."""
    return [any(flags) for flags in zip(*(walk(branch, inputs) for branch in branches), strict=True)]


def _back(outline: Any, own: slice, wanted: Flags, forms: Sequence[Abstract]) -> Branch:
    def run(flat: Flat) -> Flat:
        saved, cotangents = split_list(flat, [len(flat) - sum(wanted)])
        shares = outline.fill(saved[own]).pull(fill_with_none(cotangents, wanted))
        return [instantiate_zeros(share, form) for share, form in zip(shares, forms, strict=True)]

    return run
