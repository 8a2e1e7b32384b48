"""Shape and dtype changes: each is linear, and its transpose is another of them."""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping, Sequence
from sys import _getframe
from typing import Any

from gradkit.backend import Backend, Device, get_backend
from gradkit.callers import OURS, whose
from gradkit.config import items
from gradkit.core import Array, Linear, bind
from gradkit.core.array import renewed
from gradkit.core.batching import aligned, along_axes, elementwise, same_shape, with_shape
from gradkit.core.namespace import lift, publish, unbroadcast
from gradkit.core.node import Node
from gradkit.core.operands import as_array, as_arrays, as_operand, cast, dtype_name, of_one_dtype, strong
from gradkit.core.printing import shaped
from gradkit.core.promotion import is_complex, requested_dtype, require_room_for
from gradkit.core.sharding import refuse_sharding
from gradkit.core.sizes import raveled, unraveled, whole_numbers
from gradkit.core.structured import View
from gradkit.errors import ShapeError
from gradkit.primitives.axes import axes_of, normalize_axes
from gradkit.primitives.parts import may_assign, note, note_reshaped, selection
from gradkit.transfers import Direction, crossing, explicitly, guards

__all__ = [
    "astype", "broadcast_to", "concat", "expand_dims", "matrix_transpose", "moveaxis", "permute_dims", "reshape",
    "squeeze", "stack", "to_device", "transfer",
]  # fmt: skip

Shape = tuple[int, ...]


def _batch_permute_dims(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    (x,), (batch,) = values, axes
    return bind(primitive, (x,), {"axes": (batch, *(a + (a >= batch) for a in params["axes"]))}), 0


def _batch_broadcast_to(primitive: Any, values: Any, axes: Any, size: int, params: Any) -> tuple[Any, int]:
    shape = params["shape"]
    return bind(primitive, (aligned(values[0], axes[0], len(shape)),), {"shape": (size, *shape)}), 0


def _inverse(axes: Shape) -> Shape:
    return tuple(axes.index(i) for i in range(len(axes)))


_reshape = View(
    "reshape",
    lambda xp, x, shape: xp.library.reshape(x, shape),
    (lambda xp, g, x, *, shape: xp.reshape(g, x.shape),),
    index=lambda at, of, *, shape: unraveled(raveled(at, shape), of),
    example=((2, 6), {"shape": (3, 1, 4)}),
    batch=with_shape,
    shape=lambda x, shape: shape,
    leaf=True,
)
_permute_dims = View(
    "permute_dims",
    lambda xp, x, axes: xp.library.permute_dims(x, axes),
    (lambda xp, g, _x, *, axes: xp.permute_dims(g, _inverse(axes)),),
    index=lambda at, of, *, axes: [at[i] for i in _inverse(axes)],
    example=((2, 3, 4), {"axes": (2, 0, 1)}),
    batch=_batch_permute_dims,
    shape=lambda x, axes: tuple(x.shape[a] for a in axes),
    leaf=True,
)
_broadcast_to = View(
    "broadcast_to",
    lambda xp, x, shape: xp.library.broadcast_to(x, shape),
    (lambda xp, g, x, *, shape: unbroadcast(xp, g, shape, x.shape),),
    index=lambda at, of, *, shape: [i if n > 1 else 0 for i, n in zip(at[len(at) - len(of) :], of, strict=True)],
    example=((3, 1), {"shape": (2, 3, 4)}),
    small_cotangent=True,
    batch=_batch_broadcast_to,
    shape=lambda x, shape: shape,
    leaf=True,
)
_astype = Linear(
    "astype",
    lambda xp, x, dtype: xp.library.astype(x, xp.backend.raw_dtype_named(dtype) if isinstance(dtype, str) else dtype),
    (lambda xp, g, x, *, dtype: xp.astype(g if is_complex(x.dtype) else _real_part(xp, g), x.dtype),),
    small_cotangent=True,
    batch=elementwise,
    shape=same_shape,
    dtype=lambda x, dtype: dtype,
    leaf=True,
)
_astype_exact = Linear(
    "astype_exact",
    _astype.forward,
    (None,),
    batch=elementwise,
    shape=same_shape,
    dtype=lambda x, dtype: dtype,
    leaf=True,
)
_astype.keeps_weakness = _astype_exact.keeps_weakness = False


class Transfer(Linear):
    """The copy to another device, which may be one of another backend."""

    def place(self, args: Sequence[Any], params: Mapping[str, Any]) -> tuple[Backend, Device]:
        """Return where the result is."""
        return get_backend(params["target"].backend), params["target"]


def _note_transfer(x: Any, source: Device, target: Device) -> None:
    """Tell the guard of a transfer that was asked for."""
    ends = [get_backend(device.backend).is_on_host(device.raw) for device in (source, target)]
    ways: dict[tuple[bool, ...], Direction] = {
        (True, False): "host_to_device", (False, True): "device_to_host", (False, False): "device_to_device",
    }  # fmt: skip
    if (way := ways.get(tuple(ends))) is not None:
        with explicitly():
            crossing(way, f"{shaped(x)} on {source} to {target}", "a copy to a device")


def _transfer_text(xp: Any, x: Any, *, source: Device, target: Device) -> Any:
    if guards.is_on and source != target:
        _note_transfer(x, source, target)
    if source.backend == target.backend:
        return xp.backend.to_device(x, target.raw)
    return get_backend(target.backend).from_host(xp.backend.to_host(x), target.raw)


transfer = Transfer(
    "transfer",
    _transfer_text,
    (lambda xp, g, _x, *, source, target: xp.transfer(g, source=target, target=source),),
    batch=elementwise,
    shape=same_shape,
    shares_memory=True,  # from one backend of the host to another
    leaf=True,
)
"""Copy an Array from the device where it is to another one."""


class Concatenate(Linear):
    """Joining along an axis: the transpose cuts the cotangent where the pieces met."""

    jointly = True

    def pull(self, cotangent: Any, node: Node, saved: Sequence[Any]) -> list[tuple[Node, Any]]:
        """Give each piece its slice of the cotangent."""
        xp, cotangent, _ = lift(cotangent, ())
        if cotangent.shape != node.shape:
            cotangent = xp.broadcast_to(cotangent, node.shape)
        axis, start = node.params["axis"], 0
        shares = []
        for size, parent in zip(node.params["sizes"], node.parents, strict=True):
            if parent is not None:
                shares.append((parent, cotangent[(slice(None),) * axis + (slice(start, start + size), ...)]))
            start += size
        return shares


_concatenate = Concatenate(
    "concatenate",
    lambda xp, *xs, axis, sizes: xp.concat(xs, axis=axis),
    (lambda xp, g, _x, **_: g,),  # `pull` cuts the cotangent
    batch=along_axes,
    shape=lambda *xs, axis, sizes: (*xs[0].shape[:axis], builtins.sum(sizes), *xs[0].shape[axis + 1 :]),
    leaf=True,
)


def _real_part(xp: Any, x: Any) -> Any:
    return xp.real(x) if is_complex(x.dtype) else x


def reshape(
    a: Any, shape: int | Shape, order: str = "C", *, copy: bool | None = None, out_sharding: None = None
) -> Array:
    """Give the elements another shape, in the same order.

    Parameters
    ----------
    a : array
        Of any shape.
    shape : int or tuple of int
        The new shape; one size may be -1, for what is left.
    order : {"C", "F"}
        Whether elements are taken and put down row by row, or column by column.
    copy : bool, optional
        Ignored: Arrays are immutable, so it makes no difference whether memory is shared. (In code that may assign, the
        result is a part of `a`, unless it is True.)

    Raises
    ------
    ShapeError
        If the number of elements differs.
    """
    if out_sharding is not None:
        refuse_sharding(out_sharding, "reshape")
    array = a if type(a) is Array else as_array(a, "reshape")
    sizes = whole_numbers(shape)
    present = array._value.shape
    count = math.prod(present)
    if sizes.count(-1) == 1 and (known := -math.prod(sizes)) > 0:
        place = sizes.index(-1)
        sizes = (*sizes[:place], count // known, *sizes[place + 1 :])
    if math.prod(sizes) != count or min(sizes, default=0) < 0:
        raise ShapeError(f"cannot reshape array of shape {tuple(present)} (size {count}) into shape {shape}")
    if order == "F":
        return permute_dims(bind(_reshape, (permute_dims(array),), {"shape": sizes[::-1]}))
    if order not in ("C", "A"):
        raise ValueError(f"reshape: order must be 'C' or 'F', got {order!r}")
    result = renewed(array) if sizes == present else bind(_reshape, (array,), {"shape": sizes})
    by = whose[_getframe(1).f_globals.get("__name__", "")]
    if (by or items.on) and by is not OURS and not copy and may_assign(_getframe(1)):
        note_reshaped(result, array)
    return result


def permute_dims(a: Any, axes: Sequence[int] | None = None) -> Array:
    """Reorder the axes: axis i of the result is axis ``axes[i]`` of `a`; None reverses them."""
    array = as_array(a, "permute_dims")
    count = array.ndim
    order = tuple(range(count))[::-1] if axes is None else whole_numbers(axes)
    if min(order, default=0) < 0 or max(order, default=0) >= count:
        order = tuple([a % max(count, 1) for a in order])
    if axes is not None and sorted(order) != list(range(count)):
        raise ValueError(f"permute_dims: axes {axes} is no permutation of the {array.ndim} axes of x {array.shape}")
    result = bind(_permute_dims, (array,), {"axes": order})
    by = whose[_getframe(1).f_globals.get("__name__", "")]
    if (by or items.on) and by is not OURS and may_assign(_getframe(1)):
        note(result, array, lambda x: permute_dims(x, order), lambda _, part: permute_dims(part, _inverse(order)))
    return result


@selection
def moveaxis(a: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Move axes to other positions; the rest keep their order.

    Parameters
    ----------
    a : array
        Of any shape.
    source, destination : int or tuple of int
        Which axes, and where each goes.
    """
    array = as_array(a, "moveaxis")
    sources, destinations = axes_of(source, array.ndim, "moveaxis"), axes_of(destination, array.ndim, "moveaxis")
    if len(sources) != len(destinations):
        raise ValueError(f"moveaxis: got {len(sources)} source axes {source} and {len(destinations)} destinations")
    order = [a for a in range(array.ndim) if a not in sources]
    for to, a in sorted(zip(destinations, sources, strict=True)):
        order.insert(to, a)
    return permute_dims(array, tuple(order))


@selection
def matrix_transpose(x: Any, /) -> Array:
    """Exchange the last two axes."""
    array = as_array(x, "matrix_transpose")
    if array.ndim < 2:
        raise ShapeError(f"matrix_transpose: x must have at least 2 dimensions, got shape {array.shape}")
    return permute_dims(array, (*range(array.ndim - 2), array.ndim - 1, array.ndim - 2))


def broadcast_to(array: Any, shape: int | Shape, *, out_sharding: None = None) -> Array:
    """Repeat an array along new axes and along axes of size 1, without copying where the backend can."""
    if out_sharding is not None:
        refuse_sharding(out_sharding, "broadcast_to")
    array = as_array(array, "broadcast_to")
    sizes = whole_numbers(shape)
    present: Shape = array.shape
    if sizes == present:
        return renewed(array)
    lead = len(sizes) - len(present)
    fits = lead >= 0
    for n, size in zip(present, sizes[max(lead, 0) :], strict=False):
        fits = fits and n in (1, size)
    if not fits:
        raise ShapeError(f"broadcast_to: x of shape {present} does not broadcast to {sizes}")
    return bind(_broadcast_to, (array,), {"shape": sizes})


@selection
def expand_dims(a: Any, axis: int | Sequence[int]) -> Array:
    """Insert axes of size 1 at the positions `axis` of the result."""
    array = as_array(a, "expand_dims")
    if axis is None:
        raise TypeError("expand_dims: axis must be an int or a sequence of ints, got None")
    axis = whole_numbers(axis)
    count = len(axis)
    sizes = list(array.shape)
    for position in normalize_axes(axis, array.ndim + count, "expand_dims"):
        sizes.insert(position, 1)
    return bind(_reshape, (array,), {"shape": tuple(sizes)})


@selection
def squeeze(a: Any, axis: int | Sequence[int] | None = None) -> Array:
    """Remove axes of size 1; None removes all of them."""
    array = as_array(a, "squeeze")
    axes = (
        tuple([a for a, size in enumerate(array.shape) if size == 1])
        if axis is None
        else normalize_axes(axis, array.ndim, "squeeze")
    )
    sizes = list(array.shape)
    for a in reversed(axes):
        if sizes.pop(a) != 1:
            raise ValueError(f"squeeze: axis {a} of x {array.shape} has size {array.shape[a]}, expected 1")
    return bind(_reshape, (array,), {"shape": tuple(sizes)})


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Array:
    """Join arrays along an axis; None joins them flattened.

    Raises
    ------
    ValueError
        If there are no arrays.
    ShapeError
        If they differ in another axis than `axis`; the message has all shapes.
    """
    parts = as_arrays(arrays, "concat")
    if not parts:
        raise ValueError("concat: need at least one array to join, got none")
    if axis is None:
        parts = [reshape(part, -1) for part in parts]
        axis = 0
    (axis,) = normalize_axes(axis, parts[0].ndim, "concat")
    shapes = [part.shape for part in parts]
    # Of another number of axes, one is of another rest.
    if len({(len(shape), shape[:axis], shape[axis + 1 :]) for shape in shapes}) != 1:
        raise ShapeError(
            f"concat: arrays must have equal shapes but for axis {axis}, got {', '.join(map(str, shapes))}"
        )
    return bind(_concatenate, of_one_dtype(parts), {"axis": axis, "sizes": tuple([shape[axis] for shape in shapes])})


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Array:
    """Join arrays of one shape along a new axis at position `axis`."""
    parts = as_arrays(arrays, "stack")
    if len({part.shape for part in parts}) > 1:
        raise ShapeError(f"stack: arrays must have one shape, got {', '.join(str(part.shape) for part in parts)}")
    if not parts:
        raise ValueError("stack: need at least one array to join, got none")
    shape = parts[0].shape
    (axis,) = normalize_axes(axis, len(shape) + 1, "stack")
    new = {"shape": (*shape[:axis], 1, *shape[axis:])}
    return concat([bind(_reshape, (part,), new) for part in parts], axis=axis)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Array:
    """Convert to another dtype.

    Parameters
    ----------
    x : array
        Of any shape.
    dtype : dtype
        A NumPy dtype, its name, or what it is made of (`gradkit.numpy.float32`).
    copy : bool
        Ignored: Arrays are immutable.
    device : Device, optional
        Where the result should be.
    """
    array = as_array(x, "astype")
    try:
        name = requested_dtype(dtype)
    except TypeError:
        name = str(dtype).rpartition(".")[2]
    require_room_for(name, x, "astype")
    array = cast(array, name) if name != dtype_name(array) else renewed(strong(array))
    return array if device is None else to_device(array, device)


def to_device(x: Any, device: Device, /, *, stream: Any = None) -> Array:
    """Copy an array to another device, of the same or another backend. The gradient travels back."""
    array = as_array(as_operand(x, "to_device"), "to_device")
    source = array.device
    if source == device:
        return array
    return transfer(array, source=source, target=device)


publish(globals(), __all__)
