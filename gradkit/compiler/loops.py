"""Rewrites of loops and choices. Their functions are rewritten, knowing what is the same at every step.

- What a loop hands on as it came is a constant of it: a part of the carry that does not change, equal rows of xs.
- What is computed of constants alone is computed once, before the loop.
- A result that is no work of the loop is taken from where it comes from: constants, the xs themselves, other results.
- A loop of no steps or of one, and a choice that is known, are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from gradkit.compiler.control import Choice, Scan, While, control_of
from gradkit.compiler.keys import key_of
from gradkit.compiler.passes import new_variable, reads, variables_in
from gradkit.compiler.rewriting import Draft, Rules, form_of, is_distinct, number_in
from gradkit.core.array import Array
from gradkit.core.graph import Equation, Graph, Params, Variable
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.stand_in import Abstract

__all__ = ["rewritten"]

FREE = frozenset({"reshape", "permute_dims", "broadcast_to", "getitem"})
"""What moves no memory is not worth a constant of a loop."""


def rewritten(graph: Graph, rules: Rules) -> tuple[Graph, bool]:
    """Write a graph anew by rules, with its loops and choices (see `rewriting`); say whether it is another one now."""
    draft = Draft(rules, reads(graph))
    outputs = draft.place(graph, graph.inputs, control)
    return Graph(graph.inputs, graph.constants, draft.equations, outputs), draft.has_changed


def _function(graph: Graph, known: Sequence[Any], rules: Rules) -> Graph:
    """Rewrite a function some of whose inputs are known, as other operands; all inputs stay."""
    draft = Draft(rules, reads(graph))
    operands = [v if x is None else x(draft) if callable(x) else x for v, x in zip(graph.inputs, known, strict=True)]
    outputs = draft.place(graph, operands, control)
    return Graph(graph.inputs, graph.constants, draft.equations, outputs)


def control(draft: Draft, equation: Equation) -> Sequence[Any] | None:
    """Rewrite a loop or a choice, and return its results; None for any other operation."""
    found = control_of(equation)
    draft.has_changed |= found is not None
    if isinstance(found, Scan):
        return _scan(draft, equation, found)
    if isinstance(found, While):
        return _while(draft, equation, found)
    return None if found is None else _choice(draft, equation, found)


# Functions whose arguments are known


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


def _entered(
    draft: Draft, graph: Graph, constants: Constants, others: Sequence[Variable], same: dict[Variable, Any]
) -> Graph:
    """Rewrite a function of constants and of others; `same` says what is known of those."""
    known = {**constants.known(draft), **same}
    inputs = [*constants.inputs, *others]
    return _function(replace(graph, inputs=inputs), [known.get(v) for v in inputs], draft.rules)


def _hoisted(draft: Draft, graph: Graph, constants: Constants) -> Graph:
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
        again = replace(equation, inputs=inputs, outputs=fresh)
        found = control(draft, again)
        if found is None:
            found = draft.operation(again.primitive, inputs, again.params, fresh, again.source)
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


# Scans


def _scan(draft: Draft, equation: Equation, loop: Scan) -> Sequence[Any]:
    length = loop.params["length"]
    if length < 2:
        return _few_steps(draft, loop, length)
    count, first = len(loop.carry), len(loop.constants)
    constants = Constants(list(loop.body.inputs[:first]), list(loop.constants))
    carried = list(loop.body.inputs[first : first + count])
    elements = list(loop.body.inputs[first + count :])
    starts, xs = list(loop.carry), list(loop.xs)
    results: list[Any] = [None] * len(equation.outputs)
    body = loop.body
    places = list(range(count))
    """Which of the results each part of the carry is."""
    place_of = dict(zip(carried, places, strict=True))
    for i in [i for i, x in enumerate(xs) if _row(draft, x) is not None][::-1]:
        constants.inputs.append(elements.pop(i))
        constants.operands.append(_row(draft, xs.pop(i)))
    body = _with_rows_reshaped(draft, body, elements, xs)
    while True:
        fixed = [out is v for out, v in zip(body.outputs, carried, strict=False)]
        for i in [i for i, flag in enumerate(fixed) if flag][::-1]:
            results[places.pop(i)] = starts[i]
            constants.inputs.append(carried.pop(i))
            constants.operands.append(starts.pop(i))
        body = replace(body, outputs=[*compress(body.outputs, [not f for f in fixed]), *body.outputs[len(fixed) :]])
        same = _equal_parts(carried, starts, body.outputs)
        same.update(_equal_elements(elements, xs))
        body = _entered(draft, body, constants, [*carried, *elements], same)
        for i in [i for i, v in enumerate(carried) if v in same][::-1]:
            results[places.pop(i)] = same[carried[i]]
            del carried[i], starts[i], body.outputs[i]
        body = replace(body, inputs=[*constants.inputs, *carried, *elements])
        if not any(out is v for out, v in zip(body.outputs, carried, strict=False)) and not _equal_parts(
            carried, starts, body.outputs
        ):
            break
    body = _hoisted(draft, body, constants)
    first, ys = len(carried), body.outputs[len(carried) :]
    whole = dict(zip(elements, xs, strict=True))
    roots = _roots(body, ys)
    outside: dict[Variable, Any] = dict(zip(constants.inputs, constants.operands, strict=True))
    for e in body.equations:
        if e.primitive.name == "broadcast_to" and (type(e.inputs[0]) is Array or e.inputs[0] in outside):
            outside[e.outputs[0]] = draft.shaped(_outside(e.inputs[0], outside), e.outputs[0].form)
    kept = [y for y in dict.fromkeys(variables_in(roots)) if y not in whole and y not in outside]
    stacks = [new_variable(_rows_of(y.form, length)) for y in kept]
    body = replace(body, outputs=[*body.outputs[:first], *kept])
    loop = Scan(loop.params, body, tuple(constants.operands), tuple(starts), tuple(xs))
    outs = _written(draft, equation, loop, [*(equation.outputs[i] for i in places), *stacks])
    for i, out in zip(places, outs, strict=False):
        results[i] = out
    whole.update(zip(kept, outs[first:], strict=True))
    for i, (y, root) in enumerate(zip(ys, roots, strict=True)):
        form = _rows_of(form_of(y), length)
        known = type(root) is Variable and root in whole
        stack = whole[root] if known else _stacked(draft, _outside(root, outside), length)
        results[count + i] = stack if stack.shape == form.shape else draft.made("reshape", stack, shape=form.shape)

    def followed(result: Any) -> Any:
        while type(result) is Variable and result in place_of:
            result = results[place_of[result]]
        return result

    return list(map(followed, results))


def _written(draft: Draft, equation: Equation, control: Any, outputs: Sequence[Variable]) -> Sequence[Any]:
    inputs, params = control.written()
    if not outputs and not is_distinct(equation.primitive, params):
        return ()
    return draft.operation(equation.primitive, inputs, params, tuple(outputs), equation.source)


def _few_steps(draft: Draft, loop: Scan, length: int) -> Sequence[Any]:
    """Write a step down, or none."""
    count = len(loop.carry)
    if not length:
        forms = [form_of(y) for y in loop.body.outputs[count:]]
        wholes = [Abstract((0, *f.shape), f.dtype, f.backend, f.device) for f in forms]
        return [*loop.carry, *(draft.shaped(draft.number(0, form), form) for form in wholes)]
    rows = [draft.made("reshape", x, shape=tuple(x.shape[1:])) for x in loop.xs]
    outs = draft.place(loop.body, [*loop.constants, *loop.carry, *rows], control, called=True)
    return [*outs[:count], *(_stacked(draft, y, 1) for y in outs[count:])]


def _stacked(draft: Draft, value: Any, length: int) -> Any:
    """Return an array as every row of another one."""
    return draft.shaped(value, _rows_of(form_of(value), length))


def _row(draft: Draft, xs: Any) -> Any:
    """Return what all rows of an array are, if it was made of that; else None."""
    maker = draft.maker(xs, "broadcast_to")
    if maker is None:
        return None
    (inside,) = maker.inputs
    rest = tuple(xs.shape[1:])
    if len(inside.shape) == len(xs.shape):
        if inside.shape[0] != 1 or type(inside) is not Variable:
            return None
        inside = draft.made("reshape", inside, shape=tuple(inside.shape[1:]))
    form = form_of(xs)
    return draft.shaped(inside, Abstract(rest, form.dtype, form.backend, form.device))


def _equal_parts(carried: Sequence[Variable], starts: Sequence[Any], outputs: Sequence[Any]) -> dict[Variable, Any]:
    """Return which parts of a carry are another one: they begin as that, and every step gives the same for both."""
    first: dict[Any, Variable] = {}
    found: dict[Variable, Any] = {}
    for variable, start, out in zip(carried, starts, outputs, strict=False):
        key = (start if type(start) is Variable else _literal(start)), out if type(out) is Variable else _literal(out)
        if key in first:
            found[variable] = first[key]
        else:
            first[key] = variable
    return found


def _equal_elements(elements: Sequence[Variable], xs: Sequence[Any]) -> dict[Variable, Any]:
    """Return which elements are those of an array that another one is of as well."""
    first: dict[Any, Variable] = {}
    return {v: first[x] for v, x in zip(elements, xs, strict=True) if first.setdefault(x, v) is not v}


def _literal(value: Any) -> Any:
    return value.dtype, repr(number_in(value))


def _outside(operand: Any, outside: dict[Variable, Any]) -> Any:
    return outside[operand] if type(operand) is Variable else operand


def _roots(body: Graph, ys: Sequence[Any]) -> list[Any]:
    """Return what results of a step are but for their shapes."""
    before = {e.outputs[0]: e.inputs[0] for e in body.equations if e.primitive.name == "reshape"}
    roots = []
    for y in ys:
        while type(y) is Variable and type(before.get(y)) is Variable:
            y = before[y]
        roots.append(y)
    return roots


def _rows_of(form: Abstract, length: int) -> Abstract:
    return Abstract((length, *form.shape), form.dtype, form.backend, form.device)


def _with_rows_reshaped(draft: Draft, body: Graph, elements: list[Variable], xs: list[Any]) -> Graph:
    """Take rows of what xs were before they were reshaped, and reshape each of them."""
    equations = []
    for i, (element, x) in enumerate(zip(elements, xs, strict=True)):
        inside = draft.argument(x, "reshape")
        if type(inside) is not Variable or inside.shape[:1] != x.shape[:1]:
            continue
        form = inside.form
        row = new_variable(Abstract(tuple(form.shape[1:]), form.dtype, form.backend, form.device))
        equations.append(Equation(PRIMITIVES["reshape"], (row,), Params({"shape": tuple(element.shape)}), (element,)))
        elements[i], xs[i] = row, inside
    return replace(body, equations=[*equations, *body.equations])


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
        body = _entered(draft, body, of_body, carried, {})
        if not any(out is v for out, v in zip(body.outputs, carried, strict=True)):
            break
    test = _hoisted(draft, _entered(draft, test, of_test, tested, {}), of_test)
    body = _hoisted(draft, body, of_body)
    loop = While(loop.params, test, body, tuple(of_test.operands), tuple(of_body.operands), tuple(starts))
    outputs = [equation.outputs[i] for i in places]
    for i, out in zip(places, _written(draft, equation, loop, outputs), strict=True):
        results[i] = out
    return results


def _never(draft: Draft, test: Graph, constants: Constants, tested: list[Variable], starts: Sequence[Any]) -> bool:
    """Return whether a condition does not hold at first, of what is known then."""
    if all(type(x) is Variable for x in starts):
        return False
    begun = Constants([*constants.inputs, *tested], [*constants.operands, *starts])
    return number_in(_entered(draft, test, begun, [], {}).outputs[0]) is False


# Choices


def _choice(draft: Draft, equation: Equation, choice: Choice) -> Sequence[Any]:
    number = number_in(choice.index)
    if number is not None and 0 <= number < len(choice.branches):
        return draft.place(choice.branches[int(number)], choice.operands, control, called=True)
    branches = list(choice.branches)
    of_each = [Constants(list(branch.inputs), list(choice.operands)) for branch in branches]
    branches = [_entered(draft, b, constants, [], {}) for b, constants in zip(branches, of_each, strict=True)]
    if (
        not any(is_distinct(e.primitive, e.params) for b in branches for e in b.equations)
        and len({_key(branch, constants) for branch, constants in zip(branches, of_each, strict=True)}) == 1
    ):
        return draft.place(branches[0], of_each[0].operands, control, called=True)
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
    for i, out in zip(kept, _written(draft, equation, control_, outputs), strict=True):
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
        ways = {x if type(x) is Variable else _literal(x) for x in values}
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
