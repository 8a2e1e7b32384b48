"""Learning-rate schedules: functions from the number of steps taken to a rate.

They have optax's meanings and argument names where optax has them. A schedule works on a Python int, and on an Array of
integers as well, so that a step that is traced or compiled evaluates it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from gradkit.core import Array
from gradkit.errors import unknown_name
from gradkit.numpy import clip, cos, exp, floor, maximum, minimum, where

__all__ = [
    "SCHEDULES",
    "Schedule",
    "constant",
    "cosine_decay",
    "exponential_decay",
    "inverse_time_decay",
    "linear_decay",
    "piecewise_constant",
    "polynomial_decay",
    "schedule_named",
    "warmup",
]

Schedule = Callable[[Any], Any]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def _positive(caller: str, **values: Any) -> None:
    for name, value in values.items():
        if not 0 < _number(value) < math.inf:
            raise ValueError(f"{caller}: {name} must be a positive number, got {value!r}")


def _not_negative(caller: str, **values: Any) -> None:
    for name, value in values.items():
        if not 0 <= _number(value) < math.inf:
            raise ValueError(f"{caller}: {name} must be a number of at least 0, got {value!r}")


def constant(value: float) -> Schedule:
    """Make the schedule that is always `value`.

    Examples
    --------
    >>> constant(0.1)(1000)
    0.1
    """
    _not_negative("constant", value=value)
    return lambda step: value


def exponential_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    r"""Make the schedule :math:`\mathrm{init\_value} \cdot \mathrm{decay\_rate}^{t / \mathrm{transition\_steps}}`.

    Parameters
    ----------
    init_value : float
        The rate at first.
    transition_steps : int
        The number of steps in which the rate is multiplied with `decay_rate` once.
    decay_rate : float
        The factor, positive; above 1 the rate grows.
    transition_begin : int
        The number of steps at first without decay; t counts from there.
    staircase : bool
        Whether the exponent is rounded down, so that the rate falls in stairs.
    end_value : float, optional
        Where the decay (or growth) ends.

    Examples
    --------
    >>> rate = exponential_decay(0.1, transition_steps=100, decay_rate=0.5)
    >>> [rate(step) for step in (0, 100, 200)]
    [0.1, 0.05, 0.025]
    """
    _positive("exponential_decay", transition_steps=transition_steps, decay_rate=decay_rate)
    _not_negative("exponential_decay", init_value=init_value, transition_begin=transition_begin)
    if end_value is not None:
        _not_negative("exponential_decay", end_value=end_value)
    logarithm = math.log(decay_rate)

    def rate(step: Any) -> Any:
        if type(step) is Array:
            count = maximum(step - transition_begin, 0) / transition_steps
            value = init_value * exp(logarithm * (floor(count) if staircase else count))
            if end_value is None:
                return value
            return maximum(value, end_value) if decay_rate < 1 else minimum(value, end_value)
        count = max(step - transition_begin, 0) / transition_steps
        result = init_value * decay_rate ** (math.floor(count) if staircase else count)
        if end_value is None:
            return result
        return max(result, end_value) if decay_rate < 1 else min(result, end_value)

    return rate


def inverse_time_decay(
    init_value: float, transition_steps: float = 1, decay_rate: float = 1.0, staircase: bool = False
) -> Schedule:
    r"""Make the schedule :math:`\mathrm{init} / (1 + \mathrm{decay\_rate} \cdot t / \mathrm{transition\_steps})`.

    With ``transition_steps=1`` it is the lecture's :math:`\alpha_0 / (1 + \mathrm{decay} \cdot t)`.

    Parameters
    ----------
    init_value : float
        The rate at first.
    transition_steps : float
        The steps in which ``decay_rate`` is added to the denominator.
    decay_rate : float
        How much is added.
    staircase : bool
        Whether ``t / transition_steps`` is rounded down.

    Examples
    --------
    >>> rate = inverse_time_decay(1.0, transition_steps=10, decay_rate=1.0)
    >>> [rate(step) for step in (0, 10, 30)]
    [1.0, 0.5, 0.25]
    """
    _positive("inverse_time_decay", transition_steps=transition_steps)
    _not_negative("inverse_time_decay", init_value=init_value, decay_rate=decay_rate)

    def rate(step: Any) -> Any:
        count = step / transition_steps
        if staircase:
            count = floor(count) if type(count) is Array else math.floor(count)
        return init_value / (1 + decay_rate * count)

    return rate


def polynomial_decay(
    init_value: float, end_value: float, power: float, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    r"""Make the schedule :math:`(\mathrm{init} - \mathrm{end}) (1 - t / T)^{\mathrm{power}} + \mathrm{end}`.

    Parameters
    ----------
    init_value, end_value : float
        The rates at first, and from step ``transition_begin + transition_steps`` on.
    power : float
        1 is a line; above 1 the rate falls fast at first.
    transition_steps : int
        T, the number of steps that the transition takes.
    transition_begin : int
        The number of steps at first without decay; t counts from there.

    Examples
    --------
    >>> rate = polynomial_decay(1.0, 0.0, power=2, transition_steps=10)
    >>> [rate(step) for step in (0, 5, 10, 20)]
    [1.0, 0.25, 0.0, 0.0]
    """
    _positive("polynomial_decay", transition_steps=transition_steps, power=power)
    _not_negative("polynomial_decay", init_value=init_value, end_value=end_value, transition_begin=transition_begin)

    def rate(step: Any) -> Any:
        if type(step) is Array:
            left = 1 - clip(step - transition_begin, 0, transition_steps) / transition_steps
        else:
            left = 1 - min(max(step - transition_begin, 0), transition_steps) / transition_steps
        return (init_value - end_value) * left**power + end_value

    return rate


def linear_decay(
    init_value: float, end_value: float = 0.0, transition_steps: int = 1, transition_begin: int = 0
) -> Schedule:
    """Make the schedule that goes from `init_value` to `end_value` on a line: `polynomial_decay` of power 1.

    Examples
    --------
    >>> rate = linear_decay(1.0, 0.0, transition_steps=4)
    >>> [rate(step) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    _positive("linear_decay", transition_steps=transition_steps)
    _not_negative("linear_decay", init_value=init_value, end_value=end_value, transition_begin=transition_begin)
    return polynomial_decay(init_value, end_value, 1, transition_steps, transition_begin)


def cosine_decay(init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0) -> Schedule:
    r"""Make the schedule :math:`\mathrm{init} ((1 - \alpha) (\frac{1 + \cos(\pi t / T)}{2})^{p} + \alpha)`.

    (Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017.)

    Parameters
    ----------
    init_value : float
        The rate at first.
    decay_steps : int
        T; from there on the rate is ``alpha * init_value``.
    alpha : float
        The last rate, as a share of the first.
    exponent : float
        p, the power of the cosine.

    Examples
    --------
    >>> rate = cosine_decay(1.0, 10)
    >>> [round(rate(step), 3) for step in (0, 5, 10, 15)]
    [1.0, 0.5, 0.0, 0.0]
    """
    _positive("cosine_decay", decay_steps=decay_steps, exponent=exponent)
    _not_negative("cosine_decay", init_value=init_value, alpha=alpha)

    def rate(step: Any) -> Any:
        share: Any
        if type(step) is Array:
            share = 0.5 * (1 + cos(math.pi * minimum(step, decay_steps) / decay_steps))
        else:
            share = 0.5 * (1 + math.cos(math.pi * min(step, decay_steps) / decay_steps))
        return init_value * ((1 - alpha) * share**exponent + alpha)

    return rate


def piecewise_constant(init_value: float, boundaries_and_scales: Mapping[int, float] | None = None) -> Schedule:
    """Make the schedule that is multiplied with a scale at each boundary.

    Parameters
    ----------
    init_value : float
        The rate at first.
    boundaries_and_scales : dict from int to float, optional
        From which step on (the boundary's own step included) which factor is multiplied in.

    Examples
    --------
    >>> rate = piecewise_constant(1.0, {10: 0.5, 20: 0.5})
    >>> [rate(step) for step in (9, 10, 20)]
    [1.0, 0.5, 0.25]
    """
    _not_negative("piecewise_constant", init_value=init_value)
    pieces = sorted((boundaries_and_scales or {}).items())
    for boundary, scale in pieces:
        _not_negative("piecewise_constant", boundary=boundary, scale=scale)

    def rate(step: Any) -> Any:
        value: Any = init_value
        for boundary, scale in pieces:
            if type(step) is Array:
                value = value * where(step >= boundary, scale, 1.0)
            elif step >= boundary:
                value = value * scale
        return value

    return rate


def warmup(schedule: float | Schedule, steps: int, init_value: float = 0.0) -> Schedule:
    """Make the schedule that rises on a line for `steps` steps, and is then another one.

    Parameters
    ----------
    schedule : float or schedule
        What follows; its count begins after the rise, and its first value is where the rise ends.
    steps : int
        How many steps the rise takes.
    init_value : float
        Where the rise begins.

    Examples
    --------
    >>> rate = warmup(exponential_decay(1.0, 10, 0.5), steps=4)
    >>> [rate(step) for step in (0, 2, 4, 14)]
    [0.0, 0.5, 1.0, 0.5]
    """
    _positive("warmup", steps=steps)
    _not_negative("warmup", init_value=init_value)
    if not callable(schedule):
        _not_negative("warmup", schedule=schedule)
    after = schedule if callable(schedule) else constant(schedule)
    rise = polynomial_decay(init_value, after(0), 1, steps)

    def rate(step: Any) -> Any:
        if type(step) is Array:
            return where(step < steps, rise(step), after(maximum(step - steps, 0)))
        return rise(step) if step < steps else after(step - steps)

    return rate


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine_decay": cosine_decay,
    "exponential_decay": exponential_decay,
    "inverse_time_decay": inverse_time_decay,
    "linear_decay": linear_decay,
    "piecewise_constant": piecewise_constant,
    "polynomial_decay": polynomial_decay,
    "warmup": warmup,
}
"""The schedules by name."""


def schedule_named(name: str, *arguments: Any, **options: Any) -> Schedule:
    """Make the schedule of that name, for programs that take the name from a user.

    Raises
    ------
    ValueError
        If no schedule has that name; the message lists those that there are.

    Examples
    --------
    >>> schedule_named("cosine_decay", 0.1, decay_steps=100)(100)
    0.0
    >>> schedule_named("cosine_decya", 0.1)
    Traceback (most recent call last):
    ...
    ValueError: Unknown schedule 'cosine_decya'. Known: constant, cosine_decay, ... Did you mean 'cosine_decay'?
    """
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, SCHEDULES)
    return SCHEDULES[name](*arguments, **options)
