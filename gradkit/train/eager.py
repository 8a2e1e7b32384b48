"""The steps of a run that are taken one at a time, and when their numbers are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from gradkit import random
from gradkit.core import Array
from gradkit.data import minibatches
from gradkit.train.checkpoints import Run
from gradkit.train.interrupt import Interrupt
from gradkit.train.objectives import Metric, Objective, numbers_of
from gradkit.train.steps import Optimizer, start_reading, training_step
from gradkit.train.teams import Team

__all__ = ["EagerSteps", "Taken"]


class Taken(NamedTuple):
    """A step that was taken, and its numbers.

    Attributes
    ----------
    before, after : pair of pytrees
        The model and the optimizer's state.
    batch : int
        The number of its minibatch in the epoch.
    values : list of float
        The loss and the metrics of the whole minibatch.
    examples : int
        How many that has.
    """

    before: tuple[Any, Any]
    after: tuple[Any, Any]
    batch: int
    values: list[float]
    examples: int


class EagerSteps:
    """What takes steps of a run one at a time.

    Parameters
    ----------
    objective : Objective
        What is trained for.
    optimizer : Optimizer
        What updates the model.
    metrics : mapping from str to callable
        What is measured of each minibatch beside the loss.
    train : pair of arrays
        The examples and their targets.
    batch_size : int
        Rows in a minibatch.
    key : Array
        The random key of the order.
    team : Team, optional
        The processes that take the same steps.

    Attributes
    ----------
    asked : bool
        Whether any process of the team was asked to stop, as all of them know since the same step.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        metrics: Mapping[str, Metric],
        train: tuple[Any, Any],
        batch_size: int,
        key: Array,
        team: Team | None = None,
    ) -> None:
        self.asked = False
        self._objective = objective
        self._optimizer = optimizer
        self._metrics = metrics
        self._train = train
        self._batch_size = batch_size
        self._key = key
        self._team = team
        self._numbers = numbers_of(metrics)
        self._step = training_step(objective.with_prediction, optimizer, has_aux=True)

    def __call__(self, run: Run, ends: Callable[[int, Any, Any], bool], interrupt: Interrupt) -> Iterator[Taken]:
        """Take steps of an epoch from where a run is, one at least, and yield each once its numbers are on the host.

        They end with the epoch, where ``ends(batch, model, state)`` says that the next one is not eager, or where
        somebody was asked to stop.
        """
        order = random.fold_in(self._key, run.epoch)
        batches = minibatches(self._train, self._batch_size, order, start=run.batch)
        batches = batches if self._team is None else self._team.part(batches)
        now = run.model, run.state
        read: Callable[[], Taken] | None = None
        for batch, (x, y) in enumerate(batches, start=run.batch):
            if read is not None and ends(batch, *now):
                break
            rows = min(self._batch_size, len(self._train[0]) - batch * self._batch_size)
            after, reading = self._take(now, x, y, rows, interrupt)
            # The step before is read while the device computes this one: its numbers were on their way before.
            if read is not None:
                yield read()
            read = partial(self._read, now, after, batch, reading, rows)
            now = after
            if interrupt.asked if self._team is None else self.asked:
                break
        assert read is not None
        yield read()

    def _take(
        self, now: tuple[Any, Any], x: Any, y: Any, rows: int, interrupt: Interrupt
    ) -> tuple[tuple[Any, Any], list[Callable[[], float]]]:
        """Take a step, and return the model and the state after it, and what waits for its numbers."""
        model, state = now
        if self._team is None:
            new_model, new_state, measured = self._step(model, state, x, y)
            reading = list(map(start_reading, self._numbers(measured, x, y)))
        else:
            new_model, new_state, (loss, prediction) = self._team.step(
                self._objective, self._optimizer, model, state, x, y, rows
            )
            reading = self._team.start_reading(
                model, loss, prediction, x, y, rows, self._objective, self._metrics, interrupt.asked
            )
        return (new_model, new_state), reading

    def _read(
        self,
        before: tuple[Any, Any],
        after: tuple[Any, Any],
        batch: int,
        reading: Sequence[Callable[[], float]],
        examples: int,
    ) -> Taken:
        values = [read() for read in reading]
        if self._team is not None:
            self.asked = values.pop() > 0 or self.asked
        return Taken(before, after, batch, values, examples)
