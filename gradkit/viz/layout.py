"""A layout of its own for where Graphviz is not: in layers from left to right, after Sugiyama.

Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures", 1981, in four steps:
put the marks into layers, so that every arrow goes to the right; order each layer so that few arrows cross; find
heights that keep arrows straight; draw. An arrow over several layers has a bend in each layer that it passes. All
lengths are in points, 1/72 inch; y grows downwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gradkit.viz.computation import Diagram, Mark
from gradkit.viz.wording import columns

__all__ = ["FONT_SIZE", "LINE", "TITLE_SIZE", "Arrow", "Figure", "Layout", "lay_out"]

FONT_SIZE = 11.0
TITLE_SIZE = 13.0
COLUMN = 0.602
"""The width of a character of a font of fixed width, in units of its size."""
LINE = 14.0
PADDING = 6.0
MARGIN = 10.0
LAYER_GAP = 26.0
GAP = 12.0
STRAIGHT = 10.0
"""The least length of a straight piece of an arrow: more than its head has."""
BESIDE = 6.0
"""How far above the arrow forward an arrow back is."""
SWEEPS = 24

Point = tuple[float, float]


@dataclass(eq=False)
class Figure:
    """A mark with a position: its centre, its size, and for a record the widths of its cells."""

    mark: Mark
    width: float
    height: float
    cells: tuple[float, ...] = ()
    x: float = 0.0
    y: float = 0.0

    def text_positions(self) -> list[tuple[float, float, str]]:
        """Return the centre of each line of text, and the line."""
        if self.mark.shape != "record":
            return _lines_at(self.x, self.y, "\n".join(self.mark.texts))
        positions = []
        left = self.x - self.width / 2
        for width, text in zip(self.cells, self.mark.texts, strict=True):
            positions += _lines_at(left + width / 2, self.y, text)
            left += width
        return positions

    def walls(self) -> list[float]:
        """Return where the lines between the cells of a record are."""
        left = self.x - self.width / 2
        return [left + sum(self.cells[:i]) for i in range(1, len(self.cells))]


@dataclass(eq=False)
class Arrow:
    """An arrow: points that a smooth line goes through, leaving and reaching each of them horizontally."""

    points: list[Point]


@dataclass(eq=False)
class Layout:
    """A diagram with positions for everything."""

    width: float
    height: float
    figures: list[Figure]
    arrows: list[Arrow]
    title: list[tuple[float, float, str]]


def _lines_at(x: float, y: float, text: str) -> list[tuple[float, float, str]]:
    lines = text.split("\n")
    top = y - LINE * (len(lines) - 1) / 2
    return [(x, top + LINE * i, line) for i, line in enumerate(lines)]


def _text_size(text: str, font_size: float = FONT_SIZE) -> tuple[float, float]:
    lines = text.split("\n")
    return max(map(columns, lines)) * COLUMN * font_size, LINE * len(lines)


def _figure(mark: Mark) -> Figure:
    if mark.shape == "record":
        sizes = [_text_size(text) for text in mark.texts]
        cells = tuple(width + 2 * PADDING for width, _ in sizes)
        return Figure(mark, sum(cells), max(height for _, height in sizes) + PADDING, cells)
    width, height = _text_size("\n".join(mark.texts))
    if mark.shape == "group":
        return Figure(mark, width + 3 * PADDING, height + 2 * PADDING)
    # The smallest ellipse around a rectangle is the square root of two larger; text has no ink in the corners.
    return Figure(mark, max(1.25 * width + PADDING, 26.0), max(1.25 * height + PADDING, 26.0))


class _Slot:
    """A position in a layer: a figure, or a bend of an arrow that passes through."""

    __slots__ = ("figure", "height", "layer", "left", "right", "weight", "y")

    def __init__(self, figure: Figure | None, layer: int) -> None:
        self.figure = figure
        self.layer = layer
        self.height = figure.height if figure else 2.0
        # Bends insist more on a straight line than figures do.
        self.weight = 1.0 if figure else 4.0
        self.left: list[_Slot] = []
        self.right: list[_Slot] = []
        self.y = 0.0


def lay_out(diagram: Diagram) -> Layout:
    """Find a position for every mark and a way for every arrow.

    Parameters
    ----------
    diagram : Diagram
        What to lay out. Arrows may form circles.
    """
    figures = {mark: _figure(mark) for mark in diagram.marks}
    layers_of = _layers(diagram)
    slots = {mark: _Slot(figures[mark], layers_of[mark]) for mark in diagram.marks}
    count = max(layers_of.values(), default=0) + 1
    layers: list[list[_Slot]] = [[] for _ in range(count)]
    chains = []
    bends: list[_Slot] = []
    for tail, head in diagram.edges:
        start, end = slots[tail], slots[head]
        backwards = start.layer > end.layer
        first, last = (end, start) if backwards else (start, end)
        between = [_Slot(None, layer) for layer in range(first.layer + 1, last.layer)]
        bends += between
        chain = [first, *between, last]
        for one, other in pairwise(chain):
            one.right.append(other)
            other.left.append(one)
        chains.append((chain, backwards))
    for slot in _from_the_right([*slots.values(), *bends]):
        layers[slot.layer].append(slot)
    layers = _with_few_crossings(layers)
    _find_heights(layers)
    return _lay_out(diagram, layers, figures, chains)


# Layers


def _layers(diagram: Diagram) -> dict[Mark, int]:
    """Return each mark's layer: as far to the right as what depends on it allows, so that inputs stand at their use."""
    following: dict[Mark, list[Mark]] = {mark: [] for mark in diagram.marks}
    for tail, head in diagram.edges:
        following[tail].append(head)
    from_end: dict[Mark, int] = {}
    entered: set[Mark] = set()
    for root in diagram.marks:
        stack = [(root, iter(following[root]))]
        if root in entered:
            continue
        entered.add(root)
        while stack:
            mark, rest = stack[-1]
            for head in rest:
                if head not in entered:
                    entered.add(head)
                    stack.append((head, iter(following[head])))
                    break
            else:
                # What has no layer yet is still in the stack: that arrow closes a circle and goes back.
                from_end[mark] = 1 + max((from_end[head] for head in following[mark] if head in from_end), default=-1)
                stack.pop()
    deepest = max(from_end.values(), default=0)
    return {mark: deepest - depth for mark, depth in from_end.items()}


# Order


def _from_the_right(slots: Sequence[_Slot]) -> list[_Slot]:
    """Return slots in the order of a walk from the results back, inputs in the order of the arguments."""
    order: dict[_Slot, None] = {}
    for root in sorted(slots, key=lambda slot: -slot.layer):
        stack = [root]
        while stack:
            slot = stack.pop()
            if slot not in order:
                order[slot] = None
                stack.extend(reversed(slot.left))
    return list(order)


def _with_few_crossings(layers: list[list[_Slot]]) -> list[list[_Slot]]:
    """Order each layer by where its neighbours are, to and fro, and keep the best order seen."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        to_right = sweep % 2 == 0
        for layer in layers if to_right else reversed(layers):
            position = {slot: i for near in layers for i, slot in enumerate(near)} if len(layer) > 1 else {}

            def middle(slot: _Slot, position: dict[_Slot, int] = position, to_right: bool = to_right) -> float:
                near = slot.left if to_right else slot.right
                return sum(position[other] for other in near) / len(near) if near else position[slot]

            if len(layer) > 1:
                layer.sort(key=middle)
        found = _crossings(layers)
        if found < fewest:
            best, fewest = [list(layer) for layer in layers], found
    return best


def _crossings(layers: Sequence[Sequence[_Slot]]) -> int:
    """Count the pairs of arrows between neighbouring layers that cross."""
    total = 0
    for layer, following in pairwise(layers):
        position = {slot: i for i, slot in enumerate(following)}
        ends = [position[other] for slot in layer for other in sorted(slot.right, key=position.__getitem__)]
        seen = [0] * (len(following) + 1)  # a Fenwick tree of the ends so far
        for count, end in enumerate(ends):
            total += count
            i = end + 1
            while i:
                total -= seen[i]
                i -= i & -i
            i = end + 1
            while i < len(seen):
                seen[i] += 1
                i += i & -i
    return total


# Heights


def _find_heights(layers: Sequence[Sequence[_Slot]]) -> None:
    """Move each layer's slots towards their neighbours' heights as far as their order and sizes allow."""
    for layer in layers:
        y = 0.0
        for slot in layer:
            slot.y = y + slot.height / 2
            y += slot.height + GAP
    for _ in range(SWEEPS):
        _align(layers[::-1], lambda slot: slot.right)
        _align(layers, lambda slot: [*slot.left, *slot.right])
    # At the end what is computed stands straight behind what it is computed from.
    _align(layers, lambda slot: slot.left)


def _align(layers: Sequence[Sequence[_Slot]], neighbours: Callable[[_Slot], Sequence[_Slot]]) -> None:
    for layer in layers:
        wishes = []
        for slot in layer:
            near = neighbours(slot)
            weights = [4.0 if slot.figure is None or other.figure is None else 1.0 for other in near]
            total = sum(weight * other.y for weight, other in zip(weights, near, strict=True))
            wishes.append(total / sum(weights) if near else slot.y)
        for slot, y in zip(layer, _apart(layer, wishes), strict=True):
            slot.y = y


def _apart(layer: Sequence[_Slot], wishes: Sequence[float]) -> list[float]:
    """Return the heights nearest to those wished for (in least squares) at which the slots do not overlap.

    Without the distances that they keep, heights that do not decrease: so it is isotonic regression, which pooling
    neighbours that violate the order solves exactly.
    """
    offsets = [0.0]
    for above, below in pairwise(layer):
        offsets.append(offsets[-1] + (above.height + below.height) / 2 + GAP)
    pools: list[list[float]] = []  # sum of weighted wishes, weight, number
    for slot, wish, offset in zip(layer, wishes, offsets, strict=True):
        pools.append([slot.weight * (wish - offset), slot.weight, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    levels = [total / weight for total, weight, number in pools for _ in range(int(number))]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


# Drawing


def _lay_out(
    diagram: Diagram,
    layers: Sequence[Sequence[_Slot]],
    figures: dict[Mark, Figure],
    chains: Sequence[tuple[list[_Slot], bool]],
) -> Layout:
    """Turn layers and heights into positions on a page."""
    slots = [slot for layer in layers for slot in layer]
    title_width, title_height = _text_size(diagram.title, TITLE_SIZE) if diagram.title else (0.0, 0.0)
    top = MARGIN + (title_height + PADDING if diagram.title else 0.0)
    up = min((slot.y - slot.height / 2 for slot in slots), default=0.0) - top
    bottom = max((slot.y + slot.height / 2 for slot in slots), default=0.0) - up
    borders: list[tuple[float, float]] = []
    x = MARGIN
    for layer in layers:
        width = max((slot.figure.width for slot in layer if slot.figure), default=0.0)
        borders.append((x, x + width))
        x += width + LAYER_GAP
        for slot in layer:
            slot.y -= up
            if slot.figure is not None:
                slot.figure.x, slot.figure.y = borders[-1][0] + width / 2, slot.y
    width = max(x - LAYER_GAP, MARGIN + title_width) + MARGIN
    shift = (width - MARGIN - (x - LAYER_GAP)) / 2 if title_width > x - LAYER_GAP - MARGIN else 0.0
    for figure in figures.values():
        figure.x += shift
    arrows = [Arrow(_way(chain, backwards, borders, shift)) for chain, backwards in chains]
    title = _lines_at(width / 2, MARGIN + title_height / 2, diagram.title) if diagram.title else []
    return Layout(width, bottom + MARGIN, list(figures.values()), arrows, title)


def _way(chain: Sequence[_Slot], backwards: bool, borders: Sequence[tuple[float, float]], shift: float) -> list[Point]:
    """Return the points of an arrow: from border to border, straight across the layers that it passes."""
    first, last = chain[0].figure, chain[-1].figure
    assert first is not None
    assert last is not None
    # A mark may be narrower than its layer: it is left, and reached, straight, so that no neighbour is crossed.
    start, end = first.x + first.width / 2, last.x - last.width / 2
    points = [(start, first.y)]
    if (border := borders[chain[0].layer][1] + shift) > start + STRAIGHT:
        points.append((border, first.y))
    for bend in chain[1:-1]:
        left, right = borders[bend.layer]
        points += [(left + shift, bend.y), (right + shift, bend.y)]
    if (border := borders[chain[-1].layer][0] + shift) < end - STRAIGHT:
        points.append((border, last.y))
    points.append((end, last.y))
    if not backwards:
        return points
    # An arrow back runs beside the one forward, which there may be as well.
    return [(x, y - BESIDE) for x, y in reversed(points)]
