"""What a Value is: its number, its gradient, its graph, the backward pass, and what it refuses."""

from __future__ import annotations

import copy
import operator
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_inputs import examples

import gradkit
from gradkit import Value
from gradkit.core.families import Elementwise
from gradkit.core.namespace import PRIMITIVES
from gradkit.errors import DeviceMismatchError
from gradkit.scalar.formulas import local_derivative
from gradkit.scalar.operations import BINARY, UNARY, Operation
from gradkit.scalar.value import general

# Its face


@pytest.mark.parametrize("number", [2, 2.0, True, np.float32(2), np.int64(2), np.asarray(2.0)])
def test_data_is_a_float_whatever_number_it_was(number: Any) -> None:
    assert type(Value(number).data) is float
    value = Value(0.0)
    value.data = number
    value.grad = number
    assert type(value.data) is type(value.grad) is float


def test_data_of_an_array_that_nothing_follows_is_its_number(xp: Any) -> None:
    assert Value(xp.asarray(0.5)).data == 0.5


def test_a_label_is_kept_and_can_be_assigned() -> None:
    a = Value(2.0, label="a")
    e = a * 3
    assert (a.label, e.label) == ("a", "")
    e.label = "e"
    assert repr(a) == "Value(data=2.0, grad=0.0, label='a')"
    assert repr(e) == "Value(data=6.0, grad=0.0, label='e')"
    assert f"{e:.2f}" == "6.00"
    assert float(e) == 6.0


def test_the_graph_can_be_read() -> None:
    x, y = Value(2.0), Value(-3.0)
    assert (x.operation, x.operands, x._op, x._prev) == (None, (), "", set())
    for out, name, operands, symbol in [
        (x + y, "add", (x, y), "+"),
        (x * y, "multiply", (x, y), "*"),
        (2 - x, "subtract", (2, x), "-"),
        (x / 4, "divide", (x, 4), "/"),
        (x**y, "pow", (x, y), "**"),
        (x**3, "pow", (x, 3), "**3"),
        (2**x, "pow", (2, x), "**"),
        (x**2, "square", (x,), "**2"),
        (x.relu(), "relu", (x,), "ReLU"),
        (y.relu(), "relu", (y,), "ReLU"),
        (x.tanh(), "tanh", (x,), "tanh"),
    ]:
        assert out.operation.name == name
        assert len(out.operands) == len(operands)
        assert all(ours is expected or ours == expected for ours, expected in zip(out.operands, operands, strict=True))
        assert out._op == symbol
        assert out._prev == {operand for operand in operands if isinstance(operand, Value)}


def test_a_copy_has_the_number_and_the_label_and_no_history() -> None:
    x = Value(2.0, label="x")
    y = copy.deepcopy(x * 3)
    z = copy.copy(x)
    y.backward()
    assert (y.data, y.operation, x.grad) == (6.0, None, 0.0)
    assert (z.data, z.label) == (2.0, "x")
    assert z is not x


# Errors


@pytest.mark.parametrize("wrong", ["3", None, 1j, [1.0], Value(1.0), np.ones(2)])
def test_a_value_of_what_is_no_number_is_an_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="data: expected a number, got "):
        Value(wrong)
    value = Value(1.0)
    with pytest.raises(TypeError, match="data: expected a number, got "):
        value.data = wrong
    if wrong is not None:
        with pytest.raises(TypeError, match="grad: expected a number, got "):
            value.grad = wrong


@pytest.mark.parametrize("other", [None, {}, 1j])
def test_an_operation_with_what_is_no_number_is_an_error(other: Any) -> None:
    for operation in ("add", "sub", "mul", "truediv", "pow"):
        for operands in ((Value(1.0), other), (other, Value(1.0))):
            with pytest.raises(TypeError, match="unsupported operand"):
                getattr(operator, operation)(*operands)


def test_a_value_and_an_array_of_another_backend_do_not_mix(xp: Any) -> None:
    x, array = Value(2.0), xp.asarray(3.0)
    for mix in (lambda: x * array, lambda: array * x, lambda: xp.maximum(array, x)):
        with pytest.raises(DeviceMismatchError, match=r"python:0.*device_put"):
            mix()


def test_a_value_of_an_array_that_is_differentiated_is_an_error(xp: Any) -> None:
    with pytest.raises(TypeError, match=r"Array whose derivative is being recorded.*grad\(f\)\(Value"):
        gradkit.grad(lambda x: Value(x).tanh())(xp.asarray(2.0))
    array = xp.asarray(2.0)
    array.requires_grad = True
    with pytest.raises(TypeError, match="Array whose derivative is being recorded"):
        Value(array)


# The backward pass


def test_a_chain_of_100_000_values_is_differentiated_and_freed() -> None:
    x = y = Value(1.0)
    for _ in range(100_000):
        y = y * 0.5 + x
    y.backward()
    assert y.data == pytest.approx(2.0)
    assert x.grad == pytest.approx(2.0)
    del y


def test_values_that_many_use_get_all_of_their_gradient() -> None:
    x = y = Value(1.0)
    for _ in range(60):
        y = y + y  # 2 ** 60 paths
    y.backward()
    assert x.grad == 2.0**60


def test_gradients_add_up_until_they_are_reset() -> None:
    x = Value(3.0)
    y = x * x
    z = y.tanh() + y
    z.backward()
    first = x.grad, y.grad, z.grad
    z.backward()
    assert (x.grad, y.grad, z.grad) == (2 * first[0], 2 * first[1], 2 * first[2])
    (x * 2).backward()
    assert x.grad == 2 * first[0] + 2
    x.zero_grad()
    assert x.grad == 0.0
    z.backward()
    assert x.grad == first[0]


def test_a_value_that_nothing_is_computed_from_has_gradient_1_of_itself() -> None:
    x = Value(3.0)
    x.backward()
    assert x.grad == 1.0


def test_every_value_on_the_way_keeps_its_gradient() -> None:
    a, b = Value(2.0), Value(-3.0)
    e = a * b
    out = (e + 10.0).relu() * 4
    out.backward()
    assert (e.grad, out.grad) == (4.0, 1.0)


def test_what_a_relu_stops_has_gradient_0() -> None:
    x = Value(-2.0)
    y = x * 3
    (y.relu() + x).backward()
    assert (x.grad, y.grad) == (1.0, 0.0)


def test_a_number_assigned_after_it_was_used_leaves_the_derivative_as_it_was() -> None:
    x = Value(3.0)
    y = x * x
    x.data = 100.0
    y.backward()
    assert x.grad == 6.0


def test_a_result_can_be_moved_by_a_constant() -> None:
    # As the lecture does to see how much a step changes the result.
    a, b = Value(2.0), Value(-3.0)
    e = a * b
    e.data += 0.5
    out = e * e
    out.backward()
    assert (out.data, a.grad) == (30.25, 2 * -5.5 * -3.0)


def test_the_pass_can_be_made_by_hand() -> None:
    x = Value(0.5)
    y = x * 3
    out = y.tanh()
    out.grad = 1.0
    for value in (out, y, x):
        value._backward()
    other = Value(0.5)
    (other * 3).tanh().backward()
    assert x.grad == other.grad


def test_nothing_is_recorded_inside_no_grad() -> None:
    x = Value(2.0)
    with gradkit.no_grad():
        y = x * x + 1 / x
        with gradkit.enable_grad():
            z = x * 3
    assert (y.data, y.operands, z.operands) == (4.5, (), (x, 3))
    y.backward()
    assert x.grad == 0.0


def test_an_interrupted_pass_leaves_the_next_one_right(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupts(float):
        def __rmul__(self, other: object) -> float:
            raise KeyboardInterrupt

    x = Value(2.0)
    y = x * x
    z = y * 3 + y
    monkeypatch.setattr(z._first, "_first_slope", Interrupts(3.0))
    with pytest.raises(KeyboardInterrupt):
        z.backward()
    monkeypatch.undo()
    x.grad = y.grad = z.grad = z._first.grad = 0.0
    z.backward()
    assert (x.grad, y.grad) == (16.0, 4.0)


def test_debug_nans_names_the_operation_that_gave_a_nan() -> None:
    x, infinite = Value(-1.0), Value(float("inf"))
    with gradkit.debug_nans(True):
        for compute, name in [
            (x.log, "log"),
            (lambda: x**0.5, "pow"),
            (lambda: infinite - infinite, "subtract"),
            (lambda: 0 * infinite, "multiply"),
        ]:
            with pytest.raises(FloatingPointError, match=rf"invalid value \(nan\) encountered in {name}"):
                compute()
        root = Value(0.0) ** 0.5
        with pytest.raises(FloatingPointError, match=r"invalid value \(nan\) encountered in the derivative of pow"):
            (root * 0).backward()
        assert (x * 2).data == -2.0
    assert x.log().data != x.log().data


def test_threads_that_share_values_get_the_sum_of_their_gradients() -> None:
    x = Value(2.0)
    shared = x * x

    def work() -> None:
        for _ in range(200):
            (shared * 3).backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert x.grad == 200 * 4 * 12


# The general path is the definition

SPELLINGS: dict[str, Any] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "pow": operator.pow,
    "negative": operator.neg,
    "square": lambda x: x**2,
}
FORMS = [(Value, Value), (Value, float), (float, Value)]
CALLS = [(name, (Value,)) for name in UNARY] + [(name, form) for name in BINARY for form in FORMS]
numbers = st.floats(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 3.0, 800.0, -800.0])


@pytest.mark.parametrize("name, form", CALLS)
@settings(max_examples=examples(60), deadline=None)
@given(point=st.tuples(numbers, numbers))
def test_a_compiled_method_does_what_the_primitive_declares(
    name: str, form: tuple[Any, ...], point: tuple[float, float]
) -> None:
    ours = [kind(number) for kind, number in zip(form, point, strict=False)]
    declared = [kind(number) for kind, number in zip(form, point, strict=False)]
    out = SPELLINGS.get(name, operator.methodcaller(name))(*ours)
    expected = general(Operation(name, form.index(float) if float in form else None), *declared)
    assert out.operation == expected.operation
    assert out.data == pytest.approx(expected.data, rel=1e-14, abs=1e-300, nan_ok=True)
    out.backward()
    expected.backward()
    for operand, other in zip(ours, declared, strict=True):
        if isinstance(operand, Value):
            assert operand.grad == pytest.approx(other.grad, rel=1e-12, abs=1e-300, nan_ok=True)


def test_the_methods_have_their_derivatives_from_the_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    primitive = PRIMITIVES["tanh"]
    monkeypatch.setattr(primitive, "rules", (lambda xp, y, x: xp.cos(x) * 7 + y,))
    assert isinstance(primitive, Elementwise)
    assert local_derivative(primitive, 0) == "((cos(x) * 7) + z)"
