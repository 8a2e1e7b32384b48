"""A model on data that it is not trained with: its predictions, its loss, and metrics of all predictions together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradkit import tree
from gradkit.core import Array, no_grad
from gradkit.core.values import host
from gradkit.data import minibatches
from gradkit.data.chosen import ChosenRows
from gradkit.numpy import asarray, concatenate, isfinite
from gradkit.train.objectives import Metric, Objective, metrics_for, objective_for

__all__ = ["ROWS", "evaluate", "first_not_finite", "is_finite", "measure", "predict"]

ROWS = 8192
"""How many examples a model is given at once: few enough for the memory, many enough that calls cost nothing."""


def predict(model: Any, x: Any, batch_size: int = ROWS) -> Array:
    """Apply a model to many examples, some of them at a time, with nothing recorded.

    Parameters
    ----------
    model : callable
        From examples to outputs, a row each.
    x : array, shape (n, ...)
        The examples; a `numpy.memmap` is read a batch at a time.
    batch_size : int
        How many examples the model is given at once.

    Returns
    -------
    Array, shape (n, ...)

    Raises
    ------
    ValueError
        If there are no examples.

    Examples
    --------
    >>> import gradkit
    >>> model = gradkit.nn.MLP(2, [3], key=gradkit.random.key(0))
    >>> predict(model, gradkit.numpy.ones((5, 2)), batch_size=2).shape
    (5, 3)
    """
    with no_grad():
        parts = [model(rows) for (rows,) in minibatches((_rows(x),), batch_size, shuffle=False)]
    return parts[0] if len(parts) == 1 else concatenate(parts)


def evaluate(
    model: Any,
    data: tuple[Any, Any],
    loss: str | Callable[..., Any] | None = None,
    metrics: str | Metric | Sequence[str | Metric] | Mapping[str, Metric] | None = None,
) -> dict[str, float]:
    """Measure a model on data, as `fit` does on its validation data.

    Parameters
    ----------
    model : callable
        From examples to outputs, a row each.
    data : pair of arrays
        The examples and their targets.
    loss, metrics
        As for `fit`: by default what the targets suggest.

    Returns
    -------
    dict of str to float
        The loss and each metric. A metric is computed from all predictions at once.

    Raises
    ------
    ValueError
        If a name is unknown, or there are no examples.

    Examples
    --------
    >>> import gradkit
    >>> model = gradkit.nn.MLP(2, [3], key=gradkit.random.key(0))
    >>> sorted(evaluate(model, (gradkit.numpy.ones((5, 2)), gradkit.numpy.arange(5) % 3)))
    ['accuracy', 'loss']
    """
    x, y = map(_rows, data)
    objective = objective_for(loss, y)
    return measure(model, x, y, objective, metrics_for(metrics, objective))


def _rows(values: Any) -> Any:
    """Return lists and arrays of the host as an Array, and what stays on the disk as it is."""
    return values if isinstance(values, np.memmap | ChosenRows) else asarray(values)


def measure(model: Any, x: Any, y: Any, objective: Objective, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Return the loss and the metrics on some data, by name.

    A metric is computed from all predictions at once, so it need not be a mean over the examples.
    """
    prediction = predict(model, x) if metrics or not objective.takes_model else None
    target = asarray(np.asarray(y) if isinstance(y, ChosenRows) else y)
    with no_grad():
        if objective.takes_model:
            total = 0.0
            for x_part, y_part in minibatches((x, y), ROWS, shuffle=False):
                total += float(objective.loss(model, x_part, y_part)) * len(y_part)
            loss = total / len(target)
        else:
            loss = float(objective.of(prediction, target))
        return {"loss": loss, **{name: float(metric(prediction, target)) for name, metric in metrics.items()}}


def is_finite(model: Any) -> bool:
    """Return whether all parameters of a model are finite."""
    return all(bool(isfinite(leaf).all()) for leaf in tree.leaves(model) if type(leaf) is Array)


def first_not_finite(name: str, data: tuple[Any, Any] | None, numbers: Any = None) -> str | None:
    """Say where the first number of some data is that is NaN or infinite, as ``name[0][3, 1] is nan``.

    Parameters
    ----------
    name : str
        What the data are called.
    data : pair of arrays, or None
        The examples and their targets.
    numbers : array of integers, optional
        What the rows of `data` are called; by default, their numbers.

    Examples
    --------
    >>> import numpy
    >>> x = numpy.ones((5, 2))
    >>> x[3, 1] = numpy.nan
    >>> first_not_finite("data", (x, numpy.ones(5)))
    'data[0][3, 1] is nan'
    """
    for i, part in enumerate(data or ()):
        for start in range(0, len(part), ROWS):
            rows = part[start : start + ROWS]
            values = host(rows) if type(rows) is Array else np.asarray(rows)
            known = np.isfinite(values)
            if not known.all():
                position = np.argwhere(~known)[0].tolist()
                row = start + position[0]
                at = ", ".join(map(str, (row if numbers is None else int(numbers[row]), *position[1:])))
                return f"{name}[{i}][{at}] is {values[tuple(position)]}"
    return None
