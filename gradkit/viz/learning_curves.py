"""`curves`: loss, metrics and learning rate by epoch, of one training run or of several beside each other."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gradkit.numpy as jnp
from gradkit.backend import backend_of
from gradkit.core import Array
from gradkit.core.values import host
from gradkit.errors import FileFormatError
from gradkit.viz.figures import (
    LEGEND_SIZE,
    LINES,
    TITLE_SIZE,
    PathLike,
    axes_of,
    check_path,
    new_figure,
    readable,
    save,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # optional
    from matplotlib.figure import Figure  # optional

__all__ = ["curves"]

HostColumn = np.ndarray[Any, np.dtype[np.float64]]
Columns = dict[str, HostColumn]

VALIDATION = "validation_"
"""Begins the names of columns that were measured on data kept apart."""
RATE = "learning_rate"
CLOCKS = ("epoch", "step")
"""What the horizontal axis may be; the first of them that there is."""
NO_CURVES = frozenset({*CLOCKS, "seconds"})
SHARES = frozenset({"accuracy", "binary_accuracy", "error", "precision", "recall"})
"""Metrics from 0 to 1, which are read more easily in percent."""


def curves(
    history: Any,
    *,
    title: str | None = None,
    units: Mapping[str, str] | None = None,
    ax: Axes | Sequence[Axes] | None = None,
    path: PathLike | None = None,
) -> Figure:
    """Draw the curves of a training run: its loss, its metrics and its learning rate, each in Axes of its own.

    Parameters
    ----------
    history : History, mapping, path, or mapping of those
        What `gradkit.fit` returns; or columns of equal lengths by their names (``epoch`` or ``step``, ``loss``,
        ``learning_rate``, metrics such as ``accuracy``, and the same with ``validation_`` before the name); or the path
        of a log with one such row a line, as JSON. Missing values are None or NaN. A mapping from names to such
        histories draws several runs over each other.
    title : str, optional
        What was trained. By default the name that the history gives itself, if it has one, and the last values.
    units : mapping, optional
        The units of columns, such as ``{"loss": "nats"}``.
    ax : Axes, or sequence of Axes, optional
        Where to draw: the loss, each metric, and the learning rate, in that order, as far as there are Axes. By default
        a new Figure has room for all.
    path : path, optional
        A file to write, whose suffix says in which format.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the history is empty, has nothing to draw, or its columns differ in length.
    FileFormatError
        If a log's line is no JSON object; the message names it. (A last line that was cut off is left out.)
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> history = {"epoch": [1, 2], "loss": [0.9, 0.4], "validation_loss": [1.0, 0.6], "accuracy": [0.7, 0.9]}
    >>> figure = curves(history, title="a small run", units={"loss": "nats"})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss (nats)', 'accuracy (%)']
    """
    check_path(path, "curves")
    runs = _runs(history)
    panels = _panels(runs)
    given = _axes(ax)
    if given is None:
        rows = math.ceil(len(panels) / 3)
        columns = math.ceil(len(panels) / rows)
        figure = new_figure("curves", (4 * columns if columns > 1 else 5, 3.4 * rows + 0.3))
        targets = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        figure.suptitle(readable(_title(title, runs)), fontsize=TITLE_SIZE, wrap=True)
    else:
        targets = given
        figure, _ = axes_of(targets[0], "curves", (0, 0))
        if title is not None:
            set_title(targets[0], title)
    for panel, axes in zip(panels, targets, strict=False):
        _draw(axes_of(axes, "curves", (0, 0))[1], panel, runs, units or {})
    if given is None:
        for axes in targets[len(panels) :]:
            axes.remove()
    return save(figure, path)


class _Run(NamedTuple):
    name: str
    columns: Columns


def _runs(history: Any) -> list[_Run]:
    """Return the runs that a history is made of."""
    if isinstance(history, Mapping) and history and all(map(_is_history, history.values())):
        return [_Run(str(name), _columns(each, f"the history {name!r}")) for name, each in history.items()]
    own = getattr(history, "name", None) if not isinstance(history, str | os.PathLike) else None
    return [_Run(own if isinstance(own, str) else "", _columns(history, "the history"))]


def _is_history(value: Any) -> bool:
    return isinstance(value, Mapping | str | os.PathLike) or hasattr(value, "to_dict")


def _columns(history: Any, what: str) -> Columns:
    """Return a history's columns as floats on the host, in the order of its rows; missing values are NaN."""
    if isinstance(history, str | os.PathLike):
        table: Any = _read_log(Path(history))
    else:
        table = history.to_dict() if hasattr(history, "to_dict") else history
    if not isinstance(table, Mapping):
        raise TypeError(
            f"curves: {what} must be what gradkit.fit returns, columns by their names, or the path of a log; got "
            f"{type(history).__name__}."
        )
    columns = {
        str(name): column for name, values in table.items() if (column := _floats(values, str(name), what)) is not None
    }
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"curves: the columns of {what} differ in length: {lengths}. Each must have a value a row.")
    if not any(lengths.values()):
        raise ValueError(f"curves: {what} is empty. Train for at least one epoch.")
    return columns


def _floats(values: Any, name: str, what: str) -> HostColumn | None:
    """Return a column as floats; None for one of text, such as times of day."""
    if backend_of(values) is not None:
        values = jnp.asarray(values)
    if type(values) is Array:
        values = host(values)
    elif isinstance(values, Sequence):
        if any(isinstance(value, str) for value in values):
            return None
        try:
            # One by one: they may be arrays of no axes, on a device.
            values = [math.nan if value is None else float(value) for value in values]
        except TypeError as error:
            raise ValueError(f"curves: the column {name!r} of {what} must be a list of numbers: {error}.") from error
    column = np.asarray(values, np.float64)
    if column.ndim != 1:
        raise ValueError(
            f"curves: the column {name!r} of {what} must be a list of numbers, got shape {column.shape}. A history is "
            f"columns by their names, such as {{'epoch': [1, 2], 'loss': [0.9, 0.4]}}."
        )
    return column


def _read_log(path: Path) -> dict[str, list[float | None]]:
    """Return the columns of a log in JSON lines. Of rows with the same clocks the last counts: a run was resumed."""
    rows: dict[tuple[Any, ...], dict[str, float]] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # it has no end: the run was killed, or is still writing
                continue
            raise FileFormatError(f"{path}: line {number} is no JSON ({error}): {line[:60]!r}.") from error
        if not isinstance(row, dict):
            raise FileFormatError(f"{path}: line {number} must be a JSON object, got {line[:60]!r}.")
        if any(clock in row for clock in CLOCKS):
            numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
            rows[tuple(row.get(clock) for clock in CLOCKS)] = numbers
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return {name: [row.get(name) for row in rows.values()] for name in names}


class _Panel(NamedTuple):
    """The curves that share Axes: a quantity in training and, where there is one, in validation."""

    quantity: str
    names: tuple[str, ...]


def _panels(runs: Sequence[_Run]) -> list[_Panel]:
    """Return what there is to draw: the loss first, the learning rate last."""
    drawn = dict.fromkeys(
        name
        for run in runs
        for name, column in run.columns.items()
        if name not in NO_CURVES and np.isfinite(column).any()
    )
    quantities = dict.fromkeys(name.removeprefix(VALIDATION) for name in drawn)
    if not quantities:
        found = dict.fromkeys(name for run in runs for name in run.columns)
        raise ValueError(
            f"curves: the history has nothing to draw: its columns are {', '.join(found)}. It needs one with finite "
            f"values, such as loss."
        )
    order = sorted(quantities, key=lambda name: (name != "loss", name == RATE))
    return [_Panel(q, tuple(name for name in (q, VALIDATION + q) if name in drawn)) for q in order]


def _axes(ax: Any) -> list[Axes] | None:
    if ax is None:
        return None
    axes = ax.ravel().tolist() if isinstance(ax, np.ndarray) else list(ax) if isinstance(ax, Sequence) else [ax]
    if not axes:
        raise ValueError("curves: ax is an empty sequence. Leave it out for a new Figure.")
    return axes


def _draw(axes: Axes, panel: _Panel, runs: Sequence[_Run], units: Mapping[str, str]) -> None:
    """Draw one quantity of all runs."""
    from matplotlib.ticker import MaxNLocator  # optional

    scale = 100 if _in_percent(panel.quantity, units) else 1
    drawn = []
    lines: dict[str, Any] = {}
    for i, run in enumerate(runs):
        for name in panel.names:
            if name in run.columns:
                values = run.columns[name] * scale
                validation = name.startswith(VALIDATION)
                (line,) = axes.plot(_positions(run), values, **_look(i, len(runs), validation, len(values)))
                lines.setdefault(run.name if len(runs) > 1 else "validation" if validation else "training", line)
                drawn.append(values)
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    if panel.quantity == "loss" and values.min() > 0 and values.max() > 10 * values.min():
        _decades(axes, values.max() / values.min())
    axes.set(xlabel=_clock(runs[0]), ylabel=readable(_label(panel.quantity, units)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if all(len(_positions(run)) == 1 for run in runs):
        axes.set_xlim(_positions(runs[0])[0] - 1, _positions(runs[0])[0] + 1)
    axes.grid(alpha=0.3)
    if len(runs) > 1 and len(panel.names) > 1:
        # Of each run the two curves have its markers; which of them is which is said once.
        lines |= _kinds()
    if len(lines) > 1:
        axes.legend(lines.values(), map(readable, lines), fontsize=LEGEND_SIZE)


def _decades(axes: Axes, ratio: float) -> None:
    """Make the vertical axis logarithmic, with numbers as they are spoken: 0.2 and not 2 x 10^-1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # optional

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 1000 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _look(run: int, runs: int, validation: bool, points: int) -> dict[str, Any]:
    """Return how a curve is drawn, as `Axes.plot` takes it: in dashes and markers, not by its colour alone."""
    style = LINES[(run if runs > 1 else validation) % len(LINES)]
    every = max(1 if points < 12 else runs, points // 12)
    # Runs that agree lie on top of each other: those below are wider and paler, and have their markers elsewhere.
    below = (runs - 1 - run) * min(1, 3 / max(1, runs - 1))
    return {
        "color": style.color,
        "linestyle": LINES[validation].linestyle,
        "linewidth": 1.6 + 2.5 * below,
        "alpha": 0.4 if below else 1.0,
        "marker": style.marker,
        "markerfacecolor": "white" if validation else style.color,
        "markeredgewidth": 1.2,
        "markersize": 5 + 2.5 * below,
        "markevery": (run * every // runs, every),
    }


def _kinds() -> dict[str, Any]:
    """Return the legend's entries for curves of training and of validation, of whatever run."""
    from matplotlib.lines import Line2D  # optional

    return {
        kind: Line2D([], [], color="black", linestyle=LINES[validation].linestyle, marker="o", markerfacecolor=face)
        for kind, validation, face in (("training", False, "black"), ("validation", True, "white"))
    }


def _clock(run: _Run) -> str:
    return next((name for name in CLOCKS if name in run.columns), "row")


def _positions(run: _Run) -> HostColumn:
    """Return the positions of a run's rows on the horizontal axis."""
    found = run.columns.get(_clock(run))
    return np.arange(1.0, len(next(iter(run.columns.values()))) + 1) if found is None else found


def _in_percent(quantity: str, units: Mapping[str, str]) -> bool:
    return quantity in SHARES and quantity not in units


def _label(quantity: str, units: Mapping[str, str]) -> str:
    """Return a vertical axis' label: the quantity, and its unit where it has one."""
    unit = "%" if _in_percent(quantity, units) else units.get(quantity)
    words = quantity.replace("_", " ")
    return f"{words} ({unit})" if unit else words


def _title(title: str | None, runs: Sequence[_Run]) -> str:
    if title is not None:
        return title
    if len(runs) > 1:
        return ", ".join(run.name for run in runs)
    (run,) = runs
    rows = len(_positions(run))
    clock = _clock(run)
    last = int(_positions(run)[-1]) if clock != "row" else rows
    return f"{run.name or 'training'}: {last} {clock}{'' if last == 1 else 's'}"
