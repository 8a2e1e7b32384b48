"""A plan that runs as a list of NumPy's calls."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from gradkit.backend.plan import Box, Buffer, Plan
from gradkit_numpy.given import KEPT, KEPT_CALLS, Recycled, fitting
from gradkit_numpy.kept_memory import note_kept
from gradkit_numpy.silence import SILENCE
from gradkit_numpy.ufuncs.plans import plan_function
from gradkit_numpy.ufuncs.text import Texts

__all__ = ["Program"]

WORTH_KEEPING = 1 << 14
"""Bytes of a result from which on it is cheaper to look whether an old one is free than to make a new one."""


class Program:
    """A plan as a Python function, with memory for each call that is in progress.

    Attributes
    ----------
    plan : Plan
        What it does.
    text : str
        That in Python.
    """

    code_size = 0

    def __init__(self, plan: Plan, box: Box) -> None:
        self.plan, self._box = plan, box
        self._written = {buffer for buffer in plan.memory.values() if isinstance(buffer, Buffer)}
        texts = Texts()
        self._name = self._entry(texts, plan_function(texts, plan))
        self.text = texts.text
        self._free: deque[Any] = deque()
        """Functions that nobody runs now. Each has memory of its own, so there are as many as calls at one time."""
        self._make = texts.maker()
        self._size = texts.size

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """Run it on boxes of arrays, and return arrays."""
        given = [
            fitting(self._box.open(box), buffer.shape, np.dtype(buffer.dtype), buffer in self._written)
            for box, buffer in zip(arguments, self.plan.arguments, strict=True)
        ]
        found = self.if_it_fits(list(map(self._box.close, given)))
        assert found is not None
        return list(map(self._box.open, found))

    def if_it_fits(self, arguments: list[Any]) -> list[Any] | None:
        """Run it if the arguments are what they should be; else nothing has run."""
        try:
            run = self._free.pop()
        except IndexError:
            note_kept(self, self._size)
            run = self._make()[self._name]
        try:
            return run(arguments)  # type: ignore[no-any-return]
        finally:
            self._free.append(run)

    def forget(self) -> None:
        """Let go of the memory of calls that have ended."""
        self._free.clear()

    def _entry(self, texts: Texts, plan: str) -> str:
        """Write the function that takes boxes and gives boxes, or None, and return its name."""
        name, boxes = texts.name("enter"), [f"b{i}" for i in range(len(self.plan.arguments))]
        arguments = [f"a{i}" for i in range(len(self.plan.arguments))]
        begin, end, close = (
            texts.name(kind, value) for kind, value in zip(("f", "f", "f"), (*SILENCE, self._box.close), strict=True)
        )
        lines = [f"{', '.join(boxes)}, = boxes"] if boxes else []
        for box, argument, buffer in zip(boxes, arguments, self.plan.arguments, strict=True):
            lines += [f"if not ({self._condition(texts, box, argument, buffer)}):", "    return None"]
        results = []
        for i, buffer in enumerate(self.plan.results):
            place = self.plan.memory.get(buffer)
            if isinstance(place, Buffer):
                results.append(arguments[self.plan.arguments.index(place)])
            else:
                results.append(f"r{i}")
                lines.append(f"r{i} = {self._made(texts, buffer)}")
        lines += [
            f"before = {begin}()",
            "try:",
            f"    {plan}({', '.join([*arguments, *results])})",
            "finally:",
            f"    {end}(before)",
            f"return [{', '.join(f'{close}({result})' for result in results)}]",
        ]
        texts.lines.extend([f"def {name}(boxes):", *("    " + line for line in lines)])
        return name

    def _condition(self, texts: Texts, box: str, argument: str, buffer: Buffer) -> str:
        """Return what a box is asked before its array is taken as an argument."""
        value, node = self._box.attributes
        kind, dtype = texts.name("t", self._box.kind), texts.name("d", np.dtype(buffer.dtype))
        flag = "carray" if buffer in self._written else "c_contiguous"
        return (
            f"type({box}) is {kind} and {box}.{node} is None and type({argument} := {box}.{value}) is ndarray "
            f"and {argument}.dtype is {dtype} and {argument}.shape == {buffer.shape} and {argument}.flags.{flag}"
        )

    def _made(self, texts: Texts, buffer: Buffer) -> str:
        """Return what makes the array of a result."""
        dtype = texts.name("d", np.dtype(buffer.dtype))
        if buffer.size < WORTH_KEEPING or sum(result.size for result in self.plan.results) > KEPT:
            return f"{texts.name('f', np.empty)}({buffer.shape}, {dtype})"
        texts.size += KEPT_CALLS * buffer.size
        recycled = texts.name("old")
        texts.lines.append(f"{recycled} = {texts.name('t', Recycled)}({buffer.shape}, {dtype})")
        return f"{recycled}()"
