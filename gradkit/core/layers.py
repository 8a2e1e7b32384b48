"""What an Array holds under several transforms, layer by layer: who follows it, and the parts of it at one level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gradkit.core.array import Array, wrap
from gradkit.core.forward import Dual, ForwardTrace
from gradkit.core.node import Trace
from gradkit.core.stand_in import Batched

__all__ = ["changed_inside", "followers", "layers"]


def layers(value: Any) -> Iterator[Array]:
    """Give the Arrays that a value consists of, itself first: what it wraps, whole batches, tangents."""
    while type(value) is Array:
        yield value
        node, value = value._node, value._value
        if type(value) is Batched:
            value = value.array
        elif isinstance(node, Dual):
            yield from layers(node.tangent)


def followers(values: Iterable[Any]) -> set[Trace]:
    """Return the transforms that follow one of the values, at whatever depth."""
    return {layer._node.trace for value in values for layer in layers(value) if layer._node is not None}


def changed_inside(array: Array, change: Callable[[Any], Any]) -> Array:
    """Return an array that wraps what `change` makes of what it wraps, which it is given in the order of `layers`."""
    node, value = array._node, array._value
    if type(value) is Batched:
        whole = change(value.array)
        return array if whole is value.array else wrap(Batched(whole, value.axis), node)
    if isinstance(node, Dual):
        assert isinstance(node.trace, ForwardTrace)
        tangent = change(node.tangent)
        return node.trace.wrap(change(value), tangent)
    inner = change(value)
    return array if inner is value else wrap(inner, node)
