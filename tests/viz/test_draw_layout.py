"""The layout of drawn graphs where Graphviz is not."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gradkit.viz.computation import Diagram, Mark
from gradkit.viz.layout import lay_out


@st.composite
def diagrams(drawing: st.DrawFn) -> Diagram:
    count = drawing(st.integers(1, 14))
    shapes = st.sampled_from(["record", "oval", "group"])
    texts = st.lists(st.text("abc λ損", min_size=1, max_size=12), min_size=1, max_size=3)
    marks = [Mark(drawing(shapes), tuple(drawing(texts))) for _ in range(count)]
    pairs = st.tuples(st.sampled_from(marks), st.sampled_from(marks)).filter(lambda pair: pair[0] is not pair[1])
    edges = drawing(st.lists(pairs, max_size=24)) if count > 1 else []
    return Diagram(marks, list(dict.fromkeys(edges)), drawing(st.sampled_from(["", "a title", "two\nlines " * 9])))


@given(diagrams())
def test_no_two_marks_overlap_and_all_are_on_the_page(diagram: Diagram) -> None:
    layout = lay_out(diagram)
    for figure in layout.figures:
        assert figure.width / 2 <= figure.x <= layout.width - figure.width / 2
        assert figure.height / 2 <= figure.y <= layout.height - figure.height / 2
    for one, other in combinations(layout.figures, 2):
        apart_x = abs(one.x - other.x) - (one.width + other.width) / 2
        apart_y = abs(one.y - other.y) - (one.height + other.height) / 2
        assert max(apart_x, apart_y) > 5


@given(diagrams(), st.randoms())
def test_arrows_begin_and_end_at_their_marks(diagram: Diagram, random: Any) -> None:
    layout = lay_out(diagram)
    figures = {figure.mark: figure for figure in layout.figures}
    for (tail, head), arrow in zip(diagram.edges, layout.arrows, strict=True):
        start, end = arrow.points[0], arrow.points[-1]
        for mark, (x, y) in ((tail, start), (head, end)):
            assert abs(abs(x - figures[mark].x) - figures[mark].width / 2) < 1e-6
            assert abs(y - figures[mark].y) < figures[mark].height / 2


@given(st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_without_circles_every_arrow_goes_to_the_right(parents: list[int]) -> None:
    marks = [Mark("oval", (str(i),)) for i in range(len(parents) + 1)]
    edges = [(marks[min(parent, i)], marks[i + 1]) for i, parent in enumerate(parents)]
    for arrow in lay_out(Diagram(marks, edges)).arrows:
        xs = [x for x, _ in arrow.points]
        assert xs == sorted(xs)


def test_a_chain_is_a_straight_line() -> None:
    marks = [Mark("oval", (str(i),)) for i in range(9)]
    layout = lay_out(Diagram(marks, list(pairwise(marks))))
    assert len({round(figure.y, 6) for figure in layout.figures}) == 1


def test_a_tree_has_no_crossings() -> None:
    marks = [Mark("oval", (str(i),)) for i in range(15)]
    order = [7, 3, 11, 8, 1, 9, 5, 12, 2, 10, 4, 13, 6, 14]
    edges = [(marks[i], marks[(i - 1) // 2]) for i in order]
    layout = lay_out(Diagram(marks, edges))
    places = {figure.mark: figure for figure in layout.figures}
    ends = sorted((places[a].x, places[a].y, places[b].y) for a, b in edges)
    for (x0, y0, z0), (x1, y1, z1) in combinations(ends, 2):
        assert x0 != x1 or (y0 - y1) * (z0 - z1) >= 0
