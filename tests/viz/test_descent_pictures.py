"""Pictures of the descent on a contour of the loss: the plane, the loss on it, and what is wrong with a path."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seen_pictures import (
    COARSE,
    bowl,
    check_picture,
    steps_on_bowl,
    texts,
    trained,
)

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, random, tree, viz
from gradkit.backend import Backend
from gradkit.errors import ShapeError, TreeMismatchError


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
