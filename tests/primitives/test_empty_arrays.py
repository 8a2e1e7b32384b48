"""Empty arrays: `vmap` over no elements, and first and second derivatives along axes of size 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax, nn
from gradkit.scipy import special

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def with_an_axis() -> list[tuple[str, Callable[..., Any]]]:
    """List the functions that take an axis and work along it without more arguments."""
    import inspect

    found = []
    for module in (jnp, nn):
        for name in module.__all__:
            function = getattr(module, name)
            if isinstance(function, type) or not callable(function):
                continue
            parameters = inspect.signature(function).parameters
            needed = [p for p in parameters.values() if p.default is p.empty and p.kind in (0, 1)]
            if "axis" in parameters and len(needed) == 1 and parameters["axis"].default is not inspect.Parameter.empty:
                found.append((f"{module.__name__.rpartition('.')[2]}.{name}", function))
    return found


FUNCTIONS = with_an_axis()


def outcome(f: Callable[..., Any], x: Any) -> Any:
    """Return the shapes of all results, or the error's class."""
    try:
        return [tuple(np.shape(leaf)) for leaf in gradkit.tree.leaves(f(x))]
    except (ValueError, TypeError, IndexError, NotImplementedError) as error:
        return type(error)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("name, f", FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_what_has_a_value_on_an_empty_array_has_two_derivatives(
    name: str, f: Callable[..., Any], shape: tuple[int, ...], xp: Any
) -> None:
    def loss(x: Any) -> Any:
        floats = [y for y in gradkit.tree.leaves(f(x, axis=1)) if jnp.asarray(y).dtype.kind == "f"]
        return sum((jnp.sum(y) for y in floats), jnp.sum(x) * 0)

    x = xp.zeros(shape)
    if isinstance(outcome(lambda x: f(x, axis=1), x), type):
        return
    if name == "numpy.trim_zeros":  # its shape depends on values
        return
    first = gradkit.grad(loss)
    assert first(x).shape == shape
    assert gradkit.grad(lambda x: jnp.sum(first(x)))(x).shape == shape
    assert gradkit.jvp(loss, (x,), (x,))[1].shape == ()


@pytest.mark.parametrize("name, f", FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_vmap_over_no_elements_gives_the_shapes_of_vmap_over_one(name: str, f: Callable[..., Any], xp: Any) -> None:
    for function in (lambda x: f(x, axis=0), gradkit.grad(lambda x: _sum(f(x, axis=0)) + jnp.sum(x))):
        one = outcome(gradkit.vmap(function), xp.ones((1, 3, 2)))
        none = outcome(gradkit.vmap(function), xp.ones((0, 3, 2)))
        assert none == (one if isinstance(one, type) else [(0, *shape[1:]) for shape in one])


def _sum(tree: Any) -> Any:
    return sum(jnp.sum(y).astype("float32") for y in gradkit.tree.leaves(tree))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_nothing_there_are_no_shares_and_the_sum_of_exponentials_is_0(dtype: str, xp: Any) -> None:
    x = xp.zeros((2, 0), dtype=dtype)
    for f in (nn.softmax, nn.log_softmax, special.softmax, special.log_softmax):
        assert f(x, axis=1).shape == (2, 0)
        assert gradkit.grad(lambda x, f=f: f(x, axis=1).sum())(x).shape == (2, 0)
        assert f(x[0], axis=0).dtype == dtype
    calls = [
        lambda x: nn.logsumexp(x, axis=1),
        lambda x: special.logsumexp(x, axis=1),
        lambda x: special.logsumexp(x, axis=1, b=x),
        lambda x: special.logsumexp(x, axis=1, return_sign=True)[0],
        lambda x: gradkit.vmap(nn.logsumexp)(x),
    ]
    for call in calls:
        np.testing.assert_array_equal(gradkit.device_get(call(x)), [-np.inf, -np.inf])
        slope = gradkit.grad(lambda x, call=call: call(x).sum())
        assert slope(x).shape == gradkit.grad(lambda x, slope=slope: slope(x).sum())(x).shape == (2, 0)
    assert nn.logsumexp(x, axis=1, keepdims=True).shape == (2, 1)


INDEXED: dict[str, Callable[..., Any]] = {
    "getitem": lambda i: jnp.arange(3.0)[i],
    "row": lambda i: jnp.ones((3, 2))[i],
    "two": lambda i: jnp.ones((3, 2))[i, i % 2],
    "take": lambda i: jnp.take(jnp.arange(3.0), i),
    "set": lambda i: jnp.zeros(3).at[i].set(1.0),
    "add": lambda i: jnp.zeros(3).at[i].add(1.0),
    "add_rows": lambda i: jnp.zeros((3, 2)).at[i].add(jnp.ones(2)),
    "multiply": lambda i: jnp.ones(3).at[i].multiply(2.0),
    "max": lambda i: jnp.ones(3).at[i].max(2.0),
    "dynamic_slice": lambda i: lax.dynamic_slice(jnp.arange(3.0), (i,), (2,)),
    "dynamic_update_slice": lambda i: lax.dynamic_update_slice(jnp.arange(3.0), jnp.ones(1), (i,)),
    "one_hot": lambda i: nn.one_hot(i, 4),
    "searchsorted": lambda i: jnp.searchsorted(jnp.arange(3), i),
    "matmul": lambda i: jnp.ones((2, 3)) @ (jnp.ones(3) * i),
    "solve": lambda i: jnp.linalg.solve(jnp.eye(2), jnp.ones(2) * i),
    "cond": lambda i: lax.cond(i > 0, lambda i: i * 2.0, lambda i: i * 3.0, i),
    "random": lambda i: gradkit.random.normal(gradkit.random.fold_in(gradkit.random.key(0), i), (2,)),
    "nested": lambda i: gradkit.vmap(lambda j: jnp.arange(3.0)[j])(jnp.arange(2)) * i,
}


@pytest.mark.parametrize("name", INDEXED)
def test_vmap_over_no_positions(name: str, xp: Any) -> None:
    f = INDEXED[name]
    (shape,) = outcome(f, jnp.asarray(np.asarray(1)))
    assert outcome(gradkit.vmap(f), xp.asarray(np.zeros(0, np.int64))) == [(0, *shape)]


def test_the_gradient_of_what_no_element_uses_is_zero(xp: Any) -> None:
    w = xp.asarray(np.asarray([1.0, 2.0]))
    x = xp.asarray(np.zeros((0, 2)))
    gradient = gradkit.grad(lambda w: jnp.sum(gradkit.vmap(lambda r: jnp.sin(r @ w))(x)))(w)
    assert np.asarray(gradkit.device_get(gradient)).tolist() == [0.0, 0.0]
