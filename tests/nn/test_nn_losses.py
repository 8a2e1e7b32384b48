"""Losses are optax's: values, gradients, second order, and at logits of 1e4; bad labels are errors."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import jaxs

import gradkit
import gradkit.numpy as jnp
from gradkit import nn
from gradkit.core.namespace import ARRAYS, PRIMITIVES
from gradkit.errors import ShapeError
from gradkit.primitives.losses import label_cross_entropy, mean_label_cross_entropy, softmax_error
from gradkit.testing import check_grads

generator = np.random.default_rng(0)
LOGITS = generator.normal(size=(6, 4)).astype(np.float32)
LABELS = np.asarray([0, 3, 1, 2, 3, 3], np.int32)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
SOFT = generator.dirichlet(np.ones(4), 6).astype(np.float32)
BITS = generator.integers(0, 2, (6, 4)).astype(np.float32)
SHARES = generator.uniform(size=(6, 4)).astype(np.float32)
SIGNS = 2 * BITS - 1
TARGET = generator.normal(size=(6, 4)).astype(np.float32)

Loss = Callable[[Any, Any], Any]


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


def jax_labels(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def jax_shares(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy(logits, labels).mean()


def jax_sigmoid(logits: Any, labels: Any) -> Any:
    return optax.sigmoid_binary_cross_entropy(logits, labels).mean()


def jax_hinge(scores: Any, labels: Any) -> Any:
    return optax.hinge_loss(scores, labels).mean()


def jax_mse(prediction: Any, target: Any) -> Any:
    return J.mean((prediction - target) ** 2)


CASES: dict[str, tuple[Loss, Loss, np.ndarray]] = {
    "mse": (nn.mse, jax_mse, TARGET),
    "softmax, class numbers": (nn.softmax_cross_entropy, jax_labels, LABELS),
    "softmax, one-hot": (nn.softmax_cross_entropy, jax_shares, ONE_HOT),
    "softmax, shares": (nn.softmax_cross_entropy, jax_shares, SOFT),
    "sigmoid, bits": (nn.sigmoid_cross_entropy, jax_sigmoid, BITS),
    "sigmoid, shares": (nn.sigmoid_cross_entropy, jax_sigmoid, SHARES),
    "hinge": (nn.hinge, jax_hinge, SIGNS),
}
every_loss = pytest.mark.parametrize("ours, theirs, labels", CASES.values(), ids=CASES)


def compare(ours: Loss, theirs: Loss, x: np.ndarray, y: np.ndarray, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    value, slope = gradkit.value_and_grad(lambda x: ours(x, jnp.asarray(y)))(jnp.asarray(x))
    right, right_slope = jaxs(lambda x, y: jax.value_and_grad(lambda x: theirs(x, y))(x), x, y)
    assert value.shape == ()
    assert value.dtype == x.dtype
    np.testing.assert_allclose(host(value), right, rtol=rtol, atol=atol)
    np.testing.assert_allclose(host(slope), right_slope, rtol=rtol, atol=atol)


@every_loss
def test_values_and_gradients_equal_optax(ours: Loss, theirs: Loss, labels: np.ndarray, xp: Any) -> None:
    compare(ours, theirs, LOGITS, labels)
    compare(ours, theirs, LOGITS[0], labels[0])
    leading = (2, 3, *labels.shape[1:])
    compare(ours, theirs, LOGITS.reshape(2, 3, 4), labels.reshape(leading))


@every_loss
def test_gradients_are_right_to_second_order(ours: Loss, theirs: Loss, labels: np.ndarray, xp: Any) -> None:
    check_grads(lambda x: ours(x, jnp.asarray(labels)), (jnp.asarray(LOGITS),))


@every_loss
def test_hessians_equal_jax(ours: Loss, theirs: Loss, labels: np.ndarray, xp: Any) -> None:
    direction = LOGITS[::-1].copy()

    def product(grad: Any, f: Any, x: Any, v: Any) -> Any:
        return grad(lambda x: (grad(f)(x) * v).sum())(x)

    got = product(gradkit.grad, lambda x: ours(x, jnp.asarray(labels)), jnp.asarray(LOGITS), jnp.asarray(direction))
    right = jaxs(lambda x, v: product(jax.grad, lambda x: theirs(x, labels), x, v), LOGITS, direction)
    np.testing.assert_allclose(host(got), right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss, labels", [(nn.mse, TARGET), (nn.softmax_cross_entropy, SOFT)])
def test_losses_are_differentiable_in_the_second_argument(loss: Loss, labels: np.ndarray, xp: Any) -> None:
    check_grads(lambda y: loss(jnp.asarray(LOGITS, dtype="float64"), y), (jnp.asarray(labels),))


# Huge logits


HUGE = np.asarray([[1e4, -1e4, 0, 9999.5], [1e4, 1e4, 1e4, 1e4], [-1e4, 9998, 1e4, -1e4]], np.float32)


@pytest.mark.parametrize("given_as", ["class numbers", "one-hot"])
@pytest.mark.parametrize("labels", [[0, 0, 2], [3, 1, 1], [1, 2, 3]])
def test_softmax_cross_entropy_is_exact_at_logits_of_ten_thousand(labels: list[int], given_as: str, xp: Any) -> None:
    # The formula in float64: the digits that float32 logits have are all there.
    x = HUGE.astype(np.float64)
    chosen = np.eye(4)[labels]
    shifted = x - x.max(-1, keepdims=True)
    share = np.exp(shifted) / np.exp(shifted).sum(-1, keepdims=True)
    exact = np.mean(np.log(np.exp(shifted).sum(-1)) - (shifted * chosen).sum(-1))
    y = jnp.asarray(np.asarray(labels, np.int32) if given_as == "class numbers" else chosen.astype(np.float32))
    value, slope = gradkit.value_and_grad(nn.softmax_cross_entropy)(jnp.asarray(HUGE), y)
    np.testing.assert_allclose(host(value), exact, rtol=1e-6)
    np.testing.assert_allclose(host(slope), (share - chosen) / 3, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("label", [0.0, 1.0, 0.25])
def test_sigmoid_cross_entropy_is_exact_at_logits_of_ten_thousand(label: float, xp: Any) -> None:
    x = np.asarray([1e4, -1e4, 0.0, 30.0, -30.0], np.float32)
    y = np.full(5, label, np.float32)
    compare(nn.sigmoid_cross_entropy, jax_sigmoid, x, y)
    exact = np.mean(np.logaddexp(0, x.astype(np.float64)) - label * x)
    np.testing.assert_allclose(float(nn.sigmoid_cross_entropy(jnp.asarray(x), jnp.asarray(y))), exact, rtol=1e-6)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_hinge_and_mse_are_exact_at_scores_of_ten_thousand(size: float, xp: Any) -> None:
    x = np.asarray([size, -size, size / 2], np.float32)
    compare(nn.hinge, jax_hinge, x, np.asarray([1, 1, -1], np.float32))
    compare(nn.mse, jax_mse, x, np.zeros(3, np.float32))


@functools.cache
def jitted(theirs: Loss) -> Any:
    return jax.jit(jax.value_and_grad(theirs))


@every_loss
@settings(max_examples=15)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=24, max_size=24))
def test_any_logits_give_finite_losses_and_gradients(
    ours: Loss, theirs: Loss, labels: np.ndarray, numbers: list[float]
) -> None:
    x = np.asarray(numbers, np.float32).reshape(6, 4)
    value, slope = gradkit.value_and_grad(lambda x: ours(x, jnp.asarray(labels)))(jnp.asarray(x))
    assert np.isfinite(float(value))
    assert float(value) >= 0
    assert np.isfinite(host(slope)).all()
    if ours is not nn.hinge:  # whose kink may lie anywhere
        right, right_slope = jitted(theirs)(x, labels)
        np.testing.assert_allclose(float(value), right, rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(host(slope), right_slope, rtol=2e-4, atol=1e-5)


def test_a_masked_logit_has_no_share_and_no_gradient(xp: Any) -> None:
    x = jnp.asarray([[1.0, float("-inf"), 2.0]])
    value, slope = gradkit.value_and_grad(nn.softmax_cross_entropy)(x, jnp.asarray([0]))
    np.testing.assert_allclose(float(value), np.log1p(np.e), rtol=1e-6)
    assert host(slope)[0, 1] == 0


# What labels may be


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint16"])
def test_class_numbers_of_any_integer_dtype_give_the_same(dtype: str, xp: Any) -> None:
    expected = float(nn.softmax_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS)))
    assert float(nn.softmax_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS.astype(dtype)))) == expected
    assert float(nn.softmax_cross_entropy(LOGITS.tolist(), LABELS.tolist())) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", ["int32", "bool", "float64"])
def test_one_hot_rows_of_any_dtype_give_what_class_numbers_give(dtype: str, xp: Any) -> None:
    expected = nn.softmax_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS))
    got = nn.softmax_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(ONE_HOT.astype(dtype)))
    assert got.dtype == np.float32
    np.testing.assert_allclose(float(got), float(expected), rtol=1e-6)


def test_as_many_examples_as_classes_are_still_class_numbers(xp: Any) -> None:
    x, y = LOGITS[:4], LABELS[:4]
    compare(nn.softmax_cross_entropy, jax_labels, x, y)


def test_bits_may_be_integers_or_bools(xp: Any) -> None:
    expected = float(nn.sigmoid_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(BITS)))
    for dtype in ("bool", "int32"):
        assert float(nn.sigmoid_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(BITS.astype(dtype)))) == expected
    signs = jnp.asarray(SIGNS.astype(np.int32))
    assert float(nn.hinge(jnp.asarray(LOGITS), signs)) == float(nn.hinge(jnp.asarray(LOGITS), jnp.asarray(SIGNS)))


def test_a_model_of_one_class_has_loss_zero_and_not_minus_zero(xp: Any) -> None:
    for labels in (jnp.asarray([0, 0]), jnp.asarray([[1.0], [1.0]])):
        assert str(float(nn.softmax_cross_entropy(jnp.asarray([[3.0], [4.0]]), labels))) == "0.0"


def test_accuracy_is_the_share_of_right_answers(xp: Any) -> None:
    expected = np.mean(LOGITS.argmax(-1) == LABELS)
    for labels in (LABELS, ONE_HOT, LABELS.astype(np.int64)):
        assert float(nn.accuracy(jnp.asarray(LOGITS), jnp.asarray(labels))) == pytest.approx(expected)


# Bad input


def A(values: Any) -> Any:
    return jnp.asarray(values)


def cross_entropy(labels: Any, logits: Any = LOGITS) -> Any:
    return nn.softmax_cross_entropy(A(logits), labels)


LOSSES = {"mse": nn.mse, "sigmoid_cross_entropy": nn.sigmoid_cross_entropy, "hinge": nn.hinge}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shapes", [((3,), (3, 1)), ((3, 1), (3,)), ((3, 2), (2,)), ((3,), ()), ((2, 3), (3, 2))])
def test_shapes_that_would_broadcast_are_an_error(name: str, shapes: Any, xp: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        LOSSES[name](jnp.ones(shapes[0]), jnp.ones(shapes[1]))
    for word in (name, str(shapes[0]), str(shapes[1]), "same shape", "Nothing is broadcast", "reshape"):
        assert word in str(caught.value)


@pytest.mark.parametrize("name", [*LOSSES, "softmax_cross_entropy", "accuracy"])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_data_is_an_error(name: str, shape: Any, xp: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        getattr(nn, name)(jnp.ones(shape), jnp.ones(shape))
    assert name in str(caught.value)
    assert str(shape) in str(caught.value)


UNREAD = pytest.mark.skip_backend("cupy", reason="a GPU is not made to wait for its labels to be read: the loss is NaN")


@UNREAD
@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: cross_entropy(A([0, 3, 1, 4, 3, 3])),
            ["labels[3] is 4", "4 classes", "0 to 3", "5 outputs"],
        ),
        (lambda: cross_entropy(A([0, 3, 1, 2, 3, -1])), ["labels[5] is -1", "0 to 3"]),
        (lambda: cross_entropy(A([[0, 1, 2], [3, 9, 0]]), LOGITS.reshape(2, 3, 4)), ["labels[1, 1] is 9"]),
        (lambda: nn.sigmoid_cross_entropy(A(LOGITS), A(SIGNS)), ["labels", "0 to 1", "got -1.0"]),
        (lambda: nn.sigmoid_cross_entropy(A([0.5]), A([2])), ["labels", "0 to 1", "got 2"]),
        (lambda: nn.sigmoid_cross_entropy(A([0.5]), A([float("nan")])), ["labels", "0 to 1", "got nan"]),
        (lambda: nn.hinge(A(LOGITS), A(BITS)), ["labels", "-1 or 1", "got 0.0", "2 * labels - 1"]),
    ],
)
def test_labels_out_of_range_say_which_and_what_to_do(call: Any, words: list[str], xp: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (
            lambda: cross_entropy(A(LABELS.astype(np.float32))),
            TypeError,
            ["labels", "integers", "float32", "astype('int32')", "probabilities"],
        ),
        (lambda: cross_entropy(A(LABELS > 1)), TypeError, ["labels", "integers", "bool"]),
        (lambda: cross_entropy(A([0, 1])), ShapeError, ["labels", "(6,)", "(6, 4)", "(2,)"]),
        (lambda: cross_entropy(A(ONE_HOT[:, :3])), ShapeError, ["labels", "(6,)", "(6, 4)", "(6, 3)"]),
        (lambda: cross_entropy(A(LABELS[:, None])), ShapeError, ["labels", "(6,)", "(6, 1)"]),
        (lambda: cross_entropy(A(0), 1.0), ShapeError, ["logits", "(..., classes)", "()"]),
        (lambda: cross_entropy(None), TypeError, ["softmax_cross_entropy (labels)", "NoneType"]),
        (lambda: nn.mse("x", A(1.0)), TypeError, ["mse (prediction)", "'x'", "asarray"]),
        (lambda: nn.mse(A(1.0), None), TypeError, ["mse (target)", "NoneType"]),
        (lambda: nn.accuracy(A(LOGITS), A([0, 1])), ShapeError, ["accuracy", "labels", "(6,)", "(6, 4)", "(2,)"]),
    ],
)
def test_bad_labels_say_what_came_and_what_to_do(call: Any, kind: type, words: list[str], xp: Any) -> None:
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@UNREAD
@pytest.mark.parametrize("label", [-1, 4, 1000])
def test_a_label_that_is_out_of_range_is_found_under_a_transform(label: int, xp: Any) -> None:
    with pytest.raises(ValueError, match=rf"labels\[0\] is {label}"):
        gradkit.grad(lambda x: nn.softmax_cross_entropy(x, A([label])))(A(LOGITS[:1]))


def test_where_labels_are_not_read_one_out_of_range_makes_the_loss_nan(xp: Any) -> None:
    # As on a GPU, which looking at them would stop.
    from gradkit.primitives import label_cross_entropy

    losses = host(label_cross_entropy(A(LOGITS[:3]), A([1, 4, -1])))
    assert np.isfinite(losses).tolist() == [True, False, False]


INFINITE = np.asarray(
    [[-np.inf, 0, 1], [np.inf, 0, 1], [np.inf, np.inf, 0], [-np.inf] * 3, [np.inf, -np.inf, 0], [-np.inf, -np.inf, 2]],
    np.float32,
)
"""Rows of logits that are infinite, on both sides."""


def jax_infinite_rows() -> list[Any]:
    """Return log_softmax, softmax and the slopes of the former; then for each label the losses and their slopes."""
    slope = jax.grad(lambda x: jax.nn.log_softmax(x)[..., 1].sum())
    found = [jax.nn.log_softmax(INFINITE), jax.nn.softmax(INFINITE), slope(INFINITE)]
    for label in range(3):
        labels = np.full(len(INFINITE), label, np.int32)
        loss = functools.partial(optax.softmax_cross_entropy_with_integer_labels, labels=labels)
        found += [loss(INFINITE), jax.grad(lambda x, loss=loss: loss(x).sum())(INFINITE)]
    return [np.asarray(array) for array in found]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_infinite_logits_give_what_they_give_in_jax_and_optax(dtype: str, xp: Any) -> None:
    if dtype == "float16" and xp.ones(1).device.backend == "strict":
        pytest.skip("the array API standard has no float16")
    x = xp.asarray(INFINITE.astype(dtype))
    right = jax_infinite_rows()

    def all_of_them(x: Any) -> list[Any]:
        slope = gradkit.grad(lambda x: nn.log_softmax(x)[..., 1].sum())
        found = [nn.log_softmax(x), nn.softmax(x), slope(x)]
        for label in range(3):
            labels = xp.full(len(INFINITE), label)
            each = gradkit.vmap(lambda row, y: nn.softmax_cross_entropy(row[None], y[None]))
            found += [each(x, labels), gradkit.grad(lambda x, labels=labels, each=each: each(x, labels).sum())(x)]
        return found

    def by_kernels(x: Any) -> list[Any]:
        found = []
        for label in range(3):
            labels = xp.full(len(INFINITE), label)
            found += [label_cross_entropy(x, labels), softmax_error(x, labels)]
        return found

    def close(found: list[Any], expected: list[np.ndarray]) -> None:
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(host(one), other, rtol=2e-3 if dtype == "float16" else 1e-6, atol=1e-7)

    with np.errstate(invalid="ignore", divide="ignore"):
        close(all_of_them(x), right)
        close(by_kernels(x), right[3:])
        close(softmax_of_text(x), right[3:])
        close(gradkit.jit(all_of_them)(x), right)
        close(gradkit.jit(by_kernels)(x), right[3:])
        rows = [mean_label_cross_entropy(x[i : i + 1], xp.full(1, 1)) for i in range(len(INFINITE))]
        np.testing.assert_allclose([float(row) for row in rows], right[5], rtol=2e-3)


def softmax_of_text(x: Any) -> list[Any]:
    """Return what the primitives' own texts give, which a backend's kernels replace."""
    found = []
    for label in range(3):
        labels = jnp.full(len(INFINITE), label, device=x.device)
        found += [PRIMITIVES[name].forward(ARRAYS, x, labels) for name in ("label_cross_entropy", "softmax_error")]
    return found
