"""The tape: what is recorded and when, in which thread or task, how much there may be of it, and when it goes."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest
from test_core import host, tracked

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import current_backend


def test_gradients_accumulate_until_they_are_reset(xp: Any) -> None:
    x = tracked([1.0, 2.0])
    assert x.grad is None
    for expected in ([2.0, 4.0], [4.0, 8.0]):
        (x * x).sum().backward()
        assert host(x.grad).tolist() == expected
    x.grad = 0.0
    assert host(x.grad).tolist() == [0.0, 0.0]
    (x * x).sum().backward()
    assert host(x.grad).tolist() == [2.0, 4.0]
    x.grad = None
    assert x.grad is None


def test_the_update_of_the_lecture_changes_the_raw_array(xp: Any) -> None:
    p = tracked([1.0, 2.0])
    before = p.data
    (3 * p).sum().backward()
    p.data += -0.5 * p.grad
    assert host(p).tolist() == [-0.5, 0.5]
    assert (p.data is before) is not current_backend().is_immutable
    assert p.requires_grad


def test_gradients_of_two_leaves_do_not_share_memory(xp: Any) -> None:
    x, y = tracked([1.0, 2.0]), tracked([3.0, 4.0])
    (x + y).sum().backward()
    x.grad += 10
    assert host(y.grad).tolist() == [1.0, 1.0]


def test_a_cotangent_that_is_given_is_multiplied_in_and_not_changed(xp: Any) -> None:
    x = tracked([1.0, 2.0])
    seed = jnp.asarray([1.0, -1.0])
    (x * x).backward(seed)
    assert host(x.grad).tolist() == [2.0, -4.0]
    assert host(seed).tolist() == [1.0, -1.0]


def test_a_graph_is_walked_once_unless_it_is_retained(xp: Any) -> None:
    x = tracked(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert float(x.grad) == 12.0
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_detached_arrays_share_memory_and_are_constants(xp: Any) -> None:
    x = tracked([1.0, 2.0])
    constant = x.detach()
    assert constant.data is x.data
    assert not constant.requires_grad
    (constant * x).sum().backward()
    assert host(x.grad).tolist() == [1.0, 2.0]


def test_nothing_is_recorded_inside_no_grad_and_again_inside_enable_grad(xp: Any) -> None:
    x = tracked(2.0)
    with gradkit.no_grad():
        assert not (x * x).requires_grad
        assert not jnp.sum(x).requires_grad
        with gradkit.enable_grad():
            assert (x * x).requires_grad
        assert not jnp.tanh(x).requires_grad
    assert (x * x).requires_grad


def test_transforms_record_inside_no_grad(xp: Any) -> None:
    with gradkit.no_grad():
        assert float(gradkit.grad(lambda x: x * x)(jnp.asarray(3.0))) == 6.0


def test_no_grad_in_one_thread_does_not_reach_another() -> None:
    inside, leave = threading.Event(), threading.Event()

    def silent() -> None:
        with gradkit.no_grad():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=silent)
    thread.start()
    inside.wait(10)
    recorded = (tracked(2.0) * 3).requires_grad
    leave.set()
    thread.join()
    assert recorded


def test_no_grad_in_one_task_does_not_reach_another() -> None:
    async def silent(entered: asyncio.Event, leave: asyncio.Event) -> None:
        with gradkit.no_grad():
            entered.set()
            await leave.wait()

    async def main() -> bool:
        entered, leave = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(silent(entered, leave))
        await entered.wait()
        recorded = (tracked(2.0) * 3).requires_grad
        leave.set()
        await task
        return recorded

    assert asyncio.run(main())


def test_threads_differentiate_at_the_same_time(xp: Any) -> None:
    x = np.linspace(0.1, 1, 5)
    results: dict[int, Any] = {}

    def work(n: int) -> None:
        f = gradkit.grad(lambda x: gradkit.grad(lambda y: (y**n).sum())(x).sum())
        for _ in range(20):
            results[n] = host(f(gradkit.Array(x)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, found in results.items():
        np.testing.assert_allclose(found, n * (n - 1) * x ** (n - 2))


# Long and many


@pytest.mark.parametrize("length", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_chain_of_very_many_operations_differentiates(length: int) -> None:
    x = tracked(0.5, "float64")
    y = x
    for _ in range(length):
        y = y * 1.000001
    y.backward()
    np.testing.assert_allclose(host(x.grad), 1.000001**length, rtol=1e-9)
    del y  # so many nodes go without recursion, too


def test_memory_returns_to_where_it_was_over_100_steps(xp: Any) -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(50, 40)).astype(np.float32))
    w = tracked(rng.normal(size=(40, 30)).astype(np.float32))

    def step() -> None:
        w.grad = None
        jnp.tanh(x @ w).sum().backward()
        gradkit.grad(lambda w: jnp.tanh(x @ w).sum())(w.detach())

    for _ in range(3):
        step()
    gc.collect()
    tracemalloc.start()
    try:
        step()
        # Python keeps freed tuples for later ones: the first hundreds of steps may fill its lists of them.
        for _ in range(12):
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(100):
                step()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
            if grown < 3_000:
                break
    finally:
        tracemalloc.stop()
    # One array of a step has 6,000 bytes.
    assert grown < 3_000


def test_the_graph_goes_when_its_result_does_without_the_garbage_collector(xp: Any) -> None:
    x = tracked([1.0, 2.0])
    middle = jnp.exp(x)
    alive = weakref.ref(middle)
    gc.disable()
    try:
        y = (middle * 2).sum()
        del middle, y
        assert alive() is None
    finally:
        gc.enable()


def test_saved_values_are_freed_while_the_graph_is_walked(xp: Any) -> None:
    x = tracked([1.0, 2.0])
    y = jnp.exp(x).sum()
    node = y._node
    y.backward()
    while node is not None and node.primitive is not None:
        assert node.saved is None
        node = node.parents[0]
