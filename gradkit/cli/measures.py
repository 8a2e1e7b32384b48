"""How well a model predicts targets, in words."""

from __future__ import annotations

import numpy as np

from gradkit.cli.models import Model
from gradkit.data.files import HostArray
from gradkit.nn import softmax_cross_entropy
from gradkit.numpy import asarray

__all__ = ["measures"]


def measures(model: Model, x: HostArray, y: HostArray) -> str:
    """Return a line with what is usual for the task: in classes' shares, or in the target's own units."""
    predicted = model.predict(x)
    if model.about.classes is not None:
        right = int((predicted.argmax(axis=1) == y).sum())
        loss = float(softmax_cross_entropy(asarray(predicted), asarray(y)))
        return f"accuracy {right / len(y):.2%} ({right:,} of {len(y):,}), cross-entropy {loss:.4g}"
    difference = predicted.astype(np.float64) - y
    spread = ((y - y.mean(axis=0, dtype=np.float64)) ** 2).sum()
    r2 = 1 - (difference**2).sum() / spread if spread else float("nan")
    root = np.sqrt((difference**2).mean())
    return (
        f"R2 {r2:.4f}, root mean squared error {root:.4g}, mean absolute error {np.abs(difference).mean():.4g} "
        f"({len(y):,} rows)"
    )
