"""Rewrites of loops and choices. Their functions are rewritten, knowing what is the same at every step.

- What a loop hands on as it came is a constant of it: a part of the carry that does not change, equal rows of xs.
- What is computed of constants alone is computed once, before the loop.
- A result that is no work of the loop is taken from where it comes from: constants, the xs themselves, other results.
- A loop of no steps or of one, and a choice that is known, are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

from gradkit.compiler.control import Choice, Scan, While, control_of
from gradkit.compiler.keys import key_of
from gradkit.compiler.loop_constants import Constants, entered, hoisted, literal, written
from gradkit.compiler.passes import reads
from gradkit.compiler.rewriting import Draft, Rules, is_distinct, number_in
from gradkit.compiler.scans import rewritten_scan
from gradkit.core.array import Array
from gradkit.core.graph import Equation, Graph, Variable

__all__ = ["rewritten"]


def rewritten(graph: Graph, rules: Rules) -> tuple[Graph, bool]:
    """Write a graph anew by rules, with its loops and choices (see `rewriting`); say whether it is another one now."""
    draft = Draft(rules, reads(graph), control)
    outputs = draft.place(graph, graph.inputs)
    return Graph(graph.inputs, graph.constants, draft.equations, outputs), draft.has_changed


def control(draft: Draft, equation: Equation) -> Sequence[Any] | None:
    """Rewrite a loop or a choice, and return its results; None for any other operation."""
    found = control_of(equation)
    draft.has_changed |= found is not None
    if isinstance(found, Scan):
        return rewritten_scan(draft, equation, found)
    if isinstance(found, While):
        return _while(draft, equation, found)
    return None if found is None else _choice(draft, equation, found)


# Loops as long as a condition holds


def _while(draft: Draft, equation: Equation, loop: While) -> Sequence[Any]:
    first = len(loop.test_constants), len(loop.constants)
    of_test = Constants(list(loop.test.inputs[: first[0]]), list(loop.test_constants))
    of_body = Constants(list(loop.body.inputs[: first[1]]), list(loop.constants))
    tested, carried = list(loop.test.inputs[first[0] :]), list(loop.body.inputs[first[1] :])
    starts = list(loop.carry)
    results: list[Any] = [None] * len(starts)
    places = list(range(len(starts)))
    test, body = loop.test, loop.body
    if _never(draft, test, of_test, tested, starts):
        return starts
    while True:
        fixed = [out is v for out, v in zip(body.outputs, carried, strict=True)]
        for i in [i for i, flag in enumerate(fixed) if flag][::-1]:
            results[places.pop(i)] = starts[i]
            for constants, variables in ((of_test, tested), (of_body, carried)):
                constants.inputs.append(variables.pop(i))
                constants.operands.append(starts[i])
            del starts[i]
        body = replace(body, outputs=list(compress(body.outputs, [not f for f in fixed])))
        body = entered(draft, body, of_body, carried, {})
        if not any(out is v for out, v in zip(body.outputs, carried, strict=True)):
            break
    test = hoisted(draft, entered(draft, test, of_test, tested, {}), of_test)
    body = hoisted(draft, body, of_body)
    loop = While(loop.params, test, body, tuple(of_test.operands), tuple(of_body.operands), tuple(starts))
    outputs = [equation.outputs[i] for i in places]
    for i, out in zip(places, written(draft, equation, loop, outputs), strict=True):
        results[i] = out
    return results


def _never(draft: Draft, test: Graph, constants: Constants, tested: list[Variable], starts: Sequence[Any]) -> bool:
    """Return whether a condition does not hold at first, of what is known then."""
    if all(type(x) is Variable for x in starts):
        return False
    begun = Constants([*constants.inputs, *tested], [*constants.operands, *starts])
    return number_in(entered(draft, test, begun, [], {}).outputs[0]) is False


# Choices


def _choice(draft: Draft, equation: Equation, choice: Choice) -> Sequence[Any]:
    number = number_in(choice.index)
    if number is not None and 0 <= number < len(choice.branches):
        return draft.place(choice.branches[int(number)], choice.operands, called=True)
    branches = list(choice.branches)
    of_each = [Constants(list(branch.inputs), list(choice.operands)) for branch in branches]
    branches = [entered(draft, b, constants, [], {}) for b, constants in zip(branches, of_each, strict=True)]
    if (
        not any(is_distinct(e.primitive, e.params) for b in branches for e in b.equations)
        and len({_key(branch, constants) for branch, constants in zip(branches, of_each, strict=True)}) == 1
    ):
        return draft.place(branches[0], of_each[0].operands, called=True)
    if len(branches) == 2 and not any(branch.equations for branch in branches):
        return _selected(draft, choice, branches, of_each)
    results, kept = _results_of_all(branches, of_each)
    branches = [replace(b, outputs=[b.outputs[i] for i in kept]) for b in branches]
    extra = [(b, tuple(c.operands[len(choice.operands) :])) for b, c in zip(branches, of_each, strict=True)]
    moved = [
        (replace(b, inputs=[*b.inputs[len(choice.operands) :], *b.inputs[: len(choice.operands)]]), own)
        for b, own in extra
    ]
    control_ = replace(choice, branches=tuple(branches)).with_constants(moved)
    outputs = [equation.outputs[i] for i in kept]
    for i, out in zip(kept, written(draft, equation, control_, outputs), strict=True):
        results[i] = out
    return results


def _key(branch: Graph, constants: Constants) -> Any:
    return key_of(branch)[0], tuple(x for x in constants.operands if type(x) is Variable), _literals(branch)


def _literals(branch: Graph) -> Any:
    literals = [x for e in branch.equations for x in e.inputs] + branch.outputs
    return tuple(repr(number_in(x)) for x in literals if type(x) is Array)


def _results_of_all(branches: Sequence[Graph], of_each: Sequence[Constants]) -> tuple[list[Any], list[int]]:
    """Return the results that are one operand, or one number, in all branches; and which the others are."""
    outside = [dict(zip(c.inputs, c.operands, strict=True)) for c in of_each]
    results: list[Any] = [None] * len(branches[0].outputs)
    kept = []
    for i in range(len(results)):
        values = [
            known.get(b.outputs[i], b.outputs[i]) if type(b.outputs[i]) is Variable else b.outputs[i]
            for b, known in zip(branches, outside, strict=True)
        ]
        ways = {x if type(x) is Variable else literal(x) for x in values}
        if len(ways) == 1 and (type(values[0]) is not Variable or any(values[0] is x for x in of_each[0].operands)):
            results[i] = values[0]
        else:
            kept.append(i)
    return results, kept


def _selected(draft: Draft, choice: Choice, branches: Sequence[Graph], of_each: Sequence[Constants]) -> Sequence[Any]:
    """Select between operands, where nothing is computed."""
    condition = draft.made("astype", choice.index, dtype="bool")
    outside = [dict(zip(c.inputs, c.operands, strict=True)) for c in of_each]
    results = []
    for no, yes in zip(branches[0].outputs, branches[1].outputs, strict=True):
        x, y = (outside[i][out] if type(out) is Variable else out for i, out in ((1, yes), (0, no)))
        results.append(draft.made("where", condition, x, y))
    return results
