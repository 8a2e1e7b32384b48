"""`Array`: a raw array of some backend, and what the transforms in progress know about it.

The operators and the methods of the array API standard are attached by `gradkit.primitives`, where each operation
is declared; here are the two slots, the lecture's face (`data`, `grad`, `backward`) and Python's conversions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradkit.backend import Backend, Device, backend_of, get_backend
from gradkit.config import config
from gradkit.core.above import above
from gradkit.core.node import Leaf, Node, changes
from gradkit.core.printing import array_repr
from gradkit.core.promotion import is_inexact, is_of_numbers
from gradkit.core.stand_in import STAND_INS, Abstract, Batched
from gradkit.errors import (
    ConcretizationTypeError,
    ShapeError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
)

if TYPE_CHECKING:
    from gradkit.core.operator_types import Operators
    from gradkit.core.reverse import ReverseTrace
else:
    Operators = object  # they are attached when the operations are declared

__all__ = [
    "Array",
    "as_array",
    "backend_of_array",
    "carries_derivative",
    "device_of_array",
    "dtype_as_stored",
    "innermost",
    "is_followed",
    "place_of_array",
    "raw",
    "renewed",
    "total",
    "values_of",
    "wrap",
]

_new = object.__new__
_accumulating = threading.Lock()  # two threads may find gradients of one parameter
_ZERO = object()  # what `x.grad = 0.0` stores: nothing to add to


class Array(Operators):
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

    __slots__ = ("__weakref__", "_node", "_value")

    _node: Node | None
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
        self._value = value
        self._node = None

    # The lecture's face

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
        proper = _backend(value).asarray(value)
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
            new, owner = _backend(old).xp.asarray(new, dtype=old.dtype), _backend(old)
        if new.shape != old.shape or new.dtype != old.dtype or owner is not _backend(old):
            raise ShapeError(
                f"data: expected an array like the one it replaces, {describe(old)}, got {describe(new)}. "
                f"Make a new array instead of assigning, or convert with astype or device_put."
            )
        self._value = new

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
        backend = _backend(self._value)
        if self._value.dtype not in backend.inexact:
            raise TypeError(
                f"requires_grad: only arrays of floating or complex dtype have gradients, this one is "
                f"{describe(self._value)}. Convert it first: x.astype('float32')."
            )
        self._node = Leaf(above.tape, self._value.shape, self._value.dtype)

    @property
    def grad(self) -> Any:
        """The gradient that `backward` accumulated here, or None: a raw array, as `data` is.

        ``p.grad = 0.0`` or ``None`` resets it. (It is an Array where the pass ran under a transform.)
        """
        node = self._node
        if type(node) is not Leaf or node.grad is None:
            return None
        if node.grad is _ZERO:
            backend = _backend(self._value)
            return backend.xp.zeros(node.shape, dtype=node.dtype, device=backend.device_of(self._value))
        return node.grad if type(node.grad) is Array else _backend(node.grad).asarray(node.grad)

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
                raise ShapeError(f"grad: expected 0.0, None or an array of shape {node.shape}, got {value!r}")
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
        trace = cast("ReverseTrace", node.trace)
        gradients = trace.backward([(node, _seed(self._value, gradient))], retain_graph)
        with _accumulating:
            for leaf, found in gradients.items():
                present = cast(Leaf, leaf).grad
                cast(Leaf, leaf).grad = found if present is None or present is _ZERO else total(present, found)

    def detach(self) -> Array:
        """Return an array with the same memory that no tape or transform follows.

        It is the way to leave a transform with values on purpose. Under `vmap` it is still one element of the batch.
        """
        if type(raw(self)) not in STAND_INS:
            return wrap(values_of(self, "detach", False))
        return above.stop_gradient(self)

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self._value.shape  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._value.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self._value.size)

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
        return _backend(value).dtype_of(value)

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
            _backend(value).wait(value)
        return self

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """Return `gradkit.numpy`."""
        return above.numpy()

    # Python's conversions

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Return the elements as a NumPy array (``numpy.asarray(x)``); on a GPU this copies them to the host."""
        if is_followed(self):
            raise TracerArrayConversionError(
                f"The numpy.ndarray conversion method __array__() was called on traced array with shape "
                f"{shaped(self)}, inside of a function that a transform (grad, jvp, vmap, ...) runs, which would lose "
                f"its derivative. Use gradkit.numpy's functions instead of numpy's. For the values alone, on purpose: "
                f"numpy.asarray(x.detach()) or numpy.asarray(gradkit.lax.stop_gradient(x))."
            )
        return np.array(host(self), dtype=dtype, copy=copy)

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
        if type(raw(self)) in STAND_INS:
            raise TracerBoolConversionError(
                f"Attempted boolean conversion of traced array with shape {shaped(self)}, which has no values: the "
                f"function runs under vmap, or its graph is being captured. Use gradkit.lax.cond, lax.while_loop or "
                f"gradkit.numpy.where instead of Python's if and while."
            )
        # A condition moves by no small step, so it may be asked for under a derivative, as in JAX.
        return bool(host(self, "the `bool` function", False).item())

    def __len__(self) -> int:
        if not self._value.shape:
            raise TypeError("len() of unsized object: this array has no axes")
        return int(self._value.shape[0])

    def __iter__(self) -> Iterator[Array]:
        if not self._value.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __setitem__(self, index: Any, value: Any) -> None:
        if not config.gradkit_item_assignment:
            instead = ""
            if type(index) is int and type(value) in (int, float):
                instead = f" Here: x = x.at[{index}].set({value})."
            raise TypeError(
                "gradkit Arrays are immutable and do not support in-place item assignment. Instead of x[idx] = y, use "
                f"x = x.at[idx].set(y) or another .at[] method.{instead} (An input's raw array can be changed: "
                f"x.data[idx] = y. For code by others that assigns: with gradkit.item_assignment(): ...)"
            )
        if type(self._node) is Leaf:
            raise TypeError(
                "x[idx] = y: x is what a derivative is taken with respect to, so it cannot be assigned to. Assign to a "
                "copy: gradkit.numpy.asarray(x, copy=True)."
            )
        if above.is_argument(self):
            raise TypeError(
                "x[idx] = y: x is an argument of the function that a transform (grad, vmap, jit, ...) or a loop runs, "
                "so it cannot be assigned to: whoever else holds it would see it changed. Assign to a copy: "
                "gradkit.numpy.asarray(x, copy=True); array_api_extra's at makes one with copy=True."
            )
        new = self.at[index].set(value)
        self._value, self._node = new._value, new._node

    def __repr__(self) -> str:
        if type(raw(self)) in STAND_INS:
            return f"Traced<{describe(self)}>"
        text = array_repr(host(self, "the `repr` function", False))
        # The values are there to be read by people; as a number or an array it does not parse.
        return f"Traced<{text}>" if self._is_traced else text

    def __str__(self) -> str:
        return repr(self) if self._is_traced else str(host(self))

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
        new = wrap(_backend(value).xp.asarray(value, copy=True))
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
            _backend(raw(self)).name,
            self.requires_grad,
            is_parameter,
        )

    def __getstate__(self) -> Any:
        """Return what a copy in another process is made of, as pickling does."""
        return self.__reduce__()[1]


def wrap(value: Any, node: Node | None = None) -> Array:
    """Make an Array without looking at what it wraps: the core's own way, fast."""
    array: Array = _new(Array)
    array._value = value
    array._node = node
    return array


def renewed(array: Array) -> Array:
    """Return another object of the same value and history, so that items can be assigned to one without the other."""
    return wrap(array._value, array._node)


def as_array(value: Any) -> Array:
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


def dtype_as_stored(value: Any) -> Any:
    """Return the dtype of the raw array inside `value`, as its backend says it: what a node holds."""
    return value.dtype if type(value) is not Array else innermost(value).dtype


def total(a: Any, b: Any) -> Any:
    """Add two values of one shape, raw arrays or Arrays."""
    # The operator of the Array: a library's own may not know what an Array is.
    return b + a if type(a) is not Array and type(b) is Array else a + b


def is_followed(value: Any) -> bool:
    """Return whether a transform in progress follows an Array, at any level; the tape does not count."""
    while type(value) is Array:
        node = value._node
        if node is not None and node.trace.level:
            return True
        value = value._value
    return False


def carries_derivative(value: Array) -> bool:
    """Return whether a derivative would be lost if the values of an Array were read: whole numbers have none."""
    return is_followed(value) and is_inexact(value.dtype.name)


def values_of(array: Array, asked: str, keeps_derivative: bool = True) -> Any:
    """Return the raw array inside an Array, for what leaves gradkit with the values.

    Every way out goes through here: Python's conversions, the methods that give numbers, files, other libraries.

    Parameters
    ----------
    array : Array
        The array, through every level.
    asked : str
        What asks for the values, for the message.
    keeps_derivative : bool
        False where the answer has no derivative that could be lost, as that of a condition, or is for people to read.

    Raises
    ------
    ConcretizationTypeError
        If there are no values (under `vmap`, in a graph), or a transform follows the array, whose derivative would end
        here unnoticed.
    """
    value = raw(array)
    if type(value) in STAND_INS:
        raise ConcretizationTypeError(
            f"Abstract tracer value encountered where concrete value is expected: traced array with shape "
            f"{shaped(array)}. It has no values: the function runs under vmap, or its graph is being captured "
            f"(make_jaxpr, eval_shape), so what it computes may not depend on the values in Python."
        )
    if keeps_derivative and carries_derivative(array):
        raise ConcretizationTypeError(
            f"Abstract tracer value encountered where concrete value is expected: traced array with shape "
            f"{shaped(array)}. The problem arose with {asked}: a transform (grad, jvp, ...) follows the array, and its "
            f"derivative would be lost here without a word. Compute with gradkit.numpy's functions instead of numbers; "
            f"for the values alone, on purpose, take x.detach() or gradkit.lax.stop_gradient(x) first."
        )
    return _backend(value).asarray(value)


def host(
    value: Array, asked: str = "a function that reads the values", keeps_derivative: bool = True
) -> np.ndarray[Any, Any]:
    """Return the elements as a NumPy array, or raise as `values_of` does."""
    array = values_of(value, asked, keeps_derivative)
    return _backend(array).to_host(array)


def backend_of_array(value: Array) -> Backend:
    """Return the backend that holds an Array's elements."""
    bottom = innermost(value)
    return bottom.backend if type(bottom) is Abstract else _backend(bottom)


def place_of_array(value: Array) -> tuple[Backend, Any]:
    """Return the backend that holds an Array's elements, and what it takes as ``device=`` for another beside it."""
    bottom = innermost(value)
    if type(bottom) is Abstract:
        return bottom.backend, bottom.device.raw
    backend = _backend(bottom)
    return backend, backend.device_of(bottom)


def device_of_array(value: Array) -> Device:
    """Return where an Array's elements are, or would be."""
    bottom = innermost(value)
    return bottom.device if type(bottom) is Abstract else _backend(bottom).device(bottom)


def describe(value: Any) -> str:
    """Say what a raw array or Array is, for messages: ``float32[3,4] on numpy:0``."""
    if type(value) is not Array:
        if backend_of(value) is None:
            return f"{value!r} of type {type(value).__name__}"
        value = wrap(value)
    return f"{value.dtype.name}[{','.join(map(str, value.shape))}] on {device_of_array(value)}"


def shaped(value: Any) -> str:
    """Say dtype and shape alone: ``float32[3,4]``."""
    return describe(value).partition(" on ")[0]


def _backend(value: Any) -> Backend:
    backend = backend_of(value)
    if backend is None:
        raise TypeError(f"{type(value).__name__} is no array of a known backend")
    return backend


def _seed(value: Any, gradient: Any) -> Any:
    """Return the cotangent that a backward pass starts from, with memory of its own."""
    backend = _backend(value)
    if gradient is None:
        if value.size != 1:
            raise TypeError(
                f"backward: the gradient can be left out for an array of one element only; this one has shape "
                f"{value.shape}. Reduce it first (x.sum()), or pass gradient= of that shape."
            )
        return backend.one_like(value)
    plain = raw(gradient)
    fits = backend_of(plain) is backend and plain.shape == value.shape and plain.dtype == value.dtype
    if not fits or backend.device_of(plain) != backend.device_of(value):
        raise TypeError(f"backward: gradient must be {describe(value)} like the array itself, got {describe(gradient)}")
    # What a transform follows stays what it is: the result depends on it.
    return gradient if is_followed(gradient) else backend.xp.asarray(plain, copy=True)


def _rebuild(array: np.ndarray[Any, Any], backend: str, requires_grad: bool, is_parameter: bool) -> Array:
    new = wrap(get_backend(backend).from_host(array))
    new.requires_grad = requires_grad
    if type(new._node) is Leaf:
        new._node.is_parameter = is_parameter
    return new
