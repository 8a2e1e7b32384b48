"""SGD is optax's and its formulas; its two faces take the same steps, bit for bit, and go on where they stopped."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradkit
import gradkit.numpy as jnp
from gradkit import Array, nn, optim, random, tree
from gradkit.testing import check_grads
from gradkit.train import ClipGradients

generator = np.random.default_rng(0)
PARAMS = {"w": generator.normal(size=(3, 2)).astype(np.float32), "b": generator.normal(size=2).astype(np.float32)}
GRADS = [jax.tree.map(lambda p: generator.normal(size=p.shape).astype(np.float32), PARAMS) for _ in range(6)]
X = generator.normal(size=(5, 3)).astype(np.float32)
Y = generator.normal(size=(5, 2)).astype(np.float32)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1, "clip_norm": 1.0},
    {"clip_norm": 0.7},
    {"clip_norm": 1e6, "momentum": 0.9},
]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


def arrays(tree_: Any) -> Any:
    return jax.tree.map(jnp.asarray, tree_)


def mlp() -> nn.MLP:
    return nn.MLP(3, [4, 2], key=random.key(0))


def loss(model: Any) -> Array:
    return nn.mse(model(jnp.asarray(X)), jnp.asarray(Y))


def run(opt: optim.SGD, params: Any, grads: list[Any], state: optim.SGDState | None = None) -> Any:
    state = opt.init(params) if state is None else state
    for gradient in grads:
        params, state = opt.update(params, gradient, state)
    return params, state


def assert_equal(first: Any, second: Any) -> None:
    for one, two in zip(tree.leaves(first), tree.leaves(second), strict=True):
        np.testing.assert_array_equal(host(one), host(two))


def formula(params: Any, grads: list[Any], rate: Callable[[int], float], options: dict[str, Any]) -> Any:
    """Take the steps in float64, as the docstring of SGD and PyTorch's documentation write them."""
    momentum, decay = options.get("momentum", 0.0), options.get("weight_decay", 0.0)
    p = {name: value.astype(np.float64) for name, value in params.items()}
    v = {name: np.zeros_like(value) for name, value in p.items()}
    for step, gradient in enumerate(grads):
        norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradient.values()))
        scale = min(1.0, options.get("clip_norm", np.inf) / norm)
        for name in p:
            g = gradient[name] * scale + decay * p[name]
            v[name] = momentum * v[name] + g
            p[name] = p[name] - rate(step) * (g + momentum * v[name] if options.get("nesterov") else v[name])
    return p


# The pure face


@every_option
def test_steps_are_the_formula(options: dict[str, Any], xp: Any) -> None:
    params, state = run(optim.SGD(0.1, **options), arrays(PARAMS), [arrays(g) for g in GRADS])
    expected = formula(PARAMS, GRADS, lambda _: 0.1, options)
    for name in PARAMS:
        np.testing.assert_allclose(host(params[name]), expected[name], rtol=1e-5, atol=1e-6)
    assert state.step == len(GRADS)


@pytest.mark.parametrize("clip", [None, 0.7, 1e6])
@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("scheduled", [False, True])
def test_steps_are_those_of_optax(
    scheduled: bool, momentum: float, nesterov: bool, clip: float | None, xp: Any
) -> None:
    ours = optim.SGD(optim.cosine_decay(0.1, 5) if scheduled else 0.1, momentum, nesterov, clip_norm=clip)
    rate: Any = optax.cosine_decay_schedule(0.1, 5) if scheduled else 0.1
    plain = optax.sgd(rate, momentum or None, nesterov)
    theirs = plain if clip is None else optax.chain(optax.clip_by_global_norm(clip), plain)
    params, state = PARAMS, theirs.init(PARAMS)
    for gradient in GRADS:
        updates, state = theirs.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    got, _ = run(ours, arrays(PARAMS), [arrays(g) for g in GRADS])
    for name in PARAMS:
        np.testing.assert_allclose(host(got[name]), params[name], rtol=1e-5, atol=1e-6)


@settings(max_examples=25)
@given(st.floats(0, 1), st.floats(0, 0.99), st.booleans(), st.floats(0, 1), st.none() | st.floats(0.01, 100))
def test_any_numbers_give_the_steps_of_the_formula(
    rate: float, momentum: float, nesterov: bool, decay: float, clip: float | None
) -> None:
    options = {"momentum": momentum, "nesterov": nesterov and momentum > 0, "weight_decay": decay}
    params, _ = run(optim.SGD(rate, clip_norm=clip, **options), arrays(PARAMS), [arrays(g) for g in GRADS])  # type: ignore[arg-type]
    expected = formula(PARAMS, GRADS, lambda _: rate, options | ({} if clip is None else {"clip_norm": clip}))
    for name in PARAMS:
        np.testing.assert_allclose(host(params[name]), expected[name], rtol=1e-4, atol=1e-5)


def test_the_schedule_is_asked_for_the_step_that_the_state_counts(xp: Any) -> None:
    schedule = optim.piecewise_constant(1.0, {1: 0.5, 2: 0.1})
    for first in (0, jnp.asarray(0)):
        params, state = run(optim.SGD(schedule), jnp.asarray(0.0), [jnp.asarray(1.0)] * 3, optim.SGDState(first))
        assert float(params) == pytest.approx(-1.55)
        assert state.step == 3
        assert type(state.step) is type(first)


@pytest.mark.parametrize("make", [optim.SGD, lambda rate, **o: ClipGradients(0.5).optimizer(optim.SGD(rate, **o))])
def test_an_optimizer_with_another_rate_differs_in_that_alone(make: Any, xp: Any) -> None:
    options: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    gradients = [jnp.asarray([1.0, -2.0])] * 3
    expected, _ = run(make(0.25, **options), jnp.asarray([1.0, 2.0]), gradients)
    of_schedule = make(optim.exponential_decay(1.0, 3, 0.5), **options)
    for rate in (0.25, jnp.asarray(0.25)):
        found, state = run(of_schedule.with_rate(rate), jnp.asarray([1.0, 2.0]), gradients)
        np.testing.assert_array_equal(host(found), host(expected))
        assert state.step == 3
    assert callable(of_schedule.learning_rate)


def test_the_global_norm_is_that_of_optax(xp: Any) -> None:
    for gradient in GRADS:
        np.testing.assert_allclose(float(optim.global_norm(arrays(gradient))), optax.tree.norm(gradient), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_global_norm_is_right_where_squares_overflow_or_underflow(dtype: str, xp: Any) -> None:
    limits = np.finfo(dtype)
    for scale in (float(limits.max) ** 0.9, 1.0, float(limits.tiny) ** 0.9):
        gradient = {
            "w": xp.asarray(np.asarray([3 * scale, 0.0], dtype)),
            "b": xp.asarray(np.asarray(-4 * scale, dtype)),
        }
        assert float(optim.global_norm(gradient)) == pytest.approx(5 * scale, rel=1e-6)
        slopes = gradkit.grad(optim.global_norm)(gradient)
        np.testing.assert_allclose(gradkit.device_get(slopes["w"]), [0.6, 0.0], rtol=1e-6)
        assert float(slopes["b"]) == pytest.approx(-0.8, rel=1e-6)
    # A part that is all zeros is no end of the norm's smoothness.
    bend = gradkit.hessian(lambda b: optim.global_norm([xp.asarray([3.0, 4.0]), b]))(xp.zeros(2))
    np.testing.assert_allclose(gradkit.device_get(bend), np.eye(2) / 5, rtol=1e-6)


def test_gradients_of_zero_are_clipped_to_zero(xp: Any) -> None:
    zeros = tree.map(jnp.zeros_like, arrays(PARAMS))
    params, _ = run(optim.SGD(0.1, clip_norm=1.0), arrays(PARAMS), [zeros])
    assert_equal(params, arrays(PARAMS))

    def after(gradient: Any) -> Array:
        return run(optim.SGD(0.1, clip_norm=1.0), jnp.zeros(2), [gradient])[0].sum()

    np.testing.assert_allclose(host(gradkit.grad(after)(jnp.zeros(2))), [-0.1, -0.1], rtol=1e-6)


@every_option
def test_an_update_changes_nothing_in_place(options: dict[str, Any], xp: Any) -> None:
    opt, params, grads = optim.SGD(0.1, **options), arrays(PARAMS), arrays(GRADS[0])
    state = run(opt, params, [grads])[1]
    before = [host(leaf).copy() for leaf in tree.leaves((params, grads, state))]
    new, new_state = opt.update(params, grads, state)
    for leaf, value in zip(tree.leaves((params, grads, state)), before, strict=True):
        np.testing.assert_array_equal(host(leaf), value)
    old = [id(leaf.data) for leaf in tree.leaves((params, grads, state)) if type(leaf) is Array]
    assert not any(id(leaf.data) in old for leaf in tree.leaves((new, new_state)) if type(leaf) is Array)


@every_option
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "rate",
    [
        lambda: 0.1,
        lambda: np.float64(0.1),
        lambda: jnp.asarray(0.1, dtype="float32"),
        lambda: jnp.asarray(0.1, dtype="float64"),
        lambda: lambda step: 0.1 * np.exp(-np.float64(step)),
        lambda: lambda step: jnp.asarray(0.1, dtype="float64") / (1 + step),
    ],
    ids=["float", "NumPy", "float32", "float64", "schedule-NumPy", "schedule-Array"],
)
def test_parameters_and_velocities_keep_their_dtype(options: Any, dtype: str, rate: Any, xp: Any) -> None:
    check_dtypes(optim.SGD(rate(), **options), dtype)


@every_option
@pytest.mark.skip_backend("strict", reason="the array API standard has no float16")
def test_half_precision_is_kept(options: dict[str, Any], xp: Any) -> None:
    for rate in (0.1, jnp.asarray(0.1), lambda step: jnp.asarray(0.1) / (1 + step)):
        check_dtypes(optim.SGD(rate, **options), "float16")


def check_dtypes(opt: optim.SGD, dtype: str) -> None:
    params = {name: jnp.asarray(value.astype(dtype)) for name, value in PARAMS.items()}
    new, state = run(opt, params, [params, params])
    for leaf in tree.leaves((new, state.velocity)):
        assert str(leaf.dtype) == dtype


@pytest.mark.skip_backend("strict", reason="the array API standard has no float16")
def test_the_norm_of_half_precision_gradients_does_not_overflow(xp: Any) -> None:
    gradient = jnp.asarray([3000.0, 4000.0], dtype="float16")
    assert float(optim.global_norm(gradient)) == 5000
    new, _ = run(optim.SGD(1.0, clip_norm=1.0), jnp.zeros_like(gradient), [gradient])
    np.testing.assert_allclose(host(new), [-0.6, -0.8], rtol=1e-3)


def test_a_tree_of_several_dtypes_keeps_each(xp: Any) -> None:
    params = {"a": jnp.asarray([1.0], dtype="float32"), "b": jnp.asarray([1.0], dtype="float64")}
    new, state = run(optim.SGD(0.1, momentum=0.9, clip_norm=1.0), params, [params])
    for leaves in (new, state.velocity):
        assert {name: str(leaf.dtype) for name, leaf in leaves.items()} == {"a": "float32", "b": "float64"}


@pytest.mark.parametrize("second", ["float32", "float64"])
def test_updates_keep_no_history_of_parameters_that_the_tape_follows(second: str, xp: Any) -> None:
    params = {"a": jnp.asarray([1.0]), "b": jnp.asarray([1.0], dtype=second)}
    for leaf in params.values():
        leaf.requires_grad = True
    new, state = run(optim.SGD(0.1, momentum=0.9, weight_decay=0.1), params, [tree.map(jnp.ones_like, params)] * 2)
    assert all(leaf._node is None for leaf in tree.leaves((new, state.velocity)))


def test_raw_arrays_and_numbers_are_parameters_too(backend: Any) -> None:
    raw = {"w": jnp.asarray([1.0, 2.0]).data, "x": jnp.asarray(3.0)}
    grads = {"w": jnp.asarray([1.0, 1.0]).data, "x": 1.0}
    new, _ = run(optim.SGD(0.5, momentum=0.5), raw, [grads])
    assert host(new["w"]).tolist() == [0.5, 1.5]
    assert float(new["x"]) == 2.5
    assert new["w"].device.backend == backend.name


# Differentiation through an update


@every_option
def test_an_update_is_differentiable_in_everything_it_is_given(options: dict[str, Any], xp: Any) -> None:
    def after(rate: Any, params: Any, grads: Any) -> Array:
        opt = optim.SGD(rate, **options)
        params, state = run(opt, params, [grads, tree.map(jnp.sin, params)])
        leaves = tree.leaves((params, state.velocity))
        return sum(((leaf**2).sum() for leaf in leaves), start=jnp.asarray(0.0))

    check_grads(after, (jnp.asarray(0.1), arrays(PARAMS), arrays(GRADS[0])))


@pytest.mark.parametrize("as_schedule", [False, True])
def test_the_derivative_of_a_trained_loss_in_the_rate_and_the_start_is_that_of_jax(as_schedule: bool, xp: Any) -> None:
    def ours(rate: Any, w: Any) -> Array:
        opt = optim.SGD((lambda step: rate) if as_schedule else rate, momentum=0.9)

        def inner(w: Any) -> Array:
            return ((jnp.asarray(X) @ w - jnp.asarray(Y)) ** 2).mean()

        params, state = w, opt.init(w)
        for _ in range(3):
            params, state = opt.update(params, gradkit.grad(inner)(params), state)
        return inner(params)

    def theirs(rate: Any, w: Any) -> Any:
        def inner(w: Any) -> Any:
            return ((X @ w - Y) ** 2).mean()

        velocity = jax.numpy.zeros_like(w)
        for _ in range(3):
            velocity = 0.9 * velocity + jax.grad(inner)(w)
            w = w - rate * velocity
        return inner(w)

    got = gradkit.grad(ours, argnums=(0, 1))(jnp.asarray(0.1), jnp.asarray(PARAMS["w"]))
    expected = jax.grad(theirs, argnums=(0, 1))(0.1, PARAMS["w"])
    for slope, right in zip(got, expected, strict=True):
        assert abs(right).max() > 1e-3
        np.testing.assert_allclose(host(slope), right, rtol=1e-4, atol=1e-6)


# The lecture's face


@every_option
@pytest.mark.parametrize("rate", [0.1, optim.exponential_decay(0.1, 2, 0.5)], ids=["number", "schedule"])
def test_the_two_faces_take_the_same_steps_bit_for_bit(options: dict[str, Any], rate: Any, xp: Any) -> None:
    opt, pure, lecture = optim.SGD(rate, **options), mlp(), mlp()
    state = opt.init(pure)
    for _ in range(5):
        pure, state = opt.update(pure, gradkit.grad(loss)(pure), state)
        lecture.zero_grad()
        loss(lecture).backward()
        opt.step(lecture)
        assert_equal(pure, lecture)
    kept = opt.state_of(lecture)
    assert kept.step == state.step == 5
    if options.get("momentum"):
        assert_equal(kept.velocity, tree.leaves(state.velocity))
    assert all(parameter.requires_grad for parameter in lecture.parameters())


def train(opt: optim.SGD, model: Any, steps: int) -> None:
    for _ in range(steps):
        model.zero_grad()
        loss(model).backward()
        opt.step(model)


@every_option
def test_a_restored_state_goes_on_bit_for_bit(options: dict[str, Any], xp: Any) -> None:
    schedule = optim.inverse_time_decay(0.1, 2)
    whole, first = mlp(), mlp()
    train(optim.SGD(schedule, **options), whole, 6)
    opt = optim.SGD(schedule, **options)
    train(opt, first, 3)
    second = mlp()
    for new, old in zip(second.parameters(), first.parameters(), strict=True):
        new.data = old.data.copy() if hasattr(old.data, "copy") else jnp.asarray(host(old)).data
    other = optim.SGD(schedule, **options)
    other.restore(second, opt.state_of(first))
    train(other, second, 3)
    assert_equal(whole, second)
    assert other.state_of(second).step == 6


def test_a_state_with_arrays_for_numbers_can_be_restored(xp: Any) -> None:
    opt, model = optim.SGD(0.1, momentum=0.9), mlp()
    train(opt, model, 2)
    state = opt.state_of(model)
    opt.restore(model, optim.SGDState(jnp.asarray(7), tuple(state.velocity)))
    assert opt.state_of(model).step == 7
    train(opt, model, 1)
    assert opt.state_of(model).step == 8


def test_lists_of_parameters_that_overlap_have_states_of_their_own(xp: Any) -> None:
    shared, left, right = (jnp.zeros(size) for size in (2, 3, 4))
    opt = optim.SGD(0.1, momentum=0.5)
    for parameter in (shared, left, right):
        parameter.requires_grad = True

    def step(*params: Array) -> None:
        for parameter in params:
            parameter.grad = None
            parameter.sum().backward()
        opt.step(list(params))

    step(shared, left)
    step(shared, right)
    step(shared, left)
    step(left)
    counts = [opt.state_of(list(params)).step for params in ((shared, left), (shared, right), (left,), (right,))]
    assert counts == [2, 1, 1, 0]
    # Velocities 1 and 1.5 with the list of two, and 1 with each of the other lists.
    np.testing.assert_allclose(host(shared), -0.1 * (1 + 1 + 1.5), rtol=1e-6)
    np.testing.assert_allclose(host(left), -0.1 * (1 + 1.5 + 1), rtol=1e-6)
    np.testing.assert_allclose(host(right), -0.1, rtol=1e-6)


def test_one_optimizer_keeps_the_states_of_two_models_apart_and_forgets_dead_ones(xp: Any) -> None:
    opt, one, two = optim.SGD(0.1, momentum=0.9), mlp(), mlp()
    train(opt, one, 3)
    train(opt, two, 1)
    assert (opt.state_of(one).step, opt.state_of(two).step) == (3, 1)
    del one, two
    gc.collect()
    assert not opt._states


def test_a_list_of_parameters_is_stepped_as_their_model_is(xp: Any) -> None:
    opt, one, two = optim.SGD(0.1, momentum=0.9), mlp(), mlp()
    loss(one).backward()
    loss(two).backward()
    opt.step(one)
    opt.step(two.parameters())
    assert_equal(one, two)
    assert opt.state_of(two).step == 1


@pytest.mark.parametrize("options", OPTIONS[:6], ids=lambda options: "-".join(options) or "plain")
def test_parameters_without_gradient_stay_and_the_others_move(options: dict[str, Any], xp: Any) -> None:
    model = nn.Sequential([nn.Linear(3, 2, random.key(0)), nn.Linear(2, 2, random.key(1))])
    alone = nn.Sequential([nn.Linear(3, 2, random.key(0))])
    before = [host(p).copy() for p in model.layers[1].parameters()]
    opt, other = optim.SGD(0.1, **options), optim.SGD(0.1, **options)
    for _ in range(3):
        model.zero_grad()
        loss(model.layers[0]).backward()
        opt.step(model)
        train(other, alone, 1)
    assert_equal(model.layers[0], alone)
    for parameter, value in zip(model.layers[1].parameters(), before, strict=True):
        np.testing.assert_array_equal(host(parameter), value)


def test_a_step_replaces_the_raw_array_and_keeps_the_gradient(xp: Any) -> None:
    model = mlp()
    loss(model).backward()
    parameter = model.parameters()[0]
    before, gradient = parameter.data, parameter.grad
    kept = host(before).copy()
    optim.SGD(0.1).step(model)
    assert model.parameters()[0] is parameter
    assert parameter.grad is gradient
    np.testing.assert_array_equal(host(Array(before)), kept)
    # The product is rounded before the sum, or is not, as where a kernel's compiler fuses the two: each by itself.
    product = np.float32(0.1).astype("float64") * host(Array(gradient))
    rounded, fused = kept - product.astype("float32"), (kept - product).astype("float32")
    found = host(parameter)
    assert found.dtype == np.float32
    assert ((found == rounded) | (found == fused)).all()


def test_the_optimizer_of_the_lecture_fits_the_four_samples(xp: Any) -> None:
    xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys = jnp.asarray([[1.0], [-1.0], [-1.0], [1.0]])
    model = nn.MLP(3, [4, 4, 1], final_activation="tanh", key=random.key(0))
    opt = optim.SGD(0.05)
    for _ in range(200):
        model.zero_grad()
        error = ((model(xs) - ys) ** 2).sum()
        error.backward()
        opt.step(model)
    assert float(error) < 0.01
