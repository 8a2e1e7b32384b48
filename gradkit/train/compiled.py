"""The steps of a run that are a program: which they are, and what they read.

Which steps are run so follows from their numbers and from what the step is, never from time: a run that is resumed
decides as the run that was not stopped does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from gradkit import random, tree
from gradkit.core import Array
from gradkit.data import minibatches
from gradkit.numpy import arange, asarray
from gradkit.train.checkpoints import describe
from gradkit.train.programs import WINDOW, Epoch, Part, Programs, compiles, parameter_dtype
from gradkit.train.steps import RatedStep, has_rate
from gradkit.train.teams import Team

__all__ = ["EAGER_STEPS", "FEW_STEPS", "CompiledSteps", "Jit"]

EAGER_STEPS = 1024
"""The first steps of a run, which are eager: small ones take about half as long as compiling does. So a run that is
over soon after takes about twice as long as it had to, no more, and one whose program is on disk loses little."""
FEW_STEPS = 32
"""Steps of an epoch up to which its last minibatch, where that is smaller, has a program of its own."""
CALL_SECONDS = 0.1, 0.2
"""What a call takes at least, where there are steps enough: it begins with a copy of the model. And what at most: it is
not stopped for Ctrl-C or progress."""

Jit = bool | Literal["auto"]


class CompiledSteps:
    """What runs steps of a run as a program.

    Parameters
    ----------
    step_of : callable
        ``step_of(rows)``, the `RatedStep` for minibatches of so many rows.
    optimizer : Optimizer
        That of the step.
    rate_at : callable
        The learning rate of a step of the run, from 0; None where there is none.
    train : pair of arrays
        The examples and their targets.
    batch_size, steps_per_epoch : int
        Rows in a minibatch, and minibatches in an epoch.
    key : Array
        The random key of the order.
    jit : "auto", True or False
        Whether to compile: where `step` does nothing but compute, whatever it does, or never.
    has_own_callbacks : bool
        Whether code that is not gradkit's runs between two epochs.
    team : Team, optional
        The processes that take the same steps. What one finds out by its clock or by looking, all have to know.

    Attributes
    ----------
    asked : bool
        Whether any process of the team was asked to stop before the last step of the call, which is its last for that.
    """

    def __init__(
        self,
        step_of: Callable[[int], RatedStep],
        optimizer: Any,
        rate_at: Callable[[int], float | None],
        train: tuple[Any, Any],
        batch_size: int,
        steps_per_epoch: int,
        key: Array,
        jit: Jit,
        has_own_callbacks: bool,
        team: Team | None = None,
    ) -> None:
        self._step_of = step_of
        self._team = team
        self.asked = False
        self._programs = self._new_programs()
        self._optimizer = optimizer
        self._rate_at = rate_at
        self._train = train
        batches = minibatches(train, batch_size, key)
        self._batches = batches if team is None else team.part(batches)
        self._batch_size = batch_size
        self._steps_per_epoch = steps_per_epoch
        self._key = key
        self._jit = jit
        self._has_own_callbacks = has_own_callbacks
        self._is_usable: dict[bool, bool] = {}
        """Whether steps whose minibatch has all its rows, and others, can be a program; known once it is asked."""
        self._dtype = "float64"
        self._about: Any = None
        self._orders: dict[int, tuple[Array, Any]] = {}
        self._limit = 1
        self._wish = 1
        """The limit that the clock of this process suggests."""
        self._most = WINDOW

    def _new_programs(self) -> Programs:
        return Programs(self._step_of, None if self._team is None else self._team.ends)

    @property
    def _whole(self) -> int:
        """The minibatches of an epoch that have all their rows."""
        return len(self._train[0]) // self._batch_size

    def stop(self, epoch: int, batch: int, model: Any, state: Any) -> int:
        """Return where a call that begins with a minibatch of an epoch ends; `batch` itself if that step is eager."""
        if not self._jit or not self._is_late(epoch, batch) or not self._can_run(epoch, batch, model, state):
            return batch
        if batch >= self._whole:
            return batch + 1
        return min(batch + self._limit, self._whole)

    def _is_late(self, epoch: int, batch: int) -> bool:
        if self._jit is True:
            return True
        if batch >= self._whole and self._steps_per_epoch > FEW_STEPS:
            return False
        return epoch * self._steps_per_epoch + batch >= EAGER_STEPS

    def _can_run(self, epoch: int, batch: int, model: Any, state: Any) -> bool:
        whole = batch < self._whole
        if whole not in self._is_usable:
            self._dtype = parameter_dtype(model)
            # Of other sizes only if the usual one can: whichever comes first in a run that is resumed.
            usual = whole or not self._whole or self._can_run(epoch, 0, model, state)
            usable = usual and compiles(model) and self._only_computes(epoch, batch, model, state)
            self._is_usable[whole] = usable if self._team is None else all(self._team.hear(usable))
            if self._is_usable[whole] and self._calls_host(epoch, batch, model, state):
                self._most = 1  # a part of a call may run again, and what was printed would be printed twice
        return self._is_usable[whole]

    def _some(self, epoch: int, batch: int) -> tuple[int, list[Any]]:
        """Return the rows of a minibatch, and arguments of a step that follow its model and state: of their shapes."""
        about, _ = self._epoch(epoch, batch)
        part = self._part(batch)
        return part.whole, [about.rates[0], *(array[: part.own] for array in about.arrays)]

    def _part(self, batch: int) -> Part:
        """Return what of a minibatch is this process's."""
        begin, end = self._batches.bounds(batch)
        first = batch * self._batch_size
        return Part(begin - first, end - begin, min(self._batch_size, len(self._train[0]) - first))

    def _calls_host(self, epoch: int, batch: int, model: Any, state: Any) -> bool:
        rows, some = self._some(epoch, batch)
        try:
            return self._programs.calls_host(rows, model, state, *some)
        except Exception:  # noqa: BLE001 - it looks at values: the call that is to come says so
            return False

    def _only_computes(self, epoch: int, batch: int, model: Any, state: Any) -> bool:
        if self._jit is True:
            return True
        numbers = [leaf for leaf in tree.leaves(state) if type(leaf) is not Array]
        if any(type(number) is not int for number in numbers) or (numbers and not has_rate(self._optimizer)):
            return False  # what an optimizer computes of Python's numbers stays as exact as those
        rows, some = self._some(epoch, batch)
        try:
            effect, has_own_code = self._programs.effect(rows, model, state, *some)
        except Exception:  # noqa: BLE001 - it looks at values, or cannot be captured: run as it is, it will say why
            return False
        return not effect and not (has_own_code and self._has_own_callbacks)

    def __call__(
        self, epoch: int, start: int, stop: int, model: Any, state: Any
    ) -> tuple[Any, Any, list[Sequence[float]]]:
        """Take the steps of an epoch from `start` to below `stop`; return what `Programs` does.

        They are fewer where any process of a team is asked to stop, or a loss is no number.
        """
        self.asked = False
        if all(type(part) is Array for part in self._train):
            about, first = self._epoch(epoch, start)
            return self._timed(model, state, about, start - first, stop - first)
        columns: list[Sequence[float]] = []
        for batch in range(start, stop):
            about, first = self._epoch(epoch, batch)
            model, state, values = self._timed(model, state, about, batch - first, batch - first + 1)
            columns = [[*column, *value] for column, value in zip(columns or [[]] * len(values), values, strict=True)]
            if self.asked:
                break
        return model, state, columns

    def _timed(self, model: Any, state: Any, about: Epoch, start: int, stop: int) -> tuple[Any, Any, Any]:
        if self._team is not None:
            self._team.wish = self._wish
        begun = time.perf_counter()
        model, state, columns = self._programs(model, state, about, start, stop)
        took = time.perf_counter() - begun
        least, most = CALL_SECONDS
        if stop - start == self._limit and took < least:
            self._wish = min(2 * self._limit, self._most)
        elif took > most:
            self._wish = max(1, self._limit // 2)
        if self._team is None:
            self._limit = self._wish
        else:
            *columns, asked, wishes = columns
            self.asked, self._limit = any(asked), int(wishes[-1])
        return model, state, columns

    # What the steps of an epoch read

    def _epoch(self, epoch: int, batch: int) -> tuple[Epoch, int]:
        """Return what steps of an epoch from `batch` on read, and the number of the minibatch that is its first."""
        order, rates = self._order_and_rates(epoch)
        part = self._part(batch)
        if all(type(array) is Array for array in self._train):
            return Epoch(self._train, order, rates, self._batch_size, part), 0
        # Of data on the disk a minibatch is read at a time.
        rows = self._batches.batch(batch, order)
        part = part._replace(begin=0)
        return Epoch(rows, arange(part.own), rates[batch : batch + 1], self._batch_size, part), batch

    def _order_and_rates(self, epoch: int) -> tuple[Array, Any]:
        if epoch not in self._orders:
            self._notice_changes()
            order = minibatches(self._train, self._batch_size, random.fold_in(self._key, epoch)).order()
            first = epoch * self._steps_per_epoch
            rates = [self._rate_at(first + batch) or 0.0 for batch in range(self._steps_per_epoch)]
            # Those of the epoch before are needed where its last state turns out to be the last good one.
            self._orders = {e: kept for e, kept in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = order, asarray(np.asarray(rates, self._dtype))
        return self._orders[epoch]

    def _notice_changes(self) -> None:
        """Compile anew where a callback has changed the optimizer."""
        if self._has_own_callbacks:
            about = describe(self._optimizer)
            if self._about not in (None, about):
                self._programs = self._new_programs()
            self._about = about
