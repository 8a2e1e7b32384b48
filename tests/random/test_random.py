"""Random numbers are JAX's: the table of keys, shapes and dtypes is computed with JAX itself, on every backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import jaxs, usual_widths

import gradkit
import gradkit.numpy as jnp
from gradkit import random

# Whether a product and a sum are rounded once or twice is a matter of JAX's optimizations.
pytestmark = pytest.mark.usefixtures("optimized_jax")

SEEDS = (0, 7, 2**31 + 5, -3)
SHAPES = ((), (0,), (7,), (3, 5), (2, 0, 3), (1000,))
POSITIONS = np.arange(60, dtype=np.float32).reshape(3, 4, 5)

Draw = Callable[[Any, Any, Any], Any]
"""A call: it takes the random module, the array namespace, and a key, so that one text serves gradkit and JAX."""


@pytest.fixture
def x64() -> Iterator[None]:
    """64-bit numbers in gradkit and in JAX."""
    gradkit.config.update("jax_enable_x64", True)
    try:
        with jax.enable_x64(True):
            yield
    finally:
        gradkit.config.update("jax_enable_x64", False)


def drawn_by_jax(draw: Draw, seed: int) -> Any:
    return draw(jax.random, J, jax.random.key(seed))


def compare(draw: Draw, exactly: bool, seeds: tuple[int, ...] = SEEDS) -> None:
    for seed in seeds:
        got = gradkit.device_get(draw(random, jnp, random.key(seed)))
        expected = jaxs(drawn_by_jax, draw, seed)
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        if exactly:
            np.testing.assert_array_equal(got, expected)
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def table(name: str, dtypes: str, *args: Any, **options: Any) -> list[Any]:
    return [
        pytest.param(
            lambda r, _, key, shape=shape, dtype=dtype: getattr(r, name)(
                key, *args, shape=shape, dtype=dtype, **options
            ),
            id=f"{name}-{dtype}-{shape}",
        )
        for dtype in dtypes.split()
        for shape in SHAPES
    ]


@pytest.mark.parametrize(
    "draw",
    [
        *table("bits", "uint8 uint16 uint32"),
        *table("uniform", "float32"),
        *table("uniform", "float32", minval=-3.7, maxval=2.3),
        *table("randint", "int8 uint8 int16 int32 uint32", minval=3, maxval=100),
        *table("randint", "int32", minval=-(2**31), maxval=2**31 - 1),
    ],
)
def test_bits_and_what_follows_from_them_equal_jax_exactly(draw: Draw, xp: Any) -> None:
    compare(draw, exactly=True)


@pytest.mark.parametrize(
    "draw",
    [
        *table("bits", "uint64"),
        *table("uniform", "float64", minval=-3.7, maxval=2.3),
        *table("randint", "int64", minval=3, maxval=10**12),
    ],
)
def test_64_bit_numbers_equal_jax_exactly(draw: Draw, xp: Any, x64: None) -> None:
    compare(draw, exactly=True, seeds=(0, 2**40 + 3))


@pytest.mark.parametrize(
    "draw",
    [
        *(row for name in ("normal", "gumbel", "exponential", "laplace") for row in table(name, "float32")),
        *(row for name in ("logistic", "cauchy") for row in table(name, "float32")[-2:]),
        *table("truncated_normal", "float32", -1.5, 2.0),
        pytest.param(lambda r, _, key: r.normal(key, (5,), "complex64"), id="normal-complex64"),
        pytest.param(lambda r, _, key: r.gumbel(key, (100,), mode="high"), id="gumbel-high"),
    ],
)
def test_what_goes_through_a_transcendental_function_equals_jax_to_rounding(draw: Draw, xp: Any) -> None:
    compare(draw, exactly=False)


def test_normal_numbers_in_float64_equal_jax_to_rounding(xp: Any, x64: None) -> None:
    compare(lambda r, _, key: r.normal(key, (1000,)), exactly=False)
    compare(lambda r, _, key: r.truncated_normal(key, -1.0, 3.0, (1000,)), exactly=False)


def probabilities(n: int) -> np.ndarray:
    weights = np.random.default_rng(n).random(n).astype(np.float32)
    return weights / weights.sum()


@pytest.mark.parametrize("n", [0, 1, 5, 100, 1625, 1626, 20_000])
def test_permutations_equal_jax_exactly(n: int, xp: Any) -> None:
    compare(lambda r, _, key: r.permutation(key, n), exactly=True)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("independent", [False, True])
def test_shuffled_arrays_equal_jax_exactly(axis: int, independent: bool, xp: Any) -> None:
    compare(lambda r, n, key: r.permutation(key, n.asarray(POSITIONS), axis, independent), exactly=True)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_choices_of_rows_equal_jax_exactly(axis: int, xp: Any) -> None:
    compare(lambda r, n, key: r.choice(key, n.asarray(POSITIONS), (2, 3), axis=axis), exactly=True)
    compare(lambda r, n, key: r.choice(key, n.asarray(POSITIONS), (2,), False, axis=axis), exactly=True)


@pytest.mark.parametrize("n", [3, 16, 17, 300, 5000])
def test_choices_with_probabilities_equal_jax_exactly(n: int, xp: Any) -> None:
    compare(lambda r, namespace, key: r.choice(key, n, (400,), p=namespace.asarray(probabilities(n))), exactly=True)
    compare(lambda r, namespace, key: r.choice(key, n, (3,), False, namespace.asarray(probabilities(n))), exactly=True)


@pytest.mark.parametrize("mode", ["low", "high"])
def test_bernoulli_equals_jax_exactly(mode: str, xp: Any) -> None:
    compare(lambda r, n, key: r.bernoulli(key, n.asarray(np.float32([0.1, 0.5, 0.9])), mode=mode), exactly=True)
    compare(lambda r, n, key: r.bernoulli(key, 0.3, (2, 500), mode=mode), exactly=True)


@pytest.mark.parametrize("axis", [0, 1])
def test_categories_equal_jax(axis: int, xp: Any) -> None:
    logits = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    rest = logits.shape[1 - axis]
    compare(lambda r, n, key: r.categorical(key, n.asarray(logits), axis), exactly=True)
    compare(lambda r, n, key: r.categorical(key, n.asarray(logits), axis, (3, rest)), exactly=True)
    compare(lambda r, n, key: r.categorical(key, n.asarray(logits), axis, (3, rest), False), exactly=True)


def test_bounds_that_are_arrays_broadcast_as_in_jax(xp: Any) -> None:
    low, high = np.float32([1, 2, 3, 4]), np.float32([[5], [6.3], [7]])
    compare(lambda r, n, key: r.uniform(key, (3, 4), minval=n.asarray(low), maxval=n.asarray(high)), exactly=True)
    few, many = np.int32([1, 2, 3, 4]), np.int32([[5], [600_000], [7]])
    compare(lambda r, n, key: r.randint(key, (3, 4), n.asarray(few), n.asarray(many)), exactly=True)


@pytest.mark.parametrize("seed", [*SEEDS, 2**32 - 1, -1])
def test_keys_equal_jax_exactly(seed: int, xp: Any) -> None:
    def check(make: Draw) -> None:
        got = gradkit.device_get(make(random, jnp, random.key(seed)))
        np.testing.assert_array_equal(got, jaxs(drawn_by_jax, make, seed))

    check(lambda r, _, key: r.key_data(key))
    check(lambda r, _, key: r.key_data(r.split(key)))
    check(lambda r, _, key: r.key_data(r.split(key, (2, 3))))
    check(lambda r, _, key: r.key_data(r.fold_in(r.split(key, 3)[1], 77)))
    check(lambda r, _, key: r.bits(r.fold_in(r.split(key, 3)[2], 2**31), (10,)))
    right = jaxs(lambda: jax.random.PRNGKey(seed))
    np.testing.assert_array_equal(gradkit.device_get(random.PRNGKey(seed)), right)


@given(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from([1, 2, 7, 50]), st.integers(-1000, 1000), st.integers(1, 2000)
)  # JAX compiles for each shape
def test_any_seed_and_range_give_jax_integers(seed: int, n: int, low: int, span: int) -> None:
    got = random.randint(random.key(seed), (n,), low, low + span)
    with usual_widths():
        expected = jax.random.randint(jax.random.key(seed), (n,), low, low + span)
    np.testing.assert_array_equal(gradkit.device_get(got), expected)


def test_uniform_numbers_are_differentiable_in_their_bounds(xp: Any) -> None:
    key = random.key(3)
    gradient = gradkit.grad(lambda high: random.uniform(key, (50,), maxval=high).sum())(jnp.asarray(2.0))

    def drawn(high: Any) -> Any:
        return jax.random.uniform(jax.random.key(3), (50,), maxval=high).sum()

    expected = jaxs(lambda: jax.grad(drawn)(2.0))
    np.testing.assert_allclose(gradkit.device_get(gradient), expected, rtol=1e-6)


def test_a_shuffled_array_is_differentiable(xp: Any) -> None:
    x = jnp.asarray(POSITIONS)
    gradient = gradkit.grad(lambda x: (random.permutation(random.key(0), x, independent=True) * x).sum())(x)

    def shuffled(x: Any) -> Any:
        return (jax.random.permutation(jax.random.key(0), x, independent=True) * x).sum()

    expected = jaxs(lambda: jax.grad(shuffled)(J.asarray(POSITIONS)))
    np.testing.assert_allclose(gradkit.device_get(gradient), expected)


# The sequence of keys for calls that leave their key out


def test_seed_starts_the_sequence_of_keys_anew(xp: Any) -> None:
    def three() -> list[list[int]]:
        random.seed(5)
        return [random.next_key().tolist() for _ in range(3)]

    first = three()
    assert first == three()
    assert len({tuple(key) for key in first}) == 3


def test_threads_never_get_the_same_key() -> None:
    random.seed(0)
    keys: list[tuple[int, ...]] = []

    def take() -> None:
        keys.extend(tuple(random.next_key().tolist()) for _ in range(50))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 200


# Bad input


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda k: random.uniform(0), TypeError, ["key", "gradkit.random.key(seed)"]),
        (lambda k: random.bits(jnp.asarray([1.0, 2.0])), TypeError, ["key", "uint32", "float32[2]"]),
        (lambda k: random.normal(random.split(k)), ValueError, ["single key", "uint32[2,2]", "keys[0]"]),
        (lambda k: random.uniform(k, (-1,)), ValueError, ["shape", "negative", "(-1,)"]),
        (lambda k: random.uniform(k, (2.5,)), TypeError, ["shape", "integers"]),
        (lambda k: random.uniform(k, (), "int32"), ValueError, ["dtype", "floating", "int32"]),
        (lambda k: random.bits(k, (), "int32"), ValueError, ["dtype", "unsigned", "int32"]),
        (lambda k: random.uniform(k, (2,), minval=jnp.zeros(3)), ValueError, ["minval", "(2,)", "(3,)"]),
        (lambda k: random.uniform(k, (2,), maxval="1"), TypeError, ["maxval", "'1'"]),
        (lambda k: random.bernoulli(k, 1), TypeError, ["p", "floating"]),
        (lambda k: random.bernoulli(k, jnp.zeros(3), (2,)), ValueError, ["p", "(2,)", "(3,)"]),
        (lambda k: random.choice(k, 3, (4,), replace=False), ValueError, ["size 4", "size 3", "replace=True"]),
        (lambda k: random.choice(k, 3, (), p=jnp.zeros(2)), ValueError, ["p", "3 elements", "(2,)"]),
        (lambda k: random.choice(k, 0), ValueError, ["a must have something", "0"]),
        (lambda k: random.permutation(k, 2.5), TypeError, ["x", "2.5"]),
        (lambda k: random.categorical(k, jnp.zeros((2, 3)), shape=(5,)), ValueError, ["shape", "(2,)", "(5,)"]),
        (lambda k: random.key("a"), TypeError, ["seed", "'a'"]),
        (lambda k: random.key(2**64), OverflowError, ["seed", "64 bits"]),
        (lambda k: random.key(0, impl="rbg"), ValueError, ["impl", "threefry2x32", "rbg"]),
        (lambda k: random.fold_in(k, 2**32), OverflowError, ["data", "32 bits"]),
        (lambda k: random.fold_in(k, jnp.zeros(2)), TypeError, ["data", "float32"]),
    ],
)
def test_bad_arguments_say_what_came_and_what_to_do(call: Any, kind: type, words: list[str], xp: Any) -> None:
    with pytest.raises(kind) as caught:
        call(random.key(0))
    for word in words:
        assert word in str(caught.value)
