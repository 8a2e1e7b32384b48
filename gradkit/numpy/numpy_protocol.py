"""NumPy's functions on Arrays: ``np.sin(x)`` and ``np.sum(x)`` are gradkit's, so they stay on the tape.

A call is answered by the function of the same name in `gradkit.numpy`, with the arguments that were given. Nothing
leaves the tape unasked: a function or an argument that gradkit does not have is an error.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradkit.backend import backend_of
from gradkit.core import Array
from gradkit.core.above import above
from gradkit.core.binding import PYTHON_NUMBERS
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.node import changes
from gradkit.core.operands import cast, dtype_name
from gradkit.core.printing import describe
from gradkit.core.promotion import kind_of, requested_dtype
from gradkit.core.structured import Reducing
from gradkit.core.values import host, values_of
from gradkit.primitives.in_place import changed, may_be_assigned_to, refuse_to_change
from gradkit.primitives.manipulation import reshape
from gradkit.primitives.new_arrays import asarray
from gradkit.tree import leaves

__all__ = ["call_function", "call_ufunc"]

Parameters = Mapping[str, inspect.Parameter]

UFUNC_METHODS = {
    "accumulate": {"add": "cumsum", "multiply": "cumprod"},
    "reduce": {p.combine: p.name for p in PRIMITIVES.values() if isinstance(p, Reducing) and not p.mean},
}
"""What ``np.add.reduce`` and the like are."""

WRITERS = frozenset(["array2string", "save", "savetxt", "savez", "savez_compressed"])
"""Functions that write the elements somewhere: NumPy's own do, since there is nothing that a tape could follow."""


DEFAULTS = {"casting": "same_kind", "order": "K", "subok": True, "where": True}
"""What a ufunc's options are where nobody gives them."""


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Answer `Array.__array_ufunc__`.

    With ``out=`` a raw array (``p.data += -0.05 * p.grad`` on NumPy) the raw values are written there, since nothing
    that is written in place can be on the tape.
    """
    out = options.pop("out", None)
    if out is not None:
        return _write(ufunc, method, inputs, out, {"out": out, **options})
    if method == "at":
        return _write(ufunc, "at", inputs, inputs[:1], options)
    if method == "__call__":
        called = f"ufunc {ufunc.__name__}"
        # SciPy's ufuncs come as NumPy's do.
        function = _found(ufunc.__name__) or _found(ufunc.__name__, ("special",))
    elif method == "outer":
        called = f"ufunc {ufunc.__name__}.outer"
        function = _found(ufunc.__name__)
    else:
        called = f"ufunc {ufunc.__name__}.{method}"
        name = UFUNC_METHODS.get(method, {}).get(ufunc.__name__)
        function = None if name is None else _found(name)
        options = {"axis": 0, **options}
    if function is None:
        raise _missing(called)
    known = _parameters(function)
    given = {name: value for name, value in options.items() if value is not None or name == "axis"}
    given = {name: value for name, value in given.items() if name in known or not _is_default(name, value)}
    if method in ("__call__", "outer"):
        if "dtype" in given and "dtype" not in known:
            inputs = _of_dtype(called, inputs, given.pop("dtype"))
        inputs = _outer(*inputs) if method == "outer" else inputs
        if "where" in given:
            raise TypeError(
                f"{called} has no argument where, which leaves the other elements as they were: there is no memory "
                f"that they were in. Select afterwards: numpy.where(mask, result, other)."
            )
    for name in given:
        if name not in known:
            raise _unknown(called, name, function)
    return _call(function, inputs, given)


def _write(ufunc: Any, method: str, inputs: Sequence[Any], out: Sequence[Any], options: dict[str, Any]) -> Any:
    """Write the raw values of a ufunc into the raw arrays `out`."""
    if any(type(array) is Array for array in out):
        if may_be_assigned_to():
            return _change(ufunc, method, inputs, out, options)
        if method == "at":
            raise TypeError(
                f"ufunc {ufunc.__name__}.at changes its first argument, and gradkit's Arrays are immutable. Use the "
                f"new array that x.at[idx].add(y), multiply, set, apply, ... returns."
            )
        raise TypeError(
            f"ufunc {ufunc.__name__}: out= is a gradkit Array, which is immutable. Use the returned value instead."
        )
    asked = f"ufunc {ufunc.__name__}.at" if method == "at" else f"ufunc {ufunc.__name__} with out="
    plain = [values_of(x, asked) if type(x) is Array else x for x in inputs]
    # No derivative goes through where=, so it may be what a transform follows.
    options = {name: values_of(x, asked, False) if type(x) is Array else x for name, x in options.items()}
    _check_places(ufunc, plain, out)
    result = getattr(ufunc, method)(*plain, **options)
    for array in out:
        changes.note(array)
    return result


def _change(ufunc: Any, method: str, inputs: Sequence[Any], out: Sequence[Any], options: dict[str, Any]) -> Any:
    """Give the Arrays `out` new elements, in code that may assign to them."""
    called = f"ufunc {ufunc.__name__}"
    if method == "at":
        new = above.numpy().asarray(out[0], copy=True)
        positions = inputs[1]
        part = ufunc(new[positions], *inputs[2:])
        kind = {"add": "add", "subtract": "subtract", "multiply": "multiply", "maximum": "max", "minimum": "min"}
        if ufunc.__name__ in kind:
            new = getattr(new.at[positions], kind[ufunc.__name__])(inputs[2])
        else:
            new = new.at[positions].set(part)
        changed(out[0], new, f"{called}.at")
        return None
    options.pop("out")
    chosen = options.pop("where", True)
    results = getattr(ufunc, method)(*inputs, **options)
    for array, result in zip(out, results if isinstance(results, tuple) else (results,), strict=True):
        if type(array) is not Array:
            raise TypeError(f"{called}: out= is {describe(array)}, beside a gradkit Array; use the returned value.")
        changed(array, result if chosen is True else above.numpy().where(chosen, result, array), f"{called} with out=")
    return out[0] if len(out) == 1 else tuple(out)


def _is_default(name: str, value: Any) -> bool:
    return name in DEFAULTS and (value is DEFAULTS[name] or (type(value) is str and value == DEFAULTS[name]))


def _of_dtype(called: str, inputs: Sequence[Any], dtype: Any) -> tuple[Array, ...]:
    """Return a ufunc's arguments in the dtype it is to compute in: as in NumPy, of the same kind or a higher one."""
    target = requested_dtype(dtype)
    arrays = [asarray(x) for x in inputs]
    for array in arrays:
        if target == "bool" or kind_of(dtype_name(array)) > kind_of(target):
            raise TypeError(
                f"{called}: an argument of {array.dtype} is not computed with in dtype={target}. Convert it first: "
                f"x.astype({target!r})."
            )
    return tuple(cast(array, target) for array in arrays)


def _outer(x: Any, y: Any) -> tuple[Array, Array]:
    """Return two arguments with axes such that they broadcast to all pairs of elements."""
    first, second = asarray(x), asarray(y)
    return reshape(first, first.shape + (1,) * second.ndim), second


def _check_places(ufunc: Any, inputs: Sequence[Any], out: Sequence[Any]) -> None:
    """Raise where a library is to write its arrays from those of another one."""
    arrays = [value for value in (*inputs, *out) if hasattr(value, "dtype") and backend_of(value) is not None]
    if len({backend_of(array) for array in arrays}) > 1:
        raise TypeError(
            f"ufunc {ufunc.__name__}: out= is {describe(out[0])}, and the arguments are "
            f"{', '.join(map(describe, arrays[: -len(out)]))}. Leave out= away and use the returned value, or bring "
            f"the arguments to the host first: gradkit.device_get(x)."
        )


def call_function(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Answer `Array.__array_function__`.

    Parameters
    ----------
    function : callable
        NumPy's function: `numpy.sum`, `numpy.linalg.norm`, ...
    args, options : tuple, dict
        What it was called with.

    Raises
    ------
    TypeError
        If gradkit has no function of that name, or its function does not take an argument that was given.
    """
    *modules, name = f"{function.__module__}.{function.__name__}".split(".")[1:]
    called = ".".join(("numpy", *modules, name))
    ours = _found(name, modules)
    if type(options.get("out")) is Array:
        return _into(options["out"], called, function, args, {k: v for k, v in options.items() if k != "out"})
    if ours is None and name in WRITERS:
        return function(*map(_read, args), **{key: _read(value) for key, value in options.items()})
    if ours is None:
        raise _missing(called)
    positional, keywords = _translate(called, _parameters(function), ours, args, options)
    return _call(ours, positional, keywords)


def _into(out: Array, called: str, function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Array:
    """Give the Array `out` what a function returns, in code that may assign to it."""
    if not may_be_assigned_to():
        raise TypeError(f"{called}: out= is a gradkit Array, which is immutable. Use the returned value instead.")
    refuse_to_change(out, f"{called} with out=")
    return changed(out, call_function(function, args, options), f"{called} with out=")


def _call(function: Callable[..., Any], positional: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """Call gradkit's function, which like JAX's takes no list of numbers where an array is asked for; NumPy does."""
    given = (*positional, *keywords.values())
    try:
        return function(*positional, **keywords)
    except TypeError:
        if not any(map(_has_list_of_numbers, given)):
            raise
    device = next(array.device for array in leaves(given) if type(array) is Array)
    return function(
        *(_listed(value, device) for value in positional),
        **{name: _listed(value, device) for name, value in keywords.items()},
    )


def _has_list_of_numbers(value: Any) -> bool:
    """Tell whether it is a list of numbers, or a list of arrays in which there is one."""
    if _is_list_of_numbers(value):
        return True
    return isinstance(value, list | tuple) and any(map(_has_list_of_numbers, value))


def _is_list_of_numbers(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(type(item) in PYTHON_NUMBERS or _is_list_of_numbers(item) for item in value)


def _listed(value: Any, device: Any) -> Any:
    if _is_list_of_numbers(value):
        return asarray(value, device=device)
    return [_listed(item, device) for item in value] if _has_list_of_numbers(value) else value


def _read(value: Any) -> Any:
    return host(value) if type(value) is Array else value


def _found(name: str, modules: Sequence[str] = ()) -> Callable[..., Any] | None:
    """Return gradkit's function of that name of NumPy's, if there is one."""
    position = above.numpy()
    for module in modules:
        position = getattr(position, module, None)
    function: Callable[..., Any] | None = getattr(position, name, None)
    return function


def _missing(called: str) -> TypeError:
    return TypeError(
        f"{called}: gradkit has no such function, and the library's own would leave the tape and the device. To leave "
        f"gradkit on purpose, convert the arguments: numpy.asarray(x)."
    )


@functools.cache
def _parameters(function: Callable[..., Any]) -> Parameters:
    """Return a function's parameters by name; none for those in C of NumPy before 2.4, which do not tell them."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return {}


def _translate(
    called: str, theirs: Parameters, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return a call's arguments as gradkit's function takes them, by position and by name.

    A parameter of NumPy's is the one of that name, or else the one in that position (``a`` is ``x``).
    """
    ours = _parameters(function)
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in (*theirs.values(), *ours.values())):
        positional, given = list(args), options
    else:
        positional, given = [], dict(zip(theirs or ours, args, strict=False)) | options
    keywords: dict[str, Any] = {}
    for name, value in given.items():
        if name in theirs and value is theirs[name].default:
            continue
        if name == "order" and value in ("A", "K"):
            continue  # as the elements are in memory: of an Array nobody needs to know
        known = name if name in ours else _in_the_place_of(name, theirs, ours)
        if known is None and name not in theirs and _takes_any(ours):
            known = name  # one of NumPy's **kwargs: that of `pad`
        if known is not None:
            keywords[known] = value
        elif value is not None:  # out=None says nothing
            raise _unknown(called, name, function)
    for name, parameter in ours.items():
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and name in keywords:
            positional.append(keywords.pop(name))
    return positional, keywords


def _takes_any(parameters: Parameters) -> bool:
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


def _in_the_place_of(name: str, theirs: Parameters, ours: Parameters) -> str | None:
    """Return the name of our parameter that stands where NumPy's `name` does, unless NumPy has that one elsewhere."""
    if name == "out":  # memory to write to stands for no other argument
        return None
    position = _by_position(theirs).index(name) if name in _by_position(theirs) else len(ours)
    return next(
        (other for other in _by_position(ours)[position : position + 1] if other not in _by_position(theirs)), None
    )


def _by_position(parameters: Parameters) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, parameter in parameters.items() if parameter.kind in kinds]


def _unknown(called: str, name: str, function: Callable[..., Any]) -> TypeError:
    known = ", ".join(_parameters(function))
    return TypeError(
        f"{called}: gradkit's {function.__name__} has no argument {name}, only {known}. Leave it out, or leave gradkit "
        f"with numpy.asarray(x)."
    )
