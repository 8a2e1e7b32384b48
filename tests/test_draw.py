"""Drawn graphs: what is in the picture, in every format, by Graphviz and without it."""

from __future__ import annotations

import doctest
import gc
import math
import os
import re
import stat
import subprocess
import sys
import weakref
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradkit
from gradkit import Value, nn
from gradkit.errors import MissingDependencyError
from gradkit.viz import draw
from gradkit.viz.computation import Diagram, Mark
from gradkit.viz.dot import graphviz
from gradkit.viz.layout import lay_out

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(params=["graphviz", "own layout"])
def renderer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of drawing in turn."""
    if request.param == "graphviz":
        if graphviz() is None:
            pytest.skip("Graphviz is not installed")
    else:
        monkeypatch.setattr("gradkit.viz.drawing.graphviz", lambda: None)
    name: str = request.param
    return name


@pytest.fixture
def own_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradkit.viz.drawing.graphviz", lambda: None)


def leaf(xp: Any, value: Any) -> Any:
    array = xp.asarray(value)
    array.requires_grad = True
    return array


def expression(xp: Any) -> Any:
    """The lecture's L = (a * b + c) * f."""
    s = SimpleNamespace(a=leaf(xp, 2.0), b=leaf(xp, -3.0), c=leaf(xp, 10.0), f=leaf(xp, -2.0))
    s.e = s.a * s.b
    s.d = s.e + s.c
    s.L = s.d * s.f
    return s


def cells(drawing: gradkit.viz.Drawing) -> list[tuple[str, ...]]:
    """The lines of text of each record of a drawing."""
    return [lines(mark) for mark in drawing._diagram.marks if mark.shape == "record"]


def lines(mark: Mark) -> tuple[str, ...]:
    return tuple("\n".join(mark.texts).split("\n"))


def record(drawing: gradkit.viz.Drawing, label: str) -> tuple[str, ...]:
    (found,) = [texts for texts in cells(drawing) if texts[0] == label]
    return found[1:]


def edges(drawing: gradkit.viz.Drawing) -> set[tuple[str, str]]:
    """The arrows, by the first texts of their ends."""
    return {(lines(tail)[0], lines(head)[0]) for tail, head in drawing._diagram.edges}


def texts_of_svg(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def visible(text: str) -> str:
    """Text as it is compared: Graphviz writes its spaces as no-break spaces."""
    return text.replace("\xa0", " ")


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


def model_step(xp: Any) -> Any:
    model = nn.MLP(2, [3, 1], key=gradkit.random.key(1))
    x, y = xp.asarray([[1.0, 2.0], [3.0, -1.0]]), xp.asarray([[1.0], [-1.0]])
    return model, ((model(x) - y) ** 2).sum()


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


def test_a_network_of_values_is_folded_by_its_layers() -> None:
    network = gradkit.scalar.MLP(3, [4, 4, 1], key=gradkit.random.key(0))
    loss = sum((network(x) - y) ** 2 for x, y in [([2.0, 3.0, -1.0], 1.0), ([3.0, -1.0, 0.5], -1.0)])
    loss.backward()
    drawing = draw(loss, labels=network, max_nodes=12)
    names = {mark.texts[0] for mark in drawing._diagram.marks if mark.shape == "group"}
    assert {"layers[0].neurons", "layers[1].neurons"} <= names
    sizes = [int(m.texts[1].split()[0]) for m in drawing._diagram.marks if m.texts[1:] and "inputs" in m.texts[1]]
    alone = sum(1 for texts in cells(drawing) if texts[0].startswith("layers"))
    assert sum(sizes) + alone == len(network.parameters())


def test_arrays_computed_from_values_are_drawn_with_them() -> None:
    a, b = Value(2.0, "a"), Value(-3.0, "b")
    y = gradkit.numpy.sin(a * b)
    assert edges(draw(y, y=y)) == {("a", "*"), ("b", "*"), ("*", "data -6.0000"), ("data -6.0000", "sin"), ("sin", "y")}


def test_a_chain_of_values_is_as_long_as_it_likes() -> None:
    x = Value(1.0)
    for _ in range(20_000):
        x = x * 0.999
    assert counts(draw(x)) == {"*": 20_000}


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


# Large graphs


def network(xp: Any, sizes: tuple[int, ...]) -> Any:
    """A network of neurons that are single numbers: parameters and the loss of two samples."""
    rng = np.random.default_rng(0)
    layers = [
        [{"w": [leaf(xp, rng.normal()) for _ in range(n)], "b": leaf(xp, rng.normal())} for _ in range(m)]
        for n, m in pairwise(sizes)
    ]
    loss = xp.asarray(0.0)
    for x in ([1.0] * sizes[0], [-1.0] * sizes[0]):
        for layer in layers:
            x = [xp.tanh(sum((a * w for a, w in zip(x, n["w"], strict=True)), n["b"])) for n in layer]
        loss = loss + sum(v**2 for v in x)
    return {"layers": layers}, loss


def counts(drawing: gradkit.viz.Drawing) -> dict[str, int]:
    """How often each operation is in the picture, folded or not."""
    total: dict[str, int] = {}
    for mark in drawing._diagram.marks:
        if mark.shape == "oval":
            total[mark.texts[0]] = total.get(mark.texts[0], 0) + 1
        for name, count in (
            re.findall("^(\\S+) \N{MULTIPLICATION SIGN}(\\d+)$", "\n".join(mark.texts), re.M)
            if mark.shape == "group"
            else []
        ):
            total[name] = total.get(name, 0) + int(count)
    return total


@pytest.mark.parametrize("most", [200, 60, 20, 4])
def test_a_large_graph_is_folded_to_the_size_asked_for(xp: Any, most: int) -> None:
    _, loss = network(xp, (4, 6, 6, 2))
    drawing = draw(loss, max_nodes=most)
    assert len(drawing._diagram.marks) <= most
    assert "folded groups" in repr(drawing)


def test_folding_by_operation_keeps_the_counts(xp: Any) -> None:
    _, loss = network(xp, (4, 6, 6, 2))
    assert counts(draw(loss, max_nodes=10**6)) == counts(draw(loss, max_nodes=40))


def test_folding_by_layer_names_the_layers_in_order(xp: Any) -> None:
    params, loss = network(xp, (4, 6, 6, 2))
    drawing = draw(loss, labels=params, max_nodes=25)
    groups = {mark.texts[0]: mark for mark in drawing._diagram.marks if mark.shape == "group"}
    layers = [groups[f"layers[{i}]"] for i in range(3)]
    assert (layers[0], layers[1]) in drawing._diagram.edges
    assert (layers[1], layers[2]) in drawing._diagram.edges
    # For two samples: six neurons of four products, four sums and a tanh.
    assert layers[0].texts[1:5] == (
        "108 operations",
        "* \N{MULTIPLICATION SIGN}48",
        "+ \N{MULTIPLICATION SIGN}48",
        "tanh \N{MULTIPLICATION SIGN}12",
    )


def test_folded_inputs_say_how_many_and_their_ranges(xp: Any) -> None:
    params, loss = network(xp, (4, 6, 6, 2))
    loss.backward()
    drawing = draw(loss, labels=params, max_nodes=25)
    (group,) = [m.texts for m in drawing._diagram.marks if m.texts[0] == "layers[0]" and "inputs" in m.texts[1]]
    weights = [float(v.data) for n in params["layers"][0] for v in (*n["w"], n["b"])]
    gradients = [float(v.grad) for n in params["layers"][0] for v in (*n["w"], n["b"])]
    assert group[1] == "30 inputs"
    assert group[2] == f"data {min(weights):.4f} … {max(weights):.4f}"
    assert group[3] == f"grad {min(gradients):.4f} … {max(gradients):.4f}"


def test_gradients_can_be_asked_for_in_a_folded_graph(xp: Any) -> None:
    params, loss = network(xp, (4, 6, 6, 2))
    asked = draw(loss, labels=params, max_nodes=25, gradients=True).dot
    assert "grad" in asked
    loss.backward(retain_graph=True)
    assert asked == draw(loss, labels=params, max_nodes=25).dot


def test_a_chain_of_twenty_thousand_operations_is_drawn(xp: Any) -> None:
    x = leaf(xp, 1.0)
    y = x
    for _ in range(20_000):
        y = y * 0.999
    drawing = draw(y, x=x)
    assert counts(drawing) == {"*": 20_000}
    assert record(drawing, "x") == ("float32[]", "data 1.0000")


def test_a_network_that_is_run_a_thousand_times_is_folded_with_arrows_back(xp: Any) -> None:
    w, v, h = leaf(xp, [[0.5]]), leaf(xp, [[0.5]]), xp.asarray([[1.0]])
    for _ in range(1000):
        h = xp.tanh(h @ w)
        h = xp.sin(h @ v)
    drawing = draw(h.sum(), labels={"cell": {"first": {"w": w}, "second": {"w": v}}})
    assert len(drawing._diagram.marks) < 20
    assert lay_out(drawing._diagram).width > 0


def test_max_nodes_must_be_a_positive_number(xp: Any) -> None:
    with pytest.raises(ValueError, match="max_nodes is the most marks"):
        draw(leaf(xp, 1.0), max_nodes=0)


# Formats


@pytest.mark.parametrize(
    "suffix, magic", [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".dot", b"dig")]
)
def test_every_format_is_written_by_its_suffix(
    renderer: str, tmp_path: Path, xp: Any, suffix: str, magic: bytes
) -> None:
    s = expression(xp)
    s.L.backward()
    path = tmp_path / f"expression{suffix.upper()}"
    draw(s.L, **vars(s), title="L").save(path)
    assert path.read_bytes().startswith(magic)


AWKWARD = [
    "<b>&amp; \"quoted\" 'x'",
    "a|b{c}d<e>f",
    "back\\slash\\n\\l",
    "two  spaces and a $dollar$",
    "ünïcödé 損失 λ→∞",
    "&lt;&#65;",
]


def test_svg_is_well_formed_and_holds_every_label_and_number(renderer: str, xp: Any) -> None:
    arrays = [leaf(xp, 1.5 + i) for i in range(len(AWKWARD))]
    out = sum(arrays[1:], arrays[0] * 2.0)
    out.backward()
    drawing = draw(out, labels=dict(zip(AWKWARD, arrays, strict=True)), title=" & ".join(AWKWARD))
    texts = sorted(map(visible, texts_of_svg(drawing.svg)))
    wanted = [line for mark in drawing._diagram.marks for line in lines(mark)]
    assert set(AWKWARD) <= set(wanted)
    assert texts == sorted([*wanted, " & ".join(AWKWARD)])


def test_control_characters_become_visible_signs(renderer: str, xp: Any) -> None:
    x = leaf(xp, 1.0)
    drawing = draw(x + x, labels={"a\x00b\x1b\x7f\x85\ud800c": x})
    assert "a␀b␛␡��c" in texts_of_svg(drawing.svg)


def test_line_breaks_make_lines(renderer: str, xp: Any) -> None:
    x = leaf(xp, 1.0)
    svg = draw(x + x, labels={"first\nsecond": x}, title="one\r\ntwo").svg
    assert {"first", "second", "one", "two"} <= set(map(visible, texts_of_svg(svg)))


@pytest.mark.parametrize("kind", ["expression", "arrays", "function", "folded"])
def test_every_kind_of_picture_is_rendered_to_png(renderer: str, tmp_path: Path, xp: Any, kind: str) -> None:
    from matplotlib.image import imread

    if kind == "expression":
        s = expression(xp)
        drawing = draw(s.L, **vars(s))
    elif kind == "arrays":
        model, loss = model_step(xp)
        drawing = draw(loss, labels=model, gradients=True)
    elif kind == "function":
        drawing = draw(lambda x: xp.sum(xp.tanh(x) ** 2, axis=0), xp.ones((2, 3)))
    else:
        params, loss = network(xp, (4, 6, 6, 2))
        drawing = draw(loss, labels=params)
    path = tmp_path / "picture.png"
    drawing.save(path)
    image = imread(path)[..., :3]
    assert image.min() == 0
    assert image.max() == 1
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert edge.min() == 1  # nothing is cut off


def test_a_notebook_gets_the_svg(own_layout: None, xp: Any) -> None:
    drawing = draw(leaf(xp, 1.0) * 2.0)
    assert drawing._repr_svg_() == drawing.svg


def test_awkward_text_is_drawn_by_matplotlib_as_it_is(own_layout: None, tmp_path: Path, xp: Any) -> None:
    x = leaf(xp, 1.0)
    draw(x * 2.0, labels={r"$\frac{ \n": x}).save(tmp_path / "x.png")  # no mathematics


def test_an_unknown_suffix_lists_the_known_ones(xp: Any, tmp_path: Path) -> None:
    drawing = draw(leaf(xp, 1.0))
    for name in ("x.jpg", "x"):
        with pytest.raises(ValueError, match=r"Unknown suffix .*Known: \.dot, \.pdf, \.png, \.svg"):
            drawing.save(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_named(xp: Any, tmp_path: Path) -> None:
    drawing = draw(leaf(xp, 1.0))
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"Drawing\.save: .*file is a file, not a folder"):
        drawing.save(tmp_path / "file" / "x.dot")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        drawing.save(tmp_path / "nowhere" / "x.dot")


def test_without_graphviz_and_matplotlib_the_error_names_the_extra(
    own_layout: None, xp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = draw(leaf(xp, 1.0))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gradkit\[plot\]'"):
        drawing.save(tmp_path / "x.png")
    drawing.save(tmp_path / "x.svg")  # which needs neither


def test_an_svg_needs_neither_graphviz_nor_matplotlib() -> None:
    code = """if True:
        import sys, gradkit
        x = gradkit.Value(2.0, label="x")
        assert "data 2.0000" in gradkit.viz.draw(x * x).svg
        assert not {"matplotlib", "networkx", "IPython"} & set(sys.modules)
        """
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PATH": ""})


def test_where_graphviz_fails_the_own_layout_draws(xp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho 'no such plugin' >&2\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.warns(RuntimeWarning, match="could not draw.*no such plugin"):
        svg = draw(leaf(xp, 1.0)).svg
    assert "data 1.0000" in texts_of_svg(svg)


def test_the_pictures_in_the_docs_are_what_draw_gives(own_layout: None, tmp_path: Path) -> None:
    docs = Path(__file__).parent.parent / "docs"
    text, _, _ = (docs / "pictures.md").read_text().partition("## Training pictures")
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(text):
        exec(compile(example.source, "pictures.md", "single"), names)
    images = re.findall(r"\(images/(\w+)\.svg\)", text)
    assert images
    for name in images:
        names[name].save(tmp_path / f"{name}.svg")
        committed = (docs / "images" / f"{name}.svg").read_text()
        assert committed == names[name].svg, f"docs/images/{name}.svg is not up to date: {tmp_path}/{name}.svg is"


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


# The layout


@st.composite
def diagrams(drawing: st.DrawFn) -> Diagram:
    count = drawing(st.integers(1, 14))
    shapes = st.sampled_from(["record", "oval", "group"])
    texts = st.lists(st.text("abc λ損", min_size=1, max_size=12), min_size=1, max_size=3)
    marks = [Mark(drawing(shapes), tuple(drawing(texts))) for _ in range(count)]
    pairs = st.tuples(st.sampled_from(marks), st.sampled_from(marks)).filter(lambda pair: pair[0] is not pair[1])
    edges = drawing(st.lists(pairs, max_size=24)) if count > 1 else []
    return Diagram(marks, list(dict.fromkeys(edges)), drawing(st.sampled_from(["", "a title", "two\nlines " * 9])))


@given(diagrams())
def test_no_two_marks_overlap_and_all_are_on_the_page(diagram: Diagram) -> None:
    layout = lay_out(diagram)
    for figure in layout.figures:
        assert figure.width / 2 <= figure.x <= layout.width - figure.width / 2
        assert figure.height / 2 <= figure.y <= layout.height - figure.height / 2
    for one, other in combinations(layout.figures, 2):
        apart_x = abs(one.x - other.x) - (one.width + other.width) / 2
        apart_y = abs(one.y - other.y) - (one.height + other.height) / 2
        assert max(apart_x, apart_y) > 5


@given(diagrams(), st.randoms())
def test_arrows_begin_and_end_at_their_marks(diagram: Diagram, random: Any) -> None:
    layout = lay_out(diagram)
    figures = {figure.mark: figure for figure in layout.figures}
    for (tail, head), arrow in zip(diagram.edges, layout.arrows, strict=True):
        start, end = arrow.points[0], arrow.points[-1]
        for mark, (x, y) in ((tail, start), (head, end)):
            assert abs(abs(x - figures[mark].x) - figures[mark].width / 2) < 1e-6
            assert abs(y - figures[mark].y) < figures[mark].height / 2


@given(st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_without_circles_every_arrow_goes_to_the_right(parents: list[int]) -> None:
    marks = [Mark("oval", (str(i),)) for i in range(len(parents) + 1)]
    edges = [(marks[min(parent, i)], marks[i + 1]) for i, parent in enumerate(parents)]
    for arrow in lay_out(Diagram(marks, edges)).arrows:
        xs = [x for x, _ in arrow.points]
        assert xs == sorted(xs)


def test_a_chain_is_a_straight_line() -> None:
    marks = [Mark("oval", (str(i),)) for i in range(9)]
    layout = lay_out(Diagram(marks, list(pairwise(marks))))
    assert len({round(figure.y, 6) for figure in layout.figures}) == 1


def test_a_tree_has_no_crossings() -> None:
    marks = [Mark("oval", (str(i),)) for i in range(15)]
    order = [7, 3, 11, 8, 1, 9, 5, 12, 2, 10, 4, 13, 6, 14]
    edges = [(marks[i], marks[(i - 1) // 2]) for i in order]
    layout = lay_out(Diagram(marks, edges))
    places = {figure.mark: figure for figure in layout.figures}
    ends = sorted((places[a].x, places[a].y, places[b].y) for a, b in edges)
    for (x0, y0, z0), (x1, y1, z1) in combinations(ends, 2):
        assert x0 != x1 or (y0 - y1) * (z0 - z1) >= 0
