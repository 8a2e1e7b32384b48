"""A plan that runs as a list of NumPy's calls."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from gradkit.backend.plan import Box, Buffer, Plan
from gradkit_numpy.silence import SILENCE
from gradkit_numpy.ufuncs.plans import plan_function
from gradkit_numpy.ufuncs.text import Texts

__all__ = ["Program"]


class Program:
    """A plan as a Python function, with memory for each call that is in progress.

    Attributes
    ----------
    plan : Plan
        What it does.
    text : str
        That in Python.
    """

    def __init__(self, plan: Plan, box: Box) -> None:
        self.plan = plan
        self._open = box.open
        self._dtypes = [np.dtype(buffer.dtype) for buffer in plan.arguments]
        self._results = [(buffer.shape, np.dtype(buffer.dtype)) for buffer in plan.results]
        taken = [plan.memory.get(buffer) for buffer in plan.results]
        self._taken = [plan.arguments.index(x) if isinstance(x, Buffer) else None for x in taken]
        texts = Texts()
        self._name = plan_function(texts, plan)
        self.text = texts.text
        self._free: deque[Any] = deque()
        """Functions that nobody runs now. Each has memory of its own, so there are as many as calls at one time."""
        self._make = texts.maker()

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """Run it on boxes of arrays, and return arrays."""
        given = [
            x
            if type(x) is np.ndarray and (x.dtype is dtype or x.dtype == dtype) and x.flags.c_contiguous
            else np.require(x, dtype, ("C", "A"))
            for x, dtype in zip(map(self._open, arguments), self._dtypes, strict=True)
        ]
        results = [
            np.empty(shape, dtype) if taken is None else given[taken]
            for (shape, dtype), taken in zip(self._results, self._taken, strict=True)
        ]
        try:
            run = self._free.pop()
        except IndexError:
            run = self._make()[self._name]
        begin, end = SILENCE
        before = begin()
        try:
            run(*given, *results)
        finally:
            end(before)
            self._free.append(run)
        return results

    def if_it_fits(self, arguments: list[Any]) -> list[Any] | None:
        """Return None: nothing is known without asking each argument."""
        return None
