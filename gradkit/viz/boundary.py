"""`decision_boundary`: which class a model of two inputs sees in each point of the plane, and the data on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gradkit.numpy as jnp
from gradkit.core.values import host
from gradkit.errors import ShapeError
from gradkit.viz.figures import (
    PathLike,
    axes_of,
    check_path,
    class_style,
    few_ticks,
    legend_below,
    legend_columns,
    readable,
    save,
    set_title,
)
from gradkit.viz.scores import scorer
from gradkit.viz.titles import model_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # optional
    from matplotlib.figure import Figure  # optional

__all__ = ["decision_boundary"]

WIDTH = 5.2
"""In inches."""

HostArray = np.ndarray[Any, Any]
Limits = tuple[tuple[float, float], tuple[float, float]]


def decision_boundary(
    model: Callable[[Any], Any],
    data: tuple[Any, Any] | None = None,
    *,
    limits: Limits | None = None,
    threshold: float = 0.0,
    classes: Sequence[str] | None = None,
    inputs: tuple[str, str] = ("input 1", "input 2"),
    resolution: int | None = None,
    batch_size: int = 8192,
    title: str | None = None,
    ax: Axes | None = None,
    path: PathLike | None = None,
) -> Figure:
    """Draw the regions of the plane in which a model of two inputs sees each class, and the data.

    Parameters
    ----------
    model : callable
        A trained model. It takes an array of shape (n, 2) and returns scores: of shape (n,) or (n, 1), where the class
        is whether the score is above `threshold`; or of shape (n, k), where it is the argmax. It runs on the device
        where its parameters are. A network of `gradkit.scalar` takes two numbers, and returns one or a list.
    data : (x, y), optional
        The points, of shape (n, 2), and their classes, integers of shape (n,): from 0 to k - 1, or for one output 0 and
        1 or -1 and 1.
    limits : ((left, right), (bottom, top)), optional
        The part of the plane. By default all data, and a margin.
    threshold : float
        What the one score of a model is compared with: 0 for a logit or a hinge loss's score, 0.5 for a probability.
    classes : sequence of str, optional
        The names of the classes.
    inputs : (str, str)
        What the axes are, with their units: ``("petal length (cm)", "petal width (cm)")``.
    resolution : int, optional
        The number of points along each axis at which the model is evaluated; by default 200, and 50 for a network of
        `gradkit.scalar`, which is evaluated at one point after the other.
    batch_size : int
        The number of points that are evaluated at once.
    title : str, optional
        What was trained. By default the model's layers, and its accuracy on the data.
    ax : Axes, optional
        Where to draw; by default a new Figure.
    path : path, optional
        A file to write, whose suffix says in which format.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the model has not two inputs, the data's shapes or labels do not fit, or there are neither data nor limits.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> import gradkit
    >>> x, y = gradkit.data.moons(100, key=gradkit.random.key(0))
    >>> model = gradkit.nn.MLP(2, [8, 2], key=gradkit.random.key(1))
    >>> figure = decision_boundary(model, (x, y), title="before training")
    >>> figure.axes[0].get_title()
    'before training'
    """
    check_path(path, "decision_boundary")
    scored = scorer(model, data, batch_size)
    if resolution is None:
        resolution = 50 if scored.alone else 200
    if resolution < 2 or batch_size < 1:
        raise ValueError(
            f"decision_boundary: resolution must be at least 2 and batch_size at least 1, got {resolution} and "
            f"{batch_size}"
        )
    points = None if data is None else _points(data)
    (left, right), (bottom, top) = _limits(limits, points)
    across, up = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(across, up)], axis=1)
    margins = scored.margins(grid, threshold)
    if not np.isfinite(margins).any():
        raise ValueError(
            "decision_boundary: the model's scores are NaN or infinite everywhere. Did its training diverge? A smaller "
            "learning rate may help."
        )
    count = margins.shape[1]
    names = _names(classes, count, points, threshold)

    rows = math.ceil(count / legend_columns(names, 72 * WIDTH))
    figure, axes = axes_of(ax, "decision_boundary", (WIDTH, WIDTH - 0.4 + 0.2 * rows))
    fields = [margins[:, k].reshape(resolution, resolution) for k in range(count)]
    for k, field in enumerate(fields):
        _region(axes, across, up, field, k)
    if points is not None:
        seen = _classes_of(points.y, count)
        _scatter(axes, points.x, seen)
        answers = np.argmax(scored.margins(points.x, threshold), axis=1)
        accuracy = f": {100 * np.mean(answers == seen):.1f} % of {len(seen):,} points right"
    else:
        accuracy = ""
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=readable(inputs[0]), ylabel=readable(inputs[1]))
    few_ticks(axes)
    legend_below(axes, _handles(count, points is not None), names)
    set_title(axes, f"{model_name(model)}{accuracy}" if title is None else title)
    return save(figure, path)


class _Points(NamedTuple):
    x: HostArray
    y: HostArray


def _points(data: Any) -> _Points:
    """Return points and their labels on the host."""
    if not isinstance(data, Sequence) or len(data) != 2:
        raise TypeError(
            f"decision_boundary: data must be a pair (x, y) of points and their labels, got {type(data).__name__}"
        )
    x, y = (np.asarray(host(jnp.asarray(each))) for each in data)
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ShapeError(
            f"decision_boundary: x must have shape (n, 2), at least one point in the plane, got {x.shape}. For data of "
            f"more columns, choose two of them and a model of those."
        )
    if y.shape != x.shape[:1]:
        raise ShapeError(
            f"decision_boundary: y must have shape {x.shape[:1]}, one label for each row of x, got {y.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("decision_boundary: x has values that are NaN or infinite. Remove those rows.")
    return _Points(x, y)


def _limits(limits: Limits | None, points: _Points | None) -> Limits:
    """Return the part of the plane to draw."""
    if limits is None:
        if points is None:
            raise ValueError(
                "decision_boundary: without data, limits must say which part of the plane to draw, such as "
                "limits=((-1, 1), (-1, 1))"
            )
        low, high = points.x.min(axis=0), points.x.max(axis=0)
        margin = np.where(high > low, 0.12 * (high - low), 0.5)
        (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
    else:
        (left, right), (bottom, top) = limits
    if not (left < right and bottom < top and np.isfinite([left, right, bottom, top]).all()):
        raise ValueError(
            f"decision_boundary: limits must be ((left, right), (bottom, top)), finite, with left < right and bottom < "
            f"top, got {limits}"
        )
    return (float(left), float(right)), (float(bottom), float(top))


def _classes_of(labels: HostArray, count: int) -> HostArray:
    """Return labels as class numbers from 0."""
    values = np.unique(labels)
    if count == 2 and np.isin(values, [-1, 1]).all():
        return (labels > 0).astype(np.int64)
    if not np.isin(values, np.arange(count)).all():
        expected = f"0 to {count - 1}" + (", or -1 and 1" if count == 2 else "")
        shown = ", ".join(map(str, values[:8].tolist())) + (", ..." if len(values) > 8 else "")
        raise ValueError(
            f"decision_boundary: y must have the model's {count} classes, numbered {expected}; got the values {shown}"
        )
    return labels.astype(np.int64)


def _names(classes: Sequence[str] | None, count: int, points: _Points | None, threshold: float) -> list[str]:
    """Return what the legend calls each class."""
    if classes is not None:
        if isinstance(classes, str) or len(classes) != count:
            raise ValueError(f"decision_boundary: classes must name the model's {count} classes, got {classes!r}")
        return list(map(str, classes))
    if points is None and count == 2:
        return ["class 0", "class 1"]
    if points is not None and count == 2 and (points.y < 0).any():
        return ["class -1", "class 1"]
    return [f"class {k}" for k in range(count)]


def _region(axes: Axes, across: HostArray, up: HostArray, field: HostArray, k: int) -> None:
    """Fill where a class is ahead, and draw the line where it begins."""
    style = class_style(k)
    if not (field > 0).any():
        return
    highest = max(float(field.max()), 1e-30)
    filled = axes.contourf(across, up, field, levels=[0, 2 * highest], colors=[style.region], hatches=[style.hatch])
    filled.set(edgecolor="#00000038", linewidth=0)
    if (field < 0).any():
        axes.contour(across, up, field, levels=[0], colors="black", linewidths=1.3)


def _scatter(axes: Axes, x: HostArray, seen: HostArray) -> None:
    size = 26 if len(x) <= 400 else 12 if len(x) <= 2000 else 4
    for k in np.unique(seen):
        style = class_style(k)
        axes.scatter(
            x[seen == k, 0],
            x[seen == k, 1],
            s=size,
            marker=style.marker,
            facecolors=style.face,
            edgecolors=style.edge,
            linewidths=0.7,
            zorder=3,
        )


def _handles(count: int, points: bool) -> list[Any]:
    """Return the legend's entries: a class's region, and one of its points on it."""
    from matplotlib.lines import Line2D  # optional
    from matplotlib.patches import Patch  # optional

    handles: list[Any] = []
    for k in range(count):
        style = class_style(k)
        patch = Patch(facecolor=style.region, hatch=style.hatch, edgecolor="#777777", linewidth=0.8)
        point = Line2D([], [], linestyle="", marker=style.marker, color=style.face, markeredgecolor=style.edge)
        handles.append((patch, point) if points else patch)
    return handles
