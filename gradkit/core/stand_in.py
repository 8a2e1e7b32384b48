"""What an Array holds where there is no raw array to hold: under `vmap` and while a graph is captured.

Both have the shape and dtype that the function under the transform sees, so code that asks an Array for its shape needs
to know of neither. No kernel takes them, so an operation on them always goes to the transform.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

from gradkit.backend import UNUSABLE

if TYPE_CHECKING:
    import numpy as np

    from gradkit.backend import Backend, Device
    from gradkit.core.array import Array

__all__ = ["STAND_INS", "Abstract", "Batched", "Deleted"]


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
    weak : type or None
        The type of the Python number that it stands for, whose dtype gives way to that of the arrays it meets.
    """

    __slots__ = ("backend", "device", "dtype", "shape", "weak")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        backend: Backend,
        device: Device,
        weak: type | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.backend = backend
        self.device = device
        self.weak = weak

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


class Deleted:
    """What an Array holds when its memory was given away (a jitted function's donated argument): whoever asks is told.

    Attributes
    ----------
    shape : tuple of int
        The shape that the array had.
    former_dtype : numpy.dtype
        The dtype that it had.
    """

    __slots__ = ("former_dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.former_dtype = dtype

    def refuse(self) -> NoReturn:
        """Raise the error that says so."""
        raise RuntimeError(
            f"Array has been deleted with shape={self.former_dtype.name}[{','.join(map(str, self.shape))}]. It was "
            f"donated to a jitted function (donate_argnums): use what that returned, or do not donate it."
        )

    def __getattr__(self, name: str) -> Any:
        # The dtype first of all, by which most operations begin.
        self.refuse()


UNUSABLE[Deleted] = Deleted.refuse

STAND_INS = frozenset({Batched, Abstract})
