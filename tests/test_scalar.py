"""The lecture's engine: Value, and networks of Values."""

from __future__ import annotations

import math
from typing import Any

import pytest

import gradkit
import gradkit.numpy as jnp
from gradkit import Value

# The lecture's figures


def expression(a: Any, b: Any, c: Any, f: Any) -> Any:
    return (a * b + c) * f


def neuron(x1: Any, x2: Any, w1: Any, w2: Any, b: Any) -> Any:
    return (x1 * w1 + x2 * w2 + b).tanh() if isinstance(b, Value) else jnp.tanh(x1 * w1 + x2 * w2 + b)


EXPRESSION = expression, (2.0, -3.0, 10.0, -2.0), -8.0, (6.0, -4.0, -2.0, 4.0)
NEURON = neuron, (2.0, 0.0, -3.0, 1.0, 6.8813735870195432), math.sqrt(0.5), (-1.5, 0.5, 1.0, 0.0, 0.5)
FIGURES = pytest.mark.parametrize("function, numbers, result, gradients", [EXPRESSION, NEURON], ids=["L", "neuron"])


@FIGURES
def test_the_lectures_figures_by_value(function: Any, numbers: Any, result: float, gradients: Any) -> None:
    values = [Value(number) for number in numbers]
    out = function(*values)
    out.backward()
    assert out.data == pytest.approx(result, abs=1e-12)
    assert [value.grad for value in values] == pytest.approx(gradients, abs=1e-12)


@FIGURES
def test_the_lectures_figures_by_array(function: Any, numbers: Any, result: float, gradients: Any, xp: Any) -> None:
    arrays = [xp.asarray(number) for number in numbers]
    for array in arrays:
        array.requires_grad = True
    out = function(*arrays)
    out.backward()
    assert out.item() == pytest.approx(result, rel=1e-6)
    assert [float(array.grad) for array in arrays] == pytest.approx(gradients, abs=1e-5)


@FIGURES
@pytest.mark.parametrize("kind", [float, Value])
def test_the_lectures_figures_by_grad(kind: Any, function: Any, numbers: Any, result: float, gradients: Any) -> None:
    value, found = gradkit.value_and_grad(function, argnums=tuple(range(len(numbers))))(*map(kind, numbers))
    assert float(value) == pytest.approx(result, rel=1e-6)
    assert list(map(float, found)) == pytest.approx(gradients, abs=1e-5)
    assert all(isinstance(g, Value) for g in [value, *found]) == (kind is Value)
