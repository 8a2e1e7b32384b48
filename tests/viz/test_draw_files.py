"""Drawn graphs in every format, by Graphviz and without it."""

from __future__ import annotations

import doctest
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import expression, leaf, lines, model_step, network, texts_of_svg, visible

from gradkit.backend import get_backend
from gradkit.errors import MissingDependencyError
from gradkit.viz import draw
from gradkit.viz.dot import graphviz


@pytest.fixture(params=["graphviz", "own layout"])
def renderer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of drawing in turn."""
    if request.param == "graphviz":
        if graphviz() is None:
            pytest.skip("Graphviz is not installed")
    else:
        monkeypatch.setattr("gradkit.viz.drawing.graphviz", lambda: None)
    name: str = request.param
    return name


@pytest.fixture
def own_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradkit.viz.drawing.graphviz", lambda: None)


@pytest.mark.parametrize(
    "suffix, magic", [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".dot", b"dig")]
)
def test_every_format_is_written_by_its_suffix(
    renderer: str, tmp_path: Path, xp: Any, suffix: str, magic: bytes
) -> None:
    s = expression(xp)
    s.L.backward()
    path = tmp_path / f"expression{suffix.upper()}"
    draw(s.L, **vars(s), title="L").save(path)
    assert path.read_bytes().startswith(magic)


AWKWARD = [
    "<b>&amp; \"quoted\" 'x'",
    "a|b{c}d<e>f",
    "back\\slash\\n\\l",
    "two  spaces and a $dollar$",
    "ünïcödé 損失 λ→∞",
    "&lt;&#65;",
]


def test_svg_is_well_formed_and_holds_every_label_and_number(renderer: str, xp: Any) -> None:
    arrays = [leaf(xp, 1.5 + i) for i in range(len(AWKWARD))]
    out = sum(arrays[1:], arrays[0] * 2.0)
    out.backward()
    drawing = draw(out, labels=dict(zip(AWKWARD, arrays, strict=True)), title=" & ".join(AWKWARD))
    texts = sorted(map(visible, texts_of_svg(drawing.svg)))
    wanted = [line for mark in drawing._diagram.marks for line in lines(mark)]
    assert set(AWKWARD) <= set(wanted)
    assert texts == sorted([*wanted, " & ".join(AWKWARD)])


def test_control_characters_become_visible_signs(renderer: str, xp: Any) -> None:
    x = leaf(xp, 1.0)
    drawing = draw(x + x, labels={"a\x00b\x1b\x7f\x85\ud800c": x})
    assert "a␀b␛␡��c" in texts_of_svg(drawing.svg)


def test_line_breaks_make_lines(renderer: str, xp: Any) -> None:
    x = leaf(xp, 1.0)
    svg = draw(x + x, labels={"first\nsecond": x}, title="one\r\ntwo").svg
    assert {"first", "second", "one", "two"} <= set(map(visible, texts_of_svg(svg)))


@pytest.mark.dealt("renderer", "kind")
@pytest.mark.parametrize("kind", ["expression", "arrays", "function", "folded"])
def test_every_kind_of_picture_is_rendered_to_png(renderer: str, tmp_path: Path, xp: Any, kind: str) -> None:
    from matplotlib.image import imread

    if kind == "expression":
        s = expression(xp)
        drawing = draw(s.L, **vars(s))
    elif kind == "arrays":
        model, loss = model_step(xp)
        drawing = draw(loss, labels=model, gradients=True)
    elif kind == "function":
        drawing = draw(lambda x: xp.sum(xp.tanh(x) ** 2, axis=0), xp.ones((2, 3)))
    else:
        params, loss = network(xp, (4, 6, 6, 2))
        drawing = draw(loss, labels=params)
    path = tmp_path / "picture.png"
    drawing.save(path)
    image = imread(path)[..., :3]
    assert image.min() == 0
    assert image.max() == 1
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert edge.min() == 1  # nothing is cut off


def test_a_notebook_gets_the_svg(own_layout: None, xp: Any) -> None:
    drawing = draw(leaf(xp, 1.0) * 2.0)
    assert drawing._repr_svg_() == drawing.svg


def test_awkward_text_is_drawn_by_matplotlib_as_it_is(own_layout: None, tmp_path: Path, xp: Any) -> None:
    x = leaf(xp, 1.0)
    draw(x * 2.0, labels={r"$\frac{ \n": x}).save(tmp_path / "x.png")  # no mathematics


def test_an_unknown_suffix_lists_the_known_ones(xp: Any, tmp_path: Path) -> None:
    drawing = draw(leaf(xp, 1.0))
    for name in ("x.jpg", "x"):
        with pytest.raises(ValueError, match=r"Unknown suffix .*Known: \.dot, \.pdf, \.png, \.svg"):
            drawing.save(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_named(xp: Any, tmp_path: Path) -> None:
    drawing = draw(leaf(xp, 1.0))
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"Drawing\.save: .*file is a file, not a folder"):
        drawing.save(tmp_path / "file" / "x.dot")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        drawing.save(tmp_path / "nowhere" / "x.dot")


def test_without_graphviz_and_matplotlib_the_error_names_the_extra(
    own_layout: None, xp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = draw(leaf(xp, 1.0))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gradkit\[plot\]'"):
        drawing.save(tmp_path / "x.png")
    drawing.save(tmp_path / "x.svg")  # which needs neither


def test_an_svg_needs_neither_graphviz_nor_matplotlib() -> None:
    code = """if True:
        import sys, gradkit
        x = gradkit.Value(2.0, label="x")
        assert "data 2.0000" in gradkit.viz.draw(x * x).svg
        assert not {"matplotlib", "networkx", "IPython"} & set(sys.modules)
        """
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PATH": ""})


def test_where_graphviz_fails_the_own_layout_draws(xp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho 'no such plugin' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.warns(RuntimeWarning, match="could not draw.*no such plugin"):
        svg = draw(leaf(xp, 1.0)).svg
    assert "data 1.0000" in texts_of_svg(svg)


def test_the_pictures_in_the_docs_are_what_draw_gives(own_layout: None, tmp_path: Path) -> None:
    docs = Path(__file__).parents[2] / "docs"
    text, _, _ = (docs / "pictures.md").read_text().partition("## Training pictures")
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(text):
        exec(compile(example.source, "pictures.md", "single"), names)
    images = re.findall(r"\(images/(\w+)\.svg\)", text)
    assert images
    if get_backend("numpy").printers[0].why_unusable():
        images.remove("plan")  # which is that of native code
    for name in images:
        names[name].save(tmp_path / f"{name}.svg")
        committed = (docs / "images" / f"{name}.svg").read_text()
        assert committed == names[name].svg, f"docs/images/{name}.svg is not up to date: {tmp_path}/{name}.svg is"
