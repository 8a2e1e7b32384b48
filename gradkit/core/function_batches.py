"""Functions of the elements of a batch, run on whole batches: of gradkit's own operations, or the user's with rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from gradkit.core.batching import BatchTrace, at_front
from gradkit.core.closures import check_closures, closure_error
from gradkit.core.forward import ForwardTrace
from gradkit.core.layers import followers
from gradkit.core.node import again, capturing, in_progress, new_level, positions
from gradkit.core.reverse import ReverseTrace

__all__ = ["Batch", "Flat", "Function", "RuleBatch"]

Flat = list[Any]
Function = Callable[[Flat], Flat]


class Batch:
    """Runs a function of the elements of a batch, which closes over nothing, on whole arrays above all other traces.

    Attributes
    ----------
    batched : list of bool
        Which of the results have the batch, as their first axis; the others are the same for every element.
    kept : list of bool
        Which of a forward rule's residuals do.
    """

    def __init__(self, trace: BatchTrace) -> None:
        self.trace = trace
        self.batched: list[bool] = []
        self.kept: list[bool] = []

    def in_progress(self, flat: Flat) -> AbstractContextManager[None]:
        """Let the batch be in progress inside a ``with`` block, in which the function runs on these arguments."""
        return self.trace.lifted()

    def check(self, outs: Flat) -> Flat:
        """Return the function's results."""
        return outs

    def run_where(self, function: Function, flat: Flat, axes: Sequence[int | None], batched: Sequence[bool]) -> Flat:
        """Return the results with the batch as their first axis where `batched` says so, the others as they are."""
        outs, found = self.run_as_found(function, flat, axes)
        return [self.whole(o, has or not b) for o, has, b in zip(outs, found, batched, strict=True)]

    def run_as_found(self, function: Function, flat: Flat, axes: Sequence[int | None]) -> tuple[Flat, list[bool]]:
        """Return the results, with the batch as their first axis where they have it, and where that is."""
        trace = self.trace
        with self.in_progress(flat):
            outs = self.check(function([trace.wrap(value, axis) for value, axis in zip(flat, axes, strict=True)]))
            values, found_axes = trace.unwrap(outs)
        found = [axis is not None for axis in found_axes]
        moved = zip(values, found_axes, found, strict=True)
        return [at_front(v, axis, trace.size) if has else v for v, axis, has in moved], found

    def note(self, outs: Flat, found: Sequence[bool], batched: Sequence[bool] | None = None) -> Flat:
        """Note which results have the batch (by default those `found` with it), and repeat those that lack it.

        In a graph, whose rules run later and may find others, all have it.
        """
        self.batched = [True] * len(outs) if capturing() else list(found if batched is None else batched)
        return [self.whole(o, has or not b) for o, has, b in zip(outs, found, self.batched, strict=True)]

    def whole(self, out: Any, batched: bool) -> Any:
        """Return a result with the batch as its first axis, repeated where it had none."""
        return out if batched or out is None else at_front(out, None, self.trace.size)

    def wrap(self, outs: Flat) -> Flat:
        """Return whole results as the function under `vmap` sees them."""
        return [self.trace.wrap(out, 0 if b else None) for out, b in zip(outs, self.batched, strict=True)]


class RuleBatch(Batch):
    """Runs functions and rules of the user's, which may close over something, at the level of their trace."""

    def __init__(self, trace: BatchTrace, kind: str) -> None:
        super().__init__(trace)
        self._kind = kind
        self._positions, self._last = positions(), new_level()

    def in_progress(self, flat: Flat) -> AbstractContextManager[None]:
        """Let the batch be in progress, and all that began after it and before the call, with what that closes over."""
        trace = self.trace
        if in_progress(trace) and any(other.level > trace.level for other in followers(flat) if other is not trace):
            return trace.lifted()  # a rule in a graph, which a loop runs while the batch is in progress still
        return again(trace.number, self._last)

    def check(self, outs: Flat) -> Flat:
        """Return the results, if they depend on nothing that was above the batch when the call was made."""
        if not self.trace.level > self._last:
            return check_closures(self.trace, outs, self._kind)
        start, end = self._positions(self.trace), (self._last, 0)
        above = (other for other in followers(outs) if start < self._positions(other) < end)
        if any(isinstance(other, ForwardTrace | ReverseTrace) for other in above):
            raise closure_error(self._kind)
        return outs
