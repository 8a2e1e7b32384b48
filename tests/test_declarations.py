"""What every primitive states, whatever its family: the list is that of the declarations themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import callbacks, debug, lax, nn, random, scipy  # noqa: F401 - their primitives are declared when they are imported
from gradkit.core import Elementwise
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.primitive import Primitive
from gradkit.primitives.searching import running_sum

NAMES = sorted(PRIMITIVES)


@pytest.mark.parametrize("name", NAMES)
def test_a_primitive_states_its_shape_and_how_batches_run(name: str) -> None:
    primitive = PRIMITIVES[name]
    assert primitive.shape_rule is not None or type(primitive).abstract is not Primitive.abstract
    assert primitive.batch_rule is not None or type(primitive).batch is not Primitive.batch


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match=r"Elementwise\('tanh'\): a primitive of that name is declared already"):
        Elementwise("tanh", None, (None,))
    assert PRIMITIVES["tanh"].rules != (None,)


# The primitives of random numbers, batched and abstract


def draws(key: Any) -> dict[str, Any]:
    return {
        **{f"bits {width}": random.bits(key, (2, 3), f"uint{width}") for width in (8, 16, 32)},
        "uniform": random.uniform(key, (4,)),
        "children": random.split(key, (2, 2)),
        "permutation": random.permutation(key, 5),
        "rows": random.permutation(key, jnp.reshape(jnp.arange(12), (4, 3)), axis=1, independent=True),
        "weighted": random.choice(key, 40, (3,), p=jnp.arange(40) / 780),
    }


def test_a_batch_of_keys_draws_what_each_key_draws(xp: Any) -> None:
    keys = random.split(random.key(3), 4)
    together = gradkit.vmap(draws)(keys)
    crossed = gradkit.vmap(draws, in_axes=1, out_axes=-1)(jnp.transpose(keys))
    nested = gradkit.vmap(gradkit.vmap(draws))(jnp.reshape(keys, (2, 2, 2)))
    for i in range(4):
        for name, alone in draws(keys[i]).items():
            np.testing.assert_array_equal(np.asarray(together[name])[i], alone, name)
            np.testing.assert_array_equal(np.asarray(crossed[name])[..., i], alone, name)
            np.testing.assert_array_equal(np.asarray(nested[name])[i // 2, i % 2], alone, name)


def test_keys_and_counters_are_folded_element_by_element(xp: Any) -> None:
    keys, numbers = random.split(random.key(1), 3), jnp.arange(3, dtype="uint32") + 7
    single = np.asarray([[random.fold_in(keys[i], int(numbers[j])) for j in range(3)] for i in range(3)])
    over_keys = gradkit.vmap(random.fold_in, (0, None))
    np.testing.assert_array_equal(over_keys(keys, 7), single[:, 0])
    np.testing.assert_array_equal(gradkit.vmap(random.fold_in, (None, 0))(keys[0], numbers), single[0])
    np.testing.assert_array_equal(gradkit.vmap(random.fold_in)(keys, numbers), single[range(3), range(3)])
    np.testing.assert_array_equal(gradkit.vmap(over_keys, (None, 0), 1)(keys, numbers), single)


def test_what_is_drawn_is_not_computed_to_know_its_shape(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: (value.shape, value.dtype) for name, value in draws(random.key(0)).items()}
    found = gradkit.eval_shape(draws, random.key(0))
    assert {name: (value.shape, value.dtype) for name, value in found.items()} == expected
    # A trial would take 4 PB.
    assert gradkit.eval_shape(lambda key: random.bits(key, (10**15,)), random.key(0)).shape == (10**15,)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 256, 300, 5000])
def test_a_batch_of_running_sums_is_added_in_the_order_of_one(size: int, xp: Any) -> None:
    x = random.normal(random.key(2), (3, size))
    single = np.stack([np.asarray(running_sum(row)) for row in x])
    np.testing.assert_array_equal(gradkit.vmap(running_sum)(x), single)
    np.testing.assert_array_equal(gradkit.vmap(running_sum, 1)(jnp.transpose(x)), single)
    np.testing.assert_allclose(single, np.cumsum(np.asarray(x, np.float64), axis=1), rtol=1e-4, atol=1e-4)
