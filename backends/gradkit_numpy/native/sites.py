"""Where a routine is written: the function of LLVM in the making, and the addresses of what it reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradkit.backend.plan import Call, Layout
from gradkit_numpy.native.text import Text

__all__ = ["Site", "in_words"]


@dataclass
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
    used : int
        How many bytes of that memory are taken.
    """

    text: Text
    call: Call
    operands: Sequence[str]
    results: Sequence[str]
    scratch: str
    constant: Callable[[str, str], str]
    used: int = 0

    def memory(self, size: int) -> str:
        """Return the address of so many bytes of the memory that the call has asked for."""
        address = self.text.pointer(self.scratch, str(self.used), "i8")
        self.used += in_words(size)
        assert self.call.scratch is not None
        assert self.used <= self.call.scratch.size
        return address

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


def in_words(size: int) -> int:
    """Return bytes in whole words, at which any number may begin."""
    return -(-size // 8) * 8
