"""Minibatches, samples and splits: the rows, their order, and where they are."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import usual_widths

import gradkit
import gradkit.numpy as jnp
from gradkit import random
from gradkit.data import load_npy, minibatches, sample, split


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


def rows(n: int) -> tuple[Any, Any]:
    """Return rows that are told by their number, twice, in two forms."""
    return jnp.reshape(jnp.arange(2 * n), (n, 2)), jnp.arange(n)


@pytest.mark.parametrize(
    "n, size, drop_last", [(10, 3, False), (10, 3, True), (9, 3, True), (4, 100, False), (1, 1, True)]
)
def test_an_epoch_has_each_row_once_and_rows_stay_together(n: int, size: int, drop_last: bool, xp: Any) -> None:
    batches = minibatches(rows(n), size, random.key(0), drop_last=drop_last)
    seen = []
    for x, y in batches:
        assert host(x)[:, 0].tolist() == (2 * host(y)).tolist()
        seen.append(host(y))
    assert len(seen) == len(batches) == (n // size if drop_last else -(-n // size))
    together = np.concatenate(seen)
    assert len(set(together.tolist())) == len(together) == (n - n % size if drop_last else n)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_order_is_that_of_jax_permutation_on_every_backend(seed: int, xp: Any) -> None:
    _, y = rows(50)
    order = np.concatenate([host(batch) for batch in minibatches(y, 7, random.key(seed))])
    np.testing.assert_array_equal(order, jax.random.permutation(jax.random.key(seed), 50))
    from_host = np.concatenate([host(batch) for batch in minibatches(np.arange(50), 7, random.key(seed))])
    np.testing.assert_array_equal(order, from_host)


def test_each_pass_gives_the_same_with_a_key_and_another_without(xp: Any) -> None:
    _, y = rows(100)
    batches = minibatches(y, 100, random.key(1))
    assert next(iter(batches)).tolist() == next(iter(batches)).tolist()
    random.seed(0)
    batches = minibatches(y, 100)
    first = next(iter(batches)).tolist()
    assert next(iter(batches)).tolist() != first
    random.seed(0)
    assert next(iter(minibatches(y, 100))).tolist() == first


@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_start_leaves_out_the_first_batches_and_changes_nothing_else(n: int, size: int, data: st.DataObject) -> None:
    whole = [batch.tolist() for batch in minibatches(jnp.arange(n), size, random.key(n))]
    start = data.draw(st.integers(0, len(whole)))
    rest = minibatches(jnp.arange(n), size, random.key(n), start=start)
    assert len(rest) == len(whole) - start
    assert [batch.tolist() for batch in rest] == whole[start:]


def test_an_order_of_ones_own_says_which_rows_come_and_when(xp: Any) -> None:
    order = [4, 0, 4, 2, 1]
    batches = minibatches(rows(6), 2, order=np.asarray(order))
    assert [host(y).tolist() for _, y in batches] == [[4, 0], [4, 2], [1]]
    assert [host(x)[:, 0].tolist() for x, _ in batches] == [[8, 0], [8, 4], [2]]  # a pass gives it again
    assert len(batches) == 3
    on_device = minibatches({"x": np.arange(6) * 10.0}, 3, order=jnp.asarray(order), drop_last=True, start=0)
    assert [host(batch["x"]).tolist() for batch in on_device] == [[40.0, 0.0, 40.0]]


@pytest.mark.parametrize("options", [{"key": random.key(3)}, {"shuffle": False}, {"order": [4, 0, 2, 2, 9]}])
def test_a_batch_by_its_number_in_an_order_is_that_of_the_pass(options: dict[str, Any], xp: Any) -> None:
    x, _ = rows(10)
    batches = minibatches((x, np.arange(10)), 4, **options)
    order = batches.order()
    for number, (x_batch, y_batch) in enumerate(batches):
        found = batches.batch(number, order)
        assert found[0].tolist() == x_batch.tolist()
        assert found[1].tolist() == y_batch.tolist() == order[4 * number : 4 * number + 4].tolist()


def test_without_shuffle_batches_are_slices_in_order(xp: Any) -> None:
    assert [batch.tolist() for batch in minibatches(jnp.arange(5), 2, shuffle=False)] == [[0, 1], [2, 3], [4]]


def test_the_container_and_the_dtypes_come_out_as_they_went_in(xp: Any) -> None:
    arrays = {"x": jnp.ones((4, 2), "float64"), "rest": [jnp.arange(4, dtype="int16"), np.ones(4, "uint8")]}
    (batch,) = minibatches(arrays, 4, random.key(0))
    assert gradkit.tree.structure(batch) == gradkit.tree.structure(arrays)
    assert [leaf.dtype.name for leaf in gradkit.tree.leaves(batch)] == ["int16", "uint8", "float64"]


def test_arrays_stay_on_their_device_and_host_arrays_go_to_the_current_backend(backend: Any, xp: Any) -> None:
    last = gradkit.devices()[-1]
    arrays = (jnp.arange(6, device=last), np.arange(6))
    for on_device, from_host in (*minibatches(arrays, 3, random.key(0)), sample(arrays, 2, random.key(0))):
        assert on_device.device == last
        assert from_host.device == gradkit.devices()[0]
        assert on_device.tolist() == from_host.tolist()


def test_a_file_larger_than_the_memory_in_use_is_read_batch_by_batch(tmp_path: Path, xp: Any) -> None:
    path = tmp_path / "x.npy"
    written = np.lib.format.open_memmap(path, "w+", np.float32, (4000, 2000))  # 32 MB
    written[:, 0] = np.arange(4000)
    written.flush()
    del written
    x = load_npy(path, mmap=True)
    tracemalloc.start()
    try:
        seen = [host(batch)[:, 0].copy() for batch in minibatches(x, 50, random.key(0))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sorted(np.concatenate(seen).tolist()) == list(range(4000))
    assert peak < 4_000_000  # a batch has 400,000 bytes


@pytest.mark.parametrize("replace", [False, True])
def test_a_sample_is_the_choice_of_jax(replace: bool, xp: Any) -> None:
    x, y = sample(rows(20), 12, random.key(4), replace=replace)
    with usual_widths():
        expected = jax.random.choice(jax.random.key(4), 20, (12,), replace=replace)
    np.testing.assert_array_equal(host(y), expected)
    np.testing.assert_array_equal(host(x)[:, 1], 2 * np.asarray(expected) + 1)


def test_a_split_has_every_row_once_and_the_same_for_a_key(xp: Any) -> None:
    (train_x, train_y), (test_x, test_y) = split(rows(10), 0.3, random.key(0))
    assert (len(train_y), len(test_y)) == (7, 3)
    assert sorted(train_y.tolist() + test_y.tolist()) == list(range(10))
    assert host(train_x)[:, 0].tolist() == (2 * host(train_y)).tolist()
    assert host(test_x)[:, 0].tolist() == (2 * host(test_y)).tolist()
    np.testing.assert_array_equal(
        np.concatenate([host(train_y), host(test_y)]), jax.random.permutation(jax.random.key(0), 10)
    )
    assert [part.tolist() for part in split(jnp.arange(4), 0.5, shuffle=False)] == [[0, 1], [2, 3]]


def test_batches_can_be_differentiated(xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0, 3.0])
    gradient = gradkit.grad(lambda x: sum((batch**2).sum() for batch in minibatches(x, 2, random.key(0))))(x)
    assert gradient.tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: minibatches(rows(3), 0), ValueError, ["batch_size", "1 or more", "0"]),
        (lambda: minibatches(rows(3), 2.5), TypeError, ["batch_size", "integer", "2.5"]),
        (lambda: minibatches(rows(3), 4, drop_last=True), ValueError, ["batch_size is 4", "3 rows", "drop_last"]),
        (lambda: minibatches(rows(3), 2, start=3), ValueError, ["start", "between 0 and 2", "3"]),
        (lambda: minibatches(jnp.zeros((0, 2)), 2), ValueError, ["arrays", "(0, 2)", "no rows"]),
        (lambda: minibatches((jnp.ones(3), jnp.ones(4)), 2), ValueError, ["arrays[0]", "3 rows", "arrays[1]", "4"]),
        (lambda: minibatches(((), {}), 2), ValueError, ["no array"]),
        (lambda: minibatches([[1, 2], [3, 4]], 2), TypeError, ["arrays[0][0]", "gradkit.numpy.asarray"]),
        (lambda: minibatches(jnp.asarray(1.0), 2), ValueError, ["shape ()", "no rows"]),
        (lambda: minibatches(np.asarray(["a"]), 2), TypeError, ["dtype <U1", "numbers"]),
        (lambda: minibatches(rows(3), 2, order=np.asarray([0, 3])), IndexError, ["order", "row 3", "rows 0 to 2"]),
        (lambda: minibatches(rows(3), 2, order=np.asarray([-1])), IndexError, ["order", "row -1"]),
        (lambda: minibatches(rows(3), 2, order=[0.5]), TypeError, ["order", "integers", "float64"]),
        (lambda: minibatches(rows(3), 2, order=np.zeros((1, 1), int)), ValueError, ["order", "(1, 1)"]),
        (lambda: sample(rows(3), 4), ValueError, ["n is 4", "3 rows", "replace=True"]),
        (lambda: sample(rows(3), 0), ValueError, ["n must be 1 or more", "0"]),
        (lambda: sample((jnp.ones(3), jnp.ones(4)), 1), ValueError, ["arrays[0]", "arrays[1]"]),
        (lambda: split(rows(3), 1.5), ValueError, ["fraction", "between 0 and 1", "1.5"]),
        (lambda: split(rows(3), 0.01), ValueError, ["3 rows", "empty"]),
    ],
)
def test_bad_input_names_the_argument_and_what_came(call: Any, kind: type, words: list[str], xp: Any) -> None:
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
