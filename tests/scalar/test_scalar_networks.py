"""Networks of Values: the lecture's code as written, micrograd's network and demo, and the transforms on models."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from references import jaxs

import gradkit
from gradkit import Value, nn, scalar

xs = [
    [2.0, 3.0, -1.0],
    [3.0, -1.0, 0.5],
    [0.5, 1.0, 1.0],
    [1.0, 1.0, -1.0],
]
ys = [1.0, -1.0, -1.0, 1.0]

# The lecture's notes, as written

CLASSES = """
class Neuron:
    def __init__(self, nIn):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nIn)]
        self.b = Value(random.uniform(-1, 1))
    def __call__(self, x):
        # calculate w * x + b
        act = sum(xi * wi for xi, wi in zip(self.w, x))
        out = act.tanh()
        return out

class Layer:
    def __init__(self, nIn, nOut):
        self.neurons = [Neuron(nIn) for _ in range(nOut)]
    def __call__(self, x):
        outs = [n(x) for n in self.neurons]
        return outs

class MLP:
    def __init__(self, nIn, nOut):
        sz = [nIn] + nOut # list with n inputs, nOut is list with outputs per level
        self.layers = [Layer(sz[i], sz[i+1]) for i in range(len(nOut))]
    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

x = [2.0, 3.0, -1.0]
n = MLP(3, [4, 4, 1])
n(x)
"""
LOOP = """
#gradient descent
# reset all gradients to zero
for k in range(20):

    # forward pass
    ypred = [n(x) for x in xs]
    loss = sum((yi - predi)**2 for yi, predi in zip(ys, ypred))

    # backward pass
    for p in n.parameters():
        p.grad = 0.0 #need to reset since otherwise backwards accumulates => huge step size
    loss.backward()

    # update
    for p in n.parameters():
        p.data += -0.05 * p.grad #step size 0.05
"""


def test_the_classes_of_the_notes_run_as_written() -> None:
    names: dict[str, Any] = {"Value": Value, "random": random.Random(0)}
    exec(CLASSES, names)
    (out,) = names["n"](names["x"])
    out.backward()
    first = names["n"].layers[0].neurons[0]
    assert -1 < out.data < 1
    assert all(w.grad != 0.0 for w in first.w)


def test_the_loop_of_the_notes_runs_as_written_and_trains() -> None:
    n = scalar.MLP(3, [4, 4, 1], key=gradkit.random.key(0))
    names: dict[str, Any] = {"n": n, "xs": xs, "ys": ys}
    exec(LOOP, names)
    first = names["loss"].data
    for _ in range(10):
        exec(LOOP, names)
    assert names["loss"].data < 0.1 * first
    assert [round(pred.data) for pred in names["ypred"]] == ys


def test_the_loop_of_the_notes_is_that_of_an_mlp_of_arrays(xp: Any) -> None:
    key = gradkit.random.key(1)
    of_values = scalar.MLP(3, [4, 4, 1], key=key)
    of_arrays = nn.MLP(
        3, [4, 4, 1], final_activation="tanh", initializer="lecture", bias_initializer="lecture", key=key
    )
    assert [p.data for p in of_values.parameters()] == pytest.approx(by_neuron(of_arrays), rel=1e-6)
    names: dict[str, Any] = {"n": of_values, "xs": xs, "ys": ys}
    exec(LOOP, names)
    arrays: dict[str, Any] = {"n": of_arrays, "xs": xs, "ys": ys}
    exec(LOOP, arrays)
    assert names["loss"].data == pytest.approx(arrays["loss"].item(), rel=1e-4)
    assert [p.data for p in of_values.parameters()] == pytest.approx(by_neuron(of_arrays), rel=1e-3, abs=1e-5)


def by_neuron(model: nn.MLP) -> list[float]:
    """Return the parameters in the order of `scalar.MLP.parameters`."""
    found: list[float] = []
    for layer in model.layers:
        for weights, bias in zip(layer.weight.T.tolist(), layer.bias.tolist(), strict=True):
            found += [*weights, bias]
    return found


# The networks


def test_a_neuron_is_the_lectures() -> None:
    n = scalar.Neuron(2)
    n.w[0].data, n.w[1].data, n.b.data = -3.0, 1.0, 6.8813735870195432
    out = n([2.0, 0.0])
    out.backward()
    assert out.data == pytest.approx(0.7071067811865476, abs=1e-12)
    assert [p.grad for p in n.parameters()] == pytest.approx([1.0, 0.0, 0.5], abs=1e-12)


def test_a_layer_of_one_neuron_gives_the_value_itself() -> None:
    assert isinstance(scalar.Layer(2, 1)([1.0, 2.0]), Value)
    assert [type(out) for out in scalar.Layer(2, 3)([1.0, 2.0])] == [Value] * 3


def test_the_seed_decides_the_weights() -> None:
    drawn = []
    for seed in (0, 0, 1):
        gradkit.random.seed(seed)
        drawn.append([p.data for p in scalar.MLP(3, [4, 1]).parameters()])
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(-1 <= number < 1 for number in drawn[0])
    assert len(drawn[0]) == 3 * 4 + 4 + 4 + 1


def test_the_weights_do_not_depend_on_the_backend_in_use(xp: Any) -> None:
    key = gradkit.random.key(3)
    ours = [p.data for p in scalar.MLP(2, [3, 1], key=key).parameters()]
    with gradkit.use_backend("numpy"):
        assert ours == [p.data for p in scalar.MLP(2, [3, 1], key=gradkit.random.key(3)).parameters()]


def test_reprs_say_what_was_made() -> None:
    assert repr(scalar.MLP(2, [16, 16, 1], "relu", "identity")) == (
        "MLP(2, [16, 16, 1], activation='relu', final_activation='identity')"
    )
    assert repr(scalar.Layer(2, 3)) == "Layer(2, 3, activation='tanh')"
    assert repr(scalar.Neuron(2, "sigmoid")) == "Neuron(2, activation='sigmoid')"


def test_zero_grad_resets_every_parameter() -> None:
    model = scalar.MLP(2, [2, 1])
    model([1.0, -1.0]).backward()
    assert any(p.grad for p in model.parameters())
    model.zero_grad()
    assert not any(p.grad for p in model.parameters())


@pytest.mark.parametrize("sizes", [[], "44", 3])
def test_an_mlp_without_layer_sizes_is_an_error(sizes: Any) -> None:
    with pytest.raises(ValueError, match="MLP: nOut must be a list of at least one layer size"):
        scalar.MLP(3, sizes)


@pytest.mark.parametrize("sizes", [(0, [1]), (3, [0]), (-1, [1]), (2.5, [1])])
def test_a_size_that_is_no_positive_integer_is_an_error(sizes: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"n_in|n_out"):
        scalar.MLP(*sizes)


def test_an_unknown_activation_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Unknown activation 'tanhh'.*Did you mean 'tanh'\?"):
        scalar.Neuron(2, "tanhh")


def test_inputs_of_another_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="Neuron: expected a list of 3 inputs, got 2"):
        scalar.MLP(3, [2, 1])([1.0, 2.0])


# The transforms on models


def loss(model: scalar.MLP) -> Any:
    return sum((yi - model(x)) ** 2 for x, yi in zip(xs, ys, strict=True))


def jax_loss(parameters: Any) -> Any:
    """Compute the same in JAX, of the parameters in a list."""
    sizes, rows, start = [(3, 2), (2, 1)], J.asarray(xs), 0
    for n_in, n_out in sizes:
        block = J.stack(parameters[start : start + (n_in + 1) * n_out]).reshape(n_out, n_in + 1)
        rows = J.tanh(rows @ block[:, :-1].T + block[:, -1])
        start += (n_in + 1) * n_out
    return J.sum((J.asarray(ys) - rows[:, 0]) ** 2)


def jax_gradient(parameters: list[float]) -> Any:
    return jax.jit(jax.value_and_grad(jax_loss))([J.float64(p) for p in parameters])


def jax_hessian(parameters: list[float]) -> Any:
    return jax.jit(jax.hessian(jax_loss))([J.float64(p) for p in parameters])


@pytest.fixture
def model() -> scalar.MLP:
    return scalar.MLP(3, [2, 1], key=gradkit.random.key(5))


def test_grad_of_a_model_has_the_models_shape_and_jaxs_numbers(model: scalar.MLP) -> None:
    value, gradient = gradkit.value_and_grad(loss)(model)
    loss(model).backward()
    with jax.enable_x64(True):
        expected, slopes = jaxs(jax_gradient, [p.data for p in model.parameters()])
    assert isinstance(gradient, scalar.MLP)
    assert value.data == pytest.approx(float(expected), rel=1e-12)
    assert [p.data for p in gradient.parameters()] == pytest.approx(list(map(float, slopes)), rel=1e-9)
    assert [p.data for p in gradient.parameters()] == pytest.approx([p.grad for p in model.parameters()], rel=1e-9)


def test_grad_leaves_the_models_own_gradients_alone(model: scalar.MLP) -> None:
    gradkit.grad(loss)(model)
    assert [p.grad for p in model.parameters()] == [0.0] * len(model.parameters())


def test_hessian_of_a_model_is_jaxs(model: scalar.MLP) -> None:
    rows = gradkit.hessian(loss)(model).parameters()
    ours = [[p.data for p in row.parameters()] for row in rows]
    with jax.enable_x64(True):
        theirs = jaxs(jax_hessian, [p.data for p in model.parameters()])
    np.testing.assert_allclose(ours, np.asarray(theirs, dtype=np.float64), rtol=1e-8, atol=1e-10)


def test_jvp_along_a_model_is_the_product_with_its_gradient(model: scalar.MLP) -> None:
    ones = gradkit.tree.map(lambda p: p * 0 + 1, model)
    value, tangent = gradkit.jvp(loss, (model,), (ones,))
    gradient = gradkit.grad(loss)(model)
    assert value.data == pytest.approx(loss(model).data)
    assert tangent.data == pytest.approx(sum(p.data for p in gradient.parameters()))


def test_a_step_by_tree_functions_is_the_lectures_step(model: scalar.MLP) -> None:
    by_hand = copy.deepcopy(model)
    stepped = gradkit.tree.map(lambda p, g: p - 0.05 * g, model, gradkit.grad(loss)(model))
    loss(by_hand).backward()
    for p in by_hand.parameters():
        p.data += -0.05 * p.grad
    assert [p.data for p in stepped.parameters()] == pytest.approx([p.data for p in by_hand.parameters()])
    assert all(p.operation is None for p in stepped.parameters())


def test_sgd_updates_a_model_of_values(model: scalar.MLP) -> None:
    optimizer = gradkit.optim.SGD(0.05)
    new, _ = optimizer.update(model, gradkit.grad(loss)(model), optimizer.init(model))
    stepped = gradkit.tree.map(lambda p, g: p - 0.05 * g, model, gradkit.grad(loss)(model))
    assert [p.data for p in new.parameters()] == pytest.approx([p.data for p in stepped.parameters()], rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}])
def test_an_optimizers_step_moves_values_as_its_update_does(model: scalar.MLP, options: dict[str, Any]) -> None:
    pure, stepping = gradkit.optim.SGD(0.05, **options), gradkit.optim.SGD(0.05, **options)
    updated, state = copy.deepcopy(model), pure.init(model)
    for _ in range(3):
        updated, state = pure.update(updated, gradkit.grad(loss)(updated), state)
        model.zero_grad()
        loss(model).backward()
        stepping.step(model)
    assert [p.data for p in model.parameters()] == pytest.approx([p.data for p in updated.parameters()], rel=1e-12)
    assert all(type(p.data) is float for p in model.parameters())


def test_a_model_of_values_is_saved_and_loaded(model: scalar.MLP, tmp_path: Path) -> None:
    gradkit.save(tmp_path / "model.safetensors", model)
    loaded = gradkit.load(tmp_path / "model.safetensors", scalar.MLP(3, [2, 1]))
    assert [p.data for p in loaded.parameters()] == [p.data for p in model.parameters()]
    assert loaded(xs[0]).data == model(xs[0]).data


def test_what_tree_functions_leave_alone_is_the_same_value(model: scalar.MLP) -> None:
    model.parameters()[0].label = "w"
    same = gradkit.tree.map(lambda p: p, model)
    assert all(a is b for a, b in zip(model.parameters(), same.parameters(), strict=True))


def test_a_value_that_a_function_closes_over_is_recorded_like_any_other() -> None:
    w = Value(3.0)
    inner = w * 2
    out = gradkit.value_and_grad(lambda x: x * inner)(Value(2.0))
    assert [v.data for v in out] == [12.0, 6.0]
    array = gradkit.numpy.exp(inner)
    array.backward()
    assert w.grad == pytest.approx(2 * np.exp(6.0))


def test_a_value_is_an_array_to_the_functions_of_arrays() -> None:
    w = Value(0.5)
    out = gradkit.numpy.tanh(gradkit.numpy.asarray(w * 2)) * w
    assert out.device.backend == "python"
    out.backward()
    other = Value(0.5)
    ((other * 2).tanh() * other).backward()
    assert w.grad == pytest.approx(other.grad)


def test_a_subclass_of_value_computes_like_a_value() -> None:
    class Named(Value):
        pass

    x, y = Named(2.0), Value(3.0)
    out = x * x + x * y + y * x + x.tanh() * 2
    out.backward()
    assert out.data == pytest.approx(16.0 + 2 * np.tanh(2.0))
    assert (x.grad, y.grad) == (pytest.approx(10.0 + 2 / np.cosh(2.0) ** 2), 4.0)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: gradkit.jit(gradkit.grad(f)),
        lambda f: gradkit.grad(gradkit.checkpoint(f)),
        lambda f: lambda x: gradkit.linearize(f, x)[1](Value(1.0)),
        gradkit.jacfwd,
        gradkit.jacrev,
    ],
)
def test_every_transform_of_one_number_gives_its_derivative(transform: Any) -> None:
    found = transform(lambda x: x.tanh() * x)(Value(2.0))
    assert isinstance(found, Value)
    assert found.data == pytest.approx(np.tanh(2.0) + 2 / np.cosh(2.0) ** 2)


def test_check_grads_takes_functions_of_values() -> None:
    gradkit.testing.check_grads(lambda v: (v[0] * v[1]).tanh(), ([Value(0.3), Value(-1.5)],), order=2)


def test_jacobians_have_the_structures_of_the_result_and_of_the_arguments() -> None:
    def function(v: Any) -> Any:
        return {"product": v[0] * v[1] ** 3, "first": v[0]}

    for transform in (gradkit.jacfwd, gradkit.jacrev):
        found = transform(function)([Value(2.0), Value(3.0)])
        assert {k: [v.data for v in row] for k, row in found.items()} == {"product": [27.0, 54.0], "first": [1.0, 0.0]}
    value, pullback = gradkit.vjp(function, [Value(2.0), Value(3.0)])
    ((a, b),) = pullback({"product": Value(1.0), "first": Value(10.0)})
    assert (value["product"].data, a.data, b.data) == (54.0, 37.0, 54.0)


def test_under_a_transform_there_is_no_assigning_and_no_backward() -> None:
    def assigns(x: Any) -> Any:
        x.data = 1.0
        return x

    with pytest.raises(ValueError, match="data: this value is an argument or a result of the function"):
        gradkit.grad(assigns)(Value(2.0))
    with pytest.raises(RuntimeError, match="backward: this array is being differentiated by a transform"):
        gradkit.grad(lambda x: x.backward())(Value(2.0))


# micrograd


@pytest.fixture
def micrograd_nn() -> Any:
    return pytest.importorskip("micrograd.nn")


def test_micrograds_own_network_runs_on_our_values(micrograd_nn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> list[float]:
        random.seed(1337)
        model = micrograd_nn.MLP(3, [4, 4, 1])
        losses = []
        for _ in range(10):
            total = sum((model(x) - yi) ** 2 for x, yi in zip(xs, ys, strict=True))
            model.zero_grad()
            total.backward()
            for p in model.parameters():
                p.data -= 0.01 * p.grad
            losses.append(total.data)
        return losses

    theirs = trained()
    monkeypatch.setattr(micrograd_nn, "Value", Value)
    ours = trained()
    assert type(ours[0]) is float
    assert ours == pytest.approx(theirs, rel=1e-9)
