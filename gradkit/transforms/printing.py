"""A graph as text, in the form in which JAX prints a jaxpr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, product
from string import ascii_lowercase
from typing import Any

from gradkit.compiler.passes import reads
from gradkit.core.array import Array
from gradkit.core.graph import Equation, Graph, Variable, graphs_in

__all__ = ["jaxpr_text", "primitive_name", "type_text"]

WIDTH = 80

NAMES = {
    "multiply": "mul",
    "subtract": "sub",
    "divide": "div",
    "negative": "neg",
    "remainder": "rem",
    "maximum": "max",
    "minimum": "min",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "equal": "eq",
    "not_equal": "ne",
    "where": "select_n",
    "sum": "reduce_sum",
    "prod": "reduce_prod",
    "max": "reduce_max",
    "min": "reduce_min",
    "any": "reduce_or",
    "all": "reduce_and",
    "permute_dims": "transpose",
    "broadcast_to": "broadcast_in_dim",
    "astype": "convert_element_type",
    "astype_exact": "convert_element_type",
    "sigmoid": "logistic",
    "matmul": "dot_general",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "bitwise_invert": "not",
    "logical_not": "not",
    "logical_and": "and",
    "logical_or": "or",
}
"""JAX's names of the primitives that have others here."""
PARAMETERS = {
    ("sum", "axis"): "axes",
    ("prod", "axis"): "axes",
    ("max", "axis"): "axes",
    ("min", "axis"): "axes",
    ("permute_dims", "axes"): "permutation",
    ("reshape", "shape"): "new_sizes",
    ("astype", "dtype"): "new_dtype",
    ("astype_exact", "dtype"): "new_dtype",
}
ORDER = {"where": (0, 2, 1)}
"""Where JAX's primitive takes the operands in another order: of two cases, `select_n` has the one for False first."""
SHORT = {"bool": "bool", "bfloat16": "bf16"}
LETTERS = {"float": "f", "int": "i", "uint": "u", "complex": "c"}


def jaxpr_text(graph: Graph) -> str:
    """Return a graph in JAX's text form."""
    return "\n".join(_lines(graph, _names()))


def _names() -> Iterator[str]:
    """Name variables a, b, ..., z, aa, ab, ..."""
    for length in count(1):
        yield from ("".join(letters) for letters in product(ascii_lowercase, repeat=length))


def _lines(
    graph: Graph, names: Iterator[str], given: Mapping[Variable, str] | None = None, indent: int = 0
) -> list[str]:
    """Return a graph as lines, that begin so far to the right; `given` are names that some variables have already."""
    known: dict[Variable, str] = dict(given or {})
    read = reads(graph)

    def define(variables: Any) -> str:
        for variable in variables:
            if variable not in known:
                known[variable] = next(names)
        return " ".join(f"{known[v]}:{type_text(v)}" for v in variables)

    def define_results(variables: Any) -> str:
        # JAX gives no name to what nothing reads.
        return " ".join(define([v]) if read[v] or v in known else f"_:{type_text(v)}" for v in variables)

    head = f"{{ lambda {define([v for v, _ in graph.constants])}; {define(graph.inputs)}. let"
    equations = [_equation(equation, known, define_results, names, indent + 6) for equation in graph.equations]
    results = ", ".join(_operand(output, known) for output in graph.outputs)
    tail = f"in ({results}{',' * (len(graph.outputs) == 1)}) }}"
    single = " ".join([head, "; ".join("\n".join(lines) for lines in equations), tail] if equations else [head, tail])
    if indent + len(single) <= WIDTH and "\n" not in single:
        return [single]
    return [head, *("    " + line for lines in equations for line in lines), f"  {tail}"]


def _equation(
    equation: Equation, known: dict[Variable, str], define: Any, names: Iterator[str], indent: int
) -> list[str]:
    primitive = equation.primitive.name
    arrays = [x for x in equation.inputs if isinstance(x, Variable) or type(x) is Array]
    # A condition says nothing about the numbers that it chooses between.
    like = next((x for x in arrays if x.dtype.kind != "b"), arrays[0] if arrays else None)
    order = ORDER.get(primitive, range(len(equation.inputs)))
    inputs = " ".join(_operand(equation.inputs[i], known, like) for i in order)
    left = define(equation.outputs)
    is_call = primitive == "jit"
    params = _call(equation, known, names, indent) if is_call else _params(primitive, equation.params, names)
    if primitive == "matmul":
        params = [[f"dimension_numbers={_contraction(*equation.inputs)}"]]
    name = primitive_name(equation)
    left = f"{left} = " if left else ""  # what is done for its effect has no results
    if not params:
        return [f"{left}{name} {inputs}"]
    if all(len(lines) == 1 for lines in params):
        text = f"{left}{name}[{' '.join(lines[0] for lines in params)}] {inputs}"
        if len(text) <= WIDTH - 4:
            return [text]
    return [f"{left}{name}[", *("  " + line for lines in params for line in lines), f"] {inputs}"]


def _params(primitive: str, params: Mapping[str, Any], names: Iterator[str]) -> list[list[str]]:
    result = []
    for key in sorted(params):
        value = params[key]
        shown = PARAMETERS.get((primitive, key), key)
        if key == "results" or (key == "keepdims" and not value):  # which the graph says already
            continue
        if graphs := graphs_in(value):
            blocks = [_lines(graph, names) for graph in graphs]
            lines = (
                blocks[0] if not isinstance(value, tuple) else ["(", *(f"  {line}" for b in blocks for line in b), ")"]
            )
            result.append([f"{shown}={lines[0]}", *lines[1:]])
        else:
            result.append([f"{shown}={_value(value)}"])
    return result


def _call(equation: Equation, known: Mapping[Variable, str], names: Iterator[str], indent: int) -> list[list[str]]:
    """Return the parameters of a jitted function's call, in which arguments and results have the caller's names."""
    graph: Graph = equation.params["jaxpr"]
    pairs = [
        *zip(graph.inputs, (known.get(x) if isinstance(x, Variable) else None for x in equation.inputs), strict=True),
        *zip(graph.outputs, (known.get(x, "_") for x in equation.outputs), strict=True),
    ]
    given: dict[Variable, str] = {}
    for variable, name in pairs:
        if isinstance(variable, Variable) and name is not None and (name == "_" or name not in given.values()):
            given.setdefault(variable, name)
    lines = _lines(graph, names, given, indent + len("jaxpr="))
    return [[f"name={equation.params['name']}"], [f"jaxpr={lines[0]}", *lines[1:]]]


def _contraction(a: Any, b: Any) -> str:
    """Return which axes a product of matrices sums over, and which are its batch, as `dot_general` says it."""
    batch = list(range(len(a.shape) - 2))
    return f"(([{len(a.shape) - 1}], [{len(b.shape) - 2}]), ({batch}, {batch}))"


def _value(value: Any) -> str:
    if callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    if isinstance(value, tuple):
        inside = ", ".join(map(_value, value)) if len(value) != 1 else f"{_value(value[0])},"
        return f"({inside})"
    return str(value)


def _operand(operand: Any, known: dict[Variable, str], like: Any = None) -> str:
    """Return a variable's name, or a literal; a Python number has the dtype of the array that it meets."""
    if isinstance(operand, Variable):
        return known[operand]
    if type(operand) is Array:
        return f"{operand.item()}:{type_text(operand)}"
    number = float(operand) if like.dtype.kind == "f" else operand
    return f"{number}:{_short(like.dtype.name)}[]"


def primitive_name(equation: Equation) -> str:
    """Return JAX's name of an operation."""
    return NAMES.get(equation.primitive.name, equation.primitive.name)


def type_text(value: Any) -> str:
    """Return dtype and shape in JAX's short form."""
    return f"{_short(value.dtype.name)}[{','.join(map(str, value.shape))}]"


def _short(dtype: str) -> str:
    kind = dtype.rstrip("0123456789")
    return SHORT.get(dtype) or LETTERS.get(kind, kind) + dtype[len(kind) :]
