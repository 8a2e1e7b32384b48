"""Where a routine is written: the function of LLVM in the making, and the addresses of what it reads and writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradkit.backend.plan import Call, Layout
from gradkit_numpy.native.text import Text

__all__ = ["Site"]


@dataclass(frozen=True)
class Site:
    """The place of one call.

    Attributes
    ----------
    text : Text
        The body of the function.
    call : Call
        What it does.
    operands, results : sequence of str
        The addresses of the buffers.
    scratch : str
        That of the memory it has asked for.
    constant : callable
        ``constant(type, value)`` names a number in memory, as Fortran takes them.
    """

    text: Text
    call: Call
    operands: Sequence[str]
    results: Sequence[str]
    scratch: str
    constant: Callable[[str, str], str]

    def each_matrix(self, body: Callable[[Sequence[str], Sequence[str]], None], axes: Sequence[int]) -> None:
        """Run a body for each element of a batch, with the positions in the operands' and the results' buffers.

        `axes` says how many axes of each of the results are its own, not the batch's; operands have two, and their
        leading axes are broadcast.
        """
        layouts = [*self.call.operands, *(buffer.whole for buffer in self.call.results)]
        own = [*([2] * len(self.call.operands)), *axes]
        sizes = layouts[-1].shape[: len(layouts[-1].shape) - own[-1]]
        strides = [_of_batch(layout, len(sizes), count) for layout, count in zip(layouts, own, strict=True)]
        number = len(self.call.operands)
        self.text.batches(
            sizes,
            strides,
            [str(layout.offset) for layout in layouts],
            lambda positions: body(positions[:number], positions[number:]),
        )


def _of_batch(layout: Layout, count: int, own: int) -> list[int]:
    """Return the strides along the axes of a batch, 0 where an array is broadcast."""
    lead = len(layout.shape) - own
    pairs = zip(layout.shape[:lead], layout.strides[:lead], strict=True)
    return [0] * (count - lead) + [0 if size == 1 else stride for size, stride in pairs]


def batch_size(call: Call, own: int) -> int:
    """Return how many elements the batch of a call has, whose first result has so many axes of its own."""
    shape = call.results[0].shape
    return math.prod(shape[: len(shape) - own])
