"""Ctrl-C and other signals end long native loops, whatever they are made of, and leave all as it was."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system sends no signals after a time")
SOON = 1.5
X = np.linspace(-1, 1, 12, dtype=np.float32)


@contextmanager
def interrupted_after(seconds: float, number: int = signal.SIGINT) -> Iterator[None]:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def without_end(x: Any) -> Any:
    return lax.while_loop(lambda c: c[1] >= 0, lambda c: (jnp.tanh(c[0]) + 1, (c[1] + 1) % 3), (x, 0))


def without_a_body(x: Any) -> Any:
    return lax.while_loop(lambda c: c >= 0, lambda c: (c + 1) % 5, x[0].astype("int32") + 2)


def many_steps(x: Any) -> Any:
    return lax.fori_loop(0, 2**31 - 1, lambda i, c: jnp.sin(c) + i, x)


def nested(x: Any) -> Any:
    def inner(i: Any, c: Any) -> Any:
        return lax.fori_loop(0, 50, lambda j, d: d * 0.5 + j, c)

    return lax.fori_loop(0, 2**31 - 1, inner, x)


def an_endless_loop_in_a_scan(x: Any) -> Any:
    return lax.scan(lambda c, r: (without_end(c + r)[0], r), x, jnp.stack([x, x]))


def with_calls(x: Any) -> Any:
    return lax.while_loop(lambda c: c[0] > -100, lambda c: jnp.sort(c) * 0.5, x)


def with_callbacks(x: Any) -> Any:
    def step(c: Any) -> Any:
        return gradkit.pure_callback(lambda v: np.asarray(v) * np.float32(0.5), c, c)

    return lax.while_loop(lambda c: c[0] > -100, step, x)


def of_matrices(x: Any) -> Any:
    square = jnp.outer(jnp.ones(400, "float32"), jnp.ones(400, "float32")) / 400 + x[0]
    return lax.fori_loop(0, 10**9, lambda i, c: jnp.tanh(c @ square), square)


def in_branches(x: Any) -> Any:
    return lax.cond(x[0] < 0, lambda x: without_end(x)[0], lambda x: x, x)


LOOPS: list[Callable[[Any], Any]] = [
    without_end, without_a_body, many_steps, nested, an_endless_loop_in_a_scan, with_calls, with_callbacks, of_matrices,
    in_branches,
]  # fmt: skip


@pytest.mark.parametrize("loop", LOOPS, ids=lambda f: f.__name__)
def test_ctrl_c_ends_a_long_loop(loop: Callable[[Any], Any]) -> None:
    with gradkit.use_backend("numpy"):
        x = jnp.asarray(X)
        function = gradkit.jit(loop)
        function.lower(x).compile()  # LLVM is not interrupted
        before = signal.getsignal(signal.SIGINT)
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(KeyboardInterrupt), interrupted_after(0.1):
                function(x)
            assert time.monotonic() - started < 0.1 + SOON
        assert signal.getsignal(signal.SIGINT) is before
        np.testing.assert_array_equal(np.asarray(x), X)
        np.testing.assert_allclose(np.asarray(gradkit.jit(jnp.sin)(x)), np.sin(X), 1e-6)


def test_a_handler_of_a_signal_runs_in_the_middle_and_the_loop_goes_on() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        with gradkit.use_backend("numpy"):
            function = gradkit.jit(lambda x: lax.fori_loop(0, 3_000_000, lambda i, c: c * 0.5 + i, x))
            x = jnp.asarray(X)
            expected = np.asarray(function(x))
            with interrupted_after(0.01, signal.SIGUSR1):
                np.testing.assert_array_equal(np.asarray(function(x)), expected)
                while not seen:
                    time.sleep(0.01)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def test_what_a_handler_raises_comes_out_as_it_is() -> None:
    def handler(number: int, frame: Any) -> None:
        raise TimeoutError("by the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with gradkit.use_backend("numpy"):
            function = gradkit.jit(without_end)
            function.lower(jnp.asarray(X)).compile()
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(TimeoutError, match="by the handler"):
                function(jnp.asarray(X))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_other_threads_run_while_a_long_loop_does() -> None:
    with gradkit.use_backend("numpy"):
        function = gradkit.jit(without_end)
        x = jnp.asarray(X)
        function.lower(x).compile()
        ticks: list[float] = []
        done = threading.Event()

        def tick() -> None:
            while not done.is_set():
                ticks.append(time.monotonic())
                done.wait(0.01)

        thread = threading.Thread(target=tick)
        thread.start()
        try:
            with pytest.raises(KeyboardInterrupt), interrupted_after(0.5):
                function(x)
        finally:
            done.set()
            thread.join()
        assert len(ticks) > 10


def test_the_time_of_a_loop_does_not_grow_by_its_looks_for_signals() -> None:
    from gradkit_numpy.native.interpreter import INTERVAL, Costs

    from gradkit.backend.plan import Buffer, Layout, Loop, Nest, Number, Plan, Store

    out = Layout(Buffer((8,), "float32"), (8,), (1,))
    step = Plan(nodes=[Nest((8,), (Number(0.0, "float32"),), (Store(0, out),))])
    costs = Costs()
    assert INTERVAL / 8 < costs.period(step) * costs.of(step) <= INTERVAL
    assert costs.period(Plan(nodes=[Loop(step, (), (), (), (), 10**12, False, out.buffer)])) == 1
