"""A laid-out diagram as PNG or PDF, by matplotlib."""

from __future__ import annotations

import io
from typing import Any

from gradkit.viz.figures import require_matplotlib
from gradkit.viz.layout import FONT_SIZE, TITLE_SIZE, Arrow, Figure, Layout
from gradkit.viz.svg import HEAD, curves, shorten

__all__ = ["picture"]

FONTS = ("DejaVu Sans Mono", "DejaVu Sans")  # which matplotlib brings along
DOTS_PER_INCH = 144.0
MOST_DOTS = 30_000.0
"""Along a side: matplotlib draws up to 65536, and viewers fewer."""
LINE_WIDTH = 0.8


def picture(layout: Layout, kind: str) -> bytes:
    """Return a laid-out diagram as a file of the kind ``png`` or ``pdf``.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    require_matplotlib("A drawing as PNG or PDF, without Graphviz,")
    from matplotlib import figure as figures  # optional

    figure = figures.Figure(figsize=(layout.width / 72, layout.height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, layout.width), ylim=(layout.height, 0))
    axes.set_axis_off()
    for x, y, line in layout.title:
        _text(axes, x, y, line, TITLE_SIZE)
    for arrow in layout.arrows:
        _arrow(axes, arrow)
    for placed in layout.figures:
        _figure(axes, placed)
    resolution = min(DOTS_PER_INCH, MOST_DOTS * 72 / max(layout.width, layout.height))
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=resolution, facecolor="white")
    return file.getvalue()


def _text(axes: Any, x: float, y: float, line: str, size: float = FONT_SIZE) -> None:
    # A dollar sign is a dollar sign.
    options = {"fontfamily": FONTS, "ha": "center", "va": "baseline", "parse_math": False}
    axes.text(x, y + size * 0.35, line, fontsize=size, **options)


def _figure(axes: Any, figure: Figure) -> None:
    from matplotlib import patches  # optional

    mark = figure.mark
    style: dict[str, Any] = {"facecolor": "white", "edgecolor": "black", "linewidth": LINE_WIDTH}
    if mark.dashed:
        style["linestyle"] = (0, (4, 3))
    left, top = figure.x - figure.width / 2, figure.y - figure.height / 2
    if mark.shape == "oval":
        axes.add_patch(patches.Ellipse((figure.x, figure.y), figure.width, figure.height, **style))
    else:
        axes.add_patch(patches.Rectangle((left, top), figure.width, figure.height, **style))
    if mark.shape == "group":
        axes.add_patch(patches.Rectangle((left + 3, top + 3), figure.width - 6, figure.height - 6, **style))
    for x in figure.walls():
        axes.plot([x, x], [top, top + figure.height], color="black", linewidth=LINE_WIDTH)
    for text in figure.text_positions():
        _text(axes, *text)


def _arrow(axes: Any, arrow: Arrow) -> None:
    from matplotlib import patches  # optional
    from matplotlib.path import Path  # optional

    points = shorten(arrow.points)
    corners = [points[0], *(point for curve in curves(points) for point in curve)]
    codes = [Path.MOVETO, *[Path.CURVE4] * (len(corners) - 1)]
    axes.add_patch(patches.PathPatch(Path(corners, codes), facecolor="none", edgecolor="black", linewidth=LINE_WIDTH))
    (base, _), tip = points[-1], arrow.points[-1]
    half = HEAD * 0.4
    head = [tip, (base, tip[1] - half), (base, tip[1] + half)]
    axes.add_patch(patches.Polygon(head, closed=True, facecolor="black", linewidth=0))
