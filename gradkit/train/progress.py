"""What a training run shows while it runs: one line that changes on a terminal, and plain lines elsewhere."""

from __future__ import annotations

import importlib
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


Measured = Callable[[], Mapping[str, float]]
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


def progress_for(progress: bool, steps: int, done: int, epochs: int) -> Progress:
    """Return what shows a run of so many steps, some of them done: a bar where there is a terminal or a notebook."""
    if not progress:
        return Silent()
    if sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        try:
            return Bar(importlib.import_module("tqdm").tqdm, steps, done, epochs)
        except ImportError:
            pass  # lines do as well
    return Lines(steps, done, epochs)


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


class Bar:
    """One line on the terminal, by tqdm, which adds the steps per second and the time left."""

    def __init__(self, tqdm: Any, steps: int, done: int, epochs: int) -> None:
        self._epochs = epochs
        self._bar = tqdm(total=steps, initial=done, unit=" steps", mininterval=REFRESH, dynamic_ncols=True)
        self._due = 0.0
        self._kept: dict[str, str] = {}

    def step(self, step: int, epoch: int, values: Measured) -> None:
        """Move the bar."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + REFRESH
        self._bar.set_description_str(f"epoch {epoch}/{self._epochs}", refresh=False)
        self._bar.set_postfix({**{name: shown(value) for name, value in values().items()}, **self._kept}, refresh=False)
        self._bar.update(step - self._bar.n)

    def epoch(self, row: Mapping[str, Value]) -> None:
        """Show the epoch's validation and rate from now on."""
        kept = {name: value for name, value in row.items() if name.startswith("validation_") or name == "learning_rate"}
        self._kept = {name.replace("_", " "): shown(value) for name, value in kept.items()}
        step, epoch = row["step"], row["epoch"]
        assert isinstance(step, int)
        assert isinstance(epoch, int)
        self._due = 0.0
        self.step(
            step, epoch, lambda: {k: v for k, v in row.items() if k not in HIDDEN | kept.keys() and v is not None}
        )

    def say(self, text: str) -> None:
        """Write it above the line."""
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the line as it is."""
        self._bar.close()


HIDDEN = frozenset({"epoch", "step", "seconds"})


class Lines:
    """A line an epoch, on the standard output; where epochs are short, a line every few seconds, and the last one."""

    def __init__(self, steps: int, done: int, epochs: int) -> None:
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
        print(
            f"epoch {epoch}/{self._epochs}", *values, f"{rate:.0f} steps/s", f"{left:.0f} s left", sep="  ", flush=True
        )

    def say(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)

    def close(self) -> None:
        """Leave the lines as they are."""
