"""What SGD, and the guard of a training run, say where they are given what does not fit."""

from __future__ import annotations

from typing import Any

import pytest

import gradkit.numpy as jnp
from gradkit import nn, optim, random, tree
from gradkit.errors import NonFiniteLossError, ShapeError, TreeMismatchError


def mlp() -> nn.MLP:
    return nn.MLP(3, [4, 2], key=random.key(0))


def parameters() -> dict[str, Any]:
    return {"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)}


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: optim.SGD("0.1"), TypeError, ["SGD", "learning_rate", "schedule", "'0.1'"]),
        (lambda: optim.SGD(True), TypeError, ["SGD", "learning_rate", "True"]),
        (lambda: optim.SGD(jnp.ones(2)), TypeError, ["SGD", "learning_rate", "Array([1., 1.]"]),
        (lambda: optim.SGD(-0.1), ValueError, ["SGD", "learning_rate", "at least 0", "-0.1"]),
        (lambda: optim.SGD(float("nan")), ValueError, ["SGD", "learning_rate", "finite", "nan"]),
        (lambda: optim.SGD(0.1, momentum=1.0), ValueError, ["SGD", "momentum", "below 1", "1.0"]),
        (lambda: optim.SGD(0.1, momentum="0.9"), ValueError, ["SGD", "momentum", "'0.9'"]),
        (lambda: optim.SGD(0.1, nesterov=True), ValueError, ["SGD", "nesterov", "momentum above 0"]),
        (lambda: optim.SGD(0.1, weight_decay=-1), ValueError, ["SGD", "weight_decay", "at least 0", "-1"]),
        (lambda: optim.SGD(0.1, clip_norm=0), ValueError, ["SGD", "clip_norm", "positive", "None", "0"]),
        (lambda: optim.SGD(0.1).step(mlp()), RuntimeError, ["SGD.step", "no parameter has a gradient", "backward()"]),
        (lambda: optim.SGD(0.1).step([1.0]), TypeError, ["SGD.step", "model", "[1.0]"]),
        (lambda: optim.SGD(0.1).step([]), TypeError, ["SGD.step", "model", "[]"]),
        (lambda: optim.SGD(0.1).step(3), TypeError, ["SGD.step", "model", "3"]),
        (
            lambda: optim.SGD(lambda step: "fast").update(jnp.ones(2), jnp.ones(2), optim.SGDState(0)),
            TypeError,
            ["SGD", "learning_rate", "'fast'"],
        ),
        (lambda: optim.global_norm({}), ValueError, ["global_norm", "grads"]),
    ],
)
def test_bad_arguments_say_what_came_and_what_to_do(call: Any, kind: type, words: list[str], xp: Any) -> None:
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(
    "grads, kind, words",
    [
        ({"w": (3, 2)}, TreeMismatchError, ["SGD.update", "structure", "first at ['b']"]),
        ({"w": (3, 2), "b": (2,), "c": ()}, TreeMismatchError, ["structure", "first at ['c']"]),
        ({"w": (3, 2), "b": [(2,)]}, TreeMismatchError, ["structure", "first at ['b']"]),
        ({"w": (3, 2), "b": (2, 1)}, ShapeError, ["SGD", "(2, 1)", "['b']", "(2,)"]),
        ({"w": (2, 3), "b": (2,)}, ShapeError, ["SGD", "(2, 3)", "['w']", "(3, 2)"]),
        ({"w": (), "b": (2,)}, ShapeError, ["SGD", "()", "['w']", "(3, 2)"]),
    ],
)
def test_gradients_that_do_not_fit_are_an_error(momentum: float, grads: Any, kind: type, words: Any, xp: Any) -> None:
    opt, params = optim.SGD(0.1, momentum), parameters()
    wrong = tree.map(jnp.ones, grads, is_leaf=lambda node: isinstance(node, tuple))
    with pytest.raises(kind) as caught:
        opt.update(params, wrong, opt.init(params))
    for word in words:
        assert word in str(caught.value)


def test_a_state_that_does_not_fit_is_an_error(xp: Any) -> None:
    opt, params, model = optim.SGD(0.1, momentum=0.9), parameters(), mlp()
    with pytest.raises(TreeMismatchError, match="velocit"):
        opt.update(params, params, optim.SGDState(0))
    for velocity in (None, [jnp.zeros(3)], [jnp.zeros(2)] * 4):
        with pytest.raises(ShapeError, match=r"SGD\.restore: the velocities must have the parameters' shapes"):
            opt.restore(model, optim.SGDState(0, velocity))


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step_and_the_checkpoint(xp: Any) -> None:
    assert optim.check_finite(jnp.asarray(0.5), step=3) == 0.5
    for value in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(NonFiniteLossError) as caught:
            optim.check_finite(jnp.asarray(value), 41, "run/last.safetensors")
        for word in (str(value), "step 41", "run/last.safetensors", "smaller learning rate", "clip_norm"):
            assert word in str(caught.value)
    with pytest.raises(NonFiniteLossError, match="No checkpoint was written"):
        optim.check_finite(float("nan"), 1)
    with pytest.raises(
        NonFiniteLossError, match=r"at step 0, before any update\. Look for .* the data and in the initial"
    ):
        optim.check_finite(float("nan"), 0)
    with pytest.raises(TypeError, match="scalar"):
        optim.check_finite(jnp.ones(2), 0)
