"""Indexing and updates by index: against NumPy's forms, and JAX's derivatives, batches and modes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from against_jax import Entry, check, check_vmap, close
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from random_inputs import examples

import gradkit
import gradkit.numpy as jnp
from gradkit.primitives import dynamic

RNG = np.random.default_rng(3)
X = RNG.normal(size=(3, 4))
CUBE = RNG.normal(size=(2, 3, 4))
PLACES = np.asarray([2, 0, 2])
OUTSIDE = np.asarray([1, 9, -7])


def lax(name: str, xp: Any, *args: Any) -> Any:
    return getattr(dynamic if xp is jnp else jax.lax, name)(*args)


ENTRIES: dict[str, Entry] = {
    # x[index] and take
    "array": Entry(lambda xp, x, i: x[i] ** 2, (X, PLACES)),
    "array behind a slice": Entry(lambda xp, x, i: x[1:, ::-1][..., i] ** 2, (X, PLACES)),
    "two arrays": Entry(lambda xp, x, i, j: x[i, :, j] ** 2, (CUBE, PLACES % 2, PLACES)),
    "two arrays that broadcast": Entry(lambda xp, x, i, j: x[i[:, None], j] ** 2, (X, PLACES, PLACES)),
    "array, None, integer": Entry(lambda xp, x, i: x[i, None, ..., 1], (CUBE, PLACES % 2)),
    "two arrays, an ellipsis of no axes between them": Entry(
        lambda xp, x, i, j: x[:, i, ..., j] ** 2, (CUBE, PLACES, PLACES)
    ),
    "take": Entry(lambda xp, x, i: xp.take(x, i, axis=1) ** 2, (X, PLACES)),
    "take flattened": Entry(lambda xp, x, i: xp.take(x, i, axis=None), (X, PLACES)),
    "take clip": Entry(lambda xp, x, i: xp.take(x, i, axis=0, mode="clip"), (X, OUTSIDE)),
    "take wrap": Entry(lambda xp, x, i: xp.take(x, i, axis=0, mode="wrap"), (X, OUTSIDE)),
    "take fill": Entry(lambda xp, x, i: xp.take(x, i, axis=1, mode="fill", fill_value=2.0) ** 2, (X, OUTSIDE)),
    "get": Entry(lambda xp, x, i: x.at[i].get(), (X, OUTSIDE), 0),
    "get clipped": Entry(lambda xp, x, i: x.at[i].get(mode="clip") ** 2, (X, OUTSIDE)),
    "get fill": Entry(lambda xp, x, i: x.at[:, i].get(mode="fill", fill_value=0), (X, OUTSIDE)),
    "get fill of two": Entry(lambda xp, x, i, j: x.at[i, j].get(mode="fill", fill_value=5), (X, OUTSIDE, PLACES)),
    "get outside": Entry(lambda xp, x: x.at[7, -9].get(), (X,)),
    # Updates without arrays
    "set integer": Entry(lambda xp, x, y: x.at[1].set(y) ** 2, (X, X[0])),
    "set outside": Entry(lambda xp, x, y: x.at[5].set(y) ** 2, (X, X[0])),
    "set outside, clipped": Entry(lambda xp, x, y: x.at[5].set(y, mode="clip") ** 2, (X, X[0])),
    "set slice": Entry(lambda xp, x, y: x.at[::-2, 1:3].set(y) ** 2, (X, X[:2, :1])),
    "set None and ellipsis": Entry(lambda xp, x, y: x.at[..., None, 2].set(y), (X, X[:, :1])),
    "add slice": Entry(lambda xp, x, y: x.at[1:].add(y**2), (X, X[0])),
    "subtract slice": Entry(lambda xp, x, y: x.at[:, 1].subtract(y**2), (X, X[:, 0])),
    "multiply slice": Entry(lambda xp, x, y: x.at[1:].multiply(y), (X, X[0])),
    "divide slice": Entry(lambda xp, x, y: x.at[1:].divide(y, unique_indices=True), (X, X[0])),
    "power slice": Entry(lambda xp, x, y: x.at[:, 2].power(y, unique_indices=True), (np.abs(X), X[:, 0])),
    "min slice": Entry(lambda xp, x, y: x.at[1:].min(y), (X, X[0]), 0),
    "max slice": Entry(lambda xp, x, y: x.at[0].max(y), (X, X[1]), 0),
    "apply slice": Entry(lambda xp, x: x.at[1:].set(xp.sin(x[1:])), (X,)),
    "empty slice": Entry(lambda xp, x, y: x.at[2:1].set(y), (X, X[0])),
    # Updates with arrays; index 2 comes twice
    "set": Entry(lambda xp, x, i, y: x.at[i].set(y) ** 2, (X, PLACES, X * 2)),
    "set number": Entry(lambda xp, x, i: x.at[:, i].set(1.5) ** 2, (X, PLACES)),
    "set dropped": Entry(lambda xp, x, i, y: x.at[i].set(y) ** 2, (X, OUTSIDE, X * 2)),
    "set clipped": Entry(lambda xp, x, i, y: x.at[:, i].set(y, mode="clip") ** 2, (X, OUTSIDE, X[:, :1])),
    "set two arrays": Entry(lambda xp, x, i, y: x.at[i % 2, :, i].set(y) ** 2, (CUBE, PLACES, X[:, :3])),
    "set two arrays and a slice": Entry(lambda xp, x, i, y: x.at[i % 2, 1:, i].set(y), (CUBE, PLACES, X[:, :2])),
    "set array and integer": Entry(lambda xp, x, i, y: x.at[0, :, i].set(y), (CUBE, PLACES, X[:, :3])),
    "set two arrays, an ellipsis of no axes between them": Entry(
        lambda xp, x, i, y: x.at[:, i % 2, ..., i].set(y), (CUBE, PLACES, X[:, :2])
    ),
    "set open mesh": Entry(
        lambda xp, x, y: x.at[xp.ix_(xp.asarray([0, 2]), xp.asarray([3, 1]))].set(y), (X, X[:2, :2])
    ),
    "add": Entry(lambda xp, x, i, y: x.at[i].add(y) ** 2, (X, PLACES, X)),
    "add dropped": Entry(lambda xp, x, i, y: x.at[i, i].add(y) ** 2, (X, OUTSIDE, X[0, :3])),
    "subtract": Entry(lambda xp, x, i, y: x.at[:, i].subtract(y) ** 2, (X, PLACES, X[:, :3])),
    "multiply": Entry(
        lambda xp, x, i, y: x.at[:, i].multiply(y, unique_indices=True) ** 2, (X, np.asarray([2, 0]), X[:, :2])
    ),
    "multiply by numbers": Entry(lambda xp, x, i: x.at[i].multiply(3.0) ** 2, (X, PLACES)),
    "divide": Entry(
        lambda xp, x, i, y: x.at[:, i].divide(y, unique_indices=True) ** 2, (X, np.asarray([2, 0]), X[:, :2])
    ),
    "power": Entry(lambda xp, x, i, y: x.at[i].power(y, unique_indices=True), (np.abs(X), np.asarray([2, 0]), X[:2])),
    "min": Entry(lambda xp, x, i, y: x.at[i].min(y) ** 2, (X, PLACES, X), 1),
    "max": Entry(lambda xp, x, i, y: x.at[:, i].max(y) ** 2, (X, PLACES, X[:, :3]), 1),
    "max of equal ones": Entry(lambda xp, x, i, y: x.at[i].max(y) ** 2, (np.ones(3), PLACES, np.ones(3)), 1),
    "min dropped": Entry(lambda xp, x, i, y: x.at[i].min(y), (X, OUTSIDE, X), 1),
    "put": Entry(lambda xp, x, i, y: xp.put(x, i, y, inplace=False), (X, np.asarray([1, 50, -2]), X[0, :2])),
    "put wrapped": Entry(lambda xp, x, i, y: xp.put(x, i, y, mode="wrap", inplace=False), (X, OUTSIDE * 3, X[0, :3])),
    "fill_diagonal": Entry(lambda xp, x, y: xp.fill_diagonal(x, y, inplace=False), (X, X[0, :2])),
    "place": Entry(lambda xp, x, y: xp.place(x, xp.asarray(X > 0), y, inplace=False), (X, X[0, :2])),
    # Slices whose place is computed
    "dynamic_slice": Entry(
        lambda xp, x, i: lax("dynamic_slice", xp, x, (i[0], i[1]), (2, 2)) ** 2, (X, np.asarray([1, 3]))
    ),
    "dynamic_slice with integers": Entry(lambda xp, x, i: lax("dynamic_slice", xp, x, (-2, i), (1, 4)), (X, PLACES[0])),
    "dynamic_slice_in_dim": Entry(lambda xp, x, i: lax("dynamic_slice_in_dim", xp, x, i, 2, 1), (X, np.asarray(-9))),
    "dynamic_index_in_dim": Entry(lambda xp, x, i: lax("dynamic_index_in_dim", xp, x, i, 1, False), (X, PLACES[1])),
    "dynamic_update_slice": Entry(
        lambda xp, x, y, i: lax("dynamic_update_slice", xp, x, y, (i, 1)) ** 2, (X, X[:2, :2], np.asarray(2))
    ),
    "dynamic_update_slice_in_dim": Entry(
        lambda xp, x, y, i: lax("dynamic_update_slice_in_dim", xp, x, y, i, 0) ** 2, (X, X[:2], np.asarray(0))
    ),
    "dynamic_update_index_in_dim": Entry(
        lambda xp, x, y, i: lax("dynamic_update_index_in_dim", xp, x, y, i, 1) ** 2, (X, X[:, 0], np.asarray(7))
    ),
    # Positions
    "nonzero": Entry(lambda xp, x: xp.nonzero(x > 0, size=5), (X,), 0),
    "nonzero fill": Entry(lambda xp, x: xp.nonzero(x > 0, size=14, fill_value=(7, -1)), (X,), 0),
    "flatnonzero": Entry(lambda xp, x: xp.flatnonzero(x > 0, size=9, fill_value=99), (X,), 0),
    "argwhere": Entry(lambda xp, x: xp.argwhere(x > 0, size=9, fill_value=-1), (X,), 0),
    "unravel_index": Entry(lambda xp, i: xp.unravel_index(i, (2, 3)), (np.asarray([5, 100, -1, -100]),), 0),
    "ravel_multi_index": Entry(
        lambda xp, i, j: xp.ravel_multi_index((i, j), (3, 4), mode="clip", order="F"), (OUTSIDE, PLACES), 0
    ),
    "ravel_multi_index wrap": Entry(
        lambda xp, i, j: xp.ravel_multi_index((i, j), (3, 4), mode="wrap"), (OUTSIDE, PLACES), 0
    ),
}
PARAMETERS = [pytest.param(entry, id=name) for name, entry in ENTRIES.items()]


@pytest.mark.parametrize("entry", PARAMETERS)
def test_value_and_derivatives_agree_with_jax(entry: Entry, xp: Any) -> None:
    check(entry, xp)


# JAX takes the nearest element, or fills, where we can see that an index is out of range and raise.
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


HOST_ONLY = {
    "nonzero": lambda xp: xp.nonzero(xp.asarray(X > 0)),
    "argwhere": lambda xp: xp.argwhere(xp.asarray(X > 0)),
    "ix_": lambda xp: xp.ix_(xp.asarray([2, 0]), xp.asarray([4, 5, 1])),
    "indices": lambda xp: xp.indices((2, 3)),
    "indices sparse": lambda xp: xp.indices((2, 3), sparse=True),
    "diag_indices": lambda xp: xp.diag_indices(3, 3),
    "diag_indices_from": lambda xp: xp.diag_indices_from(xp.ones((2, 2))),
    "tril_indices": lambda xp: xp.tril_indices(3, 1, 4),
    "triu_indices": lambda xp: xp.triu_indices(4, -1, 3),
    "tril_indices_from": lambda xp: xp.tril_indices_from(xp.ones((3, 2)), -1),
    "triu_indices_from": lambda xp: xp.triu_indices_from(xp.ones((3, 2))),
    "mask_indices": lambda xp: xp.mask_indices(3, xp.triu, 1),
    "ravel_multi_index": lambda xp: xp.ravel_multi_index((xp.asarray([1]), xp.asarray([2])), (2, 3)),
}


@pytest.mark.parametrize("name", HOST_ONLY)
def test_positions_agree_with_jax(name: str, xp: Any) -> None:
    close(HOST_ONLY[name](xp), HOST_ONLY[name](J))


# Every form of index, drawn


@st.composite
def arrays_and_indices(draw: Any) -> tuple[np.ndarray, Any]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    x = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    kind = draw(st.sampled_from(["basic", "arrays", "mixed", "mask"]))
    if kind == "basic":
        return x, draw(hnp.basic_indices(shape, allow_newaxis=True))
    if kind == "arrays":
        return x, draw(hnp.integer_array_indices(shape))
    if kind == "mask":
        return x, draw(hnp.arrays(bool, shape[: draw(st.integers(1, len(shape)))]))
    parts: list[Any] = []
    for size in shape:
        place = st.integers(-size, size - 1)
        parts.append(draw(st.one_of(place, st.slices(size), st.lists(place, min_size=2, max_size=2).map(np.asarray))))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    return x, tuple(parts)


def moved(xp: Any, index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(moved(xp, part) for part in index)
    return xp.asarray(index) if isinstance(index, np.ndarray) else index


@given(arrays_and_indices())
@settings(max_examples=examples(150))
def test_every_index_gives_what_numpy_gives(xp: Any, case: tuple[np.ndarray, Any]) -> None:
    x, index = case
    got = xp.asarray(x)[moved(xp, index)]
    np.testing.assert_array_equal(gradkit.device_get(got), x[index])


@given(arrays_and_indices(), st.sampled_from(["set", "add", "multiply", "min", "max"]))
@settings(max_examples=examples(150))
def test_every_index_is_updated_as_numpy_does(xp: Any, case: tuple[np.ndarray, Any], name: str) -> None:
    x, index = case
    values = np.cos(np.arange(x[index].size) * 7.0).reshape(x[index].shape) * 9
    expected = x.copy()
    if name == "set":
        expected[index] = values
    else:
        ufunc = {"add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum}[name]
        ufunc.at(expected, index, values)
    got = getattr(xp.asarray(x).at[moved(xp, index)], name)(xp.asarray(values))
    np.testing.assert_allclose(gradkit.device_get(got), expected, rtol=1e-12)


@given(arrays_and_indices())
@settings(max_examples=examples(60))
def test_the_gradient_of_an_index_is_an_update_and_the_reverse(xp: Any, case: tuple[np.ndarray, Any]) -> None:
    x, index = case
    weights = np.cos(np.arange(x[index].size) * 1.0).reshape(x[index].shape)
    expected = np.zeros_like(x)
    np.add.at(expected, index, weights)
    place = moved(xp, index)
    got = gradkit.grad(lambda x: (x[place] * xp.asarray(weights)).sum())(xp.asarray(x))
    np.testing.assert_allclose(gradkit.device_get(got), expected, rtol=1e-12)
    got = gradkit.grad(lambda y: (xp.asarray(x).at[place].add(y) * xp.asarray(x)).sum())(xp.asarray(weights))
    np.testing.assert_allclose(gradkit.device_get(got), x[index], rtol=1e-12)


# What is special


def test_masks(xp: Any) -> None:
    x = xp.asarray(X)
    mask = x > 0
    close(x.at[mask].set(0.0), np.where(X > 0, 0, X))
    close(x.at[mask].multiply(2), np.where(X > 0, 2 * X, X))
    close(x.at[np.asarray(X[:, 0] > 0)].add(xp.ones(4)), X + (X[:, :1] > 0))
    close(gradkit.grad(lambda x: (x.at[mask].set(1.0) ** 2).sum())(x), np.where(X > 0, 0, 2 * X))
    close(x.at[mask].divide(2.0), np.where(X > 0, X / 2, X))
    chosen = x.at[mask].set(xp.arange(int((X > 0).sum()), dtype="float64"))
    expected = X.copy()
    expected[X > 0] = np.arange((X > 0).sum())
    close(chosen, expected)


def test_a_mask_without_values_sets_a_number(xp: Any) -> None:
    x = xp.asarray(X)
    close(gradkit.vmap(lambda row: row.at[row > 0].set(0.0))(x), np.where(X > 0, 0, X))
    close(gradkit.vmap(gradkit.grad(lambda row: (row.at[row > 0].mul(3.0)).sum()))(x), np.where(X > 0, 3.0, 1.0))
    with pytest.raises(gradkit.errors.NonConcreteBooleanIndexError, match="must be concrete"):
        gradkit.vmap(lambda row: row[row > 0])(x)


def test_several_factors_for_one_place_have_gradients_at_zeros(xp: Any) -> None:
    y = xp.asarray([2.0, 0.0, 3.0, 0.0, 5.0])
    places = xp.asarray([1, 1, 1, 0, 2])

    def product(y: Any) -> Any:
        return xp.asarray([1.0, 2.0, 3.0]).at[places].multiply(y).sum()

    close(gradkit.grad(product)(y), np.asarray([0.0, 12.0, 0.0, 1.0, 3.0]))
    hessian = gradkit.hessian(product)(y)
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = 6
    expected[1, 2] = expected[2, 1] = 4
    close(hessian, expected)


@pytest.mark.parametrize("count", [0, 1])
def test_updates_at_few_places_have_gradients(count: int, xp: Any) -> None:
    x, y, places = xp.asarray(X), xp.asarray(X[:count] * 2), xp.asarray(np.arange(count))
    for name, share in (("set", 1.0), ("add", 1.0), ("multiply", X[:count])):
        update = lambda y, name=name: getattr(x.at[places], name)(y).sum()  # noqa: E731
        close(gradkit.grad(update)(y), np.broadcast_to(share, (count, 4)))


@pytest.mark.skip_backend("cupy", reason="a GPU is not made to wait for a check of indices: they wrap around")
def test_an_index_in_an_array_that_is_out_of_range_is_an_error_where_it_can_be_seen(xp: Any) -> None:
    x = xp.asarray(X)
    for call in (lambda: x[xp.asarray([0, 5])], lambda: xp.take(x, xp.asarray([-4]), axis=0)):
        with pytest.raises(IndexError, match="out of bounds"):
            call()


def test_an_index_out_of_range_is_an_error_where_it_can_be_seen(xp: Any) -> None:
    x = xp.asarray(X)
    with pytest.raises(IndexError, match="out of bounds"):
        x[5]
    with pytest.raises(IndexError, match="too many indices"):
        x[0, 0, 0]
    with pytest.raises(TypeError, match="integer or bool"):
        x[xp.asarray([1.0])]
    with pytest.raises(TypeError, match="string indexing"):
        x.at["a"].set(1.0)


def test_assignment_shows_the_way_out(xp: Any) -> None:
    with pytest.raises(TypeError, match=r"x = x\.at\[idx\]\.set\(y\)"):
        xp.ones(3)[0] = 1.0


def test_values_must_fit(xp: Any) -> None:
    with pytest.raises(ValueError, match="Incompatible shapes for broadcasting"):
        xp.ones(3).at[xp.asarray([0, 1])].set(xp.ones(3))
    with pytest.raises(ValueError, match="Unknown gather mode"):
        xp.ones(3).at[0].set(1.0, mode="wrap")


def test_the_dtype_stays(xp: Any) -> None:
    x = xp.asarray([1, 2, 3])
    with pytest.warns(FutureWarning, match="cannot safely cast"):
        result = x.at[0].set(2.7)
    assert result.dtype == "int32"
    assert int(result[0]) == 2
    assert xp.ones(3).at[0].set(1).dtype == "float32"
    assert xp.ones(3).at[xp.asarray([0])].add(x[:1]).dtype == "float32"


def test_apply_and_get(xp: Any) -> None:
    x = xp.asarray(X)
    close(x.at[1:].apply(xp.exp), np.concatenate([X[:1], np.exp(X[1:])]))
    close(x.at[xp.asarray([0, 9])].apply(xp.exp), np.concatenate([np.exp(X[:1]), X[1:]]))
    close(x.at[1].get(), X[1])
    assert "_IndexUpdateRef" in repr(x.at[0])


def test_missing_elements_by_dtype(xp: Any) -> None:
    for dtype, missing in (("int8", -128), ("uint16", 65535), ("bool", True)):
        got = xp.asarray(np.zeros(2, dtype)).at[xp.asarray([5])].get(mode="fill")
        assert got.dtype == dtype
        assert gradkit.device_get(got)[0] == missing


def test_methods_are_there(xp: Any) -> None:
    x = xp.asarray(X)
    close(x.sort(axis=0), np.sort(X, axis=0))
    close(x.argsort(), np.argsort(X))
    close(x.cumsum(), np.cumsum(X))
    close(x.var(1, ddof=1), X.var(1, ddof=1))
    close(x.sum(0), X.sum(0))
    close(x.prod(axis=0, keepdims=True), X.prod(axis=0, keepdims=True))
    assert bool((x == x).all())
    close(x.nonzero(), np.nonzero(X))


@pytest.mark.parametrize(
    "use",
    [
        lambda jnp, x, i, j: x[i, j],
        lambda jnp, x, i, j: x.at[i, j].get(),
        lambda jnp, x, i, j: x.at[i, j].set(1.0),
        lambda jnp, x, i, j: x[jnp.asarray([True, False, True]), i],
    ],
)
def test_arrays_of_an_index_that_do_not_broadcast_are_an_error_of_shapes_and_of_an_index(use: Any, xp: Any) -> None:
    i, j = np.asarray([1, 0, 1]), np.asarray([0, 1])
    with pytest.raises(ValueError, match="Incompatible shapes for broadcasting"):
        use(J, J.ones((3, 3)), J.asarray(i), J.asarray(j))
    for run in (
        use,
        lambda jnp, x, i, j: gradkit.grad(lambda x: use(jnp, x, i, j).sum())(x),
        lambda jnp, x, i, j: gradkit.vmap(lambda x: use(jnp, x, i, j))(jnp.stack([x, x])),
    ):
        for kind in (ValueError, IndexError, TypeError):
            with pytest.raises(kind, match=r"Incompatible shapes for broadcasting.*got \(\d,\), \(\d,\)"):
                run(jnp, jnp.ones((3, 3)), jnp.asarray(i), jnp.asarray(j))
