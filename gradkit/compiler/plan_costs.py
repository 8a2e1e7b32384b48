"""What the nodes of a plan cost: operations on numbers, and bytes that are read and written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gradkit.backend.plan import Call, Layout, Load, Loop, Nest, Node, Plan, Product, Statement, While

__all__ = ["Work", "work_of", "work_of_plan"]


class Work(NamedTuple):
    """What running something takes.

    Attributes
    ----------
    operations : int
        Operations on numbers. Those of calls are not known, and count nothing.
    bytes : int
        What is read and written, each element once for each node.
    """

    operations: int
    bytes: int

    def times(self, number: int) -> Work:
        """Return that of so many runs."""
        return Work(self.operations * number, self.bytes * number)


def _total(parts: Sequence[Work]) -> Work:
    """Return that of one after the other."""
    return Work(sum(part.operations for part in parts), sum(part.bytes for part in parts))


def work_of_plan(plan: Plan) -> Work:
    """Return what running a plan takes."""
    return _total([work_of(node) for node in plan.nodes])


def work_of(node: Node) -> Work:
    """Return what running a node takes: of a loop without a known length one step, of a choice the costliest plan."""
    if isinstance(node, Nest):
        steps = math.prod(node.sizes)
        each = sum(1 for part in node.body if isinstance(part, Statement)) + sum(1 for s in node.stores if s.combine)
        # What is gathered or scattered is an element a step, wherever it lies.
        parts = [steps * p.layout.buffer.item_size if p.gathered else _bytes(p.layout) for p in _loads(node)]
        parts += [steps * s.layout.buffer.item_size if s.scattered else _bytes(s.layout) for s in node.stores]
        return Work(steps * each, sum(parts))
    if isinstance(node, Product):
        count = 2 * math.prod(node.out.shape) * node.left.shape[-1]
        return Work(count, sum(map(_bytes, (node.left, node.right, node.out))) + node.adds * _bytes(node.out))
    if isinstance(node, Call):
        layouts = [operand for operand in node.operands if isinstance(operand, Layout)]
        return Work(0, sum(map(_bytes, layouts)) + sum(buffer.size for buffer in node.results))
    if isinstance(node, Loop):
        return work_of_plan(node.step).times(node.length)
    if isinstance(node, While):
        return _total([work_of_plan(node.test), work_of_plan(node.step)])
    return max((work_of_plan(plan) for plan in node.plans), default=Work(0, 0))


def _loads(nest: Nest) -> list[Load]:
    return [part for part in nest.body if isinstance(part, Load)]


def _bytes(layout: Layout) -> int:
    """Return the bytes of the elements of a layout, each of which counts once where it is broadcast."""
    sizes = (size for size, stride in zip(layout.shape, layout.strides, strict=True) if stride or not size)
    return math.prod(sizes) * layout.buffer.item_size
