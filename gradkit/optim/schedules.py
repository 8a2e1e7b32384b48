"""Learning-rate schedules: functions from the number of steps taken to a rate.

They have optax's meanings and argument names where optax has them. A schedule works on a Python int, and on an Array of
integers as well, so that a step that is traced or compiled evaluates it there.

Each is an object that holds its arguments: it prints as the call that made it, equals another of the same arguments,
and can be copied and pickled, as an optimizer with it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, cast

from gradkit.core import Array
from gradkit.errors import unknown_name
from gradkit.numpy import clip, cos, exp, floor, maximum, minimum, where

__all__ = [
    "SCHEDULES", "Schedule", "constant", "cosine_decay", "exponential_decay", "inverse_time_decay", "linear_decay",
    "piecewise_constant", "polynomial_decay", "schedule_named", "warmup",
]  # fmt: skip

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


@dataclass(frozen=True)
class constant:
    """The schedule that is always `value`.

    Examples
    --------
    >>> constant(0.1)(1000)
    0.1
    """

    value: float

    def __post_init__(self) -> None:
        _not_negative("constant", value=self.value)

    def __call__(self, step: Any) -> Any:
        """Return the rate after that number of steps."""
        return self.value


@dataclass(frozen=True)
class exponential_decay:
    r"""The schedule :math:`\mathrm{init\_value} \cdot \mathrm{decay\_rate}^{t / \mathrm{transition\_steps}}`.

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

    init_value: float
    transition_steps: int
    decay_rate: float
    transition_begin: int = 0
    staircase: bool = False
    end_value: float | None = None

    def __post_init__(self) -> None:
        _positive("exponential_decay", transition_steps=self.transition_steps, decay_rate=self.decay_rate)
        _not_negative("exponential_decay", init_value=self.init_value, transition_begin=self.transition_begin)
        if self.end_value is not None:
            _not_negative("exponential_decay", end_value=self.end_value)

    def __call__(self, step: Any) -> Any:
        """Return the rate after that number of steps."""
        end = self.end_value
        if type(step) is Array:
            count = maximum(step - self.transition_begin, 0) / self.transition_steps
            value = self.init_value * exp(math.log(self.decay_rate) * (floor(count) if self.staircase else count))
            if end is None:
                return value
            return maximum(value, end) if self.decay_rate < 1 else minimum(value, end)
        count = max(step - self.transition_begin, 0) / self.transition_steps
        result = self.init_value * self.decay_rate ** (math.floor(count) if self.staircase else count)
        if end is None:
            return result
        return max(result, end) if self.decay_rate < 1 else min(result, end)


@dataclass(frozen=True)
class inverse_time_decay:
    r"""The schedule :math:`\mathrm{init} / (1 + \mathrm{decay\_rate} \cdot t / \mathrm{transition\_steps})`.

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

    init_value: float
    transition_steps: float = 1
    decay_rate: float = 1.0
    staircase: bool = False

    def __post_init__(self) -> None:
        _positive("inverse_time_decay", transition_steps=self.transition_steps)
        _not_negative("inverse_time_decay", init_value=self.init_value, decay_rate=self.decay_rate)

    def __call__(self, step: Any) -> Any:
        """Return the rate after that number of steps."""
        count = step / self.transition_steps
        if self.staircase:
            count = floor(count) if type(count) is Array else math.floor(count)
        return self.init_value / (1 + self.decay_rate * count)


@dataclass(frozen=True)
class polynomial_decay:
    r"""The schedule :math:`(\mathrm{init} - \mathrm{end}) (1 - t / T)^{\mathrm{power}} + \mathrm{end}`.

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

    init_value: float
    end_value: float
    power: float
    transition_steps: int
    transition_begin: int = 0

    def __post_init__(self) -> None:
        _positive("polynomial_decay", transition_steps=self.transition_steps, power=self.power)
        _not_negative(
            "polynomial_decay",
            init_value=self.init_value,
            end_value=self.end_value,
            transition_begin=self.transition_begin,
        )

    def __call__(self, step: Any) -> Any:
        """Return the rate after that number of steps."""
        return _on_a_power(self, self.power, step)


@dataclass(frozen=True)
class linear_decay:
    """The schedule that goes from `init_value` to `end_value` on a line: `polynomial_decay` of power 1.

    Examples
    --------
    >>> rate = linear_decay(1.0, 0.0, transition_steps=4)
    >>> [rate(step) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    init_value: float
    end_value: float = 0.0
    transition_steps: int = 1
    transition_begin: int = 0

    def __post_init__(self) -> None:
        _positive("linear_decay", transition_steps=self.transition_steps)
        _not_negative(
            "linear_decay",
            init_value=self.init_value,
            end_value=self.end_value,
            transition_begin=self.transition_begin,
        )

    def __call__(self, step: Any) -> Any:
        """Return the rate after that number of steps."""
        return _on_a_power(self, 1, step)


def _on_a_power(schedule: polynomial_decay | linear_decay, power: float, step: Any) -> Any:
    steps, begin, end = schedule.transition_steps, schedule.transition_begin, schedule.end_value
    if type(step) is Array:
        left = 1 - clip(step - begin, 0, steps) / steps
    else:
        left = 1 - min(max(step - begin, 0), steps) / steps
    return (schedule.init_value - end) * left**power + end


@dataclass(frozen=True)
class cosine_decay:
    r"""The schedule :math:`\mathrm{init} ((1 - \alpha) (\frac{1 + \cos(\pi t / T)}{2})^{p} + \alpha)`.

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

    init_value: float
    decay_steps: int
    alpha: float = 0.0
    exponent: float = 1.0

    def __post_init__(self) -> None:
        _positive("cosine_decay", decay_steps=self.decay_steps, exponent=self.exponent)
        _not_negative("cosine_decay", init_value=self.init_value, alpha=self.alpha)

    def __call__(self, step: Any) -> Any:
        """Return the rate after that number of steps."""
        share: Any
        steps = self.decay_steps
        if type(step) is Array:
            share = 0.5 * (1 + cos(math.pi * minimum(step, steps) / steps))
        else:
            share = 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
        return self.init_value * ((1 - self.alpha) * share**self.exponent + self.alpha)


@dataclass(frozen=True)
class piecewise_constant:
    """The schedule that is multiplied with a scale at each boundary.

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

    init_value: float
    boundaries_and_scales: Mapping[int, float] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        _not_negative("piecewise_constant", init_value=self.init_value)
        pieces = dict(sorted((self.boundaries_and_scales or {}).items()))
        for boundary, scale in pieces.items():
            _not_negative("piecewise_constant", boundary=boundary, scale=scale)
        object.__setattr__(self, "boundaries_and_scales", pieces)  # its own, in order

    def __call__(self, step: Any) -> Any:
        """Return the rate after that number of steps."""
        value: Any = self.init_value
        for boundary, scale in (self.boundaries_and_scales or {}).items():
            if type(step) is Array:
                value = value * where(step >= boundary, scale, 1.0)
            elif step >= boundary:
                value = value * scale
        return value


@dataclass(frozen=True)
class warmup:
    """The schedule that rises on a line for `steps` steps, and is then another one.

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

    schedule: float | Schedule
    steps: int
    init_value: float = 0.0
    _rise: polynomial_decay = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _positive("warmup", steps=self.steps)
        _not_negative("warmup", init_value=self.init_value)
        if not callable(self.schedule):
            _not_negative("warmup", schedule=self.schedule)
            object.__setattr__(self, "schedule", constant(self.schedule))
        rise = polynomial_decay(self.init_value, self._after(0), 1, self.steps)
        object.__setattr__(self, "_rise", rise)

    def __call__(self, step: Any) -> Any:
        """Return the rate after that number of steps."""
        steps = self.steps
        if type(step) is Array:
            return where(step < steps, self._rise(step), self._after(maximum(step - steps, 0)))
        return self._rise(step) if step < steps else self._after(step - steps)

    def _after(self, step: Any) -> Any:
        return cast(Schedule, self.schedule)(step)


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
