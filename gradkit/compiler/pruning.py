"""Pruning: what no result needs goes, inside of loops and choices as well.

That is operations, operands, parts of a carry, and results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

from gradkit.compiler.control import Choice, Control, Scan, While, control_of
from gradkit.compiler.passes import variables_in
from gradkit.core.graph import Equation, Graph, Params, Variable

__all__ = ["pruned"]

Flags = Sequence[bool]


def pruned(graph: Graph) -> Graph:
    """Return the graph without what nothing needs, and without the constants that only that reads.

    The inputs stay. What is done for an effect is needed.
    """
    wanted = set(variables_in(graph.outputs))
    equations = []
    for equation in reversed(graph.equations):
        flags = [out in wanted for out in equation.outputs]
        if not any(flags) and not equation.primitive.has_effect(equation.params):
            continue
        equation = _without_dead_parts(equation, flags)
        equations.append(equation)
        wanted.update(variables_in(equation.inputs))
    constants = [pair for pair in graph.constants if pair[0] in wanted]
    return Graph(graph.inputs, constants, equations[::-1], graph.outputs)


def _without_dead_parts(equation: Equation, flags: Flags) -> Equation:
    """Return a loop or a choice without what only those of its results need whose flag is not set."""
    control = control_of(equation)
    if control is None:
        return equation
    less, kept = PRUNING[type(control)](control, flags)
    inputs, params = less.written()
    outputs = tuple(compress(equation.outputs, kept))
    return replace(equation, inputs=inputs, params=Params(params), outputs=outputs)


def _scan(loop: Any, flags: Flags) -> tuple[Control, Flags]:
    count = len(loop.carry)
    carried = loop.body.inputs[len(loop.constants) :][:count]
    live = _needed_through(loop.body, carried, flags)
    body = pruned(_with_outputs(loop.body, live))
    read = _inputs_read(body)
    constants, _, xs = _divided(loop.body.inputs, len(loop.constants), count)
    # A part of the carry that no result needs is there only if a result needs it.
    keeps = [*(v in read for v in constants), *live[:count], *(v in read for v in xs)]
    of_constants, of_carry, of_xs = _divided(keeps, len(constants), count)
    body = replace(body, inputs=list(compress(loop.body.inputs, keeps)))
    less = Scan(
        loop.params,
        body,
        tuple(compress(loop.constants, of_constants)),
        tuple(compress(loop.carry, of_carry)),
        tuple(compress(loop.xs, of_xs)),
    )
    return less, live


def _while(loop: Any, flags: Flags) -> tuple[Control, Flags]:
    test = pruned(loop.test)
    first = len(loop.test_constants)
    tested = _inputs_read(test)
    carried = loop.body.inputs[len(loop.constants) :]
    flags = [flag or v in tested for flag, v in zip(flags, test.inputs[first:], strict=True)]
    live = _needed_through(loop.body, carried, flags)
    body = pruned(_with_outputs(loop.body, live))
    of_test = [v in tested for v in test.inputs[:first]]
    read = _inputs_read(body)
    of_body = [v in read for v in body.inputs[: len(loop.constants)]]
    less = While(
        loop.params,
        replace(test, inputs=list(compress(test.inputs, [*of_test, *live]))),
        replace(body, inputs=list(compress(body.inputs, [*of_body, *live]))),
        tuple(compress(loop.test_constants, of_test)),
        tuple(compress(loop.constants, of_body)),
        tuple(compress(loop.carry, live)),
    )
    return less, live


def _choice(choice: Any, flags: Flags) -> tuple[Control, Flags]:
    branches = [pruned(_with_outputs(branch, flags)) for branch in choice.branches]
    reads = [_inputs_read(branch) for branch in branches]
    keeps = [
        any(branch.inputs[i] in read for branch, read in zip(branches, reads, strict=True))
        for i in range(len(choice.operands))
    ]
    branches = [replace(branch, inputs=list(compress(branch.inputs, keeps))) for branch in branches]
    return Choice(choice.params, tuple(branches), choice.index, tuple(compress(choice.operands, keeps))), flags


PRUNING = {Scan: _scan, While: _while, Choice: _choice}


def _needed_through(body: Graph, carried: Sequence[Variable], flags: Flags) -> list[bool]:
    """Return which results of a loop's body are needed, the carry first, for those whose flag is set."""
    makers = {out: equation for equation in body.equations for out in equation.outputs}
    position = {variable: i for i, variable in enumerate(carried)}
    live = list(flags)
    waiting: list[Any] = list(compress(body.outputs, live))
    for equation in body.equations:
        if equation.primitive.has_effect(equation.params):
            waiting += equation.inputs
    seen: set[Variable] = set()
    while waiting:
        variable = waiting.pop()
        if type(variable) is not Variable or variable in seen:
            continue
        seen.add(variable)
        if variable in makers:
            waiting += makers[variable].inputs
        elif (i := position.get(variable)) is not None and not live[i]:
            live[i] = True
            waiting.append(body.outputs[i])
        elif i is not None:
            waiting.append(body.outputs[i])
    return live


def _with_outputs(graph: Graph, flags: Flags) -> Graph:
    return replace(graph, outputs=list(compress(graph.outputs, flags)))


def _inputs_read(graph: Graph) -> set[Variable]:
    operands = [x for equation in graph.equations for x in equation.inputs]
    return set(variables_in([*operands, *graph.outputs]))


def _divided(values: Sequence[Any], *counts: int) -> list[list[Any]]:
    """Divide a list into lists of these lengths, and the rest."""
    parts = []
    start = 0
    for count in counts:
        parts.append(list(values[start : start + count]))
        start += count
    return [*parts, list(values[start:])]
