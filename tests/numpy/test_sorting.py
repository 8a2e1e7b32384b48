"""Sorting, searching, products, running sums, variances: against JAX in value, both modes, second order and vmap."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from against_jax import Entry, check, check_vmap, close
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from references import usual_widths

import gradkit
import gradkit.numpy as jnp
from gradkit import primitives
from gradkit.primitives import cumulative

RNG = np.random.default_rng(7)
X = RNG.normal(size=(3, 4))
TIES = np.asarray([[1.0, 0.0, 1.0, 0.0], [2.0, 2.0, 2.0, 1.0], [0.0, 0.0, 3.0, 0.0]])
ONE_ZERO = np.asarray([[1.5, 0.0, 2.0, -1.0], [2.0, 3.0, 0.5, 1.0], [0.0, 0.0, 3.0, 0.0]])
MASK = np.asarray([[True, False, True, True], [False, True, False, True], [True, True, True, False]])
PLACES = np.asarray([[2, 0], [3, 3], [-1, 1]])


def lax(name: str, xp: Any, *args: Any, **kwargs: Any) -> Any:
    return getattr(cumulative if xp is jnp else jax.lax, name)(*args, **kwargs)


ENTRIES: dict[str, Entry] = {
    "sort": Entry(lambda xp, x: xp.sort(x), (X,)),
    "sort along 0, descending": Entry(lambda xp, x: xp.sort(x, axis=0, descending=True), (X,)),
    "sort flattened": Entry(lambda xp, x: xp.sort(x, axis=None), (X,)),
    "sort with ties": Entry(lambda xp, x: xp.sort(x) ** 2, (TIES,)),
    "argsort": Entry(lambda xp, x: xp.argsort(x, axis=0), (TIES,), 0),
    "argsort descending": Entry(lambda xp, x: xp.argsort(x, descending=True), (TIES,), 0),
    "argsort flattened": Entry(lambda xp, x: xp.argsort(x, axis=None), (TIES,), 0),
    "lexsort": Entry(lambda xp, x, y: xp.lexsort((y, x)), (TIES, X), 0),
    "lexsort along 0": Entry(lambda xp, x, y: xp.lexsort((y, x), axis=0), (TIES, X), 0),
    "partition": Entry(lambda xp, x: xp.partition(x, 2)[..., 2], (X,)),
    "argpartition": Entry(lambda xp, x: xp.argpartition(x, 1, axis=0)[1], (X,), 0),
    "top_k": Entry(lambda xp, x: (primitives.top_k if xp is jnp else jax.lax.top_k)(x, 2), (X,)),
    "top_k with ties": Entry(lambda xp, x: (primitives.top_k if xp is jnp else jax.lax.top_k)(x, 3), (TIES,)),
    "searchsorted": Entry(lambda xp, x, v: xp.searchsorted(xp.sort(x), v), (TIES[0], X), 0),
    "searchsorted right": Entry(lambda xp, x, v: xp.searchsorted(xp.sort(x), v, side="right"), (X[0], TIES), 0),
    "searchsorted with a sorter": Entry(lambda xp, x, v: xp.searchsorted(x, v, sorter=xp.argsort(x)), (X[0], X[1]), 0),
    "take_along_axis": Entry(lambda xp, x, i: xp.take_along_axis(x, i, axis=1) ** 2, (X, PLACES)),
    "take_along_axis broadcast": Entry(lambda xp, x, i: xp.take_along_axis(x, i, axis=0), (X[:, :1], PLACES % 3)),
    "take_along_axis flattened": Entry(lambda xp, x, i: xp.take_along_axis(x, i, axis=None), (X, PLACES[0])),
    "take_along_axis fill": Entry(
        lambda xp, x, i: xp.take_along_axis(x, i * 3, axis=1, mode="fill", fill_value=7.0) ** 2, (X, PLACES)
    ),
    "take_along_axis clip": Entry(lambda xp, x, i: xp.take_along_axis(x, i * 3, axis=1, mode="clip"), (X, PLACES)),
    "put_along_axis": Entry(
        lambda xp, x, i, v: xp.put_along_axis(x, i, v, 1, inplace=False) ** 2, (X, PLACES * 2, X[:, :2] * 3)
    ),
    "put_along_axis along 0": Entry(
        lambda xp, x, v: xp.put_along_axis(x, xp.asarray([[2, 0, 1, 2]]), v, 0, inplace=False), (X, X[0])
    ),
    "put_along_axis flattened": Entry(
        lambda xp, x, i, v: xp.put_along_axis(x, i, v, None, inplace=False), (X, np.asarray([5, -1]), X[0, :2])
    ),
    "cumsum": Entry(lambda xp, x: xp.cumsum(x, axis=1) ** 2, (X,)),
    "cumsum flattened": Entry(lambda xp, x: xp.cumsum(x) ** 2, (X,)),
    "cumprod": Entry(lambda xp, x: xp.cumprod(x, axis=0) ** 2, (X,)),
    "cumprod with zeros": Entry(lambda xp, x: xp.cumprod(x, axis=1), (ONE_ZERO,)),
    "cumulative_sum": Entry(lambda xp, x: xp.cumulative_sum(x, axis=0, include_initial=True) ** 2, (X,)),
    "cumulative_prod": Entry(lambda xp, x: xp.cumulative_prod(x, axis=1, include_initial=True), (ONE_ZERO,)),
    "reversed cumsum": Entry(lambda xp, x: lax("cumsum", xp, x, axis=1, reverse=True) ** 2, (X,)),
    "reversed cumprod": Entry(lambda xp, x: lax("cumprod", xp, x, axis=1, reverse=True), (ONE_ZERO,)),
    "cummax": Entry(lambda xp, x: lax("cummax", xp, x, axis=1), (TIES,)),
    "reversed cummax": Entry(lambda xp, x: lax("cummax", xp, x, axis=0, reverse=True), (X,)),
    "cummin": Entry(lambda xp, x: lax("cummin", xp, x, axis=1), (TIES,)),
    "cumlogsumexp": Entry(lambda xp, x: lax("cumlogsumexp", xp, x, axis=1), (X,)),
    "prod": Entry(lambda xp, x: xp.prod(x), (X,)),
    "prod with zeros": Entry(lambda xp, x: xp.prod(x, axis=1), (ONE_ZERO,)),
    "prod of one": Entry(lambda xp, x: xp.prod(x[:, :1], axis=1) + xp.cumprod(x[:1], axis=0)[0, 1], (X,)),
    "prod of none": Entry(lambda xp, x: xp.prod(x[:, 2:2], axis=1) + xp.cumprod(x[:0], axis=0).sum(), (X,)),
    "prod over two axes": Entry(lambda xp, x: xp.prod(x[None] * xp.ones((2, 1, 1)), axis=(0, 2), keepdims=True), (X,)),
    "prod where": Entry(lambda xp, x, m: xp.prod(x, axis=0, where=m, initial=2.0), (ONE_ZERO, MASK)),
    "sum where": Entry(lambda xp, x, m: xp.sum(x**2, axis=0, where=m, initial=2.0), (X, MASK)),
    "mean where": Entry(lambda xp, x, m: xp.mean(x**2, axis=1, where=m), (X, MASK)),
    "max where": Entry(lambda xp, x, m: xp.max(x, axis=1, where=m, initial=-0.5), (X, MASK)),
    "min initial": Entry(lambda xp, x: xp.min(x, axis=0, initial=0.25), (X,)),
    "var": Entry(lambda xp, x: xp.var(x, axis=1), (X,)),
    "var with correction": Entry(lambda xp, x: xp.var(x, axis=0, correction=1, keepdims=True), (X,)),
    "var where": Entry(lambda xp, x, m: xp.var(x, axis=1, where=m, ddof=1), (X, MASK)),
    "var at a constant": Entry(lambda xp, x: xp.var(x, axis=0), (np.ones((3, 2)),)),
    "std": Entry(lambda xp, x: xp.std(x, axis=1, ddof=1), (X,)),
    "std at a constant": Entry(lambda xp, x: xp.std(x, axis=0), (np.ones((3, 2)),), 1),
    "any": Entry(lambda xp, x: xp.any(x, axis=1), (TIES,), 0),
    "all where": Entry(lambda xp, x, m: xp.all(x, axis=0, where=m, keepdims=True), (TIES, MASK), 0),
    "count_nonzero": Entry(lambda xp, x: xp.count_nonzero(x, axis=0), (TIES,), 0),
    "argmax": Entry(lambda xp, x: xp.argmax(x, axis=0), (TIES,), 0),
    "argmax flattened": Entry(lambda xp, x: xp.argmax(x, keepdims=True), (X,), 0),
    "argmin": Entry(lambda xp, x: xp.argmin(x, axis=1, keepdims=True), (TIES,), 0),
    "logsumexp": Entry(lambda xp, x: logsumexp(xp)(x, axis=1), (X,)),
    "logsumexp with factors": Entry(lambda xp, x, b: logsumexp(xp)(x, axis=0, b=b), (X, np.abs(X[0]))),
    "logsumexp with sign": Entry(lambda xp, x, b: logsumexp(xp)(x, axis=1, b=b, return_sign=True)[0], (X, X - 0.2)),
    "logsumexp where": Entry(lambda xp, x, m: logsumexp(xp)(x, axis=1, where=m, keepdims=True), (X, MASK)),
}


def logsumexp(xp: Any) -> Any:
    return primitives.logsumexp if xp is jnp else jax.scipy.special.logsumexp


PARAMETERS = [pytest.param(entry, id=name) for name, entry in ENTRIES.items()]


# The derivative of a standard deviation at a constant is NaN, and NumPy warns of how it comes about.
NAN_IS_EXPECTED = pytest.mark.filterwarnings("ignore:(divide by zero|invalid value)")


@NAN_IS_EXPECTED
@pytest.mark.parametrize("entry", PARAMETERS)
def test_value_and_derivatives_agree_with_jax(entry: Entry, xp: Any) -> None:
    check(entry, xp)


@NAN_IS_EXPECTED
@pytest.mark.parametrize("entry", PARAMETERS)
def test_vmap_agrees_with_jax(entry: Entry, xp: Any) -> None:
    check_vmap(entry, xp)


@pytest.mark.parametrize("entry", PARAMETERS)
def test_the_graph_computes_what_the_function_computes(entry: Entry, xp: Any) -> None:
    arrays = [xp.asarray(np.asarray(array)) for array in entry.arrays]
    expected = entry.ours(*arrays)
    shapes = gradkit.eval_shape(entry.ours, *arrays)
    for one, other in zip(_tuple(shapes), _tuple(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
numbers = hnp.arrays(np.float64, shapes, elements=st.floats(-4, 4).map(lambda x: round(x * 2) / 2))


@given(numbers, st.booleans(), st.integers(-1, 0))
def test_argsort_is_stable_and_sorts(x: np.ndarray, descending: bool, axis: int) -> None:
    order = np.asarray(gradkit.device_get(jnp.argsort(jnp.asarray(x), axis=axis, descending=descending)))
    expected = np.argsort(-x if descending else x, axis=axis, kind="stable")
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_array_equal(
        gradkit.device_get(jnp.sort(jnp.asarray(x), axis=axis, descending=descending)),
        np.take_along_axis(x, expected, axis=axis),
    )


@given(hnp.arrays(np.float64, st.integers(0, 9), elements=st.sampled_from([0.0, 0.5, -2.0, 3.0])))
def test_gradients_of_products_are_products_of_the_others(x: np.ndarray) -> None:
    others = np.asarray([np.prod(np.delete(x, i)) for i in range(x.size)])
    np.testing.assert_allclose(gradkit.device_get(gradkit.grad(jnp.prod)(jnp.asarray(x))), others.reshape(x.shape))
    expected = np.asarray([sum(np.prod(np.delete(x[: k + 1], i)) for k in range(i, x.size)) for i in range(x.size)])
    found = gradkit.grad(lambda x: jnp.cumprod(x).sum())(jnp.asarray(x))
    np.testing.assert_allclose(gradkit.device_get(found), expected.reshape(x.shape))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "int64", "float16", "float32"])
@pytest.mark.parametrize("name", ["prod", "cumsum", "cumprod", "var", "std", "sort", "argsort", "any", "count_nonzero"])
def test_dtypes_are_jaxs(name: str, dtype: str, xp: Any) -> None:
    if dtype == "float16" and xp.ones(1).device.backend == "strict":
        pytest.skip("the standard has no float16")
    x = np.asarray([1, 0, 1]).astype(dtype)
    with usual_widths():
        expected = getattr(J, name)(J.asarray(x)) if dtype != "int64" else None
    got = getattr(xp, name)(xp.asarray(x))
    if expected is not None:
        assert got.dtype == expected.dtype
        close(got, expected, 1e-3)


def test_nan_is_the_largest_number(xp: Any) -> None:
    x = np.asarray([2.0, np.nan, 1.0])
    close(xp.sort(xp.asarray(x)), np.asarray([1.0, 2.0, np.nan]))
    close(xp.argsort(xp.asarray(x), descending=True), np.asarray([1, 0, 2]))
    batch = gradkit.vmap(lambda row: xp.searchsorted(row, xp.asarray([1.5, np.nan], dtype="float64")))
    close(batch(xp.asarray(np.asarray([[1.0, 2.0, np.nan]]))), np.asarray([[1, 2]]))


ERRORS = {
    "top_k": (lambda xp: primitives.top_k(xp.ones(3), 4), ValueError, "k=4"),
    "partition": (lambda xp: xp.partition(xp.ones(3), 3), ValueError, "kth=3"),
    "side": (lambda xp: xp.searchsorted(xp.ones(3), 1.0, side="middle"), ValueError, "middle"),
    "take_along_axis rank": (
        lambda xp: xp.take_along_axis(xp.ones(3), xp.ones((1, 1), dtype=int), 0),
        ValueError,
        "2 vs. 1",
    ),
    "take_along_axis dtype": (lambda xp: xp.take_along_axis(xp.ones(3), xp.ones(1), 0), TypeError, "integers"),
    "put_along_axis": (lambda xp: xp.put_along_axis(xp.ones(3), xp.asarray([0]), 1.0, 0), ValueError, "inplace=False"),
    "max where": (lambda xp: xp.max(xp.ones(3), where=xp.ones(3) > 0), ValueError, "initial"),
    "out": (lambda xp: xp.prod(xp.ones(3), out=xp.ones(())), NotImplementedError, "out"),
    "ddof": (lambda xp: xp.var(xp.ones(3), ddof=1, correction=1), ValueError, "simultaneously"),
    "kind": (lambda xp: xp.sort(xp.ones(3), kind="stable"), TypeError, "kind"),
    "axis": (lambda xp: xp.sort(xp.ones(3), axis=1), ValueError, "axis 1"),
    "cumulative_sum": (lambda xp: xp.cumulative_sum(xp.ones((2, 2))), ValueError, "rank 2"),
}


@pytest.mark.parametrize("call, kind, message", ERRORS.values(), ids=ERRORS)
def test_errors_name_what_is_wrong(call: Any, kind: type[Exception], message: str, xp: Any) -> None:
    with pytest.raises(kind, match=message):
        call(xp)
