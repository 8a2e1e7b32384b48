"""Functions that run again in the backward pass (`checkpoint`), under each transform.

Without a policy the tape keeps the arguments, and the function itself runs again. With one, and in graphs, it is the
function's graph that runs again: only what the rules of its operations read, from the values that the policy kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from gradkit.backend import backend_of
from gradkit.core.array import Array, raw, wrap
from gradkit.core.batching import BatchTrace, Gating, at_front
from gradkit.core.families import MultipleResults, Parts, record_call
from gradkit.core.forward import Dual, ForwardTrace
from gradkit.core.functions import Flat, Function, highest_trace, is_at, split
from gradkit.core.graph import (
    Equation,
    Graph,
    GraphTrace,
    HigherOrder,
    Variable,
    abstract_like,
    capturing,
    dependent,
    graph_of,
)
from gradkit.core.layers import changed_inside, followers, layers
from gradkit.core.namespace import as_bound
from gradkit.core.node import Leaf, Node, Trace, again, enable_grad, new_level, new_sequence
from gradkit.core.promotion import is_inexact
from gradkit.core.reverse import ReverseTrace
from gradkit.core.stand_in import Batched

__all__ = ["Offloadable", "Rerun", "call_checkpointed"]

Policy = Callable[..., Any]


class Offloadable(NamedTuple):
    """A policy's answer for a value that is kept in the memory of the host."""

    src: str
    dst: str


def call_checkpointed(function: Function, args: Flat, policy: Policy | None = None) -> Flat:
    """Call a function of which the tape keeps the arguments and what `policy` says, and which it runs again."""
    if policy is not None or capturing():
        graph, constants = graph_of(lambda *flat: function(list(flat)), [abstract_like(arg) for arg in args])
        return _call_graph([*constants, *args], jaxpr=graph, policy=policy)
    start, last = new_sequence(), new_level()
    outs = function(args)
    traces = [trace for trace in followers(outs) if isinstance(trace, ReverseTrace)]
    for trace in sorted(traces, key=lambda trace: trace.number):
        outs = _forgotten(trace, function, args, outs, start, last)
    return outs


def _call_graph(args: Sequence[Any], *, jaxpr: Graph, policy: Policy | None) -> Flat:
    args = list(map(as_bound, args))
    trace = highest_trace(args)
    if isinstance(trace, ReverseTrace):
        return _record_graph(trace, jaxpr, args, policy)
    if isinstance(trace, GraphTrace):
        return list(trace.process(CHECKPOINT, args, {"jaxpr": jaxpr, "policy": policy}))
    return _transformed(jaxpr.run, args, policy)


def _depends(inputs: Sequence[bool], differentiably: bool, *, jaxpr: Graph, policy: Policy | None) -> list[bool]:
    return dependent(jaxpr, inputs, differentiably)


CHECKPOINT = HigherOrder("checkpoint", _call_graph, lambda *, jaxpr, policy: jaxpr.outputs, _depends)


def _transformed(function: Function, args: Flat, policy: Policy | None) -> Flat:
    """Call a function that closes over nothing; under forward mode or `vmap` a changed one at the levels below."""
    trace = highest_trace(args)
    if isinstance(trace, ForwardTrace):
        primals, tangents = trace.unwrap(args)
        kept = [t is not None for t in tangents]
        present: list[bool] = []

        def pushing(flat: Flat) -> Flat:
            directions = iter(flat[len(primals) :])
            with trace.lifted():
                outs = function(
                    [trace.wrap(p, next(directions) if k else None) for p, k in zip(flat, kept, strict=False)]
                )
            outs, out_tangents = trace.unwrap(outs)
            present[:] = [t is not None for t in out_tangents]
            return [*outs, *(t for t in out_tangents if t is not None)]

        flat = call_checkpointed(pushing, [*primals, *(t for t in tangents if t is not None)], policy)
        directions = iter(flat[len(present) :])
        return [trace.wrap(o, next(directions) if p else None) for o, p in zip(flat, present, strict=False)]
    if isinstance(trace, BatchTrace):
        values, axes = trace.unwrap(args)
        batched: list[bool] = []

        def whole(flat: Flat) -> Flat:
            with trace.lifted():
                outs, places = trace.unwrap(function([trace.wrap(v, a) for v, a in zip(flat, axes, strict=True)]))
            batched[:] = [place is not None for place in places]
            return [at_front(o, p, trace.size) if p is not None else o for o, p in zip(outs, places, strict=True)]

        outs = call_checkpointed(whole, values, policy)
        return [trace.wrap(o, 0 if b else None) for o, b in zip(outs, batched, strict=True)]
    return function(args)


# The function itself runs again


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
    arguments = [_taken_apart(arg, trace, kept) for arg in args]
    traces = followers((*args, *outs))
    again = Rerun(trace, function, arguments, parents, len(parts), last, _gates(traces, start))
    again.known = frozenset(each.number for each in traces)
    values = [as_bound(part._value) for part in parts]
    new = iter(record_call(trace, values, parents, again, [_lowered(value) for value in kept]))

    def replaced(value: Any) -> Any:
        node = value._node if type(value) is Array else None
        if node is None or (node.trace is trace and node.sequence < start):
            return value if node is not None or type(value) is not Array else changed_inside(value, replaced)
        return next(new) if node.trace is trace else changed_inside(value, replaced)

    return [replaced(out) for out in outs]


def _parts(outs: Sequence[Any], trace: ReverseTrace, start: int) -> list[Array]:
    """Return the parts of results that were made at one level since `start`."""
    return [
        layer
        for out in outs
        for layer in layers(out)
        if layer._node is not None and layer._node.trace is trace and layer._node.sequence >= start
    ]


def _taken_apart(value: Any, trace: ReverseTrace, kept: Flat) -> Callable[[Flat], Any]:
    """Put what an argument holds below one level into `kept`; give the function that puts it together again."""
    node = value._node if type(value) is Array else None
    if node is None or not (node.trace is trace or node.trace.level > trace.level):
        place = len(kept)
        kept.append(value)
        return lambda values: as_bound(values[place])
    if type(value._value) is Batched:
        axis, whole = value._value.axis, _taken_apart(value._value.array, trace, kept)
        return lambda values: wrap(Batched(whole(values), axis), node)
    inner = _taken_apart(value._value, trace, kept)
    if isinstance(node, Dual):
        forward, tangent = cast(ForwardTrace, node.trace), _taken_apart(node.tangent, trace, kept)
        return lambda values: forward.wrap(inner(values), tangent(values))
    # What another tape, of a level above, knows of it is of no use to this one; that it follows it is.
    own = node if node.trace is trace else Leaf(node.trace, node.shape, node.dtype)
    return lambda values: wrap(_lowered(inner(values)), own)


def _gates(traces: Iterable[Trace], start: int) -> dict[BatchTrace, Gating]:
    """Return copies of the gates that the arguments of batches' operations go through, as they were at `start`."""
    batches = (trace for trace in traces if isinstance(trace, BatchTrace))
    return {batch: batch.gate.copy(start) for batch in batches if batch.gate is not None}


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

    known: frozenset[int] = frozenset()

    def __init__(
        self,
        trace: ReverseTrace,
        function: Function,
        arguments: Sequence[Callable[[Flat], Any]],
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
        given = [argument(residuals) for argument in self._arguments]
        with enable_grad(), again(self._first, self._last, self.known), self._behind_gates():
            outs = self._function(given)
            for cut in self.cuts:
                outs = cut(outs, start)
        found = _parts(outs, trace, start)
        if len(found) != self._count:
            raise RuntimeError(
                f"checkpoint: the function has to compute the same when it runs again in the backward pass, but "
                f"{len(found)} of its results depend on what is differentiated, and before {self._count} did. It may "
                f"not depend on state that has changed in the meantime."
            )
        cotangents = trace.backward([(found[i]._node, g) for i, g in parts.items()], floor=start)  # type: ignore[misc]
        shares = [cotangents.get(parent) for parent in self._parents]
        for cut in self.cuts:
            shares = cut(shares, start)
        return shares

    @contextmanager
    def _behind_gates(self) -> Iterator[None]:
        before = {batch: batch.gate for batch in self._gates}
        try:
            for batch, gate in self._gates.items():
                batch.gate = gate.copy(new_sequence())
            yield
        finally:
            for batch, outer in before.items():
                batch.gate = outer


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


# Its graph runs again


@dataclass
class Plan:
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


def _plan(graph: Graph, tracked: set[Variable], policy: Policy | None) -> Plan:
    bits: list[int] = []
    for equation in graph.equations:
        bits.append(sum(1 << i for i, x in enumerate(equation.inputs) if type(x) is Variable and x in tracked))
        if bits[-1] and (isinstance(equation.primitive, HigherOrder) or equation.primitive.plan(bits[-1])[1]):
            tracked.update(out for out in equation.outputs if is_inexact(out.dtype.name))
    plan = Plan()
    for position, equation in enumerate(graph.equations):
        plan.last.update((x, position) for x in (*equation.inputs, *equation.outputs) if type(x) is Variable)
    plan.last.update((out, len(graph.equations)) for out in graph.outputs if type(out) is Variable)
    reached = {out for out in graph.outputs if type(out) is Variable and out in tracked}
    for position in reversed(range(len(graph.equations))):
        equation = graph.equations[position]
        if not reached.isdisjoint(equation.outputs):
            plan.live[position] = bits[position]
            reached.update(x for i, x in enumerate(equation.inputs) if bits[position] >> i & 1)
            plan.needed.update(_read(equation, bits[position]))
        needed = plan.needed.intersection(equation.outputs)
        if not needed:
            continue
        answer = policy(equation.primitive, *equation.inputs, **equation.params) if policy is not None else False
        if isinstance(answer, Offloadable) or answer:
            plan.kept.update(dict.fromkeys(needed, answer))
        else:
            plan.needed.update(x for x in equation.inputs if type(x) is Variable)
    return plan


def _read(equation: Equation, tracked: int) -> list[Variable]:
    """Return what the record of an operation reads."""
    primitive = equation.primitive
    if isinstance(primitive, HigherOrder):
        return [x for x in equation.inputs if type(x) is Variable]  # it runs again as a whole
    reads = primitive.plan(tracked)[0]
    found = [x for i, x in enumerate(equation.inputs, 1) if reads >> i & 1 and type(x) is Variable]
    return [*equation.outputs, *found] if primitive.multiple_results or reads & 1 else found


class Form(NamedTuple):
    """Shape and dtype of what was not kept, in its place."""

    shape: tuple[int, ...]
    dtype: Any


def _record_graph(trace: ReverseTrace, graph: Graph, args: Flat, policy: Policy | None) -> Flat:
    values, parents = split(trace, args)
    tracked = {v for v, parent in zip(graph.inputs, parents, strict=True) if parent is not None}
    plan = _plan(graph, set(tracked), policy)
    known: dict[Variable, Any] = dict(zip(graph.inputs, values, strict=True))
    forms = {v: Form(value.shape, _lowered(value).dtype) for v, value in known.items()}
    saved = {v: value for v, value in known.items() if v in plan.needed}
    for position, equation in enumerate(graph.equations):
        results = dict(zip(equation.outputs, equation.run(_read_all(equation, known)), strict=True))
        known.update(results)
        forms.update((v, Form(value.shape, _lowered(value).dtype)) for v, value in results.items())
        for v in plan.kept.keys() & results.keys():
            saved[v] = _offloaded(results[v]) if isinstance(plan.kept[v], Offloadable) else results[v]
        _forget(known, equation, position, plan)
    outs = [as_bound(known[out] if type(out) is Variable else out) for out in graph.outputs]
    names, residuals = list(saved), list(saved.values())

    def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
        kept = {name: as_bound(_brought_back(value)) for name, value in zip(names, residuals, strict=True)}
        return _pull_again(graph, plan, forms, kept, tracked, parts)

    return list(record_call(trace, outs, [p for p in parents if p is not None], pullback, residuals))


def _pull_again(
    graph: Graph,
    plan: Plan,
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
        absent = [out for out in equation.outputs if out in plan.needed and out not in known]
        tracked = plan.live.get(position, 0)
        if tracked and isinstance(equation.primitive, HigherOrder):
            outs = equation.run(
                [
                    wrap(_lowered(x), nodes[name]) if tracked >> i & 1 else x
                    for i, (name, x) in enumerate(zip(equation.inputs, _read_all(equation, known), strict=True))
                ]
            )
            for name, out in zip(equation.outputs, outs, strict=True):
                if is_at(out, trace):
                    nodes[name] = out._node
                known.setdefault(name, as_bound(out._value) if is_at(out, trace) else out)
            _forget(known, equation, position, plan)
            continue
        if absent:
            known.update(zip(equation.outputs, equation.run(_read_all(equation, known)), strict=True))
        if tracked:
            recorded = _recorded(trace, equation, tracked, nodes, known, forms)
            nodes.update((name, n) for name, n in zip(equation.outputs, recorded, strict=True) if n is not None)
        _forget(known, equation, position, plan)
    trace.end()
    roots = [
        (nodes[out], parts[i])
        for i, out in enumerate(graph.outputs)
        if i in parts and type(out) is Variable and out in nodes
    ]
    found = trace.backward(roots)
    return [found.get(leaf) for leaf in leaves]


def _recorded(
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
            return _lowered(known[operand]) if operand in known else forms[operand]
        return _lowered(operand)

    primitive = equation.primitive
    values = [value(x) for x in equation.inputs]
    outs = tuple(value(out) for out in equation.outputs)
    parents = [nodes[x] if tracked >> i & 1 else None for i, x in enumerate(equation.inputs)]
    plain = not any(type(v) is Array for v in (*values, *outs))
    given = outs if isinstance(primitive, MultipleResults) else outs[0]
    recorded = primitive.record(trace, given, values, parents, tracked, equation.params, plain)
    return [array._node for array in (recorded if primitive.multiple_results else (recorded,))]


def _forget(known: dict[Variable, Any], equation: Equation, position: int, plan: Plan) -> None:
    """Drop the values that no later operation uses."""
    for x in (*equation.inputs, *equation.outputs):
        if type(x) is Variable and plan.last[x] == position:
            known.pop(x, None)


def _read_all(equation: Equation, known: Mapping[Variable, Any]) -> list[Any]:
    return [known[x] if type(x) is Variable else x for x in equation.inputs]


def _lowered(value: Any) -> Any:
    """Return an Array as a record keeps it: raw where no transform follows it."""
    return value._value if type(value) is Array and value._node is None else value


# In the memory of the host


class Offloaded(NamedTuple):
    """A value in the host's memory, and where it was."""

    array: Any
    backend: Any
    device: Any


def _offloaded(value: Array) -> Any:
    backend = backend_of(raw(value)) if value._node is None else None
    if backend is None:  # a transform follows it: it stays
        return value
    return Offloaded(backend.to_host(raw(value)), backend, backend.device_of(raw(value)))


def _brought_back(value: Any) -> Any:
    return value.backend.from_host(value.array, value.device) if isinstance(value, Offloaded) else value
