"""Plans as Python functions: node by node, each of them some calls of NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradkit.backend.plan import Buffer, Call, Choice, Layout, Loop, Nest, Node, Plan, Product, While
from gradkit_numpy.ufuncs.nests import write_nest
from gradkit_numpy.ufuncs.text import Function, Texts

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
        write_nest(function, node)
    elif isinstance(node, Product):
        _product(function, node)
    elif isinstance(node, Call):
        _call(function, node)
    elif isinstance(node, Loop):
        _loop(function, node)
    elif isinstance(node, While):
        _while(function, node)
    else:
        _choice(function, node)


def _product(function: Function, product: Product) -> None:
    out, left, right = (function.operand(x) for x in (product.out, product.left, product.right))
    call = "dot" if len(product.out.shape) == 2 else "matmul"
    if product.alpha == 1 and not product.adds:
        function.emit(f"{call}({left}, {right}, {out})")
        return
    part = function.scratch(product.out.shape, product.out.buffer.dtype)
    function.emit(f"{call}({left}, {right}, {part})")
    kind = np.dtype(product.out.buffer.dtype).type
    if product.alpha != 1:
        function.emit(f"{function.ufunc('multiply')}({part}, {function.texts.name('n', kind(product.alpha))}, {part})")
    if product.adds:
        function.emit(f"{function.ufunc('add')}({out}, {part}, {out})")
    else:
        function.emit(f"copyto({out}, {part})")


def _call(function: Function, call: Call) -> None:
    operands = [
        function.operand(operand) if isinstance(operand, Layout) else function.texts.name("n", operand)
        for operand in call.operands
    ]
    called = function.texts.name("f", call.function)
    found = function.texts.name("y")
    function.emit(f"{found} = {called}({', '.join(operands)})")
    several = len(call.results) != 1
    for i, buffer in enumerate(call.results):
        value = f"{found}[{i}]" if several else f"({found}[0] if type({found}) is tuple else {found})"
        function.emit(f"copyto({function.whole(buffer)}, {value})")


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
            function.emit(f"{indent}copyto({old}, {new})")


def _loop(function: Function, loop: Loop) -> None:
    name = plan_function(function.texts, loop.step)
    constants = [function.operand(x) for x in loop.constants]
    carry = [function.whole(buffer) for buffer in loop.carry]
    spare = _spare(function, loop.step, loop.carry)
    elements, rows = ([function.operand(x) for x in layouts] for layouts in (loop.elements, loop.rows))
    index = function.texts.name("i")
    steps = f"range({loop.length})" if not loop.reverse else f"range({loop.length - 1}, -1, -1)"
    function.emit(f"for {index} in {steps}:")
    at = [f"{x}[{index}, ...]" for x in elements]
    to = [f"{x}[{index}, ...]" for x in rows]
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
    function.emit(f"    if not {going}[()]:")
    function.emit("        break")
    function.emit(f"    {step}({', '.join([*of_step, *carry, *spare])})")
    _move(function, carry, spare, "    ")


def _choice(function: Function, choice: Choice) -> None:
    names = ", ".join(plan_function(function.texts, plan) for plan in choice.plans)
    index = function.array(choice.index.buffer, choice.index.shape, choice.index.strides, choice.index.offset)
    given = [function.operand(x) for x in choice.operands] + [function.whole(x) for x in choice.results]
    function.emit(f"({names},)[min(max(int({index}[()]), 0), {len(choice.plans) - 1})]({', '.join(given)})")
