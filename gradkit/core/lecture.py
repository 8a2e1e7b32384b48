"""The lecture's face of an Array: `data`, `requires_grad`, `grad`, `backward` and `detach`."""

from __future__ import annotations

import math
import os
import threading
from typing import Any, cast

from gradkit.backend import NARROW_SIZES, backend_of
from gradkit.core.above import above
from gradkit.core.array import Array, attach, is_followed, is_tangent, lie_together, owner_of, raw, wrap
from gradkit.core.node import Leaf, changes
from gradkit.core.printing import describe
from gradkit.core.promotion import is_inexact
from gradkit.core.reverse import TAPE, ReverseTrace, total
from gradkit.core.stand_in import STAND_INS, Batched
from gradkit.core.values import values_of
from gradkit.errors import ShapeError

__all__ = ["LectureFace"]

_accumulating = threading.Lock()  # two threads may find gradients of one parameter
_ZERO = object()  # what `x.grad = 0.0` stores: nothing to add to


@attach
class LectureFace(Array):
    """The methods of `Array` that the tape knows."""

    __slots__ = ()

    @property
    def data(self) -> Any:
        """The raw array. It can be assigned and changed in place: ``p.data += -0.05 * p.grad``.

        Change it after `backward`, not between the operations that read it and the backward pass through them: where
        their derivatives need the old values, ``x.data += ...`` in between makes `backward` raise RuntimeError, as
        PyTorch does. Only the assignment shows that memory was changed; ``x.data[0] = 5.0``, ``out=x.data``, and
        changes of a NumPy array that an Array wraps go unseen, unless `gradkit.debug_changes` compares checksums.
        ``x.data = x.data + y`` gives the array new memory and is always safe. ``x.data = x.data`` counts as a change as
        well, since that nothing differs is known by checksums alone.

        An array that a transform (`grad`, `jvp`, ...) follows does not give it, since its derivative would be lost:
        ``x.detach().data`` does.
        """
        value, node = self._value, self._node
        if type(value) is Array or type(value) in STAND_INS or (node is not None and node.trace.level):
            return values_of(self, "x.data")
        proper = owner_of(value).asarray(value)
        if proper is not value:
            self._value = proper
        return proper

    @data.setter
    def data(self, value: Any) -> None:
        node = self._node
        if value is self._value:  # `x.data += y` has changed it, and now assigns it
            changes.note(value)
            if node is None or (node.primitive is None and not node.trace.level):
                return
        if node is not None and node.trace.level:
            raise ValueError(
                "data: this array is an argument or a result of the function that a transform (grad, ...) runs, so "
                "its data cannot be assigned. Compute a new array: jnp.where(condition, y, x), ..."
            )
        if node is not None and node.primitive is not None:
            raise ValueError(
                "data: this array is the result of a recorded operation, so its data cannot be assigned. "
                "Assign to an input of the computation, or to a copy: x.detach()."
            )
        new = value.data if type(value) is Array else value
        old = self.data
        if new is old:
            return
        owner = backend_of(new)
        if owner is None:
            new, owner = owner_of(old).xp.asarray(new, dtype=old.dtype), owner_of(old)
        if new.shape != old.shape or new.dtype != old.dtype or owner is not owner_of(old):
            raise ShapeError(
                f"data: expected an array like the one it replaces, {describe(old)}, got {describe(new)}. "
                f"Make a new array instead of assigning, or convert with astype or device_put."
            )
        self._value = owner.admit(new, "data")

    @property
    def requires_grad(self) -> bool:
        """Whether the tape records what is computed from this array. It can be set on inputs; False drops `grad`."""
        value: Any = self
        while type(value) is Array:
            if value._node is not None and value._node.trace.level == 0:
                return True
            value = value._value
            if type(value) is Batched:
                value = value.array
        return False

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        node = self._node
        if flag == self.requires_grad:
            return
        if type(node) is Leaf and node.trace.level == 0:
            # What was recorded goes on from the node, which its results hold.
            self._node = None
            return
        if node is not None:
            raise ValueError(
                "requires_grad: it can be changed on inputs alone, and this array is computed under a transform or "
                "on the tape. x.detach() gives an input with the same values."
            )
        backend = owner_of(self._value)
        if not is_inexact(backend.dtype_name(self._value)):
            raise TypeError(
                f"requires_grad: only arrays of floating or complex dtype have gradients, this one is "
                f"{describe(self._value)}. Convert it first: x.astype('float32')."
            )
        self._node = Leaf(TAPE, self._value.shape, self._value.dtype)

    @property
    def grad(self) -> Any:
        """The gradient that `backward` accumulated here, or None: a raw array, as `data` is.

        ``p.grad = 0.0`` or ``None`` resets it. (It is an Array where the pass ran under a transform.)
        """
        node = self._node
        if type(node) is not Leaf or node.grad is None:
            return None
        if node.grad is _ZERO:
            backend = owner_of(self._value)
            return backend.xp.zeros(node.shape, dtype=node.dtype, device=backend.device_of(self._value))
        return node.grad if type(node.grad) is Array else owner_of(node.grad).asarray(node.grad)

    @grad.setter
    def grad(self, value: Any) -> None:
        node = self._node
        if type(node) is not Leaf or node.trace.level != 0:
            raise ValueError(
                "grad: this array is no input of the tape, so it holds no gradient. "
                "Set x.requires_grad = True on an array that no operation computed."
            )
        if value is None:
            node.grad = None
        elif isinstance(value, int | float) and value == 0:
            node.grad = _ZERO
        else:
            value = value if is_followed(value) else raw(value)
            if getattr(value, "shape", None) != node.shape:
                raise ShapeError(f"grad: expected 0.0, None or an array of shape {tuple(node.shape)}, got {value!r}")
            node.grad = value

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this array to the ``.grad`` of every input it was computed from.

        Parameters
        ----------
        gradient : array, optional
            The cotangent, of this array's shape. It may be left out for an array of one element, where it is 1.
        retain_graph : bool
            Keep the recorded values, so that `backward` can be called again on the same graph.

        Raises
        ------
        TypeError
            If this array has more than one element and no `gradient` is given, or `gradient` has another shape.
        RuntimeError
            If nothing was recorded, or the graph was walked before without ``retain_graph=True``.

        Examples
        --------
        >>> import gradkit.numpy as jnp
        >>> x = jnp.asarray([1.0, 2.0, 3.0])
        >>> x.requires_grad = True
        >>> (x ** 2).sum().backward()
        >>> x.grad
        array([2., 4., 6.], dtype=float32)
        """
        node = self._node
        if node is None:
            raise RuntimeError(
                "backward: nothing was recorded for this array. It depends on no array with requires_grad=True, or "
                "was computed inside no_grad() or from the results of a pure update (then: model.requires_grad_())."
            )
        if node.trace.level:
            raise RuntimeError(
                "backward: this array is being differentiated by a transform (grad, vjp, ...), which needs no "
                "backward(). Return it from the function instead."
            )
        trace = cast(ReverseTrace, node.trace)
        gradients = trace.backward([(node, _seed(self._value, gradient))], retain_graph)
        with _accumulating:
            for leaf, found in gradients.items():
                present = cast(Leaf, leaf).grad
                added = found if present is None or present is _ZERO else total(present, found)
                cast(Leaf, leaf).grad = _kept(added)

    def detach(self) -> Array:
        """Return an array with the same memory that no tape or transform follows.

        It is the way to leave a transform with values on purpose. Under `vmap` it is still one element of the batch.
        """
        if type(raw(self)) not in STAND_INS and not is_tangent(self):
            return wrap(values_of(self, "detach", False))
        return above.stop_gradient(self)


def _kept(gradient: Any) -> Any:
    """Return a gradient as the tape keeps it: raw, also of a dtype that libraries do not add, where it has values."""
    if type(gradient) is Array and gradient._node is None and NARROW_SIZES.get(gradient.dtype.name) == 1:
        return gradient if type(gradient._value) in STAND_INS else gradient._value
    return gradient


def _seed(value: Any, gradient: Any) -> Any:
    """Return the cotangent that a backward pass starts from, with memory of its own."""
    backend = owner_of(value)
    if gradient is None:
        if math.prod(value.shape) != 1:
            raise TypeError(
                f"backward: the gradient can be left out for an array of one element only; this one has shape "
                f"{tuple(value.shape)}. Reduce it first (x.sum()), or pass gradient= of that shape."
            )
        return backend.one_like(value)
    plain = raw(gradient)
    fits = backend_of(plain) is backend and plain.shape == value.shape and plain.dtype == value.dtype
    if not fits or not lie_together(wrap(plain), wrap(value)):
        raise TypeError(f"backward: gradient must be {describe(value)} like the array itself, got {describe(gradient)}")
    # What a transform follows stays what it is: the result depends on it.
    return gradient if is_followed(gradient) else backend.xp.asarray(plain, copy=True)


def _unlocked() -> None:
    """Let a child that was made while another thread held the lock go on: that thread is not in it."""
    global _accumulating
    _accumulating = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
