"""Pictures of weights, animations, and what all pictures have in common: files, formats, given axes, titles."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from seen_pictures import (
    COARSE,
    HISTORY,
    bowl,
    check_picture,
    check_png,
    half_planes,
    steps_on_bowl,
    texts,
    trained,
)

import gradkit.numpy as jnp
from gradkit import Array, data, nn, random, viz
from gradkit.backend import Backend
from gradkit.errors import MissingDependencyError, ShapeError

# Images of weights


def test_weight_images_show_each_neuron_where_it_stands(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "weights.png"
    model = nn.MLP(12, [6, 3], key=random.key(0))
    figure = viz.weight_images(model, shape=(3, 4), path=path)
    check_picture(
        figure, path, "MLP 12-6-3, tanh: weights of the first layer, 6 neurons", "weight (per unit of a pixel)"
    )
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    weight = np.asarray(model.layers[0].weight.detach())
    np.testing.assert_allclose(mosaic[:3, :4].ravel(), weight[:, 0])
    np.testing.assert_allclose(mosaic[:3, 5:9].ravel(), weight[:, 1])
    np.testing.assert_allclose(
        mosaic[4:7, :4].ravel(), weight[:, figure.axes[0].images[0].get_array().shape[1] // 5 + 1]
    )
    low, high = figure.axes[0].images[0].get_clim()
    assert -low == high == pytest.approx(abs(weight).max())


def test_weight_images_are_squares_of_the_first_neurons_by_default(backend: Backend) -> None:
    figure = viz.weight_images({"w": jnp.ones((16, 100))}, count=7)
    title = figure.axes[0].get_title().replace("\n", " ")
    assert title == "1,600 parameters: weights of the first layer, 7 of 100 neurons"


def test_weight_images_say_what_is_wrong() -> None:
    model = nn.Linear(12, 5, key=random.key(0))
    with pytest.raises(ShapeError, match=r"weight has 12 inputs, but images of shape \(8, 8\) have 64 pixels"):
        viz.weight_images(model, (8, 8))
    with pytest.raises(ShapeError, match="12 inputs, which are no square"):
        viz.weight_images(model)
    with pytest.raises(ValueError, match="no matrix of weights, got dict"):
        viz.weight_images({"b": jnp.ones(3)})
    with pytest.raises(ValueError, match="count must be at least 1"):
        viz.weight_images(model, (3, 4), count=0)


# Animations


def frames_of(gif: bytes) -> tuple[list[np.ndarray[Any, Any]], list[int]]:
    """Return the frames of a GIF in grey, and their durations in milliseconds."""
    image = Image.open(io.BytesIO(gif))
    frames, durations = [], []
    for i in range(image.n_frames):  # type: ignore[attr-defined]
        image.seek(i)
        frames.append(np.asarray(image.convert("L")))
        durations.append(image.info["duration"])
    return frames, durations


def test_a_boundary_is_animated_as_it_trains(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "boundary.gif"
    x, y = data.moons(30, key=random.key(0))
    draw = partial(viz.decision_boundary, data=(x, y), resolution=COARSE)
    animation = viz.animate(draw, trained(backend.name)[1][:3], fps=5, hold=1, dpi=50, path=path)
    assert path.read_bytes() == animation.gif
    frames, durations = frames_of(animation.gif)
    assert len(frames) == animation.frames == 3
    assert durations == [200, 200, 1200]
    assert {frame.shape for frame in frames} == {(250, 260)}
    assert all(not np.array_equal(a, b) for a, b in pairwise(frames))
    assert "data:image/gif;base64," in animation._repr_html_()


def test_a_descent_is_animated_on_one_contour(backend: Backend) -> None:
    loss, models = trained(backend.name)
    calls = []

    def counting(model: Any) -> Array:
        calls.append(model)
        return loss(model)

    ground = viz.landscape(counting, models, resolution=COARSE)
    evaluations = len(calls)
    labels = [f"step {k}" for k in range(3)]
    animation = viz.animate(
        lambda path, ax: viz.descent(ground, path, ax=ax), [models[: k + 1] for k in range(3)], labels=labels, dpi=50
    )
    assert len(calls) == evaluations
    frames, _ = frames_of(animation.gif)
    assert len(frames) == 3
    # The contour stays where it is: few pixels change.
    assert 0 < np.mean(frames[0] != frames[1]) < 0.1


def test_animate_says_what_is_wrong(tmp_path: Path) -> None:
    draw = partial(viz.decision_boundary, limits=((0, 1), (0, 1)), resolution=COARSE)
    with pytest.raises(ValueError, match="frames is empty"):
        viz.animate(draw, [])
    with pytest.raises(ValueError, match="there are 1 labels, and 2 frames"):
        viz.animate(draw, [half_planes, half_planes], labels=["one"])
    with pytest.raises(ValueError, match="fps must be above 0"):
        viz.animate(draw, [half_planes], fps=0)
    with pytest.raises(ValueError, match=r"Unknown suffix '\.mp4'. Known: \.gif"):
        viz.animate(draw, [half_planes], path=tmp_path / "film.mp4")


# What all have in common

PICTURES: dict[str, Callable[..., Any]] = {
    "animate": partial(viz.animate, partial(viz.decision_boundary, limits=((0, 1), (0, 1))), [half_planes], dpi=20),
    "curves": partial(viz.curves, HISTORY),
    "decision_boundary": partial(viz.decision_boundary, half_planes, limits=((0, 1), (0, 1)), resolution=COARSE),
    "descent": lambda **options: viz.descent(bowl, steps_on_bowl(3), resolution=COARSE, **options),
    "weight_images": lambda **options: viz.weight_images(jnp.ones((4, 3)), **options),
}
each_picture = pytest.mark.parametrize("name", PICTURES)


def test_every_picture_is_in_the_table() -> None:
    drawn_otherwise = {"draw", "draw_plan"}
    functions = {name for name in viz.__all__ if name.islower()}
    assert set(PICTURES) == functions - {"landscape"} - drawn_otherwise


@each_picture
def test_pictures_without_matplotlib_name_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=rf"{name} needs matplotlib.*pip install 'gradkit\[plot\]'"):
        PICTURES[name]()


@each_picture
def test_pictures_are_not_computed_where_they_cannot_be_written(name: str, tmp_path: Path) -> None:
    suffix = ".gif" if name == "animate" else ".png"
    (tmp_path / "file").touch()
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(FileNotFoundError, match=f"{name}: .* there is no folder .*. Make it first"):
        PICTURES[name](path=tmp_path / "none" / f"x{suffix}")
    with pytest.raises(NotADirectoryError, match="is a file, not a folder"):
        PICTURES[name](path=tmp_path / "file" / f"x{suffix}")
    with pytest.raises(IsADirectoryError, match=r"is a folder\. Give the name of a file in it"):
        PICTURES[name](path=tmp_path / f"folder{suffix}")
    with pytest.raises(ValueError, match=rf"{name}: path='.*x\.docx?': Unknown suffix '\.doc'. Known: "):
        PICTURES[name](path=tmp_path / "x.doc")
    assert {each.name for each in tmp_path.iterdir()} == {"file", f"folder{suffix}"}


@each_picture
def test_pictures_say_where_a_folder_cannot_be_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as root, who may write everywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"cannot be written\. Choose another folder"):
        PICTURES[name](path=tmp_path / ("x.gif" if name == "animate" else "x.png"))


@pytest.mark.parametrize("suffix, start", [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")])
def test_pictures_are_written_in_the_format_of_the_suffix(suffix: str, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    PICTURES["decision_boundary"](path=path)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", sorted(PICTURES.keys() - {"animate"}))
def test_pictures_are_drawn_on_axes_that_are_given_and_show_themselves(name: str) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    assert PICTURES[name](ax=axes) is figure
    assert axes.has_data()
    part = figure.subfigures(1, 2)[0]
    assert PICTURES[name](ax=part.add_subplot()) is figure
    with pytest.raises(TypeError, match=rf"{name}: ax must be matplotlib Axes, got str"):
        PICTURES[name](ax="axes" if name != "curves" else ["axes"])
    check_png(PICTURES[name]()._repr_png_())


ODD = """_a $5 & <b> "c" 'd' {e} x$_{$ 100 % #1 -- ~"""


def test_titles_and_names_may_have_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "odd.svg"
    for figure in (
        viz.curves({ODD: HISTORY, "$x^2$": HISTORY}, title=ODD, units={"loss": ODD}, path=path),
        viz.decision_boundary(half_planes, limits=((0, 1), (0, 1)), classes=(ODD, "$x^2$"), title=ODD, path=path),
    ):
        ElementTree.parse(path)
        written = " ".join(text.replace("\\$", "$") for text in texts(figure))
        assert written.count(ODD) >= 2
        # What is a formula stays one.
        assert "$x^2$" in written


def test_a_long_title_is_broken_into_lines(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    title = " ".join(["a network of many layers"] * 8)
    for draw in (partial(viz.curves, HISTORY), partial(viz.weight_images, jnp.ones((4, 3)))):
        check_picture(draw(title=title, path=path), path)


def test_the_module_brings_no_matplotlib_before_a_picture_is_asked_for() -> None:
    import subprocess

    code = "import sys, gradkit.viz\ngradkit.viz.curves, gradkit.viz.descent\nprint('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
    with pytest.raises(AttributeError, match=r"module 'gradkit\.viz' has no attribute 'curve'"):
        viz.curve  # noqa: B018
