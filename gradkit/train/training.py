"""`Training`: a run in progress. The loop, and what it keeps so that it can be stopped and resumed at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np

from gradkit.core import Array
from gradkit.data import minibatches
from gradkit.errors import NonFiniteLossError
from gradkit.optim import check_finite
from gradkit.train.callbacks import Callback
from gradkit.train.checkpoints import Folder, Run, Saved
from gradkit.train.compiled import CompiledSteps, Jit
from gradkit.train.eager import EagerSteps, Taken
from gradkit.train.evaluation import first_not_finite, is_finite, measure
from gradkit.train.history import History, Value
from gradkit.train.interrupt import OF_LAUNCHERS, TOGETHER, Interrupt
from gradkit.train.objectives import Metric, Objective, numbers_of
from gradkit.train.positions import Expected
from gradkit.train.progress import Progress, progress_for
from gradkit.train.resuming import Resumed, read_run, share_run
from gradkit.train.scaling import ScaledState
from gradkit.train.steps import Optimizer, RatedStep, rated_step
from gradkit.train.teams import Team

__all__ = ["Training"]

FINISHED, INTERRUPTED = "finished", "interrupted"


_Remembered = tuple[tuple[float, int] | None, list[Any], str]
"""What changes at the end of an epoch: the best loss, what callbacks remember, and why they stop the run."""


class Training:
    """A run in progress, as callbacks see it.

    Attributes
    ----------
    history : History
        The epochs so far.
    epochs : int
        How many epochs there are to be.
    steps_per_epoch : int
        The number of minibatches.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Optimizer,
        objective: Objective,
        metrics: Mapping[str, Metric],
        train: tuple[Any, Any],
        validation: tuple[Any, Any] | None,
        batch_size: int,
        epochs: int,
        key: Array,
        callbacks: Sequence[Callback],
        folder: Folder | None,
        history: History,
        jit: Jit = "auto",
        team: Team | None = None,
        every_steps: int | None = None,
        origins: Callable[[], tuple[Any, Any]] | None = None,
    ) -> None:
        self._every_steps = every_steps
        self._origins = origins
        """Gives the numbers of the rows of `train` and `validation` in the data that they were drawn from."""
        self._team = team
        self._asked = False
        """Whether any process of the team was asked to stop."""
        self.history = history
        self.epochs = epochs
        self.steps_per_epoch = len(minibatches(train, batch_size, key))
        self._optimizer = optimizer
        self._objective = objective
        self._metrics = metrics
        self._train = train
        self._validation = validation
        self._batch_size = batch_size
        self._key = key
        self._callbacks = callbacks
        self._folder = folder
        self._measured = ("loss", *(metrics if not objective.takes_model else ()))
        self._run = Run(model, optimizer.init(model), 0, 0, self._no_sums())
        self._good: Run | None = None
        """The last state whose loss is known to be a number, where `_good_until` says no later one."""
        self._good_until: int | None = None
        """The minibatch before which the last good state is: steps of a program lead there from `_good`."""
        self._eager = EagerSteps(objective, optimizer, metrics, train, batch_size, key, team)
        self._compiled = CompiledSteps(
            self._rated_step,
            optimizer,
            self.rate_at,
            train,
            batch_size,
            self.steps_per_epoch,
            key,
            jit,
            any(not type(callback).__module__.startswith("gradkit.") for callback in callbacks),
            team,
        )
        self._best: tuple[float, int] | None = None
        self._best_model: Any = None
        self._stopped = ""
        self._resumed = False
        self._before_end: _Remembered = (None, [], "")
        self._seconds = 0.0
        self._started = time.perf_counter()
        self._progress: Progress = progress_for(False, 0, 0, 0)

    # What callbacks see

    @property
    def model(self) -> Any:
        """The model as it is now."""
        return self._run.model

    @property
    def epoch(self) -> int:
        """The number of epochs that are complete."""
        return self._run.epoch

    @property
    def step(self) -> int:
        """The number of updates so far."""
        return self._run.epoch * self.steps_per_epoch + self._run.batch

    @property
    def columns(self) -> tuple[str, ...]:
        """The history's columns."""
        measured = self._measured
        if self._validation is not None:
            measured = (*measured, *(f"validation_{name}" for name in ("loss", *self._metrics)))
        return ("epoch", "step", *measured, "learning_rate", "seconds")

    def stop(self, reason: str) -> None:
        """End training after this epoch."""
        self._stopped = reason

    def restore_best(self) -> None:
        """Go back to the model of the epoch with the smallest validation loss (or loss, without validation data)."""
        if self._best_model is not None:
            self._run = self._run._replace(model=self._best_model)

    def rate_at(self, step: int) -> float | None:
        """Return the learning rate of a step, from 0; None where the optimizer has none."""
        rate = getattr(self._optimizer, "learning_rate", None)
        if callable(rate):
            rate = rate(step)
        return None if rate is None else float(rate)

    @property
    def loss_scale(self) -> float | None:
        """What the next loss is multiplied by before it is differentiated; None without a scale."""
        state = self._run.state
        return state.scale.item() if isinstance(state, ScaledState) else None

    def log(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the run's log, where it has a folder."""
        if self._folder is not None:
            self._folder.log(entry)

    # The run

    @property
    def _has_work(self) -> bool:
        return self._run.epoch < self.epochs and not self._stopped

    def resume(self) -> bool:
        """Go on from the folder's checkpoint, if there is one."""
        assert self._folder is not None
        columns = tuple(name for name in self.columns if name != "seconds")
        expected = Expected(
            self.steps_per_epoch, self._batch_size, columns, len(self._measured) + 1, callbacks=len(self._callbacks)
        )
        found = read_run(self._folder, self._run, self._key, expected, self._callbacks)
        if found is None:
            return False
        self._go_on_from(found)
        if self._has_work:
            self.log({"event": "resumed", "at_step": self.step})
        return True

    def catch_up(self, resumed: bool) -> bool:
        """Be in every process what process 0 is after it has read the checkpoint, or has not; return which."""
        assert self._team is not None
        rows = list(self.history.rows())
        own = Resumed(self._run, self._best, self._best_model, self._stopped, rows, self._seconds)
        found = share_run(self._team, resumed, own, self._callbacks)
        if found is not None and not self._team.leads:
            self._go_on_from(found)
        return found is not None

    def _go_on_from(self, found: Resumed) -> None:
        self._run, self._best, self._best_model, self._stopped, rows, self._seconds = found
        for row in rows:
            self.history.append(row)
        self._resumed = True

    def begin(self) -> None:
        """Put the folder's checkpoint at this run's beginning: what an older run left there is no state of this one."""
        assert self._folder is not None
        self._folder.empty()
        self._save(self._run)

    def train(self, progress: bool) -> Any:
        """Train to the end, and return the model."""
        done = self.step
        steps = self.epochs * self.steps_per_epoch
        self._progress = progress_for(progress, steps, done, self.epochs, self._batch_size if self._team else None)
        self._started = time.perf_counter()
        if self._folder is not None and self._resumed and self._has_work:
            at = f"epoch {self._run.epoch + 1}, batch {self._run.batch + 1}"
            self._progress.say(f"resuming from {self._folder.last}: {at}")
        if self._team is not None and self._has_work:
            uneven = self._team.uneven(len(self._train[0]), self._batch_size)
            if uneven is not None:
                self._progress.say(uneven)
        for callback in self._callbacks:
            callback.start(self)
        note, reason = "", FINISHED
        try:
            # An overflow shows in the loss, which is looked at here: NumPy need not warn of it as well.
            signals = Interrupt() if self._team is None else Interrupt(OF_LAUNCHERS, TOGETHER)
            team = nullcontext() if self._team is None else self._team.listening(lambda: signals.asked)
            with signals as interrupt, team, np.errstate(all="ignore"):
                while self._has_work and reason != INTERRUPTED:
                    if self._steps(interrupt):
                        self._end_epoch()
                    if self._is_asked(interrupt):
                        reason = INTERRUPTED
                self._end(self._stopped or reason, done)
            if self.history.stopped != FINISHED:
                note = f"{self.history.stopped}: stopped after {self.step} steps"
        except NonFiniteLossError as error:
            note = str(error)
            error.everywhere = self._team is not None
            raise
        finally:
            self._progress.close()
            if note:
                self._progress.say(note)
            for callback in self._callbacks:
                callback.end(self)
        return self._run.model

    def _steps(self, interrupt: Interrupt) -> bool:
        """Take the steps that are left of an epoch; tell whether all were."""
        while self._run.batch < self.steps_per_epoch:
            stop = self._next_call(self._run)
            if stop > self._run.batch:
                self._run_compiled(stop)
            else:
                self._run_eagerly(interrupt)
            if self._is_asked(interrupt):
                break
        if self._run.batch < self.steps_per_epoch:
            self._run = self._last_good() or self._run  # nobody has seen a loss of the newest state
        return self._run.batch == self.steps_per_epoch

    def _is_asked(self, interrupt: Interrupt) -> bool:
        """Return whether to stop: where there are others, what all of them know since the same step."""
        return interrupt.asked if self._team is None else self._asked

    def _next_call(self, run: Run) -> int:
        """Return before which minibatch the next call of a program ends; the run's own if its step is eager."""
        stop = self._compiled.stop(run.epoch, run.batch, run.model, run.state)
        if self._every_steps is not None:
            # A run is saved at the beginning of a call.
            every, first = self._every_steps, run.epoch * self.steps_per_epoch
            stop = min(stop, run.batch + every - (first + run.batch) % every)
        return stop

    # Eager steps

    def _run_eagerly(self, interrupt: Interrupt) -> None:
        """Take steps as long as they are eager."""
        epoch = self._run.epoch

        def ends(batch: int, model: Any, state: Any) -> bool:
            return self._compiled.stop(epoch, batch, model, state) > batch

        for step in self._eager(self._run, ends, interrupt):
            self._asked = self._eager.asked or self._asked
            self._note(step)
        self._run = Run(*step.after, epoch, step.batch + 1, self._run.sums)

    def _note(self, step: Taken) -> None:
        """Add a step's numbers to those of the epoch, and save the state before it where that is due."""
        sums = self._run.sums
        taken = self._run.epoch * self.steps_per_epoch + step.batch
        if not math.isfinite(step.values[0]):
            self._refuse(step.values[0], taken)
        # Here and not after the update: a checkpoint is good where its parameters have a loss.
        self._note_good(Run(*step.before, self._run.epoch, step.batch, sums))
        self._run = self._run._replace(sums=_added(sums, step.values, step.examples))
        self._progress.step(taken + 1, self._run.epoch + 1, self._means)

    def _note_good(self, run: Run, until: int | None = None) -> None:
        """Note a state that has a loss, and save it where that is due."""
        self._good, self._good_until = run, until
        taken = run.epoch * self.steps_per_epoch + run.batch
        if self._folder is not None and run.batch and self._folder.is_due(taken, epoch_ends=False):
            self._save(run)

    # Steps of a program

    def _rated_step(self, rows: int) -> RatedStep:
        """Return the step of a program for minibatches of so many rows."""
        if self._team is None:
            return rated_step(self._objective.with_prediction, self._optimizer, numbers_of(self._metrics))
        return self._team.rated_step(self._objective, self._optimizer, self._metrics, rows)

    def _run_compiled(self, stop: int) -> None:
        """Take the steps up to a minibatch in a call; a team ends it before, where somebody is asked to stop."""
        before = self._run
        after, wrong = self._after(before, stop)
        self._asked = self._compiled.asked or self._asked
        if wrong is not None:
            if after.batch > before.batch:  # of the step before this one the loss is a number
                self._note_good(before, after.batch - 1)
            self._run = after
            self._refuse(wrong, after.epoch * self.steps_per_epoch + after.batch)
        self._note_good(before, after.batch - 1)
        self._run = after
        self._progress.step(self.step, after.epoch + 1, self._means)

    def _after(self, run: Run, stop: int) -> tuple[Run, float | None]:
        """Return what a run is after the steps up to a minibatch, or where a loss is no number: before it, and that."""
        if stop == run.batch:
            return run, None
        model, state, columns = self._compiled(run.epoch, run.batch, stop, run.model, run.state)
        sums = run.sums
        for batch, values in enumerate(zip(*columns, strict=True), start=run.batch):
            if not math.isfinite(values[0]):
                return run._replace(batch=batch, sums=sums), values[0]
            sums = _added(sums, values, min(self._batch_size, len(self._train[0]) - batch * self._batch_size))
        return Run(model, state, run.epoch, run.batch + len(columns[0]), sums), None

    def _last_good(self) -> Run | None:
        """Return the last state that has a loss."""
        if self._good is not None and self._good_until is not None:
            with nullcontext() if self._team is None else self._team.listening(bool):  # it has been asked already
                self._note_good(self._after(self._good, self._good_until)[0])
        return self._good

    def _end_epoch(self) -> None:
        """Validate, note the best model, tell the callbacks, and save where that is due."""
        run, self._before_end = self._run, self._remember()
        row: dict[str, Value] = {"epoch": run.epoch + 1, "step": self.step, **self._means()}
        if self._validation is not None:
            measured = measure if self._team is None else self._team.measure
            found = measured(run.model, *self._validation, self._objective, self._metrics)
            if not math.isfinite(found["loss"]):
                self._refuse(found["loss"], self.step, "validation")
            row.update({f"validation_{name}": value for name, value in found.items()})
        elif not is_finite(run.model):
            self._refuse(math.nan, self.step)  # no data are there to see it, and the epoch may be the last one
        row["learning_rate"] = self.rate_at(self.step - 1)
        seconds = self._seconds + time.perf_counter() - self._started
        row["seconds"] = seconds if self._team is None else self._team.tell(seconds)
        self.history.append(row)
        loss = row["loss"] if self._validation is None else row["validation_loss"]
        assert loss is not None
        if self._best is None or loss < self._best[0]:
            self._best, self._best_model = (loss, run.epoch + 1), run.model
        self._run = Run(run.model, run.state, run.epoch + 1, 0, self._no_sums())
        self._progress.epoch(row)
        for callback in self._callbacks:
            callback.epoch_end(self)
        if self._team is not None and self._callbacks:
            self._stopped = next(filter(None, self._team.hear(self._stopped)), "")  # those of any process stop all
        self.log(row)
        if self._folder is not None and self._folder.is_due(self.step, epoch_ends=True):
            self._save(self._run)

    def _end(self, reason: str, done: int) -> None:
        """Say why the run has ended, and save it."""
        self.history.stopped = reason
        self.history.best_epoch = None if self._best is None else self._best[1]
        if self._folder is not None and (self.step > done or reason == INTERRUPTED):
            self._save(self._run)
            self.log({"event": reason, "at_step": self.step})

    def _refuse(self, loss: float, step: int, part: Literal["data", "validation"] = "data") -> None:
        """Save the last good state, and stop: the loss on a part of the data is no number."""
        checkpoint, good = None, self._last_good()
        if self._folder is not None and good is not None:
            self._save(good)
            checkpoint = self._folder.last
        name = "loss" if part == "data" else "validation loss"
        self.log({"event": f"the {name} is not finite", "at_step": step})
        if self._origins is None:
            found = first_not_finite(part, self._train if part == "data" else self._validation)
        else:
            train, held = self._origins()
            found = first_not_finite("data", *((self._train, train) if part == "data" else (self._validation, held)))
        self.history.stopped = f"the {name} is {loss} at step {step}" + (f": {found}" if found else "")
        try:
            if found:
                raise NonFiniteLossError(f"{self.history.stopped}. Fill it in, or leave its row out.")
            check_finite(loss, step, checkpoint, name)
        except NonFiniteLossError as error:
            error.model = None if good is None else good.model
            error.history = self.history
            raise

    def _save(self, run: Run) -> None:
        assert self._folder is not None
        rows = [{name: value for name, value in row.items() if name != "seconds"} for row in self.history.rows()]
        # The last good state may be one of the epoch before, which then has not ended yet.
        remembered = self._remember() if run.epoch == self._run.epoch else self._before_end
        self._folder.save(Saved(run, self._key, rows[: run.epoch], *remembered), self._best_model)

    def _remember(self) -> _Remembered:
        return self._best, [dict(callback.state()) for callback in self._callbacks], self._stopped

    # Sums over an epoch

    def _no_sums(self) -> tuple[float, ...]:
        return (0.0,) * (len(self._measured) + 1)

    def _means(self) -> dict[str, float]:
        *totals, examples = self._run.sums
        return {name: total / examples for name, total in zip(self._measured, totals, strict=True)}


def _added(sums: Sequence[float], values: Sequence[float], examples: int) -> tuple[float, ...]:
    """Return the sums over an epoch with a step's measurements added."""
    weighted = [total + value * examples for total, value in zip(sums, values, strict=False)]
    return (*weighted, sums[-1] + examples)
