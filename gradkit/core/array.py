"""`Array`: a raw array of some backend, and what the transforms in progress know about it.

Here are the two slots, the facts of an array, and what takes Arrays apart. The rest of the class is attached by the
files that own it: Python's conversions (`core/conversions.py`), the lecture's face (`core/lecture.py`), and the
operators and methods of the array API standard (`gradkit.primitives`), where each operation is declared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from gradkit.backend import TRACED, Backend, Device, backend_of
from gradkit.core.above import above
from gradkit.core.node import Node
from gradkit.core.promotion import PYTHON_NUMBERS, is_inexact, is_of_numbers
from gradkit.core.stand_in import STAND_INS, Abstract, Batched, Deleted

if TYPE_CHECKING:
    import numpy as np

    from gradkit.core.attached import Attached
else:
    Attached = object

__all__ = [
    "Array", "as_wrapped", "attach", "backend_of_array", "belongs_to_a_call", "carries_derivative",
    "device_of_array", "dtype_as_stored", "innermost", "is_followed", "is_followed_outside", "is_tangent",
    "is_unseen", "lie_together", "owner_of", "place_of_array", "raw", "renewed", "weak_type", "wrap",
]  # fmt: skip

_new = object.__new__


class Array(Attached):
    """An array on some backend, as the transforms see it.

    Parameters
    ----------
    value : raw array
        An array of a backend's library (`numpy.ndarray`, `cupy.ndarray`, ...). It is held, never copied.

    Raises
    ------
    TypeError
        If `value` is no backend's array of numbers. `gradkit.numpy.asarray` makes Arrays from lists and numbers.

    Examples
    --------
    >>> import numpy, gradkit
    >>> x = gradkit.Array(numpy.arange(3.0))
    >>> x * x
    Array([0., 1., 4.], dtype=float64)
    """

    __slots__ = ("__weakref__", "_node", "_place", "_value")

    _node: Node | None
    _place: Any  # in a memory that others share (`primitives.parts`); most Arrays have none, and nothing sets it
    _value: Any

    # `__eq__` is elementwise, as in NumPy and JAX, so an Array is no dictionary key.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        if type(value) is Array:
            value = value.data
        backend = backend_of(value)
        if backend is None:
            raise TypeError(
                f"Array(value): expected an array of a backend's library, got {type(value).__name__}. "
                f"gradkit.numpy.asarray(...) makes an Array from lists, numbers and NumPy arrays."
            )
        if not is_of_numbers(backend.dtype_name(value)):
            raise TypeError(
                f"Array(value): expected an array of numbers, got dtype {backend.dtype_name(value)}. Convert it first: "
                f"value.astype('float32')."
            )
        self._value = backend.admit(value, "Array(value)")
        self._node = None

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return tuple(self._value.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._value.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self._value.shape)

    @property
    def itemsize(self) -> int:
        """The memory that one element takes, in bytes."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The memory that the elements take, in bytes."""
        return self.size * self.dtype.itemsize

    @property
    def dtype(self) -> np.dtype[Any]:
        """The elements' type: NumPy's dtype object on every backend."""
        value = self._value
        if type(value) is Array or type(value) in STAND_INS:
            return cast("np.dtype[Any]", value.dtype)
        if type(value) is Deleted:
            return value.former_dtype
        return owner_of(value).dtype_of(value)

    @property
    def device(self) -> Device:
        """Where the elements are."""
        return device_of_array(self)

    def devices(self) -> set[Device]:
        """Return the devices that hold this array: one."""
        return {self.device}

    def block_until_ready(self) -> Array:
        """Wait until the elements have been computed, and return this array."""
        value = innermost(self)
        if type(value) is not Abstract:
            owner_of(value).wait(value)
        return self

    def is_deleted(self) -> bool:
        """Return whether a jitted function got this array as a donated argument, and with it its memory."""
        return type(self._value) is Deleted

    def delete(self) -> None:
        """Give the memory back: whoever uses this array from now on gets an error."""
        if type(self._value) is not Deleted:
            self._value = Deleted(self.shape, self.dtype)
            self._node = None

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """Return `gradkit.numpy`."""
        return above.numpy()

    def __len__(self) -> int:
        if not self._value.shape:
            raise TypeError("len() of unsized object: this array has no axes")
        return int(self._value.shape[0])


def attach(part: type[Array]) -> type[Array]:
    """Give Arrays the methods and properties of a class that derives from `Array` in the file that owns them."""
    for name, member in vars(part).items():
        if callable(member) or isinstance(member, property):
            setattr(Array, name, member)
            if callable(member):
                member.__qualname__ = f"Array.{name}"
    return part


def wrap(value: Any, node: Node | None = None) -> Array:
    """Make an Array without looking at what it wraps: the core's own way, fast."""
    array: Array = _new(Array)
    array._value = value
    array._node = node
    return array


def renewed(array: Array) -> Array:
    """Return another object of the same value and history, so that items can be assigned to one without the other."""
    return wrap(array._value, array._node)


def as_wrapped(value: Any) -> Array:
    """Return a raw array as an Array, and an Array as it is."""
    return value if type(value) is Array else wrap(value)


def raw(value: Any) -> Any:
    """Return the raw array (or stand-in) inside `value`, through every level; anything but an Array as it is."""
    while type(value) is Array:
        value = value._value
    return value


def innermost(value: Any) -> Any:
    """Return the raw array at the bottom, through batches as well; an `Abstract` where a graph is captured."""
    while True:
        if type(value) is Array:
            value = value._value
        elif type(value) is Batched:
            value = value.array
        else:
            return value


def weak_type(value: Any) -> type | None:
    """Return the type of a Python number, or of that which an Array without a value stands for; else None."""
    if type(value) is not Array:
        return type(value) if type(value) in PYTHON_NUMBERS else None
    bottom = innermost(value)
    return bottom.weak if type(bottom) is Abstract else None


def dtype_as_stored(value: Any) -> Any:
    """Return the dtype of the raw array inside `value`, as its backend says it: what a node holds."""
    return value.dtype if type(value) is not Array else innermost(value).dtype


def is_followed(value: Any) -> bool:
    """Return whether a transform in progress follows an Array, at any level; the tape does not count."""
    while type(value) is Array:
        node = value._node
        if node is not None and node.trace.level:
            return True
        value = value._value
    return False


def is_followed_outside(value: Any) -> bool:
    """Return whether a transform of the library's own, around gradkit's, follows what is inside an Array."""
    return TRACED[type(innermost(value))]


def is_unseen(value: Any) -> bool:
    """Return whether an Array has no values that anybody could look at, here or later."""
    while type(value) is Array:
        value = value._value
    return type(value) in STAND_INS or TRACED[type(value)]


def belongs_to_a_call(value: Any) -> bool:
    """Return whether a transform in progress follows an Array, gradkit's or the library's: nobody may keep it."""
    return is_followed(value) or is_followed_outside(value)


def is_tangent(value: Any) -> bool:
    """Return whether an Array is computed from the tangents of a rule that is being recorded, which have no values."""
    while type(value) is Array:
        node = value._node
        if node is not None and node.trace.is_linear:
            return True
        value = value._value
        if type(value) is Batched:
            value = value.array
    return False


def carries_derivative(value: Array) -> bool:
    """Return whether a derivative would be lost if the values of an Array were read: whole numbers have none."""
    return is_followed(value) and (is_inexact(value.dtype.name) or is_tangent(value))


def backend_of_array(value: Array) -> Backend:
    """Return the backend that holds an Array's elements."""
    bottom = innermost(value)
    return bottom.backend if type(bottom) is Abstract else owner_of(bottom)


def place_of_array(value: Array) -> tuple[Backend, Any]:
    """Return the backend that holds an Array's elements, and what it takes as ``device=`` for another beside it."""
    bottom = innermost(value)
    if type(bottom) is Abstract:
        return bottom.backend, bottom.device.raw
    backend = owner_of(bottom)
    return backend, backend.device_of(bottom)


def lie_together(a: Array, b: Array) -> bool:
    """Return whether two arrays are at one place; of what the library itself traces nobody knows better."""
    if is_followed_outside(a) or is_followed_outside(b):
        return backend_of_array(a) is backend_of_array(b)
    return place_of_array(a) == place_of_array(b)


def device_of_array(value: Array) -> Device:
    """Return where an Array's elements are, or would be."""
    bottom = innermost(value)
    return bottom.device if type(bottom) is Abstract else owner_of(bottom).device(bottom)


def owner_of(value: Any) -> Backend:
    """Return the backend of a raw array."""
    backend = backend_of(value)
    if backend is None:
        raise TypeError(f"{type(value).__name__} is no array of a known backend")
    return backend
