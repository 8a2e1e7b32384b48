"""Graphs: a captured function as data, the list of its operations (`core.capture` writes it down).

A graph is in single-assignment form: every equation names its results anew. `print` shows it in JAX's text form. Loops,
choices and functions with rules of their own are operations with graphs as parameters (`HigherOrder`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradkit.core.array import Array, backend_of_array, device_of_array, innermost, is_followed, wrap
from gradkit.core.binding import bind, bind_several, has_no_values, highest_trace
from gradkit.core.namespace import PRIMITIVES, as_bound, bound
from gradkit.core.node import Trace, capturing, made_of_one_number
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import dtype_named
from gradkit.core.several_results import MultipleResults
from gradkit.core.sources import noting_sources, source_here
from gradkit.core.stand_in import Abstract
from gradkit.core.values import host

__all__ = [
    "Equation", "Graph", "HigherOrder", "Params", "Variable", "abstract_like", "bind_where_captured",
    "broadcast_number", "graphs_in", "repeated_number", "zeros_of",
]  # fmt: skip


class Variable:
    """One array of a graph: an input, a constant, or the result of an equation.

    An Array that stands in the graph has it as its node; of what a node is it needs the trace alone.

    Attributes
    ----------
    trace : Trace
        The capture.
    form : Abstract
        Its shape, dtype and place.
    """

    __slots__ = ("form", "trace")
    primitive = None

    def __init__(self, trace: Trace, form: Abstract) -> None:
        self.trace = trace
        self.form = form

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.form.shape

    @property
    def dtype(self) -> Any:
        """The array's dtype."""
        return self.form.dtype


class Params(dict[str, Any]):
    """The static parameters of an equation, which do not change: so they hash, where Python's slices do not."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset((name, _hashed(value)) for name, value in self.items()))


def _hashed(value: Any) -> Any:
    if type(value) is slice:
        return slice, value.start, value.stop, value.step
    return tuple(map(_hashed, value)) if type(value) is tuple else value


class HigherOrder(MultipleResults):
    """An operation with functions as parameters: a loop, a choice, a call of a function with rules of its own.

    It is written down in graphs alone: on values it is Python's, and under a transform it is another one of its kind,
    of transformed functions. For each of the traces it has the method that says so, which the trace calls.

    Attributes
    ----------
    derivative : sequence of str
        Parameters that say what its derivative is, and nothing of what it computes.
    calls : str or None
        The parameter whose graph it runs once on its arguments, where that is all that it does on values.
    """

    has_kernels = False
    derivative: Sequence[str] = ()
    calls: str | None = None

    def __init__(self, name: str) -> None:
        super().__init__(name, None, (None,))

    def run(self, args: Sequence[Any], **params: Any) -> Sequence[Any]:
        """Run it under the highest transform among its arguments, or on values, whatever follows those."""
        args = list(map(as_bound, args))
        trace = highest_trace(args) if has_no_values(args) else None
        return self.evaluate(args, **params) if trace is None else trace.call(self, args, params)

    @abstractmethod
    def evaluate(self, *args: Any, **params: Any) -> list[Any]:
        """Run it on values: ``evaluate(args, **params)``."""

    @abstractmethod
    def in_forward(self, *args: Any, **params: Any) -> list[Any]:
        """Run it in forward mode: ``in_forward(trace, args, **params)``."""

    @abstractmethod
    def in_reverse(self, *args: Any, **params: Any) -> list[Any]:
        """Run it in reverse mode: ``in_reverse(trace, args, **params)``."""

    @abstractmethod
    def in_batch(self, *args: Any, **params: Any) -> list[Any]:
        """Run it on batches: ``in_batch(trace, args, **params)``."""

    def in_graph(self, *args: Any, **params: Any) -> list[Any]:
        """Write it down: ``in_graph(trace, args, **params)``."""
        trace, operands = args
        return list(trace.process(self, operands, params))

    @abstractmethod
    def results(self, *args: Any, **params: Any) -> Sequence[Any]:
        """Return what has the results' shapes and dtypes: ``results(**params)``."""

    def reached(self, *args: Any, **params: Any) -> list[bool]:
        """Return which results follow from the arguments whose flag is set: ``reached(inputs, walk, **params)``.

        ``walk(graph, inputs)`` says that of a graph.
        """
        return [True] * len(self.results(**params))

    def has_effect(self, params: Mapping[str, Any]) -> bool:
        """Return whether a function that it runs does something beside computing results."""
        graphs = [graph for value in params.values() for graph in graphs_in(value)]
        return any(inner.primitive.has_effect(inner.params) for graph in graphs for inner in graph.equations)

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Return stand-ins for the results, at the place of the arguments."""
        arrays = [arg for arg in args if type(arg) is Array]
        array = next((array for array in arrays if type(innermost(array)) is Abstract), arrays[0])
        backend, device = backend_of_array(array), device_of_array(array)
        return tuple(Abstract(tuple(r.shape), dtype_named(r.dtype), backend, device) for r in self.results(**params))


@dataclass(frozen=True, eq=False)
class Equation:
    """One operation of a graph. It equals itself alone.

    Attributes
    ----------
    primitive : Primitive
        The operation.
    inputs : tuple of Variable, Array or number
        Its arguments; Arrays and numbers are literals.
    params : Params
        Its static parameters.
    outputs : tuple of Variable
        Its results.
    source : str or None
        Where in the user's program it comes from, if somebody asked (`core.sources`).
    """

    primitive: Primitive
    inputs: tuple[Any, ...]
    params: Params
    outputs: tuple[Variable, ...]
    source: str | None = None

    @property
    def graphs(self) -> list[Graph]:
        """The graphs of the functions that it runs."""
        return [graph for value in self.params.values() for graph in graphs_in(value)]

    def run(self, operands: Sequence[Any]) -> Sequence[Any]:
        """Run the operation on arrays that have values, or on those of a transform."""
        if self.source is not None:
            with noting_sources(self.source):
                return self._run(operands)
        return self._run(operands)

    def _run(self, operands: Sequence[Any]) -> Sequence[Any]:
        primitive = self.primitive
        if isinstance(primitive, HigherOrder):
            return primitive.run(operands, **self.params)
        if primitive.calls_host:
            return bind_where_captured(primitive, operands, self.params)
        if primitive.multiple_results:
            return bind_several(primitive, operands, self.params)
        return (bind(primitive, operands, self.params),)


@dataclass(eq=False)
class Graph:
    """A captured function. It equals itself alone; `compiler.keys` says whether two compute the same.

    Attributes
    ----------
    inputs : list of Variable
        Its arguments' leaves.
    constants : list of (Variable, Array)
        Arrays that it uses beside its arguments.
    equations : list of Equation
        Its operations, in order.
    outputs : list of Variable, Array or number
        Its results' leaves.
    derived : dict
        What was made of it: its transforms, and what runs it. It lives as long as the graph.
    """

    inputs: list[Variable] = field(default_factory=list)
    constants: list[tuple[Variable, Array]] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    derived: dict[Any, Any] = field(default_factory=dict, repr=False)

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """Run the operations on arrays that have values (or on those of a transform)."""
        values: dict[Variable, Any] = dict(self.constants)
        values.update(zip(self.inputs, arguments, strict=True))

        def read(operand: Any) -> Any:
            return values[operand] if type(operand) is Variable else operand

        for equation in self.equations:
            results = equation.run([read(operand) for operand in equation.inputs])
            values.update(zip(equation.outputs, results, strict=True))
        return [read(output) for output in self.outputs]

    def closed(self) -> Graph:
        """Return the graph with its constants as its first inputs."""
        return Graph([*(variable for variable, _ in self.constants), *self.inputs], [], self.equations, self.outputs)


def bind_where_captured(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Run a call of a function of the host: in a graph at each run, also where its arguments are known."""
    trace = capturing()
    if trace is not None and not has_no_values(args) and not any(map(is_followed, args)):
        return tuple(trace.process(primitive, args, params))
    return bind_several(primitive, args, params)


def repeated_number(array: Array) -> Array | None:
    """Return the number that an array is everywhere; None if there is none, or no element."""
    values = host(array).reshape(-1)
    if not values.size or values.tobytes() != values[:1].tobytes() * values.size:
        return None
    form = abstract_like(array)
    dtype = form.backend.raw_dtype_named(form.dtype.name)
    return wrap(form.backend.xp.asarray(values[0].item(), dtype=dtype, device=form.device.raw))


def broadcast_number(number: Array, result: Variable) -> Equation:
    """Return the operation that makes an array of one number."""
    return Equation(PRIMITIVES["broadcast_to"], (number,), Params({"shape": result.shape}), (result,), source_here())


def abstract_like(array: Array, weak: type | None = None) -> Abstract:
    """Return the shape, dtype and place of an Array, or of what stands for a Python number of the type `weak`."""
    return Abstract(array.shape, array.dtype, backend_of_array(array), device_of_array(array), weak)


def zeros_of(form: Abstract) -> Array:
    """Return zeros of a shape and dtype at a place, which take no memory where the backend has views."""
    zero = form.backend.xp.zeros((), dtype=form.backend.raw_dtype_named(form.dtype.name), device=form.device.raw)
    return made_of_one_number(bound().broadcast_to(wrap(zero), form.shape))


def graphs_in(value: Any) -> list[Graph]:
    """Return the graphs of functions in an operation's parameter."""
    found = [getattr(part, "jaxpr", part) for part in (value if isinstance(value, tuple) else (value,))]
    return [graph for graph in found if isinstance(graph, Graph)]
