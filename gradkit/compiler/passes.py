"""Passes: functions from a graph to facts about it, or to another graph. Each is one walk over the operations.

Whatever has to know what depends on what asks here: loops for the parts of a carry that have a derivative or a batch,
checkpoints for what to keep, drawings for what to show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

from gradkit.core.above import above
from gradkit.core.capture import GraphTrace
from gradkit.core.graph import Equation, Graph, HigherOrder, Variable
from gradkit.core.primitive import no_transpose
from gradkit.core.promotion import is_inexact
from gradkit.core.stand_in import Abstract

__all__ = [
    "dependent", "differentiable", "last_use", "marked", "needed", "new_variable", "reached", "reads",
    "require_linear", "settled", "variables_in", "without_dead_code",
]  # fmt: skip

Flags = Sequence[bool]
Walk = Callable[[Graph, Flags], list[bool]]
"""``walk(graph, inputs) -> outputs``: which results a mark reaches from the inputs whose flag is set."""


def variables_in(operands: Iterable[Any]) -> list[Variable]:
    """Return the operands that are variables, not literals."""
    return [operand for operand in operands if type(operand) is Variable]


def new_variable(form: Abstract) -> Variable:
    """Return a variable for what a pass writes down."""
    return Variable(WRITTEN, form)


WRITTEN = GraphTrace()
"""Whose the variables of passes are: no capture's, so nobody computes with them."""
WRITTEN.end()


# Backwards: what results need


def needed(graph: Graph, outputs: Flags | None = None) -> list[Equation]:
    """Return the operations on which the results depend (those whose flag is set), and those done for their effect."""
    chosen = graph.outputs if outputs is None else compress(graph.outputs, outputs)
    wanted = set(variables_in(chosen))
    found = []
    for equation in reversed(graph.equations):
        if not wanted.isdisjoint(equation.outputs) or equation.primitive.has_effect(equation.params):
            found.append(equation)
            wanted.update(variables_in(equation.inputs))
    return found[::-1]


def without_dead_code(graph: Graph) -> Graph:
    """Return the graph without the operations that nothing needs, and without the constants that only those read."""
    equations = needed(graph)
    read = reads(Graph(graph.inputs, [], equations, graph.outputs))
    return Graph(graph.inputs, [pair for pair in graph.constants if read[pair[0]]], equations, graph.outputs)


def reads(graph: Graph) -> Counter[Variable]:
    """Return how many operands each variable is, the results of the graph among them."""
    operands = [operand for equation in graph.equations for operand in equation.inputs]
    return Counter(variables_in([*operands, *graph.outputs]))


def last_use(graph: Graph) -> dict[Variable, int]:
    """Return which operation uses each variable last, by its position; for a result of the graph, the number of all.

    What nothing reads is used last where it is made. An input that nothing reads is not there.
    """
    found: dict[Variable, int] = {}
    for position, equation in enumerate(graph.equations):
        found.update((variable, position) for variable in (*variables_in(equation.inputs), *equation.outputs))
    found.update((out, len(graph.equations)) for out in variables_in(graph.outputs))
    return found


# Forwards: what a mark on the inputs reaches


def marked(graph: Graph, inputs: Flags, rule: Callable[[Equation, list[bool]], Flags]) -> set[Variable]:
    """Return the variables that a mark reaches from the inputs whose flag is set.

    ``rule(equation, flags)`` says which results of an operation it reaches where it is on one of the operands at least.
    """
    found = {variable for variable, flag in zip(graph.inputs, inputs, strict=True) if flag}
    for equation in graph.equations:
        flags = [type(x) is Variable and x in found for x in equation.inputs]
        if any(flags):
            found.update(out for out, flag in zip(equation.outputs, rule(equation, flags), strict=True) if flag)
    return found


def reached(graph: Graph, inputs: Flags, rule: Callable[[Equation, list[bool]], Flags]) -> list[bool]:
    """Return which results `marked` finds."""
    found = marked(graph, inputs, rule)
    return [type(out) is Variable and out in found for out in graph.outputs]


def dependent(graph: Graph, inputs: Flags) -> list[bool]:
    """Return which results depend on the inputs whose flag is set."""
    return reached(graph, inputs, _depend)


def _depend(equation: Equation, inputs: Flags) -> Flags:
    primitive = equation.primitive
    if isinstance(primitive, HigherOrder):
        return primitive.reached(inputs, dependent, **equation.params)
    return [True] * len(equation.outputs)


def differentiable(graph: Graph, inputs: Flags) -> list[bool]:
    """Return which results may have a derivative by the inputs whose flag is set."""
    return reached(graph, inputs, differ)


def differ(equation: Equation, inputs: Flags) -> Flags:
    """Return which results of an operation may have a derivative by the operands whose flag is set."""
    primitive = equation.primitive
    if isinstance(primitive, HigherOrder):
        # By what decides what runs, a whole number, there is no derivative.
        inputs = [flag and is_inexact(x.dtype.name) for flag, x in zip(inputs, equation.inputs, strict=True)]
        flags = primitive.reached(inputs, differentiable, **equation.params) if any(inputs) else ()
    else:
        flags = [True] * len(equation.outputs) if primitive.reads_and_parents(bits_of(inputs))[1] else ()
    return [bool(flags) and flags[i] and is_inexact(out.dtype.name) for i, out in enumerate(equation.outputs)]


def require_linear(graph: Graph, inputs: Flags, what: str) -> list[bool]:
    """Raise for an operation that is not linear in the inputs whose flag is set; `what` says whose function it is.

    Give which results depend on them. What else the function computes need not be linear.
    """
    return reached(without_dead_code(graph), inputs, lambda equation, flags: _linear(equation, flags, what))


def _linear(equation: Equation, inputs: Flags, what: str) -> Flags:
    primitive = equation.primitive
    if isinstance(primitive, HigherOrder):
        return require_linear_call(primitive, inputs, equation.params, what)
    if not primitive.is_linear_in(bits_of(inputs)):
        raise no_transpose(primitive.name, what)
    return [True] * len(equation.outputs)


def require_linear_call(operation: HigherOrder, inputs: Flags, params: Mapping[str, Any], what: str) -> list[bool]:
    """Do as `require_linear` does for the graphs that an operation runs."""
    if operation.name == "cond" and inputs[0]:
        raise no_transpose("cond", what)
    if operation.name == "custom_linear_solve" and any(inputs[: -params["size"]]):
        raise no_transpose("custom_linear_solve", what)  # linear in the right side alone
    return operation.reached(inputs, lambda graph, flags: require_linear(graph, flags, what), **params)


above.require_linear = require_linear_call


def bits_of(flags: Flags) -> int:
    """Return flags as bits, as primitives take them."""
    return sum(1 << i for i, flag in enumerate(flags) if flag)


def settled(graph: Graph, before: Flags, carried: Flags, after: Flags, walk: Walk) -> list[bool]:
    """Return which results of a loop's body a mark reaches after any number of steps.

    `before` and `after` are the flags of the body's inputs before and after the carry, `carried` those of its start.
    The carry is the first of the results.
    """
    while True:
        outs = walk(graph, [*before, *carried, *after])
        more = [a or b for a, b in zip(carried, outs, strict=False)]
        if more == list(carried):
            return [*more, *outs[len(more) :]]
        carried = more
