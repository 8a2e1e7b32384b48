"""Arrays that were changed in place, and the backward passes that must not read them.

``p.data += ...`` asks for the raw array, changes it, and assigns the same object: so the assignment knows that memory
was changed, and notes it with a number from the count that nodes take theirs from. A node that is older than the latest
change, and keeps an array in memory that was changed since, would give a derivative at neither the old nor the new
values. The pass compares two numbers for each node; it looks for shared memory where a node is older, so a loop that
changes its parameters between two steps never gets there.

What changes memory without an assignment (``p.data[0] = 5.0``, ``out=p.data``, a NumPy array that was wrapped and is
changed) cannot be seen so. The setting ``gradkit_debug_changes`` finds that too, by checksums of what nodes keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gradkit.backend import backend_of
from gradkit.config import config
from gradkit.core.array import Array, innermost
from gradkit.core.node import Node, changes
from gradkit.core.printing import describe
from gradkit.core.stand_in import STAND_INS

__all__ = ["compare_checksums", "refuse_changed"]


def refuse_changed(node: Node, saved: Sequence[Any]) -> None:
    """Raise RuntimeError if what a node keeps was changed since it was recorded."""
    kept = list(_raw_values(saved))
    checked = isinstance(saved, Checked) and config.gradkit_debug_changes
    if isinstance(saved, Checked) and checked:
        # Then it is known whether anything differs: `x.data = x.data` changes nothing.
        kept = [value for value, before in zip(kept, saved.checksums, strict=True) if checksum(value) != before]
    for reference, number in list(changes.arrays.values()):
        if number > node.sequence and (changed := reference()) is not None:
            backend = backend_of(changed)
            for value in kept:
                if backend is not None and backend_of(value) is backend and backend.shares_memory(value, changed):
                    raise _error(node, value, "by x.data += ... or the like")
    if checked and kept:
        raise _error(node, kept[0], "as its checksum tells (gradkit_debug_changes)")


def checksum(value: Any) -> int:
    """Return a number that tells an array's bytes from others."""
    import zlib  # late: a setting alone needs it

    backend = backend_of(value)
    assert backend is not None
    return zlib.crc32(backend.to_host(value).tobytes())


def _raw_values(saved: Any) -> Iterator[Any]:
    for part in saved:
        if type(part) in (tuple, list):
            yield from _raw_values(part)
        else:
            value = innermost(part) if type(part) is Array else part
            if type(value) not in STAND_INS and backend_of(value) is not None:
                yield value


def _error(node: Node, value: Any, how: str) -> RuntimeError:
    return RuntimeError(
        f"one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"{describe(value)}, which the derivative of {node.primitive.name} reads, was changed after that operation was "
        f"recorded, {how}. Call backward() first and change the data then; or give the array new memory, which leaves "
        f"what was recorded as it is: x.data = x.data + ..."
    )


class Checked(list[Any]):
    """What a node keeps, with the checksum of each raw array in it."""

    def __init__(self, saved: Sequence[Any]) -> None:
        super().__init__(saved)
        self.checksums = [checksum(value) for value in _raw_values(saved)]


def _with_checksums(init: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Node, *args: Any) -> None:
        init(self, *args)
        if config.gradkit_debug_changes and self.saved:
            self.saved = Checked(self.saved)

    return __init__


_INIT = Node.__init__


def compare_checksums(on: bool) -> None:
    """Let new nodes have checksums of what they keep, which the pass compares, or no longer."""
    setattr(Node, "__init__", _with_checksums(_INIT) if on else _INIT)  # noqa: B010 - mypy knows no methods that change
    numbers = [number for _, number in list(changes.arrays.values())]
    changes.latest = float("inf") if on else max(numbers, default=-1)


config.listen("gradkit_debug_changes", compare_checksums)
