"""A plan that runs as a list of NumPy's calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradkit.backend.lists import ListedProgram, Texts
from gradkit.backend.plan import Buffer, Plan
from gradkit.backend.printers import Box
from gradkit_numpy.given import KEPT, KEPT_CALLS, Recycled, fitting
from gradkit_numpy.silence import SILENCE
from gradkit_numpy.ufuncs.library import NumpyLibrary

__all__ = ["Program"]

WORTH_KEEPING = 1 << 14
"""Bytes of a result from which on it is cheaper to look whether an old one is free than to make a new one."""


class Program(ListedProgram):
    """A plan as a Python function of NumPy's arrays."""

    around = SILENCE

    def __init__(self, plan: Plan, box: Box) -> None:
        super().__init__(plan, box, NumpyLibrary())

    def fitting(self, value: Any, buffer: Buffer, is_written: bool) -> Any:
        """Return an argument's array row by row."""
        return fitting(value, buffer.shape, np.dtype(buffer.dtype), is_written)

    def condition(self, texts: Texts, array: str, buffer: Buffer, is_written: bool) -> str:
        """Return whether it is a NumPy array of the shape and dtype, row by row in memory."""
        flag = "carray" if is_written else "c_contiguous"
        return (
            f"type({array}) is ndarray and {array}.dtype is {texts.dtype(buffer.dtype)} "
            f"and {array}.shape == {buffer.shape} and {array}.flags.{flag}"
        )

    def made(self, texts: Texts, buffer: Buffer) -> str:
        """Return what makes the array of a result."""
        if buffer.size < WORTH_KEEPING or sum(result.size for result in self.plan.results) > KEPT:
            return texts.library.empty(texts, buffer.shape, buffer.dtype)
        texts.size += KEPT_CALLS * buffer.size
        recycled = texts.name("old")
        dtype = texts.dtype(buffer.dtype)
        texts.lines.append(f"{recycled} = {texts.name('t', Recycled)}({buffer.shape}, {dtype})")
        return f"{recycled}()"
