"""The functions of jax.nn that are no activations by name: softmax with a mask, attention, one_hot, initializers."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest
from references import jaxs

import gradkit
from gradkit import nn, random

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 4))
MASK = np.asarray([[True, False, True, True], [False, True, True, False], [True, True, True, True]])


def on(xp: Any, x: Any) -> Any:
    return xp.asarray(x) if isinstance(x, np.ndarray) else x


def compare(ours: Any, theirs: Any, xp: Any, *args: Any, tolerance: float = 1e-9, **options: Any) -> None:
    """Compare value and gradient with respect to the first argument."""
    given = {name: on(xp, value) for name, value in options.items()}

    def weighted(f: Any, library: Any, kept: Any) -> Any:
        def loss(*args: Any) -> Any:
            result = f(*args, **kept)
            weights = library.asarray(np.cos(np.arange(result.size)).reshape(result.shape))
            return library.where(library.isfinite(result), result * weights, 0.0).sum()

        return loss

    def by_jax(*args: Any) -> Any:
        arrays = [jax.numpy.asarray(a) for a in args]
        return theirs(*arrays, **options), jax.grad(weighted(theirs, jax.numpy, options))(*arrays)

    with jax.enable_x64(True):
        value, slope = jaxs(by_jax, *args)
    mine = [on(xp, a) for a in args]
    np.testing.assert_allclose(gradkit.device_get(ours(*mine, **given)), value, rtol=tolerance, atol=tolerance)
    got = gradkit.grad(weighted(ours, xp, given))(*mine)
    np.testing.assert_allclose(gradkit.device_get(got), slope, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("axis", [-1, 0, (0, 1)])
@pytest.mark.parametrize("where", [None, MASK])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "logmeanexp", "standardize"])
def test_reductions_take_axes_and_a_mask(name: str, where: Any, axis: Any, xp: Any) -> None:
    compare(getattr(nn, name), getattr(jax.nn, name), xp, X, axis=axis, where=where)


def test_standardize_takes_moments(xp: Any) -> None:
    compare(nn.standardize, jax.nn.standardize, xp, X, mean=np.asarray(0.5), variance=np.asarray(2.0), epsilon=0.1)
    compare(nn.standardize, jax.nn.standardize, xp, X, algorithm="stable")
    with pytest.raises(ValueError, match="Unknown algorithm 'quick'"):
        nn.standardize(xp.asarray(X), algorithm="quick")


@pytest.mark.parametrize("axis", [-1, 1])
def test_glu(axis: int, xp: Any) -> None:
    compare(nn.glu, jax.nn.glu, xp, X, axis=axis)
    with pytest.raises(ValueError, match="glu: the size of x along axis 0 must be even"):
        nn.glu(xp.asarray(X), axis=0)


@pytest.mark.parametrize(
    "name, interval", [("sparse_plus", (-2, 2)), ("sparse_sigmoid", (-2, 2)), ("log1mexp", (0, 4))]
)
def test_functions_of_one_argument(name: str, interval: tuple[float, float], xp: Any) -> None:
    compare(getattr(nn, name), getattr(jax.nn, name), xp, rng.uniform(*interval, size=20))


def test_log1mexp_keeps_its_digits(xp: Any) -> None:
    compare(nn.log1mexp, jax.nn.log1mexp, xp, np.asarray([1e-12, 1e-3, 0.5, 5.0, 50.0]))


@pytest.mark.parametrize("axis", [-1, 0, 1, 2, -3])
def test_one_hot_puts_its_axis_anywhere(axis: int, xp: Any) -> None:
    labels = np.asarray([[0, 2, 5], [1, -1, 3]])
    got = nn.one_hot(xp.asarray(labels), 4, axis=axis)
    right = jaxs(lambda labels: jax.nn.one_hot(labels, 4, axis=axis), labels)
    np.testing.assert_array_equal(gradkit.device_get(got), right)


def drawn(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


Q, K, V = drawn(2, 5, 4, 3), drawn(2, 6, 2, 3), drawn(2, 6, 2, 3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"bias": drawn(2, 4, 5, 6)},
        {"mask": rng.uniform(size=(2, 1, 5, 6)) > 0.4},
        {"local_window_size": (1, 2)},
        {"local_window_size": 1, "is_causal": True},
        {"query_seq_lengths": np.asarray([3, 5], np.int32), "key_value_seq_lengths": np.asarray([6, 2], np.int32)},
    ],
    ids=str,
)
def test_attention_is_jaxs(options: dict[str, Any], xp: Any) -> None:
    compare(nn.dot_product_attention, jax.nn.dot_product_attention, xp, Q, K, V, tolerance=2e-5, **options)


def test_attention_without_a_batch_and_its_residual(xp: Any) -> None:
    got, residual = nn.dot_product_attention(*(xp.asarray(a[0]) for a in (Q, K, V)), return_residual=True)
    right, right_residual = jaxs(
        lambda *args: jax.nn.dot_product_attention(*args, return_residual=True), Q[0], K[0], V[0]
    )
    np.testing.assert_allclose(gradkit.device_get(got), right, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradkit.device_get(residual), right_residual, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "shapes, options, words",
    [
        (((2, 5, 4, 3), (2, 6, 2, 3), (2, 6, 2, 4)), {}, "value shape should be"),
        (((2, 5, 4, 3), (2, 6, 2, 5), (2, 6, 2, 5)), {}, "query shape should be"),
        (((2, 5, 3, 3), (2, 6, 2, 3), (2, 6, 2, 3)), {}, "must be a multiple of key/value heads, but got 3 vs 2"),
        (((2, 5, 4, 3), (2, 6, 2, 3), (2, 6, 2, 3)), {"implementation": "cudnn"}, "Unsupported implementation"),
        (((2, 5, 4, 3), (2, 6, 2, 3), (2, 6, 2, 3)), {"mask": 1.0}, "mask dtype should be bool"),
    ],
)
def test_attention_says_what_does_not_fit(shapes: Any, options: Any, words: str, xp: Any) -> None:
    with pytest.raises(ValueError, match=words):
        nn.dot_product_attention(*map(xp.zeros, shapes), **options)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
def test_variance_scaling_takes_several_axes(mode: str, xp: Any) -> None:
    shape, options = (2, 3, 4, 5), {"in_axis": (0, 1), "out_axis": -1, "batch_axis": 2}
    ours = nn.initializers.variance_scaling(2.0, mode, "normal", **options)(random.key(3), shape)
    initializer = functools.partial(jax.nn.initializers.variance_scaling, 2.0, mode, "normal", **options)
    theirs = jaxs(lambda: initializer()(jax.random.key(3), shape))
    np.testing.assert_allclose(gradkit.device_get(ours), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape, column_axis", [((4, 3), -1), ((3, 4), -1), ((2, 3, 4), 0), ((0, 3), -1)])
def test_orthogonal_is_jaxs(shape: tuple[int, ...], column_axis: int, xp: Any) -> None:
    pytest.importorskip("gradkit.numpy.linalg")
    ours = nn.initializers.orthogonal(2.0, column_axis)(random.key(3), shape)
    theirs = jaxs(lambda: jax.nn.initializers.orthogonal(2.0, column_axis)(jax.random.key(3), shape))
    np.testing.assert_allclose(gradkit.device_get(ours), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 2, 4), (3, 4, 2, 2), (3, 3, 3, 2, 5)])
def test_delta_orthogonal_is_jaxs(shape: tuple[int, ...], xp: Any) -> None:
    pytest.importorskip("gradkit.numpy.linalg")
    ours = nn.initializers.delta_orthogonal()(random.key(3), shape)
    theirs = jaxs(lambda: jax.nn.initializers.delta_orthogonal()(jax.random.key(3), shape))
    np.testing.assert_allclose(gradkit.device_get(ours), theirs, rtol=1e-5, atol=1e-5)


def test_orthogonal_initializers_say_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="at least two axes"):
        nn.initializers.orthogonal()(random.key(0), (3,))
    with pytest.raises(ValueError, match="3, 4 or 5 axes"):
        nn.initializers.delta_orthogonal()(random.key(0), (3, 3))
    with pytest.raises(ValueError, match="at least as many outputs"):
        nn.initializers.delta_orthogonal()(random.key(0), (3, 4, 2))
