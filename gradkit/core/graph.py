"""Graph capture: a function run on arrays that have no values leaves the list of its operations.

A graph is in single-assignment form: every equation names its results anew. `print` shows it in JAX's text form. Loops,
choices and functions with rules of their own are operations with graphs as parameters (`HigherOrder`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

from gradkit.backend import current_backend
from gradkit.core.array import (
    Array,
    backend_of_array,
    device_of_array,
    innermost,
    is_followed,
    is_followed_outside,
    owner_of,
    weak_type,
    wrap,
)
from gradkit.core.binding import bind, bind_several, has_no_values, highest_trace
from gradkit.core.lending import axes_in_memory, place_in_memory, snapshot
from gradkit.core.namespace import PRIMITIVES, as_bound, bound
from gradkit.core.node import Node, Trace, branch, capture, capturing, made_of_one_number, open_no_grad, recording
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import PYTHON_NUMBERS, dtype_named, is_inexact, python_type_of
from gradkit.core.several_results import MultipleResults
from gradkit.core.sources import noting_sources, source_here
from gradkit.core.stand_in import Abstract
from gradkit.core.values import host

__all__ = [
    "Equation", "Graph", "GraphTrace", "HigherOrder", "Params", "Variable", "abstract_like", "bind_where_captured",
    "branch_of", "broadcast_number", "graph_of", "graphs_in", "repeated_number",
    "zeros_of",
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


class GraphTrace(Trace):
    """The capture of one graph.

    Attributes
    ----------
    graph : Graph
        What has been captured.
    notes_tape : bool
        Whether it notes what the lecture's tape is not to see.
    parameters : set of Variable
        Inputs that may be a module's parameters, which transforms inside take as plain values, if it does.
    repeated : dict of int to array
        Raw arrays that are one number everywhere and that nobody changes in place, by identity.
    """

    __slots__ = ("_known", "_places", "_taken", "_used", "graph", "notes_tape", "parameters", "repeated")

    def __init__(self, above: Trace | None = None) -> None:
        super().__init__(above)
        self.graph = Graph()
        self._known: dict[tuple[int, int], Variable] = {}
        self._places: dict[Any, Variable] = {}
        self._taken: dict[Variable, tuple[Any, Node | None]] = {}
        self._used: list[tuple[Any, Node | None]] = []
        self.notes_tape = False
        self.parameters: set[Variable] = set()
        around = capturing()
        self.repeated: dict[int, Any] = {} if around is None else around.repeated

    def new_input(self, value: Abstract) -> Array:
        """Return an argument of the function."""
        array = self._variable(value)
        self.graph.inputs.append(cast(Variable, array._node))
        return array

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Write the operation down, and return what it would give."""
        args = list(map(as_bound, args))  # reverse mode hands down what it saves: raw arrays
        found = primitive.abstract(args, params)
        found = found if primitive.multiple_results else (found,)
        if primitive.keeps_weakness and all(type(arg) in PYTHON_NUMBERS or weak_type(arg) for arg in args):
            for form in found:
                form.weak = python_type_of(form.dtype.name)
        results = tuple(map(self._variable, found))
        outputs: tuple[Any, ...] = tuple(result._node for result in results)
        self.graph.equations.append(
            Equation(primitive, tuple(map(self.operand, args)), Params(params), outputs, source_here())
        )
        if open_no_grad and self.notes_tape and not recording() and primitive is not PRIMITIVES["without_tape"]:
            results = tuple(map(self._without_tape, results))
        return results if primitive.multiple_results else results[0]

    def _without_tape(self, result: Array) -> Array:
        """Note that the tape does not see a result: it was computed inside `no_grad`."""
        return self.process(PRIMITIVES["without_tape"], (result,), {}) if is_inexact(result.dtype.name) else result

    def call(self, operation: HigherOrder, args: list[Any], params: Mapping[str, Any]) -> list[Any]:
        """Ask the operation."""
        return operation.in_graph(self, args, **params)

    def operand(self, arg: Any) -> Any:
        """Return what stands for an argument in the graph: a variable, or a literal."""
        if type(arg) is not Array:
            return arg
        if self.follows(arg):
            return arg._node
        if arg.shape == () and arg._node is None and not is_followed_outside(arg):
            return snapshot(arg)
        # The value, and what another transform knows of it: what is tracked is not what has the same value and is not.
        key = id(arg._value), id(arg._node)
        variable = self._known.get(key)
        if variable is None:
            number = repeated_number(arg) if self._is_repeated(arg) else None
            if number is not None:
                variable = Variable(self, abstract_like(arg))
                self.repeated[key[0]] = arg._value
                self.graph.equations.append(broadcast_number(number, variable))
            else:
                variable = self._constant(arg)
            self._known[key] = variable
            self._used.append((arg._value, arg._node))  # what the ids are of
        return variable

    def _constant(self, arg: Array) -> Variable:
        """Return what stands for an array that has no number everywhere.

        Transposes of one array, which each use of ``w.T`` makes anew, are one constant, as it lies in memory, and
        operations: in memory it is once then, and a product that reads it takes it as it is.
        """
        axes = None if arg._node is not None else axes_in_memory(arg._value)
        whole = arg if axes is None else wrap(owner_of(arg._value).xp.permute_dims(arg._value, axes))
        place = None if arg._node is not None else place_in_memory(whole._value)
        variable = self._places.get(place)
        if variable is None:
            variable = Variable(self, abstract_like(whole))
            self.graph.constants.append((variable, whole))
            self._taken[variable] = whole._value, whole._node
            if place is not None:
                self._places[place] = variable
        if axes is None:
            return variable
        transposed = Variable(self, abstract_like(arg))
        order = Params({"axes": tuple(sorted(range(len(axes)), key=axes.__getitem__))})
        self.graph.equations.append(
            Equation(PRIMITIVES["permute_dims"], (variable,), order, (transposed,), source_here())
        )
        return transposed

    def _settle(self) -> None:
        """Let constants be what they were when they were used, whatever the function has assigned to them since.

        Until then they are the objects that the function closes over, so that nothing else holds their values.
        """
        for i, (variable, array) in enumerate(self.graph.constants):
            taken = self._taken.get(variable)
            if taken is not None and (array._value is not taken[0] or array._node is not taken[1]):
                self.graph.constants[i] = variable, wrap(*taken)
        self._taken.clear()
        self._used.clear()

    def _is_repeated(self, array: Array) -> bool:
        """Return whether an array was made of one number since the capture began, or is one without axes, broadcast."""
        value = array._value
        if array._node is not None or is_followed_outside(array):
            return False
        return id(value) in self.repeated or not any(getattr(value, "strides", (1,)))

    def run(self, function: Callable[..., Sequence[Array]], inputs: Sequence[Abstract]) -> Graph:
        """Run a function of Arrays, which gives a list of them, and return its graph."""
        token = capture.set(self)
        try:
            with ExitStack() as stack:
                for backend in {current_backend(), *(form.backend for form in inputs)}:
                    stack.enter_context(backend.computing_now())
                outputs = function(*map(self.new_input, inputs))
                self.graph.outputs.extend(self.operand(as_bound(output)) for output in outputs)
        finally:
            self.end()
            capture.reset(token)
            self._settle()
        # Variables know the trace, and programs of them outlive what the function has closed over.
        found, self.graph, self.repeated = self.graph, Graph(), {}
        return found

    def _variable(self, value: Abstract) -> Array:
        return wrap(value, cast(Node, Variable(self, value)))


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


def branch_of(function: Callable[..., Sequence[Array]], inputs: Sequence[Abstract]) -> tuple[Graph, list[Array]]:
    """Do as `graph_of` does for a branch, which has in its graph what it computes of what it closes over alone."""
    capture = GraphTrace()
    token = branch.set(capture)
    try:
        graph = capture.run(function, inputs)
    finally:
        branch.reset(token)
    return graph.closed(), [constant for _, constant in graph.constants]


def graph_of(function: Callable[..., Sequence[Array]], inputs: Sequence[Abstract]) -> tuple[Graph, list[Array]]:
    """Return the graph of a function, which has what the function closes over as its first inputs; and what that is."""
    graph = GraphTrace().run(function, inputs)
    return graph.closed(), [constant for _, constant in graph.constants]


def graphs_in(value: Any) -> list[Graph]:
    """Return the graphs of functions in an operation's parameter."""
    found = [getattr(part, "jaxpr", part) for part in (value if isinstance(value, tuple) else (value,))]
    return [graph for graph in found if isinstance(graph, Graph)]
