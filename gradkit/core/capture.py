"""Graph capture: a function run on arrays that have no values leaves the list of its operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast

from gradkit.backend import current_backend
from gradkit.core.array import Array, is_followed_outside, owner_of, weak_type, wrap
from gradkit.core.graph import (
    Equation,
    Graph,
    HigherOrder,
    Params,
    Variable,
    abstract_like,
    broadcast_number,
    repeated_number,
)
from gradkit.core.lending import axes_in_memory, place_in_memory, snapshot
from gradkit.core.namespace import PRIMITIVES, as_bound
from gradkit.core.node import Node, Trace, branch, capture, capturing, open_no_grad, recording
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import PYTHON_NUMBERS, is_inexact, python_type_of
from gradkit.core.sources import source_here
from gradkit.core.stand_in import Abstract

__all__ = ["GraphTrace", "branch_of", "graph_of"]


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
