"""Settings and other blocks are of one thread or task, and blocks of generators end in any order."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.config import OWN, setting


@pytest.mark.parametrize("name", OWN)
def test_blocks_of_two_threads_may_overlap(name: str) -> None:
    before = getattr(gradkit.config, name)
    inside, closing = threading.Barrier(2), threading.Barrier(2)
    seen: list[list[bool]] = [[], []]

    def work(number: int) -> None:
        with setting(name, True):
            inside.wait(10)
            seen[number].append(getattr(gradkit.config, name))
            if number:
                closing.wait(10)
            seen[number].append(getattr(gradkit.config, name))
        seen[number].append(getattr(gradkit.config, name))
        if not number:
            closing.wait(10)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [[True, True, before]] * 2
    assert getattr(gradkit.config, name) is before


@pytest.mark.parametrize("name", OWN)
def test_blocks_of_two_tasks_may_overlap(name: str) -> None:
    before = getattr(gradkit.config, name)

    async def work(value: bool, steps: int) -> None:
        with setting(name, value):
            for _ in range(steps):
                await asyncio.sleep(0)
                assert getattr(gradkit.config, name) is value
        assert getattr(gradkit.config, name) is before

    async def several() -> None:
        await asyncio.gather(*(work(bool(i % 2), 3 + i) for i in range(4)))

    asyncio.run(several())
    assert getattr(gradkit.config, name) is before


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_one_thread_checks_for_nan_and_another_does_not() -> None:
    found: list[Any] = []

    def work() -> None:
        found.append(jnp.isnan(jnp.asarray(float("inf")) * 0.0).item())
        found.append(str(gradkit.Value(float("inf")) * 0.0))

    with gradkit.debug_nans():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
        with pytest.raises(FloatingPointError):
            gradkit.Value(float("inf")) * 0.0
        with pytest.raises(FloatingPointError):
            jnp.asarray(float("inf")) * 0.0
    assert found[0] is True
    assert "nan" in found[1]


# Generators

OUTSIDE: dict[str, tuple[Callable[[], AbstractContextManager[None]], Callable[[], Any]]] = {
    **{name: (lambda name=name: setting(name, True), lambda name=name: getattr(gradkit.config, name)) for name in OWN},
    "no_grad": (gradkit.no_grad, lambda: (_followed() * 2).requires_grad),
    "use_backend": (lambda: gradkit.use_backend("strict"), lambda: jnp.ones(1).device),
    "default_device": (lambda: gradkit.default_device(gradkit.devices("strict")[0]), lambda: jnp.ones(1).device),
}
"""Each block that there is, and what it changes."""


def _followed() -> Any:
    x = jnp.ones(1)
    x.requires_grad = True
    return x


def in_block(name: str) -> Iterator[None]:
    with OUTSIDE[name][0]():
        yield


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("name", OUTSIDE)
def test_blocks_of_generators_end_in_any_order(name: str, order: Any) -> None:
    with gradkit.use_backend("numpy"):
        value = OUTSIDE[name][1]
        before = value()
        suspended = [in_block(name) for _ in range(3)]
        for generator in suspended:
            next(generator)
        inside = value()
        assert inside != before  # it is the caller's, too, as that of a fixture of pytest's is meant to be
        for number in order:
            assert value() == inside
            suspended[number].close()
        assert value() == before


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_block_of_an_asynchronous_generator_is_over_when_another_task_ends_it(name: str) -> None:
    value = OUTSIDE[name][1]

    async def steps() -> AsyncIterator[int]:
        with OUTSIDE[name][0]():
            yield 1
            yield 2

    async def left_early() -> None:
        before = value()
        generator = steps()
        async for _ in generator:
            assert value() != before
            break
        await asyncio.create_task(generator.aclose())
        assert value() == before
        with OUTSIDE[name][0]():
            assert value() != before
        assert value() == before

    with gradkit.use_backend("numpy"):
        asyncio.run(left_early())


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_task_that_begins_in_a_block_stays_in_it(name: str) -> None:
    value = OUTSIDE[name][1]

    async def later(seen: list[Any]) -> None:
        await asyncio.sleep(0)
        seen.append(value())

    async def begun_inside() -> None:
        before, seen = value(), []
        with OUTSIDE[name][0]():
            inside = value()
            task = asyncio.create_task(later(seen))
        await task
        assert seen == [inside]
        assert value() == before

    with gradkit.use_backend("numpy"):
        asyncio.run(begun_inside())
