"""Plans as LLVM text: one function for each nest and product, one for each plan, and the entry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gradkit.backend.plan import Box, Buffer, Call, Choice, Layout, Loop, Nest, Node, Plan, Product, While
from gradkit_numpy.native import statements
from gradkit_numpy.native.interpreter import INTERVAL, LONG, Costs, interpreter_functions
from gradkit_numpy.native.nests import nest_function
from gradkit_numpy.native.objects import (
    AXES,
    DATA,
    DTYPE,
    FITS,
    FLAGS,
    ITEMS,
    OWN,
    REFERENCES,
    TYPE,
    WEAK_REFERENCES,
    WRITEABLE,
    layout_is_known,
)
from gradkit_numpy.native.objects import SIZES as SIZES_OF_ARRAY
from gradkit_numpy.native.products import write_product
from gradkit_numpy.native.symbols import declared_once
from gradkit_numpy.native.text import LLVM_TYPES, MEMORY_TYPES, METADATA, SIZES, Text

__all__ = ["HELD", "UNFIT", "Printed", "printed"]

ENTRY_HEAD = "define i32 @enter(ptr %frame, ptr %arguments, ptr %results, ptr %arena, ptr %callback)"
UNFIT, HELD = 2, 3
"""What the entry gives if an argument is no array of its shape and dtype, in rows, or a result is held elsewhere."""


class Printed:
    """The text of a plan.

    Attributes
    ----------
    text : str
        LLVM's assembly language. The entry is ``i32 @enter(frame, arguments, results, arena, call)``: `frame` holds the
        addresses of the arguments and results, or it is null, and the next two are lists of boxes and of arrays. It
        gives 0, 1 if a call has failed, `UNFIT` or `HELD`.
    calls : list of Call
        What the function for calls, ``i32 call(i64 number, ptr pointers)``, is asked for, by number.
    """

    def __init__(self, plan: Plan, box: Box) -> None:
        self.calls: list[Call] = []
        self._functions: list[str] = []
        self._constants: dict[tuple[str, str], str] = {}
        self._names = 0
        self.costs = Costs()
        entry = self._plan(plan)
        self.text = self._module(plan, entry, box)

    # The module

    def _module(self, plan: Plan, entry: str, box: Box) -> str:
        functions = [*self._functions, self._entry(plan, entry, box)]
        body = "\n\n".join(functions)
        constants = [f"{name} = private constant {kind} {value}" for (kind, value), name in self._constants.items()]
        # Objects of Python, of which the address alone is asked.
        constants += [f"declare void @{name}()" for name in sorted(set(re.findall(r"@(object_\w+)", body)))]
        own = "\n".join([*statements.definitions(body), *interpreter_functions(body)])
        body = "\n\n".join([*constants, own, body])
        text = f"{body}\n\n{self._declarations(body)}\n\nattributes #0 = {{ nounwind }}\n\n{METADATA}"
        return declared_once(text)

    def _entry(self, plan: Plan, entry: str, box: Box) -> str:
        """Return the entry, which looks whether it can take arrays as they are if it is given no addresses."""
        text = Text()

        def field(thing: str, offset: int, kind: str = "ptr") -> str:
            return text.value(f"load {kind}, ptr {text.pointer(thing, str(offset), 'i8') if offset else thing}")

        def unless(wrong: str, label: str) -> None:
            on = text.label()
            text.emit(f"br i1 {wrong}, label %{label}, label %{on}")
            text.begin(on)

        no_frame = text.value("icmp eq ptr %frame, null")
        text.emit(f"br i1 {no_frame}, label %objects, label %addresses")
        text.begin("addresses")
        count = len(plan.arguments) + len(plan.results)
        addresses = [field("%frame", 8 * i) for i in range(count)]
        text.emit(f"ret i32 {self._run(plan, entry, text, addresses)}")
        text.begin("objects")
        if not layout_is_known() or box.value is None or box.node is None:
            text.emit(f"ret i32 {UNFIT}")
            return text.function(ENTRY_HEAD, "")
        given, results, arrays = [], [], []

        def differ(thing: str, expected: str, kind: str = "ptr", label: str = "unfit") -> None:
            unless(text.value(f"icmp ne {kind} {thing}, {expected}"), label)

        def array_of(array: str, buffer: Buffer, flags: int, label: str) -> str:
            """Look at an array, and return the address of its elements."""
            differ(field(array, DTYPE), f"@object_{buffer.dtype}", label=label)
            differ(text.value(f"and i32 {field(array, FLAGS, 'i32')}, {flags}"), str(flags), "i32", label)
            differ(field(array, AXES, "i32"), str(len(buffer.shape)), "i32", label)
            sizes = field(array, SIZES_OF_ARRAY) if buffer.shape else ""
            for axis, size in enumerate(buffer.shape):
                differ(field(sizes, 8 * axis, "i64"), str(size), "i64", label)
            return field(array, DATA)

        written = set(plan.memory.values())
        items = field("%arguments", ITEMS)
        for number, buffer in enumerate(plan.arguments):
            argument = field(items, 8 * number)
            differ(field(argument, TYPE), "@object_box")
            differ(field(argument, box.node), "@object_none")
            array = field(argument, box.value)
            differ(field(array, TYPE), "@object_ndarray")
            flags = FITS | WRITEABLE * (buffer in written)
            given.append(array_of(array, buffer, flags, "unfit"))
            arrays.append(array)
        items = field("%results", ITEMS)
        for number, buffer in enumerate(plan.results):
            if isinstance(plan.memory.get(buffer), Buffer):
                results.append("null")
                continue
            # Nobody may hold it or get hold of it, and whoever did may have changed more than its elements.
            array = field(items, 8 * number)
            differ(field(array, REFERENCES, "i32"), "1", "i32", "held")
            differ(field(array, WEAK_REFERENCES), "null", label="held")
            results.append(array_of(array, buffer, OWN, "held"))
        text.emit(f"ret i32 {self._run(plan, entry, text, [*given, *results], arrays)}")
        for label, code in (("unfit", UNFIT), ("held", HELD)):
            text.begin(label)
            if label == "unfit":
                text.emit(f"ret i32 {code}")
        return text.function(ENTRY_HEAD, f"ret i32 {HELD}")

    def _run(self, plan: Plan, entry: str, text: Text, addresses: Sequence[str], arrays: Sequence[str] = ()) -> str:
        """Run the plan, a long one without Python's lock; `arrays` are kept meanwhile."""
        is_long = self.costs.of(plan) >= LONG
        if is_long:
            for array in arrays:
                text.emit(f"call void @Py_IncRef(ptr {array})")
            lock = text.value("call ptr @PyEval_SaveThread()")
        passed = ", ".join(f"ptr {x}" for x in [*addresses, "%arena", "%callback"])
        found = text.value(f"call i32 {entry}({passed})")
        if is_long:
            text.emit(f"call void @PyEval_RestoreThread(ptr {lock})")
            for array in arrays:
                text.emit(f"call void @Py_DecRef(ptr {array})")
        return found

    def _declarations(self, body: str) -> str:
        """Declare every function that is called and not defined."""
        defined = set(re.findall(r"define [^@]*@([\w.]+)\(", body))
        declared = {}
        for kind, name, given in re.findall(r"call ([\w]+) @([\w.]+)\(([^)]*)\)", body):
            if name not in defined:
                types = ", ".join(part.split()[0] for part in given.split(", ") if part)
                declared[name] = f"declare {kind} @{name}({types})"
        return "\n".join(declared.values())

    def _constant(self, kind: str, value: str) -> str:
        return self._constants.setdefault((kind, value), f"@c{len(self._constants)}")

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"@{kind}{self._names}"

    # Plans

    def _plan(self, plan: Plan) -> str:
        return PlanText(self, plan).name


class PlanText:
    """The function of one plan: ``i32 (arguments, results, arena, call)``."""

    def __init__(self, module: Printed, plan: Plan) -> None:
        self.module, self.plan = module, plan
        self.text = Text()
        self.addresses: dict[Buffer, str] = {}
        for number, buffer in enumerate(plan.arguments):
            self.addresses[buffer] = f"%a{number}"
        for number, buffer in enumerate(plan.results):
            if buffer not in plan.memory:
                self.addresses[buffer] = f"%r{number}"
        since = 0
        for node in plan.nodes:
            cost = module.costs.of_node(node)
            if since and since + cost >= INTERVAL:
                self._check(self.text.value("call i32 @interrupted()"))
                since = 0
            self._node(node)
            since += cost
        self.name = module._name("plan")
        given = [*(f"%a{i}" for i in range(len(plan.arguments))), *(f"%r{i}" for i in range(len(plan.results)))]
        parameters = ", ".join(f"ptr {name}" for name in [*given, "%arena", "%callback"])
        text = self.text
        if text.lines and any("label %failed" in line for line in text.lines):
            text.emit("ret i32 0")
            text.begin("failed")
            end = "ret i32 1"
        else:
            end = "ret i32 0"
        module._functions.append(text.function(f"define internal i32 {self.name}({parameters}) #0", end))

    def address(self, buffer: Buffer) -> str:
        """Return a buffer's address."""
        found = self.addresses.get(buffer)
        if found is None:
            place = self.plan.memory[buffer]
            if isinstance(place, Buffer):
                found = self.address(place)
            else:
                found = self.text.pointer("%arena", str(place), "i8")
                # In the first block, so that it is known in all that follow.
                if self.text.block != "entry" and place:
                    line = self.text.lines.pop()
                    self.text.head.append(line)
            self.addresses[buffer] = found
        return found

    def key(self, buffer: Any) -> object:
        """Return what tells a buffer's memory from others'."""
        place = self.plan.memory.get(buffer, buffer)
        return self.key(place) if isinstance(place, Buffer) and place is not buffer else place

    def at(self, layout: Layout) -> str:
        """Return the address of the first element of a layout."""
        kind = MEMORY_TYPES[layout.buffer.dtype]
        return self.text.pointer(self.address(layout.buffer), str(layout.offset), kind)

    def _node(self, node: Node) -> None:
        if isinstance(node, Nest):
            self._nest(node)
        elif isinstance(node, Product):
            self._product(node)
        elif isinstance(node, Call):
            self._call(node)
        elif isinstance(node, Loop):
            self._loop(node)
        elif isinstance(node, While):
            self._while(node)
        else:
            self._choice(node)

    def _nest(self, nest: Nest) -> None:
        name = self.module._name("nest")
        function, buffers = nest_function(name, nest, self.key)
        self.module._functions.append(function)
        given = ", ".join(f"ptr {self.address(buffer)}" for buffer in buffers)  # type: ignore[arg-type]
        self.text.emit(f"call void {name}({given})")

    def _product(self, product: Product) -> None:
        name = self.module._name("product")
        text = Text()
        write_product(text, product, ("%c", "%a", "%b"), self.module._constant)
        head = f"define internal void {name}(ptr noalias nocapture %c, ptr nocapture %a, ptr nocapture %b) #0"
        self.module._functions.append(text.function(head))
        buffers = (product.out.buffer, product.left.buffer, product.right.buffer)
        self.text.emit(f"call void {name}({', '.join(f'ptr {self.address(b)}' for b in buffers)})")

    def _call(self, call: Call) -> None:
        text = self.text
        number = len(self.module.calls)
        self.module.calls.append(call)
        pointers = [self.address(operand.buffer) for operand in call.operands if isinstance(operand, Layout)]
        pointers += [self.address(buffer) for buffer in call.results]
        table = text.local(f"[{max(len(pointers), 1)} x ptr]")
        for position, pointer in enumerate(pointers):
            text.emit(f"store ptr {pointer}, ptr {text.pointer(table, str(position), 'ptr')}")
        self._check(text.value(f"call i32 @call_python(ptr %callback, i64 {number}, ptr {table})"))

    def _check(self, failed: str) -> None:
        text = self.text
        wrong, on = text.value(f"icmp ne i32 {failed}, 0"), text.label()
        text.emit(f"br i1 {wrong}, label %failed, label %{on}")
        text.begin(on)

    # Loops and choices

    def _run(self, plan: Plan, name: str, arguments: Sequence[str], results: Sequence[str], arena: str) -> None:
        given = ", ".join(f"ptr {x}" for x in [*arguments, *results, arena, "%callback"])
        self._check(self.text.value(f"call i32 {name}({given})"))

    def _spare(self, plan: Plan, carry: Sequence[Buffer], scratch: str) -> tuple[list[str], str]:
        """Return the addresses for the next carry, where it is not written in place, and that of the arena."""
        addresses, start = [], 0
        for old, new in zip(carry, plan.results, strict=False):
            if isinstance(plan.memory.get(new), Buffer):
                addresses.append(self.address(old))
            else:
                addresses.append(self.text.pointer(scratch, str(start), "i8"))
                start += scratch_size(new)
        return addresses, self.text.pointer(scratch, str(start), "i8")

    def _move(self, plan: Plan, carry: Sequence[Buffer], spare: Sequence[str]) -> None:
        for old, new, address in zip(carry, plan.results, spare, strict=False):
            if not isinstance(plan.memory.get(new), Buffer):
                self._copy(self.address(old), address, new)

    def _copy(self, to: str, source: str, buffer: Buffer) -> None:
        size = SIZES[buffer.dtype]
        for length in buffer.shape:
            size *= length
        if size:
            self.text.emit(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")

    def _touch(self, buffers: Sequence[Buffer]) -> None:
        """Find the addresses of buffers before the blocks of a loop begin."""
        for buffer in buffers:
            self.address(buffer)

    def _look_for_signals(self, count: str, period: int) -> None:
        """Ask Python for signals at the end of every so many steps."""
        text = self.text
        ask, on = text.label(), text.label()
        last = text.value(f"and i64 {count}, {period - 1}")
        text.emit(f"br i1 {text.value(f'icmp eq i64 {last}, {period - 1}')}, label %{ask}, label %{on}")
        text.begin(ask)
        wrong = text.value(f"icmp ne i32 {text.value('call i32 @interrupted()')}, 0")
        text.emit(f"br i1 {wrong}, label %failed, label %{on}")
        text.begin(on)

    def _loop(self, loop: Loop) -> None:
        text, module = self.text, self.module
        name = module._plan(loop.step)
        self._touch([*loop.carry, *(x.buffer for x in (*loop.constants, *loop.elements, *loop.rows)), loop.scratch])
        constants = [self.at(layout) for layout in loop.constants]
        spare, arena = self._spare(loop.step, loop.carry, self.address(loop.scratch))

        def element(layout: Layout, i: str) -> str:
            kind = MEMORY_TYPES[layout.buffer.dtype]
            return text.pointer(
                self.address(layout.buffer), text.offset(str(layout.offset), i, layout.strides[0]), kind
            )

        period = module.costs.period(loop.step)

        def step(i: str) -> None:
            count = i
            if loop.reverse:
                i = text.value(f"sub nsw i64 {loop.length - 1}, {i}")
            arguments = [*constants, *map(self.address, loop.carry), *(element(x, i) for x in loop.elements)]
            self._run(loop.step, name, arguments, [*spare, *(element(x, i) for x in loop.rows)], arena)
            self._move(loop.step, loop.carry, spare)
            if loop.length > period:
                self._look_for_signals(count, period)

        text.loop(loop.length, step)

    def _while(self, loop: While) -> None:
        text, module = self.text, self.module
        test, step = module._plan(loop.test), module._plan(loop.step)
        self._touch([*loop.carry, *(x.buffer for x in (*loop.test_constants, *loop.constants)), loop.scratch])
        of_test = [self.at(layout) for layout in loop.test_constants]
        of_step = [self.at(layout) for layout in loop.constants]
        carry = [self.address(buffer) for buffer in loop.carry]
        spare, arena = self._spare(loop.step, loop.carry, self.address(loop.scratch))
        going, counter = text.local("i8"), text.local("i64")
        text.emit(f"store i64 0, ptr {counter}")
        again, on, done = text.label(), text.label(), text.label()
        text.emit(f"br label %{again}")
        text.begin(again)
        self._run(loop.test, test, [*of_test, *carry], [going], arena)
        text.emit(f"br i1 {text.load(going, '0', 'bool')}, label %{on}, label %{done}")
        text.begin(on)
        self._run(loop.step, step, [*of_step, *carry], spare, arena)
        self._move(loop.step, loop.carry, spare)
        count = text.value(f"load i64, ptr {counter}")
        text.emit(f"store i64 {text.value(f'add i64 {count}, 1')}, ptr {counter}")
        self._look_for_signals(count, module.costs.period(loop.test, loop.step))
        text.emit(f"br label %{again}")
        text.begin(done)

    def _choice(self, choice: Choice) -> None:
        text, module = self.text, self.module
        names = [module._plan(plan) for plan in choice.plans]
        self._touch([choice.index.buffer, *(x.buffer for x in choice.operands), *choice.results, choice.scratch])
        dtype = choice.index.buffer.dtype
        index = text.load(self.at(choice.index), "0", dtype)
        kind = LLVM_TYPES[dtype]
        operands = [self.at(layout) for layout in choice.operands]
        results = [self.address(buffer) for buffer in choice.results]
        arena = self.address(choice.scratch)
        labels, end = [text.label() for _ in names], text.label()
        cases = " ".join(f"{kind} {i}, label %{label}" for i, label in enumerate(labels[:-1]))
        text.emit(f"switch {kind} {index}, label %{labels[-1]} [{cases}]")
        for plan, name, label in zip(choice.plans, names, labels, strict=True):
            text.begin(label)
            self._run(plan, name, operands, results, arena)
            text.emit(f"br label %{end}")
        text.begin(end)


def scratch_size(buffer: Buffer) -> int:
    """Return the bytes of a buffer in whole units of 64."""
    size = SIZES[buffer.dtype]
    for length in buffer.shape:
        size *= length
    return -(-size // 64) * 64


def printed(plan: Plan, box: Box) -> Printed:
    """Return the text of a plan, whose arguments come in boxes."""
    return Printed(plan, box)
