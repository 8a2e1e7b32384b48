"""Values of the lecture's engine as a computation to draw: each knows its number, its gradient and its operands."""

from __future__ import annotations

from collections.abc import Iterable

from gradkit.scalar import Value
from gradkit.scalar.operations import evaluate
from gradkit.viz.computation import Computation, Quantity, Role
from gradkit.viz.naming import Labels, operation_of

__all__ = ["computation_of_values", "is_walked"]


def is_walked(roots: Iterable[Value]) -> bool:
    """Return whether `backward` has been called on one of the values, which gives it a gradient itself."""
    return any(root.grad for root in roots)


def computation_of_values(
    roots: Iterable[Value], labels: Labels, gradients: bool
) -> tuple[Computation, dict[Value, Quantity]]:
    """Return what the values were computed from, and what stands for each value in it.

    Parameters
    ----------
    roots : iterable of Value
        The results. Where `gradients` are wanted and `backward` was not called, those of the first are computed.
    labels : Labels
        They come before a Value's own.
    gradients : bool
        Whether gradients are shown.
    """
    roots = list(roots)
    order = _sort(roots)
    found: dict[Value, float] = {}
    if gradients:
        computed = not is_walked(roots) and len(roots) == 1
        found = _gradients(order) if computed else {value: value.grad for value in order}
    computation = Computation()
    quantities: dict[Value, Quantity] = {}
    for value in order:
        operation = value.operation
        label = labels.of(value) or value.label
        role: Role = "input" if operation is None else "result"
        quantity = quantities[value] = Quantity(label, role, data=value.data, grad=found.get(value))
        inputs = [
            quantities[operand] if isinstance(operand, Value) else Quantity("", "constant", data=operand)
            for operand in value.operands
        ]
        if operation is not None:
            computation.operations.append(operation_of(operation.name, {}, inputs, [quantity]))
    used = (quantity for operation in computation.operations for quantity in operation.inputs)
    computation.quantities = list(dict.fromkeys([*used, *quantities.values()]))
    computation.outputs = [quantities[root] for root in roots]
    return computation, quantities


def _sort(roots: Iterable[Value]) -> list[Value]:
    """Return everything that the roots were computed from, each value after its operands."""
    found: dict[Value, None] = {}
    waiting = [(root, False) for root in reversed(list(roots))]
    while waiting:
        value, is_complete = waiting.pop()
        if value in found:
            continue
        if is_complete:
            found[value] = None
            continue
        waiting.append((value, True))
        waiting += [(operand, False) for operand in reversed(value.operands) if isinstance(operand, Value)]
    return list(found)


def _gradients(order: list[Value]) -> dict[Value, float]:
    """Return the derivative of the last value by each, without a change to any of them."""
    found = dict.fromkeys(order, 0.0)
    found[order[-1]] = 1.0
    for value in reversed(order):
        if value.operation is not None:
            numbers = [operand.data if isinstance(operand, Value) else operand for operand in value.operands]
            for operand, slope in zip(value.operands, evaluate(value.operation.name, *numbers)[1], strict=True):
                if isinstance(operand, Value) and (slope or slope != slope):  # 0 keeps what is infinite behind it
                    found[operand] += found[value] * slope
    return found
