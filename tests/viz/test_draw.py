"""Drawn graphs of arrays, values and functions: what is in the picture."""

from __future__ import annotations

import gc
import math
import re
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from drawings import cells, edges, expression, leaf, lines, model_step, record

import gradkit
from gradkit import Value, nn
from gradkit.viz import draw

# Arrays on the tape


def test_before_backward_the_lectures_expression_has_values_and_no_gradients(xp: Any) -> None:
    s = expression(xp)
    drawing = draw(s.L, **vars(s))
    assert record(drawing, "e") == ("float32[]", "data -6.0000")
    assert record(drawing, "L") == ("float32[]", "data -8.0000")
    assert "grad" not in drawing.dot


def test_after_backward_every_value_has_the_lectures_gradient(xp: Any) -> None:
    s = expression(xp)
    s.L.backward()
    drawing = draw(s.L, **vars(s))
    expected = {"a": 6, "b": -4, "c": -2, "f": 4, "e": -2, "d": -2, "L": 1}
    assert {name: record(drawing, name)[2] for name in expected} == {
        name: f"grad {value:.4f}" for name, value in expected.items()
    }


def test_values_without_a_name_are_computed_again_after_backward(xp: Any) -> None:
    a, b, c, f = (leaf(xp, value) for value in (2.0, -3.0, 10.0, -2.0))
    out = (a * b + c) * f
    out.backward()
    assert ("float32[]", "data -6.0000", "grad -2.0000") in cells(draw(out))
    assert ("float32[]", "data 4.0000", "grad -2.0000") in cells(draw(out))


def test_the_lectures_neuron_has_its_numbers(xp: Any) -> None:
    x1, x2, w1, w2, b = (leaf(xp, value) for value in (2.0, 0.0, -3.0, 1.0, 6.8813735870195432))
    n = x1 * w1 + x2 * w2 + b
    o = xp.tanh(n)
    o.backward()
    drawing = draw(o, x1=x1, x2=x2, w1=w1, w2=w2, b=b, n=n, o=o)
    found = {name: record(drawing, name)[1:] for name in ("x1", "x2", "w1", "w2", "b", "n", "o")}
    assert found["o"] == ("data 0.7071", "grad 1.0000")
    assert [found[name][1] for name in ("w1", "x1", "x2", "w2", "b", "n")] == [
        f"grad {value:.4f}" for value in (1.0, -1.5, 0.5, 0.0, 0.5, 0.5)
    ]


def test_arrows_go_from_arguments_to_operation_to_result(xp: Any) -> None:
    s = expression(xp)
    drawing = draw(s.L, **vars(s))
    assert edges(drawing) == {
        *[("a", "*"), ("b", "*"), ("*", "e"), ("e", "+"), ("c", "+")],
        *[("+", "d"), ("d", "*"), ("f", "*"), ("*", "L")],
    }
    names = dict(re.findall(r'(n\d+) \[shape="\w+", label="\{?(\w|[*+])', drawing.dot))
    assert edges(drawing) == {(names[a], names[b]) for a, b in re.findall(r"(n\d+):e -> (n\d+):w", drawing.dot)}


def test_one_array_used_twice_is_one_record_with_two_uses(xp: Any) -> None:
    x = leaf(xp, 3.0)
    y = x + x
    drawing = draw(y * x, x=x)
    assert len([texts for texts in cells(drawing) if texts[0] == "x"]) == 1
    assert edges(drawing) >= {("x", "+"), ("x", "*")}


def test_arrays_show_shape_dtype_and_ranges(xp: Any) -> None:
    x = leaf(xp, [[1.0, -2.0, 3.0], [0.5, 0.0, 1.0]])
    w = leaf(xp, [1.0, 2.0, -1.0])
    y = (x @ w).sum()
    y.backward()
    drawing = draw(y, x=x, w=w)
    assert record(drawing, "x") == ("float32[2,3]", "data -2.0000 … 3.0000", "grad -1.0000 … 2.0000")
    assert record(drawing, "w") == ("float32[3]", "data -1.0000 … 2.0000", "grad -2.0000 … 4.0000")


def test_parameters_of_a_model_are_called_by_their_paths(xp: Any) -> None:
    model = nn.MLP(3, [4, 1], key=gradkit.random.key(0))
    loss = (model(xp.ones((2, 3))) ** 2).mean()
    paths = ["layers[0].weight", "layers[0].bias", "layers[1].weight", "layers[1].bias"]
    labels = {texts[0] for texts in cells(draw(loss, labels=model))}
    assert set(paths) <= labels
    labels = {texts[0] for texts in cells(draw(loss, net=model))}
    assert {f"net.{path}" for path in paths} <= labels


def test_labels_by_mapping_may_be_any_text(xp: Any) -> None:
    s = expression(xp)
    assert record(draw(s.L, labels={"the loss": s.L}), "the loss") == ("float32[]", "data -8.0000")


def test_data_without_gradient_is_a_constant_with_a_label(xp: Any) -> None:
    x, w = xp.asarray([1.0, 2.0]), leaf(xp, [3.0, 4.0])
    drawing = draw((x * w).sum(), x=x, w=w)
    assert record(drawing, "x") == ("float32[2]", "data 1.0000 … 2.0000")
    assert [lines(mark)[0] for mark in drawing._diagram.marks if mark.dashed] == ["x"]


def test_gradients_can_be_asked_for_without_backward(xp: Any) -> None:
    model, loss = model_step(xp)
    asked = cells(draw(loss, labels=model, gradients=True))
    assert all(p.grad is None for p in model.parameters())
    loss.backward()
    for path in ("layers[0].weight", "layers[1].bias"):
        (stored,) = [texts for texts in cells(draw(loss, labels=model)) if texts[0] == path]
        assert stored in asked


def test_after_backward_that_retains_the_graph_everything_is_shown(xp: Any) -> None:
    model, loss = model_step(xp)
    before = cells(draw(loss, labels=model, gradients=True))
    loss.backward(retain_graph=True)
    assert cells(draw(loss, labels=model)) == before
    assert all("grad" in texts[-1] for texts in before if not texts[0].startswith("constant") and len(texts) > 2)
    loss.backward()  # drawing has freed nothing


def test_gradients_between_agree_with_the_transform(xp: Any) -> None:
    x = leaf(xp, [0.5, -1.0, 2.0])
    h = xp.tanh(x) * x
    loss = (h * h + xp.exp(h)).mean()
    expected = gradkit.device_get(gradkit.grad(lambda h: (h * h + xp.exp(h)).mean())(h.detach()))
    text = record(draw(loss, h=h, gradients=True), "h")[-1]
    assert text == f"grad {expected.min():.4f} … {expected.max():.4f}"


def test_after_an_update_nothing_is_computed_from_the_new_parameters(xp: Any) -> None:
    a, b, c = (leaf(xp, value) for value in (2.0, -3.0, 10.0))
    out = a * b + c
    out.backward()
    a.data += 1.0
    drawing = draw(out, a=a, b=b, out=out)
    assert record(drawing, "a") == ("float32[]", "data 3.0000", "grad -3.0000")
    assert record(drawing, "out")[1] == "data 4.0000"
    assert ("float32[]",) in cells(drawing)  # a * b, which nobody knows any more


def test_results_of_an_operation_with_several_stand_behind_one_oval(xp: Any) -> None:
    a = leaf(xp, [[2.0, 1.0], [1.0, 3.0]])
    values, vectors = xp.linalg.eigh(a)
    drawing = draw(values.sum() + vectors.sum(), a=a, values=values, vectors=vectors)
    assert {("eigh", "values"), ("eigh", "vectors")} <= edges(drawing)
    assert record(drawing, "vectors")[0] == "float32[2,2]"


def test_functions_with_their_own_rule_are_one_operation(xp: Any) -> None:
    @gradkit.custom_jvp
    def twice(x: Any) -> Any:
        return 2 * x

    @twice.defjvp
    def push(primals: Any, tangents: Any) -> Any:
        return twice(primals[0]), 2 * tangents[0]

    x = leaf(xp, 3.0)
    out = twice(x) * x
    out.backward()
    drawing = draw(out, x=x, out=out)
    assert ("x", "call") in edges(drawing)
    assert record(drawing, "x")[-1] == "grad 12.0000"


def test_several_results_are_drawn_together(xp: Any) -> None:
    x = leaf(xp, 2.0)
    drawing = draw({"sine": xp.sin(x), "cosine": xp.cos(x)}, x=x)
    assert {("x", "sin"), ("x", "cos")} <= edges(drawing)


def test_an_input_alone_is_one_record(xp: Any) -> None:
    assert cells(draw(leaf(xp, 2.0))) == [("float32[]", "data 2.0000")]


def test_elements_that_are_not_finite_are_counted(xp: Any) -> None:
    x = leaf(xp, [1.0, math.nan, math.inf, -2.0, math.nan])
    assert record(draw(x * 2.0, x=x), "x") == ("float32[5]", "data -2.0000 … 1.0000, 2 nan, 1 inf")


@pytest.mark.parametrize(
    "values, text",
    [
        (np.asarray([True, False, True]), "2 of 3 true"),
        (np.asarray([3, -7]), "-7 … 3"),
        (np.asarray([3 + 4j, 0j], np.complex64), "abs 0.0000 … 5.0000"),
        (np.zeros((0, 2), np.float32), "empty"),
        (np.asarray([0.25, 0.25], np.float32), "0.2500"),
        (np.asarray([1e-9, 1e9], np.float32), "1.000e-09 … 1.000e+09"),
    ],
    ids=["bool", "int", "complex", "empty", "one value", "far apart"],
)
def test_ranges_of_every_kind_of_elements(backend: Any, values: np.ndarray[Any, Any], text: str) -> None:
    from gradkit.viz.wording import range_of

    assert range_of(backend.from_host(values)) == text


def test_numbers_are_shown_whether_a_derivative_reads_them_or_not(xp: Any) -> None:
    x = leaf(xp, 3.0)
    out = xp.maximum(((1.25 + x * 2.5) - 7) ** 3 / 4.5, 0.5)
    before = cells(draw(out, x=x, gradients=True))
    out.backward()
    drawing = draw(out, x=x)
    assert cells(drawing) == before
    assert {texts for texts in cells(drawing) if len(texts) == 1} == {
        ("data 2.5000",),
        ("data 1.2500",),
        ("data 7",),
        ("data 4.5000",),
        ("data 0.5000",),
    }
    assert ("**3", "float32[]") in edges(drawing)


def test_after_a_plain_backward_labelled_data_are_recognized_and_everything_is_shown(xp: Any) -> None:
    model = nn.MLP(2, [3, 1], key=gradkit.random.key(1))
    x, y = xp.asarray([[1.0, 2.0], [3.0, -1.0]]), xp.asarray([[1.0], [-1.0]])
    loss = ((model(x) - y) ** 2).mean()
    before = cells(draw(loss, model=model, x=x, y=y, gradients=True))
    loss.backward()
    assert cells(draw(loss, model=model, x=x, y=y)) == before
    assert ("y", "float32[2,1]", "data -1.0000 … 1.0000") in before


def test_data_that_do_not_fit_are_not_taken_for_what_the_tape_forgot(xp: Any) -> None:
    w, x = leaf(xp, [1.0, 2.0]), xp.asarray([3.0, 4.0])
    h = w + x
    out = h.sum()
    drawing = draw(out, w=w, other=x * 2.0, shorter=x[:1], wider=xp.ones(3))
    assert ("constant, not kept",) in cells(drawing)
    assert ("x", "float32[2]", "data 3.0000 … 4.0000") in cells(draw(out, w=w, x=x, other=x * 2.0))


# Values of the lecture's engine


def values() -> Any:
    s = SimpleNamespace(a=Value(2.0), b=Value(-3.0), c=Value(10.0), f=Value(-2.0))
    s.e = s.a * s.b
    s.d = s.e + s.c
    s.L = s.d * s.f
    for name, value in vars(s).items():
        value.label = name
    return s


def test_values_are_records_of_label_number_and_gradient() -> None:
    s = values()
    assert record(draw(s.L), "a") == ("data 2.0000",)
    s.L.backward()
    drawing = draw(s.L)
    expected = {"a": 6, "b": -4, "c": -2, "f": 4, "e": -2, "d": -2, "L": 1}
    assert {name: record(drawing, name) for name in expected} == {
        name: (f"data {getattr(s, name).data:.4f}", f"grad {value:.4f}") for name, value in expected.items()
    }
    assert edges(drawing) >= {("a", "*"), ("b", "*"), ("*", "e"), ("e", "+"), ("d", "*"), ("f", "*"), ("*", "L")}


def test_the_neuron_of_values_has_the_lectures_gradients() -> None:
    x1, x2, w1, w2 = Value(2.0, "x1"), Value(0.0, "x2"), Value(-3.0, "w1"), Value(1.0, "w2")
    n = x1 * w1 + x2 * w2 + Value(6.8813735870195432, "b")
    o = n.tanh()
    o.backward()
    drawing = draw(o, n=n, o=o)
    found = [record(drawing, name)[-1] for name in ("o", "n", "b", "w1", "x1", "x2", "w2")]
    assert found == [f"grad {value:.4f}" for value in (1, 0.5, 0.5, 1.0, -1.5, 0.5, 0)]


def test_gradients_of_values_without_backward_are_those_of_backward() -> None:
    s, x = values(), Value(0.3, "x")
    out = (s.L * x.exp() / 3 - 2**x).relu() + (-x).relu() + abs(s.a - 5) ** 3 + x.log()
    asked = draw(out, gradients=True).dot
    assert all(value.grad == 0 for value in vars(s).values())
    out.backward()
    assert asked == draw(out).dot


def test_numbers_beside_values_are_constants_and_exponents_belong_to_the_operation() -> None:
    x = Value(3.0, "x")
    drawing = draw(2 * x**2 - 1.5)
    assert {"data 2", "data 1.5000"} == {mark.texts[0] for mark in drawing._diagram.marks if mark.dashed}
    assert ("x", "**2") in edges(drawing)
    assert ("data 2", "**") in edges(draw(2**x))


def test_arrays_computed_from_values_are_drawn_with_them() -> None:
    a, b = Value(2.0, "a"), Value(-3.0, "b")
    y = gradkit.numpy.sin(a * b)
    assert edges(draw(y, y=y)) == {("a", "*"), ("b", "*"), ("*", "data -6.0000"), ("data -6.0000", "sin"), ("sin", "y")}


def test_functions_of_values_are_drawn_by_their_arguments_names() -> None:
    drawing = draw(lambda a, b: a * b + 1, Value(2.0), Value(3.0))
    assert {("a", "*"), ("b", "*"), ("+", "out")} <= edges(drawing)


# What a drawing costs


def test_a_drawing_keeps_no_array_alive(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    out = xp.exp(x).sum()
    node, array = weakref.ref(x), weakref.ref(out)
    drawing = draw(out, x=x)
    del x, out
    gc.collect()
    assert node() is None
    assert array() is None
    assert "exp" in drawing.dot


def test_drawing_changes_no_gradient_and_frees_nothing(xp: Any) -> None:
    s = expression(xp)
    draw(s.L, gradients=True)
    s.L.backward()
    assert float(s.a.grad) == 6.0
    draw(s.L)
    assert float(s.a.grad) == 6.0


# Functions


def test_a_function_is_drawn_from_its_captured_graph(xp: Any) -> None:
    def f(x: Any, scale: Any) -> Any:
        return xp.sum(xp.tanh(x) * scale["s"], axis=0)

    for function in (f, gradkit.jit(f)):
        drawing = draw(function, xp.ones((2, 3)), {"s": xp.ones(3)})
        assert record(drawing, "x") == ("float32[2,3]",)
        assert record(drawing, "scale['s']") == ("float32[3]",)
        assert record(drawing, "out") == ("float32[3]",)
        assert {("x", "tanh"), ("scale['s']", "*"), ("sum", "out")} <= edges(drawing)


def test_a_function_is_not_computed_for_its_drawing(xp: Any) -> None:
    shape = gradkit.ShapeDtypeStruct((100_000, 100_000), "float32")
    assert record(draw(lambda x: x @ x, shape), "out") == ("float32[100000,100000]",)


def test_numbers_in_a_function_are_constants(xp: Any) -> None:
    drawing = draw(lambda x: 2.5 * x + 1, 1.0)
    assert {texts for texts in cells(drawing) if texts[0].startswith("data")} == {("data 2.5000",), ("data 1",)}


def test_what_no_result_depends_on_is_left_out(xp: Any) -> None:
    def f(x: Any, unused: Any) -> Any:
        xp.exp(x)
        return xp.sin(x)

    drawing = draw(f, 1.0, 2.0)
    assert edges(drawing) == {("x", "sin"), ("sin", "out")}
    assert record(drawing, "unused") == ("float32[]",)


def test_the_graph_of_a_gradient_can_be_drawn(xp: Any) -> None:
    model = nn.MLP(2, [3, 1], key=gradkit.random.key(0))
    drawing = draw(gradkit.grad(lambda model, x: (model(x) ** 2).mean()), model, xp.ones((5, 2)))
    assert record(drawing, "model.layers[0].weight") == record(drawing, "out.layers[0].weight") == ("float32[2,3]",)


def test_a_model_is_a_function_with_labels_of_its_own(xp: Any) -> None:
    model = nn.MLP(2, [3, 1], key=gradkit.random.key(0))
    assert record(draw(model, xp.ones((5, 2))), "layers[0].weight")[0] == "float32[2,3]"


def test_loops_and_choices_say_what_is_inside(xp: Any) -> None:
    def f(x: Any) -> Any:
        x = gradkit.lax.fori_loop(0, 5, lambda _, c: c * 1.1, x)
        x = gradkit.lax.while_loop(lambda c: c < 9, lambda c: c + xp.sin(c), x)
        return gradkit.lax.cond(x > 10, lambda c: -c, lambda c: c, x)

    details = {mark.texts[0]: mark.texts[1] for mark in draw(f, 1.0)._diagram.marks if mark.texts[1:]}
    assert details["scan"] == "2 operations, 5 times"  # counting as well
    assert details["while"] == "3 operations inside"
    assert details["cond"] == "1 operation inside"


def test_results_that_are_arguments_or_numbers_are_shown(xp: Any) -> None:
    drawing = draw(lambda x: (x, 3.0), 1.0)
    assert cells(drawing) == [("x", "float32[]"), ("out[1]", "float32[]", "data 3.0000")]


# What has no graph


def test_an_array_that_nothing_recorded_has_no_graph(xp: Any) -> None:
    with pytest.raises(ValueError, match=r"draw: nothing was recorded for float32\[3\].*requires_grad"):
        draw(xp.ones(3) * 2.0)


@pytest.mark.parametrize("value", [3.0, "text", None, np.ones(3), [1.0]], ids=["number", "text", "None", "raw", "list"])
def test_what_is_no_array_has_no_graph(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"draw: .*no graph"):
        draw(value)


def test_an_array_under_a_transform_is_drawn_by_its_function(xp: Any) -> None:
    def f(x: Any) -> Any:
        y = x * x
        draw(y)
        return y

    with pytest.raises(ValueError, match="belongs to a function that a transform"):
        gradkit.grad(f)(xp.asarray(2.0))


def test_a_keyword_that_is_neither_option_nor_array_is_named(xp: Any) -> None:
    x = leaf(xp, 1.0)
    with pytest.raises(TypeError, match=r"draw: max_node=100 is no option .* Did you mean 'max_nodes'"):
        draw(x * x, max_node=100)
    with pytest.raises(TypeError, match="title is text, got 3"):
        draw(x * x, title=3)  # type: ignore[arg-type]


def test_arguments_beside_an_array_say_how_labels_are_given(xp: Any) -> None:
    x = leaf(xp, 1.0)
    with pytest.raises(TypeError, match="Labels have names"):
        draw(x * x, x)
