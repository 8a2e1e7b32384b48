"""What a process's part of a minibatch counts for in the mean over the whole, which takes a word of all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gradkit.core.array import Array
from gradkit.core.node import capturing
from gradkit.lax.started_sums import ask
from gradkit.processes import Meeting, Subject, World

__all__ = ["Share", "Weight", "weight_of"]


class Share(NamedTuple):
    """How much of a minibatch is this process's.

    Attributes
    ----------
    own, whole : int
        Its examples, and those of all.
    """

    own: int
    whole: int

    @property
    def weight(self) -> float:
        """What a mean over its examples counts for in the mean over all."""
        return self.own / self.whole


class Weight:
    """What a process's gradients count for, of which the processes have begun to tell each other their examples.

    Called, it waits for what the others say and returns a float; in a program an Array, found at each of its runs.

    Attributes
    ----------
    met : callable
        Called at each run of a program when all processes have come to its step.
    """

    met: Callable[[], None]

    def __call__(self) -> Any:
        """Return it."""
        raise NotImplementedError

    def agree(self) -> None:
        """Wait until all processes have agreed, while a program is captured."""
        raise NotImplementedError


def weight_of(rows: int, about: Subject, at: Array, here: World) -> Weight:
    """Begin to tell the other processes of this one's examples.

    Parameters
    ----------
    rows : int
        How many it has.
    about : Subject
        What the processes have to agree on.
    at : Array, shape (1,)
        In a program they are told when this is there. Of the dtype of a loss.
    here : World
        The processes.
    """
    return _InProgram(rows, about, at, here) if capturing() is not None else _Now(rows, about, here)


class _Now(Weight):
    """That of a step that is taken now."""

    def __init__(self, rows: int, about: Subject, here: World) -> None:
        self._rows = rows
        self._meeting: Meeting = here.open(about, np.int64(rows).tobytes())
        self._known: float | None = None

    def agree(self) -> None:
        self()

    def __call__(self) -> float:
        if self._known is None:
            whole = int(self._meeting.given()[:, :8].copy().view(np.int64).sum())
            if not whole:
                raise ValueError(
                    "value_and_grad: the batch has no rows in any process, and a mean over none is no number. Give one "
                    "with rows; minibatches makes none without."
                )
            self._known = Share(self._rows, whole).weight
        return self._known


class _InProgram(Weight):
    """That of the steps of a program: the others' parts are not what they were when it was captured."""

    def __init__(self, rows: int, about: Subject, at: Array, here: World) -> None:
        self._under_way: list[_Now] = []
        self._at = at
        self._known: Array | None = None

        self._tell: Callable[[], _Now] = lambda: _Now(rows, about, here)

        def begin() -> tuple[float]:
            while self._under_way:  # an error has ended the run before, after the others had begun its step
                self._under_way.pop()()
                self.met()
            self._under_way.append(self._tell())
            return (0.0,)

        ask(begin, 1, at)

    def agree(self) -> None:
        self._tell()()

    def __call__(self) -> Array:
        if self._known is None:
            self._known = ask(self._end, 1, self._at)[0]
        return self._known

    def _end(self) -> tuple[float]:
        weight = self._under_way[-1]()
        self._under_way.clear()
        self.met()
        return (weight,)
