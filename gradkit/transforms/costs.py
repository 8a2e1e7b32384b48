"""What running a graph costs: operations on numbers, bytes that are read and written, memory at one time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradkit.compiler.passes import last_use, variables_in
from gradkit.core.array import Array
from gradkit.core.families import Elementwise
from gradkit.core.graph import Equation, Graph, HigherOrder, Variable
from gradkit.core.structured import Contraction, LinearReduction, Reduction, View

__all__ = ["MemoryStats", "costs_of", "memory_of"]

ARITHMETIC = frozenset(
    """
    add subtract multiply divide negative maximum minimum abs sign where select square reciprocal remainder equal
    not_equal less less_equal greater greater_equal logical_and logical_or logical_not logical_xor bitwise_and
    bitwise_or bitwise_xor bitwise_invert bitwise_left_shift bitwise_right_shift clip floor ceil round trunc astype
    astype_exact
    """.split()
)
"""Elementwise operations that processors have; the others count as transcendental functions."""


def costs_of(graph: Graph) -> dict[str, float]:
    """Return the operations on numbers, the transcendental functions, and the bytes that operations read and write.

    A loop whose number of steps is not known counts once, of a choice the costliest function. The operations of
    decompositions and solvers, and of functions of the host, are not counted.
    """
    total = {"flops": 0.0, "transcendentals": 0.0, "bytes accessed": 0.0}
    for equation in graph.equations:
        for name, value in _cost(equation).items():
            total[name] += value
    return total


def _cost(equation: Equation) -> dict[str, float]:
    primitive = equation.primitive
    if isinstance(primitive, HigherOrder):
        inner = [costs_of(graph) for graph in equation.graphs]
        times = equation.params.get("length", 1)
        if primitive.name == "cond":
            return {name: max(cost[name] for cost in inner) for name in inner[0]}
        return {name: times * sum(cost[name] for cost in inner) for name in inner[0]} if inner else {}
    operands = [_bytes(x) for x in equation.inputs]
    moved = float(sum(operands) + sum(map(_bytes, equation.outputs)))
    size = sum(math.prod(out.shape) for out in equation.outputs)
    if isinstance(primitive, Contraction) or primitive.name == "affine":
        return {"flops": 2.0 * size * _summed_over(primitive, equation.inputs), "bytes accessed": moved}
    if isinstance(primitive, Reduction | LinearReduction):
        return {"flops": float(max(math.prod(x.shape) for x in variables_in(equation.inputs))), "bytes accessed": moved}
    if isinstance(primitive, View):
        return {"bytes accessed": 0.0 if primitive.shares_memory else moved}
    if isinstance(primitive, Elementwise) or primitive.name in ARITHMETIC:
        kind = "flops" if primitive.name in ARITHMETIC else "transcendentals"
        return {kind: float(size), "bytes accessed": moved}
    return {"bytes accessed": moved}


def _summed_over(primitive: Any, operands: Sequence[Any]) -> int:
    """Return how many products each element of a contraction's result is the sum of."""
    first = operands[0].shape
    if not isinstance(primitive, Contraction):  # an affine map: the last axis of its argument
        return int(first[-1])
    letters = primitive.operands[0].removeprefix("...")
    sizes = dict(zip(letters, first[len(first) - len(letters) :], strict=True))
    return math.prod(size for letter, size in sizes.items() if letter not in primitive.result)


def _bytes(operand: Any) -> int:
    if type(operand) is Variable or type(operand) is Array:
        return math.prod(operand.shape) * int(operand.dtype.itemsize)
    return 0


class MemoryStats:
    """The memory that a compiled function takes, under the names of JAX's ``CompiledMemoryStats``.

    Attributes
    ----------
    argument_size_in_bytes, output_size_in_bytes, alias_size_in_bytes, temp_size_in_bytes : int
        Of the arguments; of the results; of those results that take the memory of arguments; and of what is in between.
    generated_code_size_in_bytes : int
        Of machine code, as it is kept on disk; 0 where there is none.
    host_argument_size_in_bytes, host_output_size_in_bytes, host_alias_size_in_bytes, host_temp_size_in_bytes : int
        0, as is ``host_generated_code_size_in_bytes``: nothing is kept on the host for a device.
    """

    host_argument_size_in_bytes = host_output_size_in_bytes = host_alias_size_in_bytes = host_temp_size_in_bytes = 0
    host_generated_code_size_in_bytes = 0

    def __init__(self, arguments: int, outputs: int, alias: int, temporary: int) -> None:
        self.argument_size_in_bytes = arguments
        self.output_size_in_bytes = outputs
        self.alias_size_in_bytes = alias
        self.temp_size_in_bytes = temporary
        self.generated_code_size_in_bytes = 0

    @property
    def peak_memory_in_bytes(self) -> int:
        """All of it at one time."""
        return (
            self.argument_size_in_bytes + self.output_size_in_bytes + self.temp_size_in_bytes - self.alias_size_in_bytes
        )

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"CompiledMemoryStats({fields})"


def memory_of(graph: Graph, donated: Sequence[int] = ()) -> MemoryStats:
    """Return the memory that a graph takes where each value is given back after its last use."""
    outputs = dict.fromkeys(variables_in(graph.outputs))
    inputs = set(graph.inputs)
    last = last_use(graph)
    present = most = 0
    for position, equation in enumerate(graph.equations):
        present += sum(_bytes(out) for out in equation.outputs if out not in outputs)
        most = max(most, present)
        ended = dict.fromkeys([*variables_in(equation.inputs), *equation.outputs])
        present -= sum(_bytes(x) for x in ended if last[x] == position and x not in inputs and x not in outputs)
    return MemoryStats(
        sum(map(_bytes, graph.inputs)), sum(map(_bytes, outputs)), sum(_bytes(graph.inputs[i]) for i in donated), most
    )
