"""Prints where the time of a training step goes, for work on the per-operation path.

Three tables: single operations against the NumPy call they end in; the stages of a step in both faces; and the
backward pass node by node. Every time is the least of several repetitions, since what is looked for is the cost of
the Python that is run, not what else the machine does. Nothing is traced: a profiler's own cost per call is more
than most of the calls here.

Run ``python benchmarks/profile_step.py``; ``--size`` takes a network of `problem.SIZES`.
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from contestants import TARGETS, gradkit_model, hand_written
from problem import LEARNING_RATE, SIZES, make_problem

import gradkit
import gradkit.numpy as jnp
from gradkit import tree
from gradkit.core.node import Node
from gradkit.primitives import affine

Call = Callable[[], Any]

SECONDS = 0.02
REPETITIONS = 7


@dataclass(frozen=True)
class Row:
    """One line of a table: gradkit's call, and what NumPy takes for the same (None: nothing to compare with)."""

    name: str
    ours: Call
    theirs: Call | None


def microseconds(call: Call) -> float:
    """Return the least time of a call."""
    timer = timeit.Timer(call)
    number = 1
    while timer.timeit(number) < SECONDS:
        number *= 2
    return min(timer.repeat(REPETITIONS, number)) / number * 1e6


def show(title: str, rows: Sequence[Row]) -> None:
    """Measure and print one table."""
    print(f"\n{title}\n{'':34}{'gradkit':>9}{'NumPy':>9}{'more':>9}   µs")
    for row in rows:
        ours = microseconds(row.ours)
        if row.theirs is None:
            print(f"{row.name:34}{ours:9.2f}")
        else:
            theirs = microseconds(row.theirs)
            print(f"{row.name:34}{ours:9.2f}{theirs:9.2f}{ours - theirs:9.2f}")


def operations() -> list[Row]:
    """Compare single operations on 4 x 4 arrays, without and with a tape that records."""
    raw = np.ones((4, 4), np.float32)
    vector = np.ones(4, np.float32)
    one = np.float32(1)
    plain, plain_vector = jnp.asarray(raw), jnp.asarray(vector)
    taped, taped_vector = jnp.asarray(raw.copy()), jnp.asarray(vector.copy())
    taped.requires_grad = taped_vector.requires_grad = True
    forms: list[tuple[str, Callable[[Any, Any], Any], Call]] = [
        ("x * x", lambda x, b: x * x, lambda: raw * raw),
        ("x * 0.5", lambda x, b: x * 0.5, lambda: raw * 0.5),
        ("tanh(x)", lambda x, b: jnp.tanh(x), lambda: np.tanh(raw)),
        ("square(x)", lambda x, b: jnp.square(x), lambda: np.square(raw)),
        ("x @ x", lambda x, b: x @ x, lambda: raw.dot(raw)),
        ("affine(x, x, b)", lambda x, b: affine(x, x, b), lambda: raw.dot(raw) + vector),
        ("mean(x)", lambda x, b: jnp.mean(x), lambda: np.add.reduce(raw, axis=(0, 1)) / 16),
        ("sum(x, axis=0)", lambda x, b: jnp.sum(x, axis=0), lambda: np.add.reduce(raw, axis=(0,))),
    ]
    rows = []
    for name, form, theirs in forms:
        rows.append(Row(name, lambda form=form: form(plain, plain_vector), theirs))  # type: ignore[misc]
        rows.append(Row(f"{name}, recorded", lambda form=form: form(taped, taped_vector), theirs))  # type: ignore[misc]
    rows.append(Row("Array.data", lambda: plain.data, None))
    rows.append(Row("Array.dtype", lambda: plain.dtype, None))
    rows.append(Row("numpy scalar * array", lambda: one * raw, lambda: 1.0 * raw))
    return rows


def stages(size_name: str) -> list[Row]:
    """Compare the stages of a step: what both faces share, then each face's own."""
    (size,) = (size for size in SIZES if size.name == size_name)
    problem = make_problem(size)
    model, x, y = gradkit_model(problem)
    taped = gradkit_model(problem)[0].requires_grad_()
    optimizer = gradkit.optim.SGD(LEARNING_RATE)
    state = optimizer.init(model)
    leaves, structure = tree.flatten(model)

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return gradkit.nn.mse(model(x), y)

    loss_and_gradient = gradkit.value_and_grad(loss_fn)
    gradient = loss_and_gradient(model, x, y)[1]
    output = model(x)

    def forward_and_backward() -> None:
        loss_fn(taped, x, y).backward()

    loss_fn(taped, x, y).backward()
    layers = problem.layers

    def forward_by_hand() -> Any:
        hidden = problem.x
        for weight, bias in layers[:-1]:
            hidden = hidden @ weight
            hidden += bias
            np.tanh(hidden, out=hidden)
        weight, bias = layers[-1]
        result = hidden @ weight
        result += bias
        return result

    raw_output = forward_by_hand()

    def loss_by_hand() -> Any:
        error = raw_output - problem.y
        return (error * error).mean()

    def update_by_hand() -> None:
        for parameter in raws:
            parameter -= 0.0 * parameter

    raws = [array.copy() for pair in layers for array in pair]
    still = gradkit.optim.SGD(0.0)
    still_state = still.init(model)

    def lecture_step() -> None:
        loss = gradkit.nn.mse(taped(x), y)
        taped.zero_grad()
        loss.backward()
        still.step(taped)

    def pure_step() -> None:
        _, found = loss_and_gradient(model, x, y)
        still.update(model, found, still_state)

    return [
        Row("forward, nothing recorded", lambda: model(x), forward_by_hand),
        Row("forward, recorded", lambda: taped(x), forward_by_hand),
        Row("loss, nothing recorded", lambda: gradkit.nn.mse(output, y), loss_by_hand),
        Row("forward and loss, recorded", lambda: loss_fn(taped, x, y), None),
        Row("  and backward()", forward_and_backward, None),
        Row("value_and_grad", lambda: loss_and_gradient(model, x, y), None),
        Row("tree.flatten(model)", lambda: tree.flatten(model), None),
        Row("tree.leaves(model)", lambda: tree.leaves(model), None),
        Row("tree.unflatten(model)", lambda: tree.unflatten(structure, leaves), None),
        Row("optimizer.step(model)", lambda: still.step(taped), update_by_hand),
        Row("zero_grad()", taped.zero_grad, None),
        Row("optimizer.update(...)", lambda: optimizer.update(model, gradient, state), update_by_hand),
        Row("step, lecture", lecture_step, hand_written(problem, TARGETS["numpy"]).step),
        Row("step, pure", pure_step, hand_written(problem, TARGETS["numpy"]).step),
    ]


def backward_nodes(size_name: str) -> list[Row]:
    """Time each node's rule on the cotangent it gets in the backward pass of one step."""
    (size,) = (size for size in SIZES if size.name == size_name)
    problem = make_problem(size)
    model, x, y = gradkit_model(problem)
    loss = gradkit.nn.mse(model.requires_grad_()(x), y)
    node = loss._node
    assert node is not None
    cotangents: dict[Node, Any] = {node: np.float32(1)}
    pending, rows = [node], []
    while pending:
        node = max(pending, key=lambda it: it.sequence)
        pending.remove(node)
        if node.primitive is None:
            continue
        saved, cotangent = node.saved, cotangents[node]
        assert saved is not None
        for parent, share in node.primitive.pull(cotangent, node, saved):
            cotangents[parent] = cotangents[parent] + share if parent in cotangents else share
            if parent not in pending:
                pending.append(parent)
        rows.append(
            Row(
                f"{node.primitive.name} {node.shape}",
                lambda node=node, saved=saved, cotangent=cotangent: list(node.primitive.pull(cotangent, node, saved)),  # type: ignore[misc]
                None,
            )
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description="Print where the time of a training step goes.")
    parser.add_argument("--size", choices=[size.name for size in SIZES], default=SIZES[0].name, help="%(choices)s")
    options = parser.parse_args(arguments)
    show("Operations, 4 x 4", operations())
    show(f"Stages of a step, {options.size}", stages(options.size))
    show(f"Backward, node by node, {options.size}", backward_nodes(options.size))


if __name__ == "__main__":
    main()
