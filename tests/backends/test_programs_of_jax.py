"""On JAX an operation is compiled for a shape: other numbers and places of the same shapes take the same program."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
from gradkit_jax.slices import getitem, pad_index, set_index

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn, random


@pytest.fixture(autouse=True)
def _on_jax() -> Iterator[None]:
    with gradkit.use_backend("jax"):
        yield


V, M = np.arange(1.0, 13.0, dtype=np.float32), np.arange(12.0, dtype=np.float32).reshape(4, 3)
gradients = gradkit.grad

CALLS: dict[str, Callable[[Any, Any, int], Any]] = {
    "x[i]": lambda v, m, i: m[i],
    "x[-i]": lambda v, m, i: m[-i],
    "x[i, j]": lambda v, m, i: m[i, i - 1],
    "x[:, i]": lambda v, m, i: m[:, i - 1],
    "x[i:j]": lambda v, m, i: v[i : i + 3],
    "x[i:j:2]": lambda v, m, i: v[i : i + 6 : 2],
    "x[j:i:-1]": lambda v, m, i: v[i + 5 : i : -1],
    "x[[i]]": lambda v, m, i: v[np.array([i])],
    "the gradient of x[i]": lambda v, m, i: gradients(lambda m: m[i].sum())(m),
    "the gradient of x[i, j]": lambda v, m, i: gradients(lambda m: m[i, i - 1])(m),
    "the gradient of x[i:j]": lambda v, m, i: gradients(lambda v: v[i : i + 3].sum())(v),
    "the gradient of x[i:j:2]": lambda v, m, i: gradients(lambda v: v[i : i + 6 : 2].sum())(v),
    "the gradient of x[j:i:-1]": lambda v, m, i: gradients(lambda v: v[i + 5 : i : -1].sum())(v),
    "the gradient of x[[i]]": lambda v, m, i: gradients(lambda v: v[np.array([i])].sum())(v),
    "x.at[i].set": lambda v, m, i: v.at[i].set(i / 2),
    "x.at[i, j].set": lambda v, m, i: m.at[i, i - 1].set(0.0),
    "x.at[i].add": lambda v, m, i: v.at[i].add(i / 2),
    "x.at[i:j].set": lambda v, m, i: v.at[i : i + 2].set(0.0),
    "x.at[i:j:2].multiply": lambda v, m, i: v.at[i : i + 6 : 2].multiply(3.0),
    "dynamic_slice": lambda v, m, i: lax.dynamic_slice(v, (i,), (3,)),
    "dynamic_update_slice": lambda v, m, i: lax.dynamic_update_slice(v, v[:2], (i,)),
    "numbers beside arrays": lambda v, m, i: (v * (i / 2) + i) / (i + 1) - i,
    "a power": lambda v, m, i: v ** (i / 2 + 0.25),
    "the gradient of a power": lambda v, m, i: gradients(lambda v: (v ** (i / 2 + 0.25)).sum())(v),
    "a power of a number": lambda v, m, i: (i / 2) ** v,
    "a comparison": lambda v, m, i: v > i,
    "where": lambda v, m, i: jnp.where(v > i, i / 2, v),
    "clip": lambda v, m, i: jnp.clip(v, i, i + 1),
    "the gradient of clip": lambda v, m, i: gradients(lambda v: jnp.clip(v, i, i + 1).sum())(v),
    "a remainder": lambda v, m, i: v % i,
    "full": lambda v, m, i: jnp.full((3,), i / 2),
    "a large full": lambda v, m, i: jnp.full((5000,), i / 2),
    "arange": lambda v, m, i: jnp.arange(i, i + 5),
    "a large arange": lambda v, m, i: jnp.arange(i, i + 5000),
    "linspace": lambda v, m, i: jnp.linspace(i, i + 1, 7),
    "an array of numbers": lambda v, m, i: jnp.asarray([i, 2.0]),
    "take": lambda v, m, i: jnp.take(v, i),
    "pad": lambda v, m, i: jnp.pad(v, 2, constant_values=i),
    "quantile": lambda v, m, i: jnp.quantile(v, i / 10),
    "interp": lambda v, m, i: jnp.interp(i / 2, v, v),
    "searchsorted": lambda v, m, i: jnp.searchsorted(v, i / 2),
    "isclose": lambda v, m, i: jnp.isclose(v, i),
    "the variance": lambda v, m, i: jnp.var(v, ddof=i),
    "one_hot": lambda v, m, i: nn.one_hot(i, 5),
    "leaky_relu": lambda v, m, i: nn.leaky_relu(v, i / 10),
    "the gradient of elu": lambda v, m, i: gradients(lambda v: nn.elu(v, i / 2).sum())(v),
    "a key": lambda v, m, i: random.split(random.key(i)),
    "fold_in": lambda v, m, i: random.fold_in(random.key(0), i),
    "normal": lambda v, m, i: random.normal(random.key(i), (3,)),
    "uniform": lambda v, m, i: random.uniform(random.key(i), (3,), minval=i, maxval=i + 2),
    "permutation": lambda v, m, i: random.permutation(random.key(i), 5),
}


class Listener(logging.Handler):
    """Notes the programs that JAX says it compiles."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said.startswith("Compiling"):
            self.heard.append(said)


def compiled_by(call: Callable[[], Any]) -> list[str]:
    """Return what JAX compiles in a call."""
    log, listener = logging.getLogger("jax"), Listener()
    log.addHandler(listener)
    try:
        with jax.log_compiles():
            call()
    finally:
        log.removeHandler(listener)
    return listener.heard


OF_MANY_OPERATIONS = (
    *("interp", "isclose", "linspace", "normal", "pad", "permutation", "quantile", "searchsorted", "uniform"),
    *("the variance", "the gradient of clip", "the gradient of elu", "the gradient of a power"),
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name in OF_MANY_OPERATIONS else []) for name in CALLS],
)
def test_other_numbers_take_the_programs_that_are_there(name: str) -> None:
    arrays = jnp.asarray(V), jnp.asarray(M)
    compiled_by(lambda: CALLS[name](*arrays, 3))
    assert compiled_by(lambda: [CALLS[name](*arrays, i) for i in (3, 2, 1)]) == []


def test_compiling_is_heard() -> None:
    x = jnp.asarray(np.ones((5, 1, 7), np.float32))
    (said,) = compiled_by(lambda: x * 2)
    assert "multiply" in said


ENDS = (None, -5, -2, 0, 1, 3, 9)


@pytest.mark.parametrize("step", [None, 2, 3, -1, -2])
def test_slices_are_read_and_written_as_by_numpy(step: int | None) -> None:
    x = np.arange(4.0, dtype=np.float32)
    for start, stop in itertools.product(ENDS, ENDS):
        index = (slice(start, stop, step),)
        values, zeros, changed = x[index] + 10, np.zeros(4, np.float32), x.copy()
        zeros[index] = changed[index] = values
        np.testing.assert_array_equal(getitem(jax.device_put(x), index=index), x[index])
        np.testing.assert_array_equal(pad_index(jax.device_put(values), index=index, shape=(4,)), zeros)
        np.testing.assert_array_equal(set_index(jax.device_put(x), jax.device_put(values), index=index), changed)


INDICES = [
    (1, slice(None), slice(None)),
    (slice(None), 2, slice(0, 1)),
    (None, slice(3, None, -2), None, 4, slice(None), None),
    (slice(None, None, -1), slice(1, 4, 2), 1),
    (0, 0, 0),
    (slice(2, 2), slice(None), 1),
    (slice(1, None),),
    (2,),
    (None,),
    (),
]


@pytest.mark.parametrize("traced", [False, True], ids=["as they are", "traced"])
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indices_of_several_axes_are_read_and_written_as_by_numpy(index: tuple[Any, ...], traced: bool) -> None:
    run = jax.jit if traced else lambda function: function
    x = np.arange(48, dtype=np.int32).reshape(4, 6, 2)
    values, zeros, changed = x[index] + 100, np.zeros_like(x), x.copy()
    zeros[index] = changed[index] = values
    arrays = jax.device_put(x), jax.device_put(values)
    np.testing.assert_array_equal(run(lambda x, _: getitem(x, index=index))(*arrays), x[index])
    np.testing.assert_array_equal(run(lambda _, y: pad_index(y, index=index, shape=x.shape))(*arrays), zeros)
    np.testing.assert_array_equal(run(lambda x, y: set_index(x, y, index=index))(*arrays), changed)
