"""Graph capture: a function run on arrays that have no values leaves the list of its operations.

A graph is in single-assignment form: every equation names its results anew. `print` shows it in JAX's text form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradkit.core.array import Array, backend_of_array, wrap
from gradkit.core.binding import bind, bind_several
from gradkit.core.families import MultipleResults
from gradkit.core.node import NO_PARAMS, Node, Trace
from gradkit.core.primitive import Primitive
from gradkit.core.stand_in import Abstract

__all__ = ["ControlFlow", "Equation", "Graph", "GraphTrace", "Variable"]


class Variable(Node):
    """One array of a graph: an input, a constant, or the result of an equation."""

    __slots__ = ()

    def __init__(self, trace: Trace, value: Abstract) -> None:
        super().__init__(trace, value.shape, value.dtype, None, (), None, NO_PARAMS, False)


class ControlFlow(MultipleResults):
    """A loop or choice as an operation of a graph, which has the graphs of its functions as parameters.

    It exists in graphs alone: running one is calling the loop itself, under whatever transform that is.

    Parameters
    ----------
    name : str
        Its name.
    run : callable
        ``run(args, **params)`` gives the results, Arrays, for the arguments.
    """

    has_kernels = False

    def __init__(self, name: str, run: Callable[..., Sequence[Any]]) -> None:
        super().__init__(name, None, (None,))
        self.run = run

    def abstract(self, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Return what the parameter ``results`` says."""
        return params["results"]


@dataclass(frozen=True)
class Equation:
    """One operation of a graph.

    Attributes
    ----------
    primitive : Primitive
        The operation.
    inputs : tuple of Variable, Array or number
        Its arguments; Arrays and numbers are literals.
    params : mapping
        Its static parameters.
    outputs : tuple of Variable
        Its results.
    """

    primitive: Primitive
    inputs: tuple[Any, ...]
    params: Mapping[str, Any]
    outputs: tuple[Variable, ...]


@dataclass
class Graph:
    """A captured function.

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
    """

    inputs: list[Variable] = field(default_factory=list)
    constants: list[tuple[Variable, Array]] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """Run the operations on arrays that have values (or on those of a transform)."""
        values: dict[Variable, Any] = dict(self.constants)
        values.update(zip(self.inputs, arguments, strict=True))

        def read(operand: Any) -> Any:
            return values[operand] if type(operand) is Variable else operand

        for equation in self.equations:
            primitive, params = equation.primitive, equation.params
            operands = [read(operand) for operand in equation.inputs]
            results: Sequence[Any]
            if isinstance(primitive, ControlFlow):
                results = primitive.run(operands, **params)
            elif primitive.multiple_results:
                results = bind_several(primitive, operands, params)
            else:
                results = (bind(primitive, operands, params),)
            values.update(zip(equation.outputs, results, strict=True))
        return [read(output) for output in self.outputs]


class GraphTrace(Trace):
    """The capture of one graph."""

    __slots__ = ("_known", "graph")

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self._known: dict[int, Variable] = {}

    def new_input(self, value: Abstract) -> Array:
        """Return an argument of the function."""
        array = self._variable(value)
        assert isinstance(array._node, Variable)
        self.graph.inputs.append(array._node)
        return array

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Write the operation down, and return what it would give."""
        found = primitive.abstract(args, params)
        results = tuple(map(self._variable, found if primitive.multiple_results else (found,)))
        outputs: tuple[Any, ...] = tuple(result._node for result in results)
        self.graph.equations.append(Equation(primitive, tuple(map(self.operand, args)), dict(params), outputs))
        return results if primitive.multiple_results else results[0]

    def operand(self, arg: Any) -> Any:
        """Return what stands for an argument in the graph: a variable, or a literal."""
        if type(arg) is not Array:
            return arg
        if self._follows(arg):
            return arg._node
        if arg.shape == () and arg._node is None:
            return arg
        variable = self._known.get(id(arg._value))
        if variable is None:
            bottom = Abstract(arg.shape, arg.dtype, backend_of_array(arg), arg.device)
            variable = self._known[id(arg._value)] = Variable(self, bottom)
            self.graph.constants.append((variable, arg))  # which also keeps what the id is of alive
        return variable

    def output(self, array: Array) -> Any:
        """Return what stands for a result in the graph."""
        return array if array.shape == () and not self._follows(array) else self.operand(array)

    def _follows(self, array: Array) -> bool:
        return isinstance(array._node, Variable) and array._node.trace is self

    def _variable(self, value: Abstract) -> Array:
        return wrap(value, Variable(self, value))
