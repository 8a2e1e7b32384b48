"""What an Array holds where there is no raw array to hold: under `vmap` and while a graph is captured.

Both have the shape and dtype that the function under the transform sees, so code that asks an Array for its shape needs
to know of neither. No kernel takes them, so an operation on them always goes to the transform.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from gradkit.backend import Backend, Device
    from gradkit.core.array import Array

__all__ = ["STAND_INS", "Abstract", "Batched"]


class Batched:
    """A whole array, one axis of which the function under `vmap` does not see.

    Attributes
    ----------
    array : Array
        The array with that axis.
    axis : int
        Which axis, not negative.
    """

    __slots__ = ("array", "axis")

    def __init__(self, array: Array, axis: int) -> None:
        self.array = array
        self.axis = axis

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one element of the batch."""
        shape = self.array.shape
        return shape[: self.axis] + shape[self.axis + 1 :]

    @property
    def size(self) -> int:
        """The number of elements in one element of the batch."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""
        return self.array.dtype


class Abstract:
    """Shape, dtype and place of an array that nothing has computed.

    Attributes
    ----------
    shape : tuple of int
        The shape.
    dtype : numpy.dtype
        The dtype.
    backend : Backend
        The backend that would hold it.
    device : Device
        Where it would be.
    """

    __slots__ = ("backend", "device", "dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], backend: Backend, device: Device) -> None:
        self.shape = shape
        self.dtype = dtype
        self.backend = backend
        self.device = device

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


STAND_INS = frozenset({Batched, Abstract})
