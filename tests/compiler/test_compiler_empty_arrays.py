"""Arrays without elements, in programs and in their loops and branches."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.backend import get_backend
from gradkit.compiler.executables import executable_of
from gradkit.core import Elementwise
from gradkit.core.namespace import PRIMITIVES

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


# What a dtype has no operation for is an error with elements and without

DTYPES = ("bool", "int8", "uint32", "float16", "float32", "complex64")
ELEMENTWISE = sorted(
    name
    for name, primitive in PRIMITIVES.items()
    if isinstance(primitive, Elementwise) and hasattr(jnp, name) and name != "where"  # of one array it asks for values
)


def outcome(function: Any, arrays: list[Any]) -> str:
    """Return the dtype of what a function gives, or that it raises."""
    try:
        return str([leaf.dtype for leaf in gradkit.tree.leaves(function(*arrays))])
    except (TypeError, ValueError, NotImplementedError):
        return "an error"


def twice(function: Any, x: Any) -> Any:
    once = function(x)
    return function(once) if type(once) is gradkit.Array else once


def count_of_arguments(function: Any) -> int:
    """Return how many arrays a function takes."""
    x = jnp.ones((2,), "int32")
    for count in (1, 2, 3):
        try:
            function(*[x] * count)
        except TypeError:
            continue
        return count
    raise AssertionError(f"{function} takes no arrays")


@pytest.mark.dealt
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_lacks_a_dtype_is_an_error_under_jit_as_well(
    dtype: str, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    wrong = []
    monkeypatch.setenv("GRADKIT_COMPILER", PRINTERS[-1])  # the one that compiles fastest
    with gradkit.use_backend("numpy"), np.errstate(all="ignore"):
        for name in ELEMENTWISE:
            function = getattr(jnp, name)
            count = count_of_arguments(function)
            programs = [function]
            if count == 1:
                programs.append(functools.partial(twice, function))
            for size, program in itertools.product((0, 2), programs):
                arrays = [jnp.ones(size, dtype)] * count
                eager, jitted = outcome(program, arrays), outcome(gradkit.jit(program), arrays)
                if eager != jitted:
                    wrong.append(f"{name}, {dtype}[{size}]: {jitted} for {eager}")
    assert not wrong, "\n".join(wrong)
