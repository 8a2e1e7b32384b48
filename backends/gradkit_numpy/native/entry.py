"""The entry of a program: it takes arguments and results as Python has them, and looks itself whether they fit.

So a call costs no look at each array in Python, which would take longer than a small network. What does not fit is made
to fit in Python, and comes again.
"""

from __future__ import annotations

from collections.abc import Callable

from gradkit.backend.plan import Buffer, Plan
from gradkit.backend.printers import Box
from gradkit_numpy.native.objects import (
    AXES,
    DATA,
    DTYPE,
    FITS,
    FLAGS,
    ITEMS,
    OWN,
    REFERENCES,
    SIZES,
    TYPE,
    WEAK_REFERENCES,
    WRITEABLE,
    layout_is_known,
)
from gradkit_numpy.native.text import Text

__all__ = ["entry_function"]

BY_OBJECTS = "define ptr @enter(ptr %self, ptr %given, i64 %count)"
BY_ADDRESSES = "define i32 @enter(ptr %frame, ptr %arena, ptr %callback)"


def entry_function(plan: Plan, name: str, box: Box, is_long: bool) -> str:
    """Return the text of the entry.

    Where objects have their fields at known places it is a function as Python calls them, ``enter(arguments, results,
    arena, callback)``: of a list of boxes, a list of arrays, the arena's address, and what is called back. It gives a
    list of new boxes, None if an argument is no array of its shape and dtype, in rows, and False if a result is held
    elsewhere.

    Elsewhere it is ``i32 enter(frame, arena, callback)``, where `frame` has the addresses of the arguments and results,
    and it gives 1 if a call has failed.

    Parameters
    ----------
    plan : Plan
        What it runs.
    name : str
        The plan's function.
    box : Box
        What arguments come in.
    is_long : bool
        Whether it gives up Python's lock meanwhile.
    """
    text = Looking()
    if not layout_is_known() or box.value is None or box.node is None:
        return text.function(BY_ADDRESSES, f"ret i32 {_run(text, name, is_long, '%frame')}")
    lists = [text.field("%given", 8 * i) for i in range(4)]
    text.emit(f"%arena = call ptr @PyLong_AsVoidPtr(ptr {lists[2]})")
    text.emit(f"%callback = getelementptr i8, ptr {lists[3]}, i64 0")
    tables = Tables(text, len(plan.arguments) + len(plan.results))
    _arguments(text, plan, lists[0], box, tables)
    _results(text, plan, lists[1], tables)
    found = _run(text, name, is_long, tables.addresses, lambda: [tables.array(i) for i in range(len(plan.arguments))])
    text.expect(found, "0", "i32", "failed")
    text.emit(f"ret ptr {_boxed(text, plan, tables, box)}")
    for label, result in (("unfit", "@object_none"), ("held", "@object_false")):
        text.begin(label)
        text.emit(f"call void @Py_IncRef(ptr {result})")
        text.emit(f"ret ptr {result}")
    text.begin("failed")
    return text.function(BY_OBJECTS, "ret ptr null")


class Looking(Text):
    """Text that looks at objects, and leaves by a label where they are not what they should be."""

    def field(self, thing: str, offset: int, kind: str = "ptr") -> str:
        """Read a field of a structure."""
        return self.value(f"load {kind}, ptr {self.pointer(thing, str(offset), 'i8') if offset else thing}")

    def expect(self, thing: str, expected: str, kind: str = "ptr", label: str = "unfit") -> None:
        """Go on if two values are the same."""
        wrong, on = self.value(f"icmp ne {kind} {thing}, {expected}"), self.label()
        self.emit(f"br i1 {wrong}, label %{label}, label %{on}")
        self.begin(on)

    def expect_memory(self, thing: str, made: str = "") -> None:
        """Go on if an object could be made; else give up what was `made` before."""
        none, out, on = self.value(f"icmp eq ptr {thing}, null"), self.label(), self.label()
        self.emit(f"br i1 {none}, label %{out}, label %{on}")
        self.begin(out)
        if made:
            self.emit(f"call void @Py_DecRef(ptr {made})")
        self.emit("br label %failed")
        self.begin(on)

    def expect_array(self, array: str, buffer: Buffer, flags: int, label: str) -> None:
        """Go on if an array has the dtype, the flags and the shape of a buffer."""
        self.expect(self.field(array, DTYPE), f"@object_{buffer.dtype}", label=label)
        self.expect(self.value(f"and i32 {self.field(array, FLAGS, 'i32')}, {flags}"), str(flags), "i32", label)
        self.expect(self.field(array, AXES, "i32"), str(len(buffer.shape)), "i32", label)
        sizes = self.field(array, SIZES) if buffer.shape else ""
        for axis, size in enumerate(buffer.shape):
            self.expect(self.field(sizes, 8 * axis, "i64"), str(size), "i64", label)


class Tables:
    """Where the entry keeps what it has found, the arguments' rows before the results'.

    In memory: LLVM's time grows faster than the number of values that are in use at one time, and there may be
    thousands. So arrays are read and written as ``volatile``, or LLVM would have them in registers all the same.
    """

    def __init__(self, text: Looking, rows: int) -> None:
        self._text = text
        self.addresses, self._arrays = (text.local(f"[{max(rows, 1)} x ptr]") for _ in range(2))

    def put(self, row: int, array: str) -> None:
        """Keep an array, and the address of its elements."""
        text = self._text
        address = text.field(array, DATA)
        text.emit(f"store ptr {address}, ptr {text.pointer(self.addresses, str(row), 'ptr')}")
        text.emit(f"store volatile ptr {array}, ptr {text.pointer(self._arrays, str(row), 'ptr')}")

    def array(self, row: int) -> str:
        """Return the array of a row."""
        text = self._text
        return text.value(f"load volatile ptr, ptr {text.pointer(self._arrays, str(row), 'ptr')}")


def _arguments(text: Looking, plan: Plan, boxes: str, box: Box, tables: Tables) -> None:
    """Put the arguments' arrays, each of which has to fit, into the tables."""
    assert box.value is not None
    assert box.node is not None
    written = plan.written
    items = text.field(boxes, ITEMS)
    for number, buffer in enumerate(plan.arguments):
        argument = text.field(items, 8 * number)
        text.expect(text.field(argument, TYPE), "@object_box")
        text.expect(text.field(argument, box.node), "@object_none")
        array = text.field(argument, box.value)
        text.expect(text.field(array, TYPE), "@object_ndarray")
        text.expect_array(array, buffer, FITS | WRITEABLE * (buffer in written), "unfit")
        tables.put(number, array)


def _results(text: Looking, plan: Plan, listed: str, tables: Tables) -> None:
    """Put the results' arrays into the tables, but for those that are the memory of arguments."""
    items = text.field(listed, ITEMS)
    for number, buffer in enumerate(plan.results):
        if isinstance(plan.memory.get(buffer), Buffer):
            continue
        # Nobody may hold it or get hold of it, and whoever did may have changed more than its elements.
        array = text.field(items, 8 * number)
        text.expect(text.field(array, REFERENCES, "i32"), "1", "i32", "held")
        text.expect(text.field(array, WEAK_REFERENCES), "null", label="held")
        text.expect_array(array, buffer, OWN, "held")
        tables.put(len(plan.arguments) + number, array)


def _boxed(text: Looking, plan: Plan, tables: Tables, box: Box) -> str:
    """Return a list of new boxes of the results' arrays."""
    rows = {buffer: row for row, buffer in enumerate(plan.arguments)}
    boxes = text.value(f"call ptr @PyList_New(i64 {len(plan.results)})")
    text.expect_memory(boxes)
    for number, buffer in enumerate(plan.results):
        place = plan.memory.get(buffer)
        row = rows[place] if isinstance(place, Buffer) else len(plan.arguments) + number
        made = text.value("call ptr @PyType_GenericAlloc(ptr @object_box, i64 0)")
        text.expect_memory(made, boxes)
        for field, thing in ((box.value, tables.array(row)), (box.node, "@object_none")):
            text.emit(f"call void @Py_IncRef(ptr {thing})")
            text.emit(f"store ptr {thing}, ptr {text.pointer(made, str(field), 'i8')}")
        text.emit(f"call i32 @PyList_SetItem(ptr {boxes}, i64 {number}, ptr {made})")
    return boxes


def _run(text: Text, name: str, is_long: bool, addresses: str, kept: Callable[[], list[str]] = list) -> str:
    """Run the plan, a long one without Python's lock, while the arrays that `kept` gives stay."""
    if is_long:
        for array in kept():
            text.emit(f"call void @Py_IncRef(ptr {array})")
        lock = text.value("call ptr @PyEval_SaveThread()")
    found = text.value(f"call i32 {name}(ptr {addresses}, ptr %arena, ptr %callback)")
    if is_long:
        text.emit(f"call void @PyEval_RestoreThread(ptr {lock})")
        for array in kept():
            text.emit(f"call void @Py_DecRef(ptr {array})")
    return found
