"""Plans as Python functions: node by node, each of them some calls of a library."""

from __future__ import annotations

from collections.abc import Sequence

from gradkit.backend.lists.nests import NestWriter
from gradkit.backend.lists.text import Function, Texts
from gradkit.backend.plan import Buffer, Call, Choice, Layout, Loop, Nest, Node, Plan, Product, While

__all__ = ["plan_function"]


def plan_function(texts: Texts, plan: Plan) -> str:
    """Write the function of a plan, of its arguments and results, and return its name."""
    function = Function(texts, plan)
    for node in plan.nodes:
        _write(function, node)
    name = texts.name("plan")
    texts.lines.append(f"def {name}({', '.join([*function.given, *function.made])}):")
    texts.lines.extend("    " + line for line in function.lines or ["pass"])
    return name


def _write(function: Function, node: Node) -> None:
    if isinstance(node, Nest):
        NestWriter(function, node).write()
    elif isinstance(node, Product):
        function.library.product(function, node)
    elif isinstance(node, Call):
        _call(function, node)
    elif isinstance(node, Loop):
        _loop(function, node)
    elif isinstance(node, While):
        _while(function, node)
    else:
        _choice(function, node)


def _call(function: Function, call: Call) -> None:
    operands = [
        function.operand(operand) if isinstance(operand, Layout) else function.texts.name("n", operand)
        for operand in call.operands
    ]
    called = function.texts.name("f", call.function)
    found = function.texts.name("y")
    function.emit(f"{found} = {called}({', '.join(operands)})")
    several = len(call.results) != 1
    for i in call.copied:
        buffer = call.results[i]
        value = f"{found}[{i}]" if several else f"({found}[0] if type({found}) is tuple else {found})"
        function.emit(function.library.copy(function.whole(buffer), value))


# Loops and choices


def _spare(function: Function, plan: Plan, carry: Sequence[Buffer]) -> list[str]:
    """Return the arrays for the next carry: the carry's own where it is written in place."""
    spare = []
    for old, new in zip(carry, plan.results, strict=False):
        in_place = isinstance(plan.memory.get(new), Buffer)
        spare.append(function.whole(old) if in_place else function.scratch(new.shape, new.dtype))
    return spare


def _move(function: Function, carry: Sequence[str], spare: Sequence[str], indent: str) -> None:
    for old, new in zip(carry, spare, strict=True):
        if old != new:
            function.emit(indent + function.library.copy(old, new))


def _loop(function: Function, loop: Loop) -> None:
    name = plan_function(function.texts, loop.step)
    constants = [function.operand(x) for x in loop.constants]
    carry = [function.whole(buffer) for buffer in loop.carry]
    spare = _spare(function, loop.step, loop.carry)
    elements, rows = ([function.operand(x) for x in layouts] for layouts in (loop.elements, loop.rows))
    index = function.texts.name("i")
    steps = f"range({loop.length})" if not loop.reverse else f"range({loop.length - 1}, -1, -1)"
    function.emit(f"for {index} in {steps}:")
    at = [function.library.element(x, index) for x in elements]
    to = [function.library.element(x, index) for x in rows]
    function.emit(f"    {name}({', '.join([*constants, *carry, *at, *spare, *to])})")
    _move(function, carry, spare, "    ")


def _while(function: Function, loop: While) -> None:
    test, step = plan_function(function.texts, loop.test), plan_function(function.texts, loop.step)
    of_test, of_step = ([function.operand(x) for x in layouts] for layouts in (loop.test_constants, loop.constants))
    carry = [function.whole(buffer) for buffer in loop.carry]
    spare = _spare(function, loop.step, loop.carry)
    going = function.scratch((), "bool")
    function.emit("while True:")
    function.emit(f"    {test}({', '.join([*of_test, *carry, going])})")
    function.emit(f"    if not {function.library.item(going)}:")
    function.emit("        break")
    function.emit(f"    {step}({', '.join([*of_step, *carry, *spare])})")
    _move(function, carry, spare, "    ")


def _choice(function: Function, choice: Choice) -> None:
    names = ", ".join(plan_function(function.texts, plan) for plan in choice.plans)
    index = function.array(choice.index.buffer, choice.index.shape, choice.index.strides, choice.index.offset)
    given = [function.operand(x) for x in choice.operands] + [function.whole(x) for x in choice.results]
    which = f"min(max(int({function.library.item(index)}), 0), {len(choice.plans) - 1})"
    function.emit(f"({names},)[{which}]({', '.join(given)})")
