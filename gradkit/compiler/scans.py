"""Rewrites of scans: `loops` says what is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Any, NamedTuple

from gradkit.compiler.control import Scan
from gradkit.compiler.loop_constants import Constants, entered, hoisted, literal, written
from gradkit.compiler.passes import new_variable, variables_in
from gradkit.compiler.rewriting import Draft, form_of
from gradkit.core.array import Array
from gradkit.core.graph import Equation, Graph, Params, Variable
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.stand_in import Abstract

__all__ = ["rewritten_scan"]


def rewritten_scan(draft: Draft, equation: Equation, loop: Scan) -> Sequence[Any]:
    """Write a scan down with what is left of it, and return its results."""
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
        body = entered(draft, body, constants, [*carried, *elements], same)
        for i in [i for i, v in enumerate(carried) if v in same][::-1]:
            results[places.pop(i)] = same[carried[i]]
            del carried[i], starts[i], body.outputs[i]
        body = replace(body, inputs=[*constants.inputs, *carried, *elements])
        if not any(out is v for out, v in zip(body.outputs, carried, strict=False)) and not _equal_parts(
            carried, starts, body.outputs
        ):
            break
    body = hoisted(draft, body, constants)
    shorter = Shorter(loop, body, constants, (carried, places, starts), (elements, xs))
    _write_results(draft, equation, shorter, results)

    def followed(result: Any) -> Any:
        while type(result) is Variable and result in place_of:
            result = results[place_of[result]]
        return result

    return list(map(followed, results))


class Shorter(NamedTuple):
    """A scan that is to be written down.

    Attributes
    ----------
    loop : Scan
        What it was.
    body : Graph
        A step now: of constants, the carry, and elements.
    constants : Constants
        What is the same at every step.
    carry : tuple of lists
        The inputs of the step, which results they are, and what they begin as.
    xs : tuple of lists
        The inputs of the step, and the arrays whose rows they are.
    """

    loop: Scan
    body: Graph
    constants: Constants
    carry: tuple[list[Variable], list[int], list[Any]]
    xs: tuple[list[Variable], list[Any]]


def _write_results(draft: Draft, equation: Equation, shorter: Shorter, results: list[Any]) -> None:
    """Write a scan down with those of its results that are its work, and put all into their places."""
    body, constants = shorter.body, shorter.constants
    (carried, places, starts), (elements, xs) = shorter.carry, shorter.xs
    length, count = shorter.loop.params["length"], len(shorter.loop.carry)
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
    loop = Scan(shorter.loop.params, body, tuple(constants.operands), tuple(starts), tuple(xs))
    outs = written(draft, equation, loop, [*(equation.outputs[i] for i in places), *stacks])
    for i, out in zip(places, outs, strict=False):
        results[i] = out
    whole.update(zip(kept, outs[first:], strict=True))
    for i, (y, root) in enumerate(zip(ys, roots, strict=True)):
        form = _rows_of(form_of(y), length)
        known = type(root) is Variable and root in whole
        stack = whole[root] if known else _stacked(draft, _outside(root, outside), length)
        results[count + i] = stack if stack.shape == form.shape else draft.made("reshape", stack, shape=form.shape)


def _few_steps(draft: Draft, loop: Scan, length: int) -> Sequence[Any]:
    """Write a step down, or none."""
    count = len(loop.carry)
    if not length:
        forms = [form_of(y) for y in loop.body.outputs[count:]]
        wholes = [Abstract((0, *f.shape), f.dtype, f.backend, f.device) for f in forms]
        return [*loop.carry, *(draft.shaped(draft.number(0, form), form) for form in wholes)]
    rows = [draft.made("reshape", x, shape=tuple(x.shape[1:])) for x in loop.xs]
    outs = draft.place(loop.body, [*loop.constants, *loop.carry, *rows], called=True)
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
        key = (start if type(start) is Variable else literal(start)), out if type(out) is Variable else literal(out)
        if key in first:
            found[variable] = first[key]
        else:
            first[key] = variable
    return found


def _equal_elements(elements: Sequence[Variable], xs: Sequence[Any]) -> dict[Variable, Any]:
    """Return which elements are those of an array that another one is of as well."""
    first: dict[Any, Variable] = {}
    return {v: first[x] for v, x in zip(elements, xs, strict=True) if first.setdefault(x, v) is not v}


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
