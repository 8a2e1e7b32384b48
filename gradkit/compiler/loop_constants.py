"""Functions of loops and choices, rewritten: what is the same at every step is known in them, or computed before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradkit.compiler.passes import new_variable, reads
from gradkit.compiler.rewriting import Draft, is_distinct, number_in
from gradkit.core.graph import Equation, Graph, Variable
from gradkit.core.stand_in import Abstract

__all__ = ["Constants", "entered", "hoisted", "literal", "written"]

FREE = frozenset({"reshape", "permute_dims", "broadcast_to", "getitem"})
"""What moves no memory is not worth a constant of a loop."""


@dataclass
class Constants:
    """What a function of a loop gets at every step: its inputs, and the operands outside."""

    inputs: list[Variable]
    operands: list[Any]

    def known(self, draft: Draft) -> dict[Variable, Any]:
        """Say of which inputs more is known: numbers, what is broadcast, and those that are there already.

        What is broadcast becomes another constant.
        """
        first: dict[Any, Variable] = {}
        found: dict[Variable, Any] = {}
        for variable, operand in list(zip(self.inputs, self.operands, strict=True)):
            maker = draft.maker(operand, "broadcast_to")
            if type(operand) is not Variable:
                found[variable] = operand
            elif operand in first:
                found[variable] = first[operand]
            elif maker is not None:
                inside = self._added(maker.inputs[0])
                found[variable] = _broadcast(inside, variable.form)
            else:
                first[operand] = variable
        return found

    def _added(self, operand: Any) -> Any:
        if type(operand) is not Variable:
            return operand
        variable = new_variable(operand.form)
        self.inputs.append(variable)
        self.operands.append(operand)
        return variable


def _broadcast(operand: Any, form: Abstract) -> Callable[[Draft], Any]:
    return lambda draft: draft.shaped(operand, form)


def entered(
    draft: Draft, graph: Graph, constants: Constants, others: Sequence[Variable], same: dict[Variable, Any]
) -> Graph:
    """Rewrite a function of constants and of others; `same` says what is known of those."""
    known = {**constants.known(draft), **same}
    inputs = [*constants.inputs, *others]
    return _function(draft, replace(graph, inputs=inputs), [known.get(v) for v in inputs])


def hoisted(draft: Draft, graph: Graph, constants: Constants) -> Graph:
    """Compute before a loop what its function computes of constants alone."""
    same = {*constants.inputs, *(v for v, _ in graph.constants)}
    early = []
    for equation in graph.equations:
        arguments = [x for x in equation.inputs if type(x) is Variable]
        if same.issuperset(arguments) and not is_distinct(equation.primitive, equation.params):
            same.update(equation.outputs)
            early.append(equation)
    wanted = _with_what_they_read(early)
    if not wanted:
        return graph
    outside: dict[Any, Any] = dict(zip(constants.inputs, constants.operands, strict=True))
    outside.update((v, v) for v, _ in graph.constants)
    moved: set[Variable] = set()
    for equation in early:
        if equation not in wanted:
            continue
        inputs = tuple([outside[x] if type(x) is Variable else x for x in equation.inputs])
        fresh = tuple(new_variable(out.form) for out in equation.outputs)
        found = draft.equation(replace(equation, inputs=inputs, outputs=fresh))
        outside.update(zip(equation.outputs, found, strict=True))
        if equation.primitive.name not in FREE:
            moved.update(equation.outputs)
            constants.inputs += equation.outputs
            constants.operands += found
    # What moves no memory stays: it may have been needed outside as well.
    left = [e for e in graph.equations if moved.isdisjoint(e.outputs)]
    return Graph(
        [*constants.inputs, *graph.inputs[len(constants.inputs) - len(moved) :]], graph.constants, left, graph.outputs
    )


def _with_what_they_read(early: Sequence[Equation]) -> set[Equation]:
    """Return the operations that are worth to be moved, and those that they need."""
    makers = {out: equation for equation in early for out in equation.outputs}
    waiting = [equation for equation in early if equation.primitive.name not in FREE]
    found: set[Equation] = set()
    while waiting:
        equation = waiting.pop()
        if equation not in found:
            found.add(equation)
            waiting += [makers[x] for x in equation.inputs if type(x) is Variable and x in makers]
    return found


def _function(around: Draft, graph: Graph, known: Sequence[Any]) -> Graph:
    """Rewrite a function some of whose inputs are known, as other operands; all inputs stay."""
    draft = Draft(around.rules, reads(graph), around.see_to)
    operands = [v if x is None else x(draft) if callable(x) else x for v, x in zip(graph.inputs, known, strict=True)]
    outputs = draft.place(graph, operands)
    return Graph(graph.inputs, graph.constants, draft.equations, outputs)


def written(draft: Draft, equation: Equation, control: Any, outputs: Sequence[Variable]) -> Sequence[Any]:
    """Write a loop or choice down, if there is anything left that it does, and return its results."""
    inputs, params = control.written()
    if not outputs and not is_distinct(equation.primitive, params):
        return ()
    return draft.operation(equation.primitive, inputs, params, tuple(outputs), equation.source)


def literal(value: Any) -> Any:
    """Return a literal as what hashes: its dtype and number, with the sign of a zero."""
    return value.dtype, repr(number_in(value))
