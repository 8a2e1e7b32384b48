"""Simplification: what is written for what, and that graphs that nobody chose compute the same, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from abilities import keeps_subnormals, needs_changes_in_place

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.compiler.executables import executable_of
from gradkit.compiler.simplify import simplified
from gradkit.core.graph import Graph
from gradkit.transforms.printing import jaxpr_text


def graph_of(function: Callable[..., Any], *args: Any) -> Graph:
    return gradkit.make_jaxpr(function)(*args).jaxpr


def names(graph: Graph) -> list[str]:
    return [equation.primitive.name for equation in graph.equations]


SPECIAL = np.asarray([[np.nan, np.inf, -np.inf, -0.0, 0.0], [1.5, -2.0, 1e-40, 3e38, -7.25]], dtype="float32")


def special() -> np.ndarray:
    """Return the special values that the library in use computes with."""
    return SPECIAL if keeps_subnormals() else np.where(np.abs(SPECIAL) == np.float32(1e-40), np.float32(1e-37), SPECIAL)


def assert_same_bits(found: Any, expected: Any) -> None:
    """Compare with the sign of zeros; a NaN is one."""
    a, b = gradkit.device_get(found), gradkit.device_get(expected)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
    if a.dtype.kind == "f":
        number = ~np.isnan(a)
        np.testing.assert_array_equal(np.signbit(a)[number], np.signbit(b)[number])


def simplified_and_checked(function: Callable[..., Any], *args: Any) -> Graph:
    graph = graph_of(function, *args)
    less = simplified(graph)
    with np.errstate(all="ignore"):
        for found, expected in zip(less.run(args), graph.run(args), strict=True):
            assert_same_bits(found, expected)
    return less


# Elementwise: a function of x, and the operations that are left

IDENTITIES: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "x * 1": (lambda x: x * 1.0, []),
    "1 * x": (lambda x: 1.0 * x, []),
    "x / 1": (lambda x: x / 1.0, []),
    "x - 0.0": (lambda x: x - 0.0, []),
    "x - -0.0": (lambda x: x - -0.0, ["subtract"]),
    "x + -0.0": (lambda x: x + -0.0, []),
    "x + 0.0": (lambda x: x + 0.0, ["add"]),
    "x * 0": (lambda x: x * 0.0, ["multiply"]),
    "-(-x)": (lambda x: jnp.negative(-x), []),
    "+x": (lambda x: jnp.positive(x), []),
    "abs abs": (lambda x: jnp.abs(jnp.abs(x)), ["abs"]),
    "abs of -x": (lambda x: jnp.abs(-x), ["abs"]),
    "(-x)**2": (lambda x: jnp.square(-x), ["square"]),
    "x * x": (lambda x: x * x - jnp.square(x), ["square", "subtract"]),
    "x + -y": (lambda x: x + -jnp.sin(x), ["sin", "subtract"]),
    "-y + x": (lambda x: -jnp.sin(x) + x, ["sin", "subtract"]),
    "x - -y": (lambda x: x - -jnp.sin(x), ["sin", "add"]),
    "-(x - y)": (lambda x: -(x - jnp.sin(x)), ["sin", "subtract", "negative"]),
    "x + (-x) * y": (lambda x: x + -x * jnp.sin(x), ["sin", "multiply", "subtract"]),
    "-x * -y": (lambda x: -x * -jnp.sin(x), ["sin", "multiply"]),
    "-x / 3": (lambda x: -x / 3.0, ["divide"]),
    "-(3 * x)": (lambda x: -(3.0 * x), ["multiply"]),
    "x * -1": (lambda x: x * -1.0, ["negative"]),
    "x / 4": (lambda x: x / 4.0, ["multiply"]),
    "x / 3": (lambda x: x / 3.0, ["divide"]),
    "2 * (3 * x)": (lambda x: 2.0 * (3.0 * x), ["multiply"]),
    "5 * (3 * x)": (lambda x: 5.0 * (3.0 * x), ["multiply", "multiply"]),
    "x and what it is": (lambda x: jnp.maximum(x, x), []),
    "stop_gradient": (lambda x: lax.stop_gradient(x), []),
    "a name": (lambda x: gradkit.ad_checkpoint.checkpoint_name(x, "x"), []),
    "there and back": (lambda x: x.astype("float64").astype("float32"), []),
    "and back again": (
        lambda x: (x.astype("float64") / 3.0).astype("float32").astype("float64"),
        ["astype", "divide", "astype", "astype"],
    ),
    "where of one": (lambda x: jnp.where(x > 0, x, x), []),
    "where not": (lambda x: jnp.where(~(x > 0), x, 1.0), ["greater", "where"]),
    "where in where": (
        lambda x: jnp.where(x > 0, jnp.where(x > 0, x, 2.0), jnp.where(x > 0, 3.0, jnp.sin(x))),
        ["greater", "sin", "where"],
    ),
    "floor of floor": (lambda x: jnp.floor(jnp.floor(x)), ["floor"]),
    "a sum twice": (lambda x: (x + 2.5) * (2.5 + x), ["add", "square"]),
    "two differences": (lambda x: (x - 2.5) * (2.5 - x), ["subtract", "subtract", "multiply"]),
    "0.0 and -0.0": (lambda x: jnp.copysign(x, 0.0) + jnp.copysign(x, -0.0), ["copysign", "copysign", "add"]),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_an_identity_holds_for_special_values_and_leaves(name: str, xp: Any) -> None:
    function, left = IDENTITIES[name]
    with gradkit.enable_x64():
        assert names(simplified_and_checked(function, xp.asarray(special()))) == left


INTEGERS: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "x + 0": (lambda x: x + 0, []),
    "(x + 100) + 100": (lambda x: x + 100 + 100, ["add"]),
    "(x * 3) * 101": (lambda x: x * 3 * 101, ["multiply"]),
    "-x * y": (lambda x: 7 - -x * (x + 1), ["add", "multiply", "add"]),
    "not not": (lambda x: ~~x, []),
    "there and back": (lambda x: x.astype("int32").astype("int8"), []),
    "there and there": (lambda x: x.astype("int32").astype("uint8"), ["astype"]),
    "floats": (lambda x: x.astype("float32").astype(x.dtype), []),
    "shift by none": (lambda x: x << 0, []),
    "a sum of sums": (lambda x: jnp.sum(jnp.sum(x, axis=0)), ["astype", "sum", "astype"]),
}


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_an_identity_of_integers_holds_where_they_wrap(name: str, dtype: str, xp: Any) -> None:
    function, _ = INTEGERS[name]
    less = simplified_and_checked(function, xp.asarray(np.arange(256, dtype="uint8").astype(dtype)))
    assert len(less.equations) <= len(INTEGERS[name][1]) + (dtype == "uint8")


# What moves elements, and reductions

MOVES: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "reshape of reshape": (lambda x: jnp.reshape(jnp.reshape(x, (5, 2)), (10,)), ["reshape"]),
    "reshape to what it was": (lambda x: jnp.reshape(jnp.reshape(x, (5, 2)), (2, 5)), []),
    "transposed twice": (lambda x: x.T.T, []),
    "axes in two orders": (lambda x: jnp.transpose(jnp.transpose(x[None], (2, 0, 1)), (1, 2, 0)), ["reshape"]),
    "broadcast twice": (
        lambda x: jnp.broadcast_to(jnp.broadcast_to(x, (3, 2, 5)), (4, 3, 2, 5)),
        ["broadcast_to"],
    ),
    "everything": (lambda x: x[:, :], []),
    "a column to a row": (lambda x: jnp.reshape(x[:, :1].T, (2,)), ["getitem", "reshape"]),
    "part of a part": (lambda x: x[1:, ::-1][:, 1:3], ["getitem"]),
    "one of a part": (lambda x: x[:, 1:4][1, -1], ["getitem"]),
    "one piece": (lambda x: jnp.concatenate([x]), []),
    "and nothing": (lambda x: jnp.concatenate([x, x[:0]]), []),
    "over no axes": (lambda x: jnp.max(x, axis=()), []),
    "max over one element": (lambda x: jnp.max(x[:, :, None], axis=2), []),
    "max of max": (lambda x: jnp.max(jnp.max(x, axis=1)), ["max"]),
    "max of equal": (lambda x: jnp.max(jnp.broadcast_to(x[:, None], (2, 3, 5)), axis=(1, 2)), ["max"]),
    "any of equal": (lambda x: jnp.any(jnp.broadcast_to(x > 0, (3, 2, 5)), axis=0), ["greater"]),
    "max of transposed": (lambda x: jnp.max(x.T, axis=0), ["max"]),
    "kept axes": (lambda x: jnp.max(x, axis=1, keepdims=True).reshape(-1), ["max"]),
    "number times array": (lambda x: x * jnp.broadcast_to(jnp.sum(x), (2, 5)), ["sum", "multiply"]),
    "a column and a row": (lambda x: x * x[0][None], ["getitem", "multiply"]),
    "sin of equal": (lambda x: jnp.sin(jnp.broadcast_to(x, (3, 2, 5))), ["sin", "broadcast_to"]),
}


@pytest.mark.parametrize("name", MOVES)
def test_elements_that_move_are_moved_once(name: str, xp: Any) -> None:
    function, left = MOVES[name]
    assert names(simplified_and_checked(function, xp.asarray(special()))) == left


def test_sums_are_taken_in_another_order(xp: Any) -> None:
    x = xp.asarray(np.linspace(0.1, 2.3, 30).reshape(2, 3, 5).astype("float32"))
    for function, left in (
        (lambda x: jnp.sum(jnp.sum(x, axis=1), axis=0), ["sum"]),
        (lambda x: jnp.sum(jnp.broadcast_to(x, (7, 2, 3, 5)), axis=(0, 2)), ["sum", "multiply"]),
        (lambda x: jnp.mean(x, axis=1), ["sum", "divide"]),
        (lambda x: jnp.mean(x, axis=0, keepdims=True)[0], ["sum", "multiply"]),
        (lambda x: jnp.sum(x.T, axis=0), ["sum", "permute_dims"]),
    ):
        graph = graph_of(function, x)
        less = simplified(graph)
        assert names(less) == left
        np.testing.assert_allclose(
            gradkit.device_get(less.run([x])[0]), gradkit.device_get(graph.run([x])[0]), rtol=1e-6
        )


def test_a_product_over_one_element_is_one_of_numbers(xp: Any) -> None:
    for a, b in (((3, 1), (1, 4)), ((2, 3, 1), (2, 1, 4)), ((5, 2, 3, 1), (1, 4)), ((1, 1), (1, 1))):
        less = simplified_and_checked(lambda x, y: x @ y, 2 + xp.arange(math.prod(a) * 1.0).reshape(a), 3 * xp.ones(b))
        assert "matmul" not in names(less)
    assert names(simplified_and_checked(lambda x: x @ x, xp.ones((2, 2)))) == ["matmul"]


def test_what_broadcasting_sums_up_again_has_no_shape_in_between(xp: Any) -> None:
    def f(w: Any, b: Any) -> Any:
        return jnp.sum((xp.ones((4, 3)) @ w + b) ** 2)

    text = jaxpr_text(simplified(graph_of(gradkit.grad(f, (0, 1)), xp.ones((3, 2)), xp.ones(2))))
    assert "reshape" not in text
    assert "f32[2] = reduce_sum[axes=(0,)]" in text
    assert text.count("mul 2.0") == 1
    assert "mul 1.0" not in text


# Literals


def test_what_is_computed_of_numbers_is_a_number(xp: Any) -> None:
    one = xp.asarray(1.0)

    def f(x: Any) -> Any:
        return x * jnp.exp(jnp.sin(one) + 2.0), jnp.broadcast_to(one, (3,)) * 2.0 + x

    less = simplified_and_checked(f, xp.ones(3))
    assert names(less) == ["multiply", "add"]


def test_arrays_that_are_made_of_one_number_are_that_number(xp: Any) -> None:
    closed_over = xp.full(3, 2.0)

    def f(x: Any) -> Any:
        y = jnp.where(x > 0, x, xp.zeros(3)) * xp.full((2, 3), 4.0) + jnp.zeros_like(x)
        return lax.scan(lambda c, e: (c + e, None), xp.zeros(3), y)[0] + closed_over

    graph = graph_of(f, xp.ones(3))
    assert len(graph.constants) == 1
    (loop,) = (e for e in simplified_and_checked(f, xp.asarray([1.0, -2.0, 0.0])).equations if e.graphs)
    assert names(loop.graphs[0]) == ["add"]


@pytest.mark.parametrize("change", ["in place", "an item"])
def test_an_array_of_one_number_that_is_changed_is_what_it_is_then(change: str, xp: Any, backend: Any) -> None:
    if backend.name == "strict":
        pytest.skip("its arrays are not changed in place")
    if change == "in place":
        needs_changes_in_place()

    def f(x: Any) -> Any:
        y = jnp.zeros(3)
        if change == "in place":
            y.data[1] = 5.0
        else:
            with gradkit.item_assignment():
                y[1] = 5.0
        return x + y

    graph = graph_of(f, xp.ones(3))
    assert gradkit.device_get(graph.run([xp.ones(3)])[0]).tolist() == [1.0, 6.0, 1.0]


# What may not be merged


def test_what_a_checkpoint_computes_again_is_computed_again(xp: Any) -> None:
    def f(x: Any) -> Any:
        return jnp.sum(jnp.sin(jnp.sin(x)))

    x = xp.ones(3)
    assert names(simplified(graph_of(gradkit.value_and_grad(f), x))).count("sin") == 2
    graph = simplified(graph_of(gradkit.value_and_grad(gradkit.checkpoint(f)), x))
    assert names(graph).count("sin") == 3


def test_callbacks_and_effects_are_as_often_as_they_stand_there(xp: Any) -> None:
    def f(x: Any) -> Any:
        for _ in range(2):
            gradkit.debug.callback(lambda x: None, x)
        form = gradkit.ShapeDtypeStruct(x.shape, x.dtype)
        return gradkit.pure_callback(np.asarray, form, x) + gradkit.pure_callback(np.asarray, form, x)

    assert sorted(names(simplified(graph_of(f, xp.ones(3))))) == [
        "add",
        *["debug_callback"] * 2,
        *["pure_callback"] * 2,
    ]


# Loops and choices


def body(graph: Graph) -> Graph:
    return next(e for e in graph.equations if e.graphs).graphs[-1]


def test_what_does_not_change_in_a_loop_is_a_constant_of_it(xp: Any) -> None:
    def f(x: Any, w: Any) -> Any:
        return lax.scan(lambda c, e: ((c[0] * c[1] + e, c[1], c[2]), c[1]), (x[0], w, 2.0), x)

    less = simplified_and_checked(f, xp.ones(3), xp.asarray(0.5))
    (loop,) = (e for e in less.equations if e.graphs)
    assert loop.params["num_carry"] == 1
    assert loop.params["num_consts"] == 1
    assert len(loop.outputs) == 1
    assert sorted(names(less)) == ["broadcast_to", "getitem", "scan"]


def test_what_is_computed_of_constants_is_computed_once(xp: Any) -> None:
    def f(x: Any, w: Any) -> Any:
        def step(c: Any, e: Any) -> Any:
            return (c[0] + jnp.sin(c[1]) @ (c[1].T @ e), c[1]), jnp.cos(c[1])

        return lax.scan(step, (x[0], w), x)

    less = simplified_and_checked(f, xp.ones((3, 2)), xp.ones((2, 2)))
    assert sorted(names(less)) == ["broadcast_to", "cos", "getitem", "scan", "sin"]
    assert "sin" not in names(body(less))
    assert "permute_dims" in names(body(less))  # which moves no memory


def test_what_no_result_needs_is_not_carried(xp: Any) -> None:
    def f(x: Any) -> Any:
        def step(c: Any, e: Any) -> Any:
            a, b, d, k = c
            return (a + e, b * a, jnp.sin(d), k + 1), (jnp.cos(d), a)

        (a, _, _, _), (_, ys) = lax.scan(step, (x[0], x[1], x[2], 0), x)
        return a, ys

    less = simplified_and_checked(f, xp.ones(3))
    assert names(body(less)) == ["add"]


def test_results_of_steps_that_differ_in_shape_alone_are_kept_once(xp: Any) -> None:
    def f(x: Any) -> Any:
        def step(c: Any, e: Any) -> Any:
            c = c * e
            return c, (c, c[None], c.reshape(2, 1), e[None], jnp.reshape(e, (1, 2, 1)), xp.ones(2), e)

        _, ys = lax.scan(step, x[0], x)
        return lax.scan(lambda c, e: (c + e[0][0] * e[1][:, 0], None), x[0], (ys[1], ys[2]))[0], ys

    less = simplified_and_checked(f, xp.asarray(np.arange(6.0).reshape(3, 2)))
    first, second = (e for e in less.equations if e.graphs)
    assert len(first.outputs) == 2  # the last one, and all of them
    assert names(body(Graph(equations=[second]))) == ["square", "add"]


def test_loops_of_no_steps_and_of_one_are_none(xp: Any) -> None:
    def f(x: Any) -> Any:
        return lax.scan(lambda c, e: (c * e, c + e), x[0], x)

    assert "scan" not in names(simplified_and_checked(f, xp.asarray([2.0])))
    graph = graph_of(lambda x: lax.fori_loop(0, 0, lambda i, c: c + i, x), xp.ones(3))
    assert names(simplified(graph)) == []
    assert (
        names(simplified_and_checked(lambda x: lax.while_loop(lambda c: c[0] < 0, lambda c: c, (1, x)), xp.ones(3)))
        == []
    )


def test_choices_that_are_known_or_alike_are_none(xp: Any) -> None:
    x = xp.asarray([1.0, -2.0])
    known = xp.asarray(True)

    def alike(x: Any) -> Any:
        return lax.cond(x[0] > 0, lambda x: jnp.sin(x * 1.0), lambda x: jnp.sin(x), x)

    assert names(simplified_and_checked(alike, x)) == ["sin"]

    def operands(x: Any) -> Any:
        return lax.cond(x[0] > 0, lambda a, b: (a, b, b), lambda a, b: (b, b, a), x[0], x[1])

    assert "cond" not in names(simplified_and_checked(operands, x))

    def inside(x: Any) -> Any:
        def f(c: Any) -> Any:
            return lax.cond(jnp.logical_or(known, c > 0), lambda c: c * 2, lambda c: c * 3, c)

        return lax.scan(lambda c, e: (f(c + e), None), x[0], x)[0]

    assert "cond" not in names(body(simplified_and_checked(inside, x)))


def test_a_choice_gives_what_its_branches_have_in_common_from_outside(xp: Any) -> None:
    def f(x: Any) -> Any:
        return lax.cond(x[0] > 0, lambda a, b: (jnp.sin(a), b, 1.0), lambda a, b: (jnp.cos(a), b, 1.0), x[0], x[1])

    less = simplified_and_checked(f, xp.asarray([1.0, -2.0]))
    (choice,) = (e for e in less.equations if e.graphs)
    assert len(choice.outputs) == 1
    assert len(choice.inputs) == 2


def test_a_graph_that_is_interpreted_is_simplified_first(xp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    x = xp.asarray([0.5, -2.0])
    graph = gradkit.make_jaxpr(lambda x: (jnp.sin(x) + jnp.sin(x)) * 1.0 + 0 * jnp.cos(x).shape[0])(x).jaxpr
    run = executable_of(graph)
    assert run.printer == "interpreter"
    ran: list[int] = []
    interpret = Graph.run

    def counted(self: Graph, args: Any) -> Any:
        ran.append(len(self.equations))
        return interpret(self, args)

    monkeypatch.setattr(Graph, "run", counted)
    (found,) = run([x])
    assert ran[0] < len(graph.equations)
    np.testing.assert_allclose(gradkit.device_get(found), 2 * np.sin([0.5, -2.0]), 1e-6)


@pytest.mark.parametrize("donated", [(), (0,)])
@pytest.mark.parametrize(
    "same",
    [
        lambda x: x,
        lambda x: x * 1.0,
        lambda x: jnp.broadcast_to(x, x.shape),
        lambda x: x.astype(x.dtype).reshape(x.shape),
        lambda x: x.T.T,
        lambda x: lax.cond(x[0] > 5, lambda x: x, lambda x: x, x),
        lambda x: lax.fori_loop(0, 2, lambda i, x: x, x),
    ],
)
def test_a_result_that_is_an_argument_is_an_array_of_its_own(
    xp: Any, monkeypatch: pytest.MonkeyPatch, same: Any, donated: tuple[int, ...]
) -> None:
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    kept, sines = [0.5, -2.0], np.sin([0.5, -2.0])
    for function, expected in [
        (lambda x: (same(x), jnp.sin(x)), [kept, sines]),
        (lambda x: (jnp.sin(x), same(x), same(x)), [sines, kept, kept]),
    ]:
        given = xp.asarray(kept) * 1
        results = gradkit.jit(function, donate_argnums=donated)(given)
        assert len({id(out) for out in (given, *results)}) == len(results) + 1
        for out, numbers in zip(results, expected, strict=True):
            np.testing.assert_allclose(gradkit.device_get(out), numbers, 1e-6)
