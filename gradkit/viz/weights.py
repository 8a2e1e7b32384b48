"""`weight_images`: what each neuron of a first layer looks for, as an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradkit import tree
from gradkit.core import Array
from gradkit.core.promotion import is_inexact
from gradkit.core.values import host
from gradkit.errors import ShapeError
from gradkit.viz.figures import PathLike, axes_of, check_path, save, set_title
from gradkit.viz.titles import model_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # optional
    from matplotlib.figure import Figure  # optional

__all__ = ["weight_images"]


def weight_images(
    model: Any,
    shape: tuple[int, int] | None = None,
    *,
    count: int = 64,
    title: str | None = None,
    ax: Axes | None = None,
    path: PathLike | None = None,
) -> Figure:
    """Draw the weights that lead into each neuron of a model's first layer as images, on one scale.

    Parameters
    ----------
    model : pytree
        A model; its first matrix, of shape (inputs, neurons), is the first layer's weight. Or such a matrix.
    shape : (int, int), optional
        The height and width of an image in pixels; by default a square.
    count : int
        How many neurons to draw at most: the first ones.
    title : str, optional
        What was trained. By default the model's layers.
    ax : Axes, optional
        Where to draw; by default a new Figure.
    path : path, optional
        A file to write, whose suffix says in which format.

    Returns
    -------
    matplotlib.figure.Figure
        Zero is mid-grey, and positive weights are lighter.

    Raises
    ------
    ShapeError
        If the first layer has another number of inputs than an image has pixels.
    ValueError
        If the model has no matrix, or `count` is less than 1.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import gradkit
    >>> model = gradkit.nn.MLP(64, [16, 10], key=gradkit.random.key(0))
    >>> figure = weight_images(model, shape=(8, 8))
    >>> figure.axes[0].get_title()
    'MLP 64-16-10, tanh: weights of the first layer, 16 neurons'
    """
    check_path(path, "weight_images")
    if count < 1:
        raise ValueError(f"weight_images: count must be at least 1, got {count}")
    name, weight = _first_matrix(model)
    inputs, neurons = weight.shape
    height, width = _image_shape(shape, inputs, name)
    shown = min(count, neurons)
    images = host(weight[:, :shown]).T.reshape(shown, height, width)
    mosaic = _mosaic(images, _columns(shown, height / width))

    figure, axes = axes_of(ax, "weight_images", (5.8, 0.5 + 4.6 * mosaic.shape[0] / mosaic.shape[1]))
    largest = float(np.nanmax(np.abs(images))) if np.isfinite(images).any() else 0.0
    picture = axes.imshow(mosaic, cmap="gray", vmin=-(largest or 1), vmax=largest or 1, interpolation="nearest")
    axes.set_axis_off()
    scale = figure.colorbar(picture, ax=axes, fraction=0.05, pad=0.03)
    scale.set_label("weight (per unit of a pixel)")
    of = f"{shown} of {neurons:,}" if shown < neurons else f"{shown}"
    default = f"{model_name(model)}: weights of the first layer, {of} neuron{'' if neurons == 1 else 's'}"
    set_title(axes, default if title is None else title)
    return save(figure, path)


def _first_matrix(model: Any) -> tuple[str, Array]:
    """Return the path and value of a model's first floating leaf of two axes."""
    for steps, leaf in tree.leaves_with_path(model):
        if type(leaf) is Array and leaf.ndim == 2 and leaf.size and is_inexact(leaf.dtype.name):
            return tree.keystr(steps).removeprefix(".") or "the matrix", leaf.detach()
    raise ValueError(
        f"weight_images: the model has no matrix of weights, got {type(model).__name__}. Give a model with a linear "
        f"layer, or its weight, of shape (inputs, neurons)."
    )


def _image_shape(shape: tuple[int, int] | None, inputs: int, name: str) -> tuple[int, int]:
    if shape is None:
        side = math.isqrt(inputs)
        shape = side, side
        if side * side != inputs:
            raise ShapeError(
                f"weight_images: {name} has {inputs} inputs, which are no square: give shape, the height and width of "
                f"an image."
            )
    if len(shape) != 2 or shape[0] * shape[1] != inputs or min(shape) < 1:
        raise ShapeError(
            f"weight_images: {name} has {inputs} inputs, but images of shape {tuple(shape)} have {math.prod(shape)} "
            f"pixels. shape must be the height and width of an image."
        )
    return shape


def _columns(count: int, aspect: float) -> int:
    """Return how many images of an aspect (height by width) stand side by side: few gaps, and nearly a square."""

    def cost(columns: int) -> float:
        rows = math.ceil(count / columns)
        return (rows * columns - count) / count + abs(math.log(1.2 * rows * aspect / columns))

    return min(range(1, count + 1), key=cost)


def _mosaic(images: Any, columns: int) -> Any:
    """Return images in a grid, with lines of NaN between them, which stay white."""
    count, height, width = images.shape
    rows = math.ceil(count / columns)
    gap = max(1, round(min(height, width) / 10))
    mosaic = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for i in range(count):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        mosaic[top : top + height, left : left + width] = images[i]
    return mosaic
