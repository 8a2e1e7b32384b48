"""What every primitive states, whatever its family: the list is that of the declarations themselves."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kernel_cases import CALLS

import gradkit
import gradkit.numpy as jnp

# Their primitives are declared when they are imported.
from gradkit import callbacks, debug, distributed, lax, nn, random, scipy  # noqa: F401
from gradkit.core import Contraction, Elementwise, Reduction, View, bind
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.primitive import Primitive
from gradkit.lax.started_sums import OnTheWay
from gradkit.primitives.searching import running_sum
from gradkit.processes import ProcessAxis, World
from gradkit.testing import check_grads

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


# Families that state how elements move

VIEWS = [name for name in NAMES if isinstance(PRIMITIVES[name], View)]
REDUCTIONS = [name for name in NAMES if hasattr(PRIMITIVES[name], "combine")]
CONTRACTIONS = [name for name in NAMES if isinstance(PRIMITIVES[name], Contraction)]


def called(primitive: Any, *args: Any, **params: Any) -> Any:
    return bind(primitive, args, params)


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_the_elements_that_its_index_says(name: str, xp: Any) -> None:
    view: Any = PRIMITIVES[name]
    shape, params = view.example
    x = jnp.reshape(jnp.arange(math.prod(shape), dtype="float32"), shape)
    y = called(view, x, **params)
    expected = np.zeros(y.shape, np.float32)
    transposed = np.zeros(shape, np.float32)
    weights = np.arange(1.0, 1 + y.size, dtype=np.float32).reshape(y.shape)
    for at in np.ndindex(*y.shape):
        place = tuple(view.index(at, shape, **params))
        expected[at] = np.asarray(x)[place]
        transposed[place] += weights[at]
    np.testing.assert_array_equal(y, expected)
    (share,) = gradkit.vjp(lambda x: called(view, x, **params), x)[1](jnp.asarray(weights))
    np.testing.assert_array_equal(share, transposed)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_combines_elements_and_starts_from_its_identity(name: str, xp: Any) -> None:
    reduction: Any = PRIMITIVES[name]
    flags = isinstance(reduction.identity, bool)
    rows = np.asarray([[1.5, -2.0, 0.5], [0.25, 3.0, -1.0]], np.float32)
    rows = rows > 0 if flags else rows
    total = np.full(3, reduction.identity_of(str(rows.dtype)), rows.dtype)
    for row in rows:
        total = np.asarray(called(PRIMITIVES[reduction.combine], jnp.asarray(total), jnp.asarray(row)))
    found = called(reduction, jnp.asarray(rows), axis=(0,), keepdims=False)
    np.testing.assert_allclose(found, total / 2 if reduction.mean else total, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "uint64", "float32"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_an_identity_is_a_number_of_each_dtype_that_changes_nothing(name: str, dtype: str) -> None:
    reduction: Any = PRIMITIVES[name]
    functions = {"add": np.add, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum}
    combine = functions.get(reduction.combine)
    if combine is None or (reduction.combine in ("add", "multiply") and dtype == "bool"):
        return
    limits = (False, True) if dtype == "bool" else (0, 100)
    numbers = np.asarray([reduction.identity_of(dtype), *limits], dtype)
    np.testing.assert_array_equal(combine(numbers[0], numbers[1:]), numbers[1:])


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_a_contraction_is_what_its_letters_say(name: str, xp: Any) -> None:
    contraction: Any = PRIMITIVES[name]
    letters = sorted(set(contraction.subscripts) - set(".,->"))
    sizes = {letter: 2 + i for i, letter in enumerate(letters)}
    random_numbers = np.random.default_rng(0)
    arrays = [
        random_numbers.normal(size=(*lead, *(sizes[letter] for letter in word.removeprefix("...")))).astype("float32")
        for word, lead in zip(contraction.operands, ((3, 1), (2,)), strict=True)
    ]
    found = called(contraction, *map(jnp.asarray, arrays))
    np.testing.assert_allclose(found, np.einsum(contraction.subscripts, *arrays), rtol=1e-4, atol=1e-5)


X = np.asarray([[0.5, 0.0, 2.0], [1.0, 0.25, 0.0], [0.0, 3.0, 0.75]])
WHOLE = (slice(None), slice(None))
ONE_STEP = {"window": (1, 1), "strides": (1, 1), "dilation": (1, 1)}
ALONE = ProcessAxis("alone", World())
PARAMETERS: list[dict[str, Any]] = [
    {}, {"axis": (0,), "keepdims": True}, {"axis": (), "keepdims": False}, {"axis": 0}, {"axis": (0,)},
    {"axis": 0, "reverse": False}, {"axis": 0, "descending": False}, {"axis": 0, "size": 3}, {"axis": 0, "size": 4},
    {"axis": 0, "sizes": (3,)}, {"axis": 0, "sizes": (3, 3)}, {"axes": (0, 1)}, {"shape": (3, 3)}, {"index": WHOLE},
    {"k": 0}, {"index": WHOLE, "shape": (3, 3)}, {"dtype": "float64"}, {"classes": 3, "dtype": "bool"}, {"name": "x"},
    {"exponent_bits": 11, "mantissa_bits": 52}, ONE_STEP, {"shape": (3, 3), **ONE_STEP}, {"mode": "reduced"},
    {"full_matrices": False}, {"side": "left"}, {"lower": True, "unit_diagonal": False}, {"axis": ALONE},
    {"axis": ALONE, "perm": ((0, 0),)},
]  # fmt: skip
WHOLE_NUMBERS, POSITIONS = X.astype(int), (X > 0).astype(int)
OPERANDS: list[tuple[Any, ...]] = [
    (X,), (X + 1j,), (X > 0,), (WHOLE_NUMBERS,), (X[None],), (X[:0],), (X.astype(np.uint32),),
    *((X,) * count for count in (2, 3, 4)), *((WHOLE_NUMBERS,) * count for count in (2, 3)), (X > 0, X > 0),
    (X > 0, X, X), (X, X > 0), (X, POSITIONS), (POSITIONS, X), (np.asarray([0.0, 1.0, 2.0]), X[0]), (X, X[0, 0]),
    (X, np.float64(1.0)), (X, np.float64(0.0)), (X, np.asarray(1)), (X[0], X[0]), (X, X[0], POSITIONS[0]),
    (X, X, POSITIONS[0]), (X, POSITIONS[0]), (X, X, X[0]),
]  # fmt: skip
NOT_CALLED = {
    "debug_callback": "runs a function of the host",
    "pure_callback": "runs a function of the host",
    **dict.fromkeys(
        (name for name, primitive in PRIMITIVES.items() if isinstance(primitive, OnTheWay)),
        "meets others by what is its parameter",
    ),
    "process_compare": "meets others by what is its parameter",
    "pmax": "a trace of batches is its parameter",
    "pmin": "a trace of batches is its parameter",
    "psum": "a trace of batches is its parameter",
    "random_order": "makes numbers of a key",
    "transfer": "devices are its parameters",
}


def calls_of(name: str) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Give arguments and parameters: those of `CALLS`, and all others that the primitive might take."""
    yield from ((args, params) for called, args, params in CALLS if called == name)
    count = len(PRIMITIVES[name].rules)
    for args, params in itertools.product(OPERANDS, PARAMETERS):
        if len(args) == count or "sizes" in params:
            yield args, params


@pytest.mark.parametrize("name", NAMES)
def test_a_primitive_says_whether_it_may_return_the_memory_of_an_argument(name: str, backend: Any) -> None:
    if backend.name != "numpy":
        pytest.skip("NumPy's arrays alone tell whether they share memory")
    kernel, runs = PRIMITIVES[name].kernel_of(backend), 0
    for args, params in calls_of(name):
        try:
            with warnings.catch_warnings(action="ignore"):
                results = kernel(*args, **params)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
            continue  # no call of this primitive
        runs += 1
        for result in results if isinstance(results, tuple) else (results,):
            if isinstance(result, np.ndarray) and any(np.shares_memory(result, np.asarray(arg)) for arg in args):
                assert PRIMITIVES[name].shares_memory
    assert (runs == 0) == (name in NOT_CALLED)


WRONG = {
    r"View\('wrong'\): index=, shape= and example= belong to a view": lambda: View("wrong", None),
    r"View\('wrong'\): it is no view: its element \(0,\) would be the element \(5,\) of an argument of shape \(5,\)": (
        lambda: View("wrong", None, index=lambda at, of: (5,), shape=lambda x: (1,), example=((5,), {}))
    ),
    r"View\('wrong'\): it is no view: its element \(0,\) would be the element \(0, 0\)": (
        lambda: View("wrong", None, index=lambda at, of: (0, 0), shape=lambda x: (1,), example=((5,), {}))
    ),
    r"Reduction\('wrong'\): combine= and identity= are missing": lambda: Reduction("wrong", None, (None,)),
    r"Reduction\('wrong'\): combine='mod' is none of add, multiply": (
        lambda: Reduction("wrong", None, (None,), combine="mod", identity=0)
    ),
    r"Reduction\('wrong'\): identity=1 is none: add of it and -2.5 is -1.5": (
        lambda: Reduction("wrong", None, (None,), combine="add", identity=1)
    ),
    r"Contraction\('wrong'\): subscripts 'ij,jk' are not of the form": lambda: Contraction("wrong", "ij,jk"),
    r"Contraction\('wrong'\): subscripts 'ij,jk->ij' sum over an axis that one operand": (
        lambda: Contraction("wrong", "ij,jk->ij")
    ),
    r"Contraction\('wrong'\): the transpose for argument 1 does not fit 'ij,jk->ik'": (
        lambda: Contraction(
            "wrong", "ij,jk->ik", None, (lambda xp, g, _x, y: xp.matmul(g, y.T), lambda xp, g, x, _y: xp.matmul(x, g))
        )
    ),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_declaration_that_contradicts_itself_is_an_error_when_it_is_made(words: str) -> None:
    with pytest.raises(TypeError, match=words):
        WRONG[words]()
    assert "wrong" not in PRIMITIVES


def test_transposes_and_batches_of_a_view_and_of_a_contraction_follow_from_what_they_state(xp: Any) -> None:
    try:
        evens = View(
            "evens",
            lambda xp, x: x[..., ::2],
            index=lambda at, of: (*at[:-1], 2 * at[-1]),
            shape=lambda x: (*x.shape[:-1], (x.shape[-1] + 1) // 2),
            example=((2, 5), {}),
        )
        rows = Contraction("rows", "...ij,...kj->...ki")
        x = jnp.reshape(jnp.arange(30.0), (3, 2, 5)) / 30
        y = jnp.reshape(jnp.arange(15.0), (1, 3, 5)) / 15 + 0.5
        check_grads(lambda x: called(evens, x * x), (x,), order=2)
        check_grads(lambda x, y: called(rows, x, y), (x, y), order=2)
        np.testing.assert_array_equal(gradkit.vmap(lambda x: called(evens, x))(x), np.asarray(x)[..., ::2])
        found = gradkit.vmap(lambda x, y: called(rows, x, y), (0, None))(x, y)
        expected = np.einsum("bij,lkj->blki", *map(np.asarray, (x, y)))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert gradkit.eval_shape(lambda x, y: called(rows, x, y), x, y).shape == (3, 3, 2)
    finally:
        for name in ("evens", "rows"):
            PRIMITIVES.pop(name, None)
