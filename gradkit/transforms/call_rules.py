"""The call of a jitted function as an operation, under each transform.

Every transform of such a call is one: of the graph's forward mode, of its forward pass and its backward pass in reverse
mode, of the graph on batches. Each is captured once for a graph, and for which of its arguments the transform follows,
and stays known as long as the graph is (`Graph.derived`); on values it runs by its executable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradkit.compiler.executables import Executable, executable_of
from gradkit.compiler.passes import Walk, dependent, differentiable
from gradkit.config import config
from gradkit.core.array import Array, belongs_to_a_call, dtype_as_stored, owner_of, wrap
from gradkit.core.batching import BatchTrace
from gradkit.core.binding import highest_trace
from gradkit.core.capture import GraphTrace, graph_of
from gradkit.core.forward import ForwardTrace
from gradkit.core.function_batches import Batch
from gradkit.core.graph import Equation, Graph, HigherOrder, Variable, abstract_like, zeros_of
from gradkit.core.namespace import as_bound
from gradkit.core.node import Leaf
from gradkit.core.residuals import Outline, Record
from gradkit.core.reverse import ReverseTrace
from gradkit.core.several_results import Parts, record_call
from gradkit.core.stand_in import Abstract
from gradkit.primitives import broadcast_to
from gradkit.transforms.compile_log import compiling
from gradkit.transforms.surroundings import surroundings
from gradkit.transforms.tape_marks import as_the_tape_sees

__all__ = ["JIT", "executable_for", "runs_over_an_axis", "without_calls"]

Flat = list[Any]
Flags = tuple[bool, ...]
Shape = tuple[int, ...]


class Jit(HigherOrder):
    """A call of a captured function, whose graph closes over nothing: its first arguments are its constants.

    `name` is the function's, for people; `inline` says that in a graph its operations stand in its place.
    """

    derivative = ("name",)
    calls = "jaxpr"

    def run(self, args: Sequence[Any], **params: Any) -> Flat:
        """Run it under the highest transform among its arguments."""
        args = list(map(as_bound, args))
        trace = highest_trace(args)
        return self.evaluate(args, **params) if trace is None else trace.call(self, args, params)

    def evaluate(self, args: Flat, *, name: str, jaxpr: Graph, inline: bool) -> Flat:
        """Run the graph's executable."""
        arrays = [arg if arg._node is None else wrap(arg._value) for arg in args]
        run = executable_for(jaxpr, name)
        if run.if_it_fits is None:
            return run(arrays)
        outs = run.if_it_fits(arrays)  # native code looks at them
        if outs is None:
            # A library's own number, such as the cotangent that a backward pass begins with, is no array yet.
            arrays = [wrap(owner_of(array._value).asarray(array._value)) for array in arrays]
            outs = run.if_it_fits(arrays)
        return run(arrays) if outs is None else outs

    def results(self, *, name: str, jaxpr: Graph, inline: bool) -> Flat:
        """Return the graph's."""
        return jaxpr.outputs

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Return what the graph says of its results."""
        return tuple(map(_form, params["jaxpr"].outputs))

    def reached(self, inputs: Sequence[bool], walk: Walk, *, name: str, jaxpr: Graph, inline: bool) -> list[bool]:
        """Walk through the graph."""
        return walk(jaxpr, inputs)

    def in_graph(self, trace: GraphTrace, args: Flat, *, name: str, jaxpr: Graph, inline: bool) -> Flat:
        """Write it down, or what it consists of."""
        if inline:
            return jaxpr.run(args)
        return list(trace.process(self, args, {"name": name, "jaxpr": jaxpr, "inline": inline}))

    def in_forward(self, trace: ForwardTrace, args: Flat, *, name: str, jaxpr: Graph, inline: bool) -> Flat:
        """Call the graph of forward mode."""
        primals, tangents = trace.unwrap(args)
        flags = tuple(t is not None for t in tangents)
        wanted = _reached(jaxpr, flags, differentiable)
        given = [_of_shape(t, p.shape) for t, p in zip(tangents, primals, strict=True) if t is not None]

        def pushed() -> Derived:
            forms = [*_forms(jaxpr), *(form for form, flag in zip(_forms(jaxpr), flags, strict=True) if flag)]
            return Derived(*graph_of(lambda *flat: _push(jaxpr, flat, flags, wanted), forms))

        found = _known(jaxpr, ("forward", flags), pushed)
        outs = found.call([*primals, *given], name, inline)
        directions = iter(outs[len(wanted) :])
        return [trace.wrap(o, next(directions) if w else None) for o, w in zip(outs, wanted, strict=False)]

    def in_reverse(self, trace: ReverseTrace, args: Flat, *, name: str, jaxpr: Graph, inline: bool) -> Flat:
        """Call the graph of the forward pass, and in the pullback that of the backward pass."""
        values, parents = trace.unwrap(args)
        graph = jaxpr if trace.level else as_the_tape_sees(jaxpr)
        tracked = tuple(parent is not None for parent in parents)
        wanted = _reached(graph, tracked, differentiable)
        if not any(wanted):
            return self.run(values, name=name, jaxpr=jaxpr, inline=inline)
        passes = _known(graph, ("reverse", tracked), lambda: _forward_pass(graph, tracked, wanted))
        outs = passes.call(values, name, inline)
        results = outs[: len(wanted)]
        residuals = [{"in": values, "out": outs, "fixed": passes.fixed}[where][i] for where, i in passes.sources]

        def pullback(parts: Parts, residuals: Flat) -> Sequence[Any]:
            kept = list(map(as_bound, residuals))
            cotangents = [as_bound(parts[i]) if w and i in parts else None for i, w in enumerate(wanted)]
            shares: Flat = passes.back(cotangents, kept, name, inline)
            return shares

        nodes = [parent for parent in parents if parent is not None]
        return list(record_call(trace, results, wanted, nodes, pullback, residuals))

    def in_batch(self, trace: BatchTrace, args: Flat, *, name: str, jaxpr: Graph, inline: bool) -> Flat:
        """Call the graph of whole batches."""
        values, axes = trace.unwrap(args)
        batched = _reached(jaxpr, tuple(axis is not None for axis in axes), dependent)
        named = runs_over_an_axis(jaxpr)

        def whole() -> Derived:
            batch = Batch(trace if named else BatchTrace(trace.size, trace.name))

            def run(*flat: Any) -> Flat:
                return batch.run_where(
                    lambda elements: list(map(as_bound, jaxpr.run(elements))), list(flat), axes, batched
                )

            return Derived(*graph_of(run, list(map(_whole_form, _forms(jaxpr), axes, [trace.size] * len(axes)))))

        found = whole() if named else _known(jaxpr, ("batch", trace.size, tuple(axes)), whole)
        outs = found.call(values, name, inline)
        return [trace.wrap(out, 0 if b else None) for out, b in zip(outs, batched, strict=True)]


JIT = Jit("jit")


def executable_for(graph: Graph, name: str, donated: Sequence[int] = ()) -> Executable:
    """Return what runs a graph on values."""
    key = "executable", surroundings(), tuple(donated)
    found: Executable | None = graph.derived.get(key)
    if found is None:
        with compiling(name, len(graph.equations)):
            # A check of each operation's results takes one operation after another.
            found = Interpreted(graph) if config.jax_debug_nans else executable_of(graph, donated)
        graph.derived[key] = found
    return found


class Interpreted(Executable):
    """What runs a graph operation by operation."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._plan = lambda: None
        self.printer = "interpreter"
        self.donated = ()
        self.run = graph.run
        self.if_it_fits = None


def runs_over_an_axis(graph: Graph) -> bool:
    """Return whether a graph has an operation over an axis that some `vmap` in progress named."""
    found: bool | None = graph.derived.get("over an axis")
    if found is None:
        found = graph.derived["over an axis"] = any(
            "frame" in equation.params or any(map(runs_over_an_axis, equation.graphs)) for equation in graph.equations
        )
    return found


def without_calls(graph: Graph) -> Graph:
    """Return a graph with the operations of jitted functions in the place of their calls."""
    if not any(equation.primitive is JIT for equation in graph.equations):
        return graph
    equations: list[Equation] = []

    def take(inner: Graph, known: dict[Variable, Any]) -> Flat:
        def now(operand: Any) -> Any:
            return known.get(operand, operand) if type(operand) is Variable else operand

        for equation in inner.equations:
            inputs = tuple(map(now, equation.inputs))
            if equation.primitive is JIT:
                called: Graph = equation.params["jaxpr"]
                outs = take(called, dict(zip(called.inputs, inputs, strict=True)))
            else:
                # A function that is called twice makes its variables twice.
                outs = [Variable(out.trace, out.form) for out in equation.outputs]
                equations.append(dataclasses.replace(equation, inputs=inputs, outputs=tuple(outs)))
            known.update(zip(equation.outputs, outs, strict=True))
        return list(map(now, inner.outputs))

    outputs = take(graph, {})
    return Graph(graph.inputs, graph.constants, equations, outputs)


# What a graph becomes under a transform


@dataclass(eq=False)
class Derived:
    """A graph made of another one, and what it closes over."""

    graph: Graph
    constants: Flat

    def call(self, args: Flat, name: str, inline: bool) -> Flat:
        """Call it."""
        return JIT.run([*self.constants, *args], name=name, jaxpr=self.graph, inline=inline)


@dataclass(eq=False)
class Passes(Derived):
    """The graph of a forward pass, whose results are followed by what the backward pass reads.

    Attributes
    ----------
    outline : Outline
        The record of the forward pass without the values that it keeps.
    sources : list of (str, int)
        Where those are: among the arguments, the results of the graph, or in `fixed`.
    fixed : list of Array
        Those that are the same at every call.
    forms : list of Abstract
        What they are like.
    backward : dict
        The graphs of the backward pass, by which results have a cotangent, and of which shape.
    """

    outline: Outline
    sources: list[tuple[str, int]]
    fixed: Flat
    forms: list[Abstract]
    backward: dict[Hashable, tuple[Derived, list[bool]]] = field(default_factory=dict)

    def back(self, cotangents: Flat, kept: Flat, name: str, inline: bool) -> Flat:
        """Return the cotangents of the inputs that are tracked; None for zeros."""
        key = surroundings(), tuple(None if g is None else g.shape for g in cotangents)
        found = self.backward.get(key)
        if found is None:
            found = self._backward_pass(cotangents)
            if not any(map(belongs_to_a_call, found[0].constants)):
                self.backward[key] = found
        derived, present = found
        given = [g for g in cotangents if g is not None]
        shares = iter(derived.call([*kept, *given], name, inline) if any(present) else ())
        return [next(shares) if p else None for p in present]

    def _backward_pass(self, cotangents: Flat) -> tuple[Derived, list[bool]]:
        present: list[bool] = []

        def run(*flat: Any) -> Flat:
            given = iter(flat[len(self.forms) :])
            record = self.outline.fill(flat[: len(self.forms)])
            shares = record.pull([None if g is None else next(given) for g in cotangents])
            present[:] = [share is not None for share in shares]
            return [as_bound(share) for share in shares if share is not None]

        forms = [*self.forms, *(abstract_like(g) for g in cotangents if g is not None)]
        return Derived(*graph_of(run, forms)), present


def _reached(graph: Graph, flags: Flags, walk: Walk) -> list[bool]:
    """Return which results follow from the inputs whose flag is set, as a pass says; it walks a graph once."""
    found: list[bool] | None = graph.derived.get((walk, flags))
    if found is None:
        found = graph.derived[walk, flags] = walk(graph, flags)
    return found


def _known(graph: Graph, key: tuple[Hashable, ...], make: Callable[[], Any]) -> Any:
    """Return what was made of a graph before, or make it; what closes over transforms in progress is made anew."""
    key = surroundings(), *key
    found = graph.derived.get(key)
    if found is None:
        found = make()
        if not any(map(belongs_to_a_call, found.constants)):
            graph.derived[key] = found
    return found


def _push(graph: Graph, flat: Sequence[Any], flags: Flags, wanted: Sequence[bool]) -> Flat:
    """Run a graph in forward mode, on its arguments and the tangents of those whose flag is set."""
    trace = ForwardTrace()
    directions = iter(flat[len(flags) :])
    given = [trace.wrap(p, next(directions) if flag else None) for p, flag in zip(flat, flags, strict=False)]
    values, tangents = trace.unwrap(list(map(as_bound, graph.run(given))))
    trace.end()
    return [
        *values,
        *(
            zeros_of(abstract_like(v)) if t is None else _of_shape(t, v.shape)
            for v, t, w in zip(values, tangents, wanted, strict=True)
            if w
        ),
    ]


def _forward_pass(graph: Graph, tracked: Flags, wanted: Sequence[bool]) -> Passes:
    found: dict[str, Any] = {}

    def run(*flat: Any) -> Flat:
        outs, record = _record(graph, list(flat), tracked, wanted)
        residuals, found["outline"] = record.take_apart()
        sources, found["fixed"] = [], []
        inputs = {id(x._node): i for i, x in enumerate(flat)}
        results = {id(out._node): i for i, out in enumerate(outs) if type(out._node) is Variable}
        here = flat[0]._node.trace
        for residual in residuals:
            node = residual._node
            if node is None or node.trace is not here:
                sources.append(("fixed", len(found["fixed"])))
                found["fixed"].append(residual)
            elif id(node) in inputs:
                sources.append(("in", inputs[id(node)]))
            else:
                if id(node) not in results:
                    results[id(node)] = len(outs)
                    outs.append(residual)
                sources.append(("out", results[id(node)]))
        found["sources"], found["forms"] = sources, list(map(abstract_like, residuals))
        return outs

    derived = graph_of(run, _forms(graph))
    return Passes(*derived, **found)


def _record(graph: Graph, inputs: Flat, tracked: Flags, wanted: Sequence[bool]) -> tuple[Flat, Record]:
    """Run a graph in reverse mode: give the results, and the record from them back to the inputs that are tracked."""
    trace = ReverseTrace()
    leaves = [
        Leaf(trace, x.shape, dtype_as_stored(x)) if flag else None for x, flag in zip(inputs, tracked, strict=True)
    ]
    outs = graph.run([x if leaf is None else wrap(x, leaf) for x, leaf in zip(inputs, leaves, strict=True)])
    outs = list(map(as_bound, outs))
    trace.end()
    roots = [out._node if w and trace.follows(out) else None for out, w in zip(outs, wanted, strict=True)]
    values = [as_bound(out._value) if trace.follows(out) else out for out in outs]
    return values, Record(trace, roots, [leaf for leaf in leaves if leaf is not None])


def _forms(graph: Graph) -> list[Abstract]:
    return [variable.form for variable in graph.inputs]


def _form(output: Any) -> Abstract:
    return output.form if type(output) is Variable else abstract_like(as_bound(output))


def _whole_form(form: Abstract, axis: int | None, size: int) -> Abstract:
    if axis is None:
        return form
    shape = (*form.shape[:axis], size, *form.shape[axis:])
    return Abstract(shape, form.dtype, form.backend, form.device)


def _of_shape(x: Any, shape: Shape) -> Array:
    array: Array = as_bound(x)
    return array if array.shape == shape else broadcast_to(array, shape)
