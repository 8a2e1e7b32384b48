"""Memory of results is used again only where nobody can see it: whatever holds a result keeps its numbers."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradkit_numpy import given
from gradkit_numpy.native import program

import gradkit
import gradkit.numpy as jnp

X = np.arange(12.0, dtype=np.float32).reshape(3, 4)


class Holder:
    """An object in a cycle, which the collector alone ends."""

    def __init__(self, value: Any) -> None:
        self.value, self.me = value, self


def through_ctypes(array: Any) -> Any:
    import ctypes

    raw = np.asarray(array)
    return np.ctypeslib.as_array(raw.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), raw.shape), raw.ctypes


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "the Array": lambda a: a,
    "NumPy's array": np.asarray,
    "a view": lambda a: np.asarray(a)[::-1, 1:],
    "a view of a view": lambda a: np.asarray(a).T.reshape(-1, order="F")[2:].view(np.int32),
    "a memoryview": lambda a: memoryview(np.asarray(a)),
    "a slice of a memoryview": lambda a: memoryview(np.asarray(a))[1:],
    "DLPack": np.from_dlpack,
    "a capsule of DLPack": lambda a: a.__dlpack__(),
    "an iterator": lambda a: iter(np.asarray(a)),
    "a flat iterator": lambda a: np.asarray(a).flat,
    "an object in a cycle": lambda a: Holder(np.asarray(a)),
    "a cycle of Arrays": lambda a: Holder([a]),
    "a closure": lambda a: lambda: a,
    "a transposed Array": lambda a: a.T,
    "a part": lambda a: a[1],
    "ctypes": through_ctypes,
    "a generator": lambda a: (row for row in [a]),
}


def numbers(held: Any) -> Any:
    """Return the numbers that a holder has."""
    if isinstance(held, Holder):
        return numbers(held.value)
    if isinstance(held, tuple | list):
        return numbers(held[0])
    if callable(held):
        return np.asarray(held())
    if hasattr(held, "gi_frame"):
        return np.asarray(next(held))
    if type(held).__name__ == "PyCapsule":
        return np.from_dlpack(type("Exported", (), {
            "__dlpack__": lambda self, **_: held, "__dlpack_device__": lambda self: (1, 0)
        })())  # fmt: skip
    return np.stack(list(held)) if type(held).__name__ == "iterator" else np.asarray(held)


@pytest.fixture(params=["native", "numpy"])
def printer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a printer, which compiles; it keeps results however small they are."""
    monkeypatch.setenv("GRADKIT_COMPILER", request.param)
    monkeypatch.setattr("gradkit_numpy.ufuncs.program.WORTH_KEEPING", 0)
    return str(request.param)


@pytest.mark.usefixtures("printer")
@pytest.mark.parametrize("jitted", [True, False], ids=["a program", "the same in a larger one"])
@pytest.mark.parametrize("name", HOLDERS)
def test_what_holds_a_result_keeps_its_numbers(name: str, jitted: bool) -> None:
    with gradkit.use_backend("numpy"):
        function = gradkit.jit(lambda x: x * 2 if jitted else (x * 2, x.sum())[0])
        held = [HOLDERS[name](function(jnp.asarray(X + i))) for i in range(6)]
        for _ in range(5):
            function(jnp.asarray(X - 100))
        for i, one in enumerate(held):
            expected = numbers(HOLDERS[name](jnp.asarray((X + i) * 2)))
            np.testing.assert_array_equal(numbers(one), expected)


@pytest.mark.usefixtures("printer")
def test_a_weak_reference_never_sees_another_calls_numbers() -> None:
    with gradkit.use_backend("numpy"):
        function = gradkit.jit(lambda x: x + 1)
        weak = [weakref.ref(np.asarray(function(jnp.asarray(X + i)))) for i in range(6)]
        for _ in range(5):
            function(jnp.asarray(X - 100))
        for i, one in enumerate(weak):
            if (alive := one()) is not None:
                np.testing.assert_array_equal(alive, X + i + 1)


@pytest.mark.usefixtures("printer")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "change",
    [
        lambda a: setattr(a, "shape", (4, 3)),
        lambda a: setattr(a, "shape", (12,)),
        lambda a: setattr(a, "dtype", np.int32),
        lambda a: a.setflags(write=False),
        lambda a: a.resize((2, 2), refcheck=False),
        lambda a: a.fill(7),
        lambda a: setattr(a, "strides", (4, 12)),
    ],
)
def test_what_a_holder_changes_in_a_result_is_not_in_the_next_one(change: Callable[[Any], Any]) -> None:
    with gradkit.use_backend("numpy"):
        function = gradkit.jit(lambda x: x + 1)
        for i in range(8):
            found = function(jnp.asarray(X + i))
            assert found.shape == X.shape
            np.testing.assert_array_equal(np.asarray(found), X + i + 1)
            raw = np.asarray(found)
            try:
                change(raw)
            except ValueError:  # it is read-only
                pytest.skip("what is handed out cannot be changed")
            del raw, found


def test_results_of_earlier_calls_in_cycles_live_until_they_are_collected() -> None:
    with gradkit.use_backend("numpy"):
        function = gradkit.jit(lambda x: (x + 1, x * 2))
        gc.disable()
        try:
            held = [weakref.ref(Holder(function(jnp.asarray(X + i)))) for i in range(6)]
            for i, one in enumerate(held):
                alive = one()
                assert alive is not None
                np.testing.assert_array_equal(np.asarray(alive.value[1]), (X + i) * 2)
                del alive
        finally:
            gc.enable()


def test_results_go_in_as_arguments_and_come_out_again() -> None:
    with gradkit.use_backend("numpy"):
        step = gradkit.jit(lambda a, b: (b, a + b, a[::-1]))
        a, b, expected_a, expected_b = jnp.asarray(X), jnp.asarray(X * 2), X, X * 2
        for _ in range(12):
            a, b, turned = step(a, b)
            np.testing.assert_array_equal(np.asarray(turned), expected_a[::-1])
            expected_a, expected_b = expected_b, expected_a + expected_b
            np.testing.assert_array_equal(np.asarray(a), expected_a)
            np.testing.assert_array_equal(np.asarray(b), expected_b)


def test_an_array_given_twice_is_read_twice() -> None:
    with gradkit.use_backend("numpy"):
        x = jnp.asarray(X)
        np.testing.assert_array_equal(np.asarray(gradkit.jit(lambda a, b: a @ b.T + a.sum() - b[0, 0])(x, x)),
                                      X @ X.T + X.sum())  # fmt: skip
        raw = np.arange(16.0)
        first, second = gradkit.jit(lambda a, b: (a + b, b[::-1] * a))(
            gradkit.Array(raw[:12].reshape(3, 4)), gradkit.Array(raw[4:].reshape(3, 4))
        )
        a, b = raw[:12].reshape(3, 4), raw[4:].reshape(3, 4)
        np.testing.assert_array_equal(np.asarray(first), a + b)
        np.testing.assert_array_equal(np.asarray(second), b[::-1] * a)


@pytest.mark.parametrize("keep", [
    lambda a: np.asarray(a), lambda a: np.asarray(a)[1:], lambda a: memoryview(np.asarray(a)), np.from_dlpack,
    lambda a: a.__dlpack__(), lambda a: a.T, lambda a: gradkit.Array(np.asarray(a)), lambda a: a.reshape(-1),
])  # fmt: skip
def test_a_donated_argument_that_is_held_elsewhere_keeps_its_numbers_there(keep: Callable[[Any], Any]) -> None:
    with gradkit.use_backend("numpy"):
        step = gradkit.jit(lambda a, b: a - b, donate_argnums=0)
        for i in range(3):
            x = jnp.asarray(X + i) * 1
            held, expected = keep(x), numbers(keep(jnp.asarray(X + i) * 1)).copy()
            np.testing.assert_array_equal(np.asarray(step(x, jnp.asarray(X * 2))), X + i - X * 2)
            assert x.is_deleted()
            np.testing.assert_array_equal(numbers(held), expected)


def test_what_a_callback_keeps_of_its_arguments_stays_as_it_was() -> None:
    kept: list[Any] = []

    def look(*arrays: Any) -> Any:
        kept.append(arrays)
        return np.float32(0)

    def function(x: Any) -> Any:
        y = jnp.sin(x)
        z = gradkit.pure_callback(look, jnp.zeros((), "float32"), y, x)
        gradkit.debug.callback(lambda *arrays: kept.append(arrays), y * 2, x)
        return jnp.cos(y * 3) + z

    with gradkit.use_backend("numpy"):
        jitted = gradkit.jit(function)
        for i in range(4):
            kept.clear()
            x = jnp.asarray(X + i) * 1
            jitted(x)
            held = [np.asarray(value) for arrays in kept for value in arrays]
            for _ in range(3):
                jitted(jnp.asarray(X - 50))
            x = np.asarray(x).copy()
            for one, expected in zip(held, (np.sin(x), x, np.sin(x) * 2, x), strict=False):
                np.testing.assert_allclose(one, expected, 1e-5, 1e-6)


def test_a_callback_that_writes_into_its_arguments_changes_nothing() -> None:
    def spoil(value: Any) -> Any:
        raw = np.asarray(value)
        try:
            raw[...] = -1
        except ValueError:  # it is read-only
            return np.float32(0)
        return np.float32(0)

    with gradkit.use_backend("numpy"):
        constant = jnp.asarray(X * 3)

        def function(x: Any) -> Any:
            y = x + 1
            for value in (x, y, constant):
                y = y + gradkit.pure_callback(spoil, jnp.zeros((), "float32"), value)
            return y * 2, x * constant

        x = jnp.asarray(X)
        for _ in range(2):
            found = gradkit.jit(function)(x)
            np.testing.assert_array_equal(np.asarray(found[0]), (X + 1) * 2)
            np.testing.assert_array_equal(np.asarray(found[1]), X * X * 3)
            np.testing.assert_array_equal(np.asarray(x), X)


@pytest.mark.parametrize("way", ["objects", "addresses"])
def test_arguments_are_read_by_objects_or_addresses(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "addresses":  # as where Python or NumPy keep the fields of objects elsewhere
        for module in ("entry", "program"):
            monkeypatch.setattr(f"gradkit_numpy.native.{module}.layout_is_known", lambda: False)
    gradkit.clear_caches()
    with gradkit.use_backend("numpy"):
        function = gradkit.jit(lambda x, y: (x @ y.T, jnp.sort(x), x.sum()))
        update = gradkit.jit(lambda x: x * 2, donate_argnums=0)
        for i in range(3):
            x, y = jnp.asarray(X + i), jnp.asarray(X[::-1, ::-1])
            product, ordered, total = function(x, y)
            np.testing.assert_allclose(product, (X + i) @ X[::-1, ::-1].T, rtol=1e-6)
            assert (np.asarray(ordered) == np.sort(X + i)).all()
            assert float(total) == (X + i).sum()
            assert (np.asarray(update(x)) == (X + i) * 2).all()
    gradkit.clear_caches()


@pytest.mark.usefixtures("printer")
@pytest.mark.parametrize("strided", [X.T, X[::-1], np.broadcast_to(X[:1], (3, 4)), X[:, ::2]], ids=str)
def test_a_strided_constant_is_copied_once(strided: Any) -> None:
    with gradkit.use_backend("numpy"):
        constant = jnp.asarray(np.zeros(strided.shape, np.float32))
        constant._value = strided
        function = gradkit.jit(lambda x: constant * x)
        for _ in range(2):
            assert (np.asarray(function(jnp.asarray(2.0))) == strided * 2).all()
        assert function._programs.latest is not None
        assert function._programs.latest[2]([jnp.asarray(2.0)]) is not None


@pytest.mark.usefixtures("printer")
def test_memory_of_results_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with gradkit.use_backend("numpy"):
        step = gradkit.jit(lambda x: (x + 1, x.sum()))
        x, totals = jnp.asarray(X), []
        for _ in range(3):
            x, _ = step(x)
        made = []
        new_array = given.new_array
        for module in (given, program):
            monkeypatch.setattr(module, "new_array", lambda shape, dtype: made.append(shape) or new_array(shape, dtype))
        for _ in range(6):
            x, _ = step(x)
        assert not made
        for _ in range(6):  # who keeps a small result keeps no large one
            x, total = step(x)
            totals.append(total)
        assert X.shape not in made
        np.testing.assert_array_equal(np.asarray(x), X + 15)
        np.testing.assert_allclose(np.asarray(totals), [(X + i).sum() for i in range(9, 15)], 1e-6)
