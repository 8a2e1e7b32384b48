"""Which Array is a part of which: in NumPy they share memory, so that assigning to one changes the other.

For code that may assign to Arrays (`may_assign`), and for no other, it is noted of what an array is a
part: by slices, or as all of it in another shape or order. `in_place.py` reads it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from sys import _getframe
from types import FrameType
from typing import NamedTuple, ParamSpec
from weakref import ref

from gradkit.config import ENTRANCE, LIBRARY, OURS, USER, config, items, whose
from gradkit.core import Array
from gradkit.core.array import backend_of_array, renewed, wrap

__all__ = [
    "Memory", "Place", "in_other_order", "in_other_shape", "may_assign", "note", "place_of", "reversed_part",
]  # fmt: skip

P = ParamSpec("P")

Read = Callable[[Array], Array]
Write = Callable[[Array, Array], Array]


class Memory:
    """What NumPy's arrays of one memory share: the whole, and who is it or a part of it."""

    __slots__ = ("__weakref__", "_limit", "_owner", "_whole", "members")

    def __init__(self, owner: Array) -> None:
        self._owner = ref(owner)
        self._whole = renewed(owner)
        self._limit = 8
        self.members: list[ref[Array]] = [self._owner]

    def whole(self) -> Array:
        """Return the whole as it is now; it outlives its owner, as long as there are parts."""
        owner = self._owner()
        if owner is not None:
            self._whole = renewed(owner)
        return self._whole

    def change(self, new: Array) -> None:
        """Let the whole be another one of its shape and dtype, and all that is a part of it."""
        owner = self._owner()
        if owner is not None:
            owner._value, owner._node = new._value, new._node
        self._whole = renewed(new)
        for member in self.alive():
            if member is not owner:
                seen = member._place.read()
                member._value, member._node = seen._value, seen._node

    def alive(self) -> list[Array]:
        """Return the Arrays that somebody holds."""
        return [member for found in self.members if (member := found()) is not None]

    def add(self, part: Array) -> None:
        """Keep that an Array is a part of the whole."""
        self.members.append(ref(part))
        if len(self.members) > self._limit:
            self.members = [found for found in self.members if found() is not None or found is self._owner]
            self._limit = 2 * len(self.members) + 8


class Place(NamedTuple):
    """Where an Array is in a memory: how to get there from the whole, and from there to the whole again."""

    memory: Memory
    way: tuple[tuple[Read, Write], ...]

    def _on_the_way(self) -> list[Array]:
        arrays = [self.memory.whole()]
        for read, _ in self.way:
            arrays.append(read(arrays[-1]))
        return arrays

    def read(self) -> Array:
        """Return what is there now."""
        return self._on_the_way()[-1]

    def write(self, new: Array) -> None:
        """Put something else there."""
        wholes = self._on_the_way()
        for whole, (_, write) in zip(wholes[-2::-1], self.way[::-1], strict=True):
            new = write(whole, new)
        self.memory.change(new)


def place_of(array: Array) -> Place | None:
    """Return where an Array is among those that share a memory; None where it shares it with nobody."""
    place: Place | ref[Memory] | None = getattr(array, "_place", None)
    if not isinstance(place, ref):
        return place
    memory = place()  # the whole's own is there as long as it has parts
    return None if memory is None else Place(memory, ())


def may_assign(frame: FrameType | None) -> bool:
    """Return whether the code that is running in a frame may assign to Arrays; NumPy's and `ENTRANCES` are callers'."""
    found = ENTRANCE
    while frame is not None and (found := whose[frame.f_globals.get("__name__", "")]) is ENTRANCE:
        frame = frame.f_back
    return found is LIBRARY or (found is USER and config.gradkit_item_assignment)


def note(part: Array, whole: Array, read: Read, write: Write) -> None:
    """Keep of what an Array is a part. What has no axes is a number of its own, in NumPy as well."""
    if not part._value.shape or part is whole:
        return
    place = place_of(whole)
    if place is None:
        place = Place(Memory(whole), ())
        whole._place = ref(place.memory)
    part._place = Place(place.memory, (*place.way, (read, write)))
    place.memory.add(part)


def _noting(function: Callable[P, Array], write: Callable[[Read, Array, Array], Array]) -> Callable[P, Array]:
    @functools.wraps(function)
    def noting(*args: P.args, **kwargs: P.kwargs) -> Array:
        result = function(*args, **kwargs)
        by = whose[_getframe(1).f_globals.get("__name__", "")]
        if (by or items.on) and by is not OURS and args and type(args[0]) is Array and may_assign(_getframe(1)):
            rest = args[1:]

            def read(whole: Array) -> Array:
                return function(whole, *rest, **kwargs)  # type: ignore[arg-type]

            note(result, args[0], read, lambda whole, part: write(read, whole, part))
        return result

    return noting


def in_other_shape(function: Callable[P, Array]) -> Callable[P, Array]:
    """Decorate a function that returns the elements of its first argument in another shape."""
    return _noting(function, lambda read, whole, part: part.reshape(whole.shape))


def reversed_part(function: Callable[P, Array]) -> Callable[P, Array]:
    """Decorate a function that undoes itself."""
    return _noting(function, lambda read, whole, part: read(part))


def in_other_order(function: Callable[P, Array]) -> Callable[P, Array]:
    """Decorate a function that returns its first argument with the axes in another order."""

    def write(read: Read, whole: Array, part: Array) -> Array:
        # No two axes of this one have the same size, so its shape tells where each goes.
        sizes = read(wrap(backend_of_array(whole).xp.zeros(tuple(range(2, 2 + whole.ndim))))).shape
        permuted: Array = part.transpose([sizes.index(2 + axis) for axis in range(whole.ndim)])
        return permuted

    return _noting(function, write)
