"""Indices far out of range under jit: gathers clamp or fill, updates leave out, and nothing outside is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest
from references import by_jax

import gradkit
import gradkit.numpy as jnp
from gradkit import lax

X = np.arange(1.0, 31.0, dtype=np.float32).reshape(5, 6)
WILD = (0, 1, -1, 4, 5, -5, -6, 7, 100, -100, 127, -128, 2**31 - 1, -(2**31), 2**31 - 2)
WILDER = (*WILD, 2**63 - 1, -(2**63), 2**32, 2**32 + 1, -(2**32), 2**62, 2**63 // 6, -(2**63) // 5)

PROGRAMS: dict[str, Callable[..., Any]] = {
    "of rows": lambda m, n, x, i: x[i],
    "of columns": lambda m, n, x, i: x[:, i],
    "of both": lambda m, n, x, i: x[i, i],
    "take": lambda m, n, x, i: n.take(x, i, axis=0),
    "take, clip": lambda m, n, x, i: n.take(x, i, axis=1, mode="clip"),
    "take, wrap": lambda m, n, x, i: n.take(x, i, axis=1, mode="wrap"),
    "take, fill": lambda m, n, x, i: n.take(x, i, axis=1, mode="fill"),
    "along an axis": lambda m, n, x, i: n.take_along_axis(x, i[:5, None], axis=1),
    "set": lambda m, n, x, i: x.at[i].set(-7.0),
    "add": lambda m, n, x, i: x.at[i].add(x[0]),
    "multiply": lambda m, n, x, i: x.at[:, i].multiply(2.0),
    "max": lambda m, n, x, i: x.at[i, i].max(50.0),
    "min": lambda m, n, x, i: x.at[i[:, None], i[None]].min(-3.0),
    "set, drop": lambda m, n, x, i: x.at[i].set(1.0, mode="drop"),
    "set, clip": lambda m, n, x, i: x.at[i].set(1.0, mode="clip"),
    "get, fill": lambda m, n, x, i: x.at[i].get(mode="fill", fill_value=-5.0),
    "get, clip": lambda m, n, x, i: x.at[i].get(mode="clip"),
    "a slice": lambda m, n, x, i: m.lax.dynamic_slice(x, (i[0], i[1]), (2, 3)),
    "a slice's update": lambda m, n, x, i: m.lax.dynamic_update_slice(x, x[:2, :3] * 2, (i[0], i[1])),
    "a row": lambda m, n, x, i: m.lax.dynamic_index_in_dim(x, i[0], 1),
    "a row's update": lambda m, n, x, i: m.lax.dynamic_update_index_in_dim(x, x[0] * 3, i[0], 0),
    "one hot": lambda m, n, x, i: m.nn.one_hot(i, 6) @ x.T,
    "segments": lambda m, n, x, i: m.ops.segment_sum(x, i[:5], num_segments=4),
    "branches": lambda m, n, x, i: m.lax.switch(i[0], [lambda x: x, lambda x: x * 2, lambda x: x - 1], x),
    "a batch": lambda m, n, x, i: m.vmap(lambda k: x[k] + x.at[k].add(1.0).sum())(i),
    "slices of a batch": lambda m, n, x, i: m.vmap(lambda k: m.lax.dynamic_slice(x, (k, k), (2, 2)))(i),
    "in a loop": lambda m, n, x, i: m.lax.scan(lambda c, k: (c.at[k].add(c[k]), c[k]), x, i),
}  # fmt: skip


def draws(name: str, dtype: str, count: int) -> list[Any]:
    limits = np.iinfo(dtype)
    fitting = [i for i in WILDER if limits.min <= i <= limits.max] + [int(limits.max)]
    if dtype == "uint32":  # beyond, JAX takes them for negative ones
        fitting = [i for i in fitting if i < 2**31]
    generator = np.random.default_rng([len(name), limits.bits])
    return [generator.choice(np.asarray(fitting, dtype), 8) for _ in range(count)]


@by_jax
def results_of_jax(program: Callable[..., Any], name: str, dtype: str, count: int) -> list[list[np.ndarray]]:
    jitted = jax.jit(lambda x, i: program(jax, jax.numpy, x, i))
    return [[np.asarray(leaf) for leaf in jax.tree.leaves(jitted(X, i))] for i in draws(name, dtype, count)]


@pytest.mark.dealt("name", "dtype")
@pytest.mark.parametrize("dtype", ["int32", "int8", "uint8", "uint32"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_indices_out_of_range_do_under_jit_what_they_do_in_jax(name: str, dtype: str) -> None:
    program = PROGRAMS[name]
    with gradkit.use_backend("numpy"):
        jitted = gradkit.jit(lambda x, i: program(gradkit, jnp, x, i))
        for i, expected in zip(draws(name, dtype, 12), results_of_jax(program, name, dtype, 12), strict=True):
            found = gradkit.tree.leaves(jitted(jnp.asarray(X), jnp.asarray(i)))
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(np.asarray(one), other, 1e-5, err_msg=f"{i}")


def reference(name: str, i: Any) -> Any:
    """Compute with Python's numbers, which do not overflow, what some of the programs give."""
    rows = [int(k) for k in i]
    rows = [k + 5 if k < 0 else k for k in rows]
    inside = [k for k in rows if 0 <= k < 5]
    if name in ("of rows", "get, clip"):
        return X[[min(max(k, 0), 4) for k in rows]]
    if name == "take":
        return np.stack([X[k] if 0 <= k < 5 else np.full(6, np.nan, np.float32) for k in rows])
    if name == "get, fill":
        return np.stack([X[k] if 0 <= k < 5 else np.full(6, -5.0, np.float32) for k in rows])
    found = X.copy()
    for k in inside:
        found[k] = found[k] + X[0] if name == "add" else -7.0
    return found


@pytest.mark.parametrize("name", ["of rows", "get, clip", "take", "get, fill", "add", "set"])
def test_indices_of_64_bits_do_not_overflow(name: str) -> None:
    with gradkit.use_backend("numpy"):
        jitted = gradkit.jit(lambda x, i: PROGRAMS[name](gradkit, jnp, x, i))
        for i in draws(name, "int64", 40):
            wide = gradkit.Array(i)
            np.testing.assert_allclose(np.asarray(jitted(jnp.asarray(X), wide)), reference(name, i), err_msg=f"{i}")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "int8", "uint32", "uint64"])
def test_what_lies_beside_an_array_is_neither_read_nor_written(dtype: str) -> None:
    frame = np.full((15, 6), 1e30, np.float32)
    with gradkit.use_backend("numpy"):
        inner = frame[5:10]
        inner[...] = X
        functions = [
            gradkit.jit(lambda x, i, f=f: f(gradkit, jnp, x, i)) for name, f in PROGRAMS.items() if name != "take, fill"
        ]
        for i in draws("all", dtype, 6):
            for function in functions:
                for leaf in gradkit.tree.leaves(function(gradkit.Array(inner), gradkit.Array(i))):
                    values = np.asarray(leaf)
                    assert not (np.abs(values) > 1e6).any()
        np.testing.assert_array_equal(frame[:5], np.float32(1e30))
        np.testing.assert_array_equal(frame[10:], np.float32(1e30))
        np.testing.assert_array_equal(inner, X)


def test_positions_of_empty_arrays() -> None:
    with gradkit.use_backend("numpy"):
        x, i = jnp.zeros((0, 3)), jnp.asarray([], "int32")
        np.testing.assert_array_equal(np.asarray(gradkit.jit(lambda x, i: x[i])(x, i)), np.zeros((0, 3)))
        found = gradkit.jit(lambda x, i: x.at[i].set(1.0))(x, jnp.asarray([0, 5, -1]))
        assert found.shape == (0, 3)
        found = gradkit.jit(lambda x, i: lax.dynamic_slice(x, (i, i), (0, 2)))(x, jnp.asarray(9))
        assert found.shape == (0, 2)
