"""Buckets of gradients, and how those of a step are summed: in memory that the processes share, or by messages."""

from __future__ import annotations

import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from gradkit.backend import Backend, current_backend
from gradkit.core.array import Array, backend_of_array
from gradkit.core.node import capturing
from gradkit.core.operands import dtype_name
from gradkit.core.promotion import is_inexact
from gradkit.lax.shared_sums import Forms, GradientMemory, SharedSums
from gradkit.lax.started_sums import StartedSums, ask
from gradkit.numpy import add, concatenate, reshape
from gradkit.processes import World

__all__ = ["Bucket", "GradientSums", "Numbers", "StepSums", "buckets_of", "sums_of"]

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


class Numbers(NamedTuple):
    """Numbers of each process that are summed as the gradients of a step are.

    Attributes
    ----------
    length : int
        How many the step computes.
    dtype : str
        The name of their dtype.
    question : callable, optional
        Gives more of them: what the host is asked for at each step.
    answers : int
        How many it gives.
    """

    length: int
    dtype: str
    question: Callable[[], Sequence[float]] | None = None
    answers: int = 0

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of what is summed: the numbers, and the answers if there is a question."""
        return ((self.length,),) if self.question is None else ((self.length,), (self.answers,))


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
    """The sums of one step's gradients. Each bucket has one, which begin in the order of the buckets.

    Those of numbers, if there are any, begin last.
    """

    @property
    @abstractmethod
    def begun(self) -> int:
        """How many have begun."""

    @abstractmethod
    def begin(self, gradients: Sequence[Array]) -> None:
        """Begin the next sum, of a bucket's gradients."""

    @abstractmethod
    def begin_numbers(self, values: Array) -> None:
        """Begin the sum of numbers, after those of all buckets."""

    @abstractmethod
    def go_on(self) -> None:
        """Let what has begun go on, where the graph is run."""

    @abstractmethod
    def advance(self) -> None:
        """Let what has begun go on, now."""

    @abstractmethod
    def end(self, number: int) -> Sequence[Array]:
        """Wait for a bucket's sum, all of which have begun, and return its arrays."""

    @abstractmethod
    def end_numbers(self) -> Sequence[Array]:
        """Wait for the sum of numbers, and return it; if there is a question, that of the answers follows."""

    @abstractmethod
    def entering(self) -> Callable[[], Callable[[], None]]:
        """Return what begins such a step, of a program at each of its runs, and returns what completes it.

        Those of equal steps are equal.
        """

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
        self._numbers = StartedSums(here, "numbers", "the sum of losses")
        self._shared: dict[str, SharedSums] = {}
        self._abandoned: list[Callable[[], None]] = []

    def abandon(self, complete: Callable[[], None]) -> None:
        """Note that an error has ended a step of this process, or may end it; `complete` begins and ends its sums.

        A program may catch the error and go on. The others have begun as many of these sums as they came to, and all
        have to begin the same ones. Called again, or when the step is over, `complete` does what is left.
        """
        self._abandoned.append(complete)

    def complete_earlier(self) -> None:
        """Complete the steps that errors have ended but the last one, to which all processes have come.

        Others may wait for that in the last one, which an error has ended here before it came to it.
        """
        while len(self._abandoned) > 1:
            self._abandoned[0]()
            del self._abandoned[0]

    def forget(self, complete: Callable[[], None] | None) -> None:
        """Note that a step is over that an error might have ended."""
        self._abandoned = [each for each in self._abandoned if each != complete]

    def complete_abandoned(self, before: Callable[[], None] | None = None) -> None:
        """Complete the steps that errors have ended, at a place to which all processes have come since.

        Parameters
        ----------
        before : callable, optional
            What completes the step whose beginning this place is, if it is noted already.
        """
        while self._abandoned and self._abandoned[0] != before:
            self._abandoned[0]()
            del self._abandoned[0]  # not sooner: an error, such as Ctrl-C, may end that too

    def known_step(self, buckets: Sequence[Bucket], at: Sequence[Array], numbers: Numbers | None) -> StepSums | None:
        """Return the sums of a step that begins now, when `at`, the parameters, are there.

        None where it is not known by what they are summed: for that all processes have to call `step`.
        """
        shared = self._sharing(buckets)
        if shared is None:
            return _ByMessages(self._messages, self._numbers, buckets, numbers)
        return self.step(buckets, at, numbers) if shared.is_known(_forms(buckets, numbers)) else None

    def step(self, buckets: Sequence[Bucket], at: Sequence[Array], numbers: Numbers | None) -> StepSums:
        """Do as `known_step`; all processes call it where that gives None."""
        shared = self._sharing(buckets)
        memory = None if shared is None else shared.memory(_forms(buckets, numbers))
        if shared is None or memory is None:
            return _ByMessages(self._messages, self._numbers, buckets, numbers)
        return _InMemory(shared, buckets, numbers, memory, at[buckets[0].positions[-1]].detach())

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


def sums_of(here: World) -> GradientSums:
    """Return what gradients are summed by in a world."""
    found: GradientSums | None = here.belongings.get("gradients")
    if found is None:
        found = here.belongings["gradients"] = GradientSums(here)
    return found


def _forms(buckets: Sequence[Bucket], numbers: Numbers | None) -> Forms:
    """Return what memory is for: all buckets together, since nothing travels that could leave earlier; then numbers."""
    gradients = [(shape, bucket.dtype) for bucket in buckets for shape in bucket.shapes]
    return (*gradients, *(() if numbers is None else ((shape, numbers.dtype) for shape in numbers.shapes)))


@dataclass(frozen=True)
class _EnterMessages:
    """Begins a step of a program whose sums travel."""

    sums: tuple[tuple[StartedSums, tuple[tuple[int, str, Backend], ...]], ...]

    def __call__(self) -> Callable[[], None]:
        completions = [sums.enter(forms) for sums, forms in self.sums]

        def complete() -> None:
            for each in completions:
                each()

        return complete


@dataclass(frozen=True)
class _EnterMemory:
    """Begins a step of a program whose sums are in shared memory."""

    sums: SharedSums
    memory: GradientMemory

    def __call__(self) -> Callable[[], None]:
        return self.sums.enter(self.memory)


class _ByMessages(StepSums):
    """Sums of gradients that travel."""

    def __init__(
        self, sums: StartedSums, sum_of_numbers: StartedSums, buckets: Sequence[Bucket], numbers: Numbers | None
    ) -> None:
        self._sums, self._buckets = sums, buckets
        self._sum_of_numbers, self._numbers = sum_of_numbers, numbers
        self._on_the_way: list[tuple[Array, Array]] = []
        self._numbers_on_the_way: tuple[Array, Array] | None = None

    @property
    def begun(self) -> int:
        return len(self._on_the_way)

    def begin(self, gradients: Sequence[Array]) -> None:
        parts = [reshape(gradient, (-1,)) for gradient in gradients]
        joined = concatenate(parts) if len(parts) > 1 else parts[0]
        self._on_the_way.append((joined, self._sums.begin(self.begun, joined)))

    def begin_numbers(self, values: Array) -> None:
        assert self._numbers is not None
        question = self._numbers.question
        if question is not None:
            values = concatenate([values, ask(question, self._numbers.answers, values)])
        self._numbers_on_the_way = values, self._sum_of_numbers.begin(0, values)

    def go_on(self) -> None:
        self._sums.go_on(self._on_the_way[-1][1])

    def advance(self) -> None:
        self._sums.advance()

    def entering(self) -> Callable[[], Callable[[], None]]:
        sums, sum_of_numbers, numbers = self._sums, self._sum_of_numbers, self._numbers
        gradients = [(sum(map(prod, b.shapes)), b.dtype, b.backend) for b in self._buckets]
        backend = self._buckets[0].backend if self._buckets else current_backend()
        beside = [] if numbers is None else [(numbers.length + numbers.answers, numbers.dtype, backend)]

        return _EnterMessages(((sums, tuple(gradients)), (sum_of_numbers, tuple(beside))))

    def end(self, number: int) -> Sequence[Array]:
        return self._sums.end(number, *self._on_the_way[number], self._buckets[number].shapes)

    def end_numbers(self) -> Sequence[Array]:
        assert self._numbers is not None
        assert self._numbers_on_the_way is not None
        return self._sum_of_numbers.end(0, *self._numbers_on_the_way, self._numbers.shapes)


class _InMemory(StepSums):
    """Sums of gradients that each process puts where the others can read them, all of them at once."""

    def __init__(
        self,
        sums: SharedSums,
        buckets: Sequence[Bucket],
        numbers: Numbers | None,
        memory: GradientMemory,
        at: Array,
    ) -> None:
        self._sums, self._buckets, self._numbers, self._memory, self._at = sums, buckets, numbers, memory, at
        self._places: Sequence[Array] | None = None
        self._gradients: list[Sequence[Array]] = []
        self._values: list[Array] = []
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
        if self._numbers is None and self.begun == len(self._buckets):
            self._share()

    def begin_numbers(self, values: Array) -> None:
        self._values = [values]
        self._share()

    def _share(self) -> None:
        if self._places is None:
            self.prepare()
        assert self._places is not None
        everything = [*itertools.chain(*self._gradients), *self._values]
        question = None if self._numbers is None else self._numbers.question
        self._token = self._sums.begin(everything, self._places, self._memory, question)
        self._gradients = [[] for _ in self._buckets]

    def go_on(self) -> None:
        """Do nothing: it has not begun."""

    def advance(self) -> None:
        """Do nothing: it has not begun."""

    def end(self, number: int) -> Sequence[Array]:
        first = sum(len(bucket.shapes) for bucket in self._buckets[:number])
        shapes = self._buckets[number].shapes
        return [reshape(each, shape) for each, shape in zip(self._sum()[first:], shapes, strict=False)]

    def entering(self) -> Callable[[], Callable[[], None]]:
        return _EnterMemory(self._sums, self._memory)

    def end_numbers(self) -> Sequence[Array]:
        return self._sum()[sum(len(bucket.shapes) for bucket in self._buckets) :]

    def _sum(self) -> Sequence[Array]:
        """Return the sums of everything, one after another."""
        if self._results is None:
            assert self._places is not None
            assert self._token is not None
            parts = self._sums.end(self._token, self._places, self._memory)
            self._results = [functools.reduce(add, each) for each in zip(*parts, strict=True)]
        return self._results

    def done(self) -> None:
        if capturing() is None:
            self._sums.say_read()
