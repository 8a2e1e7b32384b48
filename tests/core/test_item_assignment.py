"""`item_assignment`: whose code may assign, and no function under a transform sees its argument changed."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import array_api_extra as xpx
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.config import setting
from gradkit.experimental import io_callback

# Arguments


def _custom_jvp(f: Callable[..., Any]) -> Callable[..., Any]:
    g = gradkit.custom_jvp(f)
    g.defjvp(lambda primals, tangents: (f(*primals), f(*primals) * 0))
    return g


def _custom_vjp(f: Callable[..., Any]) -> Callable[..., Any]:
    g = gradkit.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, ct: (x * 0,))
    return g


TRANSFORMS: dict[str, Callable[[Callable[..., Any]], Callable[[Any], Any]]] = {
    "grad": lambda f: gradkit.grad(lambda x: jnp.sum(f(x))),
    "grad of another argument": lambda f: lambda x: gradkit.grad(lambda y, x: jnp.sum(f(x) * y))(x * 2, x),
    "value_and_grad": lambda f: lambda x: gradkit.value_and_grad(lambda x: jnp.sum(f(x)))(x)[1],
    "vjp": lambda f: lambda x: gradkit.vjp(f, x)[0],
    "jvp": lambda f: lambda x: gradkit.jvp(f, (x,), (x,))[1],
    "linearize": lambda f: lambda x: gradkit.linearize(f, x)[0],
    "jacfwd": lambda f: lambda x: gradkit.jacfwd(f)(x),
    "jacrev": lambda f: lambda x: gradkit.jacrev(f)(x),
    "hessian": lambda f: lambda x: gradkit.hessian(lambda x: jnp.sum(f(x)))(x),
    "vmap": lambda f: lambda x: gradkit.vmap(f)(jnp.stack([x, x])),
    "vmap with what it does not map": lambda f: lambda x: gradkit.vmap(lambda a, x: f(x) * a, (0, None))(x, x),
    "jit": gradkit.jit,
    "checkpoint": gradkit.checkpoint,
    "custom_jvp": _custom_jvp,
    "custom_vjp": _custom_vjp,
    "make_jaxpr": lambda f: lambda x: gradkit.make_jaxpr(f)(x),
    "eval_shape": lambda f: lambda x: gradkit.eval_shape(f, x),
    "cond": lambda f: lambda x: lax.cond(True, f, f, x),
    "switch": lambda f: lambda x: lax.switch(0, [f, f], x),
    "scan": lambda f: lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 2)[0],
    "while_loop": lambda f: lambda x: lax.while_loop(lambda c: jnp.sum(c) < 0, lambda c: f(c), x),
    "fori_loop": lambda f: lambda x: lax.fori_loop(0, 2, lambda i, c: f(c), x),
    "map": lambda f: lambda x: lax.map(f, jnp.stack([x, x])),
}
ASSIGNMENTS: dict[str, Callable[[Any], Any]] = {
    "set": lambda v: v.__setitem__(0, 5.0),
    "slice": lambda v: v.__setitem__(slice(None), v * 2),
    "mask": lambda v: v.__setitem__(v > 0, 0.0),
    "xpx set": lambda v: xpx.at(v)[0].set(3.0),
    "xpx add": lambda v: xpx.at(v, 1).add(1.0),
    "xpx multiply": lambda v: xpx.at(v)[:1].multiply(2.0),
}
NEVER_RUN = {"while_loop"}
"""Transforms that call the function for its shapes alone, or not at all, at these arguments."""


def _assigning(assign: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def f(v: Any) -> Any:
        with gradkit.item_assignment():
            assign(v)
        return v * 1.0

    return f


@pytest.mark.parametrize("how", ASSIGNMENTS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_function_under_a_transform_cannot_assign_to_its_argument(name: str, how: str, xp: Any) -> None:
    if name in NEVER_RUN:
        f = lambda x: lax.while_loop(lambda c: jnp.sum(c) < 9, _assigning(ASSIGNMENTS[how]), x)  # noqa: E731
    else:
        f = TRANSFORMS[name](_assigning(ASSIGNMENTS[how]))
    x = jnp.asarray([1.0, 2.0])
    with pytest.raises(TypeError, match=r"it cannot be assigned to.*copy=True"):
        f(x)
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("pair", [*itertools.product(["grad", "jvp", "vmap", "jit", "checkpoint", "scan"], repeat=2)])
def test_nor_under_two(pair: tuple[str, str], xp: Any) -> None:
    outer, inner = pair
    x = jnp.asarray([1.0, 2.0])
    for f in (
        TRANSFORMS[outer](TRANSFORMS[inner](_assigning(ASSIGNMENTS["xpx add"]))),
        # What the inner function closes over is the outer one's argument.
        TRANSFORMS[outer](lambda v: TRANSFORMS[inner](lambda u: _assigning(ASSIGNMENTS["set"])(v) + u)(v)),
    ):
        with pytest.raises(TypeError, match="cannot be assigned to"):
            f(x)
        assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("name", sorted(set(TRANSFORMS) - {"make_jaxpr", "eval_shape"}))
def test_a_copy_of_an_argument_can_be_assigned_to(name: str, xp: Any) -> None:
    def assigned(v: Any) -> Any:
        u = jnp.asarray(v, copy=True)
        u[0] = u[1] ** 2
        return xpx.at(u)[1].multiply(v[0]) + xpx.at(v)[0].add(1.0, copy=True)

    def pure(v: Any) -> Any:
        u = v.at[0].set(v[1] ** 2)
        return u.at[1].multiply(v[0]) + v.at[0].add(1.0)

    x = jnp.asarray([0.5, 0.75])
    with gradkit.item_assignment():
        result = TRANSFORMS[name](assigned)(x)
    assert gradkit.device_get(result).tolist() == gradkit.device_get(TRANSFORMS[name](pure)(x)).tolist()
    assert x.tolist() == [0.5, 0.75]


def test_assignment_is_of_the_thread_alone(xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0])
    errors: list[str] = []

    def work() -> None:
        try:
            x[0] = 9.0
        except TypeError as error:
            errors.append(str(error))

    block: AbstractContextManager[None] = gradkit.item_assignment()
    with block:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
        x[1] = 3.0
    assert x.tolist() == [1.0, 3.0]
    assert "immutable" in errors[0]


@pytest.mark.parametrize("how", ["by its row", "by two indices"])
def test_threads_assign_to_different_rows_at_the_same_time(how: str, xp: Any) -> None:
    x = jnp.zeros((4, 50))
    interval = sys.getswitchinterval()

    def work(i: int) -> None:
        with gradkit.item_assignment():
            row = x[i]
            for j in range(50):
                if how == "by its row":
                    row[j] = 1.0
                else:
                    x[i, j] = 1.0

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    try:
        sys.setswitchinterval(1e-5)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert x.tolist() == np.ones((4, 50)).tolist()


NEW_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "astype": lambda x: x.astype(x.dtype),
    "jnp.astype": lambda x: jnp.astype(x, x.dtype),
    "asarray": lambda x: jnp.asarray(x, copy=True),
    "asarray with its dtype": lambda x: jnp.asarray(x, dtype=x.dtype, copy=True),
    "array": jnp.array,
    "copy": jnp.copy,
    "reshape": lambda x: x.reshape(x.shape),
    "ravel": jnp.ravel,
    "flatten": lambda x: x.flatten(),
    "broadcast_to": lambda x: jnp.broadcast_to(x, x.shape),
    "broadcast_arrays": lambda x: jnp.broadcast_arrays(x, x)[0],
    "squeeze": jnp.squeeze,
    "transpose": lambda x: x.T,
    "positive": lambda x: +x,
    "roll": lambda x: jnp.roll(x, 0),
    "pad": lambda x: jnp.pad(x, 0),
    "tile": lambda x: jnp.tile(x, 1),
    "flip": lambda x: jnp.flip(x, axis=()),
    "clip": lambda x: jnp.clip(x),
    "nan_to_num": lambda x: jnp.nan_to_num(x),
    "nan_to_num of whole numbers": lambda x: jnp.nan_to_num(x.astype("int32")),
    "conj": jnp.conj,
    "round of whole numbers": lambda x: jnp.round(x.astype("int32")),
    "block": jnp.block,
    "add nothing": lambda x: x.at[jnp.asarray([], dtype="int32")].add(1.0),
    "slice": lambda x: x[:],
    "ellipsis": lambda x: x[...],
    "concatenate": lambda x: jnp.concatenate([x]),
    "diff": lambda x: jnp.diff(x, n=0) + 0,
    "sum over nothing": lambda x: jnp.sum(x, axis=()),
}


@pytest.mark.parametrize("kind", ["plain", "tracked", "computed"])
@pytest.mark.parametrize("name", NEW_ARRAYS)
def test_what_was_made_from_an_array_keeps_its_values(name: str, kind: str, xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0])
    x.requires_grad = kind != "plain"
    y = x * 1.0 if kind == "computed" else x
    new = NEW_ARRAYS[name](y)
    assert new is not y
    if kind == "tracked" and type(new._node) is type(x._node):
        return  # an input of the tape is not assigned to, whatever it is called
    with gradkit.item_assignment():
        new[0] = 5
    assert y.tolist() == [1.0, 2.0]
    if kind != "tracked":
        another = NEW_ARRAYS[name](y)
        with gradkit.item_assignment():
            y[0] = 7
        assert another.tolist()[0] == 1.0


@pytest.mark.parametrize("call", [gradkit.pure_callback, io_callback], ids=lambda call: call.__name__)
def test_a_callback_does_not_change_the_arrays_that_it_is_given(call: Any, xp: Any) -> None:
    y = jnp.asarray([1.0, 2.0])

    def in_place(values: Any) -> Any:
        values += 1.0
        return values

    with pytest.raises(ValueError, match="read-only"):
        call(in_place, y, y)
    assert y.tolist() == [1.0, 2.0]
    assert call(lambda values: values + 1.0, y, y).tolist() == [2.0, 3.0]
    assert call(lambda values: xpx.at(values)[0].add(1.0), y, y).tolist() == [2.0, 2.0]
    assert y.tolist() == [1.0, 2.0]


def test_an_operator_in_place_leaves_an_argument_as_it_is(xp: Any) -> None:
    def f(x: Any) -> Any:
        y = x
        y += 1.0
        return (x * y).sum()

    x = jnp.asarray([1.0, 2.0])
    with gradkit.item_assignment():
        assert gradkit.device_get(gradkit.grad(f)(x)).tolist() == [3.0, 5.0]
    assert x.tolist() == [1.0, 2.0]


def test_what_a_pullback_keeps_is_not_assigned_to(xp: Any) -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        _, pullback = gradkit.vjp(lambda v: v * y, jnp.ones(2))
        y[0] = 50.0
        return pullback(jnp.ones(2))[0].sum()

    with gradkit.item_assignment():
        assert gradkit.device_get(gradkit.grad(f)(jnp.asarray([1.0, 3.0]))).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("name", ["jit", "scan", "cond", "jit of grad", "grad of jit"])
def test_a_captured_function_that_assigns_to_what_it_closes_over_computes_what_it_does_without(
    name: str, xp: Any
) -> None:
    captured: dict[str, Callable[[Callable[..., Any]], Any]] = {
        "jit": lambda f: gradkit.jit(f)(2.0),
        "scan": lambda f: lax.scan(lambda carry, x: (carry, f(x)), jnp.asarray(0.0), jnp.asarray([2.0]))[1],
        "cond": lambda f: lax.cond(True, f, f, 2.0),
        "jit of grad": lambda f: gradkit.jit(gradkit.grad(f))(2.0) * 2,
        "grad of jit": lambda f: gradkit.grad(gradkit.jit(f))(2.0) * 2,
    }

    def outer(start: Any) -> Any:
        c = xp.asarray([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]) * start

        def f(x: Any) -> Any:
            before = jnp.sum(c * x) + jnp.sum(c.T * x)
            c[0, 0] = 5.0
            return before + 10 * jnp.sum(c * x)

        return captured[name](f)

    # Twice 15, and ten times 20: all times 2.
    with setting("gradkit_item_assignment", True):
        for start in (xp.asarray(1.0), xp.asarray([1.0, 1.0, 1.0])):
            assert float(jnp.sum(outer(start))) == 460.0
        assert float(jnp.sum(gradkit.jvp(outer, (1.0,), (1.0,))[0])) == 460.0


def test_what_a_checkpoint_closes_over_is_not_assigned_to_silently(xp: Any) -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        result = gradkit.checkpoint(lambda v: v * y)(x)
        y[0] = 50.0
        return result.sum()

    with gradkit.item_assignment(), pytest.raises(RuntimeError, match="give it as an argument"):
        gradkit.grad(f)(jnp.asarray([1.0, 3.0]))


def sets_inside(c: Any, v: Any) -> Any:
    result = jnp.sum(c * v * v)
    c[0] = 5.0
    return result


USES = {
    "a sum": lambda c, v: jnp.sum(c * v * v),
    "an element": lambda c, v: jnp.sum(jnp.ones(1000) * c[0] * v[0]),
    "several results": lambda c, v: jnp.sum(jnp.stack(gradkit.checkpoint(lambda v: (v * 2.0, v * c))(v))),
    "a change inside": sets_inside,
}


@pytest.mark.parametrize("transform", ["plain", "vmap"])
@pytest.mark.parametrize("use", USES)
def test_a_constant_that_a_checkpoint_closes_over_is_not_assigned_to_silently(
    use: str, transform: str, xp: Any
) -> None:
    def f(x: Any) -> Any:
        c = jnp.asarray([1.0, 2.0])
        result = gradkit.checkpoint(lambda v: USES[use](c, v))(x)
        c[0] = 5.0
        return result

    def total(x: Any) -> Any:
        return f(x) if transform == "plain" else jnp.sum(gradkit.vmap(f)(jnp.stack([x, 2.0 * x])))

    with gradkit.item_assignment(), pytest.raises(RuntimeError, match="results are others now"):
        gradkit.grad(total)(jnp.asarray([1.0, 3.0]))


# Whose code may assign

LIBRARY = """
def set_first(x):
    y = x * 1.0
    y[0] = 5.0
    return y


def add_in_place(x):
    y = x * 1.0
    z = y
    z += 1.0
    return y


def call(function, x):
    return function(x)
"""


def _library(name: str) -> dict[str, Any]:
    module: dict[str, Any] = {"__name__": name}
    exec(LIBRARY, module)
    return module


@pytest.mark.parametrize("name", ["scipy.stats._new", "sklearn.utils", "array_api_extra._lib", "einops.einops"])
def test_libraries_assign_to_their_arrays_without_being_asked(name: str, xp: Any) -> None:
    library = _library(name)
    x = jnp.asarray([1.0, 2.0])
    assert gradkit.device_get(gradkit.grad(lambda x: library["set_first"](x).sum())(x)).tolist() == [0.0, 1.0]
    assert library["add_in_place"](x).tolist() == [2.0, 3.0]


def test_neither_a_user_nor_another_package_does(xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0])
    library = _library("scipy.optimize")
    for function in (_library("__main__")["set_first"], _library("scipyx")["set_first"]):
        with pytest.raises(TypeError, match="immutable"):
            function(x)
        with pytest.raises(TypeError, match="immutable"):
            library["call"](function, x)  # which a library calls
    assert _library("__main__")["add_in_place"](x).tolist() == [1.0, 2.0]


def test_the_libraries_are_a_setting(xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0])
    before = gradkit.config.gradkit_assigning_libraries
    try:
        gradkit.config.update("gradkit_assigning_libraries", {"mine"})
        assert _library("mine.arrays")["set_first"](x).tolist() == [5.0, 2.0]
        with pytest.raises(TypeError, match="immutable"):
            _library("scipy.stats")["set_first"](x)
    finally:
        gradkit.config.update("gradkit_assigning_libraries", before)
    assert _library("scipy.stats")["set_first"](x).tolist() == [5.0, 2.0]
    with pytest.raises(TypeError, match="names of packages"):
        gradkit.config.update("gradkit_assigning_libraries", "scipy")


def test_what_out_says_to_a_user(xp: Any) -> None:
    x = jnp.asarray([1.0, 2.0])
    for call in (lambda: np.clip(x, 0.0, 1.0, out=x), lambda: np.add(x, x, out=x)):
        with pytest.raises(TypeError, match="out= is a gradkit Array, which is immutable"):
            call()
    with pytest.raises(TypeError, match=r"x\.flat\[idx\] = y"):
        x.flat[0] = 1.0
    assert [float(number) for number in x.flat] == [1.0, 2.0]
    assert (len(x.flat), float(x.flat[1])) == (2, 2.0)
