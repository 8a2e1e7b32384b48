"""`Value`: a number that knows how it was computed.

A Value is its own node: it holds the values it was computed from and the local derivatives at that point. That is all
that the backward pass reads, so operations on it cost little more than Python's own. Under a transform (`grad`, `jvp`,
`hessian`, ...) it holds an Array of the backend of Python's numbers instead, and its operations are those of Arrays.
"""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

from gradkit import tree
from gradkit.backend import backend_of
from gradkit.config import config
from gradkit.core import TAPE, Array
from gradkit.core.array import is_followed, wrap
from gradkit.core.node import Leaf, recording
from gradkit.core.values import values_of
from gradkit.errors import ConcretizationTypeError
from gradkit.scalar.methods import install
from gradkit.scalar.operations import Operation, backend, evaluate, function_of, not_a_number
from gradkit.scalar.passes import accumulate

if TYPE_CHECKING:
    from gradkit.scalar.method_types import Methods
else:
    Methods = object  # they are attached below

__all__ = ["Value"]

SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "pow": "**", "square": "**2", "relu": "ReLU"}
"""What micrograd calls an operation, where that is not its name here."""

_new = object.__new__


class Value(Methods):
    """A number, and how it was computed.

    Parameters
    ----------
    data : float
        The number. Whatever Python or NumPy has for real numbers is converted.
    label : str
        A name, for drawings and messages. It can be assigned later.

    Raises
    ------
    TypeError
        If `data` is no real number.

    Notes
    -----
    There are ``+ - * / **`` with values and numbers on either side, `exp`, `log`, `tanh`, `relu`, `sigmoid`, `sqrt`,
    `sin`, `cos`, `tan`, `sinh`, `cosh` and `abs`. Comparisons compare the numbers, and a Value's hash is its identity
    (as in PyTorch), so values can be kept in sets. A Value is a pytree of one leaf: functions of values, and of lists
    or models of them, can be given to `grad`, `jvp`, `hessian` and their relatives, which give values back.

    Arithmetic is IEEE's, as on every backend: ``Value(1.0) / 0`` is infinite and no error.

    Examples
    --------
    >>> from gradkit import Value
    >>> x = Value(0.5, label="x")
    >>> y = (2 * x + 1).tanh()
    >>> y.backward()
    >>> x
    Value(data=0.5, grad=0.14130..., label='x')

    >>> import gradkit
    >>> gradkit.grad(lambda x: (2 * x + 1).tanh())(Value(0.5))
    Value(data=0.14130..., grad=0.0)
    """

    # A result of an operation has an `_operation`, and hands its gradient times a slope on to `_first` and `_second`.
    # An input has none of them. Where nothing is to be handed on (the ReLU of a negative number), `_first` is None and
    # `_second` is the operand. In place of a second value, `_second_slope` keeps the operand that is a plain number.
    # `_pending` belongs to the backward pass. `_data` is unset where an `_array` is held, so that the methods, which
    # read it, need not ask.
    __slots__ = (
        "__weakref__",
        "_array",
        "_data",
        "_first",
        "_first_slope",
        "_grad",
        "_operation",
        "_pending",
        "_second",
        "_second_slope",
        "label",
    )

    _array: Array
    _data: float
    _first: Any
    _first_slope: float
    _grad: float
    _operation: Operation | None
    _pending: int
    _second: Any
    _second_slope: float
    label: str

    def __init__(self, data: Any, label: str = "") -> None:
        self._data = data if type(data) is float else _number(data, "data")
        self._grad = 0.0
        self._pending = 0
        self._first = self._second = self._operation = None
        if label:
            self.label = label

    def __getattr__(self, name: str) -> Any:
        if name == "label":  # results have none until one is assigned
            return ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # The lecture's face

    @property
    def data(self) -> float:
        """The number. It can be assigned: what is computed from then on takes the new one."""
        try:
            return self._data
        except AttributeError:
            return float(values_of(self._array, "x.data"))

    @data.setter
    def data(self, number: Any) -> None:
        if _holds_array(self):
            raise ValueError(
                "data: this value is an argument or a result of the function that a transform (grad, ...) runs, so its "
                "number cannot be assigned. Compute a new value instead."
            )
        self._data = _number(number, "data")

    @property
    def _seen(self) -> float:
        """The number as conditions see it, which have no derivative to lose."""
        try:
            return self._data
        except AttributeError:
            return float(values_of(self._array, "a comparison", False))

    @property
    def grad(self) -> float:
        """The derivative of what `backward` was called on with respect to this value; calls add up."""
        return self._grad

    @grad.setter
    def grad(self, number: Any) -> None:
        self._grad = 0.0 if number is None else _number(number, "grad")

    def zero_grad(self) -> None:
        """Set the gradient to 0."""
        self._grad = 0.0

    def backward(self) -> None:
        """Add the derivative of this value to the ``grad`` of every value it was computed from, and 1 to its own.

        The graph stays, so it can be drawn with its gradients; a second call adds them again.

        Raises
        ------
        RuntimeError
            Inside of a function that a transform runs.
        """
        if _holds_array(self):
            self._array.backward()
        else:
            accumulate(self, 1.0)

    # How it came about

    @property
    def operation(self) -> Operation | None:
        """The operation that computed it, or None for an input."""
        return self._operation

    @property
    def operands(self) -> tuple[Value | float, ...]:
        """What the operation was done to, in order: values, and plain numbers."""
        operation = self._operation
        if operation is None:
            return ()
        values = [value for value in (self._first, self._second) if value is not None]
        if operation.number is not None:
            values.insert(operation.number, self._second_slope)
        return tuple(values)

    @property
    def _prev(self) -> set[Value]:
        """The values among the operands, under micrograd's name."""
        return {operand for operand in self.operands if isinstance(operand, Value)}

    @property
    def _op(self) -> str:
        """The operation, under micrograd's name."""
        operation = self._operation
        if operation is None:
            return ""
        if operation == ("pow", 1):
            return f"**{self._second_slope:g}"
        return SYMBOLS.get(operation.name, operation.name)

    def _backward(self) -> None:
        """Hand this value's gradient on to its operands, as each step of micrograd's pass does."""
        for value, slope in ((self._first, "_first_slope"), (self._second, "_second_slope")):
            if value is not None and self._first is not None:
                value._grad += self._grad * getattr(self, slope)

    # Python's conversions

    def __pos__(self) -> Value:
        return self

    def __float__(self) -> float:
        return self.data

    def __repr__(self) -> str:
        if _holds_array(self):
            return f"Value({self._array!r})"
        label = f", label={self.label!r}" if self.label else ""
        return f"Value(data={self._data}, grad={self._grad}{label})"

    def __format__(self, specification: str) -> str:
        return format(self.data, specification) if specification else str(self)

    __hash__ = object.__hash__

    def __copy__(self) -> Value:
        return from_array(self._array) if _holds_array(self) else Value(self._data, self.label)

    def __deepcopy__(self, memo: dict[int, Any]) -> Value:
        return self.__copy__()

    def __reduce__(self) -> Any:
        return Value, (self.data, self.label)

    def __gradkit_array__(self) -> Array:
        """Return an Array of this number, for what works on Arrays; gradients come back from it."""
        if _holds_array(self):
            return self._array
        number = backend().xp.asarray(self._data)
        return wrap(number, Input(self) if recording() else None)


class Input(Leaf):
    """What the core's tape knows about a Value: gradients that arrive are handed on."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value
        super().__init__(TAPE, (), backend().xp.float64)
        # The transforms take an input as a plain number, as they take a module's parameters.
        self.is_parameter = value._operation is None

    @property
    def grad(self) -> Any:
        """None: nothing is kept here."""
        return None

    @grad.setter
    def grad(self, found: Any) -> None:
        if found is not None:
            accumulate(self.value, float(found))


def _number(value: Any, what: str) -> float:
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Value):
        raise TypeError(f"{what}: expected a number, got {value!r}. It is a Value already; its number is x.data.")
    if is_followed(value) or (type(value) is Array and value.requires_grad):
        raise ConcretizationTypeError(
            f"{what}: expected a number, got an Array whose derivative is being recorded, which would be lost here. "
            f"Give the transform Values: grad(f)(Value(2.0)); or take the values alone, on purpose: x.detach()."
        )
    if backend_of(value) is not None or type(value) is Array:
        if value.shape == ():
            return float(value)
        raise TypeError(
            f"{what}: expected a number, got an array of shape {value.shape}. Make a Value of each element."
        )
    raise TypeError(f"{what}: expected a number, got {value!r} of type {type(value).__name__}")


def _holds_array(value: Value) -> bool:
    try:
        value._data  # noqa: B018
    except AttributeError:
        return True
    return False


# The general path


def general(operation: Operation, *operands: Any) -> Any:
    """Run an operation as its primitive declares it: on Arrays where one operand holds one, else on single numbers."""
    values = [operand for operand in operands if isinstance(operand, Value)]
    if len(values) + (operation.number is not None) < len(operands) or any(map(_holds_array, values)):
        arrays = [operand.__gradkit_array__() if isinstance(operand, Value) else operand for operand in operands]
        return from_array(function_of(operation.name)(*arrays))
    result, slopes = evaluate(operation.name, *(x._data if isinstance(x, Value) else x for x in operands))
    if result != result and config.jax_debug_nans:
        raise not_a_number(operation.name)
    out = Value(result)
    if recording():
        out._operation = operation
        if operation.number is None:
            out._first, out._first_slope = operands[0], slopes[0]
            if len(operands) > 1:
                out._second, out._second_slope = operands[1], slopes[1]
        else:
            index = 1 - operation.number
            out._first, out._first_slope = operands[index], slopes[index]
            out._second_slope = operands[operation.number]
    return out


def mixed(operation: Operation, method: str, *operands: Any) -> Any:
    """Run an operation on a Value and something that is neither a Value nor a Python number."""
    this, other = operands if isinstance(operands[0], Value) else operands[::-1]
    if isinstance(other, numbers.Real):
        return getattr(this, method)(float(other))
    if isinstance(other, Value) or type(other) is Array:
        return general(operation, *operands)
    return NotImplemented


def from_array(array: Array) -> Value:
    """Return what an operation on Arrays gave as a Value."""
    number = array._value
    if array._node is None and backend_of(number) is backend() and number.dtype == backend().xp.float64:
        return Value(float(number))
    value: Value = _new(Value)
    value._array = array
    value._grad = 0.0
    value._pending = 0
    value._first = value._second = value._operation = None
    return value


# A pytree of one leaf


def _from_leaf(_metadata: None, children: Any) -> Any:
    """Return a leaf as a Value; what is no number, such as a whole tree of derivatives, as it is."""
    (leaf,) = children
    if isinstance(leaf, float | int) and not isinstance(leaf, bool):
        return Value(leaf)
    if type(leaf) is not Array:
        return leaf
    node = leaf._node
    if type(node) is Input:
        return node.value
    # What the tape computed is kept as a number, without its history, as modules keep it.
    return from_array(leaf if node is None or node.trace.level else wrap(leaf._value))


tree.register(Value, lambda value: ((value.__gradkit_array__(),), None), _from_leaf)


def _install(check_for_nans: bool) -> None:
    install(Value, check_for_nans, general=general, mixed=mixed)


_install(config.jax_debug_nans)
config.listen("jax_debug_nans", _install)
