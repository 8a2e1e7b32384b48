"""Expansion: a graph of what a backend knows, made of one of whatever the user called.

A primitive's text is what it is made of (`core.declaration`). It is traced, and its graph stands in place of the
operation: so a compiler has to know the leaves alone, and whichever others it does better. What comes out is run on
values: no transform follows, so the rules of `custom_jvp`, a checkpoint or a `jit` inside are calls, and go as well.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradkit.compiler.control import CONTROL
from gradkit.compiler.keys import key_of_value
from gradkit.compiler.passes import new_variable
from gradkit.core.array import Array
from gradkit.core.capture import GraphTrace
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
from gradkit.core.namespace import ARRAYS
from gradkit.core.primitive import Primitive
from gradkit.core.stand_in import Abstract

__all__ = ["clear_texts", "expanded", "text_graph"]

IsKnown = Callable[[Equation], bool]
Text = Callable[..., Any]

LARGEST_CACHE, LARGEST_CONSTANTS = 4096, 2**16
_texts: OrderedDict[Hashable, Graph] = OrderedDict()
"""Graphs of texts, by primitive, forms of the arguments and parameters; those used last."""


def expanded(graph: Graph, is_known: IsKnown, lowered: Callable[[Equation], Text | None] = lambda _: None) -> Graph:
    """Return the graph with the texts of operations in their place, to the bottom.

    Parameters
    ----------
    graph : Graph
        What is run on values.
    is_known : callable
        ``is_known(equation)``: whether an operation stays as it is though it has a text. A leaf stays in any case, and
        a loop or a choice, whose functions are expanded.
    lowered : callable
        ``lowered(equation)``: the text of a leaf that does not stay, or None.

    Returns
    -------
    Graph
        Constants that texts make are among its own, not in those of nested functions.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> from gradkit.transforms.printing import jaxpr_text
    >>> graph = gradkit.make_jaxpr(gradkit.nn.relu)(jnp.ones(3)).jaxpr
    >>> print(jaxpr_text(expanded(graph, lambda equation: False)))
    { lambda ; a:f32[3]. let
        b:f32[3] = broadcast_in_dim[shape=(3,)] 0.0:f32[]
        c:f32[3] = max a b
      in (c,) }
    """
    return _Expansion(is_known, lowered).graph(graph)


class _Expansion:
    def __init__(self, is_known: IsKnown, lowered: Callable[[Equation], Text | None]) -> None:
        self.is_known, self.lowered = is_known, lowered
        self.constants: dict[int, tuple[Variable, Array]] = {}
        """What texts have made, by identity."""
        self.equations: list[Equation] = []

    def graph(self, graph: Graph) -> Graph:
        """Expand a graph."""
        constants = [variable for variable, _ in graph.constants]
        outputs = self.place(graph, [*constants, *graph.inputs])
        made = list(self.constants.values())
        return Graph(graph.inputs, [*graph.constants, *made], self.equations, outputs)

    def place(self, graph: Graph, operands: Sequence[Any]) -> list[Any]:
        """Write the operations of a graph down, with these operands for its constants and inputs."""
        now: dict[Any, Any] = dict(zip((*(v for v, _ in graph.constants), *graph.inputs), operands, strict=True))

        def read(operand: Any) -> Any:
            return now[operand] if type(operand) is Variable else operand

        for equation in graph.equations:
            inputs = tuple(map(read, equation.inputs))
            now.update(zip(equation.outputs, self.operation(replace(equation, inputs=inputs)), strict=True))
        return [read(output) for output in graph.outputs]

    def operation(self, equation: Equation) -> Sequence[Any]:
        """Write an operation down, or what it is made of; return its results."""
        primitive, inputs, params = equation.primitive, equation.inputs, equation.params
        if self.is_known(equation):
            return self.written(equation)
        if isinstance(primitive, HigherOrder):
            if primitive.calls is not None:
                called = params[primitive.calls]
                return self.place(called, [*(self.constant(array) for _, array in called.constants), *inputs])
            return self.written(self.with_expanded_functions(equation))
        forward = self.lowered(equation) if primitive.leaf else primitive.forward
        if forward is None:
            return self.written(equation)
        text = text_graph(primitive, inputs, params, forward)
        arrays = [x for x in inputs if type(x) in (Variable, Array)]
        return self.place(text, [*(self.constant(array) for _, array in text.constants), *arrays])

    def written(self, equation: Equation) -> Sequence[Variable]:
        outputs = tuple(new_variable(out.form) for out in equation.outputs)
        self.equations.append(replace(equation, outputs=outputs))
        return outputs

    def constant(self, array: Array) -> Any:
        """Return the variable of a constant that a text or a call has brought along."""
        if array.shape == ():
            return array
        found = self.constants.get(id(array))
        if found is None:
            form = abstract_like(array)
            found = self.constants[id(array)] = new_variable(form), array
        return found[0]

    def with_expanded_functions(self, equation: Equation) -> Equation:
        """Expand the functions of a loop or a choice; what they have as constants becomes an operand."""
        kind = CONTROL.get(equation.primitive.name)
        if kind is None:
            params = {name: self.expanded_in(value) for name, value in equation.params.items()}
            return replace(equation, params=Params(params))
        control = kind.of(equation.inputs, equation.params)
        extra: list[Any] = []
        for function in control.graphs:
            graph = self.function(function)
            extra.append((graph.closed(), tuple(self.constant(array) for _, array in graph.constants)))
        inputs, params = control.with_constants(extra).written()
        return replace(equation, inputs=inputs, params=params)

    def expanded_in(self, value: Any) -> Any:
        """Expand the graphs in a parameter."""
        if isinstance(value, tuple):
            return tuple(map(self.expanded_in, value))
        return self.function(value) if isinstance(value, Graph) else value

    def function(self, graph: Graph) -> Graph:
        """Expand a function of an operation. It may be one of others as well, so it gets variables of its own."""
        inner = _Expansion(self.is_known, self.lowered)
        constants = [(new_variable(variable.form), array) for variable, array in graph.constants]
        inputs = [new_variable(variable.form) for variable in graph.inputs]
        outputs = inner.place(graph, [*(variable for variable, _ in constants), *inputs])
        return Graph(inputs, [*constants, *inner.constants.values()], inner.equations, outputs)


# Texts


def text_graph(
    primitive: Primitive, operands: Sequence[Any], params: Mapping[str, Any], forward: Text | None = None
) -> Graph:
    """Return the graph of a primitive's text, or of what a leaf is lowered to, for operands of these shapes and dtypes.

    Its inputs are the operands that are no Python numbers.
    """
    arrays: list[Array] = []
    places = tuple(_place(operand) for operand in operands)
    key = primitive, places, tuple((name, key_of_value(params[name], arrays)) for name in sorted(params))
    graph = _texts.pop(key, None)
    if graph is None:
        graph = _traced(primitive, forward or primitive.forward, operands, params)
    size = sum(math.prod(array.shape) for _, array in graph.constants)
    if not arrays and size <= LARGEST_CONSTANTS:  # arrays are not in the key
        _texts[key] = graph
        if len(_texts) > LARGEST_CACHE:
            _texts.popitem(last=False)
    return graph


def clear_texts() -> None:
    """Forget the graphs of texts."""
    _texts.clear()


def _place(operand: Any) -> Hashable:
    if type(operand) in (Variable, Array):
        form = _form(operand)
        return form.shape, form.dtype, form.backend, form.device
    return key_of_value(operand, [])


def _form(operand: Variable | Array) -> Abstract:
    return operand.form if type(operand) is Variable else abstract_like(operand)  # type: ignore[arg-type]


def _traced(primitive: Primitive, forward: Text | None, operands: Sequence[Any], params: Mapping[str, Any]) -> Graph:
    assert forward is not None

    def text(*arrays: Array) -> Sequence[Any]:
        rest = iter(arrays)
        args = [next(rest) if type(x) in (Variable, Array) else x for x in operands]
        found = forward(ARRAYS, *args, **params)
        return found if primitive.multiple_results else [found]

    forms = [_form(x) for x in operands if type(x) in (Variable, Array)]
    return _with_repeated_numbers(GraphTrace().run(text, forms))


def _with_repeated_numbers(graph: Graph) -> Graph:
    """Return the graph with constants that are one number everywhere (nan * ones_like(x)) as that number, broadcast."""
    numbers = [repeated_number(array) for _, array in graph.constants]
    pairs = list(zip(graph.constants, numbers, strict=True))
    made = [broadcast_number(number, variable) for (variable, _), number in pairs if number is not None]
    constants = [constant for constant, number in pairs if number is None]
    return Graph(graph.inputs, constants, [*made, *graph.equations], graph.outputs)
