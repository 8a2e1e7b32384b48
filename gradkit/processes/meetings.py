"""Meetings: before anything travels, all processes say what they have come to, and see that it is the same.

A word is of one length whatever it is about, so the words of processes that disagree arrive as well, and MPI is never
asked to move arrays that do not fit each other. Behind its digest a word has room for some bytes: an array that is no
larger travels with it, and costs no message of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradkit.errors import DistributedError

if TYPE_CHECKING:
    from gradkit.processes.world import World

__all__ = ["ROOM", "Meeting", "Subject", "listed", "named", "place_in_program", "subject"]

DIGEST = 16
ROOM = 240
"""Bytes that travel with a word."""
WORD = DIGEST + ROOM

LIBRARIES = ("array_api_strict", "contextlib", "cupy", "functools", "jax", "torch")
"""What calls gradkit on its own behalf: libraries of backends, and tools of Python."""


class Subject(NamedTuple):
    """What a process has come to.

    Attributes
    ----------
    call : str
        The name of what was called.
    about : str
        What must be the same for all, in words.
    digest : bytes
        Of both.
    """

    call: str
    about: str
    digest: bytes


def subject(call: str, about: str = "") -> Subject:
    """Return what is said of a call.

    Examples
    --------
    >>> subject("barrier").digest == subject("barrier", "of all").digest
    False
    """
    return Subject(call, about, hashlib.blake2b(f"{call}\0{about}".encode(), digest_size=DIGEST).digest())


class Meeting:
    """A meeting of all processes, in progress.

    Parameters
    ----------
    here : World
        The processes.
    about : Subject
        What this one has come to.
    content : bytes
        What it gives the others, `ROOM` bytes at most.

    Attributes
    ----------
    is_over : bool
        Whether all are known to have come, to the same or not.
    """

    def __init__(self, here: World, about: Subject, content: bytes = b"") -> None:
        self._here = here
        self._subject = about
        self._words = np.empty((here.count, WORD), np.uint8)
        self._request = here.start_gathering((about.digest + content).ljust(WORD, b"\0"), self._words)
        self.is_over = False
        self._error: DistributedError | None = None

    def given(self) -> np.ndarray[Any, Any]:
        """Wait for all, and return what they gave: `ROOM` bytes of each.

        Raises
        ------
        DistributedError
            If others have come to something else: who did what. All processes get it.
        CollectiveTimeoutError
            If some have not come.
        """
        if not self.is_over:
            self._here.wait_until(self._request.Test, self._subject.call)
            self.is_over = True
            if self._words[:, :DIGEST].tobytes() != self._subject.digest * self._here.count:
                self._error = self._disagreement()
        if self._error is not None:
            raise self._error
        return self._words[:, DIGEST:]

    def _disagreement(self) -> DistributedError:
        own = [self._subject.call, self._subject.about, place_in_program()]
        found = self._here.gather_long_texts(json.dumps(own).encode(), None, self._subject.call)
        texts = [json.loads(text) for text in found]
        error = _disagreement(self._here.numbers, *zip(*texts, strict=True))
        error.everywhere = self._here.is_whole
        error.told_by = self._here.numbers[0]
        return error


def place_in_program() -> str:
    """Return the line of the program that has called gradkit."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_of_libraries(frame):
        frame = frame.f_back
    return "" if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def _is_of_libraries(frame: FrameType) -> bool:
    package = frame.f_globals.get("__name__", "").partition(".")[0]
    return package.startswith("gradkit") or package in LIBRARIES or frame.f_code.co_filename.startswith("<gradkit")


def named(processes: Sequence[int]) -> str:
    """Say which processes: process 1, or processes 0, 2."""
    return f"process{'es' if len(processes) > 1 else ''} {', '.join(map(str, processes))}"


def listed(calls: Mapping[int, str]) -> str:
    """Say which processes wait where."""
    groups: dict[str, list[int]] = {}
    for process in sorted(calls):
        groups.setdefault(calls[process], []).append(process)
    return ", ".join(f"{named(p)} wait{'s' if len(p) == 1 else ''} in {call}" for call, p in groups.items())


def _disagreement(
    numbers: Sequence[int], calls: Sequence[str], abouts: Sequence[str], places: Sequence[str]
) -> DistributedError:
    """Return the error of processes that came with different things."""
    same_call = len(set(calls)) == 1
    texts = abouts if same_call else [f"{c}, {a}" if a else c for c, a in zip(calls, abouts, strict=True)]
    groups: dict[str, list[int]] = {}
    first: dict[str, str] = {}
    for process, text, place in zip(numbers, texts, places, strict=True):
        groups.setdefault(text, []).append(process)
        first.setdefault(text, f" ({place})" if place else "")
    lines = "\n".join(f"  {named(processes)}: {text}{first[text]}" for text, processes in groups.items())
    if same_call:
        return DistributedError(
            f"{calls[0]}: the processes do not agree, and they must:\n{lines}\n"
            f"Make this call with the same in all processes."
        )
    return DistributedError(
        f"the processes have come to different calls, and all must make the same calls in the same order:\n{lines}"
    )
