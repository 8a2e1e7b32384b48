"""Modules are frozen pytrees of parameters; layers take lists, raw arrays and batches; activations are JAX's."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import pickle  # noqa: TID251 - modules can be pickled; no file is read so
import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optree
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, nn, random, tree
from gradkit.errors import ShapeError, TreeMismatchError
from gradkit.pytrees.containers import NAMESPACE
from gradkit.testing import check_grads

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


def mlp(**options: Any) -> nn.MLP:
    return nn.MLP(3, [4, 2], key=random.key(0), **options)


def loss(model: Any) -> Array:
    return nn.mse(model(jnp.asarray(X)), jnp.asarray(Y))


class Block(nn.Module):
    """A residual block: a module in a module, and a setting."""

    inner: nn.Linear
    scale: Array
    power: int = nn.static(default=1)

    def __call__(self, x: Any) -> Array:
        return x + self.scale * self.inner(x) ** self.power


class Zoo(nn.Module):
    """Modules and arrays in every kind of container."""

    blocks: list[Block]
    heads: dict[str, nn.Module]
    offsets: list[Array]
    named: dict[str, Array]
    missing: Array | None = None

    def __call__(self, x: Any) -> Array:
        for block in self.blocks:
            x = block(x)
        return self.heads["out"](x + self.offsets[0]) * self.named["gain"]


def zoo() -> Zoo:
    keys = random.split(random.key(1), 3)
    blocks = [Block(nn.Linear(3, 3, keys[i]), jnp.asarray(0.5), power=i + 1) for i in range(2)]
    heads: dict[str, nn.Module] = {"out": nn.Linear(3, 2, keys[2])}
    return Zoo(blocks, heads, [jnp.zeros(3)], {"gain": jnp.asarray([1.0, 2.0])}).requires_grad_()


MODELS: list[Callable[[], Any]] = [
    mlp,
    zoo,
    lambda: nn.Sequential([nn.Linear(3, 4, random.key(2)), "tanh", nn.Linear(4, 2, random.key(3), bias=False)]),
]
every_model = pytest.mark.parametrize("make", MODELS, ids=["MLP", "Zoo", "Sequential"])


# Modules as pytrees


@every_model
def test_the_gradient_of_a_model_is_a_model_of_the_same_structure(make: Callable[[], Any], xp: Any) -> None:
    model = make()
    gradient = gradkit.grad(loss)(model)
    assert type(gradient) is type(model)
    assert tree.structure(gradient) == tree.structure(model)
    for parameter, slope in zip(tree.leaves(model), tree.leaves(gradient), strict=True):
        assert (slope.shape, slope.dtype, slope.device) == (parameter.shape, parameter.dtype, parameter.device)


@every_model
def test_the_gradient_of_a_model_is_what_backward_accumulates(make: Callable[[], Any], xp: Any) -> None:
    model = make()
    gradient = gradkit.grad(loss)(model)
    loss(model).backward()
    for parameter, slope in zip(tree.leaves(model), tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(host(Array(parameter.grad)), host(slope), rtol=1e-6, atol=1e-7)


@every_model
def test_the_gradient_of_a_model_is_right_to_second_order(make: Callable[[], Any], xp: Any) -> None:
    check_grads(loss, (make(),))


def test_the_gradient_of_an_mlp_equals_jax(xp: Any) -> None:
    model = mlp()

    def theirs(flat: list[Any]) -> Any:
        hidden = jax.numpy.tanh(X @ flat[0] + flat[1])
        return jax.numpy.mean((hidden @ flat[2] + flat[3] - Y) ** 2)

    expected = jax.grad(theirs)([host(leaf) for leaf in tree.leaves(model)])
    for slope, right in zip(tree.leaves(gradkit.grad(loss)(model)), expected, strict=True):
        np.testing.assert_allclose(host(slope), right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("number", [60, pytest.param(1000, marks=pytest.mark.long)])
@every_model
def test_many_pure_updates_keep_no_history_and_no_memory(make: Callable[[], Any], number: int, backend: Any) -> None:
    model = make()
    gradient = gradkit.grad(loss)(model)

    def steps(count: int, model: Any) -> Any:
        for _ in range(count):
            model = tree.map(lambda p, g: p - 1e-4 * g, model, gradient)
        return model

    tracemalloc.start()
    model = steps(10, model)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    model = steps(number, model)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 500 * number  # the nodes of a step take more
    assert not any(leaf.requires_grad for leaf in tree.leaves(model))
    assert loss(model)._node is None


def test_requires_grad_switches_backward_on_after_a_pure_update(xp: Any) -> None:
    model = mlp()
    model = tree.map(lambda p, g: p - 0.1 * g, model, gradkit.grad(loss)(model))
    with pytest.raises(RuntimeError, match=r"model\.requires_grad_\(\)"):
        loss(model).backward()
    assert model.requires_grad_() is model
    loss(model).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_requires_grad_inside_a_transform_is_an_error(xp: Any) -> None:
    with pytest.raises(ValueError, match="being differentiated by a transform"):
        gradkit.grad(lambda model: loss(model.requires_grad_()))(mlp())


def test_paths_name_a_parameter_as_python_would(xp: Any) -> None:
    def paths(model: Any) -> list[str]:
        return [tree.keystr(path).lstrip(".") for path, _ in tree.leaves_with_path(model)]

    assert paths(mlp()) == ["layers[0].weight", "layers[0].bias", "layers[1].weight", "layers[1].bias"]
    found = paths(zoo())
    assert found[:3] == ["blocks[0].inner.weight", "blocks[0].inner.bias", "blocks[0].scale"]
    assert found[-4:] == ["heads['out'].weight", "heads['out'].bias", "offsets[0]", "named['gain']"]
    for model in (mlp(), zoo()):
        for path, leaf in zip(paths(model), tree.leaves(model), strict=True):
            assert eval(f"model.{path}", {"model": model}) is leaf
        for accessor, leaf in tree.leaves_with_path(model):
            assert functools.reduce(lambda inner, step: step(inner), accessor, model) is leaf


def test_static_fields_are_structure_and_not_leaves(xp: Any) -> None:
    def block(power: int) -> Block:
        return Block(nn.Linear(3, 3, random.key(0)), jnp.asarray(0.5), power=power)

    assert len(tree.leaves(block(2))) == 3
    assert tree.structure(block(2)) == tree.structure(block(2))
    assert tree.structure(block(2)) != tree.structure(block(3))
    assert tree.map(lambda p: p, block(2)).power == 2
    with pytest.raises(TreeMismatchError, match="structure"):
        tree.map(lambda p, q: p + q, block(2), block(3))


@every_model
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_equal_and_share_nothing(make: Callable[[], Any], copied: Any, xp: Any) -> None:
    model = make()
    twin = copied(model)
    assert tree.structure(twin) == tree.structure(model)
    for one, two in zip(tree.leaves(model), tree.leaves(twin), strict=True):
        assert two.requires_grad
        np.testing.assert_array_equal(host(one), host(two))
        two.data += 1
    assert float(loss(model)) != float(loss(twin))
    # A copied parameter is a parameter: the transforms do not record it on the tape.
    value, _ = gradkit.value_and_grad(loss)(twin)
    assert not value.requires_grad


class NarrowMLP(nn.MLP):
    """An MLP by another name: another structure."""


def test_an_mlp_knows_the_structure_that_optree_finds(xp: Any) -> None:
    model = mlp()
    narrow = NarrowMLP(3, [4, 2], key=random.key(0))
    pairs = tree.map(lambda p: (p, [p]), model)
    for one in (model, copy.deepcopy(model), narrow, copy.copy(narrow), pairs, tree.map(lambda p: None, model)):
        for _ in range(2):
            leaves, structure = tree.flatten(one)
            found, expected = optree.tree_flatten(one, namespace=NAMESPACE)
            assert structure.spec == expected
            assert all(a is b for a, b in zip(leaves, found, strict=True))
            leaves.clear()  # the list is the caller's
    assert tree.structure(model) != tree.structure(narrow)
    assert len(tree.flatten(model, is_leaf=lambda x: x is model)[0]) == 1


def test_a_shallow_copy_shares_its_parameters(xp: Any) -> None:
    model = zoo()
    assert all(a is b for a, b in zip(tree.leaves(model), tree.leaves(copy.copy(model)), strict=True))


def test_a_parameter_used_twice_is_listed_once_and_stays_shared_in_a_deep_copy(xp: Any) -> None:
    layer = nn.Linear(3, 3, random.key(0))
    for model in (nn.Sequential([layer, layer]), copy.deepcopy(nn.Sequential([layer, layer]))):
        assert len(tree.leaves(model)) == 4
        assert [p.shape for p in model.parameters()] == [(3, 3), (3,)]
        model(jnp.asarray(X)).sum().backward()
        assert model.layers[0].weight.grad is model.layers[1].weight.grad


def test_parameters_are_listed_under_transforms(xp: Any) -> None:
    model = nn.MLP(2, [3, 1], key=random.key(0))

    def penalty(model: nn.MLP) -> Array:
        return sum((parameter**2).sum() for parameter in model.parameters())  # type: ignore[return-value]

    expected = float(penalty(model))
    assert float(gradkit.jit(penalty)(model)) == pytest.approx(expected, rel=1e-6)
    pair = tree.map(lambda parameter: jnp.stack([parameter, 2 * parameter]), model)
    np.testing.assert_allclose(host(gradkit.vmap(penalty)(pair)), [expected, 4 * expected], rtol=1e-6)
    slope = gradkit.jit(gradkit.grad(penalty))(model).layers[0].weight
    np.testing.assert_allclose(host(slope), 2 * host(model.layers[0].weight.detach()), rtol=1e-6)


def test_parameters_are_floating_arrays_and_zero_grad_resets_them(xp: Any) -> None:
    class Counted(nn.Module):
        weight: Array
        count: Array

    model = Counted(jnp.asarray([1.0, 2.0]), jnp.asarray(3)).requires_grad_()
    assert [p.dtype for p in model.parameters()] == [np.float32]
    (model.weight * model.count).sum().backward()
    assert host(Array(model.weight.grad)).tolist() == [3.0, 3.0]
    model.zero_grad()
    assert model.weight.grad is None


@pytest.mark.parametrize("name", ["inner", "power", "new"])
def test_assigning_or_deleting_a_field_is_an_error(name: str, xp: Any) -> None:
    block = zoo().blocks[0]
    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        setattr(block, name, 1)
    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        delattr(block, name)
    model: Any = mlp()
    with pytest.raises(dataclasses.FrozenInstanceError, match="layers"):
        model.layers = ()


def test_a_field_can_be_replaced_in_a_new_module(xp: Any) -> None:
    block = zoo().blocks[0]
    other = dataclasses.replace(block, power=3)
    assert (block.power, other.power) == (1, 3)
    assert other.inner is block.inner


def test_the_table_counts_the_parameters_of_each_layer(backend: Any) -> None:
    lines = repr(zoo()).splitlines()
    assert lines[0] == f"Zoo (float32 on {backend.name}:0)"
    rows = {line.split()[0]: line.split()[-1] for line in lines[1:]}
    assert rows == {
        "layer": "parameters",
        "Zoo": "5",
        "blocks[0]": "1",
        "blocks[0].inner": "12",
        "blocks[1]": "1",
        "blocks[1].inner": "12",
        "heads['out']": "8",
        "total": "39",
    }


def test_the_table_of_a_chain_shows_activations_and_models_inside(xp: Any) -> None:
    model = nn.Sequential([mlp(activation="relu"), "softmax", nn.Linear(2, 1000, random.key(0))])
    table = [line.split() for line in repr(model).splitlines()[2:]]
    assert table == [
        ["layers[0].layers[0]", "weight", "(3,", "4),", "bias", "(4,)", "relu", "16"],
        ["layers[0].layers[1]", "weight", "(4,", "2),", "bias", "(2,)", "identity", "10"],
        ["layers[1]", "softmax", "0"],
        ["layers[2]", "weight", "(2,", "1000),", "bias", "(1000,)", "3,000"],
        ["total", "3,026"],
    ]


# Layers


def test_a_linear_layer_is_a_product_and_a_sum(xp: Any) -> None:
    layer = nn.Linear(3, 2, random.key(0), bias_initializer="normal")
    right = X @ host(layer.weight) + host(layer.bias)
    np.testing.assert_allclose(host(layer(jnp.asarray(X))), right, rtol=1e-6, atol=1e-6)
    without = nn.Linear(3, 2, random.key(0), bias=False)
    assert without.bias is None
    np.testing.assert_allclose(host(without(X)), X @ host(without.weight), rtol=1e-6, atol=1e-6)


@every_model
@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (0,)])
def test_leading_axes_are_batches(make: Callable[[], Any], lead: tuple[int, ...], xp: Any) -> None:
    model = make()
    x = np.random.default_rng(2).normal(size=(*lead, 3)).astype(np.float32)
    out = model(jnp.asarray(x))
    assert out.shape == (*lead, 2)
    rows = [host(model(jnp.asarray(row))) for row in x.reshape(-1, 3)]
    np.testing.assert_allclose(host(out).reshape(-1, 2), np.reshape(rows, (-1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [mlp, lambda: nn.Linear(3, 2, random.key(0))])
def test_lists_raw_arrays_and_arrays_give_the_same(make: Callable[[], Any], backend: Any) -> None:
    model = make()
    expected = host(model(jnp.asarray(X)))
    for x in (X.tolist(), tuple(X.tolist()), X, jnp.asarray(X).data):
        result = model(x)
        assert type(result) is Array
        assert result.device.backend == backend.name
        np.testing.assert_array_equal(host(result), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_and_results_have_the_dtype_that_was_asked_for(dtype: str, xp: Any) -> None:
    for model in (mlp(dtype=dtype), nn.Linear(3, 2, random.key(0), dtype=dtype)):
        assert {str(p.dtype) for p in model.parameters()} == {dtype}
        assert str(model([1.0, 2.0, 3.0]).dtype) == dtype
    assert str(mlp()(jnp.asarray([1, 2, 3])).dtype) == "float32"


def test_the_layers_of_an_mlp_share_its_parameters(xp: Any) -> None:
    model = mlp(final_activation="sigmoid")
    assert [layer.weight for layer in model.layers] == [p for p in model.parameters() if p.ndim == 2]
    x = model.layers[1](jnp.tanh(model.layers[0](jnp.asarray(X))))
    np.testing.assert_allclose(host(nn.sigmoid(x)), host(model(jnp.asarray(X))), rtol=1e-6)
    assert (model.activation, model.final_activation) == ("tanh", "sigmoid")


def test_the_same_key_gives_the_same_model_and_seed_gives_keys(backend: Any) -> None:
    first, second = mlp(), mlp()
    assert all((host(a) == host(b)).all() for a, b in zip(first.parameters(), second.parameters(), strict=True))

    def seeded() -> list[np.ndarray]:
        random.seed(3)
        return [host(nn.Linear(3, 2).weight), host(nn.MLP(3, [2]).layers[0].weight)]

    for a, b in zip(seeded(), seeded(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (seeded()[0] != seeded()[1]).any()


@pytest.mark.parametrize("given_as", ["relu", nn.relu])
def test_an_activation_by_name_or_as_a_function_gives_the_same_model(given_as: Any, xp: Any) -> None:
    # He's variance, 2 / 1000: Glorot's would be 1 / 1000.
    model = nn.MLP(1000, [1000], given_as, key=random.key(0))
    assert abs(host(model.layers[0].weight).var() - 2 / 1000) < 1e-4
    assert host(nn.Sequential([given_as])(jnp.asarray([-1.0, 2.0]))).tolist() == [0, 2]


# Bad input


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: mlp()([1.0, 2.0]), ShapeError, ["MLP", "x", "(..., 3)", "(2,)", "n_in=3"]),
        (lambda: mlp()(jnp.zeros((3, 4))), ShapeError, ["MLP", "x", "(..., 3)", "(3, 4)", "n_in=3"]),
        (lambda: mlp()(1.0), ShapeError, ["MLP", "x", "(..., 3)", "()"]),
        (lambda: nn.Linear(3, 2, random.key(0))(X.T), ShapeError, ["Linear", "x", "(..., 3)", "(3, 5)"]),
        (lambda: nn.Linear(3, 2, random.key(0), bias=False)(X.T), ShapeError, ["Linear", "(..., 3)", "(3, 5)"]),
        (lambda: mlp()("abc"), TypeError, ["MLP", "arrays", "'abc'", "asarray"]),
        (lambda: mlp(activation="rleu"), ValueError, ["activation", "'rleu'", "Known: celu", "'relu'?"]),
        (lambda: mlp(final_activation="tahn"), ValueError, ["final activation", "'tahn'", "Known: ", "'tanh'?"]),
        (lambda: mlp(activation=3), TypeError, ["activation", "name or a function", "3"]),
        (lambda: mlp(final_activation=["relu"]), TypeError, ["final_activation", "name or a function", "['relu']"]),
        (lambda: mlp(activation=mlp()), TypeError, ["MLP", "activation", "got a MLP", "not be trained", "Sequential"]),
        (lambda: mlp(initializer="he_norml"), ValueError, ["initializer", "'he_norml'", "Known: ", "'he_normal'?"]),
        (lambda: mlp(bias_initializer=0.5), TypeError, ["initializer", "name or a function", "0.5"]),
        (lambda: nn.Linear(3, 2, initializer=["x"]), TypeError, ["initializer", "name or a function", "['x']"]),
        (lambda: nn.MLP(3, []), ValueError, ["MLP", "n_outs", "at least one", "[4, 4, 1]", "[]"]),
        (lambda: nn.MLP(3, 4), ValueError, ["MLP", "n_outs", "list", "got 4"]),
        (lambda: nn.MLP(3, "44"), ValueError, ["MLP", "n_outs", "list", "'44'"]),
        (lambda: nn.MLP(3, [4, 0]), ValueError, ["MLP", "n_outs[1]", "at least 1", "got 0"]),
        (lambda: nn.MLP(3, [4, 1.5]), TypeError, ["MLP", "n_outs[1]", "whole number", "1.5"]),
        (lambda: nn.MLP(0, [4]), ValueError, ["MLP", "n_in", "at least 1", "got 0"]),
        (lambda: nn.Linear(-1, 4), ValueError, ["Linear", "n_in", "at least 1", "got -1"]),
        (lambda: nn.Linear(2, 4.0), TypeError, ["Linear", "n_out", "whole number", "4.0"]),
        (lambda: nn.Linear(2, True), TypeError, ["Linear", "n_out", "whole number", "True"]),
        (lambda: nn.Linear(2, 4, key=0), TypeError, ["key", "0", "gradkit.random.key"]),
        (lambda: nn.Linear(2, 4, dtype="int32"), ValueError, ["Linear", "dtype", "floating", "int32", "float32"]),
        (lambda: mlp(dtype="bool", initializer="ones"), ValueError, ["MLP", "dtype", "floating", "bool"]),
        (lambda: nn.Sequential(mlp()), TypeError, ["Sequential", "layers", "list", "got MLP"]),
        (lambda: nn.Sequential("relu"), TypeError, ["Sequential", "layers", "list", "got str"]),
        (lambda: nn.Sequential([mlp(), "rleu"]), ValueError, ["layers[1]", "'rleu'", "'relu'?"]),
        (lambda: nn.Sequential([3]), TypeError, ["layers[0]", "name or a function", "got 3"]),
        (lambda: nn.Module()(1), TypeError, ["Module", "__call__"]),
    ],
)
def test_bad_arguments_say_what_came_and_what_to_do(call: Any, kind: type, words: list[str], xp: Any) -> None:
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_a_subclass_of_an_mlp_with_fields_of_its_own_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"Scaled: .* fields of its own \(scale\).*Module with the MLP in one field"):

        class Scaled(nn.MLP):
            scale: Array


def test_a_subclass_of_an_mlp_may_add_methods(xp: Any) -> None:
    class Classifier(nn.MLP):
        def __call__(self, x: Any) -> Array:
            return nn.softmax(super().__call__(x))

    model = Classifier(3, [4, 2], key=random.key(0))
    assert type(gradkit.grad(loss)(model)) is Classifier
    np.testing.assert_allclose(host(model(X)).sum(-1), 1, rtol=1e-6)
