"""Pictures of decision boundaries: where the line is, how it is evaluated, and what is said of bad data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seen_pictures import (
    COARSE,
    check_picture,
    half_planes,
    lines_of,
    texts,
)

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, data, nn, random, viz
from gradkit.backend import Backend
from gradkit.errors import ShapeError


def grey(colour: Any) -> float:
    """Return how light a colour is, from 0 to 1."""
    return float(np.dot(colour[:3], [0.299, 0.587, 0.114]))


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
