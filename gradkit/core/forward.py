"""Forward mode: an array travels with its tangent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradkit.core.array import Array, wrap
from gradkit.core.binding import bind
from gradkit.core.namespace import as_bound
from gradkit.core.node import NO_PARAMS, Node, Trace
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import is_inexact
from gradkit.core.silence import silence_of

if TYPE_CHECKING:
    from gradkit.core.graph import HigherOrder

__all__ = ["Dual", "ForwardTrace"]


class Dual(Node):
    """What forward mode knows about an array: its tangent, an Array of the levels below."""

    __slots__ = ("tangent",)

    def __init__(self, trace: Trace, primal: Array, tangent: Array) -> None:
        super().__init__(trace, primal.shape, primal.dtype, None, (), None, NO_PARAMS, False)
        self.tangent = tangent


class ForwardTrace(Trace):
    """Forward mode at one level."""

    __slots__ = ()

    def wrap(self, primal: Array, tangent: Array | None) -> Array:
        """Return an array that travels with a tangent; None, for a zero one, needs none."""
        return primal if tangent is None else wrap(primal, Dual(self, primal, tangent))

    def process(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Compute one level lower, and push the tangents through the operation."""
        primals, tangents = self.unwrap(args)
        out = bind(primitive, primals, params)
        begin, end = silence_of(out)
        token = begin()
        try:
            tangent = primitive.push(out, primals, tangents, params)
        finally:
            end(token)
        if primitive.multiple_results:
            parts = (None,) * len(out) if tangent is None else tangent
            return tuple(self.wrap(o, t if is_inexact(o.dtype.name) else None) for o, t in zip(out, parts, strict=True))
        return self.wrap(out, tangent if is_inexact(out.dtype.name) else None)

    def call(self, operation: HigherOrder, args: list[Any], params: Mapping[str, Any]) -> list[Any]:
        """Ask the operation."""
        return operation.in_forward(self, args, **params)

    def unwrap(self, args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Return the primals and the tangents (None: zero)."""
        primals: list[Any] = []
        tangents: list[Any] = []
        for arg in args:
            node = arg._node if type(arg) is Array else None
            if isinstance(node, Dual) and node.trace is self:
                primals.append(arg._value)
                tangents.append(node.tangent)
            else:
                # Reverse mode hands raw arrays down; rules run on Arrays here, and not every library mixes the two.
                primals.append(as_bound(arg))
                tangents.append(None)
        return primals, tangents
