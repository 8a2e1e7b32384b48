"""One step of training: the loss of a batch, its gradient, and the update, as one function.

`fit` and the estimators take what it gives, and run it as it is or, many times a call, as a program (`programs.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gradkit.core.array import Array, backend_of_array
from gradkit.transforms import value_and_grad

__all__ = ["Optimizer", "RatedStep", "Step", "has_rate", "rated_step", "start_reading", "training_step"]

Step = Callable[..., tuple[Any, Any, Any]]
"""``(model, state, *batch) -> (model, state, loss)``."""
RatedStep = Callable[..., tuple[Any, Any, Sequence[Any]]]
"""``(model, state, rate, *batch) -> (model, state, values)``: a step whose learning rate is an argument."""


class Optimizer(Protocol):
    """What a step asks of an optimizer: pure functions of pytrees, as `gradkit.optim.SGD` has them."""

    def init(self, params: Any) -> Any:
        """Return the state before the first step, a pytree."""

    def update(self, params: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        """Return the parameters and the state after one step."""


def training_step(loss: Callable[..., Any], optimizer: Optimizer, has_aux: bool = False) -> Step:
    """Make the step of training that is fastest on the backend at hand.

    Parameters
    ----------
    loss : callable
        ``loss(model, *batch)``, a scalar Array; with `has_aux` a pair of it and anything.
    optimizer : Optimizer
        Such as `gradkit.optim.SGD`.
    has_aux : bool
        Whether `loss` returns auxiliary data beside the loss.

    Returns
    -------
    callable
        ``step(model, state, *batch)`` returns ``(model, state, loss)``: a new model and optimizer's state, and the loss
        of the batch before the update (with `has_aux` the pair), on the device. Nothing is changed in place, so an
        older model and state stay what they were and can be saved or gone back to.

    Raises
    ------
    TypeError
        If the loss is no function; by the step, if its result is no scalar of real numbers.

    Notes
    -----
    The step is `value_and_grad` and the optimizer's `update`. The lecture's way on the same models (``loss.backward()``
    and ``optimizer.step(model)``) saves taking the model apart, some microseconds, and for that it changes the model
    in place: a run that is to be saved between steps would have to copy it.

    Examples
    --------
    >>> import gradkit
    >>> from gradkit import data, nn, optim, random
    >>> x, y = data.moons(200, key=random.key(0))
    >>> model, optimizer = nn.MLP(2, [16, 2], key=random.key(1)), optim.SGD(0.5, momentum=0.9)
    >>> step = training_step(lambda model, x, y: nn.softmax_cross_entropy(model(x), y), optimizer)
    >>> state = optimizer.init(model)
    >>> for _ in range(100):
    ...     model, state, loss = step(model, state, x, y)
    >>> state.step, loss.item() < 0.1
    (100, True)
    """
    if has_aux and hasattr(optimizer, "scaled"):
        return _scaled_step(loss, optimizer)
    loss_and_gradient = value_and_grad(loss, has_aux=has_aux)

    def step(model: Any, state: Any, *batch: Any) -> tuple[Any, Any, Any]:
        value, gradient = loss_and_gradient(model, *batch)
        model, state = optimizer.update(model, gradient, state)
        return model, state, value

    return step


def _scaled_step(loss: Callable[..., Any], optimizer: Any) -> Step:
    """Return the step of an optimizer that takes the gradients of a scaled loss (`scaling.ScaledOptimizer`)."""

    def step(model: Any, state: Any, *batch: Any) -> tuple[Any, Any, Any]:
        (_, measured), gradient = value_and_grad(optimizer.scaled(loss, state), has_aux=True)(model, *batch)
        model, state = optimizer.update(model, gradient, state)
        return model, state, measured

    return step


def rated_step(loss: Callable[..., Any], optimizer: Any, measured: Callable[..., Sequence[Any]]) -> RatedStep:
    """Make a step whose learning rate is an argument, where the optimizer can be told one.

    Parameters
    ----------
    loss : callable
        ``loss(model, *batch)``, a pair of a scalar Array and anything.
    optimizer : Optimizer
        If it has ``with_rate``, its rate is the one that the step is given.
    measured : callable
        ``measured((loss, anything), *batch)``, the numbers that the step returns.
    """

    def step(model: Any, state: Any, rate: Any, *batch: Any) -> tuple[Any, Any, Sequence[Any]]:
        now = optimizer.with_rate(rate) if has_rate(optimizer) else optimizer
        model, state, value = training_step(loss, now, has_aux=True)(model, state, *batch)
        return model, state, measured(value, *batch)

    return step


def has_rate(optimizer: Any) -> bool:
    """Return whether an optimizer can be told its learning rate, so that its schedule stays on the host."""
    return hasattr(optimizer, "with_rate")


def start_reading(value: Any) -> Callable[[], float]:
    """Begin to bring a number to the host, and return what waits for it and gives it.

    A device computes what it was asked for in order: a copy that is asked for with the next step already waiting would
    come behind that step.
    """
    if type(value) is not Array:
        return lambda: float(value)
    copied = backend_of_array(value).start_copy_to_host(value.data)
    return lambda: float(copied())
