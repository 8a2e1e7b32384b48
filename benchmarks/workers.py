"""Processes that take turns: each does steps when it is told to, and says how long they took.

A worker's function is given a connection and its arguments. It prepares, sends what the comparison wants to know of
that, and hands over to `answer`, which times steps until it is told to stop.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

from machine import usual_environment

SLOT_SECONDS = 0.1
PAUSE_SECONDS = 0.05
PEAK = "peak"


class TakesTurns(Protocol):
    """What can be told to do some steps, and says how long they took: a `Worker`, or a turn of a world."""

    def seconds_per_step(self) -> float:
        """Do about a slot of steps, and return the mean time of one."""


class WorkerError(RuntimeError):
    """A worker's process ended before it was told to."""


class Worker:
    """A process that does steps.

    Parameters
    ----------
    title : str
        What messages call it.
    serve : callable
        What the process runs: a function of a module, given a connection and `arguments`.
    arguments : tuple
        Things that can be pickled.
    environment : mapping of str to str
        What its environment has besides this process's, of which it has no more than is usual.

    Attributes
    ----------
    facts : object
        What `serve` has sent before the first step.
    """

    def __init__(
        self,
        title: str,
        serve: Callable[..., None],
        arguments: tuple[Any, ...],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.title = title
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
        before, usual = dict(os.environ), usual_environment()
        os.environ.clear()
        os.environ.update({**usual, **(environment or {})})
        try:
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()
        self.facts = self._receive()
        self.steps = self._steps_per_slot()

    def seconds(self, steps: int) -> float:
        """Run that many steps and return how long they took."""
        self._connection.send(steps)
        elapsed: float = self._receive()
        return elapsed

    def seconds_per_step(self) -> float:
        """Run for about one slot and return the mean time of a step."""
        return self.seconds(self.steps) / self.steps

    def peak_megabytes(self) -> float:
        """Return the most memory that the process has had."""
        self._connection.send(PEAK)
        peak: float = self._receive()
        return peak

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()

    def _steps_per_slot(self) -> int:
        steps = 1
        while (elapsed := self.seconds(steps)) < SLOT_SECONDS / 2:
            steps *= 2
        return max(1, round(steps * SLOT_SECONDS / elapsed))

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            raise WorkerError(f"{self.title} ended early; what it said is above") from None


def answer(connection: Connection, steps: Callable[[Any], None]) -> None:
    """Time steps for the other side until it closes the connection; `steps` does what it asks for, and waits for it."""
    while True:
        try:
            asked = connection.recv()
        except EOFError:
            return
        if asked == PEAK:
            connection.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            continue
        begin = time.perf_counter()
        steps(asked)
        connection.send(time.perf_counter() - begin)


def in_rounds(workers: Sequence[TakesTurns], rounds: int) -> list[list[float]]:
    """Return each worker's seconds a step in each round; the order changes from round to round."""
    times: list[list[float]] = [[] for _ in workers]
    for number in range(rounds):
        for i in random.Random(number).sample(range(len(workers)), len(workers)):
            # The last contestant's threads spin for some milliseconds before they sleep.
            time.sleep(PAUSE_SECONDS)
            times[i].append(workers[i].seconds_per_step())
    return times
