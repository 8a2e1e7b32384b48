"""Loss scaling as a part of the optimizer: what it knows is in the optimizer's state, so programs and files have it."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, Literal, NamedTuple

from gradkit import tree
from gradkit.core import Array
from gradkit.core.array import weak_type
from gradkit.core.operands import as_array, cast, dtype_name
from gradkit.core.promotion import PYTHON_NUMBERS, is_inexact, promote
from gradkit.numpy import all as all_of
from gradkit.numpy import full_like, isfinite, logical_and, logical_or, maximum, stack, where, zeros_like
from gradkit.optim import DynamicLossScale, SGDState
from gradkit.train.steps import Optimizer

__all__ = ["LossScale", "ScaledOptimizer", "ScaledState", "loss_scale_for"]

LossScale = Literal["dynamic"] | float | DynamicLossScale | None
"""What `fit` takes."""


class ScaledState(NamedTuple):
    """What is known between two steps.

    Attributes
    ----------
    scale : Array, shape (), float32
        What the next loss is multiplied by.
    good_steps : Array, shape (), int32
        How many steps in a row had finite gradients, since the scale grew or shrank.
    optimizer : pytree
        The optimizer's own state.
    """

    scale: Any
    good_steps: Any
    optimizer: Any


def loss_scale_for(given: LossScale) -> DynamicLossScale | float | None:
    """Return what the argument `loss_scale` of `fit` means.

    Raises
    ------
    ValueError
        If it is none.
    """
    if given is None or isinstance(given, DynamicLossScale):
        return given
    if given == "dynamic":
        return DynamicLossScale()
    if isinstance(given, Real) and not isinstance(given, bool) and 0 < given < math.inf:
        return float(given)
    raise ValueError(
        f"fit: loss_scale must be 'dynamic', a positive number, a gradkit.optim.DynamicLossScale or None, got "
        f"{given!r}."
    )


class ScaledOptimizer:
    """An optimizer whose gradients are those of a scaled loss.

    Parameters
    ----------
    optimizer : Optimizer
        The one that takes the steps, with gradients that are as large as ever, in float32 at least.
    loss_scale : DynamicLossScale or float
        The rule, or a scale that stays.
    """

    def __init__(self, optimizer: Optimizer, loss_scale: DynamicLossScale | float) -> None:
        self.optimizer = optimizer
        self._rule = loss_scale if isinstance(loss_scale, DynamicLossScale) else None
        self._first = float(loss_scale.init_scale if isinstance(loss_scale, DynamicLossScale) else loss_scale)
        self._loss_scale = loss_scale
        if hasattr(optimizer, "with_rate"):
            self.with_rate = self._with_rate

    @property
    def learning_rate(self) -> Any:
        """The optimizer's."""
        return getattr(self.optimizer, "learning_rate", None)

    def _with_rate(self, learning_rate: Any) -> ScaledOptimizer:
        """Return one whose optimizer takes steps of another learning rate."""
        return ScaledOptimizer(self.optimizer.with_rate(learning_rate), self._loss_scale)  # type: ignore[attr-defined]

    def init(self, params: Any) -> ScaledState:
        """Return the state before the first step."""
        like = next(leaf for leaf in tree.leaves(params) if type(leaf) is Array).detach()
        scale = full_like(like, self._first, dtype="float32", shape=())
        return ScaledState(scale, zeros_like(like, dtype="int32", shape=()), self.optimizer.init(params))

    def scaled(self, loss: Callable[..., Any], state: ScaledState) -> Callable[..., Any]:
        """Return a loss with auxiliary data that is multiplied by the scale, in float32 at least."""

        def function(*args: Any) -> Any:
            value, aux = loss(*args)
            return as_array(value, "fit") * state.scale, (value, aux)

        return function

    def update(self, params: Any, grads: Any, state: ScaledState) -> tuple[Any, ScaledState]:
        """Take a step by the gradients of a scaled loss, or none where they are not finite."""
        unscaled = tree.map(lambda gradient: _wide(gradient) / state.scale, grads)
        new, new_state = self.optimizer.update(params, unscaled, state.optimizer)
        rule = self._rule
        if rule is None:
            return new, ScaledState(state.scale, state.good_steps, new_state)
        finite = all_of(stack([all_of(isfinite(as_array(leaf, "fit"))) for leaf in tree.leaves(unscaled)]))
        is_taken = logical_or(finite, state.scale <= 1)
        new = _chosen(is_taken, new, params)
        new_state = _state_chosen(is_taken, new_state, state.optimizer)
        good = where(finite, state.good_steps + 1, 0)
        grows = good >= rule.growth_interval
        shrunk = where(finite, state.scale, maximum(state.scale * rule.backoff_factor, 1.0))
        grown = state.scale * rule.growth_factor
        # An infinite one would never come back.
        scale = where(logical_and(grows, isfinite(grown)), grown, shrunk)
        return new, ScaledState(scale, where(grows, 0, good), new_state)


def _wide(gradient: Any) -> Array:
    """Return a gradient in float32 at least: what is small there is nothing in float16."""
    array = as_array(gradient, "fit")
    name = dtype_name(array)
    wide = promote([name, "float32"]) if is_inexact(name) else name
    return array if wide == name else cast(array, wide)


def _chosen(is_taken: Array, new: Any, old: Any) -> Any:
    """Return the new arrays where the step is taken, else the old ones; numbers, which count steps, are new ones."""

    def choose(one: Any, other: Any) -> Any:
        if type(one) in PYTHON_NUMBERS or (type(one) is Array and weak_type(one) is not None):
            return one
        return where(is_taken, one, other)

    return tree.map(choose, new, old)


def _state_chosen(is_taken: Array, new: Any, old: Any) -> Any:
    if isinstance(new, SGDState):  # its steps are the run's, by which the learning rate is known
        return SGDState(new.step, _chosen(is_taken, new.velocity, old.velocity))
    return _chosen(is_taken, new, old)
