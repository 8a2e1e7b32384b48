"""The pictures of training: each is made, written as PNG and looked into; and what is said where one cannot be made."""

from __future__ import annotations

import copy
import io
import json
import math
import struct
import sys
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, data, nn, random, tree, viz
from gradkit.backend import Backend
from gradkit.errors import FileFormatError, MissingDependencyError, ShapeError, TreeMismatchError

COARSE = 12
"""Places along each axis of a grid, where a test looks at no details."""

HISTORY = {
    "epoch": [1, 2, 3, 4],
    "step": [10, 20, 30, 40],
    "loss": [2.3, 0.9, 0.3, 0.1],
    "validation_loss": [2.2, 1.0, 0.5, 0.4],
    "accuracy": [0.1, 0.7, 0.9, 0.96],
    "validation_accuracy": [0.1, 0.65, 0.85, 0.9],
    "learning_rate": [0.1, 0.05, 0.025, 0.0125],
    "seconds": [0.1, 0.2, 0.3, 0.4],
}


def texts(figure: Figure) -> list[str]:
    """Return all that is written on a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def check_png(contents: bytes, size: tuple[int, int] | None = None) -> np.ndarray[Any, Any]:
    """Check that these are the bytes of a PNG with something on it in grey as well, and return its grey values."""
    assert contents.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", contents[16:24])
    if size is not None:
        assert (width, height) == size
    grey = np.asarray(Image.open(io.BytesIO(contents)).convert("L"))
    assert grey.shape == (height, width)
    drawn = np.mean(grey < 200)
    assert 0.005 < drawn < 0.7
    # Nothing is cut off: the outermost pixels are the paper.
    assert (np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]) == 255).all()
    return grey


def check_picture(figure: Figure, path: Path, *labels: str) -> np.ndarray[Any, Any]:
    """Check a figure that was written to `path`, and that it says what it should."""
    written = texts(figure)
    for label in labels:
        assert label in written, written
    assert "matplotlib.pyplot" not in {type(figure.canvas.manager).__module__}
    assert figure.canvas.manager is None
    inches = figure.get_size_inches()
    return check_png(path.read_bytes(), (int(150 * inches[0]), int(150 * inches[1])))


# Curves


def test_curves_have_loss_and_metrics_and_learning_rate_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    figure = viz.curves(HISTORY, title="digits: MLP 64-128-10", units={"loss": "nats"}, path=path)
    check_picture(figure, path, "digits: MLP 64-128-10", "training", "validation", "epoch")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss (nats)", "accuracy (%)", "learning rate"]
    loss, accuracy, rate = ([list(line.get_ydata()) for line in axes.lines] for axes in figure.axes)
    assert loss == [HISTORY["loss"], HISTORY["validation_loss"]]
    np.testing.assert_allclose(accuracy[1], [10, 65, 85, 90])
    assert rate == [HISTORY["learning_rate"]]
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation"]
    assert figure.axes[0].get_yscale() == "log"


def test_curves_differ_in_dashes_and_markers_and_not_in_colour_alone() -> None:
    for history in (HISTORY, {"a": HISTORY, "b": HISTORY, "c": HISTORY}):
        figure = viz.curves(history)
        for axes in figure.axes:
            looks = {
                (line.get_linestyle(), line.get_marker(), line.get_markerfacecolor() == "white") for line in axes.lines
            }
            assert len(looks) == len(axes.lines)


def test_curves_take_arrays_of_every_backend(xp: Any) -> None:
    array = {name: xp.asarray(values) for name, values in HISTORY.items()}
    raw = {name: values.data for name, values in array.items()}
    numbers = {name: [xp.asarray(value) for value in values] for name, values in HISTORY.items()}
    for history in (array, raw, numbers):
        figure = viz.curves(history)
        assert list(figure.axes[2].lines[0].get_ydata()) == pytest.approx(HISTORY["learning_rate"])


def test_curves_take_what_has_columns_and_use_its_name() -> None:
    class Run:
        name = "MLP, 82 parameters: mse by SGD"

        def to_dict(self) -> dict[str, list[float | None]]:
            return {"epoch": [1, 2], "loss": [0.5, None], "learning_rate": [None, None]}

    figure = viz.curves(Run())
    assert "MLP, 82 parameters: mse by SGD: 2 epochs" in texts(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [0.5, math.nan])


def test_curves_of_a_log_are_those_of_its_rows(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rows = [dict(zip(HISTORY, values, strict=True)) for values in zip(*HISTORY.values(), strict=True)]
    entries = [rows[0], {"event": "resumed", "at_step": 10}, rows[1] | {"loss": 99.0}, *rows[1:]]
    # Row 2 was done again after a stop, and the last line was being written when the process was killed.
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"epoch": 5, "lo')
    for history in (log, str(log)):
        figure = viz.curves(history)
        assert list(figure.axes[0].lines[0].get_ydata()) == HISTORY["loss"]


def test_curves_of_several_runs_are_drawn_over_each_other(tmp_path: Path) -> None:
    path = tmp_path / "runs.png"
    runs = {"numpy": HISTORY, "strict": {name: values for name, values in HISTORY.items() if "validation" not in name}}
    figure = viz.curves(runs, title="the same training twice", path=path)
    check_picture(figure, path, "the same training twice", "numpy", "strict", "training", "validation")
    (legend,) = (axes.get_legend() for axes in figure.axes if axes.get_ylabel() == "loss")
    assert [text.get_text() for text in legend.get_texts()] == ["numpy", "strict", "training", "validation"]
    # Where they are equal, the one below is wider and paler.
    below, _, above = figure.axes[0].lines
    assert below.get_linewidth() > above.get_linewidth()


def test_curves_of_one_epoch_are_points(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    figure = viz.curves({"epoch": [1], "loss": [0.5]}, path=path)
    check_picture(figure, path, "loss", "epoch", "training: 1 epoch")
    assert figure.axes[0].get_xlim() == (0, 2)


def test_curves_draw_on_axes_that_are_given() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert viz.curves(HISTORY, ax=[left, right]) is figure
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss", "accuracy (%)")
    assert viz.curves(HISTORY, ax=right) is figure


@pytest.mark.parametrize(
    "history, error, words",
    [
        ({}, ValueError, "the history is empty. Train for at least one epoch"),
        ({"epoch": [], "loss": []}, ValueError, "the history is empty"),
        ({"run": {"epoch": [], "loss": []}}, ValueError, "the history 'run' is empty"),
        ({"epoch": [1, 2], "loss": [0.5]}, ValueError, "differ in length: {'epoch': 2, 'loss': 1}"),
        ({"epoch": [1], "loss": [math.nan]}, ValueError, "nothing to draw: its columns are epoch, loss"),
        ({"epoch": [1], "loss": 0.5}, ValueError, "'loss' of the history must be a list of numbers, got shape ()"),
        ({"epoch": [1], "loss": np.ones((1, 1))}, ValueError, "must be a list of numbers, got shape (1, 1)"),
        ({"epoch": [1], "loss": [[0.5]]}, ValueError, "'loss' of the history must be a list of numbers: float() arg"),
        ([0.5, 0.4], TypeError, "must be what gradkit.fit returns, columns by their names, or the path of a log"),
    ],
)
def test_curves_say_what_is_wrong_with_a_history(history: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        viz.curves(history)
    assert words in str(caught.value)


@pytest.mark.parametrize("line, words", [("loss=1", "line 2 is no JSON"), ("[1, 2]", "line 2 must be a JSON object")])
def test_curves_name_the_line_of_a_log_that_is_wrong(tmp_path: Path, line: str, words: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(f'{{"epoch": 1, "loss": 1}}\n{line}\n')
    with pytest.raises(FileFormatError, match=words):
        viz.curves(log)


def test_curves_of_a_log_that_is_no_text_or_not_there_say_so(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with pytest.raises(FileNotFoundError, match=r"log\.jsonl"):
        viz.curves(log)
    log.write_bytes(b"\x89PNG\r\n\xff\xfe\n")
    with pytest.raises(FileFormatError, match="line 1 is no JSON"):
        viz.curves(log)


# The decision boundary


def grey(colour: Any) -> float:
    """Return how light a colour is, from 0 to 1."""
    return float(np.dot(colour[:3], [0.299, 0.587, 0.114]))


def half_planes(x: Any) -> Array:
    """Score points: above 0 right of x1 = 0.25."""
    return jnp.asarray(x)[:, 0] - 0.25


def test_boundary_of_two_outputs_is_drawn_with_the_data(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "boundary.png"
    x, y = data.moons(60, key=random.key(0))
    model = nn.MLP(2, [8, 2], activation="relu", key=random.key(1))
    figure = viz.decision_boundary(model, (x, y), inputs=("width (cm)", "height (cm)"), resolution=40, path=path)
    right = np.mean(np.asarray(jnp.argmax(model(x), axis=1)) == np.asarray(y))
    title = f"MLP 2-8-2, relu: {100 * right:.1f} % of 60 points right"
    check_picture(figure, path, title, "width (cm)", "height (cm)", "class 0", "class 1")
    points = np.concatenate([np.asarray(each.get_offsets()) for each in figure.axes[0].collections[-2:]])
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(np.asarray(x), axis=0), rtol=1e-6)


def lines_of(figure: Figure) -> np.ndarray[Any, Any]:
    """Return the points of the boundaries in a figure."""
    found = [
        path.vertices
        for collection in figure.axes[0].collections
        if type(collection).__name__ == "QuadContourSet" and not collection.filled  # type: ignore[attr-defined]
        for path in collection.get_paths()
    ]
    return np.concatenate(found)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_boundary_of_one_output_is_where_it_is_the_threshold(backend: Backend, shape: tuple[int, ...]) -> None:
    def model(x: Array) -> Array:
        return jnp.reshape(half_planes(x), shape)

    x = jnp.asarray([[-1.0, 0.0], [1.0, 1.0]])
    for labels in ([0, 1], [-1, 1], [-1.0, 1.0], [False, True]):
        figure = viz.decision_boundary(model, (x, jnp.asarray(labels)), resolution=COARSE)
        np.testing.assert_allclose(lines_of(figure)[:, 0], 0.25, atol=1e-5)
        assert "model: 100.0 % of 2 points right" in texts(figure)
        assert ("class -1" in texts(figure)) == (labels[0] < 0)
    figure = viz.decision_boundary(model, (x, jnp.asarray([0, 1])), threshold=0.5, resolution=COARSE)
    np.testing.assert_allclose(lines_of(figure)[:, 0], 0.75, atol=1e-5)


def test_boundary_of_several_outputs_is_where_the_argmax_changes(backend: Backend) -> None:
    centers = jnp.asarray([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

    def model(x: Array) -> Array:
        return -jnp.sum((x[:, None] - centers) ** 2, axis=2)

    figure = viz.decision_boundary(model, limits=((-1, 2), (-1, 2)), resolution=61, title="three centers")
    assert {"three centers", "class 0", "class 1", "class 2"} <= set(texts(figure))
    x, y = lines_of(figure).T
    # The boundaries between the cells of three points: two half-lines and the diagonal.
    distance = np.minimum(np.minimum(abs(x - 0.5), abs(y - 0.5)), abs(x - y))
    assert distance.max() < 0.03


def test_boundary_is_the_same_in_small_batches(backend: Backend) -> None:
    model = nn.MLP(2, [4, 3], key=random.key(0))
    small, large = (
        viz.decision_boundary(model, limits=((-1, 1), (-1, 1)), resolution=COARSE, batch_size=size) for size in (7, 999)
    )
    np.testing.assert_allclose(lines_of(small), lines_of(large), atol=1e-4)


def test_boundary_is_evaluated_where_the_model_is_and_records_nothing() -> None:
    seen = []
    with gradkit.use_backend("strict"):
        linear = nn.Linear(2, 2, key=random.key(0))

    class Watching(nn.Module):
        linear: nn.Linear

        def __call__(self, x: Array) -> Array:
            scores = self.linear(x)
            seen.append((x.device.backend, scores.requires_grad))
            return scores

    viz.decision_boundary(Watching(linear), limits=((-1, 1), (-1, 1)), resolution=COARSE)
    assert seen == [("strict", False)]


def test_regions_and_points_of_classes_differ_without_their_colours() -> None:
    points = np.asarray([[np.cos(0.5 * k), np.sin(0.5 * k)] for k in range(12)], np.float32)
    figure = viz.decision_boundary(
        lambda x: -jnp.sum((x[:, None] - points) ** 2, 2), (points, np.arange(12)), resolution=60
    )
    regions = [each for each in figure.axes[0].collections if getattr(each, "filled", False)]
    assert len({tuple(each.hatches) for each in regions}) == 12  # type: ignore[attr-defined]
    scattered = [each for each in figure.axes[0].collections if type(each).__name__ == "PathCollection"]
    assert len({each.get_paths()[0].vertices.tobytes() for each in scattered}) == 12
    for region, each in zip(regions, scattered, strict=True):
        # Inside or at its edge a point is much darker than the ground, or much lighter.
        ground = grey(region.get_facecolor()[0])
        assert max(abs(grey(colour[0]) - ground) for colour in (each.get_facecolor(), each.get_edgecolor())) > 0.4


@pytest.mark.parametrize(
    "x, y, words",
    [
        (np.zeros((4, 3)), np.zeros(4, int), r"x must have shape \(n, 2\)"),
        (np.zeros((0, 2)), np.zeros(0, int), "at least one point"),
        (np.zeros((4, 2)), np.zeros(3, int), r"y must have shape \(4,\), one label for each row of x, got \(3,\)"),
        (
            np.zeros((2, 2)),
            np.asarray([0, 2]),
            r"the model's 2 classes, numbered 0 to 1, or -1 and 1; got the values 0, 2",
        ),
        (np.zeros((2, 2)), np.asarray([0.5, 1.0]), "got the values 0.5, 1.0"),
        (np.asarray([[0, np.nan]]), np.asarray([0]), "x has values that are NaN or infinite"),
    ],
)
def test_boundary_says_what_is_wrong_with_the_data(x: Any, y: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        viz.decision_boundary(half_planes, (x, y), resolution=COARSE)


def test_boundary_says_what_is_wrong_with_the_model(backend: Backend) -> None:
    limits = ((0, 1), (0, 1))
    with pytest.raises(
        ShapeError, match=r"does not take two inputs, points of shape \(.*, 2\): MLP: expected x of shape"
    ):
        viz.decision_boundary(nn.MLP(3, [4, 2], key=random.key(0)), limits=limits)
    with pytest.raises(ShapeError, match="does not take two inputs"):
        viz.decision_boundary(lambda x: x @ jnp.ones((3, 2)), limits=limits)
    with pytest.raises(ValueError, match=r"must return a score or a row of scores for each point"):
        viz.decision_boundary(lambda x: jnp.sum(x), limits=limits)
    with pytest.raises(ValueError, match="scores are NaN or infinite everywhere"):
        viz.decision_boundary(lambda x: x * math.nan, limits=limits)


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "without data, limits must say which part"),
        ({"limits": ((1, 0), (0, 1))}, "left < right"),
        ({"limits": ((0, math.inf), (0, 1))}, "finite"),
        ({"limits": ((0, 1), (0, 1)), "resolution": 1}, "resolution must be at least 2"),
        ({"limits": ((0, 1), (0, 1)), "classes": ["one"]}, "classes must name the model's 2 classes"),
    ],
)
def test_boundary_says_what_is_wrong_with_an_option(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        viz.decision_boundary(half_planes, **options)


# The descent on a contour of the loss


def bowl(w: Array) -> Array:
    return (w[0] - 1) ** 2 + 4 * (w[1] + 1) ** 2


def steps_on_bowl(count: int = 12) -> list[Array]:
    path = [jnp.asarray([-1.0, 1.0])]
    for _ in range(count):
        path.append(path[-1] - 0.1 * gradkit.grad(bowl)(path[-1]))
    return path


def test_landscape_over_two_parameters_is_the_function(backend: Backend) -> None:
    ground = viz.landscape(bowl, steps_on_bowl(), resolution=COARSE, batch_size=50)
    across, up = np.meshgrid(ground.across, ground.up)
    np.testing.assert_allclose(ground.losses, (across - 1) ** 2 + 4 * (up + 1) ** 2, rtol=1e-4, atol=1e-5)
    assert ground.labels == ("parameter[0]", "parameter[1]")
    path = steps_on_bowl()
    np.testing.assert_allclose(ground.project(path), np.stack([np.asarray(w) for w in path]), atol=1e-5)


def test_descent_is_drawn_on_the_contour(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "descent.png"
    figure = viz.descent(bowl, steps_on_bowl(), resolution=20, unit="m²", path=path)
    check_picture(
        figure, path, "bowl of 2 parameters: 12 steps of descent", "parameter[0]", "start", "last step", "bowl (m²)"
    )
    line = figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_xydata(), np.stack([np.asarray(w) for w in steps_on_bowl()]), atol=1e-5)
    assert len([text for text in texts(figure) if text in {"0.2", "0.5", "1", "2", "5", "10", "20"}]) >= 4


@cache
def trained(backend: str) -> tuple[Callable[[Any], Array], list[nn.MLP]]:
    """Return a loss, and a small network after each of some steps."""
    x, y = data.moons(30, key=random.key(0))

    def cross_entropy(model: nn.MLP) -> Array:
        return nn.softmax_cross_entropy(model(x), y)

    models = [nn.MLP(2, [4, 2], key=random.key(1))]
    for _ in range(8):
        slope = gradkit.grad(cross_entropy)(models[-1])
        models.append(tree.map(lambda p, g: p - 0.5 * g, models[-1], slope))
    return cross_entropy, models


def flat(model: Any) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(leaf.detach()).ravel() for leaf in tree.leaves(model)]).astype(np.float64)


def test_principal_directions_are_those_of_scikit_learn(backend: Backend) -> None:
    loss, models = trained(backend.name)
    decomposition = pytest.importorskip("sklearn.decomposition")
    components = decomposition.PCA(2).fit(np.stack([flat(model) for model in models]))
    ground = viz.landscape(loss, models, resolution=2)
    for direction, expected in zip((ground.plane.first, ground.plane.second), components.components_, strict=True):
        assert abs(flat(direction) @ expected) == pytest.approx(1, abs=1e-3)
    first = components.explained_variance_ratio_[0]
    assert ground.labels[0] == f"principal component 1 ({100 * first:.1f} % of the path's variance)"
    offsets = np.stack([flat(model) for model in models]) - flat(models[-1])
    np.testing.assert_allclose(np.abs(ground.path), np.abs(offsets @ components.components_.T), atol=2e-3)


def test_landscape_at_points_of_the_plane_is_the_loss_there(backend: Backend) -> None:
    loss, models = trained(backend.name)
    for along in ("principal", "random", ("layers[0].weight[0, 1]", "layers[1].bias[1]"), (models[0], models[1])):
        ground = viz.landscape(loss, models, along=along, limits=((-0.5, 0.5), (-1, 1)), resolution=3)
        first, second = (tree.unflatten(tree.structure(models[0]), each) for each in ground.plane[1:3])
        a, b = -0.5 - ground.plane.origin[0], 1 - ground.plane.origin[1]
        moved = tree.map(lambda p, d, e, a=a, b=b: p + a * d + b * e, models[-1], first, second)
        np.testing.assert_allclose(ground.losses[2, 0], loss(moved).item(), rtol=1e-4)
        if along in ("principal", "random"):
            np.testing.assert_allclose(ground.losses[1, 1], loss(models[-1]).item(), rtol=1e-4)


def test_random_directions_have_the_norms_of_the_filters(backend: Backend) -> None:
    loss, models = trained(backend.name)
    ground = viz.landscape(loss, models[-1], resolution=2)
    for direction in (ground.plane.first, ground.plane.second):
        for d, p in zip(direction, tree.leaves(models[-1]), strict=True):
            if p.ndim == 1:
                assert not np.asarray(d).any()
            else:
                norms = (np.linalg.norm(np.asarray(each.detach()), axis=0) for each in (d, p))
                np.testing.assert_allclose(*norms, rtol=1e-5)
    assert not np.allclose(flat(ground.plane.first), flat(ground.plane.second))


@pytest.mark.parametrize("along", ["principal", "random", ("layers[0].weight[0, 1]", "layers[1].bias[1]")])
def test_descent_of_a_network_is_drawn(tmp_path: Path, backend: Backend, along: Any) -> None:
    path = tmp_path / "descent.png"
    loss, models = trained(backend.name)
    figure = viz.descent(loss, models, along=along, resolution=15, path=path)
    label = {"principal": "principal component 2 (", "random": "random direction 2 (filter norms)"}
    check_picture(figure, path, "cross entropy of MLP 2-4-2, tanh: 8 steps of descent", "cross entropy", "start")
    assert figure.axes[0].get_ylabel().startswith(label.get(along, "layers[1].bias[1]"))


def test_loss_around_one_model_is_drawn(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "around.png"
    loss, models = trained(backend.name)
    figure = viz.descent(loss, models[-1], resolution=15, path=path)
    check_picture(figure, path, "cross entropy of MLP 2-4-2, tanh: around one point", "the model")
    assert "start" not in texts(figure)


def test_a_loss_that_asks_for_values_is_evaluated_all_the_same(backend: Backend) -> None:
    def loss(w: Array) -> Array:
        return bowl(w) if float(w[0]) > 0 else bowl(w) * 2

    ground = viz.landscape(loss, jnp.asarray([0.0, 0.0]), resolution=3)
    across, up = np.meshgrid(ground.across, ground.up)
    np.testing.assert_allclose(
        ground.losses, np.where(across > 0, 1, 2) * ((across - 1) ** 2 + 4 * (up + 1) ** 2), rtol=1e-5
    )


def test_places_are_evaluated_together_as_far_as_memory_goes(backend: Backend) -> None:
    seen = []

    def loss(w: Array) -> Array:
        seen.append(w.shape)
        return jnp.sum((w[0] + jnp.zeros(size)) ** 2)

    counts = {}
    for size in (1, 2**16):
        seen.clear()
        viz.landscape(loss, jnp.asarray([0.5, 0.0]), resolution=3)
        counts[size] = len(seen)
    # Once to see what it makes; then all 9 places, or four at a time.
    assert counts == {1: 1 + 1, 2**16: 1 + 3}


def test_a_loss_that_is_not_finite_everywhere_is_drawn_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log.png"
    figure = viz.descent(lambda w: jnp.log(w[0]) + w[1] ** 2, jnp.asarray([0.1, 0.0]), path=path)
    check_picture(figure, path, "loss of 2 parameters: around one point")


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"points": []}, ValueError, "points is empty"),
        ({"points": {"n": 3}}, ValueError, "no parameters of floating dtype, got dict"),
        ({"points": [np.zeros(2, "f4"), np.zeros(3, "f4")]}, TreeMismatchError, "has shape (2,) in point 0, and (3,)"),
        ({"points": [{"w": np.zeros(2, "f4")}, np.zeros(2, "f4")]}, TreeMismatchError, "point 0 has another structure"),
        ({"along": "principle"}, ValueError, "along must be 'principal', 'random', the names of two parameters"),
        ({"along": ("parameter[0]", "parameter[2]")}, ValueError, "has no single number there"),
        ({"along": ("parameter[0]", "w[1]")}, ValueError, "has no parameter of that name. Name a leaf and an index"),
        ({"along": ("parameter[0]", "parameter[-2]")}, ValueError, "two different parameters"),
        ({"along": (np.ones(2, "f4"), np.ones(2, "f4"))}, ValueError, "are parallel, or one of them is 0"),
        (
            {"along": "principal", "points": np.zeros(2, "f4")},
            ValueError,
            "at least 3 points that are not on a straight",
        ),
        ({"limits": ((0, 0), (0, 1))}, ValueError, "left < right"),
        ({"resolution": 1}, ValueError, "resolution must be at least 2"),
        ({"loss": lambda w: w * math.nan}, ShapeError, "loss must return one number, got shape (2,)"),
        ({"loss": lambda w: w[0] * math.nan}, ValueError, "NaN or infinite everywhere on the plane"),
        ({"points": [np.asarray([np.inf, 0], "f4")] * 2}, ValueError, "the path has points that are NaN or infinite"),
    ],
)
def test_descent_says_what_is_wrong(options: dict[str, Any], error: type[Exception], words: str) -> None:
    options = {"loss": bowl, "points": steps_on_bowl(3), "resolution": 4, **options}
    with pytest.raises(error) as caught:
        viz.descent(**options)
    assert words in str(caught.value)


# The lecture's engine


def test_networks_of_values_are_drawn_as_those_of_arrays_are(tmp_path: Path) -> None:
    numbers = gradkit.scalar.MLP(2, [4, 1], key=random.key(0))
    arrays = nn.MLP(
        2, [4, 1], final_activation="tanh", initializer="lecture", bias_initializer="lecture", key=random.key(0)
    )
    x, y = data.moons(20, key=random.key(1))
    path = tmp_path / "values.png"
    figure = viz.decision_boundary(numbers, (x, 2 * y - 1), resolution=COARSE, path=path)
    expected = viz.decision_boundary(arrays, (x, 2 * y - 1), resolution=COARSE)
    np.testing.assert_allclose(lines_of(figure), lines_of(expected), atol=1e-4)
    title = expected.axes[0].get_title().replace("MLP 2-4-1, tanh", "MLP of 17 parameters")
    check_picture(figure, path, title, "class -1", "class 1")
    with pytest.raises(ShapeError, match=r"does not take two inputs, .*: Neuron: expected a list of 3 inputs, got 2"):
        viz.decision_boundary(gradkit.scalar.Neuron(3), (x, y))


def test_descent_of_the_lecture_is_drawn(tmp_path: Path) -> None:
    n = gradkit.scalar.MLP(3, [2, 1], key=random.key(0))
    samples = [([2.0, 3.0, -1.0], 1.0), ([3.0, -1.0, 0.5], -1.0)]

    def loss(n: Any) -> Any:
        return sum((n(x) - y) ** 2 for x, y in samples)

    steps = [copy.deepcopy(n)]
    for _ in range(5):
        n.zero_grad()
        loss(n).backward()
        for p in n.parameters():
            p.data += -0.05 * p.grad
        steps.append(copy.deepcopy(n))
    path = tmp_path / "lecture.png"
    figure = viz.descent(loss, steps, resolution=5, path=path)
    check_picture(figure, path, "loss of MLP of 11 parameters: 5 steps of descent")
    ground = viz.landscape(loss, steps, along=("layers[0].neurons[1].w[2]", "layers[1].neurons[0].b"), resolution=3)
    places = [(s.layers[0].neurons[1].w[2].data, s.layers[1].neurons[0].b.data) for s in steps]
    np.testing.assert_allclose(ground.path, places, atol=1e-6)
    moved = copy.deepcopy(n)
    moved.layers[0].neurons[1].w[2].data, moved.layers[1].neurons[0].b.data = ground.across[0], ground.up[2]
    assert ground.losses[2, 0] == pytest.approx(loss(moved).data, rel=1e-5)
    with pytest.raises(
        ValueError, match=r"Name a leaf and an index in it, such as 'layers\[0\]\.neurons\[0\]\.w\[0\]'"
    ):
        viz.landscape(loss, steps, along=("layers[0].neurons[1].w[2]", "layers[1].b"))


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
