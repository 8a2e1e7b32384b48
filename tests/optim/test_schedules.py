"""Schedules are optax's to float32 rounding, on Python ints and on Arrays of the step count."""

from __future__ import annotations

from typing import Any

import jax.numpy as J
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradkit
import gradkit.numpy as jnp
from gradkit import optim

RATES = st.floats(1e-4, 10)
COUNTS = st.integers(1, 1000)
BEGINS = st.integers(0, 500)
STEPS = st.lists(st.integers(0, 3000), min_size=1, max_size=5)


def compare(ours: Any, theirs: Any, steps: list[int], scale: float) -> None:
    """Compare two schedules on ints, and on int32 Arrays of one step and of several.

    A rate is rounded to float32 a few times on the way, at the size of the largest numbers in it: `scale`.
    """
    expected = np.asarray([float(theirs(J.asarray(step, J.int32))) for step in steps])
    tolerance = {"rtol": 3e-6, "atol": 1e-6 * scale}
    for step, right in zip(steps, expected, strict=True):
        assert isinstance(ours(step), float | int)
        np.testing.assert_allclose(ours(step), right, **tolerance)
        traced = ours(jnp.asarray(step, dtype="int32"))
        assert type(traced) is gradkit.Array or isinstance(traced, float)
        np.testing.assert_allclose(float(traced), right, **tolerance)
    several = gradkit.device_get(ours(jnp.asarray(steps, dtype="int32")) * jnp.ones(len(steps)))
    assert several.dtype == np.float32
    np.testing.assert_allclose(several, expected, **tolerance)


@settings(max_examples=30)
@given(RATES, COUNTS, st.floats(0.1, 1.2), BEGINS, st.booleans(), st.none() | st.floats(1e-5, 1), STEPS)
def test_exponential_decay_is_that_of_optax(
    rate: float, count: int, decay: float, begin: int, staircase: bool, end: float | None, steps: list[int]
) -> None:
    if staircase:
        # Where t / count is a whole number but for rounding, float32 may fall on the other stair.
        steps = [step for step in steps if (step - begin) % count not in (0, count - 1)] or [begin]
    steps = [min(step, begin + 20 * count) for step in steps]  # beyond, float32 overflows or is 0
    compare(
        optim.exponential_decay(rate, count, decay, begin, staircase, end),
        optax.exponential_decay(rate, count, decay, begin, staircase, end),
        steps,
        rate * max(1, decay**20) * 10,
    )


@settings(max_examples=30)
@given(RATES, st.floats(0, 10), st.floats(0.3, 4), COUNTS, BEGINS, STEPS)
def test_polynomial_decay_is_that_of_optax(
    rate: float, end: float, power: float, count: int, begin: int, steps: list[int]
) -> None:
    # Near the end 1 - t / T has an error of 1e-7, which a power below 1 makes larger.
    scale = max(rate, end) * (1 if power >= 1 else 1e2)
    compare(
        optim.polynomial_decay(rate, end, power, count, begin),
        optax.polynomial_schedule(rate, end, power, count, begin),
        steps,
        scale,
    )


@settings(max_examples=20)
@given(RATES, st.floats(0, 10), COUNTS, BEGINS, STEPS)
def test_linear_decay_is_the_linear_schedule_of_optax(
    rate: float, end: float, count: int, begin: int, steps: list[int]
) -> None:
    compare(
        optim.linear_decay(rate, end, count, begin),
        optax.linear_schedule(rate, end, count, begin),
        steps,
        max(rate, end),
    )


@settings(max_examples=30)
@given(RATES, COUNTS, st.floats(0, 1), st.floats(1, 3), STEPS)
def test_cosine_decay_is_that_of_optax(
    rate: float, count: int, alpha: float, exponent: float, steps: list[int]
) -> None:
    compare(
        optim.cosine_decay(rate, count, alpha, exponent),
        optax.cosine_decay_schedule(rate, count, alpha, exponent),
        steps,
        rate,
    )


@settings(max_examples=30)
@given(RATES, st.dictionaries(st.integers(0, 2000), st.floats(0.1, 2), max_size=4), STEPS)
def test_piecewise_constant_is_that_of_optax(rate: float, pieces: dict[int, float], steps: list[int]) -> None:
    steps = steps + list(pieces)  # the boundaries themselves
    compare(optim.piecewise_constant(rate, pieces), optax.piecewise_constant_schedule(rate, pieces), steps, rate * 2**4)


@settings(max_examples=20)
@given(RATES, st.floats(0, 1), COUNTS, COUNTS, STEPS)
def test_warmup_then_a_schedule_is_what_optax_joins(
    rate: float, first: float, rise: int, count: int, steps: list[int]
) -> None:
    after = optax.cosine_decay_schedule(rate, count)
    joined = optax.join_schedules([optax.linear_schedule(first, rate, rise), after], [rise])
    compare(optim.warmup(optim.cosine_decay(rate, count), rise, first), joined, [*steps, rise - 1, rise], max(rate, 1))


def test_warmup_takes_a_number_for_a_constant_rate(xp: Any) -> None:
    rate = optim.warmup(0.5, steps=4, init_value=0.1)
    assert [rate(step) for step in (0, 4, 400)] == pytest.approx([0.1, 0.5, 0.5])
    assert float(rate(jnp.asarray(2))) == pytest.approx(0.3)


@settings(max_examples=30)
@given(RATES, st.floats(0.5, 1000), st.floats(0, 10), st.booleans(), STEPS)
def test_inverse_time_decay_is_its_formula(
    rate: float, count: float, decay: float, staircase: bool, steps: list[int]
) -> None:
    steps = steps if not staircase else [step for step in steps if 0.001 < (step / count) % 1 < 0.999] or [0]

    def formula(step: Any) -> float:
        elapsed = np.floor(int(step) / count) if staircase else int(step) / count
        return float(rate / (1 + decay * elapsed))

    compare(optim.inverse_time_decay(rate, count, decay, staircase), formula, steps, rate)


def test_inverse_time_decay_of_one_step_is_the_decay_of_the_lecture() -> None:
    rate = optim.inverse_time_decay(0.1, decay_rate=0.01)
    assert [rate(step) for step in (0, 1, 100)] == pytest.approx([0.1, 0.1 / 1.01, 0.05])


def test_a_schedule_runs_where_its_step_is(backend: Any) -> None:
    step = jnp.asarray(7, dtype="int32")
    for schedule in (optim.cosine_decay(0.1, 10), optim.warmup(0.1, 10), optim.piecewise_constant(0.1, {5: 0.5})):
        assert schedule(step).device == step.device
        assert step.device.backend == backend.name


def test_schedules_are_made_by_name() -> None:
    for name, schedule in (
        ("constant", optim.constant(0.1)),
        ("exponential_decay", optim.exponential_decay(0.1, 10, 0.5)),
        ("warmup", optim.warmup(0.1, 10)),
    ):
        arguments = {"constant": (0.1,), "exponential_decay": (0.1, 10, 0.5), "warmup": (0.1, 10)}[name]
        assert optim.schedule_named(name, *arguments)(7) == schedule(7)
    assert optim.schedule_named("cosine_decay", 0.1, decay_steps=10)(10) == 0


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), np.int32(1)])
def test_numbers_of_numpy_are_numbers(number: Any) -> None:
    assert optim.cosine_decay(number, 10)(0) == number
    assert optim.linear_decay(number, 0, np.int64(10))(5) == number / 2


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: optim.constant(-0.1), ["constant", "value", "at least 0", "-0.1"]),
        (lambda: optim.constant("0.1"), ["constant", "value", "'0.1'"]),
        (lambda: optim.exponential_decay(0.1, 0, 0.5), ["exponential_decay", "transition_steps", "positive", "0"]),
        (lambda: optim.exponential_decay(0.1, 10, 0), ["exponential_decay", "decay_rate", "positive", "0"]),
        (lambda: optim.exponential_decay(0.1, 10, 0.5, -1), ["exponential_decay", "transition_begin", "-1"]),
        (lambda: optim.exponential_decay(0.1, 10, 0.5, end_value=-1), ["exponential_decay", "end_value", "-1"]),
        (lambda: optim.exponential_decay(float("nan"), 10, 0.5), ["exponential_decay", "init_value", "nan"]),
        (lambda: optim.exponential_decay(0.1, None, 0.5), ["exponential_decay", "transition_steps", "None"]),
        (lambda: optim.inverse_time_decay(0.1, -2), ["inverse_time_decay", "transition_steps", "-2"]),
        (lambda: optim.inverse_time_decay(0.1, 1, -2), ["inverse_time_decay", "decay_rate", "-2"]),
        (lambda: optim.polynomial_decay(0.1, 0, 0, 10), ["polynomial_decay", "power", "positive", "0"]),
        (lambda: optim.linear_decay(0.1, 0, 0), ["linear_decay", "transition_steps", "positive", "0"]),
        (lambda: optim.linear_decay(True), ["linear_decay", "init_value", "True"]),
        (lambda: optim.cosine_decay(0.1, 0), ["cosine_decay", "decay_steps", "positive", "0"]),
        (lambda: optim.cosine_decay(0.1, float("inf")), ["cosine_decay", "decay_steps", "inf"]),
        (lambda: optim.cosine_decay(0.1, 10, alpha=-1), ["cosine_decay", "alpha", "-1"]),
        (lambda: optim.piecewise_constant(0.1, {-5: 0.5}), ["piecewise_constant", "boundary", "-5"]),
        (lambda: optim.piecewise_constant(0.1, {5: -0.5}), ["piecewise_constant", "scale", "-0.5"]),
        (lambda: optim.warmup(0.1, 0), ["warmup", "steps", "positive", "0"]),
        (lambda: optim.warmup("cosine", 10), ["warmup", "schedule", "'cosine'"]),
        (lambda: optim.schedule_named("cosine"), ["schedule", "'cosine'", "Known: constant", "cosine_decay'?"]),
        (lambda: optim.schedule_named("expnential_decay"), ["schedule", "Known: ", "'exponential_decay'?"]),
    ],
)
def test_bad_arguments_say_what_came_and_what_to_do(call: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        call()
    for word in words:
        assert word in str(caught.value)
