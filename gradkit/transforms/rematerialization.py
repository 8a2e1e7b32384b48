"""`checkpoint` by its function's graph, which runs again in the backward pass: with a policy, and in graphs.

Only what the rules of its operations read runs again, from the values that the policy kept. Without a policy, outside
of graphs, the function itself runs again (`core.checkpoints`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gradkit.backend import backend_of
from gradkit.compiler.passes import Walk, bits_of, differ, differentiable, last_use, marked, variables_in
from gradkit.core.array import Array, raw, wrap
from gradkit.core.batching import BatchTrace
from gradkit.core.binding import highest_trace
from gradkit.core.capture import graph_of
from gradkit.core.checkpoints import run_checkpointed
from gradkit.core.forward import ForwardTrace
from gradkit.core.function_batches import Batch, Flat, Function
from gradkit.core.functions import CUSTOM_JVP, CUSTOM_VJP
from gradkit.core.graph import Equation, Graph, HigherOrder, Variable, abstract_like
from gradkit.core.namespace import as_bound
from gradkit.core.node import Leaf, Node, capturing
from gradkit.core.reverse import ReverseTrace
from gradkit.core.several_results import MultipleResults, Parts, record_call
from gradkit.primitives.barriers import behind_barrier

__all__ = ["Offloadable", "call_checkpointed"]

Policy = Callable[..., Any]


class Offloadable(NamedTuple):
    """A policy's answer for a value that is kept in the memory of the host."""

    src: str
    dst: str


def call_checkpointed(function: Function, args: Flat, policy: Policy | None = None) -> Flat:
    """Call a function of which the tape keeps the arguments and what `policy` says, and which it runs again."""
    if policy is not None or capturing():
        graph, constants = graph_of(lambda *flat: function(list(flat)), [abstract_like(arg) for arg in args])
        if policy is not None:  # which is asked for the operations of jitted functions as well
            from gradkit.transforms.call_rules import without_calls  # late: it brings the compiler

            graph = without_calls(graph)
        return CHECKPOINT.run([*constants, *args], jaxpr=graph, policy=policy)
    return run_checkpointed(function, args)


class Checkpoint(HigherOrder):
    """A call of a graph that runs again in the backward pass. In forward mode and on batches it is one of another."""

    derivative = ("policy",)
    calls = "jaxpr"

    def run(self, args: Sequence[Any], **params: Any) -> Flat:
        """Run it under the highest transform among its arguments."""
        args = list(map(as_bound, args))
        trace = highest_trace(args)
        return self.evaluate(args, **params) if trace is None else trace.call(self, args, params)

    def evaluate(self, args: Flat, *, jaxpr: Graph, policy: Policy | None) -> Flat:
        """Run the graph."""
        return jaxpr.run(args)

    def results(self, *, jaxpr: Graph, policy: Policy | None) -> Flat:
        """Return the graph's."""
        return jaxpr.outputs

    def reached(self, inputs: Sequence[bool], walk: Walk, *, jaxpr: Graph, policy: Policy | None) -> list[bool]:
        """Walk through the graph."""
        return walk(jaxpr, inputs)

    def in_forward(self, trace: ForwardTrace, args: Flat, *, jaxpr: Graph, policy: Policy | None) -> Flat:
        """Call the graph in forward mode, at the levels below."""
        primals, tangents = trace.unwrap(args)
        kept = [t is not None for t in tangents]
        present: list[bool] = []

        def pushing(flat: Flat) -> Flat:
            directions = iter(flat[len(primals) :])
            with trace.lifted():
                outs = jaxpr.run(
                    [trace.wrap(p, next(directions) if k else None) for p, k in zip(flat, kept, strict=False)]
                )
            outs, out_tangents = trace.unwrap(outs)
            present[:] = [t is not None for t in out_tangents]
            return [*outs, *(t for t in out_tangents if t is not None)]

        flat = call_checkpointed(pushing, [*primals, *(t for t in tangents if t is not None)], policy)
        directions = iter(flat[len(present) :])
        return [trace.wrap(o, next(directions) if p else None) for o, p in zip(flat, present, strict=False)]

    def in_batch(self, trace: BatchTrace, args: Flat, *, jaxpr: Graph, policy: Policy | None) -> Flat:
        """Call the graph on whole batches, at the levels below."""
        values, axes = trace.unwrap(args)
        batch = Batch(trace)

        def whole(flat: Flat) -> Flat:
            outs, batch.batched = batch.run_as_found(jaxpr.run, flat, axes)
            return outs

        return batch.wrap(call_checkpointed(whole, values, policy))

    def in_reverse(self, trace: ReverseTrace, args: Flat, *, jaxpr: Graph, policy: Policy | None) -> Flat:
        """Keep what the policy says."""
        return _record_graph(trace, jaxpr, args, policy)


CHECKPOINT = Checkpoint("checkpoint")


# Its graph runs again


@dataclass
class Recomputation:
    """What of a graph is recorded again, what that reads, and from where it comes.

    Attributes
    ----------
    live : dict of Equation to int
        By the position of an operation that the results' derivatives go through: which of its arguments are tracked, as
        bits.
    needed : set of Variable
        What is read.
    kept : dict of Variable to policy's answer
        What of it is kept from the first run.
    last : dict of Variable to int
        The position of the last operation that uses it.
    """

    live: dict[int, int] = field(default_factory=dict)
    needed: set[Variable] = field(default_factory=set)
    kept: dict[Variable, Any] = field(default_factory=dict)
    last: dict[Variable, int] = field(default_factory=dict)


def _find_recomputation(graph: Graph, inputs: Sequence[bool], policy: Policy | None) -> Recomputation:
    tracked = marked(graph, inputs, differ)
    bits = [bits_of([type(x) is Variable and x in tracked for x in e.inputs]) for e in graph.equations]
    recomputation = Recomputation(last=last_use(graph))
    reached = tracked.intersection(variables_in(graph.outputs))
    for position in reversed(range(len(graph.equations))):
        equation = graph.equations[position]
        if not reached.isdisjoint(equation.outputs):
            recomputation.live[position] = bits[position]
            reached.update(x for i, x in enumerate(equation.inputs) if bits[position] >> i & 1)
            recomputation.needed.update(_read(equation, bits[position]))
        needed = recomputation.needed.intersection(equation.outputs)
        if not needed:
            continue
        answer = policy(equation.primitive, *equation.inputs, **equation.params) if policy is not None else False
        if isinstance(answer, Offloadable) or answer:
            recomputation.kept.update(dict.fromkeys(needed, answer))
        else:
            recomputation.needed.update(variables_in(equation.inputs))
    return recomputation


def _read(equation: Equation, tracked: int) -> list[Variable]:
    """Return what the record of an operation reads."""
    primitive = equation.primitive
    if isinstance(primitive, HigherOrder):
        return variables_in(equation.inputs)  # it runs again as a whole
    reads = primitive.reads_and_parents(tracked)[0]
    found = [x for i, x in enumerate(equation.inputs, 1) if reads >> i & 1 and type(x) is Variable]
    return [*equation.outputs, *found] if primitive.multiple_results or reads & 1 else found


class Form(NamedTuple):
    """Shape and dtype of what was not kept, in its place."""

    shape: tuple[int, ...]
    dtype: Any


def _record_graph(trace: ReverseTrace, graph: Graph, args: Flat, policy: Policy | None) -> Flat:
    values, parents = trace.unwrap(args)
    flags = [parent is not None for parent in parents]
    tracked = {v for v, flag in zip(graph.inputs, flags, strict=True) if flag}
    reached = differentiable(graph, flags)
    recomputation = _find_recomputation(graph, flags, policy)
    known: dict[Variable, Any] = dict(zip(graph.inputs, values, strict=True))
    forms = {v: Form(value.shape, _lower(value).dtype) for v, value in known.items()}
    saved = {v: value for v, value in known.items() if v in recomputation.needed}
    for position, equation in enumerate(graph.equations):
        operands, tracked_here = _read_all(equation, known), recomputation.live.get(position, 0)
        run_by_rules = tracked_here and _has_rule(equation)
        found = _run_by_rules(equation, operands, tracked_here, forms) if run_by_rules else equation.run(operands)
        results = dict(zip(equation.outputs, found, strict=True))
        known.update(results)
        forms.update((v, Form(value.shape, _lower(value).dtype)) for v, value in results.items())
        for v in recomputation.kept.keys() & results.keys():
            saved[v] = _offload(results[v]) if isinstance(recomputation.kept[v], Offloadable) else results[v]
        _forget(known, equation, position, recomputation)
    outs = [as_bound(known[out] if type(out) is Variable else out) for out in graph.outputs]
    names, residuals = list(saved), list(saved.values())

    def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
        kept = {name: as_bound(_brought_back(value)) for name, value in zip(names, residuals, strict=True)}
        if capturing():  # a compiler would find that what runs again has been computed before, and keep it
            kept = {name: behind_barrier(value) for name, value in kept.items()}
        return _pull_again(graph, recomputation, forms, kept, tracked, parts)

    nodes = [parent for parent in parents if parent is not None]
    return list(record_call(trace, outs, reached, nodes, pullback, residuals))


def _has_rule(equation: Equation) -> bool:
    """Return whether a function with a rule of its own runs in an operation."""
    inner = (each for graph in equation.graphs for each in graph.equations)
    return equation.primitive in (CUSTOM_JVP, CUSTOM_VJP) or any(map(_has_rule, inner))


def _run_by_rules(
    equation: Equation, operands: Sequence[Any], tracked: int, forms: Mapping[Variable, Form]
) -> Sequence[Any]:
    """Run an operation as if it were recorded: a rule gives the results then, and they have its derivatives."""
    trace = ReverseTrace()
    outs = equation.run(
        [
            wrap(_lower(x), Leaf(trace, *forms[name])) if tracked >> i & 1 else x
            for i, (name, x) in enumerate(zip(equation.inputs, operands, strict=True))
        ]
    )
    values = [as_bound(out._value) if trace.follows(out) else out for out in outs]
    trace.end()
    return values


def _pull_again(
    graph: Graph,
    recomputation: Recomputation,
    forms: Mapping[Variable, Form],
    known: dict[Variable, Any],
    inputs: set[Variable],
    parts: Parts,
) -> Sequence[Any]:
    """Record the operations again, and walk the record back."""
    trace = ReverseTrace()
    nodes: dict[Variable, Node] = {v: Leaf(trace, *forms[v]) for v in graph.inputs if v in inputs}
    leaves = list(nodes.values())
    for position, equation in enumerate(graph.equations):
        absent = [out for out in equation.outputs if out in recomputation.needed and out not in known]
        # A choice may have followed less than it could have: the branch that runs decides.
        tracked = recomputation.live.get(position, 0) & bits_of(
            [type(x) is Variable and x in nodes for x in equation.inputs]
        )
        if tracked and isinstance(equation.primitive, HigherOrder):
            outs = equation.run(
                [
                    wrap(_lower(x), nodes[name]) if tracked >> i & 1 else x
                    for i, (name, x) in enumerate(zip(equation.inputs, _read_all(equation, known), strict=True))
                ]
            )
            for name, out in zip(equation.outputs, outs, strict=True):
                if trace.follows(out):
                    nodes[name] = out._node
                known.setdefault(name, as_bound(out._value) if trace.follows(out) else out)
            _forget(known, equation, position, recomputation)
            continue
        if absent:
            known.update(zip(equation.outputs, equation.run(_read_all(equation, known)), strict=True))
        if tracked:
            recorded = _record_one(trace, equation, tracked, nodes, known, forms)
            nodes.update((name, n) for name, n in zip(equation.outputs, recorded, strict=True) if n is not None)
        _forget(known, equation, position, recomputation)
    trace.end()
    roots = [
        (nodes[out], parts[i])
        for i, out in enumerate(graph.outputs)
        if i in parts and type(out) is Variable and out in nodes
    ]
    found = trace.backward(roots)
    return [found.get(leaf) for leaf in leaves]


def _record_one(
    trace: ReverseTrace,
    equation: Equation,
    tracked: int,
    nodes: Mapping[Variable, Node],
    known: Mapping[Variable, Any],
    forms: Mapping[Variable, Form],
) -> list[Node | None]:
    """Record one operation: with its values where they are known, else with shapes and dtypes."""

    def value(operand: Any) -> Any:
        if type(operand) is Variable:
            return _lower(known[operand]) if operand in known else forms[operand]
        return _lower(operand)

    primitive = equation.primitive
    values = [value(x) for x in equation.inputs]
    outs = tuple(value(out) for out in equation.outputs)
    parents = [nodes[x] if tracked >> i & 1 else None for i, x in enumerate(equation.inputs)]
    plain = not any(type(v) is Array for v in (*values, *outs))
    given = outs if isinstance(primitive, MultipleResults) else outs[0]
    recorded = primitive.record(trace, given, values, parents, tracked, equation.params, plain)
    return [array._node for array in (recorded if primitive.multiple_results else (recorded,))]


def _forget(known: dict[Variable, Any], equation: Equation, position: int, recomputation: Recomputation) -> None:
    """Drop the values that no later operation uses."""
    for x in variables_in((*equation.inputs, *equation.outputs)):
        if recomputation.last[x] == position:
            known.pop(x, None)


def _read_all(equation: Equation, known: Mapping[Variable, Any]) -> list[Any]:
    return [known[x] if type(x) is Variable else x for x in equation.inputs]


def _lower(value: Any) -> Any:
    """Return an Array as a record keeps it: raw where no transform follows it."""
    return value._value if type(value) is Array and value._node is None else value


# In the memory of the host


class Offloaded(NamedTuple):
    """A value in the host's memory, and where it was."""

    array: Any
    backend: Any
    device: Any


def _offload(value: Array) -> Any:
    backend = backend_of(raw(value)) if value._node is None else None
    if backend is None:  # a transform follows it: it stays
        return value
    return Offloaded(backend.to_host(raw(value)), backend, backend.device_of(raw(value)))


def _brought_back(value: Any) -> Any:
    return value.backend.from_host(value.array, value.device) if isinstance(value, Offloaded) else value
