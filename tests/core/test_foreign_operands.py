"""Operators of Arrays and Values leave objects that they do not know to those objects' own methods."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.primitives.operators import BINARY, COMPARISON

SYMBOLS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": operator.pow,
    "matmul": operator.matmul,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "divmod": divmod,
}
COMPARED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}


class Foreign:
    """Answers every operator itself."""


class Mute:
    """Answers none."""


for name in SYMBOLS:
    setattr(Foreign, f"__r{name}__", lambda self, other, name=name: (name, other))
for name in COMPARED.values():
    setattr(Foreign, f"__{name}__", lambda self, other, name=name: (name, other))
Foreign.__hash__ = object.__hash__  # type: ignore[method-assign]


def arrays(xp: Any) -> dict[str, Any]:
    followed: list[Any] = []
    gradkit.vmap(lambda x: followed.append(x) or x)(xp.asarray([1, 2]))
    tracked = xp.asarray([1.0, 2.0])
    tracked.requires_grad = True
    return {"plain": xp.asarray([1, 2]), "tracked": tracked, "number": xp.asarray(3), "value": gradkit.Value(2.0)}


def test_every_operator_is_here() -> None:
    assert set(SYMBOLS) == {*BINARY, "divmod"}
    assert set(COMPARED) == set(COMPARISON)
    for cls in (gradkit.Array, gradkit.Value):
        reflected = {name[3:-2] for name in dir(cls) if name.startswith("__r") and f"__{name[3:-2]}__" in dir(cls)}
        assert reflected - {"educe", "educe_ex", "epr", "ound"} <= set(SYMBOLS)


@pytest.mark.parametrize("name", SYMBOLS)
def test_the_reflected_method_of_a_foreign_object_runs(name: str, xp: Any) -> None:
    for kind, x in arrays(xp).items():
        answer = SYMBOLS[name](x, Foreign())
        assert answer[0] == name, kind
        assert answer[1] is x
        with pytest.raises(TypeError, match="unsupported operand"):
            SYMBOLS[name](x, Mute())
        with pytest.raises(TypeError, match="unsupported operand"):
            SYMBOLS[name](Mute(), x)


@pytest.mark.parametrize("name", SYMBOLS)
def test_so_it_does_under_transforms(name: str, xp: Any) -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(SYMBOLS[name](x, Foreign())[0])
        return x * 1.0

    x = xp.asarray(1.5)
    gradkit.grad(f)(x)
    gradkit.jvp(f, (x,), (x,))
    gradkit.vmap(f)(xp.asarray([1.0]))
    gradkit.make_jaxpr(f)(x)
    assert seen == [name] * 4


@pytest.mark.parametrize("name", COMPARED)
def test_comparisons_are_left_to_it_too(name: str, xp: Any) -> None:
    compare = getattr(operator, name)
    for kind, x in arrays(xp).items():
        assert compare(x, Foreign())[0] == COMPARED[name], kind
        if name in ("eq", "ne"):
            assert compare(x, Mute()) is (name == "ne")
        else:
            with pytest.raises(TypeError, match="not supported between"):
                compare(x, Mute())


@pytest.mark.parametrize("mistake", ["a string", b"bytes", [1.0, 2.0], (1.0,), {"a": 1}, {1}, None, object(), print])
@pytest.mark.parametrize("name", SYMBOLS)
def test_a_mistake_is_a_clear_error(name: str, mistake: Any, xp: Any) -> None:
    for x in (xp.asarray([1, 2]), gradkit.Value(1.0)):
        for one, other in ((x, mistake), (mistake, x)):
            if name == "mod" and isinstance(one, str | bytes):
                continue  # formatting
            with pytest.raises(TypeError) as raised:
                SYMBOLS[name](one, other)
            if type(x) is gradkit.Array and not (name == "add" and one is mistake):  # "a" + x: the text's own words
                assert "unsupported operand" in str(raised.value)
                assert f"'{type(one).__name__}' and '{type(other).__name__}'" in str(raised.value)


def test_a_sequence_is_not_repeated(xp: Any) -> None:
    for two in (xp.asarray(2), xp.asarray(2, dtype="int8")):
        for mistake in ([1, 2], (1, 2), "ab", b"ab"):
            for f in (lambda: two * mistake, lambda: mistake * two):  # noqa: B023
                with pytest.raises(TypeError, match="unsupported operand"):
                    f()


def test_numpy_s_arrays_of_text_are_told_what_they_are(xp: Any) -> None:
    with pytest.raises(TypeError, match=r"requires arrays of numbers|string|ufunc"):
        xp.asarray([1, 2]) + np.asarray(["a", "b"])


@pytest.mark.parametrize("name", sorted(set(SYMBOLS) - {"and", "or", "xor", "lshift", "rshift", "matmul"}))
def test_numbers_and_arrays_are_no_foreign_objects(name: str) -> None:
    x = np.asarray([4.0, 5.0])
    for other in (2, 2.5, np.float64(2.5), np.int8(2), np.asarray([2.0, 3.0])):
        for ours, right in (
            (SYMBOLS[name](jnp.asarray(x), other), SYMBOLS[name](x, other)),
            (SYMBOLS[name](other, jnp.asarray(x)), SYMBOLS[name](other, x)),
        ):
            np.testing.assert_allclose(np.asarray(ours), np.asarray(right), rtol=1e-6)
