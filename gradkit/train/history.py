"""`History`: what training measured, a row an epoch, as a table that prints itself and draws its curves."""

from __future__ import annotations

import html
import importlib
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gradkit.errors import unknown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History", "shown"]

Value = int | float | None
Row = Mapping[str, Value]

COUNTS = ("epoch", "step")
FIRST_ROWS, LAST_ROWS = 5, 10
"""How many rows of a long table are printed."""


class History:
    """The measurements of a training run: one row for each epoch.

    The columns are ``epoch`` (from 1), ``step`` (updates so far), ``loss`` and the metrics (means over the epoch's
    minibatches, measured before each update), the same with ``validation_`` before the name where there are validation
    data, ``learning_rate`` (of the epoch's last update; None where the optimizer has none) and ``seconds`` (since the
    run began; None where a resumed run's log is gone).

    Attributes
    ----------
    name : str
        What was trained.
    stopped : str
        Why training ended: ``"finished"``, ``"interrupted"``, or the reason that a callback gave.
    best_epoch : int or None
        The epoch of the smallest validation loss (without validation data of the smallest loss).

    Examples
    --------
    >>> history = History("a small model")
    >>> history.append({"epoch": 1, "step": 10, "loss": 0.5, "learning_rate": 0.1, "seconds": 0.25})
    >>> history["loss"]
    [0.5]
    >>> history
    History of a small model
      epoch  step  loss  learning_rate  seconds
          1    10   0.5            0.1     0.25
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.stopped = ""
        self.best_epoch: int | None = None
        self._columns: dict[str, list[Value]] = {}

    def append(self, row: Row) -> None:
        """Add the row of an epoch.

        Raises
        ------
        ValueError
            If it has other columns than the rows before.
        """
        if not self._columns:
            self._columns = {name: [] for name in row}
        if row.keys() != self._columns.keys():
            raise ValueError(f"History: expected a row of the columns {list(self._columns)}, got {list(row)}")
        for name, value in row.items():
            self._columns[name].append(value)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), []))

    def __getitem__(self, name: str) -> list[Value]:
        if name not in self._columns:
            raise KeyError(str(unknown_name("column", name, self._columns)))
        return list(self._columns[name])

    def rows(self) -> Iterator[dict[str, Value]]:
        """Yield the rows as dictionaries."""
        for values in zip(*self._columns.values(), strict=True):
            yield dict(zip(self._columns, values, strict=True))

    def to_dict(self) -> dict[str, list[Value]]:
        """Return the columns as lists of Python numbers, as `pandas.DataFrame` takes them."""
        return {name: list(values) for name, values in self._columns.items()}

    def plot(self, path: Any = None, **options: Any) -> Figure:
        """Draw the loss, the metrics and the learning rate by epoch.

        Parameters
        ----------
        path : path, optional
            The file to write; its suffix says in which format.
        **options
            Those of `gradkit.viz.curves`.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            If there is no epoch in it.
        MissingDependencyError
            If matplotlib is not installed.
        """
        figure: Figure = importlib.import_module("gradkit.viz").curves(self, path=path, **options)
        return figure

    # How it prints

    def _table(self) -> list[list[str]]:
        """Return the cells, the names of the columns first; of a long table the first and the last rows."""
        rows = [[shown(value) for value in row.values()] for row in self.rows()]
        if len(rows) > FIRST_ROWS + LAST_ROWS + 1:
            rows = [*rows[:FIRST_ROWS], ["..."] * len(self._columns), *rows[-LAST_ROWS:]]
        return [list(self._columns), *rows]

    def _heading(self) -> str:
        heading = f"History of {self.name}" if self.name else "History"
        if self.stopped and self.stopped != "finished":
            heading += f" ({self.stopped})"
        return heading if len(self) else f"{heading}: no epoch is complete"

    def __repr__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        return "\n".join([self._heading(), *(f"  {line}" for line in lines if len(self))])

    def _repr_html_(self) -> str:
        """Return the table as HTML, which notebooks show."""
        head, *rows = self._table()
        cells = [
            "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
            for tag, row in [("th", head), *(("td", row) for row in rows)]
        ]
        return f"<table><caption>{html.escape(self._heading())}</caption>{''.join(cells)}</table>"

    def __rich__(self) -> Any:
        """Return the table as rich draws it; rich alone asks for it."""
        table = importlib.import_module("rich.table").Table(title=self._heading())
        head, *rows = self._table()
        for name in head:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*row)
        return table


def shown(value: Value) -> str:
    """Return a number as tables and progress lines show it: counts whole, the others to four digits.

    Examples
    --------
    >>> shown(1200), shown(0.123456), shown(None)
    ('1200', '0.1235', '-')
    """
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4g}" if math.isfinite(value) else str(value)
