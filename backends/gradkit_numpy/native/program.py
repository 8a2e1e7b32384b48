"""A plan that runs as native code on NumPy arrays."""

from __future__ import annotations

import ctypes
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradkit.backend import NARROW, CompileError
from gradkit.backend.kept_memory import note_kept
from gradkit.backend.printers import ALIGNMENT, Box, CompiledPlan
from gradkit_numpy.given import KEPT, KEPT_CALLS, fitting, is_free, new_array
from gradkit_numpy.native import records
from gradkit_numpy.native.machine import Code, compiled, linked, why_unusable
from gradkit_numpy.native.objects import dtype_symbol, function_at, layout_is_known, symbols
from gradkit_numpy.silence import SILENCE

if TYPE_CHECKING:
    from gradkit.backend.plan import Call, Layout, Plan

__all__ = ["NativePrinter", "Program"]

BY_ADDRESSES = ctypes.PYFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.py_object)
"""What a program is where objects have their fields elsewhere."""

NOTHING: Mapping[int, Any] = {}


class NativePrinter:
    """Prints plans as LLVM text."""

    name = "native"

    def why_unusable(self) -> str | None:
        """Say what is missing, if anything."""
        return why_unusable()

    def takes(self, name: str, dtypes: Sequence[str]) -> bool:
        """Return whether an elementwise primitive may stand in a nest, or a product be one of BLAS's or of loops."""
        if name in ("matmul", "product and sum"):
            return dtypes[0] in ("float32", "float64")
        from gradkit_numpy.native import statements  # late: what is on disk is not printed

        return statements.takes(name, dtypes)

    def calls(self, name: str) -> bool:
        """Return whether there is a routine for a primitive; what else has a text becomes loops."""
        from gradkit_numpy.native import routines  # late: as above

        return name in routines.NAMES

    def room(self, call: Call) -> int:
        """Return the bytes that a routine works in."""
        from gradkit_numpy.native import routines  # late: as above

        routine = routines.routine_of(call)
        return 0 if routine is None else routine.room(call)

    def compiled(self, plan: Plan, box: Box) -> Program:
        """Return what runs a plan."""
        from gradkit_numpy.native import printer  # late: as above

        text, calls = printer.printed(plan, box)
        frame = Frame.of(plan)
        return Program(frame, compiled(text, ENTRY, frame.symbols(box)), box, calls)

    def keep(self, facts: bytes, run: CompiledPlan, others: Sequence[Any]) -> None:
        """Keep a program on disk, unless it calls Python."""
        assert isinstance(run, Program)
        if not run.calls_python:
            records.store(facts, (tuple(run.frame), run.code.key, tuple(sorted(run.code.names)), tuple(others)))

    def recalled(self, facts: bytes, box: Box) -> tuple[CompiledPlan, Sequence[Any]] | None:
        """Return a program that is on disk, and what was kept with it."""
        found = records.load(facts)
        if found is None:
            return None
        fields, key, names, others = found
        frame = Frame(*fields)
        try:
            code = linked(key, names, ENTRY, frame.symbols(box))
        except CompileError:  # it is compiled anew, and then what is wrong is said
            return None
        return None if code is None else (Program(frame, code, box), others)


ENTRY = "enter"


class Frame(NamedTuple):
    """What a program takes and gives, and where.

    Attributes
    ----------
    arguments, results : tuple
        Of each array its shape and the name of its dtype.
    taken : tuple of (int, int)
        The results that have an argument's memory, and which.
    arena : int
        The bytes of temporary arrays.
    """

    arguments: tuple[tuple[tuple[int, ...], str], ...]
    results: tuple[tuple[tuple[int, ...], str], ...]
    taken: tuple[tuple[int, int], ...]
    arena: int

    @classmethod
    def of(cls, plan: Plan) -> Frame:
        """Return that of a plan."""
        arguments, results = (
            tuple((tuple(map(int, buffer.shape)), str(buffer.dtype)) for buffer in buffers)
            for buffers in (plan.arguments, plan.results)
        )
        places = [plan.memory.get(buffer) for buffer in plan.results]
        taken = tuple(
            (i, plan.arguments.index(x)) for i, x in enumerate(places) if x is not None and not isinstance(x, int)
        )
        return cls(arguments, results, taken, int(plan.arena))

    def symbols(self, box: Box) -> dict[str, int]:
        """Return the addresses of the objects of Python that its program asks for."""
        found = symbols(box.kind)
        for dtype in {dtype for _, dtype in (*self.arguments, *self.results)} & NARROW:
            found = found | dtype_symbol(dtype)
        return found


class Program:
    """A compiled plan.

    Results are written into arrays of earlier calls that nobody holds any longer, up to `KEPT` bytes of them.
    """

    def __init__(self, frame: Frame, code: Code, box: Box, calls: Sequence[Call] = ()) -> None:
        self.frame, self.code, self.code_size = frame, code, code.size
        self.calls_python = bool(calls)
        self._box = box
        # It is entered with Python's lock, which long programs give up while they run (`native.interpreter`).
        self._by_objects = layout_is_known() and box.value is not None and box.node is not None
        self._enter: Any = (function_at if self._by_objects else BY_ADDRESSES)(self.code.address)
        self._calls = [as_called(call) for call in calls]
        self._callback = self._call
        self._arguments, self._results = (
            [(shape, np.dtype(dtype)) for shape, dtype in forms] for forms in (frame.arguments, frame.results)
        )
        self._taken = dict(frame.taken)
        self._frame = ctypes.c_void_p * (len(frame.arguments) + len(frame.results))
        self._sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in self._results]
        size = sum(self._sizes)
        self._old: deque[list[Any]] = deque(maxlen=KEPT_CALLS if size <= KEPT else 0)
        self._arenas: list[tuple[int, Any]] = []
        self._kept = frame.arena + (KEPT_CALLS * size if size <= KEPT else 0)
        self._is_noted = False

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """Run it on boxes of arrays, and return arrays."""
        taken = set(self._taken.values())
        given = [
            fitting(self._box.open(box), *form, i in taken)
            for i, (box, form) in enumerate(zip(arguments, self._arguments, strict=True))
        ]
        if not self._by_objects:
            return self._by_their_addresses(given)
        found = self.if_it_fits(list(map(self._box.close, given)))
        assert found is not None
        return list(map(self._box.open, found))

    def if_it_fits(self, arguments: list[Any]) -> list[Any] | None:
        """Run it if the arguments are what they should be, at which native code looks; else nothing has run."""
        if not self._by_objects:
            return None
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = self._new_arena()
        try:
            results = self._old.popleft()
        except IndexError:
            results = self._new_results()
        found = self._enter(arguments, results, arena[0], self._callback)
        if found is False:
            results = self._where_nobody_holds(results)
            found = self._enter(arguments, results, arena[0], self._callback)
        if found is False:  # whoever held one has changed more than its elements
            results = self._new_results()
            found = self._enter(arguments, results, arena[0], self._callback)
        self._arenas.append(arena)
        self._old.append(results)
        return found  # type: ignore[no-any-return]

    def _by_their_addresses(self, arguments: Sequence[np.ndarray[Any, Any]]) -> list[Any]:
        """Run it by the addresses of arrays."""
        results, (arena, _) = self._new_results(), self._new_arena()
        frame = self._frame(
            *(x.ctypes.data for x in arguments),
            *(None if x is None else x.ctypes.data for x in results),
        )
        self._enter(ctypes.addressof(frame), arena, self._callback)
        for i, number in self._taken.items():
            results[i] = arguments[number]
        return results

    def _where_nobody_holds(self, results: list[Any]) -> list[Any]:
        """Return arrays for results: of these those that nobody holds, and new ones.

        While a loop assigns what one call gave, it holds what the call before gave, which is free for the next call but
        one. What is held of a call whose other results are free, such as a loss in a list, is held for longer.
        """
        sizes = {i: size for i, size in enumerate(self._sizes) if results[i] is not None}
        free = {i for i in sizes if is_free(results, i)}
        if 2 * sum(sizes[i] for i in free) < sum(sizes.values()):
            self._old.append(results)
            return self._new_results()
        return self._new_results({i: results[i] for i in free})

    def forget(self) -> None:
        """Let go of what is kept for further calls."""
        self._is_noted = False
        self._old.clear()
        self._arenas.clear()

    def _note(self) -> None:
        if not self._is_noted:
            self._is_noted = True
            note_kept(self, self._kept)

    def _new_results(self, free: Mapping[int, Any] = NOTHING) -> list[Any]:
        """Return arrays for results, new but for those that are given by number."""
        self._note()
        try:
            results: list[Any] = [
                free[i] if i in free else None if i in self._taken else new_array(*form)
                for i, form in enumerate(self._results)
            ]
        except (MemoryError, ValueError) as error:  # a ValueError if no machine could have as much
            raise self._too_large(error) from error
        return results

    def _new_arena(self) -> tuple[int, Any]:
        self._note()
        try:
            memory = np.empty(self.frame.arena + ALIGNMENT, np.uint8)
        except (MemoryError, ValueError) as error:
            raise self._too_large(error) from error
        start = memory.ctypes.data
        return start + -start % ALIGNMENT, memory

    def _too_large(self, error: Exception) -> MemoryError:
        arguments, results = (
            sum(math.prod(shape) * dtype.itemsize for shape, dtype in forms)
            for forms in (self._arguments, self._results)
        )
        return MemoryError(
            f"a compiled program needs {self.frame.arena:,} bytes for temporary arrays and {results:,} for its "
            f"results, beside {arguments:,} of its arguments, and there is not enough memory: {error}. Smaller "
            f"batches, gradkit.checkpoint or donated arguments (jit's donate_argnums) take less."
        )

    def _call(self, number: int, pointers: int) -> None:
        """Run a call in the middle of native code, which gives up if this raises."""
        function, operands, copied, results = self._calls[number]
        table = iter((ctypes.c_void_p * (len(operands) + len(results))).from_address(pointers))
        given = [x(next(table)) if type(x) is View or x is nothing else x for x in operands]
        begin, end = SILENCE
        before = begin()  # as the rest of the program, a kernel says nothing of numbers
        try:
            found = function(*given)
        finally:
            end(before)
        values = found if isinstance(found, tuple) else (found,)
        for i, result in zip(copied, results, strict=True):
            result(next(table))[...] = values[i]


def as_called(call: Call) -> tuple[Any, list[Any], list[int], list[View]]:
    """Return a call's function, what makes its operands, the results that are copied, and what makes their arrays."""
    from gradkit.backend.plan import Layout  # late: what is on disk calls nothing

    operands = [View(x) if isinstance(x, Layout) else x for x in call.operands]
    # They are where they belong, and nobody asks for them.
    for number in (*call.in_place.values(), *call.made_in, *call.made_in.values()):
        operands[number] = nothing
    return call.function, operands, call.copied, [View(call.results[i].whole) for i in call.copied]


def nothing(address: int | None) -> None:
    """Return nothing, where there is an array that nobody asks for."""


class View:
    """What makes the array of a layout of an address; what does not depend on that is worked out once."""

    def __init__(self, layout: Layout) -> None:
        dtype = np.dtype(layout.buffer.dtype)
        strides = tuple(stride * dtype.itemsize for stride in layout.strides)
        self._memory = (ctypes.c_char * max(layout.buffer.size, 1)).from_address
        self._shape, self._dtype = layout.shape, dtype
        self._offset, self._strides = layout.offset * dtype.itemsize, strides

    def __call__(self, address: int | None) -> np.ndarray[Any, Any]:
        """Return the array whose buffer is at an address."""
        memory: Any = self._memory(address or 0)
        return np.ndarray(self._shape, self._dtype, memory, self._offset, self._strides)
