"""Ctrl-C, as a question that the training loop asks between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["OF_LAUNCHERS", "Interrupt"]

OF_LAUNCHERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""What the processes of a launcher are asked to end by: it makes SIGTERM of Ctrl-C, and hands SIGUSR1 on as it is."""


class Interrupt:
    """While it is entered, the first Ctrl-C is only noted; the second one raises KeyboardInterrupt as ever.

    In a thread that is not the main one, or where a program has a handler of its own, nothing is changed; nor where
    Ctrl-C is ignored, as in a job that a shell has started in the background: it is not meant for that one.

    Parameters
    ----------
    signals : sequence of int
        What counts as Ctrl-C.

    Attributes
    ----------
    asked : bool
        Whether Ctrl-C was pressed.
    """

    def __init__(self, signals: Sequence[int] = (signal.SIGINT,)) -> None:
        self.asked = False
        self._signals = signals
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._put_back()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self._put_back()

    def _put_back(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())
