"""Arrays without elements, in programs and in their loops and branches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import get_backend
from gradkit.compiler.executables import executable_of

PRINTERS = [printer.name for printer in get_backend("numpy").printers]


def elementwise(m: Any, n: Any, x: Any) -> Any:
    return x * 2 + 1, n.sin(x.T), n.concatenate([x, x]), n.where(x > 0, x, 0), x.astype("int32")


def reductions(m: Any, n: Any, x: Any) -> Any:
    return x.sum(), x.sum(0), x.sum(1), x.prod(0), (x > 0).any(), (x > 0).all(1), x @ x.T, x.T @ x


def in_loops(m: Any, n: Any, x: Any) -> Any:
    def step(c: Any, r: Any) -> Any:
        return c + r.sum(), (r * 2, c)

    once = m.lax.scan(lambda c, _: (c + x.sum(0).sum(), x * c), 1.0, None, 3)
    return m.lax.scan(step, 1.0, x), once, m.lax.fori_loop(0, 2, lambda i, c: c * 2 + x.sum(1).sum(), x.T)


def in_branches(m: Any, n: Any, x: Any) -> Any:
    return m.lax.cond(x.sum() > 0, lambda x: (x * 2, x.sum(0)), lambda x: (x, x.sum(0) + 1), x)


def updates(m: Any, n: Any, x: Any) -> Any:
    none = n.zeros((0,), "int32")
    return x.at[none].set(1.0), n.ones(4).at[none].add(2.0), n.ones(4)[none], n.ones((4, 2)).at[:, none].set(3.0)


@pytest.mark.parametrize("printer", PRINTERS)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize(
    "function", [elementwise, reductions, in_loops, in_branches, updates], ids=lambda f: f.__name__
)
def test_arrays_without_elements_give_what_they_give_in_jax(
    function: Any, shape: Any, printer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", printer)
    x = np.zeros(shape, np.float32)
    expected = jax.tree.leaves(function(jax, jax.numpy, jax.numpy.asarray(x)))
    with gradkit.use_backend("numpy"):
        graph = gradkit.make_jaxpr(lambda x: function(gradkit, jnp, x))(jnp.asarray(x)).jaxpr
        run = executable_of(graph)
        constants = [array for _, array in graph.constants]
        jitted = gradkit.jit(lambda x: function(gradkit, jnp, x))
        for found in (run([*constants, jnp.asarray(x)]), gradkit.tree.leaves(jitted(jnp.asarray(x)))):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
