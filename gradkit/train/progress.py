"""What a training run shows while it runs: one line that changes on a terminal, and plain lines elsewhere."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gradkit.train.history import Value, shown

__all__ = ["Progress", "progress_for"]

REFRESH = 0.1
"""Seconds between two changes of the line on a terminal: the eye sees no more."""
BETWEEN_LINES = 2.0
"""Seconds between two plain lines, so that a thousand short epochs do not fill a log."""


Measured = Callable[[], Mapping[str, Value]]
"""Gives the epoch's measurements so far; asked only when they are shown."""


class Progress(Protocol):
    """What the training loop tells."""

    def step(self, step: int, epoch: int, values: Measured) -> None:
        """Say that so many steps are done, and what the epoch's measurements are so far."""

    def epoch(self, row: Mapping[str, Value]) -> None:
        """Say what an epoch measured."""

    def say(self, text: str) -> None:
        """Say something else."""

    def close(self) -> None:
        """End."""


def progress_for(progress: bool, steps: int, done: int, epochs: int, examples: int | None = None) -> Progress:
    """Return what shows a run of so many steps, some of them done: a bar where there is a terminal or a notebook.

    Parameters
    ----------
    examples : int, optional
        In a step, of all processes: the pace is then told in examples.
    """
    if not progress:
        return Silent()
    if sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        try:
            return Bar(importlib.import_module("tqdm").tqdm, steps, done, epochs, examples)
        except ImportError:
            pass  # lines do as well
    return Lines(steps, done, epochs, examples)


class Silent:
    """No progress."""

    def step(self, step: int, epoch: int, values: Measured) -> None:
        """Say nothing."""

    def epoch(self, row: Mapping[str, Value]) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


UNKNOWN_WIDTH = 120
"""Columns of a terminal that does not say how many it has."""


def terminal_width() -> int:
    """Return how many columns the terminal has; 0 where that is not known."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 0


class Bar:
    """One line on the terminal, by tqdm, which adds the steps per second and the time left.

    What was measured on the validation data after the last epoch stands in brackets.
    """

    def __init__(self, tqdm: Any, steps: int, done: int, epochs: int, examples: int | None = None) -> None:
        self._epochs = epochs
        self._each = examples or 1
        width = terminal_width()
        self._bar = tqdm(
            total=steps * self._each,
            initial=done * self._each,
            unit=" steps" if examples is None else " examples",
            mininterval=REFRESH,
            bar_format="{desc} {percentage:3.0f}%|{bar:6}| {rate_fmt}, {remaining} left{postfix}",
            dynamic_ncols=width > 0,
            ncols=width or UNKNOWN_WIDTH,
        )
        self._due = 0.0
        self._row: Mapping[str, Value] = {}

    def step(self, step: int, epoch: int, values: Measured) -> None:
        """Move the bar."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + REFRESH
        self._bar.set_description_str(f"epoch {epoch}/{self._epochs}", refresh=False)
        self._bar.set_postfix_str(", ".join(self._parts(values())), refresh=False)
        self._bar.update(step * self._each - self._bar.n)

    def _parts(self, values: Mapping[str, Value]) -> list[str]:
        """Return the measurements, each with the last one on the validation data in brackets."""
        validated = {name: self._row.get(f"validation_{name}") for name in values}
        parts = [
            f"{name.replace('_', ' ')} {shown(value)}"
            + (f" ({shown(validated[name])})" if validated[name] is not None else "")
            for name, value in values.items()
        ]
        rate = self._row.get("learning_rate")
        return parts if rate is None else [*parts, f"rate {shown(rate)}"]

    def epoch(self, row: Mapping[str, Value]) -> None:
        """Show the epoch's validation and rate from now on."""
        self._row = row
        step, epoch = row["step"], row["epoch"]
        assert isinstance(step, int)
        assert isinstance(epoch, int)
        self._due = 0.0
        own = {k: v for k, v in row.items() if k not in NOT_MEASURED and not k.startswith("validation_")}
        self.step(step, epoch, lambda: own)

    def say(self, text: str) -> None:
        """Write it above the line."""
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the line as it is."""
        self._bar.close()


HIDDEN = frozenset({"epoch", "step", "seconds"})
NOT_MEASURED = HIDDEN | {"learning_rate"}


class Lines:
    """A line an epoch, on the standard output; where epochs are short, a line every few seconds, and the last one."""

    def __init__(self, steps: int, done: int, epochs: int, examples: int | None = None) -> None:
        self._pace = 1 if examples is None else examples, "steps/s" if examples is None else "examples/s"
        self._steps = steps
        self._done = done
        self._epochs = epochs
        self._started = time.monotonic()
        self._due = self._started

    def step(self, step: int, epoch: int, values: Measured) -> None:
        """Say nothing: a line is an epoch's."""

    def epoch(self, row: Mapping[str, Value]) -> None:
        """Print the line."""
        now = time.monotonic()
        epoch, step = row["epoch"], row["step"]
        assert isinstance(step, int)
        if now < self._due and epoch != self._epochs:
            return
        self._due = now + BETWEEN_LINES
        values = [f"{name.replace('_', ' ')} {shown(value)}" for name, value in row.items() if name not in HIDDEN]
        rate = (step - self._done) / max(now - self._started, 1e-9)
        left = (self._steps - step) / rate if rate else 0.0
        each, unit = self._pace
        pace = f"{rate * each:.0f} {unit}"
        print(f"epoch {epoch}/{self._epochs}", *values, pace, f"{left:.0f} s left", sep="  ", flush=True)

    def say(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)

    def close(self) -> None:
        """Leave the lines as they are."""
