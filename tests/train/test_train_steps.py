"""The step of training: pure, and by either face of the optimizer the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit import Array, nn, optim, random
from gradkit.train import training_step


def loss(model: Any, x: Array, y: Array) -> Array:
    return nn.softmax_cross_entropy(model(x), y)


def problem(xp: Any) -> tuple[nn.MLP, Array, Array]:
    x = random.normal(random.key(0), (12, 3))
    return nn.MLP(3, [5, 4], key=random.key(1)), x, xp.arange(12) % 4


def leaves(tree: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(gradkit.device_get(leaf)) for leaf in gradkit.tree.leaves(tree)]


def test_steps_are_those_of_the_lectures_loop(xp: Any) -> None:
    model, x, y = problem(xp)
    optimizer = optim.SGD(optim.exponential_decay(0.5, 2, 0.5), momentum=0.9, nesterov=True, weight_decay=0.01)
    step, state, stepped = training_step(loss, optimizer), optimizer.init(model), model
    losses = []
    for _ in range(5):
        stepped, state, value = step(stepped, state, x, y)
        losses.append(float(value))
    expected = []
    for _ in range(5):
        model.zero_grad()
        value = loss(model, x, y)
        value.backward()
        optimizer.step(model)
        expected.append(value.item())
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    assert state.step == 5
    for found, wanted in zip(leaves(stepped), leaves(model), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_a_step_changes_neither_model_nor_state(xp: Any) -> None:
    model, x, y = problem(xp)
    optimizer = optim.SGD(0.5, momentum=0.9)
    step = training_step(loss, optimizer)
    model, state, _ = step(model, optimizer.init(model), x, y)
    before = leaves((model, state))
    new, new_state, _ = step(model, state, x, y)
    for found, wanted in zip(leaves((model, state)), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert any((a != b).any() for a, b in zip(leaves(new), leaves(model), strict=True))
    assert (state.step, new_state.step) == (1, 2)


def test_auxiliary_data_comes_beside_the_loss(xp: Any) -> None:
    model, x, y = problem(xp)
    optimizer = optim.SGD(0.0)

    def with_logits(model: Any, x: Array, y: Array) -> tuple[Array, Array]:
        logits = model(x)
        return nn.softmax_cross_entropy(logits, y), logits

    step = training_step(with_logits, optimizer, has_aux=True)
    _, _, (value, logits) = step(model, optimizer.init(model), x, y)
    np.testing.assert_allclose(float(value), float(loss(model, x, y)), rtol=1e-6)
    np.testing.assert_allclose(*map(np.asarray, map(gradkit.device_get, (logits, model(x)))), rtol=1e-6)


def test_a_loss_that_is_no_function_or_no_scalar_is_an_error(xp: Any) -> None:
    model, x, y = problem(xp)
    optimizer = optim.SGD(0.1)
    with pytest.raises(TypeError, match="callable"):
        training_step("mse", optimizer)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="scalar"):
        training_step(lambda model, x, y: model(x), optimizer)(model, optimizer.init(model), x, y)
