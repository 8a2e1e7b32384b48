"""Signals that ask a run to end: the first is noted, a second one acts as ever, a launcher's own is no second one."""

from __future__ import annotations

import signal
import time

import pytest

from gradkit.train.interrupt import OF_LAUNCHERS, Interrupt


def test_the_second_ctrl_c_of_a_process_alone_raises_at_once() -> None:
    with Interrupt() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_signal_of_a_launcher_behind_that_of_the_terminal_is_no_second_one() -> None:
    with Interrupt(OF_LAUNCHERS, together=0.05) as interrupt:
        for number in OF_LAUNCHERS:
            signal.raise_signal(number)  # SIGTERM and SIGUSR1 would end the process
        assert interrupt.asked
        time.sleep(0.06)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in OF_LAUNCHERS[1:]] == [signal.SIG_DFL] * len(OF_LAUNCHERS[1:])
