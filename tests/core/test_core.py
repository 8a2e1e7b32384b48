"""Arrays and the transforms: what they promise beyond the rules of single primitives."""

from __future__ import annotations

import copy
import operator
import pickle  # noqa: TID251 - arrays can be pickled; no file is read so
from typing import Any

import jax
import jax.numpy as J
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradkit
import gradkit.numpy as jnp
from gradkit import Array
from gradkit.core import calls
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.promotion import BOOL, FLOATING
from gradkit.errors import ShapeError

NUMBER = st.floats(-3, 3, width=32, allow_subnormal=False)
NUMBERS = st.sampled_from([1, 2, 5]).flatmap(lambda n: st.lists(NUMBER, min_size=n, max_size=n))
"""JAX compiles for each length."""


def tracked(values: Any, dtype: Any = None) -> Array:
    x = jnp.asarray(values, dtype=dtype)
    x.requires_grad = True
    return x


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


# Transforms


def test_nested_gradients_keep_their_levels_apart(xp: Any) -> None:
    # d/dx (x * d/dy (x + y)): a gradient that confused the levels would give 2.
    nested = gradkit.grad(lambda x: x * gradkit.grad(lambda y: x + y)(1.0))
    assert float(nested(jnp.asarray(1.0))) == 1.0
    third = gradkit.grad(gradkit.grad(gradkit.grad(lambda x: jnp.sin(x) * x**3)))
    expected = jax.grad(jax.grad(jax.grad(lambda x: J.sin(x) * x**3)))
    np.testing.assert_allclose(host(third(jnp.asarray(0.7))), expected(0.7), rtol=1e-5)


def test_the_tape_and_the_transforms_nest(xp: Any) -> None:
    x = tracked(3.0)
    slope = gradkit.grad(lambda y: y**3 * x)(jnp.asarray(2.0))
    assert float(slope) == 36.0
    slope.backward()
    assert float(x.grad) == 12.0


def test_value_and_grad_take_and_return_trees(xp: Any) -> None:
    params = {"w": jnp.asarray([1.0, 2.0]), "rest": [jnp.asarray(3.0), (jnp.asarray([4.0]),)]}

    def loss(params: Any, factor: Any) -> Any:
        return factor * ((params["w"] ** 2).sum() * params["rest"][0] + params["rest"][1][0].sum())

    value, gradient = gradkit.value_and_grad(loss)(params, 2.0)
    assert float(value) == 38.0
    assert gradkit.tree.structure(gradient) == gradkit.tree.structure(params)
    assert [host(leaf).tolist() for leaf in gradkit.tree.leaves(gradient)] == [10.0, [2.0], [12.0, 24.0]]


def test_argnums_and_aux_are_those_of_jax(xp: Any) -> None:
    def f(x: Any, y: Any, *, power: int = 1) -> Any:
        return (x * y**power).sum(), {"y": y}

    x, y = jnp.asarray([1.0, 2.0]), jnp.asarray([3.0, 4.0])
    (gx, gy), aux = gradkit.grad(f, argnums=(0, 1), has_aux=True)(x, y, power=2)
    assert host(gx).tolist() == [9.0, 16.0]
    assert host(gy).tolist() == [6.0, 16.0]
    assert host(aux["y"]).tolist() == [3.0, 4.0]
    (value, aux), gy = gradkit.value_and_grad(f, argnums=-1, has_aux=True)(x, y)
    assert float(value) == 11.0
    assert host(gy).tolist() == [1.0, 2.0]


def test_aux_is_free_of_the_transform(xp: Any) -> None:
    _, aux = gradkit.grad(lambda x: (x * x, x * 2), has_aux=True)(jnp.asarray(2.0))
    assert aux._node is None
    assert float(aux) == 4.0


def test_integers_have_a_zero_gradient_where_they_are_allowed(xp: Any) -> None:
    gradient = gradkit.grad(lambda n, x: n * x, allow_int=True)(jnp.asarray(2), 3.0)
    assert gradient.dtype == gradkit.dtypes.float0
    assert gradient.shape == ()


def test_the_cotangent_of_an_integer_result_is_of_float0_as_in_jax(xp: Any) -> None:
    _, pullback = gradkit.vjp(lambda x: (x * 2, xp.asarray([1, 2])), xp.asarray(3.0))
    (gradient,) = pullback((1.0, np.zeros(2, gradkit.dtypes.float0)))
    assert float(gradient) == 2.0
    with pytest.raises((TypeError, ValueError)):
        pullback((np.zeros((), gradkit.dtypes.float0), np.zeros(2, gradkit.dtypes.float0)))


def test_an_argument_that_the_result_ignores_has_a_zero_gradient(xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0])
    gradient = gradkit.grad(lambda x, y: y.sum())(x, x)
    assert host(gradient).tolist() == [0.0, 0.0]
    assert gradient.device == x.device


def test_a_pullback_can_be_called_again(xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0])
    (out, _), pullback = gradkit.vjp(lambda x: (x**2, x.sum()), x)
    assert host(out).tolist() == [1.0, 4.0]
    for _ in range(2):
        (gradient,) = pullback((jnp.asarray([1.0, 0.0]), jnp.asarray(3.0)))
        assert host(gradient).tolist() == [5.0, 3.0]
    _, pullback, aux = gradkit.vjp(lambda x: (x.sum(), 7), x, has_aux=True)
    assert aux == 7


def test_python_numbers_are_arguments_as_in_jax(xp: Any) -> None:
    assert float(gradkit.grad(lambda x, y: x * y + x**2)(3.0, 4.0)) == 10.0
    assert gradkit.grad(lambda x: x * x)(3.0).dtype == np.float32


def program(xp: Any, x: Any) -> Any:
    y = xp.tanh(x) * xp.exp(-(x**2))
    return (y * y[::-1]).sum() + xp.where(x > 0, x, 0.1 * x).mean()


GRADIENT_BY_JAX = jax.jit(jax.grad(lambda x: program(J, x)))


@given(NUMBERS)
def test_gradients_of_a_program_equal_jax(values: list[float]) -> None:
    x = np.asarray(values, np.float32)
    ours = gradkit.grad(lambda x: program(jnp, x))(jnp.asarray(x))
    np.testing.assert_allclose(host(ours), GRADIENT_BY_JAX(x), rtol=1e-4, atol=1e-6)


def test_the_gradient_of_logsumexp_keeps_its_digits_at_large_arguments(xp: Any) -> None:
    x = np.float32([1e4, 9999.5, -1e4])
    expected = jax.grad(jax.scipy.special.logsumexp)(J.asarray(x))
    np.testing.assert_allclose(host(gradkit.grad(jnp.logsumexp)(jnp.asarray(x))), expected, rtol=1e-6)


# The fast path and the general one


BINARY = ("add", "subtract", "multiply", "divide", "maximum", "pow", "less", "equal")
OF_ONE_SHAPE = ("mean_square",)
UNARY = ("exp", "tanh", "negative", "square", "relu", "sign")


def general(name: str, *args: Any) -> Array:
    least = FLOATING if name in ("divide", "exp", "mean_square", "tanh") else BOOL
    return calls.apply(PRIMITIVES[name], args, least)


@pytest.mark.parametrize("name", BINARY + OF_ONE_SHAPE + UNARY)
def test_the_fast_path_does_what_the_general_path_does(name: str, xp: Any) -> None:
    from gradkit import primitives

    fast = getattr(primitives, name)
    x = np.asarray([[0.5, 1.5], [2.0, 0.25]], np.float32)
    y = np.asarray([1.0, 2.0], np.float32)
    operands: list[Any] = [(x,)] if name in UNARY else [(x, x.astype("float64")), (x, 3 * x)]
    if name in BINARY:
        operands += [(x, y), (x, 2), (2.0, x)]
    for values in operands:
        for follow in (False, True):
            results = []
            for call in (fast, lambda *args: general(name, *args)):
                args = [
                    tracked(v)
                    if follow and isinstance(v, np.ndarray)
                    else jnp.asarray(v)
                    if isinstance(v, np.ndarray)
                    else v
                    for v in values
                ]
                out = call(*args)
                if out.requires_grad:
                    out.sum().backward()
                results.append((out, [a.grad for a in args if isinstance(a, Array)]))
            (a, a_grads), (b, b_grads) = results
            assert a.dtype == b.dtype
            assert a.requires_grad == b.requires_grad
            np.testing.assert_array_equal(host(a), host(b))
            for left, right in zip(a_grads, b_grads, strict=True):
                assert (left is None) == (right is None)
                if left is not None:
                    np.testing.assert_array_equal(host(left), host(right))


# dtypes


DTYPES = ("bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "float32", "float64", "complex64")


@pytest.mark.parametrize("left", DTYPES)
def test_promotion_is_that_of_jax(left: str, xp: Any) -> None:
    one = jax.ShapeDtypeStruct((2,), left)
    with jax.enable_x64(True):
        for right in DTYPES:
            if left == right == "bool":
                continue  # the standard has no arithmetic of booleans
            ours = jnp.asarray(np.ones(2, left)) * jnp.asarray(np.ones(2, right))
            assert ours.dtype == jax.eval_shape(operator.mul, one, jax.ShapeDtypeStruct((2,), right)).dtype, right
        for number in (True, 2, 2.0):
            if left == "bool" or (left[0] in "iu" and isinstance(number, float)):
                continue  # the default dtype of new numbers, which has 64 bits in JAX with x64 enabled
            ours = jnp.asarray(np.ones(2, left)) * number
            assert ours.dtype == jax.eval_shape(lambda x, number=number: x * number, one).dtype, number


def test_new_numbers_are_32_bit_unless_x64_is_enabled(xp: Any) -> None:
    assert jnp.asarray(1.0).dtype == "float32"
    assert jnp.asarray([1, 2]).dtype == "int32"
    assert jnp.asarray(np.ones(2)).dtype == "float64"
    gradkit.config.update("jax_enable_x64", True)
    try:
        assert jnp.asarray(1.0).dtype == "float64"
        assert jnp.asarray([1, 2]).dtype == "int64"
        assert gradkit.grad(lambda x: x * x)(3.0).dtype == "float64"
    finally:
        gradkit.config.update("jax_enable_x64", False)


def test_gradients_have_the_dtype_of_their_argument(xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0], dtype="float32")
    y = jnp.asarray([1.0, 2.0], dtype="float64")
    gx, gy = gradkit.grad(lambda x, y: (x * y).sum(), (0, 1))(x, y)
    assert (gx.dtype, gy.dtype) == ("float32", "float64")
    gradient = gradkit.grad(lambda x: (x.astype("float64") ** 2).sum())(x)
    assert gradient.dtype == "float32"
    assert host(gradient).tolist() == [2.0, 4.0]
    second = gradkit.grad(lambda x: gradkit.grad(lambda x: (x.astype("float64") ** 3).sum())(x).sum())(x)
    assert host(second).tolist() == [6.0, 12.0]


# Python's protocols


def test_numpy_functions_stay_on_the_tape() -> None:
    x = tracked([0.5, 1.0])
    np.multiply(np.sin(x), 2.0).sum().backward()
    np.testing.assert_allclose(host(x.grad), 2 * np.cos([0.5, 1.0]), rtol=1e-6)
    assert type(np.ones(2, np.float32) * x) is Array
    assert type(np.float32(2) + x) is Array


def test_arrays_are_copied_pickled_and_converted(backend: Any, xp: Any) -> None:
    x = tracked([[1.0, 2.0], [3.0, 4.0]])
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert host(other).tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert other.requires_grad
        other.data += 1
        assert host(x).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert np.asarray(x).dtype == np.float32
    assert [row.tolist() for row in x] == x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert len(x) == 2
    assert int(jnp.asarray(3)) == 3
    assert [10, 20, 30][jnp.asarray(1)] == 20
    assert f"{jnp.asarray(0.123456):.2f}" == "0.12"
    assert repr(x) == "Array([[1., 2.],\n       [3., 4.]], dtype=float32)"


def test_an_array_wraps_what_it_is_given_without_a_copy() -> None:
    raw = np.arange(3.0)
    assert Array(raw).data is raw
    assert np.shares_memory(np.from_dlpack(Array(raw)), raw)


# Bad input

OBJECTS = np.asarray([None])


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (
            lambda: jnp.ones((2, 3)) + jnp.ones((3, 2)),
            ShapeError,
            ["add", "incompatible shapes for broadcasting", "(2, 3)", "(3, 2)"],
        ),
        (lambda: jnp.ones((2, 3)) @ jnp.ones((2, 3)), ShapeError, ["matmul", "3 and 2", "(2, 3)"]),
        (lambda: jnp.ones((2, 3, 4)) @ jnp.ones((3, 4, 5)), ShapeError, ["matmul", "(2, 3, 4)", "(3, 4, 5)", "or 1"]),
        (lambda: jnp.ones(3).reshape((2, 2)), ShapeError, ["reshape", "(3,)", "(2, 2)"]),
        (lambda: jnp.ones(3).sum(axis=1), ValueError, ["sum", "axis 1", "1 dimensions"]),
        (lambda: jnp.concat([jnp.ones((2, 3)), jnp.ones((3, 2))]), ValueError, ["concat", "(2, 3)", "(3, 2)"]),
        (lambda: jnp.ones(3)[5], IndexError, ["index 5", "size 3"]),
        (lambda: jnp.ones(3)[0, 0], IndexError, ["too many indices", "(3,)"]),
        (lambda: jnp.ones(3)["a"], TypeError, ["'a'"]),
        (lambda: jnp.exp("a"), TypeError, ["exp", "'a'", "gradkit.numpy.asarray"]),
        (lambda: jnp.add(jnp.ones(2), [1.0, 2.0]), TypeError, ["add", "list", "gradkit.numpy.asarray"]),
        (lambda: jnp.asarray([[1.0], [1.0, 2.0]]), ValueError, ["asarray", "equal lengths"]),
        (lambda: jnp.asarray("text"), TypeError, ["asarray", "'text'"]),
        (lambda: jnp.asarray(2**40), OverflowError, ["int32", "enable x64"]),
        (lambda: Array(OBJECTS), TypeError, ["Array(value)", "numbers", "object", "astype('float32')"]),
        (lambda: jnp.exp(OBJECTS), TypeError, ["exp", "numbers", "object", "astype('float32')"]),
        (lambda: jnp.ones(1) + OBJECTS, TypeError, ["add", "numbers", "object"]),
        (lambda: jnp.reshape(np.asarray(["a"]), (1, 1)), TypeError, ["reshape", "numbers", "str32"]),
        (lambda: jnp.sum(np.ones(2, np.longdouble)), TypeError, ["sum", "numbers", np.dtype(np.longdouble).name]),
        (lambda: jnp.asarray(OBJECTS), TypeError, ["asarray", "numbers", "object", "astype('float32')"]),
        (lambda: jnp.ones(2, dtype=object), TypeError, ["dtype of numbers", "float32", "object"]),
        (lambda: jnp.ones(2).astype("nonsense"), TypeError, ["dtype of numbers", "float32", "nonsense"]),
        (lambda: gradkit.grad(jnp.sum)(OBJECTS), TypeError, ["dtype of numbers", "float32", "object"]),
        (lambda: Array([1.0]), TypeError, ["Array(value)", "list", "asarray"]),
        (lambda: jnp.max(jnp.zeros((0, 2))), ValueError, ["max", "(0, 2)", "no elements"]),
        (lambda: bool(jnp.ones(2)), ValueError, ["truth value", "(2,)"]),
        (lambda: float(jnp.ones(2)), TypeError, ["Only scalar arrays"]),
        (lambda: jnp.ones(2).__setitem__(0, 1.0), TypeError, ["immutable", "x = x.at[idx].set(y)"]),
        (lambda: (jnp.ones(2) * 2).backward(), RuntimeError, ["backward", "requires_grad=True"]),
        (lambda: (tracked([1.0, 2.0]) * 2).backward(), TypeError, ["backward", "(2,)", "gradient=", "x.sum()"]),
        (lambda: tracked([1.0, 2.0]).backward(jnp.ones(3)), TypeError, ["gradient", "float32[2]", "float32[3]"]),
        (lambda: setattr(jnp.asarray([1]), "requires_grad", True), TypeError, ["requires_grad", "int32", "astype"]),
        (lambda: setattr(tracked([1.0]) * 2, "data", np.ones(1)), ValueError, ["data", "detach"]),
        (lambda: setattr(jnp.ones(2), "grad", 0.0), ValueError, ["grad", "requires_grad = True"]),
        (lambda: setattr(tracked([1.0]), "grad", np.ones(3)), ShapeError, ["grad", "(1,)"]),
        (
            lambda: gradkit.grad(lambda x: x * 2)(jnp.asarray(3)),
            TypeError,
            ["grad requires real- or complex-valued inputs", "int32", "allow_int"],
        ),
        (
            lambda: gradkit.grad(lambda p: p["w"])({"w": 3}),
            TypeError,
            ["int32", "['w']"],
        ),
        (
            lambda: gradkit.grad(lambda x: x * 2)(jnp.ones(2)),
            TypeError,
            ["Gradient only defined for scalar-output functions", "shape: (2,)"],
        ),
        (
            lambda: gradkit.grad(lambda x: (x > 0).sum())(jnp.ones(2)),
            TypeError,
            ["grad requires real-valued outputs", "int32"],
        ),
        (lambda: gradkit.grad(lambda x: "a")(1.0), TypeError, ["scalar-output functions", "'a'"]),
        (lambda: gradkit.grad(lambda x: x)("a"), TypeError, ["'a'", "not a valid array or number"]),
        (lambda: gradkit.grad(3), TypeError, ["Expected a callable value", "3"]),
        (lambda: gradkit.grad(lambda x: x, argnums=1)(1.0), TypeError, ["argnums=1", "at least 2", "only 1"]),
        (lambda: gradkit.grad(lambda x: x, argnums="x")(1.0), TypeError, ["argnums", "'x'"]),
        (lambda: gradkit.grad(lambda x: x, has_aux=True)(1.0), TypeError, ["has_aux", "pair"]),
        (lambda: gradkit.vjp(jnp.sin, 1.0)[1]((1.0, 2.0)), ValueError, ["tree structure"]),
        (lambda: gradkit.vjp(jnp.sin, jnp.ones(2))[1](jnp.ones(3)), ValueError, ["float32[3]", "float32[2]"]),
        (lambda: gradkit.numpy.nonsense, AttributeError, ["nonsense"]),
    ],
)
def test_bad_input_says_what_came_and_what_to_do(call: Any, kind: type, words: list[str], xp: Any) -> None:
    with pytest.raises(kind) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.skip_backend("cupy", reason="a GPU is not made to wait for a check of indices: they wrap around")
def test_an_array_of_indices_out_of_range_says_which_one(xp: Any) -> None:
    with pytest.raises(IndexError, match=r"index 3.*size 3"):
        jnp.ones(3)[jnp.asarray([0, 3])]


def test_jax_words_are_the_model(xp: Any) -> None:
    for ours, theirs in [
        (lambda: gradkit.grad(lambda x: x)(jnp.ones(2)), lambda: jax.grad(lambda x: x)(J.ones(2))),
        (lambda: gradkit.grad(lambda x: x)(jnp.asarray(1)), lambda: jax.grad(lambda x: x)(J.asarray(1))),
    ]:
        with pytest.raises(TypeError) as expected:
            theirs()
        with pytest.raises(TypeError) as got:
            ours()
        assert str(got.value)[:50] == str(expected.value)[:50]
