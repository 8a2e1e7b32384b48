"""The folder of a training run: its state, its best model and its log, each whole at any moment.

- ``checkpoint.safetensors``: all that the run goes on from, bit for bit: the model, the optimizer's state, the random
  key, the position in the epoch, the history and what callbacks remember. It holds no times, so a run gives the same
  file whether it was stopped or not.
- ``best.safetensors``: the model of the best epoch alone.
- ``log.jsonl``: a JSON object a line: a row for each epoch, and what happened (``event``).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gradkit import io, random
from gradkit.core import Array
from gradkit.data.checked_json import parse, whole
from gradkit.data.files import refuse_folder
from gradkit.data.replacing import clear_partial
from gradkit.errors import DamagedRunError, FileFormatError, ResumeError, TreeMismatchError
from gradkit.optim import SGDState
from gradkit.train.history import Value
from gradkit.train.locks import LOCK
from gradkit.train.positions import Expected, check_position, read_position
from gradkit.train.scaling import ScaledState

__all__ = ["BEST", "LAST", "LOG", "Checkpoint", "Folder", "Run", "Saved", "describe"]

LAST = "checkpoint.safetensors"
BEST = "best.safetensors"
LOG = "log.jsonl"

VERSION = 1
SHARE = 0.05
"""The share of the time that saving may take, where the user says nothing else."""
PAUSE = 1.0
"""Seconds between two saves at least, then: a disk has better things to do."""


class Run(NamedTuple):
    """Where a run is.

    Attributes
    ----------
    model, state : pytree
        The model and the optimizer's state.
    epoch, batch : int
        How many epochs are complete, and how many minibatches of the next.
    sums : tuple of float
        Of those minibatches: the loss and each metric, times the examples; and the examples.
    """

    model: Any
    state: Any
    epoch: int
    batch: int
    sums: tuple[float, ...]


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes
    ----------
    run : Run
        Where the run is.
    key : Array
        The random key that it began with.
    rows : list of dict
        The history, without times.
    best : tuple of (float, int) or None
        The smallest loss so far and its epoch.
    callbacks : list
        What each callback remembers.
    stopped : str
        The reason that a callback gave to stop, or nothing.
    """

    run: Run
    key: Any
    rows: list[dict[str, Value]]
    best: tuple[float, int] | None
    callbacks: list[Any]
    stopped: str


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is kept, and how often: what `fit` takes as ``checkpoint`` where a folder alone does not say it.

    Parameters
    ----------
    folder : path
        The folder; it is made if it is not there.
    every_steps : int, optional
        Save after so many steps, and after each epoch. By default a run is saved as often as takes a twentieth of its
        time at most, and not more than once a second. Either way it is saved at its end.
    settings : mapping from str to number or str
        What belongs to the run besides (the options of a program): a run is not resumed with others.

    Examples
    --------
    >>> Checkpoint("run", every_steps=1000).every_steps
    1000
    """

    folder: str | os.PathLike[str]
    every_steps: int | None = None
    settings: Mapping[str, bool | int | float | str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.every_steps is not None and (not isinstance(self.every_steps, int) or self.every_steps < 1):
            raise ValueError(
                f"Checkpoint: every_steps must be a whole number of at least 1, or None, got {self.every_steps!r}"
            )


class Folder:
    """A run's folder, while it is trained."""

    def __init__(self, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
        self.path = Path(checkpoint.folder)
        self.path.mkdir(parents=True, exist_ok=True)
        for name in (LAST, BEST, LOG, LOCK):  # before anything is taken away or computed
            refuse_folder(self.path / name)
        self.last = self.path / LAST
        self.every_steps = checkpoint.every_steps
        self._own = dict(checkpoint.settings)
        self._settings = dict(settings)
        self._started = time.monotonic()
        self._took = 0.0
        self._best: Any = None

    # Writing

    def is_due(self, steps: int, epoch_ends: bool) -> bool:
        """Tell whether to save after so many steps."""
        if self.every_steps is not None:
            return epoch_ends or steps % self.every_steps == 0
        return time.monotonic() - self._started > max(PAUSE, self._took / SHARE)

    def clear_partial(self) -> None:
        """Take away what killed runs left half-written."""
        clear_partial(self.path, (LAST, BEST, LOG))

    def empty(self) -> None:
        """Take away what an older run left besides its state, which the first `save` replaces."""
        for name in (BEST, LOG):
            (self.path / name).unlink(missing_ok=True)

    def save(self, saved: Saved, best: Any) -> None:
        """Write the best model where it is a new one, and then the run."""
        begun = time.monotonic()
        if best is not None and best is not self._best:
            io.save(self.path / BEST, best)
            self._best = best
        run = {
            "version": VERSION,
            "settings": self._own,
            "fit": self._settings,
            "epoch": saved.run.epoch,
            "batch": saved.run.batch,
            "sums": saved.run.sums,
            "history": saved.rows,
            "best": saved.best,
            "callbacks": saved.callbacks,
            "stopped": saved.stopped,
        }
        io.save(
            self.last,
            {"model": saved.run.model, "optimizer": saved.run.state, "key": saved.key, "run": json.dumps(run)},
        )
        self._started = time.monotonic()
        self._took = self._started - begun

    # Reading

    def key(self, given: Array | None) -> Array:
        """Return the random key that the run began with.

        Raises
        ------
        ResumeError
            If it is a run with other settings, or another key is given.
        FileFormatError
            If the file is damaged, or from a newer version.
        """
        stored = io.load(self.last)
        self._check(self._about(stored))
        key = stored.get("key")
        usual = random.key(0)
        if type(key) is not Array or (key.shape, key.dtype) != (usual.shape, usual.dtype):
            raise DamagedRunError(f"{self.last}: the random key of the run is missing, or is none: it is {key!r:.60}.")
        if given is not None and key.tolist() != given.tolist():
            raise ResumeError(self.last, "key", key.tolist(), given.tolist())
        return key

    def _about(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint says of its run."""
        text = stored.get("run")
        if not isinstance(text, str):
            detail = (
                f"{self.last} says nothing of a run ('run' is missing): another program wrote it, or it is damaged."
            )
            raise ResumeError(self.last, "run", None, None, detail)
        try:
            about = read_position(text, VERSION)
        except ValueError as error:
            raise self._damage_error(error) from error
        if about["version"] > VERSION:
            raise FileFormatError(
                f"{self.last}: it was written by a newer gradkit (version {about['version']} of a run, this one knows "
                f"{VERSION}). Upgrade gradkit."
            )
        return about

    def _damage_error(self, error: Exception) -> FileFormatError:
        return DamagedRunError(f"{self.last}: what it says of the run is damaged: {error}.")

    def _check(self, about: Mapping[str, Any]) -> None:
        for ours, theirs in ((self._own, about.get("settings", {})), (self._settings, about.get("fit", {}))):
            for name in sorted(ours):
                if name not in theirs:
                    raise ResumeError(self.last, name, None, ours[name], f"{self.last} says no {name} of its run.")
                if theirs.get(name) != json.loads(json.dumps(ours[name])):
                    raise ResumeError(self.last, name, theirs.get(name), ours[name])

    def load(self, model: Any, state: Any, key: Any, expected: Expected) -> Saved | None:
        """Read the run, into a model and a state like these; None where there is none.

        Raises
        ------
        ResumeError
            If it is a run of another model.
        FileFormatError
            If the file is damaged, or the run that is expected cannot be where the file says.
        """
        if not self.last.exists():
            return None
        like = {"model": model, "optimizer": state, "key": key, "run": ""}
        try:
            loaded = io.load(self.last, like=like)
        except TreeMismatchError as error:
            detail = f"{self.last} is of a run with another model or optimizer: {error}"
            raise ResumeError(self.last, "model", None, None, detail) from error
        about = self._about({"run": loaded["run"]})
        try:
            check_position(about, expected)
            state = loaded["optimizer"]
            state = state.optimizer if isinstance(state, ScaledState) else state
            if isinstance(state, SGDState):
                done = about["epoch"] * expected.steps_per_epoch + about["batch"]
                whole(done, done)(state.step, "the optimizer's step")
        except ValueError as error:
            raise self._damage_error(error) from error
        return Saved(
            Run(loaded["model"], loaded["optimizer"], about["epoch"], about["batch"], tuple(about["sums"])),
            loaded["key"],
            about["history"],
            None if about["best"] is None else (about["best"][0], about["best"][1]),
            about["callbacks"],
            about["stopped"],
        )

    def restore(self, callbacks: Sequence[Any], states: Sequence[Any]) -> None:
        """Give callbacks what they remembered."""
        try:
            for callback, state in zip(callbacks, states, strict=True):
                callback.restore(state)
        except ValueError as error:
            raise self._damage_error(error) from error

    def load_best(self, like: Any) -> Any:
        """Read the best model."""
        try:
            self._best = io.load(self.path / BEST, like=like)
        except FileNotFoundError as error:
            raise DamagedRunError(f"{self.path}: it has {LAST} and no {BEST}, so it is incomplete.") from error
        except TreeMismatchError as error:
            raise DamagedRunError(f"{error} It is no model of the run in {LAST}.") from error
        return self._best

    # The log

    def log(self, entry: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(_line(entry))

    def restart_log(self, epochs: int, steps: int) -> list[dict[str, Any]]:
        """Take out of the log what a resumed run does again, and return the rows of the epochs that it has."""
        kept = [
            entry
            for entry in _entries(self.path / LOG)
            if (entry.get("epoch") or 0) <= epochs
            and not (entry.get("event") in REPEATED and (entry.get("at_step") or 0) >= steps)
        ]
        io.replace(self.path / LOG, "".join(map(_line, kept)).encode())
        return [entry for entry in kept if entry.get("epoch") is not None]


REPEATED = frozenset({"learning rate"})
"""Events that come again when their steps are done again."""


def _line(entry: Mapping[str, Any]) -> str:
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in entry.items()
    }
    return json.dumps(plain) + "\n"


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield a log's entries; a line that a killed process did not finish, or that is none of a log, is passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = parse(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and all(kinds(entry.get(name)) for name, kinds in ENTRY.items()):
            yield entry


def _count(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


ENTRY: dict[str, Callable[[Any], bool]] = {
    "epoch": _count,
    "at_step": _count,
    "step": _count,
    "event": lambda value: isinstance(value, str | None),
    "seconds": lambda value: value is None or (type(value) in (int, float) and 0 <= value < math.inf),
}
"""What is asked of a log's entry before it is used, where it has such a field."""


# What a run is besides its numbers

SAMPLED_STEPS = (0, 1, 10, 100, 1000, 10_000)
LARGEST_SHOWN = 64
"""Elements of an array that is described by its numbers."""


def describe(value: Any) -> Any:
    """Describe an optimizer by the numbers that it is made of, so that two can be compared: a schedule by its rates.

    Examples
    --------
    >>> import gradkit
    >>> describe(gradkit.optim.SGD(0.1, momentum=0.9))["momentum"]
    0.9
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if type(value) is Array:
        return value.tolist() if value.size <= LARGEST_SHOWN else list(value.shape)
    if not hasattr(value, "update"):
        return str(getattr(value, "__qualname__", type(value).__name__))
    parts = {name: part for name, part in sorted(getattr(value, "__dict__", {}).items()) if not name.startswith("_")}
    rate = parts.pop("learning_rate", None)
    rates = [_rate(rate, step) for step in SAMPLED_STEPS] if callable(rate) else describe(rate)
    return {
        "type": type(value).__name__,
        "learning_rate": rates,
        **{name: describe(part) for name, part in parts.items()},
    }


def _rate(schedule: Any, step: int) -> float:
    try:
        return float(schedule(step))
    except OverflowError:  # one that grows, long after the run
        return math.inf
