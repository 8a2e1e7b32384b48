"""What is seen of code that does more than compute, before a program is made of it."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import math
import operator
import random as pythons_random
import sys
import time
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, nn, random
from gradkit.train.programs import Programs
from gradkit.train.watching import watched

x = jnp.linspace(0.0, 1.0, 6).reshape((3, 2))
kept: list[Any] = []
table: dict[str, Any] = {}
count = 0
numbers = iter(range(1000))
generator = np.random.default_rng(0)
Pair = namedtuple("Pair", ["first", "second"])


def counted(p: Array) -> Array:
    global count
    count += 1
    return p


class Stateful:
    calls = 0

    def __call__(self, p: Array) -> Array:
        self.calls += 1
        return p


def closure() -> Any:
    calls = 0

    def function(p: Array) -> Array:
        nonlocal calls
        calls += 1
        return p

    return function


def remembers(p: Array) -> Array:
    table["last"] = 1
    return p


def written(p: Array) -> Array:
    with contextlib.suppress(OSError):
        sys.stderr.write("")
    return p


EFFECTS = {
    "prints": lambda p: print("") or p,
    "writes": written,
    "appends": lambda p: kept.append(1) or p,
    "pops": lambda p: p * (table.pop("nothing", 1)),
    "assigns an item": remembers,
    "counts in a global": counted,
    "counts in itself": Stateful(),
    "counts in a closure": closure(),
    "logs": lambda p: logging.getLogger("nobody").info("step") or p,
    "takes the time": lambda p: p * time.perf_counter(),
    "draws by random": lambda p: p * pythons_random.random(),
    "draws by NumPy's functions": lambda p: p * np.random.normal(),  # noqa: NPY002
    "draws by a generator": lambda p: p * generator.normal(),
    "goes through an iterator": lambda p: p * next(numbers),
    "takes the next key": lambda p: p * random.normal(random.next_key()),
    "draws a layer": lambda p: nn.Linear(2, 2)(p),
}


@dataclass(frozen=True)
class Scale:
    factor: float

    def __call__(self, p: Array) -> Array:
        return self.factor * p


def sums(p: Array) -> Array:
    parts = [part * i for i, part in enumerate(p)]
    total = sum(parts)
    for part in reversed(parts):
        total += max(len(parts), 2) * part
    weights = {"a": 1.0, **table}
    return total * weights.get("a") + math.pi * operator.mul(total, 2)


def tuples(p: Array) -> Array:
    pair = Pair(p, second=p * 2)
    first, *_ = pair
    return first + pair.second if isinstance(p, Array) and hasattr(p, "shape") else p


@contextlib.contextmanager
def named(name: str) -> Any:
    with gradkit.named_scope(name):
        yield


@functools.cache
def steps_of_a_table(size: int) -> Any:
    """Return a table that a first call makes, by an assignment that is no effect of the calls after it."""
    made = np.zeros(size, np.float32)
    made[0] = 1
    return made


def in_a_block(p: Array) -> Array:
    with named("layer"):
        return jnp.tanh(p)


COMPUTING = {
    "sums over a list": sums,
    "tuples": tuples,
    "a dataclass": Scale(2.0),
    "a block": in_a_block,
    "random numbers of a key": lambda p: p * random.normal(random.key(3), p.shape),
    "a constant of NumPy": lambda p: p * np.sqrt(2.0) + np.zeros(2, np.float32),
    "a table that is made once": lambda p: p * steps_of_a_table(2),
    "control flow": lambda p: gradkit.lax.fori_loop(0, 3, lambda i, p: p * 2, p),
    "functions with rules": lambda p: gradkit.checkpoint(jnp.sin)(p),
    "a tree": lambda p: gradkit.tree.map(lambda leaf: leaf + 1, {"p": p})["p"],
    "a callback in the graph": lambda p: gradkit.debug.callback(kept.clear) or p,
    "a sorted list": lambda p: p * sorted([3.0, 2.0])[0],
}


def effect_of(function: Any) -> tuple[str, bool]:
    """Return what is seen of the step that moves parameters by a function of them."""

    def step(model: Any, state: Any, rate: Any, batch: Any) -> Any:
        return model, state, [function(batch).sum() * rate]

    return Programs(lambda rows: step).effect(len(x), jnp.ones(2), (), jnp.asarray(0.1), x)


@pytest.mark.parametrize("name", EFFECTS)
def test_code_that_does_more_than_compute_is_seen(name: str) -> None:
    effect, is_own = effect_of(EFFECTS[name])
    assert effect
    assert is_own


@pytest.mark.parametrize("name", COMPUTING)
def test_code_that_computes_is_seen_to_do_no_more(name: str) -> None:
    assert effect_of(COMPUTING[name]) == ("", True)


def test_a_profiler_is_told_of_what_comes_before_and_after() -> None:
    told: list[str] = []

    def profiler(frame: Any, event: str, argument: Any) -> None:
        told.append(frame.f_code.co_name)

    def before() -> None: ...

    def inside() -> None: ...

    def after() -> None: ...

    sys.setprofile(profiler)
    try:
        before()
        watched(inside)
        after()
    finally:
        sys.setprofile(None)
    assert "before" in told
    assert "inside" not in told
    assert "after" in told


def test_what_the_collection_of_garbage_calls_is_no_part_of_the_code_that_is_watched() -> None:
    told: list[str] = []

    def note(phase: str, _: Any) -> None:
        told.append(phase)

    gc.callbacks.append(note)
    try:
        (_, during), seen = watched(lambda: ([[i] for i in range(100_000)], len(told)))
    finally:
        gc.callbacks.remove(note)
    assert not during
    assert not seen.effect
    assert gc.isenabled()


def test_an_error_is_passed_on_and_nothing_is_watched_afterwards() -> None:
    def fails() -> None:
        raise KeyError("no such")

    with pytest.raises(KeyError, match="no such"):
        watched(fails)
    assert sys.getprofile() is None
