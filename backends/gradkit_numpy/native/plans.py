"""Plans as functions of LLVM, each of which calls those of its nests, products and inner plans, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradkit.backend.plan import Buffer, Call, Choice, Layout, Loop, Nest, Node, Plan, Product, While
from gradkit_numpy.native.interpreter import INTERVAL
from gradkit_numpy.native.module import Module
from gradkit_numpy.native.nests import nest_function
from gradkit_numpy.native.products import write_product
from gradkit_numpy.native.routines import Routine, routine_of
from gradkit_numpy.native.sites import Site
from gradkit_numpy.native.text import LLVM_TYPES, MEMORY_TYPES, Text

__all__ = ["plan_function"]


def plan_function(module: Module, plan: Plan) -> str:
    """Write the function of a plan, ``i32 (table, arena, callback)``, and return its name.

    The table has the addresses of the arguments and then of the results. As parameters thousands of them would take
    LLVM more than linear time. It gives 0, or 1 where a call has failed or a signal has raised an error.
    """
    return PlanText(module, plan).name


class PlanText:
    """The writing of one plan."""

    def __init__(self, module: Module, plan: Plan) -> None:
        self.module, self.plan = module, plan
        self.text = Text()
        self.addresses: dict[Buffer, str] = {}
        self.rows = {buffer: number for number, buffer in enumerate(plan.arguments)}
        """Of a buffer whose address is in the table: its row."""
        for number, buffer in enumerate(plan.results, len(plan.arguments)):
            if buffer not in plan.memory:
                self.rows[buffer] = number
        since = 0
        for node in plan.nodes:
            cost = module.costs.of_node(node)
            if since and since + cost >= INTERVAL:
                self._check(self.text.value("call i32 @interrupted()"))
                since = 0
            self._node(node)
            since += cost
        self.name = module.name("plan")
        text = self.text
        if text.lines and any("label %failed" in line for line in text.lines):
            text.emit("ret i32 0")
            text.begin("failed")
            end = "ret i32 1"
        else:
            end = "ret i32 0"
        head = f"define internal i32 {self.name}(ptr %table, ptr %arena, ptr %callback) #0"
        module.functions.append(text.function(head, end))

    def address(self, buffer: Buffer) -> str:
        """Return a buffer's address, read from the table at each use: no register keeps it in between."""
        if buffer in self.rows:
            return self.text.value(f"load ptr, ptr {self.text.pointer('%table', str(self.rows[buffer]), 'ptr')}")
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
        name = self.module.name("nest")
        function, buffers = nest_function(name, nest, self.key)
        self.module.functions.append(function)
        given = ", ".join(f"ptr {self.address(buffer)}" for buffer in buffers)  # type: ignore[arg-type]
        self.text.emit(f"call void {name}({given})")

    def _product(self, product: Product) -> None:
        name = self.module.name("product")
        text = Text()
        write_product(text, product, ("%c", "%a", "%b"), self.module.constant)
        head = f"define internal void {name}(ptr noalias nocapture %c, ptr nocapture %a, ptr nocapture %b) #0"
        self.module.functions.append(text.function(head))
        buffers = (product.out.buffer, product.left.buffer, product.right.buffer)
        self.text.emit(f"call void {name}({', '.join(f'ptr {self.address(b)}' for b in buffers)})")

    def _call(self, call: Call) -> None:
        routine = routine_of(call)
        if routine is None:
            self._call_python(call)
        else:
            self._routine(routine, call)

    def _routine(self, routine: Routine, call: Call) -> None:
        name, text = self.module.name("routine"), Text()
        buffers = [*(layout.buffer for layout in call.operands), *call.results]
        names = [f"%b{number}" for number in range(len(buffers))]
        count = len(call.operands)
        routine.write(Site(text, call, names[:count], names[count:], "%scratch", self.module.constant))
        parameters = ", ".join(f"ptr noalias nocapture {x}" for x in [*names, "%scratch"])
        self.module.functions.append(text.function(f"define internal void {name}({parameters}) #0"))
        scratch = "null" if call.scratch is None else self.address(call.scratch)
        given = [*map(self.address, buffers), scratch]
        self.text.emit(f"call void {name}({', '.join(f'ptr {address}' for address in given)})")

    def _call_python(self, call: Call) -> None:
        text = self.text
        number = len(self.module.calls)
        self.module.calls.append(call)
        pointers = [self.address(operand.buffer) for operand in call.operands if isinstance(operand, Layout)]
        pointers += [self.address(call.results[i]) for i in call.copied]
        table = self._table(pointers)
        self._check(text.value(f"call i32 @call_python(ptr %callback, i64 {number}, ptr {table})"))

    def _table(self, pointers: Sequence[str]) -> str:
        """Return the address of a table of addresses."""
        text = self.text
        table = text.local(f"[{max(len(pointers), 1)} x ptr]")
        for position, pointer in enumerate(pointers):
            text.emit(f"store ptr {pointer}, ptr {text.pointer(table, str(position), 'ptr')}")
        return table

    def _check(self, failed: str) -> None:
        text = self.text
        wrong, on = text.value(f"icmp ne i32 {failed}, 0"), text.label()
        text.emit(f"br i1 {wrong}, label %failed, label %{on}")
        text.begin(on)

    # Loops and choices

    def _run(self, plan: Plan, name: str, arguments: Sequence[str], results: Sequence[str], arena: str) -> None:
        table = self._table([*arguments, *results])
        self._check(self.text.value(f"call i32 {name}(ptr {table}, ptr {arena}, ptr %callback)"))

    def _spare(self, plan: Plan, carry: Sequence[Buffer], scratch: str) -> tuple[list[str], str]:
        """Return the addresses for the next carry, where it is not written in place, and that of the arena."""
        addresses, start = [], 0
        for old, new in zip(carry, plan.results, strict=False):
            if isinstance(plan.memory.get(new), Buffer):
                addresses.append(self.address(old))
            else:
                addresses.append(self.text.pointer(scratch, str(start), "i8"))
                start += new.room
        return addresses, self.text.pointer(scratch, str(start), "i8")

    def _move(self, plan: Plan, carry: Sequence[Buffer], spare: Sequence[str]) -> None:
        for old, new, address in zip(carry, plan.results, spare, strict=False):
            if not isinstance(plan.memory.get(new), Buffer):
                self._copy(self.address(old), address, new)

    def _copy(self, to: str, source: str, buffer: Buffer) -> None:
        if buffer.size:
            self.text.emit(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {buffer.size}, i1 false)")

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
        name = plan_function(module, loop.step)
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
        test, step = plan_function(module, loop.test), plan_function(module, loop.step)
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
        names = [plan_function(module, plan) for plan in choice.plans]
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
