"""Ctrl-C, as a question that the training loop asks between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["OF_LAUNCHERS", "TOGETHER", "Interrupt"]

OF_LAUNCHERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""What the processes of a launcher are asked to end by: it makes SIGTERM of Ctrl-C, and hands SIGUSR1 on as it is."""
TOGETHER = 1.0
"""Seconds in which signals to a launcher's processes are one: a terminal sends its own, and the launcher another."""


class Interrupt:
    """While it is entered, the first Ctrl-C is only noted; the second one raises KeyboardInterrupt as ever.

    In a thread that is not the main one, or where a program has a handler of its own, nothing is changed; nor where
    Ctrl-C is ignored, as in a job that a shell has started in the background: it is not meant for that one.

    Parameters
    ----------
    signals : sequence of int
        What counts as Ctrl-C.
    together : float
        Seconds after the first one in which others are the same one.

    Attributes
    ----------
    asked : bool
        Whether Ctrl-C was pressed.
    """

    def __init__(self, signals: Sequence[int] = (signal.SIGINT,), together: float = 0.0) -> None:
        self.asked = False
        self._signals = signals
        self._together = together
        self._since = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._put_back()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if not self.asked:
            self.asked, self._since = True, time.monotonic()
            if not self._together:
                self._put_back()
        elif time.monotonic() - self._since > self._together:
            self._put_back()
            signal.raise_signal(number)

    def _put_back(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())
