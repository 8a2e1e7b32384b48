"""How a model scores points of the plane: on its own device, a batch of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import gradkit.numpy as jnp
from gradkit import tree
from gradkit.core import Array, no_grad
from gradkit.core.promotion import is_inexact
from gradkit.core.values import host
from gradkit.devices import devices
from gradkit.errors import ShapeError
from gradkit.viz.parameters import stands_alone

__all__ = ["Scorer", "scorer"]

HostArray = np.ndarray[Any, Any]


class Scorer(NamedTuple):
    """What evaluates a model of two inputs.

    Attributes
    ----------
    model : callable
    batch_size : int
        How many points it is given at once.
    options : dict
        The dtype and device of the points.
    alone : bool
        Whether it takes one point after the other, as a network of single numbers does.
    """

    model: Callable[[Any], Any]
    batch_size: int
    options: dict[str, Any]
    alone: bool

    def margins(self, points: HostArray, threshold: float) -> HostArray:
        """Return how far each class is ahead of the best other one, of shape (points, classes): above 0 where it wins.

        The class of a single score is whether it is above the threshold.
        """
        parts = []
        evaluate, refusal = (self._one_by_one, ValueError) if self.alone else (self._together, ShapeError)
        with no_grad(), np.errstate(all="ignore"):
            for begin in range(0, len(points), self.batch_size):
                batch = points[begin : begin + self.batch_size]
                try:
                    scores = evaluate(batch)
                except refusal as error:
                    raise ShapeError(
                        f"decision_boundary: the model does not take two inputs, points of shape {batch.shape}: {error}"
                    ) from error
                parts.append(host(_margins(_check(scores, len(batch)), threshold)))
        return np.concatenate(parts)

    def _together(self, batch: HostArray) -> Array:
        return jnp.asarray(self.model(jnp.asarray(batch, **self.options)))

    def _one_by_one(self, batch: HostArray) -> Array:
        rows = [[float(score) for score in tree.leaves(self.model(point))] for point in batch.tolist()]
        return jnp.asarray(np.asarray(rows), device=devices("cpu")[0])


def scorer(model: Callable[[Any], Any], data: Any, batch_size: int) -> Scorer:
    """Return what evaluates a model where its parameters are, or where the data are if it has none."""
    arrays = [leaf for leaf in tree.leaves(model) if type(leaf) is Array]
    where = [leaf for leaf in (*arrays, *tree.leaves(data)) if type(leaf) is Array]
    dtypes = [leaf.dtype for leaf in arrays if is_inexact(leaf.dtype.name)]
    options = {"dtype": dtypes[0] if dtypes else jnp.float32, "device": where[0].device if where else None}
    return Scorer(model, batch_size, options, bool(arrays) and stands_alone(arrays[0]))


def _check(scores: Array, count: int) -> Array:
    """Return scores of shape (n,) or (n, k), with k of at least 2."""
    if scores.shape == (count, 1):
        return scores[:, 0]
    if scores.ndim not in (1, 2) or scores.shape[0] != count:
        raise ValueError(
            f"decision_boundary: the model must return a score or a row of scores for each point, shape (n,) or "
            f"(n, k); for {count} points it returned shape {scores.shape}"
        )
    return scores


def _margins(scores: Array, threshold: float) -> Array:
    if scores.ndim == 1:
        scores = scores - threshold
        return jnp.stack([-scores, scores], axis=1)
    order = jnp.sort(scores, axis=1)
    first, second = order[:, -1:], order[:, -2:-1]
    return jnp.where(scores == first, scores - second, scores - first)
