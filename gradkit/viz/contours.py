"""`descent`: gradient descent, visually. The path of the parameters on a contour of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gradkit.core import Array
from gradkit.viz.figures import PathLike, axes_of, check_path, few_ticks, legend_below, readable, save, set_title
from gradkit.viz.landscapes import Along, Landscape, Limits, landscape, path_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # optional
    from matplotlib.figure import Figure  # optional

__all__ = ["descent"]

HostArray = np.ndarray[Any, Any]

CORNER = np.asarray([[0.03, 0.97], [0.1, 0.97], [0.2, 0.97]])
"""Places in the upper left corner, in widths and heights of the Axes."""


def descent(
    loss: Callable[[Any], Any] | Landscape,
    points: Any,
    *,
    along: Along = None,
    limits: Limits | None = None,
    resolution: int = 51,
    batch_size: int | None = None,
    key: Array | None = None,
    unit: str = "",
    title: str | None = None,
    ax: Axes | None = None,
    path: PathLike | None = None,
) -> Figure:
    """Draw the path of a descent on a contour of the loss, over two parameters or two directions.

    Parameters
    ----------
    loss : callable or Landscape
        It takes a model and returns a number. Or what `landscape` has evaluated already: for several pictures on one
        contour.
    points : model, or list of models
        What the model was after each step; or one model, to see the loss around it. See `landscape`.
    along, limits, resolution, batch_size, key
        Which plane, how much of it, and how it is evaluated; see `landscape`, which has the sources of the formulas. A
        `Landscape` has them already.
    unit : str
        The unit of the loss, such as "nats".
    title : str, optional
        What was trained. By default the loss, the model, and the number of steps.
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
        If there are no points, `along` names no plane, or the loss is finite nowhere.
    TreeMismatchError
        If the points are not of one model.
    MissingDependencyError
        If matplotlib is not installed.

    Notes
    -----
    Points that are not on the plane are drawn where they are nearest to it. On the plane of two chosen parameters that
    is where these two are; the loss there is the contour's only once the other parameters have their last values.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> def loss(w):
    ...     return (w[0] - 1) ** 2 + 4 * (w[1] + 1) ** 2
    >>> steps = [jnp.asarray([-1.0, 1.0])]
    >>> for _ in range(20):
    ...     steps.append(steps[-1] - 0.1 * gradkit.grad(loss)(steps[-1]))
    >>> figure = descent(loss, steps)
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_title()
    ('parameter[0]', 'loss of 2 parameters: 20 steps of descent')
    """
    check_path(path, "descent")
    models = path_of(points)
    if isinstance(loss, Landscape):
        ground = loss
    else:
        ground = landscape(
            loss, points, along=along, limits=limits, resolution=resolution, batch_size=batch_size, key=key
        )
    figure, axes = axes_of(ax, "descent", (5.6, 5.4))
    points = ground.project(models)
    descends = len(models) > 1 or len(ground.path) > 1
    handles, labels = _contour(axes, ground, unit, np.concatenate([ground.path, points]))
    marks = _path(axes, points) if descends else _point(axes, points)
    axes.set(
        xlim=(ground.across[0], ground.across[-1]),
        ylim=(ground.up[0], ground.up[-1]),
        xlabel=readable(ground.labels[0]),
        ylabel=readable(ground.labels[1]),
    )
    few_ticks(axes)
    legend_below(axes, [*marks.values(), *handles], [*marks, *labels])
    steps = len(models) - 1
    about = f"{steps} step{'' if steps == 1 else 's'} of descent" if descends else "around one point"
    set_title(axes, f"{ground.loss_name} of {ground.model_name}: {about}" if title is None else title)
    return save(figure, path)


def _contour(axes: Axes, ground: Landscape, unit: str, points: HostArray) -> tuple[list[Any], list[str]]:
    """Draw labelled contours, darker where the loss is higher; return what the legend says of them."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize  # optional
    from matplotlib.lines import Line2D  # optional

    losses = np.ma.masked_invalid(ground.losses)
    levels, logarithmic = _levels(losses)
    if len(levels) >= 2:
        shades = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#7f9fc4"])
        scale = (LogNorm if logarithmic else Normalize)(levels[0], levels[-1])
        axes.contourf(ground.across, ground.up, losses, levels=levels, cmap=shades, norm=scale, extend="both")
    if len(levels):
        lines = axes.contour(
            ground.across, ground.up, losses, levels=levels, colors="#555555", linewidths=0.7, linestyles="-"
        )
        axes.clabel(
            lines,
            fontsize=8,
            fmt=lambda level: f"{level:.3g}",
            colors="black",
            inline_spacing=3,
            manual=_free_points(lines, ground, points),
        )
    name = f"{ground.loss_name} ({unit})" if unit else ground.loss_name
    return [Line2D([], [], color="#555555", linewidth=0.7)], [name]


def _free_points(lines: Any, ground: Landscape, points: HostArray) -> list[tuple[float, float]]:
    """Return for each contour the point on it that is farthest from the path, the edges and the labels before it."""
    corner = np.asarray([ground.across[0], ground.up[0]])
    extent = np.asarray([ground.across[-1], ground.up[-1]]) - corner
    ends = (points - corner) / extent
    between = np.linspace(0, 1, 9)[:, None, None]
    # The corner is where an animation says which frame it is.
    taken = [*CORNER, *ends, *(ends[:-1] + between * np.diff(ends, axis=0)).reshape(-1, 2)]
    free = []
    for line in lines.get_paths():
        on_line = (line.vertices - corner) / extent
        inside = on_line[(np.abs(on_line - 0.5) < 0.44).all(axis=1)]
        if len(inside):
            away = np.linalg.norm(inside[:, None] - np.asarray(taken), axis=2).min(axis=1)
            # Far enough is far: labels in the middle are read before those at the edge.
            best = inside[np.argmax(np.minimum(away, 0.25) - 0.1 * np.abs(inside - 0.5).max(axis=1))]
            taken.append(best)
            x, y = (corner + best * extent).tolist()
            free.append((x, y))
    return free


def _levels(losses: Any) -> tuple[HostArray, bool]:
    """Return round values between the lowest and the highest loss, and whether they are steps of a logarithm."""
    from matplotlib.ticker import MaxNLocator  # optional

    # The lowest contour encloses a hundredth of the plane: smaller ones have no room for their labels.
    low, high = np.quantile(losses.compressed(), [0.01, 1]).tolist()
    if low > 0 and high > 30 * low:
        decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
            levels = np.sort(np.outer(10.0**decades, steps).ravel())
            levels = levels[(levels > low) & (levels < high)]
            if len(levels) <= 14:
                break
        return levels, True
    levels = np.asarray(MaxNLocator(nbins=11).tick_values(low, high))
    return levels[(levels > low) & (levels < high)], False


def _path(axes: Axes, points: HostArray) -> dict[str, Any]:
    """Draw the path, and return its marks by what the legend calls them."""
    x, y = points.T
    # Under the line a white one, so that it is seen on dark ground.
    axes.plot(x, y, color="white", linewidth=3.4, zorder=3)
    (steps,) = axes.plot(x, y, color="black", linewidth=1.2, marker="o", markersize=3.6, zorder=3)
    (start,) = axes.plot(
        x[0], y[0], "s", color="white", markeredgecolor="black", markersize=8, markeredgewidth=1.4, zorder=4
    )
    return {"steps": steps, "start": start, "last step": _point(axes, points)["the model"]}


def _point(axes: Axes, points: HostArray) -> dict[str, Any]:
    """Mark where a path ends, or the one point."""
    (star,) = axes.plot(*points[-1], "*", color="black", markeredgecolor="white", markersize=15, zorder=5)
    return {"the model": star}
