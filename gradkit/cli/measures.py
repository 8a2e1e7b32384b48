"""How well a model predicts targets, in words."""

from __future__ import annotations

import numpy as np

from gradkit.cli.models import Model
from gradkit.data.files import HostArray
from gradkit.nn import softmax_cross_entropy
from gradkit.numpy import asarray

__all__ = ["measures"]


def measures(model: Model, x: HostArray, origin: HostArray | float, y: HostArray) -> str:
    """Return a line with what is usual for the task on the rows ``x + origin``: in classes' shares, or in units of `y`.

    R2 of targets that are all the same is 1 for exact predictions and else 0, as that of `gradkit.train`.
    """
    predicted = model.predict(x, origin)
    if model.about.classes is not None:
        right = int((predicted.argmax(axis=1) == y).sum())
        loss = float(softmax_cross_entropy(asarray(predicted), asarray(y)))
        return f"accuracy {right / len(y):.2%} ({right:,} of {len(y):,}), cross-entropy {loss:.4g}"
    difference = predicted - y
    centred = y - y[0]  # exactly 0 where all are the same
    unit = max(np.abs(difference).max(), np.abs(centred).max()) or 1.0  # squares of its multiples do not overflow
    difference, centred = difference / unit, centred / unit
    spread = ((centred - centred.mean(axis=0)) ** 2).sum()
    error = (difference**2).sum()
    r2 = 1 - error / spread if spread else float(not error)
    root, mean = unit * np.sqrt((difference**2).mean()), unit * np.abs(difference).mean()
    return f"R2 {r2:.4f}, root mean squared error {root:.4g}, mean absolute error {mean:.4g} ({len(y):,} rows)"
