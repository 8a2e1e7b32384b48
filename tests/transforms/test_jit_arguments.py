"""Which program a call runs: static arguments and callables that are equal and yet not the same; names; bounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit.transforms import jitted as jitted_module


class Pair(NamedTuple):
    one: Any
    other: Any


@dataclasses.dataclass(frozen=True)
class Setting:
    value: Any

    def __call__(self, x: Any) -> Any:
        return jnp.copysign(x, self.value)


class Named:
    """It is equal to what has its name, whatever its factor is."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __eq__(self, other: object) -> bool:
        return type(other) is Named

    def __hash__(self) -> int:
        return 0

    def __call__(self, x: Any) -> Any:
        return x * self.factor


WRAPPERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "as it is": (lambda v: v, lambda s: s),
    "tuple": (lambda v: (v, "a"), lambda s: s[0]),
    "named tuple": (lambda v: Pair(1, (v,)), lambda s: s.other[0]),
    "frozen set": (lambda v: frozenset([v]), lambda s: next(iter(s))),
    "dataclass": (Setting, lambda s: s.value),
    "dataclass in a tuple": (lambda v: (0, Setting((v,))), lambda s: s[1].value[0]),
}


@pytest.mark.parametrize("wrap, value_of", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("by_name", [False, True])
def test_equal_static_values_of_other_types_or_signs_are_told_apart(
    xp: Any, wrap: Any, value_of: Any, by_name: bool
) -> None:
    f = gradkit.jit(lambda x, s: jnp.asarray(value_of(s)), static_argnames="s")
    for values in ([1, True, 1.0, 1 + 0j, 1.0, True, 1], [np.float32(0.5), 0.5]):
        for value in values:
            found = f(1.0, s=wrap(value)) if by_name else f(1.0, wrap(value))
            assert found.dtype == jnp.asarray(value).dtype
    signs = [0.0, -0.0, complex(0.0, -0.0), complex(-0.0, 0.0), 0.0, -0.0]
    g = gradkit.jit(lambda x, s: jnp.copysign(x, value_of(s).real), static_argnames="s")
    for value in signs:
        found = g(1.0, s=wrap(value)) if by_name else g(1.0, wrap(value))
        assert float(found) == np.copysign(1.0, value.real)


def test_a_function_is_captured_once_for_nan(xp: Any) -> None:
    f = gradkit.jit(lambda x, s: x + s, static_argnums=1)
    assert all(np.isnan(float(f(1.0, float("nan")))) for _ in range(3))
    assert f._cache_size() == 1


def test_callables_that_are_equal_have_programs_of_their_own(xp: Any) -> None:
    positive, negative = Setting(0.0), Setting(-0.0)
    assert positive == negative
    assert [float(gradkit.jit(f)(2.0)) for f in (positive, negative)] == [2.0, -2.0]
    double, triple = Named(2.0), Named(3.0)
    assert [float(gradkit.jit(f)(1.0)) for f in (double, triple)] == [2.0, 3.0]


def test_arguments_may_have_any_name(xp: Any) -> None:
    names = {"self": 1.0, "fun": 2.0, "args": 3.0, "kwargs": 4.0}

    def f(**options: Any) -> Any:
        return {name: 2 * value for name, value in options.items()}

    jitted = gradkit.jit(f)
    for found in (jitted(**names), jitted.lower(**names).compile()(**names), gradkit.checkpoint(f)(**names)):
        assert {name: float(value) for name, value in found.items()} == {n: 2 * value for n, value in names.items()}
    assert set(jitted.eval_shape(**names)) == set(jitted.trace(**names).out_info) == set(names)


def test_generator_functions_are_refused_where_they_are_named() -> None:
    def rows(x: Any) -> Any:
        yield x

    for transform in (gradkit.jit, gradkit.grad, gradkit.vmap):
        with pytest.raises(TypeError, match="Expected a function, got a generator function"):
            transform(rows)


def test_what_calls_are_known_by_is_bounded(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jitted_module, "LARGEST", 5)
    f = gradkit.jit(lambda tree: sum(tree.values()))
    for i in range(12):
        assert float(f({f"key {i}": 1.0, f"other {i}": i})) == 1.0 + i
    programs = f._programs
    assert max(map(len, (programs.structures, programs.fast, programs.by_signature, programs.for_strong))) <= 5
    assert float(f({"key 0": 1.0, "other 0": 0})) == 1.0
