"""The captured graph of a function as a computation to draw."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit import tree
from gradkit.compiler.passes import needed
from gradkit.core import Array
from gradkit.core.array import raw
from gradkit.core.graph import Equation, Graph, Variable
from gradkit.transforms import make_jaxpr
from gradkit.transforms.call_rules import without_calls
from gradkit.viz.computation import Computation, Operation, Quantity
from gradkit.viz.naming import Labels, is_value, operation_of

__all__ = ["computation_of"]


def computation_of(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], labels: Labels
) -> Computation:
    """Capture the graph of a function and return what of it the results depend on.

    Parameters
    ----------
    function : callable
        A function of arrays or pytrees.
    args, kwargs : sequence, mapping
        Its arguments, or anything with their shapes and dtypes.
    labels : Labels
        Of what the function uses beside its arguments.
    """
    jaxpr = make_jaxpr(function)(*args, **kwargs)
    graph: Graph = without_calls(jaxpr.jaxpr)
    quantities: dict[Variable, Quantity] = {}
    for variable, label in zip(graph.inputs, _argument_labels(function, args, kwargs), strict=True):
        quantities[variable] = Quantity(label, "input", variable.shape, variable.dtype.name)
    for variable, array in graph.constants:
        value = None if array._node is not None and array._node.trace.level else raw(array)
        quantities[variable] = Quantity(labels.of(array), "constant", variable.shape, variable.dtype.name, value)
    operations = [_operation(equation, quantities) for equation in needed(graph)]
    outputs = [_operand(output, quantities) for output in graph.outputs]
    paths = tree.leaves_with_path(tree.unflatten(jaxpr.out_tree, range(len(outputs))), is_leaf=is_value)
    for output, (path, _) in zip(outputs, paths, strict=True):
        output.label = output.label or f"out{tree.keystr(path)}"
    used = {quantity: None for operation in operations for quantity in operation.inputs}
    inputs = [quantities[variable] for variable in graph.inputs]
    results = [quantity for operation in operations for quantity in operation.outputs]
    return Computation(list(dict.fromkeys([*inputs, *used, *results, *outputs])), operations, outputs)


def _operation(equation: Equation, quantities: dict[Variable, Quantity]) -> Operation:
    inputs = [_operand(operand, quantities) for operand in equation.inputs]
    for variable in equation.outputs:
        quantities[variable] = Quantity("", "result", variable.shape, variable.dtype.name)
    outputs = [quantities[variable] for variable in equation.outputs]
    graphs = equation.graphs
    detail = _inside(graphs, equation.params.get("length")) if graphs else None
    return operation_of(equation.primitive.name, equation.params, inputs, outputs, detail)


def _inside(graphs: Sequence[Graph], times: int | None) -> str:
    count = sum(len(graph.equations) for graph in graphs)
    what = f"{count} operation{'s' * (count != 1)}"
    return f"{what} inside" if times is None else f"{what}, {times} times"


def _operand(operand: Any, quantities: Mapping[Variable, Quantity]) -> Quantity:
    if isinstance(operand, Variable):
        return quantities[operand]
    if type(operand) is Array:
        return Quantity("", "constant", operand.shape, operand.dtype.name, raw(operand))
    return Quantity("", "constant", data=operand)


def _argument_labels(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """Return a label for each leaf of the arguments: the parameter's name and the path to the leaf."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin, which says nothing of its parameters
        parameters = ()  # type: ignore[assignment]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][: len(args)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "argument")
    names += [f"{rest}[{position}]" for position in range(len(args) - len(names))]
    return [
        (names[path[1].idx] if path[0].idx == 0 else str(path[1].key)) + tree.keystr(path[2:])
        for path, _ in tree.leaves_with_path((tuple(args), dict(kwargs)), is_leaf=is_value)
    ]
