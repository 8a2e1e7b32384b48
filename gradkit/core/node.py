"""What a transform in progress knows about an array: levels, traces, and the nodes of the tape.

A `Node` stands for one array that was computed while a transform (or the lecture's tape, level 0) was watching. It
holds its parents and what its primitive's rule reads. `core.reverse` walks the nodes back.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from gradkit.blocks import BlockValue
from gradkit.errors import UnexpectedTracerError

if TYPE_CHECKING:
    from gradkit.core.array import Array
    from gradkit.core.capture import GraphTrace
    from gradkit.core.graph import HigherOrder
    from gradkit.core.primitive import Primitive

__all__ = [
    "Ended", "Leaf", "Node", "Trace", "again", "branch", "capture", "capturing", "changes", "enable_grad",
    "in_progress", "made_of_one_number", "new_level", "new_sequence", "no_grad", "open_no_grad", "positions",
    "recording",
]  # fmt: skip

new_level = itertools.count(_STEP := 1 << 16, _STEP).__next__
"""Levels have gaps, for traces that stand for one which is there already."""
new_sequence = itertools.count().__next__

open_no_grad: list[None] = []
"""An entry for each `no_grad` that is open in any thread: where there is none, nobody needs to ask `recording`."""
_recording = BlockValue("gradkit_recording", True)
recording = _recording.variable.get
"""Whether the tape records: to be asked as a condition."""


@contextmanager
def no_grad() -> Iterator[None]:
    """Keep the tape from recording inside a ``with`` block, in this thread or task alone.

    The transforms (`grad` and its relatives) are not affected: they record what they are asked to differentiate.

    Examples
    --------
    >>> import gradkit
    >>> x = gradkit.numpy.asarray([1.0, 2.0])
    >>> x.requires_grad = True
    >>> with gradkit.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    open_no_grad.append(None)
    try:
        with _recording.block(False):
            yield
    finally:
        open_no_grad.pop()


@contextmanager
def enable_grad() -> Iterator[None]:
    """Let the tape record again inside a `no_grad` block."""
    with _recording.block(True):
        yield


class Again(NamedTuple):
    """A part of a function that runs again, after the transforms that it ran under have returned.

    Attributes
    ----------
    first, last : int
        Levels of transforms that were in progress when it ran: from the first on, below the last.
    now : int
        Where they are now: above all that are in progress when it runs again, in their old order.
    known : frozenset of int
        The levels that its arguments and results are known to belong to.
    thread : int
        Where it runs again.
    """

    first: int
    last: int
    now: int
    known: frozenset[int]
    thread: int


_again: ContextVar[tuple[Again, ...]] = ContextVar("gradkit_again", default=())
_open_again: list[Again] = []
"""Those of all threads: a thread that the function starts, or a pool that it uses, does not have its context."""


@contextmanager
def again(first: int, last: int, known: frozenset[int] = frozenset()) -> Iterator[None]:
    """Run a part of a function again inside a ``with`` block, in this thread or task and those that it employs.

    Of the transforms that have returned those with levels from `first` on and below `last` are in progress, above all
    others: what is run again may be given arrays of transforms that began in the meantime.
    """
    part = Again(int(first), last, new_level(), known, threading.get_ident())
    token = _again.set((part, *_again.get()))
    _open_again.append(part)
    try:
        yield
    finally:
        _open_again.remove(part)
        _again.reset(token)


class Ended(int):
    """The level of a transform that has returned. Whatever asks for it gets the error, and no path pays for a test.

    Where a part of its function runs again (`again`) it compares as the level that it was.
    """

    def position(self) -> tuple[int, int] | None:
        """Return its position among the levels, or None where it is in progress no longer."""
        return _among(_again.get(), int(self), _open_again)

    def __bool__(self) -> bool:
        return _position(self) is not None

    def __gt__(self, other: int) -> bool:
        return _position(self) > _position(other)

    def __lt__(self, other: int) -> bool:
        return _position(self) < _position(other)


def _among(own: Iterable[Again], level: int, everywhere: Sequence[Again]) -> tuple[int, int] | None:
    """Return a level's position in what runs again: here, or in the thread that must have employed this one."""
    for part in own:
        if part.first <= level < part.last:
            return part.now, level
    if not everywhere:
        return None
    parts = [part for part in list(everywhere) if part.first <= level < part.last]
    if len({part.thread for part in parts}) > 1:
        parts = [part for part in parts if level in part.known]
        if len({part.thread for part in parts}) != 1:
            # A guess could put two transforms in the wrong order, and so give a wrong derivative.
            raise UnexpectedTracerError(
                "Encountered an unexpected tracer: functions run again in several threads at once (checkpoint, in the "
                "backward pass), and which of them employs this thread cannot be told. Let the function run its "
                "workers in its own context: contextvars.copy_context().run(work, ...), one copy for each call."
            )
    return (parts[-1].now, level) if parts else None


def positions() -> Callable[[Trace], tuple[int, int]]:
    """Return the function that gives the position that a transform has now among the others, for a comparison later."""
    own, everywhere = _again.get(), tuple(_open_again)

    def position(trace: Trace) -> tuple[int, int]:
        has_returned = isinstance(trace.level, Ended)
        return (_among(own, trace.number, everywhere) if has_returned else None) or (trace.number, 0)

    return position


def _position(level: int) -> tuple[int, int]:
    if not isinstance(level, Ended):
        return level, 0
    found = level.position()
    if found is None:
        raise UnexpectedTracerError(
            "Encountered an unexpected tracer: an array from inside a function that a transform (grad, vjp, vmap, ...) "
            "runs was used after the transform had finished. It leaked out by a side effect. Return it from the "
            "function (with has_aux=True where the transform has that)."
        )
    return found


class Changes:
    """What was changed in place: see `gradkit.core.changes`.

    Attributes
    ----------
    latest : int or float
        The number of the latest change, in the order of nodes: only those that are older are looked at. Infinity where
        checksums are compared.
    arrays : dict
        By the identity of a raw array: a weak reference to it, and the number of its latest change.
    """

    __slots__ = ("arrays", "latest")

    def __init__(self) -> None:
        self.latest: float = -1
        self.arrays: dict[int, list[Any]] = {}

    def note(self, value: Any) -> None:
        """Note that a raw array was changed in place."""
        known = self.arrays.get(id(value))
        number = new_sequence()
        if known is not None:
            known[1] = number
        else:
            self._begin(value, number)
        if number > self.latest:
            self.latest = number

    def _begin(self, value: Any, number: int) -> None:
        arrays, key = self.arrays, id(value)
        with suppress(TypeError):  # of a number, which nothing changes in place, there is no weak reference
            arrays[key] = [weakref.ref(value, lambda _: arrays.pop(key, None) and None), number]


changes = Changes()


branch: ContextVar[Trace | None] = ContextVar("gradkit_branch", default=None)
"""The innermost capture of a branch, which takes what the branch computes of what it closes over alone."""

capture: ContextVar[GraphTrace | None] = ContextVar("gradkit_capture", default=None)
capturing = capture.get
"""The innermost capture of a graph in progress, or None."""


def made_of_one_number(array: Array) -> Array:
    """Return an array that has just been made of one number everywhere: in a graph it is that number, broadcast."""
    trace = capturing()
    if trace is not None:
        trace.repeated[id(array._value)] = array._value
    return array


class Trace(ABC):
    """A transform in progress: what `bind` hands an operation to when an argument carries this trace's node.

    Attributes
    ----------
    level : int
        Its position among the others.
    number : int
        The level that it began with.
    is_linear : bool
        Whether it records what a rule does with tangents, which has to be linear: operations without a derivative too.
    """

    __slots__ = ("level", "number")
    is_linear = False
    level: int
    number: int

    def __init__(self, above: Trace | None = None) -> None:
        """Begin above all transforms in progress, or right above one that it stands for."""
        if above is None:
            self.level = self.number = new_level()
        else:
            self.level = type(above.level)(int(above.level) + 1)
            self.number = int(self.level)

    def end(self) -> None:
        """Say that the function has returned: from now on an operation on this transform's arrays is an error."""
        self.level = Ended(self.number)

    def follows(self, value: Any) -> bool:
        """Return whether this transform follows a value: an Array that is one of its own."""
        node = getattr(value, "_node", None)
        return node is not None and node.trace is self

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Be above all transforms inside a ``with`` block, in which a function runs that closes over nothing."""
        current = self.level
        self.level = new_level()
        try:
            yield
        finally:
            self.level = current

    @abstractmethod
    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Run one operation under this transform: give an Array, or a tuple of them."""

    @abstractmethod
    def call(self, operation: HigherOrder, args: list[Any], params: Mapping[str, Any]) -> list[Any]:
        """Run an operation with functions as parameters under this transform, as it says itself."""


def in_progress(trace: Trace) -> bool:
    """Return whether a transform has not returned, or what it ran is running again."""
    level = trace.level
    return not isinstance(level, Ended) or level.position() is not None


class Node:
    """One recorded array: how it came about, and its shape and dtype (which is all that some rules need of it).

    Attributes
    ----------
    trace : Trace
        The transform that records it.
    shape : tuple of int
        The array's shape.
    dtype : object
        The array's dtype, as its backend says it.
    primitive : Primitive or None
        What computed it; None for an input.
    parents : sequence of (Node or None)
        By argument position; None for an argument without derivative.
    saved : sequence or None
        The result (None if no rule reads it) and the arguments (for one that no rule reads its node, which has its
        shape and dtype, or None). None when used up.
    params : mapping
        The primitive's static parameters.
    plain : bool
        Whether the saved values are all raw.
    sequence : int
        Position in the order of making.
    numbers : int, float, bool, complex, or tuple of them
        The Python number among the arguments of an operation on two, or all by position, with None between them; not
        set where there are none. Nothing but a drawing reads them, and they stay when what is saved has been used up.
    """

    __slots__ = ("dtype", "numbers", "params", "parents", "plain", "primitive", "saved", "sequence", "shape", "trace")

    numbers: Any

    def __init__(
        self,
        trace: Trace,
        shape: tuple[int, ...],
        dtype: Any,
        primitive: Any,
        parents: Sequence[Node | None],
        saved: Sequence[Any] | None,
        params: Mapping[str, Any],
        plain: bool,
    ) -> None:
        self.trace = trace
        self.shape = shape
        self.dtype = dtype
        self.primitive = primitive
        self.parents = parents
        self.saved = saved
        self.params = params
        self.plain = plain
        self.sequence = new_sequence()

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


NO_PARAMS: Mapping[str, Any] = {}


class Leaf(Node):
    """An input that something is differentiated with respect to. On the tape it also holds ``.grad``.

    A module's parameter says so (`is_parameter`): the transforms differentiate it as a plain value.
    """

    __slots__ = ("grad", "is_parameter")

    # The same for every leaf: class attributes, so that making one is cheap.
    primitive = None
    parents = ()
    saved = None
    params = NO_PARAMS
    plain = True
    sequence = -1  # before everything: what a leaf came from is not known here

    def __init__(self, trace: Trace, shape: tuple[int, ...], dtype: Any) -> None:
        self.trace = trace
        self.shape = shape
        self.dtype = dtype
        self.grad: Any = None
        self.is_parameter = False
