"""What is trained for and what is looked at: losses and metrics by name, and those that the targets suggest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gradkit import nn
from gradkit.core import Array
from gradkit.errors import ShapeError, unknown_name
from gradkit.numpy import abs as absolute
from gradkit.numpy import mean, square, where
from gradkit.numpy import sum as total

__all__ = [
    "LOSSES", "METRICS", "Metric", "Objective", "binary_accuracy", "mae", "metrics_for", "numbers_of", "objective_for",
    "r2",
]  # fmt: skip

Metric = Callable[[Any, Any], Any]
"""``metric(prediction, target)``, a scalar Array."""


def mae(prediction: Array, target: Array) -> Array:
    """Return the mean absolute error, mean(|prediction - target|).

    Parameters
    ----------
    prediction, target : Array
        Of the same shape: nothing is broadcast.

    Returns
    -------
    Array, shape ()

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> mae(jnp.asarray([1.0, 2.0]), jnp.asarray([1.0, 4.0]))
    Array(1., dtype=float32)
    """
    _same_shape("mae", prediction, target)
    return mean(absolute(prediction - target))


def r2(prediction: Array, target: Array) -> Array:
    """Return the coefficient of determination, 1 - sum((target - prediction)**2) / sum((target - mean(target))**2).

    Parameters
    ----------
    prediction, target : Array
        Of the same shape, the first axis that of the examples.

    Returns
    -------
    Array, shape ()
        1 for exact predictions, 0 for the mean of the targets. Of several outputs together: each about its own mean.
        Of targets that are all the same, for which the formula has no value, 1 for exact predictions and else 0, as in
        scikit-learn: the last minibatch of an epoch may be a single example.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> r2(jnp.asarray([1.0, 2.0, 4.0]), jnp.asarray([1.0, 2.0, 3.0]))
    Array(0.5, dtype=float32)
    """
    _same_shape("r2", prediction, target)
    target = target * 1.0  # unsigned integers have no negative differences
    centred = target - target[:1]  # exactly 0 where all are the same
    spread = total(square(centred - mean(centred, axis=0, keepdims=True)))
    error = total(square(target - prediction))
    score = 1 - error / where(spread == 0, 1.0, spread)
    return where(spread == 0, where(error == 0, 1.0, 0.0), score)


def binary_accuracy(scores: Array, labels: Array) -> Array:
    """Return the share of examples whose score has the sign of its label.

    Parameters
    ----------
    scores : Array
        Log odds, or the scores of a hinge loss.
    labels : Array
        Of the shape of `scores`; labels above 0 are the positive ones, so 0 and 1 do as well as -1 and 1.

    Returns
    -------
    Array, shape ()

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> binary_accuracy(jnp.asarray([2.0, -0.5]), jnp.asarray([1, 1]))
    Array(0.5, dtype=float32)
    """
    _same_shape("binary_accuracy", scores, labels)
    return mean(((scores > 0) == (labels > 0)).astype("float32"))


def _same_shape(caller: str, prediction: Array, target: Array) -> None:
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{caller}: predictions and targets must have the same shape, got {prediction.shape} and {target.shape}. "
            f"Nothing is broadcast here: give the targets the shape of the model's output."
        )


LOSSES: dict[str, Metric] = {
    "hinge": nn.hinge,
    "mse": nn.mse,
    "sigmoid_cross_entropy": nn.sigmoid_cross_entropy,
    "softmax_cross_entropy": nn.softmax_cross_entropy,
}
"""The losses by name."""

REASONS = {
    "mse": "No loss was named, and the targets are real numbers, so it is the mean squared error. Classes are given as "
    "integers, y.astype('int32').",
    "softmax_cross_entropy": "No loss was named, and the targets are integers or truth values, so they are "
    "classes. Numbers to predict are given as real numbers, y.astype('float32').",
}
"""Why a loss is the one that targets suggest."""

METRICS: dict[str, Metric] = {
    "accuracy": nn.accuracy,
    "binary_accuracy": binary_accuracy,
    "mae": mae,
    "mse": nn.mse,
    "r2": r2,
}
"""The metrics by name."""

USUAL_METRICS = {
    "hinge": ("binary_accuracy",),
    "sigmoid_cross_entropy": ("binary_accuracy",),
    "softmax_cross_entropy": ("accuracy",),
}
"""What is looked at with a loss where nothing is asked for."""


class Objective(NamedTuple):
    """A loss, in the form that a step takes.

    Attributes
    ----------
    name : str
        What it is called.
    loss : callable
        ``loss(prediction, target)``, or ``loss(model, x, y)``.
    takes_model : bool
        Which of the two.
    reason : str
        What the loss was chosen by where nobody named it: a refusal of the targets says so.
    """

    name: str
    loss: Callable[..., Any]
    takes_model: bool
    reason: str = ""

    def with_prediction(self, model: Any, x: Any, y: Any) -> tuple[Any, Any]:
        """Return the loss, and the prediction that it was computed from (None where the loss has it to itself)."""
        if self.takes_model:
            return self.loss(model, x, y), None
        prediction = model(x)
        return self.of(prediction, y), prediction

    def of(self, prediction: Any, target: Any) -> Any:
        """Return the loss of predictions."""
        try:
            if self.loss is nn.softmax_cross_entropy:
                _refuse_one_output(prediction)
            return self.loss(prediction, target)
        except (TypeError, ValueError) as error:
            if not self.reason:
                raise
            raise type(error)(f"{error} ({self.reason})") from error


def _refuse_one_output(prediction: Any) -> None:
    shape = getattr(prediction, "shape", ())
    if shape[-1:] == (1,):
        raise ShapeError(
            f"softmax_cross_entropy: the model has one output, of shape {shape}, and the softmax of one number is "
            f"always 1: there is nothing to learn. Give the model an output for each class, and integers of shape "
            f"{shape[:-1]}; or train the one output of two classes by loss='sigmoid_cross_entropy', with labels of "
            f"shape {shape}."
        )


def objective_for(loss: str | Callable[..., Any] | None, target: Any) -> Objective:
    """Return the loss of that name, the function given, or what the targets suggest.

    Parameters
    ----------
    loss : str, callable or None
        None takes softmax cross-entropy where the targets are integers (class numbers), and the mean squared error
        where they are real numbers.
    target : Array or numpy.ndarray
        The targets.

    Raises
    ------
    ValueError
        If no loss has that name; the message lists those that there are.
    TypeError
        If `loss` is neither a name nor a function of two or three arguments.
    """
    if loss is None:
        name = "softmax_cross_entropy" if target.dtype.kind in "biu" else "mse"
        return Objective(name, LOSSES[name], takes_model=False, reason=REASONS[name])
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise unknown_name("loss", loss, LOSSES)
        return Objective(loss, LOSSES[loss], takes_model=False)
    count = _arguments_of(loss)
    if count not in (2, 3):
        raise TypeError(
            f"fit: loss must be a name ({', '.join(LOSSES)}), a function of (prediction, target) or a function of "
            f"(model, x, y), got {loss!r}" + (f", which takes {count} arguments." if count is not None else ".")
        )
    return Objective(_name_of(loss), loss, takes_model=count == 3)


def metrics_for(
    metrics: str | Metric | Sequence[str | Metric] | Mapping[str, Metric] | None, objective: Objective
) -> dict[str, Metric]:
    """Return the metrics by name: those asked for, or by default the usual one of the loss.

    Raises
    ------
    ValueError
        If no metric has that name, or two have the same.
    TypeError
        If something is neither a name nor a function of two arguments.
    """
    if metrics is None:
        usual = LOSSES.get(objective.name) is objective.loss
        return {name: METRICS[name] for name in USUAL_METRICS.get(objective.name, ())} if usual else {}
    if isinstance(metrics, Mapping):
        pairs = list(metrics.items())
    else:
        several = isinstance(metrics, Sequence) and not isinstance(metrics, str)
        asked = list(metrics) if several else [metrics]  # type: ignore[arg-type]
        pairs = [(metric if isinstance(metric, str) else _name_of(metric), metric) for metric in asked]  # type: ignore[misc]
    found: dict[str, Metric] = {}
    for name, metric in pairs:
        if isinstance(metric, str):
            if metric not in METRICS:
                raise unknown_name("metric", metric, METRICS)
            metric = METRICS[metric]
        if not callable(metric):
            raise TypeError(
                f"fit: metrics must be names ({', '.join(METRICS)}) or functions of (prediction, target), got "
                f"{metric!r}."
            )
        if name in found or name in RESERVED or name.startswith("validation_"):
            raise ValueError(f"fit: a metric cannot be called {name!r}: a column of the history has that name.")
        found[name] = metric
    return found


RESERVED = ("epoch", "step", "loss", "learning_rate", "seconds")
"""The history's own columns."""


def numbers_of(metrics: Mapping[str, Metric]) -> Callable[[tuple[Any, Any], Any, Any], list[Any]]:
    """Return what makes the loss and the metrics of a minibatch of what `Objective.with_prediction` gives for it."""

    def numbers(measured: tuple[Any, Any], _x: Any, y: Any) -> list[Any]:
        loss, prediction = measured
        return [loss] if prediction is None else [loss, *(metric(prediction, y) for metric in metrics.values())]

    return numbers


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _arguments_of(function: Any) -> int | None:
    """Return how many positional arguments a function must be given; None for what is no function."""
    if not callable(function):
        return None
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a built-in one without a signature
        return 2
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty)
