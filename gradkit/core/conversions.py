"""An Array in Python's hands: as a number, as text, as an array of NumPy or another library, copied and pickled."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from gradkit.backend import get_backend
from gradkit.core.above import above
from gradkit.core.array import Array, attach, is_followed, is_tangent, owner_of, raw, wrap
from gradkit.core.node import Leaf
from gradkit.core.printing import array_repr, describe, shaped
from gradkit.core.stand_in import STAND_INS, Abstract
from gradkit.core.values import host, values_of
from gradkit.errors import (
    ConcretizationTypeError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
)

__all__ = ["Conversions"]


@attach
class Conversions(Array):
    """The methods of `Array` that Python, NumPy and other libraries call."""

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return the elements as a NumPy array (``numpy.asarray(x)``); on a GPU this copies them to the host."""
        if is_followed(self):
            raise TracerArrayConversionError(
                f"The numpy.ndarray conversion method __array__() was called on traced array with shape "
                f"{shaped(self)}, inside of a function that a transform (grad, jvp, vmap, ...) runs, which would lose "
                f"its derivative. Use gradkit.numpy's functions instead of numpy's. For the values alone, on purpose: "
                f"numpy.asarray(x.detach()) or numpy.asarray(gradkit.lax.stop_gradient(x))."
            )
        return np.array(host(self, "the __array__() method"), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Run a NumPy ufunc: on Arrays it is gradkit's function of that name, so it stays on the tape."""
        return above.numpy().numpy_protocol.call_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run another function of NumPy's: on Arrays it is gradkit's function of that name."""
        return above.numpy().numpy_protocol.call_function(function, args, options)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Export the raw array through DLPack; one whose derivative is being recorded has to be detached first."""
        if self.requires_grad and not is_followed(self):
            raise ConcretizationTypeError(
                f"The __dlpack__() method was called on an array that requires gradients, {describe(self)}: the "
                f"library that takes it would leave the tape. Export the values alone, on purpose: x.detach()."
            )
        options = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        return values_of(self, "the __dlpack__() method").__dlpack__(
            **{name: value for name, value in options.items() if value is not None}
        )

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Return where the raw array is, as DLPack says it."""
        return cast("tuple[Any, int]", values_of(self, "the __dlpack_device__() method", False).__dlpack_device__())

    def item(self, *index: int) -> Any:
        """Return an element as a Python number: the only one, or that at an index (of the flattened array, if one)."""
        if index:
            return host(self, "the item() method").item(*index)
        if self.size != 1:
            raise TypeError(f"item: only arrays of one element can be converted to Python scalars, got {self.shape}")
        return host(self, "the item() method").item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return host(self, "the tolist() method").tolist()

    def tobytes(self, order: str = "C") -> bytes:
        """Return the memory of the elements."""
        return host(self, "the tobytes() method").tobytes(order)  # type: ignore[arg-type]

    def _scalar(self, asked: str) -> Any:
        if self._value.shape != ():
            raise TypeError(f"Only scalar arrays can be converted to Python scalars; got arr.ndim={self.ndim}")
        return host(self, asked).item()

    def __float__(self) -> float:
        return float(self._scalar("the `float` function"))

    def __int__(self) -> int:
        return int(self._scalar("the `int` function"))

    def __complex__(self) -> complex:
        return complex(self._scalar("the `complex` function"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"Only integer scalar arrays can be converted to an index, got dtype {self.dtype}")
        if type(raw(self)) in STAND_INS:
            raise TracerIntegerConversionError(
                f"The __index__() method was called on traced array with shape {shaped(self)}, which has no value to "
                f"be a Python integer: the function runs under vmap, or its graph is being captured. Use gradkit.lax's "
                f"functions with dynamic positions."
            )
        return int(self._scalar("the __index__() method"))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"The truth value of an array of shape {self.shape} is ambiguous. Use gradkit.numpy.any(x) or "
                f"gradkit.numpy.all(x)."
            )
        if is_tangent(self):
            raise TracerBoolConversionError(
                f"Attempted boolean conversion of traced array with shape {shaped(self)}, which is computed from the "
                f"tangents of a custom_jvp function's rule: the rule is recorded once, for all tangents, and has to be "
                f"linear in them."
            )
        if type(raw(self)) in STAND_INS:
            raise TracerBoolConversionError(
                f"Attempted boolean conversion of traced array with shape {shaped(self)}, which has no values: the "
                f"function runs under vmap, or its graph is being captured. Use gradkit.lax.cond, lax.while_loop or "
                f"gradkit.numpy.where instead of Python's if and while."
            )
        # A condition moves by no small step, so it may be asked for under a derivative, as in JAX.
        return bool(host(self, "the `bool` function", False).item())

    def __repr__(self) -> str:
        if type(self._value) is Abstract:
            weak = "~" if self._value.weak else ""
            return f"JitTracer({weak}{self.dtype.name}[{','.join(map(str, self.shape))}])"
        if type(raw(self)) in STAND_INS:
            return f"Traced<{describe(self)}>"
        text = array_repr(host(self, "the `repr` function", False))
        # The values are there to be read by people; as a number or an array it does not parse.
        return f"Traced<{text}>" if self._is_traced else text

    def __str__(self) -> str:
        return repr(self) if self._is_traced else str(host(self, "the `str` function"))

    def __format__(self, specification: str) -> str:
        if self.ndim == 0 and (specification or not self._is_traced):
            return format(self._scalar("the `format` function"), specification)
        return format(str(self), specification)

    @property
    def _is_traced(self) -> bool:
        """Whether it prints as an array of a transform, in progress or ended."""
        value: Any = self
        while type(value) is Array:
            if value._node is not None and value._node.trace.level != 0:
                return True
            value = value._value
        return False

    def __copy__(self) -> Array:
        return wrap(self._value, self._node)

    def __deepcopy__(self, memo: dict[int, Any]) -> Array:
        if is_followed(self):
            return wrap(self._value, self._node)
        value = self.data
        new = wrap(owner_of(value).xp.asarray(value, copy=True))
        if type(self._node) is Leaf:
            new.requires_grad = True
            cast(Leaf, new._node).is_parameter = self._node.is_parameter
        else:
            new._node = self._node  # a result of the tape's goes on being one
        return new

    def __reduce__(self) -> Any:
        is_parameter = type(self._node) is Leaf and self._node.is_parameter
        return _rebuild, (
            host(self, "the __reduce__() method (pickling)"),
            owner_of(raw(self)).name,
            self.requires_grad,
            is_parameter,
        )

    def __getstate__(self) -> Any:
        """Return what a copy in another process is made of, as pickling does."""
        return self.__reduce__()[1]


def _rebuild(array: np.ndarray[Any, Any], backend: str, requires_grad: bool, is_parameter: bool) -> Array:
    new = wrap(get_backend(backend).from_host(array))
    new.requires_grad = requires_grad
    if type(new._node) is Leaf:
        new._node.is_parameter = is_parameter
    return new
