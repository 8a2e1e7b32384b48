"""Planes through a space of parameters: two directions, and the points of a path in them.

A model is here a list of its parameters, and a direction a list of arrays of their shapes. Sums over all
parameters are taken on the device; to the host go numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import gradkit.numpy as jnp
from gradkit import random
from gradkit.core import Array
from gradkit.core.values import host
from gradkit.viz.parameters import Leaves, Parameters

__all__ = ["Plane", "choose_plane", "given", "principal", "random_plane"]

HostArray = np.ndarray[Any, np.dtype[np.float64]]


class Plane(NamedTuple):
    """Two directions through a point of the space of parameters.

    Attributes
    ----------
    center : list of Array
        The point where both coordinates are `origin`.
    first, second : list of Array
        The directions.
    origin : (float, float)
        The coordinates of the center.
    labels : (str, str)
        What the coordinates are, with their units.
    """

    center: Leaves
    first: Leaves
    second: Leaves
    origin: tuple[float, float]
    labels: tuple[str, str]

    def project(self, points: Sequence[Leaves]) -> HostArray:
        """Return the coordinates of the nearest points in the plane, of shape (points, 2)."""
        axes = self.first, self.second
        gram = np.asarray([[inner(a, b) for b in axes] for a in axes])
        sides = np.zeros((len(points), 2))
        for offsets, *each in zip(_offsets(points, self.center), *axes, strict=True):
            columns = jnp.stack([jnp.ravel(direction) for direction in each], axis=1)
            sides += host(offsets @ columns)
        return np.linalg.solve(gram, sides.T).T + self.origin


def inner(a: Leaves, b: Leaves) -> float:
    """Return the inner product of two directions."""
    return sum(float(jnp.sum(x * y)) for x, y in zip(a, b, strict=True))


def _offsets(points: Sequence[Leaves], center: Leaves) -> Iterator[Array]:
    """Yield for each leaf how far each point is from the center, of shape (points, numbers in the leaf)."""
    for c, values in zip(center, zip(*points, strict=True), strict=True):
        yield jnp.reshape(jnp.stack(values) - c, (len(points), c.size))


# The planes


def principal(path: Sequence[Leaves]) -> Plane | None:
    """Return the plane of a path's two principal components, through its last point, or None if it is a straight line.

    With the path's points in the rows of M, less their mean, these are M's two leading right singular vectors. They are
    found from the eigenvectors of M Mᵀ, a matrix of the size of the path, however many parameters there are.
    """
    center = path[-1]
    offsets = list(_offsets(path, center))
    gram = np.zeros((len(path), len(path)))
    for rows in offsets:
        gram += host(rows @ rows.T)
    gram += gram.mean() - gram.mean(axis=0) - gram.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(gram)
    # float32 leaves that much of a component that is not there.
    if len(path) < 3 or values[-2] <= 1e-6 * values[-1]:
        return None
    components = []
    for value, vector in ((values[-1], vectors[:, -1]), (values[-2], vectors[:, -2])):
        weights = (vector - vector.mean()) / math.sqrt(value)
        # Of the two signs, the one in which the path comes from the right and from above.
        weights *= -1 if weights @ gram[:, 0] < 0 else 1
        components.append(
            [
                jnp.reshape(jnp.asarray(weights, dtype=rows.dtype, device=rows.device) @ rows, c.shape)
                for rows, c in zip(offsets, center, strict=True)
            ]
        )
    shares = values / values[values > 0].sum()
    labels = [f"principal component {i} ({100 * shares[-i]:.1f} % of the path's variance)" for i in (1, 2)]
    return Plane(center, components[0], components[1], (0.0, 0.0), (labels[0], labels[1]))


def random_plane(center: Leaves, key: Array) -> Plane:
    """Return the plane of two filter-normalized random directions."""
    first, second = (filter_normalized(center, each) for each in random.split(key))
    labels = ("random direction 1 (filter norms)", "random direction 2 (filter norms)")
    return Plane(center, first, second, (0.0, 0.0), labels)


def filter_normalized(center: Leaves, key: Array) -> Leaves:
    """Return a random direction whose filters have the norms of the model's own.

    d ← d / ‖d‖ · ‖θ‖ for each filter, with d normal. A filter is what leads into one neuron or output channel: the
    weights with one index of the last axis. As in the authors' code, vectors (biases) have the direction 0; where
    there is nothing else, each is one filter.

    References
    ----------
    Li, Xu, Taylor, Studer, Goldstein, *Visualizing the Loss Landscape of Neural Nets*, NeurIPS 2018, section 4.
    """
    only_vectors = all(leaf.ndim < 2 for leaf in center)
    direction = []
    for leaf, each in zip(center, random.split(key, len(center)), strict=True):
        if leaf.ndim < 2 and not only_vectors:
            direction.append(jnp.zeros_like(leaf))
            continue
        draw = jnp.asarray(random.normal(each, leaf.shape, leaf.dtype), device=leaf.device)
        axes = tuple(range(leaf.ndim - 1)) if leaf.ndim > 1 else None
        norms = [jnp.sqrt(jnp.sum(x * x, axis=axes, keepdims=True)) for x in (draw, leaf)]
        direction.append(draw / norms[0] * norms[1])
    return direction


def choose_plane(parameters: Parameters, center: Leaves, names: tuple[str, str]) -> Plane:
    """Return the plane of two single parameters, each named by its leaf's path and its index there.

    Raises
    ------
    ValueError
        If there is no such parameter, or both are the same.
    """
    found = [parameters.find(name) for name in names]
    if found[0] == found[1]:
        raise ValueError(f"descent: along must name two different parameters, got {names[0]!r} and {names[1]!r}")
    directions, origin = [], []
    for which, index in found:
        direction = [jnp.zeros_like(leaf) for leaf in center]
        direction[which] = direction[which].at[index].set(1)
        directions.append(direction)
        origin.append(float(center[which][index]))
    return Plane(center, directions[0], directions[1], (origin[0], origin[1]), names)


def given(center: Leaves, directions: tuple[Leaves, Leaves]) -> Plane:
    """Return the plane of two directions that the caller has chosen.

    Raises
    ------
    ValueError
        If they span no plane.
    """
    first, second = directions
    lengths = inner(first, first), inner(second, second)
    if not lengths[0] * lengths[1] - inner(first, second) ** 2 > 1e-10 * lengths[0] * lengths[1]:
        raise ValueError("descent: the two directions of along are parallel, or one of them is 0. Give two others.")
    return Plane(center, first, second, (0.0, 0.0), ("direction 1 (its lengths)", "direction 2 (its lengths)"))
