"""Which Array is a part of which: in NumPy they share memory, so that assigning to one changes the other.

For code that may assign to Arrays (`may_assign`), and for no other, it is noted of what an array is a
part: by slices, as all of it in another shape or order, or as real parts. `in_place.py` reads it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from sys import _getframe
from threading import RLock
from types import FrameType
from typing import Any, NamedTuple, ParamSpec, TypeVar
from weakref import ref

from gradkit.callers import ENTRANCE, LIBRARY, OURS, USER, whose
from gradkit.config import config, items
from gradkit.core import Array
from gradkit.core.array import place_of_array, renewed, wrap

__all__ = [
    "Memory", "Place", "become", "is_asked", "may_assign", "note", "note_reshaped", "place_of", "selection",
]  # fmt: skip

P = ParamSpec("P")
T = TypeVar("T")

Read = Callable[[Array], Array]
Write = Callable[[Array, Array], Array]


changing = RLock()
"""Held while Arrays take new values, and while it is noted of what they are parts; nothing is computed meanwhile."""


def _unlocked() -> None:
    """Give a child process a lock of its own: no thread that could hold this one lives there."""
    global changing
    changing = RLock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_unlocked)


def is_as_before(array: Array, before: Array) -> bool:
    """Return whether an Array has still the value and the history that it had."""
    return array._value is before._value and array._node is before._node


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

    def change(self, before: Array, new: Array) -> bool:
        """Let the whole be another one of its shape and dtype, and all that is a part of it.

        Returns False, and changes nothing, where another thread has changed the whole since it was `before`.
        """
        owner = self._owner()
        changed = [(part, part._place.read_from(new)) for part in self.alive() if part is not owner]
        with changing:
            if not is_as_before(self.whole(), before):
                return False
            self._whole = renewed(new)
            if owner is not None:
                changed.append((owner, new))
            for part, seen in changed:
                part._value, part._node = seen._value, seen._node
        return True

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

    def _on_the_way(self, whole: Array) -> list[Array]:
        arrays = [whole]
        for read, _ in self.way:
            arrays.append(read(arrays[-1]))
        return arrays

    def read_from(self, whole: Array) -> Array:
        """Return what is there in a whole."""
        return self._on_the_way(whole)[-1]

    def write(self, before: Array, new: Array) -> bool:
        """Put something else there in the place of `before`; False where another thread was faster."""
        wholes = self._on_the_way(self.memory.whole() if self.way else before)
        for whole, (_, write) in zip(wholes[-2::-1], self.way[::-1], strict=True):
            new = write(whole, new)
        return self.memory.change(wholes[0], new)


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
    with changing:
        place = place_of(whole)
        if place is None:
            place = Place(Memory(whole), ())
            whole._place = ref(place.memory)
        part._place = Place(place.memory, (*place.way, (read, write)))
        place.memory.add(part)


def become(array: Array, change: Callable[[Array], Array]) -> None:
    """Let an Array be what a function makes of it, of its shape and dtype, and change those that share its memory.

    The function is called again where another thread has changed the memory in the meantime: as with NumPy's arrays,
    threads may assign to different parts of one at the same time.
    """
    is_done = False
    while not is_done:
        place, before = place_of(array), renewed(array)
        new = change(before)
        if place is not None:
            is_done = place.write(before, new)
            continue
        with changing:
            is_done = place_of(array) is None and is_as_before(array, before)
            if is_done:
                array._value, array._node = new._value, new._node


def note_reshaped(part: Array, whole: Array) -> None:
    """Keep that an Array is all of another one in another shape."""
    shape, before = part.shape, whole.shape
    note(part, whole, lambda x: x.reshape(shape), lambda _, new: new.reshape(before))


def is_asked(frame: FrameType) -> bool:
    """Return whether what a frame's code takes of an array is to be noted: it may assign, and is not gradkit's own."""
    by = whose[frame.f_globals.get("__name__", "")]
    return bool(by or items.on) and by is not OURS and may_assign(frame)


def selection(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that returns elements of its first argument, each of them once: an Array, or several."""

    @functools.wraps(function)
    def selecting(*args: P.args, **kwargs: P.kwargs) -> T:
        result = function(*args, **kwargs)
        if args and type(args[0]) is Array and is_asked(_getframe(1)):
            _note_selections(function, result, args, kwargs)
        return result

    return selecting


def _note_selections(function: Callable[..., Any], result: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    whole, *rest = args
    if isinstance(result, Array):
        _note_selected(result, whole, lambda x: function(x, *rest, **kwargs))
        return

    def ith(i: int) -> Read:
        return lambda x: function(x, *rest, **kwargs)[i]

    for i, part in enumerate(result):
        _note_selected(part, whole, ith(i))


def _note_selected(part: Array, whole: Array, read: Read) -> None:
    def write(whole: Array, new: Array) -> Array:
        # What is read of the elements' numbers says where each goes.
        backend, device = place_of_array(whole)
        numbers = wrap(backend.xp.arange(whole.size, device=device)).reshape(whole.shape)
        written = whole.reshape(-1).at[read(numbers).reshape(-1)].set(new.reshape(-1))
        return written.reshape(whole.shape)  # type: ignore[no-any-return]

    note(part, whole, read, write)
