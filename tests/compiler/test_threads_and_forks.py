"""Compiled programs in several threads at once, in children of a process, and in callbacks of themselves."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from gradkit_numpy.native import machine

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.compiler.resting import no_collections
from gradkit.config import Config

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
THREADS = 16
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def many_operations(x: Any, y: Any) -> Any:
    loop = lax.fori_loop(0, 4, lambda i, c: jnp.tanh(c) + i * y, x)
    return loop @ y.T, jnp.sort(x + y, axis=1), lax.cond(x[0, 0] > y[0, 0], jnp.sin, jnp.cos, x), x * 2


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    barrier = threading.Barrier(THREADS)

    def begin(i: int) -> Any:
        with gradkit.use_backend("numpy"):
            barrier.wait()
            return work(i)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def check(found: Any, x: Any, y: Any) -> None:
    for one, other in zip(found, many_operations(jnp.asarray(x), jnp.asarray(y)), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), 1e-5, 1e-6)


def test_threads_that_call_a_function_for_the_first_time_at_once_compile_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traced, compiled = [], []

    def function(x: Any, y: Any) -> Any:
        traced.append(threading.get_ident())
        return many_operations(x, y)

    from gradkit.compiler import executables

    made = executables.Executable._compile
    monkeypatch.setattr(
        executables.Executable, "_compile", lambda self, *args: (compiled.append(self), made(self, *args))[1]
    )
    executables.clear_executables()
    jitted = gradkit.jit(function)

    def work(i: int) -> Any:
        x, y = jnp.asarray(X + i), jnp.asarray(X * i)
        found = [jitted(x, y) for _ in range(20)]
        return i, found[0], found[-1]

    results = in_threads(work)
    assert len(traced) == 1
    assert len({id(x) for x in compiled}) == len(compiled)
    assert sum(len(x.graph.inputs) == 2 and len(x.graph.outputs) == 4 for x in compiled) == 1
    with gradkit.use_backend("numpy"):
        for i, first, last in results:
            check(first, X + i, X * i)
            check(last, X + i, X * i)


def test_threads_that_run_one_program_have_memory_of_their_own() -> None:
    with gradkit.use_backend("numpy"):
        jitted = gradkit.jit(lambda x: lax.scan(lambda c, r: (jnp.sin(c + r @ x), c.sum()), x[0], jnp.tile(x, (30, 1))))
        square = np.outer(np.arange(1.0, 31.0), np.arange(1.0, 31.0)) / 300
        expected = [jitted(jnp.asarray(square + i)) for i in range(THREADS)]

    def work(i: int) -> None:
        x = jnp.asarray(square + i)
        for _ in range(50):
            for one, other in zip(jitted(x), expected[i], strict=True):
                np.testing.assert_array_equal(np.asarray(one), np.asarray(other))

    in_threads(work)


def test_threads_that_donate_and_read_one_array_see_its_numbers_or_an_error() -> None:
    with gradkit.use_backend("numpy"):
        read = gradkit.jit(lambda x: x.sum() + (x * 2).sum())
        give = gradkit.jit(lambda x: x * 0 - 1e6, donate_argnums=0)
        x = jnp.ones(200_000, "float32")
        read(x), give(x * 1)
    for _ in range(5):
        with gradkit.use_backend("numpy"):
            shared = jnp.ones(200_000, "float32") * 1

        def work(i: int, shared: Any = shared) -> Any:
            try:
                return give(shared) if i == THREADS // 2 else float(read(shared))
            except (RuntimeError, ValueError) as error:
                return str(error)

        for i, found in enumerate(in_threads(work)):
            assert i == THREADS // 2 or found == 600_000 or "deleted" in str(found) or "donated" in str(found)


def test_a_callback_may_call_the_program_that_calls_it() -> None:
    with gradkit.use_backend("numpy"):

        def function(x: Any) -> Any:
            def again(value: Any) -> Any:
                number = float(np.asarray(value)[0])
                return np.asarray(jitted(jnp.asarray(value) - 1)) if number > 0 else np.zeros(3, np.float32)

            y = jnp.sin(x) * 2
            return gradkit.pure_callback(again, x, x) + y + x

        jitted = gradkit.jit(function)
        x = np.asarray([4.0, 1.0, -2.0], np.float32)
        expected = sum(np.sin(x - i) * 2 + x - i for i in range(5))
        for _ in range(2):
            np.testing.assert_allclose(np.asarray(jitted(jnp.asarray(x))), expected, 1e-5)


def test_an_error_deep_in_calls_of_itself_comes_out() -> None:
    with gradkit.use_backend("numpy"):

        def function(x: Any) -> Any:
            def again(value: Any) -> Any:
                if float(np.asarray(value)) <= 0:
                    raise LookupError("at the bottom")
                return np.asarray(jitted(jnp.asarray(value) - 1))

            return gradkit.pure_callback(again, x, x * 2 - x) + x

        jitted = gradkit.jit(function)
        for _ in range(3):
            with pytest.raises(LookupError, match="at the bottom"):
                jitted(jnp.asarray(np.float32(3)))


def in_child(work: Callable[[], None]) -> None:
    """Do something in a child made by a fork, which has to end well, and soon."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    timer = threading.Timer(60, os.kill, (child, 9))
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    assert status == 0


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")  # of Python, of JAX
def test_a_child_runs_what_its_parent_has_compiled_and_compiles_more() -> None:
    with gradkit.use_backend("numpy"):
        jitted = gradkit.jit(many_operations)
        big = np.eye(200) + 1
        product = gradkit.jit(lambda x: jnp.tanh(x @ x))
        jitted(jnp.asarray(X), jnp.asarray(X * 2))
        product(jnp.asarray(big))

        def work() -> None:
            for i in range(3):
                check(jitted(jnp.asarray(X + i), jnp.asarray(X)), X + i, X)
            np.testing.assert_allclose(np.asarray(product(jnp.asarray(big))), np.tanh(big @ big), 1e-6)
            fresh = gradkit.jit(lambda x, y: many_operations(x * 3, y))
            check(fresh(jnp.asarray(X), jnp.asarray(X)), X * 3, X)

        in_child(work)
        check(jitted(jnp.asarray(X), jnp.asarray(X)), X, X)


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")  # of Python, of JAX
def test_a_child_that_is_made_while_another_thread_compiles_compiles_too() -> None:
    with gradkit.use_backend("numpy"):
        inside, go_on = threading.Event(), threading.Event()

        def slowly_traced(x: Any) -> Any:
            inside.set()
            go_on.wait(30)
            return x + 1

        jitted = gradkit.jit(slowly_traced)

        def other() -> None:
            from gradkit.compiler.executables import _lock

            with gradkit.use_backend("numpy"), _lock:
                jitted(jnp.asarray(X))

        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(30)

        def work() -> None:
            go_on.set()
            np.testing.assert_array_equal(np.asarray(jitted(jnp.asarray(X))), X + 1)

        try:
            in_child(work)
        finally:
            go_on.set()
            thread.join()


def _square(number: float) -> float:
    with gradkit.use_backend("numpy"):
        return float(gradkit.jit(lambda x: x * x + jnp.sin(x) * 0)(jnp.asarray(number)))


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")  # of Python, of JAX
def test_a_pool_of_processes_compiles() -> None:
    _square(1.0)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(_square, [1.0, 2.0, 3.0, 4.0]) == [1.0, 4.0, 9.0, 16.0]


def test_the_collector_of_cycles_rests_while_threads_compile_and_works_afterwards() -> None:
    seen = []
    barrier = threading.Barrier(2)

    def compile_in_two_steps(wait: bool) -> None:
        with no_collections():
            barrier.wait()
            if wait:
                barrier.wait()  # the other one is out
                seen.append(gc.isenabled())
        if not wait:
            barrier.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_in_two_steps, [True, False]))
    assert seen == [False]
    assert gc.isenabled()


def test_a_collector_that_is_switched_off_stays_so() -> None:
    gc.disable()
    try:
        with no_collections(), no_collections():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")  # of Python, of JAX
def test_a_child_that_is_made_while_the_collector_rests_has_one_at_work() -> None:
    def child() -> None:
        assert gc.isenabled()
        block.close()  # in which it was made
        for _ in range(2):
            with no_collections():
                assert not gc.isenabled()
            assert gc.isenabled()

    with ExitStack() as block:
        block.enter_context(no_collections())
        in_child(child)
        assert not gc.isenabled()
    assert gc.isenabled()


def locks() -> Iterator[Any]:
    """Yield every lock of gradkit's modules and settings as it is now."""
    kinds = type(threading.Lock()), type(threading.RLock())
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0].startswith("gradkit"):
            yield from (value for value in list(vars(module).values()) if isinstance(value, kinds))
    for setting in vars(Config).values():
        if isinstance(lock := getattr(setting, "lock", None), kinds):
            yield lock


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")  # of Python, of JAX
def test_no_lock_that_another_thread_holds_is_held_in_a_child() -> None:
    for name in ("gradkit.compiler.executables", "gradkit.scalar.passes"):
        importlib.import_module(name)
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in {id(lock): lock for lock in locks() if lock is not machine._LOCK}.values():  # a fork waits
                stack.enter_context(lock)
            held.set()
            go_on.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:

        def child() -> None:
            assert all(lock.acquire(timeout=5) for lock in locks())

        assert len(list(locks())) > 8
        in_child(child)
    finally:
        go_on.set()
        thread.join()
