"""Keys of graphs: two captures of one program have one key, and other programs have other ones.

The programs are the calls of every public function that the sweep of `function_calls` finds, the
cases of every primitive and their derivatives, and programs with functions in them. What a program is, apart from its
key, its text as a jaxpr tells.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from function_calls import NAMESPACES, calls, functions
from primitive_cases import CASES, arguments, loss, on
from slopes import POINT

import gradkit
import gradkit.numpy as jnp
from gradkit.compiler.keys import key_of
from gradkit.core.graph import Graph, Params
from gradkit.transforms.abstract import ClosedJaxpr

Capture = Callable[[], ClosedJaxpr]
NEW_FUNCTIONS = ("debug.callback(f, x; 1=x)", "debug.callback(f; ordered=x[0])")
"""Whose captures call another function of the host each time."""


def captured(capture: Capture) -> ClosedJaxpr | None:
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return capture()
    return None  # the function asks for values


def equations(graph: Graph) -> Iterator[Any]:
    for equation in graph.equations:
        yield equation
        for inner in equation.graphs:
            yield from equations(inner)


def wrong(captures: dict[str, Capture]) -> tuple[int, list[str]]:
    """Return how many programs have a graph, and what is wrong with their keys."""
    found: list[str] = []
    texts: dict[Any, tuple[str, str]] = {}
    keys: dict[tuple[str, int], Any] = {}
    count = 0
    for name, capture in captures.items():
        if (one := captured(capture)) is None or (two := captured(capture)) is None:
            continue
        count += 1
        found.extend(
            f"{name}: the parameters of {equation.primitive.name} do not hash"
            for equation in equations(one.jaxpr)
            if type(equation.params) is not Params or hash(equation.params) != hash(Params(equation.params))
        )
        (key, arrays), (other, others) = key_of(one.jaxpr), key_of(two.jaxpr)
        if (key != other or hash(key) != hash(other)) and name not in NEW_FUNCTIONS:
            found.append(f"{name}: two captures have two keys")
        if not all(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") for a, b in zip(arrays, others, strict=True)):
            found.append(f"{name}: two captures have other constants")
        text = str(one)
        whole = key, *(np.asarray(array).tobytes() for array in arrays)  # of those without axes the text has the values
        if texts.setdefault(whole, (name, text))[1] != text:
            found.append(f"{name} has the key of {texts[whole][0]}")
        if (
            keys.setdefault((text, len(arrays)), key) != key and "function" not in text
        ):  # of which it has the name alone
            found.append(f"{name}: another key for the same text")
    return count, found


@pytest.mark.dealt("name")  # a graph is what it is wherever its arrays lie
@pytest.mark.parametrize("name", NAMESPACES)
def test_every_function_has_one_key_and_other_programs_have_others(name: str, xp: Any) -> None:
    captures: dict[str, Capture] = {}
    with gradkit.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path, function in functions(name).items():
            for label, call in calls(path, function, None, 1, 120).items():
                captures[label] = lambda call=call: gradkit.make_jaxpr(call)(jnp.asarray(POINT))
        _, found = wrong(captures)
    assert not found, "\n".join(found)


def test_every_primitive_and_its_derivatives_have_one_key_and_others_have_others(xp: Any) -> None:
    captures: dict[str, Capture] = {}
    with gradkit.enable_x64(True):
        for name, cases in CASES.items():
            for i, case in enumerate(cases):
                args = [on(xp, x) for x in arguments(case)]
                captures[f"{name}-{i}"] = lambda case=case, args=args: gradkit.make_jaxpr(case.ours)(*args)
                captures[f"grad of {name}-{i}"] = lambda case=case, args=args: gradkit.make_jaxpr(
                    gradkit.grad(loss(case, xp), tuple(range(len(args))))
                )(*args)
        count, found = wrong(captures)
    assert not found, "\n".join(found)
    assert count > 1.8 * sum(map(len, CASES.values()))


# Programs with functions in them


def host(x: Any) -> Any:
    return np.asarray(x) * 2


@gradkit.custom_jvp
def with_jvp(x: Any) -> Any:
    return jnp.sin(x)


with_jvp.defjvp(lambda primals, tangents: (with_jvp(*primals), 2.0 * tangents[0]))


@gradkit.custom_vjp
def with_vjp(x: Any) -> Any:
    return jnp.cos(x)


with_vjp.defvjp(lambda x: (with_vjp(x), x), lambda x, g: (3.0 * g * x,))


def solved(x: Any) -> Any:
    return gradkit.lax.custom_linear_solve(
        lambda v: 2.0 * v, x, lambda _, b: b / 2.0, transpose_solve=lambda _, b: b / 2.0
    )


def with_effects(x: Any) -> Any:
    gradkit.debug.print("x = {x}", x=x)
    gradkit.debug.callback(print, x, 1.0)
    return gradkit.pure_callback(host, gradkit.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "scan": lambda x: gradkit.lax.scan(lambda c, e: (c * e, c + e), x[0], x),
    "scan backwards": lambda x: gradkit.lax.scan(lambda c, e: (c * e, c + e), x[0], x, reverse=True),
    "fori_loop": lambda x: gradkit.lax.fori_loop(0, 3, lambda i, c: c * i, x),
    "while": lambda x: gradkit.lax.while_loop(lambda c: c[0] < 9.0, lambda c: c * 2.0, x),
    "while below ten": lambda x: gradkit.lax.while_loop(lambda c: c[0] < 10.0, lambda c: c * 2.0, x),
    "cond": lambda x: gradkit.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
    "cond the other way": lambda x: gradkit.lax.cond(x[0] > 0, jnp.cos, jnp.sin, x),
    "switch": lambda x: gradkit.lax.switch(jnp.int32(x[0]), [jnp.sin, jnp.cos, jnp.tan], x),
    "custom_jvp": with_jvp,
    "custom_vjp": with_vjp,
    "checkpoint": gradkit.checkpoint(lambda x: jnp.sin(jnp.sin(x))),
    "checkpoint with a policy": gradkit.checkpoint(
        lambda x: jnp.cos(jnp.cos(x)), policy=gradkit.checkpoint_policies.everything_saveable
    ),
    "custom_linear_solve": solved,
    "callbacks": with_effects,
    "a constant": lambda x: x + jnp.asarray([1.0, 2.0, 3.0]),
    "a number": lambda x: x + 1.0,
    "another number": lambda x: x + 2.0,
    "zero": lambda x: x * 0.0,
    "minus zero": lambda x: x * -0.0,
    "the first": lambda x: x[:1],
    "the second": lambda x: x[1:2],
    "an argument for another": lambda x: x - x[0],
    "another for an argument": lambda x: x[0] - x,
}
"""No two of them compute the same."""
PROGRAMS |= {f"vmap of {name}": gradkit.vmap(lambda x, f=f: f(jnp.stack([x, x, x]))) for name, f in PROGRAMS.items()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_one_key(name: str, xp: Any) -> None:
    count, found = wrong({name: lambda: gradkit.make_jaxpr(PROGRAMS[name])(xp.ones(3))})
    assert (count, found) == (1, [])


def test_no_two_programs_have_one_key(xp: Any) -> None:
    keys = {name: key_of(gradkit.make_jaxpr(f)(xp.ones(3)).jaxpr)[0] for name, f in PROGRAMS.items()}
    same = [(a, b) for a, b in itertools.combinations(keys, 2) if keys[a] == keys[b]]
    assert not same


def test_shapes_dtypes_and_places_are_in_a_key(xp: Any) -> None:
    def key(*args: Any) -> Any:
        return key_of(gradkit.make_jaxpr(lambda *xs: jnp.sum(xs[0]))(*args).jaxpr)[0]

    x = xp.ones((2, 3))
    assert key(x) == key(x + 1)
    others = [key(x), key(xp.ones((3, 2))), key(xp.ones((2, 3), dtype="int32")), key(x, x)]
    assert len(set(others)) == len(others)


def test_values_of_constants_are_apart_from_the_key(xp: Any) -> None:
    def graph(scale: Any) -> Any:
        return gradkit.make_jaxpr(lambda x: x * scale + jnp.asarray(2.0))(xp.ones(3)).jaxpr

    (one, arrays), (two, others) = key_of(graph(xp.ones(3))), key_of(graph(2 * xp.ones(3)))
    assert one == two
    assert [float(a.sum()) for a in arrays] == [3.0, 2.0]
    assert [float(a.sum()) for a in others] == [6.0, 2.0]


def test_graphs_equations_and_variables_hash_by_identity(xp: Any) -> None:
    one, two = (gradkit.make_jaxpr(jnp.sin)(xp.ones(3)).jaxpr for _ in range(2))
    assert len({one, two}) == 2
    assert len({*one.equations, *two.equations, *one.inputs, *two.inputs}) == 4


def test_a_parameter_that_does_not_hash_is_named(xp: Any) -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, x: Any) -> None: ...

    graph = gradkit.make_jaxpr(lambda x: gradkit.debug.callback(Unhashable(), x))(xp.ones(3)).jaxpr
    with pytest.raises(TypeError, match="parameters of debug_callback make no key: unhashable type: 'Unhashable'"):
        key_of(graph)


def test_programs_with_nan_of_either_sign_are_two() -> None:
    x = np.linspace(-1, 1, 3, dtype=np.float32)
    for _ in range(2):
        for nan in (math.nan, -math.nan):
            found = gradkit.jit(lambda x: jnp.copysign(x, nan))(jnp.asarray(x))  # noqa: B023
            np.testing.assert_array_equal(np.asarray(found), np.copysign(x, np.float32(nan)))
