"""Drawn graphs that are too large to be shown whole."""

from __future__ import annotations

from typing import Any

import pytest
from drawings import cells, counts, leaf, network, record

import gradkit
from gradkit import Value
from gradkit.viz import draw
from gradkit.viz.layout import lay_out


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


def test_a_chain_of_values_is_as_long_as_it_likes() -> None:
    x = Value(1.0)
    for _ in range(20_000):
        x = x * 0.999
    assert counts(draw(x)) == {"*": 20_000}
