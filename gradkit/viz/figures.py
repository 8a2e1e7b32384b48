"""What the pictures of training share: Axes without pyplot, styles that black and white tells apart, and saving.

Nothing here imports matplotlib before a picture is asked for.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gradkit.errors import MissingDependencyError, unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes  # optional
    from matplotlib.figure import Figure  # optional

__all__ = [
    "CLASSES", "LINES", "ClassStyle", "LineStyle", "axes_of", "check_path", "class_style", "few_ticks", "legend_below",
    "legend_columns", "new_figure", "readable", "save", "set_title",
]  # fmt: skip

PathLike = str | os.PathLike[str]


class LineStyle(NamedTuple):
    """How a line looks: each differs from the others in dashes and markers, whatever becomes of its colour."""

    color: str
    linestyle: Any
    marker: str


LINES = (
    LineStyle("#08306b", "-", "o"),
    LineStyle("#c05a00", (0, (5, 2)), "s"),
    LineStyle("#2a7f3f", (0, (5, 1.5, 1, 1.5)), "^"),
    LineStyle("#8e3a8e", (0, (1.2, 1.5)), "D"),
    LineStyle("#555555", (0, (8, 3)), "v"),
    LineStyle("#b3193f", (0, (3, 1.5, 1, 1.5, 1, 1.5)), "X"),
)


class ClassStyle(NamedTuple):
    """How a class looks: the colour and hatching of its region, the marker and colours of its points."""

    region: str
    hatch: str
    marker: str
    face: str
    edge: str


CLASSES = (
    ClassStyle("#dce9f5", "", "o", "#08306b", "white"),
    ClassStyle("#fbdcc0", "///", "s", "white", "#9a4300"),
    ClassStyle("#d9efd2", "..", "^", "#1d5e2e", "white"),
    ClassStyle("#ead7ec", "xxx", "D", "white", "#6f2a6f"),
    ClassStyle("#f6efb8", "---", "v", "#5c5300", "white"),
    ClassStyle("#d8ecec", "\\\\\\", "P", "white", "#0f5c5c"),
    ClassStyle("#f3d3da", "++", "X", "#8c1230", "white"),
    ClassStyle("#e3e3e3", "oo", "<", "white", "#333333"),
    ClassStyle("#e4ddcf", "|||", ">", "#5a4520", "white"),
    ClassStyle("#d3dbf0", "**", "*", "white", "#27357a"),
)


def class_style(k: int) -> ClassStyle:
    """Return the style of class `k`; those beyond the table carry their number."""
    style = CLASSES[k % len(CLASSES)]
    if k < len(CLASSES):
        return style
    dark = style.edge if style.face == "white" else style.face
    return style._replace(marker=f"${k}$", hatch=2 * style.hatch or "//..", face=dark, edge=dark)


TITLE_SIZE, LEGEND_SIZE = 11, 9
"""In points."""
CHARACTER = 0.55
"""The width of a letter, as a part of the type's size."""


def require_matplotlib(caller: str) -> None:
    """Raise what says how matplotlib is installed, where it is missing."""
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingDependencyError(
            f"{caller} needs matplotlib, which cannot be imported ({error}). Install it with: "
            f"pip install 'gradkit[plot]'"
        ) from error


def new_figure(caller: str, size: tuple[float, float]) -> Figure:
    """Return an empty Figure of a size in inches."""
    require_matplotlib(caller)
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # optional

    from gradkit.viz.picture import Picture  # late: a class of the optional matplotlib

    return Picture(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.06))


def axes_of(ax: Axes | None, caller: str, size: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return the Axes to draw on and their Figure: those given, or new ones of a size in inches."""
    if ax is None:
        figure = new_figure(caller, size)
        return figure, figure.add_subplot()
    require_matplotlib(caller)
    from matplotlib.axes import Axes  # optional
    from matplotlib.figure import SubFigure  # optional

    if not isinstance(ax, Axes):
        raise TypeError(
            f"{caller}: ax must be matplotlib Axes, got {type(ax).__name__}. Leave it out for a new Figure."
        )
    owner = ax.get_figure()
    root = owner.figure if isinstance(owner, SubFigure) else owner
    if root is None:
        raise ValueError(f"{caller}: ax belongs to no Figure any more. Leave it out for a new one.")
    return root, ax


def readable(text: str) -> str:
    """Return text as matplotlib shows it: formulas between dollar signs stay formulas where they are any.

    Other dollar signs, and an underscore at the beginning of a name, would be an error or hide the text.
    """
    from matplotlib.mathtext import MathTextParser  # optional

    if text.startswith("_"):
        text = f" {text}"
    if text.count("$") < 2:
        return text
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return re.sub(r"(?<!\\)\$", r"\\$", text)
    return text


def set_title(ax: Axes, title: str) -> None:
    """Give Axes a title, broken into lines that fit their width."""
    fitting = int(0.9 * _width(ax) / (CHARACTER * TITLE_SIZE))
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, fitting) or [""]]
    ax.set_title("\n".join(map(readable, lines)), fontsize=TITLE_SIZE)


def few_ticks(ax: Axes) -> None:
    """Keep the numbers on both axes apart, however small the Axes are."""
    from matplotlib.ticker import MaxNLocator  # optional

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))


def legend_columns(labels: Sequence[str], width: float) -> int:
    """Return how many entries of a legend stand side by side on a width in points."""
    entry = LEGEND_SIZE * (5 + CHARACTER * max(map(len, labels)))
    fitting = max(1, int(width / entry))
    return math.ceil(len(labels) / math.ceil(len(labels) / fitting))


def legend_below(ax: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend under Axes, where it hides nothing."""
    from matplotlib.transforms import ScaledTranslation  # optional

    ax.legend(
        handles,
        [readable(label) for label in labels],
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        # Below the ticks and the axis' label, however small the Axes are.
        bbox_transform=ax.transAxes + ScaledTranslation(0, -0.5, ax.figure.dpi_scale_trans),
        ncols=legend_columns(labels, _width(ax)),
        frameon=False,
        fontsize=LEGEND_SIZE,
        handlelength=2.4,
        handleheight=1.2,
    )


def _width(ax: Axes) -> float:
    """Return the width that Axes have for themselves and what belongs to them, in points."""
    spec = ax.get_subplotspec()
    columns = 1 if spec is None else spec.get_gridspec().ncols
    return float(72 * ax.figure.bbox.width / ax.figure.dpi / columns)


def check_path(path: PathLike | None, caller: str, formats: Iterable[str] | None = None) -> None:
    """Raise before anything is computed where a picture cannot be written to `path`.

    Raises
    ------
    ValueError
        If the suffix names no format that pictures are written in.
    OSError
        If the folder does not exist, is none, or cannot be written to.
    """
    if path is None:
        return
    file = Path(path)
    if formats is None:
        require_matplotlib(caller)
        from matplotlib.backend_bases import FigureCanvasBase  # optional

        formats = FigureCanvasBase.get_supported_filetypes()
    known = sorted(f".{name}" for name in formats)
    if file.suffix.lower() not in known:
        raise ValueError(f"{caller}: path={str(file)!r}: {unknown_name('suffix', file.suffix, known)}")
    folder = file.parent
    if not folder.exists():
        raise FileNotFoundError(f"{caller}: path={str(file)!r}: there is no folder {folder}. Make it first.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{caller}: path={str(file)!r}: {folder} is a file, not a folder.")
    if file.is_dir():
        raise IsADirectoryError(f"{caller}: path={str(file)!r} is a folder. Give the name of a file in it.")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise PermissionError(f"{caller}: path={str(file)!r} cannot be written. Choose another folder.")


def save(figure: Figure, path: PathLike | None) -> Figure:
    """Write a Figure to a file where there is a path, and return it."""
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
