"""A plan that runs as a list of a library's calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from gradkit.backend.kept_memory import note_kept
from gradkit.backend.lists.library import Library
from gradkit.backend.lists.plans import plan_function
from gradkit.backend.lists.text import Texts
from gradkit.backend.plan import Buffer, Plan
from gradkit.backend.printers import Box

__all__ = ["ListedProgram"]


class ListedProgram(ABC):
    """A plan as a Python function, with memory for each call that is in progress.

    Parameters
    ----------
    plan : Plan
        What it does.
    box : Box
        What its arguments come in.
    library : Library
        How calls are written.

    Attributes
    ----------
    text : str
        The plan in Python.
    around : tuple of callable
        What is called before the calls, and what after them, with what that gave.
    """

    code_size = 0
    around: ClassVar[tuple[Callable[[], Any], Callable[[Any], None]]]

    def __init__(self, plan: Plan, box: Box, library: Library) -> None:
        self.plan, self._box = plan, box
        self._written = plan.written
        texts = Texts(library)
        self._name = self._entry(texts, plan_function(texts, plan))
        self.text = texts.text
        self._free: deque[Any] = deque()
        """Functions that nobody runs now. Each has memory of its own, so there are as many as calls at one time."""
        self._make: Callable[[], dict[str, Any]] = texts.maker()
        self._size = texts.size

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """Run it on boxes of arrays, and return arrays."""
        given = [
            self.fitting(self._box.open(box), buffer, buffer in self._written)
            for box, buffer in zip(arguments, self.plan.arguments, strict=True)
        ]
        found = self.if_it_fits(list(map(self._box.close, given)))
        assert found is not None
        return list(map(self._box.open, found))

    def if_it_fits(self, arguments: list[Any]) -> list[Any] | None:
        """Run it if the arguments are what they should be; else nothing has run."""
        free = self.free_functions()
        try:
            run = free.pop()
        except IndexError:
            note_kept(self, self._size)
            run = self.new_functions()[self._name]
        try:
            return run(arguments)  # type: ignore[no-any-return]
        finally:
            free.append(run)

    def new_functions(self) -> dict[str, Any]:
        """Return the functions of the text, by name, with memory of their own."""
        return self._make()

    def free_functions(self) -> deque[Any]:
        """Return where functions are whose memory nobody uses now."""
        return self._free

    def forget(self) -> None:
        """Let go of the memory of calls that have ended."""
        self._free.clear()

    @abstractmethod
    def fitting(self, value: Any, buffer: Buffer, is_written: bool) -> Any:
        """Return an argument's array row by row, of the buffer's dtype, in memory that may be read, or written."""

    @abstractmethod
    def condition(self, texts: Texts, array: str, buffer: Buffer, is_written: bool) -> str:
        """Return what is asked of an array before it is taken as it is, an expression."""

    @abstractmethod
    def made(self, texts: Texts, buffer: Buffer) -> str:
        """Return what makes the array of a result, which belongs to whoever calls."""

    def _entry(self, texts: Texts, plan: str) -> str:
        """Write the function that takes boxes and gives boxes, or None, and return its name."""
        name, boxes = texts.name("enter"), [f"b{i}" for i in range(len(self.plan.arguments))]
        arguments = [f"a{i}" for i in range(len(self.plan.arguments))]
        begin, end, close = (texts.name("f", value) for value in (*self.around, self._box.close))
        kind, (value, node) = texts.name("t", self._box.kind), self._box.attributes
        lines = [f"{', '.join(boxes)}, = boxes"] if boxes else []
        for box, argument, buffer in zip(boxes, arguments, self.plan.arguments, strict=True):
            is_box = f"type({box}) is {kind} and {box}.{node} is None"
            fits = self.condition(texts, argument, buffer, buffer in self._written)
            lines += [f"if not ({is_box} and ({argument} := {box}.{value}) is not None and {fits}):", "    return None"]
        results = []
        for i, buffer in enumerate(self.plan.results):
            place = self.plan.memory.get(buffer)
            if isinstance(place, Buffer):
                results.append(arguments[self.plan.arguments.index(place)])
            else:
                results.append(f"r{i}")
                lines.append(f"r{i} = {self.made(texts, buffer)}")
        written = [i for i, buffer in enumerate(self.plan.arguments) if buffer in self._written]
        called = texts.library.called(texts, plan, len(arguments), written)
        lines += [
            f"before = {begin}()",
            "try:",
            f"    {called}({', '.join([*arguments, *results])})",
            "finally:",
            f"    {end}(before)",
            f"return [{', '.join(f'{close}({result})' for result in results)}]",
        ]
        texts.lines.extend([f"def {name}(boxes):", *("    " + line for line in lines)])
        return name
