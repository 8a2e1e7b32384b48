"""Sums over the processes of one machine, which read each other's memory: no array is sent.

They are operations of a graph, as `started_sums` are. Each process has memory for its gradients that the others can
read, and a compiled program makes them there. The steps follow each other so:

- `open`, in a program, when the step before is over: this process begins to say that it has read what the others gave.
  Eager steps say so as soon as they have added up.
- `prepare`, before the first gradient is made: wait until all have said that.
- `begin`: the gradients are in this process's memory, copied there if they were made elsewhere; it says so. What the
  host is asked for at each step, as whether it is to stop, it puts beside them.
- `end`: wait until all have said so. Two processes then read each other's, and their sum is an operation of the graph,
  which a compiler joins with the optimizer's. Of more, each first adds up its part of everybody's, and then takes the
  other parts from those that have them. Either way all is added in the order of the processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from gradkit.backend import NARROW, Backend, as_numpy_dtype
from gradkit.core.array import Array
from gradkit.core.graph import bind_where_captured
from gradkit.core.lending import place
from gradkit.lax.started_sums import OnTheWay, numbers_like
from gradkit.processes import World
from gradkit.processes.shared_memory import shared_memories

__all__ = ["Forms", "GradientMemory", "SharedSums"]

Forms = tuple[tuple[tuple[int, ...], str], ...]
"""The shapes and dtypes of arrays."""

READ_DIRECTLY = 2
"""Up to so many processes each reads all of the others' memory: that is what it has to read at least."""

MOST_MEMORIES = 16
"""For so many kinds of models memory is kept; programs keep what they have."""


class SharedSums:
    """The sums of a step's gradients in memory that the processes share.

    Parameters
    ----------
    here : World
        The processes, all of one machine.
    backend : Backend
        Whose arrays they are.
    lane : str
        In which they say that they are there.
    call : str
        Whose the sums are, for messages.
    """

    def __init__(self, here: World, backend: Backend, lane: str, call: str) -> None:
        self._here = here
        self._backend = backend
        self._written, self._read = here.lane(lane)
        self._call = call
        self._memories: dict[Forms, GradientMemory | None] = {}
        self._is_reading = False
        self._to_write: object = None
        self._reading: list[Any] = []
        self._sum: _Sum | None = None
        self._tokens: dict[Any, Any] = {}

    def is_known(self, forms: Forms) -> bool:
        """Return whether `memory` has been called for such arrays."""
        return forms in self._memories

    def memory(self, forms: Forms) -> GradientMemory | None:
        """Return memory for arrays.

        None, in all processes, where they cannot share any. Where it is not known, all have to call this.
        """
        if forms not in self._memories:
            while len(self._memories) >= MOST_MEMORIES:
                del self._memories[next(iter(self._memories))]
            found = shared_memories(self._here, [(shape, as_numpy_dtype(name)) for shape, name in forms], self._call)
            self._memories[forms] = None if found is None else GradientMemory(found, self._backend)
        return self._memories[forms]

    def enter(self, memory: GradientMemory) -> Callable[[], None]:
        """Begin a step of a program.

        Returns
        -------
        callable
            Takes part in the step's sum with zeros, if it has not begun when this is called, and waits for it.
        """
        self._to_write = step = object()

        def complete() -> None:
            if self._to_write is step:
                self.wait_until_read()
                each = [[self._backend.to_host(array._value) for array in arrays] for arrays in memory.arrays]
                for array in each[self.index]:
                    array[...] = 0
                self.say_written(each)
            self.wait_for_sum()
            self.say_read()

        return complete

    # What a step calls

    def open(self, at: Array) -> None:
        """Begin a step of a program, when `at` is there: what the step before has given is read."""
        bind_where_captured(_open, (at,), {"sums": self})

    def prepare(self, memory: GradientMemory, at: Array) -> Sequence[Array]:
        """Wait until gradients may be written, when `at` is there; return where."""
        own = memory.arrays[self.index]
        return bind_where_captured(_prepare, (at, *own), {"sums": self, "size": len(own)})

    def begin(
        self,
        gradients: Sequence[Array],
        places: Sequence[Array],
        memory: GradientMemory,
        question: Callable[[], Sequence[float]] | None = None,
    ) -> Array:
        """Say that gradients are there; return what stands for their sum.

        There is one more place than gradients if there is a question: for what it gives.
        """
        # Few read all of it only when it is there; more take part in the sum here.
        of_all = list(chain(*memory.arrays)) if self._here.count > READ_DIRECTLY else []
        params = {"sums": self, "size": len(gradients), "question": question}
        (token,) = bind_where_captured(_begin, (*gradients, *places, *of_all), params)
        return token  # type: ignore[no-any-return]

    def end(self, token: Array, places: Sequence[Array], memory: GradientMemory) -> list[Sequence[Array]]:
        """Wait for the sum.

        Returns
        -------
        list of sequences of Array
            What remains to be added up, in this order; numbers have an axis. If it is several, it is read before the
            next step, which writes in its memory.
        """
        count = self._here.count
        each = self.in_order(places, memory.others(self.index)) if count <= READ_DIRECTLY else [places]
        given = [array for arrays in each for array in arrays]
        params = {"sums": self, "size": len(given), "copies": count > READ_DIRECTLY}
        found = bind_where_captured(_end, (token, *given), params)
        return [found[i : i + len(places)] for i in range(0, len(given), len(places))]

    # What the operations do

    @property
    def index(self) -> int:
        """The number of this process."""
        return self._here.index

    def say_read(self) -> None:
        """Begin to say that this process reads no more of the step before, if it has not.

        A sum for which nobody has waited is still to be read: an error has ended its step.
        """
        if self._is_reading and self._sum is None:
            self._is_reading = False
            self._reading.append(self._read.Ibarrier())

    def wait_until_read(self) -> None:
        """Wait until all have said that."""
        self.wait_for_sum()  # nobody has waited for it if an error has ended the step
        self.say_read()
        while self._reading:
            self._wait(self._reading[0])
            del self._reading[0]

    def in_order(self, own: Sequence[Any], theirs: Sequence[Any]) -> list[Sequence[Any]]:
        """Return the arrays of each process, in the order of the processes; `theirs` has one after another."""
        each = [theirs[i : i + len(own)] for i in range(0, len(theirs), len(own))]
        each.insert(self.index, own)
        return each

    def say_written(self, each: Sequence[Sequence[np.ndarray[Any, Any]]]) -> None:
        """Begin to say that this process's part of a sum is there; `each` is what there is, by process, of many."""
        self._is_reading, self._to_write = True, None
        self._sum = _Sum(each, self.index, self._written.Ibarrier())

    def wait_for_sum(self) -> None:
        """Return when the sum is there; or, of few processes, what it is the sum of."""
        found = self._sum
        if found is None:
            return
        self._wait(found.written)
        if self._here.count > READ_DIRECTLY:
            if found.added is None:
                found.add()
                found.added = self._read.Ibarrier()
            self._wait(found.added)
            found.take()
        self._sum = (
            None  # not sooner: an error, such as Ctrl-C, may end a wait, and what completes the step comes again
        )

    def token(self, xp: Any, like: Any) -> Any:
        """Return what stands for a sum, where an array is; for a plan that has given none, on the host."""
        device = None if like is None else xp.backend.device_of(like)
        if device not in self._tokens:
            self._tokens[device] = np.zeros((), "int32") if like is None else numbers_like(xp, like, 0, "int32")
        return self._tokens[device]

    def _wait(self, request: Any) -> None:
        self._here.wait_until(request.Test, self._call)


class GradientMemory:
    """The memory of a model's gradients, in all processes.

    Attributes
    ----------
    arrays : list of list of Array
        By process, its own; numbers have an axis.
    """

    def __init__(self, memories: Sequence[Sequence[np.ndarray[Any, Any]]], backend: Backend) -> None:
        # An array without axes would be taken for a number.
        self.arrays = [
            [place(backend.on_memory(array.reshape(array.shape or (1,)))) for array in arrays] for arrays in memories
        ]

    def others(self, process: int) -> list[Array]:
        """Return the arrays of the other processes, one after another."""
        return [array for i, arrays in enumerate(self.arrays) if i != process for array in arrays]


class _Sum:
    """A sum in progress.

    Parameters
    ----------
    each : sequence of sequences of array
        By process, its arrays.
    index : int
        Which of them this process is.
    written : request
        Done when all have written theirs.

    Attributes
    ----------
    added : request
        Done when all have added up their parts; None where this one has not.
    """

    def __init__(self, each: Sequence[Sequence[np.ndarray[Any, Any]]], index: int, written: Any) -> None:
        self._each = [[array.reshape(-1) for array in arrays] for arrays in each]
        self._index = index
        self.written = written
        self.added: Any = None

    def add(self) -> None:
        """Put the sum of this process's part of all arrays into its memory: nobody else reads that part there."""
        for own, *arrays in zip(self._each[self._index], *self._each, strict=True):
            part = self._part(own, self._index)
            wide = np.dtype("float32") if own.dtype.name in NARROW else own.dtype
            total = arrays[0][part].astype(wide)
            for theirs in arrays[1:]:
                total += theirs[part].astype(wide, copy=False)
            own[part] = total.astype(own.dtype, copy=False)

    def take(self) -> None:
        """Copy the sums of the others' parts from where they are."""
        for process, arrays in enumerate(self._each):
            if process != self._index:
                for own, theirs in zip(self._each[self._index], arrays, strict=True):
                    part = self._part(own, process)
                    own[part] = theirs[part]

    def _part(self, array: np.ndarray[Any, Any], process: int) -> slice:
        count = len(self._each)
        return slice(array.size * process // count, array.size * (process + 1) // count)


class _InPlace(OnTheWay):
    """An operation that hands on all of its operands but the first, whose memory others write in meanwhile."""

    as_it_is = True

    def in_place(self, params: Mapping[str, Any]) -> Mapping[int, int]:
        """Return that its results are its operands."""
        return {i: i + 1 for i in range(params["size"])}

    def as_planned(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return its parameters where a plan reads the memory in time."""
        return {**params, "copies": False} if "copies" in params else params


class _Opening(OnTheWay):
    """An operation before which everything is read that others have given."""

    frees_memory = True


class _Preparing(_InPlace, _Opening):
    """One that hands on memory to write in."""


class _Putting(OnTheWay):
    """An operation whose first operands go into the memory of the others."""

    as_it_is = True

    def made_in(self, params: Mapping[str, Any]) -> Mapping[int, int]:
        """Return that they do."""
        return {i: params["size"] + i for i in range(params["size"])}


def _run_open(xp: Any, at: Any, *, sums: SharedSums) -> tuple[()]:
    sums.say_read()
    return ()


def _run_prepare(xp: Any, at: Any, *own: Any, sums: SharedSums, size: int) -> tuple[Any, ...]:
    sums.wait_until_read()
    return own


def _address_of(array: np.ndarray[Any, Any]) -> int:
    """Return where an array's memory begins."""
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _run_begin(
    xp: Any, *values: Any, sums: SharedSums, size: int, question: Callable[[], Sequence[float]] | None
) -> tuple[Any]:
    to_host = xp.backend.to_host
    count = size if question is None else size + 1
    places, of_all = values[size : size + count], values[size + count :]
    for gradient, target in zip(values[:size], places, strict=False):
        if gradient is None:
            continue  # a plan has made it there
        own, there = to_host(gradient), to_host(target)
        if _address_of(own) != _address_of(there):
            there[...] = own
    if question is not None:
        to_host(places[-1])[...] = question()
    arrays = list(map(to_host, of_all))
    sums.say_written([arrays[i : i + count] for i in range(0, len(arrays), count)])
    return (sums.token(xp, next((value for value in values if value is not None), None)),)


def _run_end(xp: Any, token: Any, *given: Any, sums: SharedSums, size: int, copies: bool) -> tuple[Any, ...]:
    sums.wait_for_sum()
    return tuple(xp.backend.xp.asarray(array, copy=True) for array in given) if copies else given


def _forms_of_rest(_first: Any, *given: Any, **_: Any) -> list[Any]:
    return [(x.shape, x.dtype.name) for x in given]


_open = _Opening("process_open_step", _run_open, lambda at, **_: [])
_prepare = _Preparing("process_wait_for_readers", _run_prepare, _forms_of_rest)
_begin = _Putting("process_share", _run_begin, lambda *values, **_: [((), "int32")])
_end = _InPlace("process_wait_for_writers", _run_end, _forms_of_rest)
