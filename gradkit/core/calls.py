"""How elementwise primitives are called: the fast path for the plain case, and the general path.

The general path (`apply`) converts operands, promotes dtypes and binds. It is the definition. `unary` and `binary`
make functions that do the same inline for Arrays of one backend and one dtype (or a Python number) with at most one
transform between them, and fall back on `apply` for everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradkit.backend import DTYPE_NAMES, INEXACT, backend_of, current_backend, current_device
from gradkit.core.array import Array, place_of_array, wrap
from gradkit.core.binding import KERNEL_ERRORS, PYTHON_NUMBERS, bind, explain
from gradkit.core.families import Elementwise
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.node import NO_PARAMS, Node, recording
from gradkit.core.promotion import FLOATING, canonical, default_dtype, is_inexact, is_of_numbers, promote
from gradkit.core.stand_in import Abstract, Batched

__all__ = [
    "apply",
    "as_array",
    "as_operand",
    "binary",
    "cast",
    "dtype_name",
    "new_array",
    "require_bool",
    "require_inexact",
    "unary",
]

General = Callable[[Elementwise, Sequence[Any], bool], Any]
_new = object.__new__
NOTHING: dict[Any, str] = {}


def unary(primitive: Elementwise, floating: bool, doc: str | None = None) -> Callable[[Any], Array]:
    """Make the function that calls a primitive of one argument.

    Parameters
    ----------
    primitive : Elementwise
        The primitive.
    floating : bool
        Whether it computes in a floating dtype, to which integers are converted first.
    doc : str, optional
        What the function says of itself.
    """
    kernels = primitive.kernels
    mask = primitive.masks[0]
    keeps_result = mask is not None and mask & 1
    keeps_argument = mask is not None and mask & 2

    def call(x: Any) -> Array:
        if type(x) is Array:
            value = x._value
            kernel = kernels.get(type(value))
            if kernel is not None and value.dtype in INEXACT[type(value)]:
                out = kernel(value)
                array: Array = _new(Array)
                array._value = out
                node = x._node
                if node is None or mask is None:
                    array._node = None
                    return array
                trace = node.trace
                if trace.level or recording():
                    saved = (out if keeps_result else None, value if keeps_argument else None)
                    array._node = Node(trace, out.shape, out.dtype, primitive, (node,), saved, NO_PARAMS, True)
                else:
                    array._node = None
                return array
        return apply(primitive, (x,), floating)

    call.__doc__ = doc
    return call


def binary(
    primitive: Elementwise, floating: bool, doc: str | None = None, general: General | None = None
) -> Callable[[Any, Any], Array]:
    """Make the function that calls a primitive of two arguments; see `unary`. `general` stands for `apply`."""
    general = apply if general is None else general
    kernels = primitive.kernels
    first, second = primitive.masks[0] or 0, primitive.masks[-1] or 0
    differentiable = primitive.masks[0] is not None and primitive.masks[-1] is not None
    in_one_alone = not differentiable and primitive.masks != (None, None)
    masks = (0, first, second, first | second)

    def call(x: Any, y: Any) -> Array:
        # The operands' values and nodes, where they are plain enough; else the general path.
        if type(x) is Array:
            x_value = x._value
            x_node = x._node
            kernel = kernels.get(type(x_value))
            if kernel is None:
                return general(primitive, (x, y), floating)
            dtype = x_value.dtype
            if type(y) is Array:
                y_value = y._value
                y_node = y._node
                # Dtypes that were unpickled are objects of their own: what is not the same may be equal.
                # The kernel first: a stand-in's dtype is NumPy's, which not every library compares its own with.
                if kernels.get(type(y_value)) is not kernel or (y_value.dtype is not dtype and y_value.dtype != dtype):
                    return general(primitive, (x, y), floating)
                if floating and dtype not in INEXACT[type(x_value)]:
                    return general(primitive, (x, y), floating)
                number = None
            elif (type(y) is float or type(y) is int) and dtype in INEXACT[type(x_value)]:
                y_value = y
                y_node = None
                number = y
            else:
                return general(primitive, (x, y), floating)
        elif type(y) is Array and (type(x) is float or type(x) is int):
            x_value = x
            x_node = None
            y_value = y._value
            y_node = y._node
            kernel = kernels.get(type(y_value))
            if kernel is None or y_value.dtype not in INEXACT[type(y_value)]:
                return general(primitive, (x, y), floating)
            number = x
        else:
            return general(primitive, (x, y), floating)

        # The one transform that follows them, if any.
        if x_node is None:
            trace = None if y_node is None else y_node.trace
        else:
            trace = x_node.trace
            if y_node is not None and y_node.trace is not trace:
                return general(primitive, (x, y), floating)
        if in_one_alone and trace is not None:
            return general(primitive, (x, y), floating)

        try:
            out = kernel(x_value, y_value)
        except KERNEL_ERRORS as error:
            raise explain(primitive, (x_value, y_value), error) from error
        array: Array = _new(Array)
        array._value = out
        if trace is None or not differentiable or not (trace.level or recording()):
            array._node = None
            return array
        mask = masks[(x_node is not None) + 2 * (y_node is not None)]
        saved = (out if mask & 1 else None, x_value if mask & 2 else None, y_value if mask & 4 else None)
        node = array._node = Node(trace, out.shape, out.dtype, primitive, (x_node, y_node), saved, NO_PARAMS, True)
        if number is not None:
            node.numbers = number
        return array

    call.primitive, call.floating = primitive, floating  # type: ignore[attr-defined]
    call.__doc__ = doc
    return call


def apply(primitive: Elementwise, args: Sequence[Any], floating: bool, first: int = 0) -> Array:
    """Convert and promote the operands from position `first` on, and bind.

    Parameters
    ----------
    primitive : Elementwise
        The primitive.
    args : sequence
        Arrays, raw arrays, NumPy scalars or Python numbers.
    floating : bool
        Whether the primitive computes in a floating dtype.
    first : int
        Operands before this position keep their dtype (the condition of `where`).
    """
    operands: list[Any] = []
    names: list[str | None] = []  # those of the dtypes; of numbers None
    weak: list[type] = []
    for position, arg in enumerate(args):
        operand = arg if type(arg) is Array or type(arg) in PYTHON_NUMBERS else as_operand(arg, primitive.name)
        operands.append(operand)
        if position >= first and type(operand) is not Array:
            weak.append(type(operand))
        names.append(dtype_name(operand) if position >= first and type(operand) is Array else None)
    if len(weak) == len(operands) - first:
        operands[first] = new_array(operands[first], like=operands[0] if first else None)
        names[first] = dtype_name(operands[first])
        del weak[0]
    found = [*filter(None, names)]
    target = found[0] if not weak and found.count(found[0]) == len(found) else promote(found, weak)
    if floating and not is_inexact(target):
        target = default_dtype(FLOATING)
    for position in range(first, len(operands)):
        name = names[position]
        if name is not None:
            if name != target:
                operands[position] = cast(operands[position], target, name)
        elif type(operands[position]) is bool and target != "bool":
            operands[position] = int(operands[position])
    return bind(primitive, operands, NO_PARAMS)


def cast(array: Array, dtype: str, present: str | None = None) -> Array:
    """Convert an Array to the dtype of that name, by the `astype` primitive; real numbers have no imaginary part.

    `present` is the name of the dtype that it has, where that is known.
    """
    if not dtype.startswith("complex") and (present or dtype_name(array)).startswith("complex"):
        if dtype == "bool":
            return bind(PRIMITIVES["not_equal"], (array, 0), NO_PARAMS)
        array = bind(PRIMITIVES["real"], (array,), NO_PARAMS)
    primitive = PRIMITIVES["astype"] if is_inexact(dtype) else PRIMITIVES["astype_exact"]
    return bind(primitive, (array,), {"dtype": dtype})


def dtype_name(array: Array) -> str:
    """Return the name of an Array's dtype."""
    value: Any = array
    while type(value) is Array or type(value) is Batched:
        value = value._value if type(value) is Array else value.array
    name = DTYPE_NAMES.get(type(value), NOTHING).get(value.dtype)
    if name is not None:
        return name
    if type(value) is Abstract:
        name = DTYPE_NAMES.setdefault(type(value), {})[value.dtype] = str(value.dtype.name)
        return name
    backend = backend_of(value)
    assert backend is not None
    return backend.dtype_name(value)


def as_operand(value: Any, caller: str) -> Any:
    """Return an operand as an Array or a Python number; anything else is an error in JAX's words."""
    if type(value) is Array or type(value) in PYTHON_NUMBERS:
        return value
    owner = backend_of(value)
    if owner is not None:
        if not is_of_numbers(name := owner.dtype_name(value)):
            raise TypeError(
                f"{caller} requires arrays of numbers as arguments, got one of dtype {name}: {value!r}. Convert it "
                f"first: x.astype('float32')."
            )
        return new_array(value) if owner.is_scalar(value) else wrap(value)
    if hasattr(value, "__gradkit_array__"):
        return value.__gradkit_array__()
    raise TypeError(
        f"{caller} requires arrays or numbers as arguments, got {type(value).__name__}: {value!r}. "
        f"Make an array of it with gradkit.numpy.asarray."
    )


def as_array(value: Any, caller: str) -> Array:
    """Return the argument of a function that needs an array; numbers become arrays on the current backend."""
    operand = value if type(value) is Array else as_operand(value, caller)
    return operand if type(operand) is Array else new_array(operand)


def new_array(value: Any, like: Array | None = None) -> Array:
    """Make a 0-d Array from a number, in the dtype of new numbers: where `like` is, else on the current backend."""
    if like is None:
        backend, device = current_backend(), current_device()
    else:
        backend, device = place_of_array(like)
    name = getattr(getattr(value, "dtype", None), "name", None)
    dtype = promote([], [type(value)]) if name is None else canonical(name)
    number = value if name is None else value.item()
    return wrap(backend.xp.asarray(number, dtype=backend.raw_dtype_named(dtype), device=device))


def wide_integers(array: Array, largest: int = 0) -> Array:
    """Return integers in a dtype that holds every class or position up to `largest`: narrow ones would wrap around."""
    if largest >= 1 << 31:
        return cast(array, "int64")
    return cast(array, "int32") if dtype_name(array) in ("int8", "int16", "uint8", "uint16") else array


def require_bool(array: Array, caller: str) -> Array:
    """Return a condition as a bool Array: numbers are true where they are not 0."""
    return array if dtype_name(array) == "bool" else cast(array, "bool")


def require_inexact(array: Array) -> Array:
    """Return an Array of a dtype with a fractional part: integers are converted to the default floating dtype."""
    return array if is_inexact(dtype_name(array)) else cast(array, default_dtype(FLOATING))
