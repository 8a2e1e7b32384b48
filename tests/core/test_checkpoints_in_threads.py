"""A checkpointed function may employ other threads: what they compute belongs to it when it runs again, too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp

Work = Callable[[Any], Any]


def in_a_thread(work: Work, arg: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work(arg)))
    thread.start()
    thread.join()
    return found[0]


def in_its_context(work: Work, arg: Any) -> Any:
    context = copy_context()
    return in_a_thread(lambda arg: context.run(work, arg), arg)


def in_a_pool(work: Work, arg: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, arg).result()


POOL = ThreadPoolExecutor(2)
POOL.submit(int).result()  # its threads began long before any function that they work for

EMPLOYERS: dict[str, Callable[[Work, Any], Any]] = {
    "a thread": in_a_thread,
    "a context": in_its_context,
    "a pool": in_a_pool,
    "an older pool": lambda work, arg: POOL.submit(work, arg).result(),
    "several": lambda work, arg: sum(POOL.map(lambda c: work(c * arg), [0.5, 1.0])),
    "a thread of a thread": lambda work, arg: in_a_thread(lambda arg: in_a_thread(work, arg), arg),
    "here and there": lambda work, arg: work(arg) * in_a_thread(work, arg),
}

WORK: dict[str, Callable[[Any], Work]] = {
    "plain": lambda w: lambda x: jnp.sin(x * w) * x,
    "grad inside": lambda w: gradkit.grad(lambda x: jnp.sin(x * w) * x),
    "jvp inside": lambda w: lambda x: gradkit.jvp(lambda x: jnp.sin(x * w), (x,), (x,))[1],
    "vmap inside": lambda w: lambda x: jnp.sum(gradkit.vmap(lambda t: jnp.sin(t * x * w))(jnp.asarray([1.0, 2.0]))),
    "checkpoint inside": lambda w: gradkit.checkpoint(lambda x: jnp.sin(x * w) * x),
    "grad of checkpoint inside": lambda w: gradkit.grad(gradkit.checkpoint(lambda x: jnp.sin(x * w) * x)),
}

Loss = Callable[[Any, Any], Any]
STACKS: dict[str, Callable[[Loss], Any]] = {
    "grad": lambda f: gradkit.grad(f)(0.7, 0.5),
    "grad of what is closed over": lambda f: gradkit.grad(f, 1)(0.7, 0.5),
    "vjp": lambda f: gradkit.vjp(f, 0.7, 0.5)[1](1.0),
    "grad of grad": lambda f: gradkit.grad(gradkit.grad(f))(0.7, 0.5),
    "jvp of grad": lambda f: gradkit.jvp(lambda x: gradkit.grad(f)(x, 0.5), (0.7,), (1.0,))[1],
    "vmap of grad": lambda f: gradkit.vmap(gradkit.grad(f), (0, None))(jnp.asarray([0.7, 0.2]), 0.5),
    "vmap of grad of another": lambda f: gradkit.vmap(gradkit.grad(f), (None, 0))(0.7, jnp.asarray([0.5, 0.1])),
    "grad of vmap": lambda f: gradkit.grad(lambda x: jnp.sum(gradkit.vmap(lambda w: f(x, w))(jnp.asarray([0.5, 1.0]))))(
        0.7
    ),
    "hessian": lambda f: gradkit.hessian(f, (0, 1))(0.7, 0.5),
}


@pytest.mark.parametrize("employer", EMPLOYERS)
@pytest.mark.parametrize("work", WORK)
def test_a_checkpoint_that_employs_threads_has_the_derivative_of_its_function(
    employer: str, work: str, backend: Any
) -> None:
    def working(w: Any) -> Work:
        def work_there(x: Any) -> Any:
            with gradkit.use_backend(backend.name):  # which is chosen by each thread for itself
                return WORK[work](w)(x)

        return work_there

    def loss(wrapper: Callable[[Work], Work]) -> Loss:
        return lambda x, w: wrapper(lambda x: EMPLOYERS[employer](working(w), x))(x)

    for stack in STACKS.values():
        mine = gradkit.tree.leaves(stack(loss(gradkit.checkpoint)))
        plain = gradkit.tree.leaves(stack(loss(lambda f: f)))
        for one, other in zip(mine, plain, strict=True):
            np.testing.assert_allclose(gradkit.device_get(one), gradkit.device_get(other), rtol=1e-5, atol=1e-6)


def test_several_checkpoints_at_once_employ_threads_of_their_own(xp: Any) -> None:
    def slope(k: float) -> float:
        loss = gradkit.checkpoint(lambda x: in_a_thread(lambda x: jnp.sin(k * x), x))
        return max(float(gradkit.grad(loss)(0.0)) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(slope, [1.0, 2.0, 3.0, 4.0])) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("in_context", [False, True])
def test_a_thread_whose_employer_cannot_be_told_is_an_error(in_context: bool, xp: Any) -> None:
    barrier, first = threading.Barrier(2), threading.Event()

    def f(x: Any) -> Any:
        if first.is_set():  # it runs again, in two threads
            barrier.wait(20)
        result = POOL.submit(copy_context().run if in_context else (lambda g, x: g(x)), jnp.sin, x)
        try:
            return result.result()
        finally:
            if first.is_set():
                barrier.wait(20)

    x = jnp.asarray(0.0)
    _, pullback = gradkit.vjp(gradkit.checkpoint(f), x)
    first.set()
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(pullback, jnp.asarray(c)) for c in (1.0, 2.0)]
        if in_context:
            assert [float(call.result()[0]) for call in calls] == [1.0, 2.0]
            return
        for call in calls:
            with pytest.raises(gradkit.errors.UnexpectedTracerError, match="copy_context"):
                call.result()


def test_an_array_that_leaked_is_refused_in_threads(xp: Any) -> None:
    leaked: list[Any] = []
    gradkit.grad(gradkit.checkpoint(lambda x: leaked.append(x) or jnp.sin(x)))(0.5)
    with pytest.raises(gradkit.errors.UnexpectedTracerError):
        in_a_pool(jnp.sin, leaked[0])
