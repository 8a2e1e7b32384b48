"""Sums over processes in a fixed order.

A sum is two movements: each process gets its part of everybody's array, adds the parts in the order of the processes,
and sends the sum of its part to all. So every bit is the same in all processes and in each run of as many, and a
process sends 2 (n - 1) / n of the array, which is the least that a sum over n can do with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradkit.backend import Backend
from gradkit.backend.transport import Arriving, Transport

__all__ = ["SMALL", "OrderedSum", "sum_of_all"]

SMALL = 4096
"""Bytes up to which everybody sends everything to all, and each adds for itself: one movement."""

Combine = Callable[[Any], Any]
"""What is done with an array of shape (processes, m) along its first axis."""


class OrderedSum:
    """The sum (or another combination) of a flat array over the processes, in progress.

    Parameters
    ----------
    values : raw array, shape (m,)
        This process's.
    backend : Backend
        Whose array it is.
    transport : Transport
        What it travels by.
    count : int
        How many processes there are.
    call : str
        Whose it is, for messages.
    combine : callable, optional
        By default the sum.
    small : int
        Bytes up to which one movement does. In a lane where sums overlap it is 0: their second movements have to begin
        in one order, and the first movement of each says when.
    """

    def __init__(
        self,
        values: Any,
        backend: Backend,
        transport: Transport,
        count: int,
        call: str,
        combine: Combine | None = None,
        small: int = SMALL,
    ) -> None:
        self._backend = backend
        self._transport = transport
        self._call = call
        self._combine = combine or sum_of_all(backend)
        self._size = values.shape[0]
        self._exchanged: Arriving | None = None
        self._collected: Arriving | None = None
        self._whole: Any = None
        xp = backend.xp
        if self._size * _itemsize(backend, values) <= small:
            self._is_small = True
            self._collected = transport.collect(values, call)
            return
        self._is_small = False
        part = -(-self._size // count)
        missing = part * count - self._size
        if missing:
            zeros = xp.zeros((missing,), dtype=values.dtype, device=backend.device_of(values))
            values = xp.concat([values, zeros])
        self._exchanged = transport.exchange(xp.reshape(values, (count, part)), call)

    def exchanged(self) -> bool:
        """Return whether the parts of all have arrived; the second movement can begin then."""
        return self._exchanged is None or self._exchanged.done()

    def collect(self) -> None:
        """Begin the second movement, once `exchanged`."""
        if self._collected is None:
            assert self._exchanged is not None
            with self._transport.apart():
                self._collected = self._transport.collect(self._combine(self._exchanged.result()), self._call)

    def result(self) -> Any:
        """Wait for the sum."""
        if self._whole is None:
            self.collect()
            assert self._collected is not None
            found = self._collected.result()
            whole = self._combine(found) if self._is_small else self._backend.xp.reshape(found, (-1,))[: self._size]
            self._whole = whole
        return self._whole


def sum_of_all(backend: Backend) -> Combine:
    """Return the sum along the first axis, added in its order."""
    xp = backend.xp

    def added(values: Any) -> Any:
        total = values[0, ...]
        for i in range(1, values.shape[0]):
            total = total + values[i, ...]
        return xp.asarray(total)

    return added


def _itemsize(backend: Backend, values: Any) -> int:
    return backend.dtype_of(values).itemsize
