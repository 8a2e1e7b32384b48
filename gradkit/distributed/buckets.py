"""Buckets of gradients, and how those of a step are summed: in memory that the processes share, or by messages."""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from gradkit.backend import Backend
from gradkit.core.array import Array, backend_of_array
from gradkit.core.node import capturing
from gradkit.core.operands import dtype_name
from gradkit.core.promotion import is_inexact
from gradkit.lax.shared_sums import Forms, GradientMemory, SharedSums
from gradkit.lax.started_sums import StartedSums
from gradkit.numpy import add, concatenate, reshape
from gradkit.processes import World

__all__ = ["Bucket", "GradientSums", "StepSums", "buckets_of"]

CALL = "the sum of gradients"


class Bucket(NamedTuple):
    """Some of the gradients, all of one dtype and place, that are summed together.

    Attributes
    ----------
    positions : tuple of int
        Whose gradients: which of the parameters.
    shapes : tuple of tuples of int
        Their shapes.
    dtype : str
        The name of their dtype.
    backend : Backend
        Whose arrays they are.
    """

    positions: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    backend: Backend


def buckets_of(parameters: Sequence[Array], bucket_bytes: int) -> Iterator[Bucket]:
    """Divide parameters into buckets, from the last to the first."""
    positions: list[int] = []
    kind: Any = None
    size = 0

    def full() -> Bucket:
        shapes = tuple(tuple(parameters[i].shape) for i in positions)
        first = parameters[positions[0]]
        return Bucket(tuple(positions), shapes, dtype_name(first), backend_of_array(first))

    for i in range(len(parameters) - 1, -1, -1):
        parameter = parameters[i]
        if not is_inexact(dtype_name(parameter)):
            continue  # whole numbers do not move
        own = backend_of_array(parameter).name, str(parameter.device), dtype_name(parameter)
        if positions and (own != kind or size >= bucket_bytes):
            yield full()
            positions, size = [], 0
        kind = own
        positions.append(i)
        size += parameter.nbytes
    if positions:
        yield full()


class StepSums(ABC):
    """The sums of one step's gradients. Each bucket has one, which begin in the order of the buckets."""

    @property
    @abstractmethod
    def begun(self) -> int:
        """How many have begun."""

    @abstractmethod
    def begin(self, gradients: Sequence[Array]) -> None:
        """Begin the next sum, of a bucket's gradients."""

    @abstractmethod
    def go_on(self) -> None:
        """Let what has begun go on, where the graph is run."""

    @abstractmethod
    def advance(self) -> None:
        """Let what has begun go on, now."""

    @abstractmethod
    def end(self, number: int) -> Sequence[Array]:
        """Wait for a bucket's sum, all of which have begun, and return its arrays."""

    def prepare(self) -> None:  # noqa: B027 - messages have memory of their own
        """Wait until gradients can be made; they are no sooner than this is called."""

    def done(self) -> None:  # noqa: B027 - as above
        """Note that all sums are there."""


class GradientSums:
    """What the gradients of steps are summed by. It is the same for all steps, so that a program is.

    Parameters
    ----------
    here : World
        The processes.
    """

    def __init__(self, here: World) -> None:
        self._here = here
        self._messages = StartedSums(here, "gradients", CALL, small=0)
        self._shared: dict[str, SharedSums] = {}
        self._abandoned: list[Callable[[], None]] = []

    def abandon(self, complete: Callable[[], None]) -> None:
        """Note that an error has ended a step of this process in its middle; `complete` begins and ends its sums.

        A program may catch the error and go on. The others have begun as many of these sums as they came to, and all
        have to begin the same ones.
        """
        self._abandoned.append(complete)

    def complete_abandoned(self) -> None:
        """Complete the steps that errors have ended, at a place to which all processes have come since."""
        while self._abandoned:
            self._abandoned.pop(0)()

    def known_step(self, buckets: Sequence[Bucket], at: Sequence[Array]) -> StepSums | None:
        """Return the sums of a step that begins now, when `at`, the parameters, are there.

        None where it is not known by what they are summed: for that all processes have to call `step`.
        """
        shared = self._sharing(buckets)
        if shared is None:
            return _ByMessages(self._messages, buckets)
        return self.step(buckets, at) if shared.is_known(_forms(buckets)) else None

    def step(self, buckets: Sequence[Bucket], at: Sequence[Array]) -> StepSums:
        """Do as `known_step`; all processes call it where that gives None."""
        shared = self._sharing(buckets)
        memory = None if shared is None else shared.memory(_forms(buckets))
        if shared is None or memory is None:
            return _ByMessages(self._messages, buckets)
        return _InMemory(shared, buckets, memory, at[buckets[0].positions[-1]].detach())

    def _sharing(self, buckets: Sequence[Bucket]) -> SharedSums | None:
        """Return what sums in memory that the processes share; None where they cannot share any."""
        if not buckets or not self._here.is_on_one_machine:
            return None
        backend = buckets[0].backend
        if not backend.shares_host_memory or any(bucket.backend is not backend for bucket in buckets):
            return None
        if backend.name not in self._shared:
            self._shared[backend.name] = SharedSums(self._here, backend, "gradients", CALL)
        return self._shared[backend.name]


def _forms(buckets: Sequence[Bucket]) -> Forms:
    """Return what memory is for: all buckets together, since nothing travels that could leave earlier."""
    return tuple((shape, bucket.dtype) for bucket in buckets for shape in bucket.shapes)


class _ByMessages(StepSums):
    """Sums of gradients that travel."""

    def __init__(self, sums: StartedSums, buckets: Sequence[Bucket]) -> None:
        self._sums, self._buckets = sums, buckets
        self._on_the_way: list[tuple[Array, Array]] = []

    @property
    def begun(self) -> int:
        return len(self._on_the_way)

    def begin(self, gradients: Sequence[Array]) -> None:
        parts = [reshape(gradient, (-1,)) for gradient in gradients]
        joined = concatenate(parts) if len(parts) > 1 else parts[0]
        self._on_the_way.append((joined, self._sums.begin(self.begun, joined)))

    def go_on(self) -> None:
        self._sums.go_on(self._on_the_way[-1][1])

    def advance(self) -> None:
        self._sums.advance()

    def end(self, number: int) -> Sequence[Array]:
        return self._sums.end(number, *self._on_the_way[number], self._buckets[number].shapes)


class _InMemory(StepSums):
    """Sums of gradients that each process puts where the others can read them."""

    def __init__(self, sums: SharedSums, buckets: Sequence[Bucket], memory: GradientMemory, at: Array) -> None:
        self._sums, self._buckets, self._memory, self._at = sums, buckets, memory, at
        self._places: Sequence[Array] | None = None
        self._gradients: list[list[Array]] = []
        self._token: Array | None = None
        self._results: list[Array] | None = None
        if capturing() is not None:
            sums.open(at)

    @property
    def begun(self) -> int:
        return len(self._gradients)

    def prepare(self) -> None:
        self._places = self._sums.prepare(self._memory, self._at)

    def begin(self, gradients: Sequence[Array]) -> None:
        self._gradients.append(list(gradients))
        if self.begun == len(self._buckets):
            self._share()

    def _share(self) -> None:
        if self._places is None:
            self.prepare()
        assert self._places is not None
        everything = list(itertools.chain(*self._gradients))
        self._token = self._sums.begin(everything, self._places, self._memory)
        self._gradients = [[] for _ in self._buckets]

    def go_on(self) -> None:
        """Do nothing: it has not begun."""

    def advance(self) -> None:
        """Do nothing: it has not begun."""

    def end(self, number: int) -> Sequence[Array]:
        if self._results is None:
            if self._token is None:  # an error, such as Ctrl-C, came between
                self._share()
            assert self._places is not None
            assert self._token is not None
            parts = self._sums.end(self._token, self._places, self._memory)
            self._results = [functools.reduce(add, each) for each in zip(*parts, strict=True)]
        first = sum(len(bucket.shapes) for bucket in self._buckets[:number])
        shapes = self._buckets[number].shapes
        return [reshape(each, shape) for each, shape in zip(self._results[first:], shapes, strict=False)]

    def done(self) -> None:
        if capturing() is None:
            self._sums.say_read()
