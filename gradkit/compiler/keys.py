"""Keys: whether two graphs compute the same from the same arguments, so that what is compiled of one serves the other.

A key numbers the variables in the order of their making, so names and the process's history are not in it, and has the
static parameters as values that hash. Arrays are not in it: they are the graph's constants, which whoever compiles
hands over at each call. What says only how a derivative is taken, the rules of `custom_jvp`, is not in it either.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from gradkit.backend import backend_of
from gradkit.core.array import Array
from gradkit.core.graph import Equation, Graph, HigherOrder, Variable, abstract_like
from gradkit.core.namespace import as_bound
from gradkit.core.promotion import PYTHON_NUMBERS
from gradkit.core.stand_in import Abstract

__all__ = ["exact_text", "key_of", "key_of_value"]

Key = tuple[Hashable, ...]


def exact_text(number: complex) -> str:
    """Return a Python number as text that no other one of its type has, NaN of another sign or payload included."""
    text = repr(number)
    if "nan" not in text:
        return text
    return f"{text} {struct.pack('<dd', number.real, number.imag).hex()}"


def key_of(graph: Graph) -> tuple[Key, list[Array]]:
    """Return a graph's key, and the arrays that it uses beside its arguments.

    Two graphs with one key compute the same from the same arguments and arrays.

    Raises
    ------
    TypeError
        If a parameter of an operation does not hash.

    Examples
    --------
    >>> import gradkit, gradkit.numpy as jnp
    >>> def graph(k):
    ...     return gradkit.make_jaxpr(lambda x: jnp.sin(x)[k:])(jnp.ones(3)).jaxpr
    >>> key_of(graph(1)) == key_of(graph(1)), key_of(graph(1)) == key_of(graph(2))
    (True, False)
    """
    arrays = [array for _, array in graph.constants]
    return _graph(graph, arrays), arrays


def _graph(graph: Graph, arrays: list[Array]) -> Key:
    numbers: dict[Variable, int] = {}

    def define(variables: Iterable[Variable]) -> Key:
        forms = []
        for variable in variables:
            numbers[variable] = len(numbers)
            forms.append(_form(variable.form))
        return tuple(forms)

    def operands(values: Sequence[Any]) -> Key:
        return tuple(numbers[x] if type(x) is Variable else key_of_value(x, arrays) for x in values)

    def equation(one: Equation) -> Key:
        primitive = one.primitive
        left_out = primitive.derivative if isinstance(primitive, HigherOrder) else ()
        try:
            params = tuple(
                (name, key_of_value(one.params[name], arrays)) for name in sorted({*one.params} - {*left_out})
            )
        except TypeError as error:
            raise TypeError(f"the parameters of {primitive.name} make no key: {error}") from error
        return primitive, operands(one.inputs), params, define(one.outputs)

    return (
        define(variable for variable, _ in graph.constants),
        define(graph.inputs),
        tuple(map(equation, graph.equations)),
        operands(graph.outputs),
    )


def _form(form: Abstract) -> Key:
    return form.shape, form.dtype, form.backend, form.device


def key_of_value(value: Any, arrays: list[Array]) -> Hashable:
    """Return a literal or a parameter as what hashes; an array goes into `arrays`."""
    kind = type(value)
    if kind is Array or backend_of(value) is not None:
        array = as_bound(value)
        arrays.append(array)
        return Array, _form(abstract_like(array))
    if kind in PYTHON_NUMBERS:
        return kind, exact_text(value)  # 1, 1.0 and True are equal, and so are 0.0 and -0.0
    if kind is slice:
        return slice, key_of_value((value.start, value.stop, value.step), arrays)
    if kind is tuple:
        return tuple(key_of_value(part, arrays) for part in value)
    if kind is Graph:
        return _graph(value, arrays)
    hash(value)
    return kind, value
