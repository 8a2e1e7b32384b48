"""`item_assignment`: a block of one thread or task, and no function under a transform sees its argument changed."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import array_api_extra as xpx
import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.config import OWN, setting
from gradkit.core.array import raw
from gradkit.experimental import io_callback

# Settings


@pytest.mark.parametrize("name", OWN)
def test_blocks_of_two_threads_may_overlap(name: str) -> None:
    before = getattr(gradkit.config, name)
    inside, closing = threading.Barrier(2), threading.Barrier(2)
    seen: list[list[bool]] = [[], []]

    def work(number: int) -> None:
        with setting(name, True):
            inside.wait(10)
            seen[number].append(getattr(gradkit.config, name))
            if number:
                closing.wait(10)
            seen[number].append(getattr(gradkit.config, name))
        seen[number].append(getattr(gradkit.config, name))
        if not number:
            closing.wait(10)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [[True, True, before]] * 2
    assert getattr(gradkit.config, name) is before


@pytest.mark.parametrize("name", OWN)
def test_blocks_of_two_tasks_may_overlap(name: str) -> None:
    before = getattr(gradkit.config, name)

    async def work(value: bool, steps: int) -> None:
        with setting(name, value):
            for _ in range(steps):
                await asyncio.sleep(0)
                assert getattr(gradkit.config, name) is value
        assert getattr(gradkit.config, name) is before

    async def several() -> None:
        await asyncio.gather(*(work(bool(i % 2), 3 + i) for i in range(4)))

    asyncio.run(several())
    assert getattr(gradkit.config, name) is before


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_one_thread_checks_for_nan_and_another_does_not() -> None:
    found: list[Any] = []

    def work() -> None:
        found.append(jnp.isnan(jnp.asarray(float("inf")) * 0.0).item())
        found.append(str(gradkit.Value(float("inf")) * 0.0))

    with gradkit.debug_nans():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
        with pytest.raises(FloatingPointError):
            gradkit.Value(float("inf")) * 0.0
        with pytest.raises(FloatingPointError):
            jnp.asarray(float("inf")) * 0.0
    assert found[0] is True
    assert "nan" in found[1]


# Generators

OUTSIDE: dict[str, tuple[Callable[[], AbstractContextManager[None]], Callable[[], Any]]] = {
    **{name: (lambda name=name: setting(name, True), lambda name=name: getattr(gradkit.config, name)) for name in OWN},
    "no_grad": (gradkit.no_grad, lambda: (_followed() * 2).requires_grad),
    "use_backend": (lambda: gradkit.use_backend("strict"), lambda: jnp.ones(1).device),
    "default_device": (lambda: gradkit.default_device(gradkit.devices("strict")[0]), lambda: jnp.ones(1).device),
}
"""Each block that there is, and what it changes."""


def _followed() -> Any:
    x = jnp.ones(1)
    x.requires_grad = True
    return x


def in_block(name: str) -> Iterator[None]:
    with OUTSIDE[name][0]():
        yield


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("name", OUTSIDE)
def test_blocks_of_generators_end_in_any_order(name: str, order: Any) -> None:
    with gradkit.use_backend("numpy"):
        value = OUTSIDE[name][1]
        before = value()
        suspended = [in_block(name) for _ in range(3)]
        for generator in suspended:
            next(generator)
        inside = value()
        assert inside != before  # it is the caller's, too, as that of a fixture of pytest's is meant to be
        for number in order:
            assert value() == inside
            suspended[number].close()
        assert value() == before


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_block_of_an_asynchronous_generator_is_over_when_another_task_ends_it(name: str) -> None:
    value = OUTSIDE[name][1]

    async def steps() -> AsyncIterator[int]:
        with OUTSIDE[name][0]():
            yield 1
            yield 2

    async def left_early() -> None:
        before = value()
        generator = steps()
        async for _ in generator:
            assert value() != before
            break
        await asyncio.create_task(generator.aclose())
        assert value() == before
        with OUTSIDE[name][0]():
            assert value() != before
        assert value() == before

    with gradkit.use_backend("numpy"):
        asyncio.run(left_early())


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_task_that_begins_in_a_block_stays_in_it(name: str) -> None:
    value = OUTSIDE[name][1]

    async def later(seen: list[Any]) -> None:
        await asyncio.sleep(0)
        seen.append(value())

    async def begun_inside() -> None:
        before, seen = value(), []
        with OUTSIDE[name][0]():
            inside = value()
            task = asyncio.create_task(later(seen))
        await task
        assert seen == [inside]
        assert value() == before

    with gradkit.use_backend("numpy"):
        asyncio.run(begun_inside())


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


# What shares memory in NumPy

PARTS: dict[str, Callable[[Any, Any], None]] = {
    "a row": lambda x, xp: _assign(x[1], 0, 9.0),
    "a row of rows": lambda x, xp: _assign(x[1:][0], 0, 9.0),
    "two indices": lambda x, xp: x[1].__setitem__(0, 9.0),
    "a column backwards": lambda x, xp: _assign(x[::-1, 1], 0, 9.0),
    "an added axis": lambda x, xp: _assign(x[:, None], (0, 0, 0), 9.0),
    "iteration": lambda x, xp: _assign(list(x)[1], 1, 9.0),
    "transposed": lambda x, xp: _assign(x.T, (0, 1), 9.0),
    "mT": lambda x, xp: _assign(x.mT, (0, 1), 9.0),
    "transpose": lambda x, xp: _assign(x.transpose(1, 0), (0, 1), 9.0),
    "permute_dims": lambda x, xp: _assign(xp.permute_dims(x, (1, 0)), (0, 1), 9.0),
    "moveaxis": lambda x, xp: _assign(xp.moveaxis(x, 0, 1), (0, 1), 9.0),
    "swapaxes": lambda x, xp: _assign(xp.swapaxes(x, 0, 1), (0, 1), 9.0),
    "reshape": lambda x, xp: _assign(xp.reshape(x, (3, 2)), (2, 0), 9.0),
    "reshape method": lambda x, xp: _assign(x.reshape(-1), slice(0, 4, 3), 9.0),
    "ravel": lambda x, xp: _assign(xp.ravel(x), 4, 9.0),
    "ravel method": lambda x, xp: _assign(x.ravel(), 4, 9.0),
    "expand_dims": lambda x, xp: _assign(xp.expand_dims(x, axis=0), (0, 1), 9.0),
    "squeeze": lambda x, xp: _assign(xp.squeeze(x[:1]), 2, 9.0),
    "flip": lambda x, xp: _assign(xp.flip(x, axis=1), (0, 0), 9.0),
    "rot90": lambda x, xp: _assign(xp.rot90(x), (0, 1), 9.0),
    "atleast_3d": lambda x, xp: _assign(xp.atleast_3d(x), (0, 1), 9.0),
    "the second of two, each at_least_2d": lambda x, xp: _assign(xp.atleast_2d(xp.zeros(1), x)[1], (0, 1), 9.0),
    "unstack": lambda x, xp: _assign(xp.unstack(x, axis=1)[2], 0, 9.0),
    "split": lambda x, xp: _add(xp.split(x, [1], axis=1)[1], x[:, :2]),
    "array_split": lambda x, xp: _assign(xp.array_split(x, 2, 1)[0], 0, 9.0),
    "a part of hsplit": lambda x, xp: _add(xp.hsplit(x, 3)[1].T, 9.0),
    "vsplit": lambda x, xp: _assign(xp.vsplit(x, 2)[1], (0, 1), 9.0),
    "twelve axes": lambda x, xp: _add(xp.moveaxis(xp.expand_dims(x, axis=tuple(range(2, 12))), 0, 11), 9.0),
    "flat": lambda x, xp: x.flat.__setitem__(slice(0, None, 4), 9.0),
    "in place": lambda x, xp: _add(x[1], 9.0),
    "in place of a part of a part": lambda x, xp: _add(x.T[1:][0], x[:, 0]),
    "flatten, which copies": lambda x, xp: _assign(x.flatten(), 4, 9.0),
    "take, which copies": lambda x, xp: _assign(xp.take(x, xp.asarray([1]), axis=0), (0, 0), 9.0),
    "a mask, which copies": lambda x, xp: _assign(x[x > 2.5], 0, 9.0),
    "a number, which copies": lambda x, xp: _add(x[0, 0], 9.0),
    "out=": lambda x, xp: np.multiply(x, 2.0, out=x),
    "out= of a part": lambda x, xp: np.multiply(x[1], 2.0, out=x[0]),
    "out= where": lambda x, xp: np.multiply(x, 2.0, out=x, where=x > 2.5),
    "clip with out=": lambda x, xp: np.clip(x, 2.5, 4.5, out=x),
    "add.at": lambda x, xp: np.add.at(x, (np.asarray([0, 0]), np.asarray([1, 1])), 2.0),
    "put_along_axis": lambda x, xp: xp.put_along_axis(x, xp.asarray([[2], [0]]), 9.0, axis=1),
    "fill_diagonal": lambda x, xp: xp.fill_diagonal(x, 9.0),
}


def _assign(part: Any, index: Any, value: Any) -> None:
    part[index] = value


def _add(part: Any, value: Any) -> None:
    part += value


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_assigned_to_as_in_numpy_and_what_shares_its_memory(name: str, xp: Any) -> None:
    def changed(x: Any, library: Any) -> Any:
        row, column = x[0], x.T[1]
        PARTS[name](x, library)
        return library.concat([library.reshape(x, (-1,)), row * 10, column * 100])

    x = np.arange(6.0).reshape(2, 3)
    with gradkit.item_assignment(), gradkit.enable_x64():
        result = changed(jnp.asarray(x), jnp)
        assert gradkit.device_get(result).tolist() == changed(x.copy(), np).tolist()
        # And so are the derivatives: of what NumPy computes a step further on, exactly, since all is linear.
        weights = np.cos(np.arange(result.shape[0]))

        def total(t: Any) -> Any:
            return jnp.sum(changed(jnp.asarray(x) + t * jnp.asarray(x), jnp) * jnp.asarray(weights))

        slope = (changed(x * 1.01, np) - changed(x * 0.99, np)) @ weights / 0.02
        assert float(gradkit.grad(total)(0.0)) == pytest.approx(slope)


def test_iteration_keeps_no_row_but_the_one_it_is_at(xp: Any) -> None:
    x = jnp.asarray(np.arange(10.0).reshape(5, 2))
    with gradkit.item_assignment():
        for row in x:
            _add(row, x[0])
            assert len(row._place.memory.alive()) <= 3  # x, this row, and the one before
    expected = np.arange(10.0).reshape(5, 2)
    for row in expected:
        row += expected[0]
    assert x.tolist() == expected.tolist()


@pytest.mark.parametrize("part", ["real", "imag"])
def test_real_and_imaginary_parts_are_assigned_to_as_in_numpy(part: str, xp: Any) -> None:
    def changed(x: Any, library: Any) -> Any:
        row = x[0]
        getattr(x.T, part)[1:] = x.real.T[1:] * 3.0
        _add(getattr(library, part)(x[1]), 1.0)
        return library.concat([library.reshape(x, (-1,)), row])

    x = (np.arange(6.0) + 1j * np.arange(6.0)[::-1]).reshape(2, 3)
    with gradkit.item_assignment(), gradkit.enable_x64():
        result = changed(jnp.asarray(x), jnp)
        assert gradkit.device_get(result).tolist() == changed(x.copy(), np).tolist()
        weights = np.cos(np.arange(result.shape[0])) + 1j * np.sin(np.arange(result.shape[0]))
        slope = np.real((changed(x * 1.01, np) - changed(x * 0.99, np)) @ weights) / 0.02
        total = lambda t: jnp.sum(jnp.real(changed(jnp.asarray(x) * (1 + t), jnp) * jnp.asarray(weights)))  # noqa: E731
        assert float(gradkit.grad(total)(0.0)) == pytest.approx(slope)


def test_what_an_array_had_is_not_kept_for_parts_that_are_gone(xp: Any) -> None:
    def parts_of(x: Any) -> float:
        row = x.T[0]
        row[0] = 2.0
        return float(row[0])

    x = jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    with gradkit.item_assignment():
        assert parts_of(x) == 2.0
        value = weakref.ref(raw(x))
        x.data = jnp.ones((2, 2)).data
        assert value() is None
        assert parts_of(x) == 2.0
    assert x.tolist() == [[2.0, 1.0], [1.0, 1.0]]


def test_a_part_of_an_argument_is_not_assigned_to(xp: Any) -> None:
    def f(x: Any) -> Any:
        row = x[0]
        row[0] = 1.0
        return x.sum()

    with gradkit.item_assignment(), pytest.raises(TypeError, match=r"shares memory.*cannot be assigned to"):
        gradkit.grad(f)(jnp.ones((2, 2)))


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
