"""`landscape`: the loss on a plane through the space of a model's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

import gradkit.numpy as jnp
from gradkit import random, tree
from gradkit.core import Array, no_grad
from gradkit.core.values import host
from gradkit.errors import JAXIndexError, JAXTypeError, ShapeError
from gradkit.transforms import make_jaxpr, vmap
from gradkit.viz.directions import Plane, choose_plane, given, principal, random_plane
from gradkit.viz.parameters import Parameters, split_model
from gradkit.viz.titles import model_name

__all__ = ["Landscape", "landscape"]

HostArray = np.ndarray[Any, Any]
Limits = tuple[tuple[float, float], tuple[float, float]]
Along = str | tuple[Any, Any] | None
LARGEST, MOST = 2**18, 256
"""How many numbers an array may have while points are evaluated together, and how many points these are at most."""


@dataclass(frozen=True, repr=False)
class Landscape:
    """The loss on a plane of parameters; `landscape` computes it, `descent` draws it.

    Attributes
    ----------
    across, up : numpy.ndarray, shape (resolution,)
        The coordinates along the first and the second direction.
    losses : numpy.ndarray, shape (resolution, resolution)
        The loss at ``(across[j], up[i])``. It may be NaN or infinite.
    path : numpy.ndarray, shape (points, 2)
        Where the points of the descent are that it was made for.
    labels : (str, str)
        What the coordinates are.
    loss_name, model_name : str
        What the titles of pictures say.
    """

    across: HostArray
    up: HostArray
    losses: HostArray
    path: HostArray
    labels: tuple[str, str]
    loss_name: str
    model_name: str
    parameters: Parameters = field(compare=False)
    plane: Plane = field(compare=False)

    def project(self, models: Sequence[Any]) -> HostArray:
        """Return where models are on the plane, of shape (models, 2): the nearest point of each."""
        return self.plane.project([self.parameters.of(m, f"point {i}") for i, m in enumerate(models)])

    def __repr__(self) -> str:
        return f"Landscape({self.loss_name} of {self.model_name}, {len(self.up)} x {len(self.across)} points)"


def landscape(
    loss: Callable[[Any], Any],
    points: Any,
    *,
    along: Along = None,
    limits: Limits | None = None,
    resolution: int = 51,
    batch_size: int | None = None,
    key: Array | None = None,
) -> Landscape:
    """Evaluate a loss on a plane through the space of a model's parameters.

    Parameters
    ----------
    loss : callable
        It takes a model and returns a number: ``lambda model: nn.mse(model(x), y)``.
    points : model, or list of models
        The path of a descent: what the model was after each step, the last point last. Anything that is no list or
        tuple is one point. A model is a pytree whose floating arrays (or Values) are the parameters. One that is
        trained in place, as in the lecture, has to be copied after each step: ``copy.deepcopy(model)``.
    along : optional
        The plane goes through the last point, in these directions:

        - ``"principal"``: the two principal components of the path [1]_, section 7;
        - ``"random"``: random directions whose filters have the norms of the model's filters [1]_, section 4. A filter
          is what leads into one neuron; biases stay as they are;
        - two strings: two single parameters, such as ``("layers[0].weight[0, 1]", "layers[1].bias[0]")``;
        - two models: these directions.

        By default a model of two numbers has these two, a path its principal components, one point random directions.
    limits : ((left, right), (bottom, top)), optional
        The coordinates at the plane's edges. By default the path and a margin, and for one point 1 in each direction.
    resolution : int
        The number of points along each direction.
    batch_size : int, optional
        The number of points at which the loss is evaluated at once, by `vmap`; by default as many as keep the largest
        array in it below 262,144 numbers, which stay in a cache. (A loss that asks for values is evaluated at one point
        after the other.)
    key : Array, optional
        The random key of random directions; by default ``random.key(0)``, so that a picture is the same when it is
        drawn again.

    Returns
    -------
    Landscape

    Raises
    ------
    ValueError
        If there are no points, `along` names no plane, or the loss is finite nowhere.
    TreeMismatchError
        If the points are not of one model.

    References
    ----------
    .. [1] Li, Xu, Taylor, Studer, Goldstein, *Visualizing the Loss Landscape of Neural Nets*, NeurIPS 2018,
       https://arxiv.org/abs/1712.09913.

    Examples
    --------
    >>> import gradkit.numpy as jnp
    >>> bowl = landscape(lambda w: w[0] ** 2 + 4 * w[1] ** 2, jnp.asarray([0.0, 0.0]), resolution=3)
    >>> bowl.losses
    array([[5., 4., 5.],
           [1., 0., 1.],
           [5., 4., 5.]], dtype=float32)
    """
    if resolution < 2 or (batch_size is not None and batch_size < 1):
        raise ValueError(
            f"descent: resolution must be at least 2 and batch_size at least 1, got {resolution} and {batch_size}"
        )
    models = path_of(points)
    parameters = split_model(models[-1])
    path = [parameters.of(model, f"point {i}") for i, model in enumerate(models)]
    # Far from where a model was trained a loss may overflow: that is for the picture to show, not for a warning.
    with no_grad(), np.errstate(all="ignore"):
        plane = _plane(parameters, path, along, key)
        on_plane = plane.project(path)
        (left, right), (bottom, top) = _limits(limits, on_plane)
        across, up = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
        points = np.stack([axis.ravel() for axis in np.meshgrid(across, up)], axis=1)
        losses = _losses(loss, parameters, plane, points, batch_size).reshape(resolution, resolution)
    if not np.isfinite(losses).any():
        raise ValueError(
            "descent: the loss is NaN or infinite everywhere on the plane. Did the training diverge? Give the steps "
            "before, or limits nearer to the path."
        )
    name = getattr(loss, "__name__", "loss")
    name = "loss" if name == "<lambda>" else name.replace("_", " ")
    return Landscape(across, up, losses, on_plane, plane.labels, name, model_name(models[-1]), parameters, plane)


def path_of(points: Any) -> list[Any]:
    """Return the points of a path; one model is a path of one point."""
    models = list(points) if isinstance(points, list | tuple) else [points]
    if not models:
        raise ValueError("descent: points is empty. Give a model, or a list of what it was after each step.")
    return models


def _plane(parameters: Parameters, path: list[list[Array]], along: Along, key: Array | None) -> Plane:
    """Return the plane that `along` means."""
    center = path[-1]
    if along is None:
        names = [name for name, _ in islice(parameters.entries(), 3)]
        if len(names) == 2:
            return choose_plane(parameters, center, (names[0], names[1]))
        plane = principal(path)
        return random_plane(center, random.key(0) if key is None else key) if plane is None else plane
    if along == "principal":
        plane = principal(path)
        if plane is None:
            raise ValueError(
                f"descent: along='principal' needs a path of at least 3 points that are not on a straight line, got "
                f"{len(path)} point{'' if len(path) == 1 else 's'}. along='random' needs one."
            )
        return plane
    if along == "random":
        return random_plane(center, random.key(0) if key is None else key)
    if isinstance(along, list | tuple) and len(along) == 2:
        if all(isinstance(each, str) for each in along):
            return choose_plane(parameters, center, (along[0], along[1]))
        first, second = (parameters.of(each, f"along[{i}]") for i, each in enumerate(along))
        return given(center, (first, second))
    raise ValueError(
        f"descent: along must be 'principal', 'random', the names of two parameters, or two directions of the model's "
        f"structure, got {along!r}"
    )


def _limits(limits: Limits | None, path: HostArray) -> Limits:
    """Return the coordinates at the plane's edges."""
    if limits is None:
        if not np.isfinite(path).all():
            raise ValueError(
                "descent: the path has points that are NaN or infinite: the training diverged. Leave them out, or give "
                "limits."
            )
        low, high = path.min(axis=0), path.max(axis=0)
        spread = high - low
        # A path along one axis has some width, so that what is beside it can be seen.
        margin = 0.3 * np.maximum(spread, 0.3 * spread.max()) if spread.max() > 0 else np.ones(2)
        (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    else:
        (left, right), (bottom, top) = limits
    if not (left < right and bottom < top and all(map(math.isfinite, (left, right, bottom, top)))):
        raise ValueError(
            f"descent: limits must be ((left, right), (bottom, top)), finite, with left < right and bottom < top, got "
            f"{limits}"
        )
    return (float(left), float(right)), (float(bottom), float(top))


def _losses(
    loss: Callable[[Any], Any], parameters: Parameters, plane: Plane, points: HostArray, batch_size: int | None
) -> HostArray:
    """Return the loss at points on the plane, evaluated on the model's device."""
    directions = list(zip(plane.center, plane.first, plane.second, strict=True))
    device = plane.center[0].device

    def at(a: Array, b: Array) -> Array:
        moved = [c + jnp.astype(a, d.dtype) * d + jnp.astype(b, e.dtype) * e for c, d, e in directions]
        return _number(loss(parameters.model(moved)))

    # Single numbers do not come in batches.
    fitting = None if parameters.numbers else _fitting(at, plane.center[0])
    evaluate = _one_by_one(at) if fitting is None else vmap(at)
    size = batch_size or fitting or len(points)
    parts = []
    offsets = points - np.asarray(plane.origin)
    for begin in range(0, len(points), size):
        a, b = (jnp.asarray(each.astype("float32"), device=device) for each in offsets[begin : begin + size].T)
        values = evaluate(a, b)
        parts.append(host(values) if type(values) is Array else values)
    return np.concatenate(parts)


def _fitting(at: Callable[[Array, Array], Array], like: Array) -> int | None:
    """Return at how many points a function can be evaluated at once; None if it asks for values."""
    point = jnp.zeros((), "float32", device=like.device)
    try:
        graph = make_jaxpr(at)(point, point)
    except (JAXTypeError, JAXIndexError):
        return None
    largest = max((math.prod(result.shape) for equation in graph.eqns for result in equation.outputs), default=1)
    return min(MOST, max(1, LARGEST // max(1, largest)))


def _number(value: Any) -> Array:
    """Return what a loss has returned as an Array of no axes."""
    leaves = tree.leaves(value)  # of a Value the one that holds its number
    array = jnp.asarray(leaves[0] if len(leaves) == 1 else value)
    if array.shape not in ((), (1,)):
        raise ShapeError(f"descent: loss must return one number, got shape {array.shape}. Take its mean.")
    return jnp.reshape(array, ()) if array.shape else array


def _one_by_one(at: Callable[[Array, Array], Array]) -> Callable[[Array, Array], HostArray]:
    """Return what evaluates a function at one point after the other."""

    def evaluate(a: Array, b: Array) -> HostArray:
        return np.asarray([float(at(a[i], b[i])) for i in range(a.shape[0])])

    return evaluate
