"""The tape as a computation to draw: which values it still knows, and which can be had again.

The tape exists for training. It keeps what a derivative will read and nothing else, drops that as the backward pass
goes by, and keeps no gradients but those of the inputs. Nothing here changes that, so training is as fast, and takes
as little memory, with pictures as without. A value of a picture comes from, in this order:

- the Arrays that are alive: whatever the program has a name for;
- what the tape has saved for the derivatives, until `backward` has passed (always, with ``retain_graph=True``);
- the operation itself, run again on its arguments, where all of them are known. An argument that nothing is
  differentiated by, which the tape forgets first, may be one of the arrays that were given a label.

The gradient of an input is its ``.grad``. The gradients of what lies between come from a pass of the picture's own, for
which the values that `backward` has freed are put together again.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradkit.backend import backend_of
from gradkit.core import Array
from gradkit.core.array import backend_of_array, raw
from gradkit.core.binding import KERNEL_ERRORS
from gradkit.core.namespace import namespace_of
from gradkit.core.narrow import kernel_for, widened_pull
from gradkit.core.node import Leaf, Node
from gradkit.core.promotion import is_inexact
from gradkit.core.reverse import total
from gradkit.core.several_results import PART, Recorded
from gradkit.scalar import Value
from gradkit.scalar.value import Input
from gradkit.viz.computation import Computation, Operation, Quantity, Role
from gradkit.viz.naming import Labels, operation_of

__all__ = ["Tape"]


class Tape:
    """The part of the tape that some arrays were computed on.

    Parameters
    ----------
    roots : sequence of Array
        The arrays, each with a node of the tape.
    labels : Labels
        What its values are called.
    """

    def __init__(self, roots: Sequence[Array], labels: Labels) -> None:
        # Nodes of a tape are of one backend, as operations do not mix them.
        self.backend = backend_of_array(roots[0])
        self.values: dict[Node, Any] = {root._node: raw(root) for root in roots if root._node is not None}
        self.roots = list(self.values)
        self.labels = labels
        self.recognized: dict[tuple[Node, int], Any] = {}
        self.nodes = _ancestors(self.roots)
        self._find_living()
        self._find_saved()

    @property
    def is_walked(self) -> bool:
        """Whether `backward` has given an input its gradient."""
        return any(type(node) is Leaf and _gradient_of_leaf(node) is not None for node in self.nodes)

    # Values

    def _find_living(self) -> None:
        """Find the Arrays that the program holds.

        A node does not know its Array: a reference, even a weak one, would cost every operation time. The garbage
        collector knows all objects, and asking it costs nothing but the time of the picture.
        """
        wanted = set(self.nodes)
        for candidate in gc.get_objects():
            if type(candidate) is Array:
                node = getattr(candidate, "_node", None)  # another thread may be making it
                if node is not None and node in wanted:
                    self.values.setdefault(node, raw(candidate))

    def _find_saved(self) -> None:
        for node in self.nodes:
            saved = node.saved
            if not saved or isinstance(node.primitive, Recorded):
                continue
            if saved[0] is not None and not node.primitive.multiple_results:
                self.values.setdefault(node, raw(saved[0]))
            for parent, value in zip(node.parents, saved[1:], strict=True):
                if parent is not None and value is not None and not isinstance(value, Node):
                    self.values.setdefault(parent, raw(value))

    def _constant(self, node: Node, position: int) -> Any:
        """Return an argument that has no node, if the tape has kept it or it was recognized."""
        if node.saved is not None and not isinstance(node.primitive, Recorded):
            value = node.saved[position + 1]
            if value is not None:
                return raw(value)
        numbers = getattr(node, "numbers", None)
        number = numbers[position] if isinstance(numbers, tuple) else numbers
        return self.recognized.get((node, position)) if number is None else number

    def compute_missing(self) -> bool:
        """Run operations again whose arguments are known.

        Returns
        -------
        bool
            Whether the values belong together. They do not where an input was changed since; then nothing is computed.
        """
        before = dict(self.values)
        for node in self.nodes:
            primitive = node.primitive
            if primitive is None or isinstance(primitive, Recorded) or primitive.multiple_results:
                continue
            again = self._run_again(node)
            if again is not None and not self._is_same(self.values.setdefault(node, again), again):
                self.values = before
                self.recognized.clear()
                return False
        return True

    def _run_again(self, node: Node) -> Any:
        """Return the result of an operation; None if its arguments are not known."""
        arguments = [
            self._constant(node, position) if parent is None else self.values.get(parent)
            for position, parent in enumerate(node.parents)
        ]
        missing = [position for position, value in enumerate(arguments) if value is None]
        if not missing:
            return _result(node, arguments)
        if len(missing) > 1 or node.parents[missing[0]] is not None:
            return None
        # One argument without a node is not known. It may be an array that has a label: if one alone fits, it is.
        position = missing[0]
        fitting = {}
        for candidate in self.labels.arrays:
            again = _result(node, [candidate if value is None else value for value in arguments])
            if again is not None and (node not in self.values or self._is_same(self.values[node], again)):
                fitting[id(candidate)] = candidate, again
        if len(fitting) != 1:
            return None
        ((self.recognized[node, position], again),) = fitting.values()
        return again

    def _is_same(self, one: Any, other: Any) -> bool:
        """Return whether two results of one operation agree, but for what a library does otherwise the next time."""
        backend = backend_of(one)
        assert backend is not None
        xp = backend.xp
        if not is_inexact(backend.dtype_name(one)):
            return bool(xp.all(one == other))
        finite = xp.isfinite(one) & xp.isfinite(other)
        alike = (one == other) | (xp.isnan(one) & xp.isnan(other)) | finite
        one, other = xp.where(finite, one, xp.zeros_like(one)), xp.where(finite, other, xp.zeros_like(other))
        return bool(xp.all(alike & (xp.abs(one - other) <= 1e-3 * xp.abs(one)))) if one.size else True

    # Gradients

    def gradients(self) -> dict[Node, Any]:
        """Return the gradient of the only root, a single number, by every node, where the values for it are known."""
        if len(self.roots) != 1 or math.prod(self.values[self.roots[0]].shape) != 1:
            return {}
        root = self.roots[0]
        cotangents: dict[Node, Any] = {root: self.backend.one_like(self.values[root])}
        unknown: set[Node] = set()
        for node in reversed(self.nodes):
            if node.primitive is None:
                continue
            saved = self._saved(node)
            if node in unknown or saved is None:
                unknown.update(parent for parent in node.parents if parent is not None)
            elif node in cotangents:
                for parent, share in widened_pull(node.primitive, cotangents[node], node, saved):
                    present = cotangents.get(parent)
                    cotangents[parent] = share if present is None else total(present, share)
        return {
            node: raw(_whole(cotangent, node.shape))
            for node, cotangent in cotangents.items()
            if node not in unknown and node.shape is not None
        }

    def _saved(self, node: Node) -> Sequence[Any] | None:
        """Return what the rules of a node read: as the tape saved it, or put together again; None if that fails."""
        if node.saved is not None:
            return node.saved
        primitive = node.primitive
        if primitive is PART:
            return ()
        if isinstance(primitive, Recorded) or primitive.multiple_results:
            return None
        tracked = sum(1 << position for position, parent in enumerate(node.parents) if parent is not None)
        reads, _ = primitive.reads_and_parents(tracked)
        saved: list[Any] = [self.values.get(node) if reads & 1 else None]
        if reads & 1 and saved[0] is None:
            return None
        for position, parent in enumerate(node.parents):
            reads >>= 1
            value: Any = parent
            if reads & 1:
                value = self._constant(node, position) if parent is None else self.values.get(parent)
                if value is None:
                    return None
            saved.append(value)
        return saved

    # The picture

    @property
    def inputs_from_values(self) -> list[Value]:
        """The Values of the lecture's engine that came onto the tape."""
        return [node.value for node in self.nodes if isinstance(node, Input)]

    def computation(self, known: Mapping[Value, Quantity], complete: bool, gradients: bool, asked: bool) -> Computation:
        """Return the computation to draw.

        Parameters
        ----------
        known : mapping
            What stands for the Values that came onto the tape.
        complete : bool
            Whether to compute what is not at hand.
        gradients : bool
            Whether gradients are shown.
        asked : bool
            Whether they have been asked for, so that they are computed in any case.
        """
        is_known = self.compute_missing() if complete else asked
        found = self.gradients() if gradients and is_known else {}
        if gradients and len(self.roots) == 1 and math.prod((out := self.values[self.roots[0]]).shape) == 1:
            found.setdefault(self.roots[0], self.backend.one_like(out))
        for node in self.nodes:
            if gradients and type(node) is Leaf and (stored := _gradient_of_leaf(node)) is not None:
                found[node] = stored
        quantities = {
            node: known[node.value] if isinstance(node, Input) else self._quantity(node, found)
            for node in self.nodes
            if node.shape is not None
        }
        constants: dict[int, Quantity] = {}
        operations: dict[Node, Operation] = {}
        for node in self.nodes:
            if node.primitive is PART:
                assert node.parents[0] is not None
                operations[node.parents[0]].outputs.append(quantities[node])
            elif node.primitive is not None:
                inputs = [
                    quantities[parent] if parent is not None else self._constant_quantity(node, position, constants)
                    for position, parent in enumerate(node.parents)
                ]
                outputs = [quantities[node]] if node in quantities else []
                operations[node] = operation_of(node.primitive.name, node.params, inputs, outputs)
        everything = dict.fromkeys(quantities.values())
        everything.update(dict.fromkeys(q for operation in operations.values() for q in operation.inputs))
        outputs = [quantities[root] for root in self.roots]
        return Computation(list(everything), list(operations.values()), outputs)

    def _quantity(self, node: Node, gradients: Mapping[Node, Any]) -> Quantity:
        role: Role = "input" if node.primitive is None else "result"
        dtype = self.backend.dtype_name(node)
        label = self.labels.of(node)
        return Quantity(label, role, node.shape, dtype, self.values.get(node), gradients.get(node))

    def _constant_quantity(self, node: Node, position: int, known: dict[int, Quantity]) -> Quantity:
        value = self._constant(node, position)
        if value is None:
            return Quantity("", "constant", note="constant, not kept")
        if backend_of(value) is None:
            return Quantity("", "constant", data=value)
        if id(value) not in known:
            label = self.labels.of(value)
            known[id(value)] = Quantity(label, "constant", value.shape, self.backend.dtype_name(value), value)
        return known[id(value)]


def _result(node: Node, arguments: Sequence[Any]) -> Any:
    """Return what an operation gives for these arguments; None if they do not fit."""
    like = next((value for value in arguments if backend_of(value) is not None), None)
    if like is None:
        return None
    try:
        kernel = kernel_for(node.primitive, node.primitive.kernel(like), arguments)
        result = kernel(*arguments, **node.params)
    except KERNEL_ERRORS:
        return None
    return result if (result.shape, result.dtype) == (node.shape, node.dtype) else None


def _ancestors(roots: Iterable[Node]) -> list[Node]:
    """Return everything that the roots were computed from, in the order of making, inputs first."""
    found: dict[Node, None] = {}
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = None
            waiting.extend(parent for parent in node.parents if parent is not None)
    return sorted(found, key=lambda node: node.sequence)


def _gradient_of_leaf(leaf: Leaf) -> Any:
    """Return the gradient that `backward` has left at an input; None where there is none or it was reset to 0."""
    return None if leaf.grad is None or not hasattr(leaf.grad, "shape") else raw(leaf.grad)


def _whole(cotangent: Any, shape: tuple[int, ...]) -> Any:
    """Return a cotangent at the shape of what it belongs to: it may be smaller as long as it broadcasts."""
    if cotangent is None or cotangent.shape == shape:
        return cotangent
    return namespace_of(cotangent).broadcast_to(cotangent, shape)
