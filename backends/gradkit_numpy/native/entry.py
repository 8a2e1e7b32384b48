"""The entry of a program: it takes arguments and results as Python has them, and looks itself whether they fit.

So a call costs no look at each array in Python, which would take longer than a small network. What does not fit has its
addresses found in Python, and comes again with those.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradkit.backend.plan import Box, Buffer, Plan
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

__all__ = ["HELD", "UNFIT", "entry_function"]

HEAD = "define i32 @enter(ptr %frame, ptr %arguments, ptr %results, ptr %arena, ptr %callback)"
UNFIT, HELD = 2, 3
"""What it gives if an argument is no array of its shape and dtype, in rows, or a result is held elsewhere."""


def entry_function(plan: Plan, name: str, box: Box, is_long: bool) -> str:
    """Return the text of the entry.

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
    no_frame = text.value("icmp eq ptr %frame, null")
    text.emit(f"br i1 {no_frame}, label %objects, label %addresses")
    text.begin("addresses")
    count = len(plan.arguments) + len(plan.results)
    addresses = [text.field("%frame", 8 * i) for i in range(count)]
    text.emit(f"ret i32 {_run(text, name, is_long, addresses)}")
    text.begin("objects")
    if not layout_is_known() or box.value is None or box.node is None:
        text.emit(f"ret i32 {UNFIT}")
        return text.function(HEAD, "")
    arrays = _arguments(text, plan, box.value, box.node)
    given = [text.field(array, DATA) for array in arrays]
    text.emit(f"ret i32 {_run(text, name, is_long, [*given, *_results(text, plan)], arrays)}")
    text.begin("unfit")
    text.emit(f"ret i32 {UNFIT}")
    text.begin("held")
    return text.function(HEAD, f"ret i32 {HELD}")


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

    def expect_array(self, array: str, buffer: Buffer, flags: int, label: str) -> None:
        """Go on if an array has the dtype, the flags and the shape of a buffer."""
        self.expect(self.field(array, DTYPE), f"@object_{buffer.dtype}", label=label)
        self.expect(self.value(f"and i32 {self.field(array, FLAGS, 'i32')}, {flags}"), str(flags), "i32", label)
        self.expect(self.field(array, AXES, "i32"), str(len(buffer.shape)), "i32", label)
        sizes = self.field(array, SIZES) if buffer.shape else ""
        for axis, size in enumerate(buffer.shape):
            self.expect(self.field(sizes, 8 * axis, "i64"), str(size), "i64", label)


def _arguments(text: Looking, plan: Plan, value: int, node: int) -> list[str]:
    """Return the arguments' arrays, each of which has to fit; `value` and `node` are fields of the boxes."""
    written = set(plan.memory.values())
    items = text.field("%arguments", ITEMS)
    arrays = []
    for number, buffer in enumerate(plan.arguments):
        argument = text.field(items, 8 * number)
        text.expect(text.field(argument, TYPE), "@object_box")
        text.expect(text.field(argument, node), "@object_none")
        array = text.field(argument, value)
        text.expect(text.field(array, TYPE), "@object_ndarray")
        text.expect_array(array, buffer, FITS | WRITEABLE * (buffer in written), "unfit")
        arrays.append(array)
    return arrays


def _results(text: Looking, plan: Plan) -> list[str]:
    """Return the addresses of the results' elements, or null for those that have the memory of an argument."""
    items = text.field("%results", ITEMS)
    addresses = []
    for number, buffer in enumerate(plan.results):
        if isinstance(plan.memory.get(buffer), Buffer):
            addresses.append("null")
            continue
        # Nobody may hold it or get hold of it, and whoever did may have changed more than its elements.
        array = text.field(items, 8 * number)
        text.expect(text.field(array, REFERENCES, "i32"), "1", "i32", "held")
        text.expect(text.field(array, WEAK_REFERENCES), "null", label="held")
        text.expect_array(array, buffer, OWN, "held")
        addresses.append(text.field(array, DATA))
    return addresses


def _run(text: Text, name: str, is_long: bool, addresses: Sequence[str], arrays: Sequence[str] = ()) -> str:
    """Run the plan, a long one without Python's lock; `arrays` are kept meanwhile."""
    if is_long:
        for array in arrays:
            text.emit(f"call void @Py_IncRef(ptr {array})")
        lock = text.value("call ptr @PyEval_SaveThread()")
    passed = ", ".join(f"ptr {x}" for x in [*addresses, "%arena", "%callback"])
    found = text.value(f"call i32 {name}({passed})")
    if is_long:
        text.emit(f"call void @PyEval_RestoreThread(ptr {lock})")
        for array in arrays:
            text.emit(f"call void @Py_DecRef(ptr {array})")
    return found
