"""Initializers draw JAX's numbers for the same key, on every backend."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from references import jaxs, usual_widths

import gradkit
from gradkit import nn, random
from gradkit.nn.initializers import INITIALIZERS

ours, theirs = nn.initializers, jax.nn.initializers

SCALED = [
    f"{source}_{distribution}"
    for source in ("lecun", "glorot", "xavier", "he", "kaiming")
    for distribution in ("normal", "uniform")
]
SHAPES = ((3, 4), (100, 50), (1, 1), (2, 3, 4))


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


def drawn_by_jax(make: Any, shape: tuple[int, ...], seed: int) -> Any:
    return make(theirs)(jax.random.key(seed), shape, np.float32)


def compare(make: Any, shape: tuple[int, ...], seed: int = 0) -> None:
    """Compare what an initializer draws, given the module that makes it."""
    got = host(make(ours)(random.key(seed), shape))
    expected = jaxs(drawn_by_jax, make, shape, seed)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SCALED)
def test_scaled_initializers_draw_the_numbers_of_jax(name: str, shape: tuple[int, ...], xp: Any) -> None:
    compare(lambda module: getattr(module, name)(), shape, seed=7)


@pytest.mark.parametrize("shape", [*SHAPES, (0, 3), (5,), ()])
@pytest.mark.parametrize(
    "make",
    [
        lambda module: module.normal(),
        lambda module: module.normal(0.3),
        lambda module: module.uniform(),
        lambda module: module.uniform(2.0),
        lambda module: module.truncated_normal(0.5),
        lambda module: module.truncated_normal(0.5, lower=-1.0, upper=3.0),
        lambda module: module.constant(0.25),
        lambda module: module.zeros,
        lambda module: module.ones,
    ],
)
def test_plain_initializers_draw_the_numbers_of_jax(make: Any, shape: tuple[int, ...], xp: Any) -> None:
    compare(make, shape)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
def test_variance_scaling_draws_the_numbers_of_jax(mode: str, distribution: str, xp: Any) -> None:
    compare(lambda module: module.variance_scaling(1.7, mode, distribution), (30, 40))
    compare(lambda module: module.variance_scaling(1.7, mode, distribution, in_axis=0, out_axis=1), (3, 4, 5))


@settings(max_examples=20)
@given(st.sampled_from(SCALED), st.integers(0, 2**32 - 1), st.sampled_from([(1, 1), (20, 3), (2, 17)]))
def test_any_key_draws_the_numbers_of_jax(name: str, seed: int, shape: tuple[int, ...]) -> None:
    compare(lambda module: getattr(module, name)(), shape, seed)


def test_the_variances_are_those_of_the_papers(xp: Any) -> None:
    shape = (400, 800)
    for name, variance in (("lecun", 1 / 400), ("glorot", 2 / 1200), ("he", 2 / 400)):
        for distribution in ("normal", "uniform"):
            drawn = host(getattr(ours, f"{name}_{distribution}")()(random.key(1), shape))
            assert drawn.var() == pytest.approx(variance, rel=0.02)
            assert abs(drawn.mean()) < 4 * np.sqrt(variance / drawn.size)


def test_the_initializer_of_the_lecture_is_uniform_from_minus_one_to_one(xp: Any) -> None:
    drawn = host(ours.lecture()(random.key(0), (200, 100)))
    with usual_widths():
        expected = jax.random.uniform(jax.random.key(0), (200, 100), minval=-1.0, maxval=1.0)
    np.testing.assert_array_equal(drawn, expected)
    assert drawn.min() >= -1
    assert drawn.max() < 1


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_a_layer_takes_an_initializer_by_name_or_as_a_function(name: str, xp: Any) -> None:
    by_name = nn.Linear(3, 4, random.key(0), initializer=name)
    by_function = nn.Linear(3, 4, random.key(0), initializer=INITIALIZERS[name]())
    np.testing.assert_array_equal(host(by_name.weight), host(by_function.weight))
    assert by_name.weight.requires_grad


def test_a_layer_takes_a_function_of_ones_own(xp: Any) -> None:
    layer = nn.Linear(3, 4, random.key(0), initializer=lambda key, shape, dtype: random.normal(key, shape, dtype) * 9)
    with usual_widths():
        weight_key, _ = jax.random.split(jax.random.key(0))
        expected = jax.random.normal(weight_key, (3, 4)) * 9
    np.testing.assert_allclose(host(layer.weight), expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initializers_draw_the_dtype_that_was_asked_for(name: str, dtype: str, xp: Any) -> None:
    assert str(INITIALIZERS[name]()(random.key(0), (3, 4), dtype).dtype) == dtype


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (
            lambda: ours.variance_scaling(1.0, "fan_inn", "normal"),
            ValueError,
            ["mode", "'fan_inn'", "fan_avg, fan_geo_avg, fan_in, fan_out", "'fan_in'?"],
        ),
        (lambda: ours.variance_scaling(1.0, "fan_in", "gauss"), ValueError, ["distribution", "'gauss'", "uniform"]),
        (lambda: ours.he_normal()(random.key(0), (3,)), ValueError, ["shape", "two axes", "(3,)", "zeros"]),
        (lambda: ours.he_normal()(0, (3, 4)), TypeError, ["key", "gradkit.random.key"]),
        (lambda: ours.he_normal()(random.key(0), (3, 4), "int32"), ValueError, ["dtype", "floating", "int32"]),
        (lambda: nn.Linear(3, 4, initializer="he"), ValueError, ["initializer", "'he'", "Known: glorot_normal"]),
    ],
)
def test_bad_arguments_say_what_came_and_what_to_do(call: Any, kind: type, words: list[str], xp: Any) -> None:
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
