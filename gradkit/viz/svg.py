"""A laid-out diagram as SVG text."""

from __future__ import annotations

from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from gradkit.viz.layout import FONT_SIZE, TITLE_SIZE, Arrow, Figure, Layout, Point

__all__ = ["HEAD", "curves", "svg_text"]

FONT = "'DejaVu Sans Mono', Menlo, Consolas, monospace"
HEAD = 7.0
"""The length of an arrow's head."""


def svg_text(layout: Layout) -> str:
    """Return a laid-out diagram as an SVG document."""
    width, height = f"{layout.width:.1f}", f"{layout.height:.1f}"
    lines = [
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" '
        f'viewBox="0 0 {width} {height}" font-family={quoteattr(FONT)} font-size="{FONT_SIZE:g}" text-anchor="middle">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *(_text(x, y, line, TITLE_SIZE) for x, y, line in layout.title),
        *(line for arrow in layout.arrows for line in _arrow(arrow)),
        *(line for figure in layout.figures for line in _figure(figure)),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


def _text(x: float, y: float, line: str, size: float = FONT_SIZE) -> str:
    options = "" if size == FONT_SIZE else f' font-size="{size:g}"'
    # The middle of the letters without those below the line is a third of the size above the baseline.
    return f'<text x="{x:.1f}" y="{y + size * 0.35:.1f}" xml:space="preserve"{options}>{escape(line)}</text>'


def _figure(figure: Figure) -> list[str]:
    mark = figure.mark
    style = 'fill="white" stroke="black"' + ' stroke-dasharray="4 3"' * mark.dashed
    left, top = figure.x - figure.width / 2, figure.y - figure.height / 2
    texts = [_text(*text) for text in figure.text_positions()]
    if mark.shape == "oval":
        radii = f'rx="{figure.width / 2:.1f}" ry="{figure.height / 2:.1f}"'
        return [f'<ellipse cx="{figure.x:.1f}" cy="{figure.y:.1f}" {radii} {style}/>', *texts]
    lines = [_box(left, top, figure.width, figure.height, style)]
    if mark.shape == "group":
        lines.append(_box(left + 3, top + 3, figure.width - 6, figure.height - 6, style))
    lines += [
        f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{top + figure.height:.1f}" stroke="black"/>'
        for x in figure.walls()
    ]
    return [*lines, *texts]


def _box(left: float, top: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" {style}/>'


def curves(points: list[Point]) -> list[tuple[Point, Point, Point]]:
    """Return the Bézier curves through points, as two control points and an end each, horizontal at every point."""
    result = []
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        result.append(((middle, y0), (middle, y1), (x1, y1)))
    return result


def shorten(points: list[Point]) -> list[Point]:
    """Return an arrow's points without the length that its head takes."""
    (x0, _), (x1, y1) = points[-2:]
    return [*points[:-1], (x1 - HEAD if x1 > x0 else x1 + HEAD, y1)]


def _arrow(arrow: Arrow) -> list[str]:
    points = shorten(arrow.points)
    (x0, y0), (base, _), (tip, y) = points[0], points[-1], arrow.points[-1]
    way = " ".join(f"C{a:.1f},{b:.1f} {c:.1f},{d:.1f} {e:.1f},{f:.1f}" for (a, b), (c, d), (e, f) in curves(points))
    half = HEAD * 0.4
    return [
        f'<path d="M{x0:.1f},{y0:.1f} {way}" fill="none" stroke="black"/>',
        f'<polygon points="{tip:.1f},{y:.1f} {base:.1f},{y - half:.1f} {base:.1f},{y + half:.1f}"/>',
    ]
