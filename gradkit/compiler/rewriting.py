"""Rewriting: a graph is written anew, operation by operation, and each is looked at as it is written down.

All that an operation reads has been rewritten before it, so one walk is enough for whatever follows from operands. An
operation whose operands are literals is computed, one that is there already is not written again, and for the others
there are rules.

A rule is a row of a table: the primitives that it is about, a function, and why it is right. The function gets what is
being written and the operation; it gives what has the result's values, or None where it does not apply. It looks no
farther than at what has made the operands, so the time is linear in the number of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from gradkit.compiler.keys import key_of_value
from gradkit.compiler.passes import new_variable
from gradkit.core.array import Array, wrap
from gradkit.core.families import Elementwise
from gradkit.core.graph import Equation, Graph, Params, Variable, abstract_like, graphs_in
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.node import Node
from gradkit.core.primitive import Primitive
from gradkit.core.promotion import PYTHON_NUMBERS
from gradkit.core.silence import silenced
from gradkit.core.stand_in import Abstract
from gradkit.core.values import host

__all__ = ["COMMUTATIVE", "Draft", "Rewrite", "Rules", "Site", "form_of", "is_distinct", "number_in", "table"]

COMMUTATIVE = frozenset(
    "add multiply equal not_equal bitwise_and bitwise_or bitwise_xor logical_and logical_or logical_xor".split()
)
"""Not maximum and minimum, whose result for 0.0 and -0.0 depends on the order."""


class Site(NamedTuple):
    """An operation that is to be written down.

    Attributes
    ----------
    primitive : Primitive
        The operation.
    inputs : tuple
        Its operands, as they are now.
    params : mapping
        Its static parameters.
    form : Abstract
        What its result is like.
    """

    primitive: Primitive
    inputs: tuple[Any, ...]
    params: Mapping[str, Any]
    form: Abstract


Rule = Callable[["Draft", Site], Any]
SeeTo = Callable[["Draft", Equation], Sequence[Any] | None]
Rules = Mapping[str, Sequence[Rule]]
"""By the name of the primitive."""


@dataclass(frozen=True)
class Rewrite:
    """A row of a table of rules.

    Attributes
    ----------
    of : str
        The primitives' names; `elementwise` stands for that family.
    rule : callable
        ``rule(draft, site)``.
    why : str
        Why the values stay the same.
    """

    of: str
    rule: Rule
    why: str


def table(rows: Iterable[Rewrite]) -> Rules:
    """Return rules by primitive, in their order."""
    found: dict[str, list[Rule]] = {}
    for row in rows:
        for name in row.of.split():
            found.setdefault(name, []).append(row.rule)
    return found


class Draft:
    """A graph in the making.

    Parameters
    ----------
    rules : mapping
        What is tried on each operation.
    reads : mapping of Variable to int
        How many operands each variable of the graph is that is rewritten.
    see_to : callable
        ``see_to(draft, equation)``, which gets an operation with functions in it, with the operands of now, returns the
        results of those that it sees to itself, and None for others.
    """

    def __init__(self, rules: Rules, reads: Mapping[Variable, int], see_to: SeeTo) -> None:
        self.rules = rules
        self.reads = reads
        self.see_to = see_to
        self.equations: list[Equation] = []
        self.has_changed = False
        """Whether anything is written otherwise than it stood there."""
        self._maker: dict[Variable, Equation] = {}
        self._written: dict[Hashable, tuple[Any, ...]] = {}

    # For whoever rewrites a graph

    def place(self, graph: Graph, operands: Sequence[Any], *, called: bool = False) -> list[Any]:
        """Write a graph's operations down, with these operands for its inputs, and return what its results are.

        Parameters
        ----------
        graph : Graph
            The graph.
        operands : sequence
            Variables or literals.
        called : bool
            Whether it is written down once more than it stands there, so that its variables are not to be used again.
        """
        now: dict[Any, Any] = dict(zip(graph.inputs, operands, strict=True))
        now.update((variable, variable) for variable, _ in graph.constants)
        for equation in graph.equations:
            inputs = tuple([now[x] if type(x) is Variable else x for x in equation.inputs])
            outputs = tuple([new_variable(out.form) for out in equation.outputs]) if called else equation.outputs
            primitive, params, source = equation.primitive, equation.params, equation.source
            found = self.equation(Equation(primitive, inputs, params, outputs, source))
            now.update(zip(equation.outputs, found, strict=True))
        return [now[out] if type(out) is Variable else out for out in graph.outputs]

    def equation(self, equation: Equation) -> Sequence[Any]:
        """Write an operation down, with functions in it or not, unless something else has its results; return those."""
        found = None if equation.primitive.has_kernels else self.see_to(self, equation)
        if found is not None:
            return found
        return self.operation(equation.primitive, equation.inputs, equation.params, equation.outputs, equation.source)

    def operation(
        self,
        primitive: Primitive,
        inputs: tuple[Any, ...],
        params: Mapping[str, Any],
        outputs: tuple[Variable, ...],
        source: str | None = None,
    ) -> Sequence[Any]:
        """Write an operation down, unless something else has its results; return those."""
        if primitive.multiple_results or len(outputs) != 1:
            return self._known_or_new(primitive, inputs, params, outputs, source)
        (out,) = outputs
        rules = self.rules.get(primitive.name, ())
        if isinstance(primitive, Elementwise):
            if primitive.forward is None:  # a text may ask each operand for its dtype
                inputs = _with_python_numbers(inputs)
            rules = (*self.rules.get("elementwise", ()), *rules)
        site = Site(primitive, inputs, params, out.form)
        found = self._computed(site)
        if found is None:
            found = next((x for rule in rules if (x := rule(self, site)) is not None), None)
            assert found is None or type(found) in PYTHON_NUMBERS or found.dtype == out.dtype, primitive
        if found is not None:
            self.has_changed = True
            return (self.shaped(found, out.form),)
        return self._known_or_new(primitive, inputs, params, outputs, source)

    # For rules

    def made(self, name: str, *inputs: Any, form: Abstract | None = None, **params: Any) -> Any:
        """Write down an operation of one result by its primitive's name, and return the result.

        `form` is what it is like, where the rule knows that.
        """
        primitive = PRIMITIVES[name]
        if form is None:
            arrays = [wrap(x.form, cast(Node, x)) if type(x) is Variable else x for x in inputs]
            form = primitive.abstract(arrays, params)
        return self.operation(primitive, inputs, Params(params), (new_variable(form),))[0]

    def like(self, site: Site, *inputs: Any, **params: Any) -> Any:
        """Write down the same operation on other operands, whose result is the same."""
        return self.made(site.primitive.name, *inputs, form=site.form, **(params or site.params))

    def maker(self, operand: Any, *names: str) -> Equation | None:
        """Return the operation that has made an operand, if it is one of those with these names."""
        equation = self._maker.get(operand) if type(operand) is Variable else None
        return equation if equation is not None and equation.primitive.name in names else None

    def argument(self, operand: Any, name: str) -> Any:
        """Return the one argument of the operation of this name that has made an operand, or None."""
        equation = self.maker(operand, name)
        return None if equation is None else equation.inputs[0]

    def is_read_once(self, operand: Any) -> bool:
        """Return whether one operation alone reads a variable of the graph that is rewritten."""
        return self.reads.get(operand, 2) == 1

    def number(self, value: Any, form: Abstract) -> Array:
        """Return a number as a literal of a dtype and place."""
        dtype = form.backend.raw_dtype_named(form.dtype.name)
        return wrap(form.backend.xp.asarray(value, dtype=dtype, device=form.device.raw))

    def shaped(self, operand: Any, form: Abstract) -> Any:
        """Return an operand broadcast to a shape."""
        if type(operand) in PYTHON_NUMBERS:
            operand = self.number(operand, form)
        if tuple(operand.shape) == tuple(form.shape):
            return operand
        return self.made("broadcast_to", operand, form=form, shape=form.shape)

    # How

    def _computed(self, site: Site) -> Array | None:
        """Compute an operation on literals that gives one number."""
        primitive, inputs, params, form = site
        if form.shape or any(type(x) is Variable for x in inputs) or is_distinct(primitive, params):
            return None
        if not any(type(x) is Array for x in inputs):
            return None
        equation = Equation(primitive, inputs, Params(params), ())
        (result,) = silenced(form.backend, equation.run)(inputs)  # log(0.0) is no news of the compiler's
        return result if result.dtype == form.dtype else None

    def _known_or_new(
        self,
        primitive: Primitive,
        inputs: tuple[Any, ...],
        params: Mapping[str, Any],
        outputs: tuple[Variable, ...],
        source: str | None,
    ) -> tuple[Any, ...]:
        key = None if is_distinct(primitive, params) else _key(primitive, inputs, params, outputs)
        if key is not None:
            found = self._written.get(key)
            if found is not None:
                self.has_changed = True
                return found
            self._written[key] = outputs
        equation = Equation(primitive, inputs, params if type(params) is Params else Params(params), outputs, source)
        self.equations.append(equation)
        self._maker.update(dict.fromkeys(outputs, equation))
        return outputs


def is_distinct(primitive: Primitive, params: Mapping[str, Any]) -> bool:
    """Return whether an operation stands for itself: it has an effect, or is to stay where it is."""
    if primitive.distinct or primitive.has_effect(params):
        return True
    if primitive.has_kernels:
        return False
    graphs = [graph for value in params.values() for graph in graphs_in(value)]
    return any(is_distinct(e.primitive, e.params) for graph in graphs for e in graph.equations)


def _key(
    primitive: Primitive, inputs: Sequence[Any], params: Mapping[str, Any], outputs: Sequence[Variable]
) -> Hashable:
    """Return what two operations have in common that give the same; None if that cannot be said."""
    arrays: list[Array] = []
    try:
        operands = tuple([x if type(x) is Variable else _key_of_literal(x) for x in inputs])
        values = tuple([(name, key_of_value(params[name], arrays)) for name in sorted(params)]) if params else ()
    except TypeError:
        return None
    if arrays:
        return None
    if primitive.name in COMMUTATIVE and len(operands) == 2 and hash(operands[0]) > hash(operands[1]):
        operands = operands[::-1]
    return primitive, operands, values, outputs[0].dtype if outputs else None


def _key_of_literal(literal: Any) -> Hashable:
    if type(literal) in PYTHON_NUMBERS:
        return type(literal), repr(literal)
    return literal.dtype, host(literal).tobytes(), literal.device


def _with_python_numbers(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return operands with numbers beside a variable of their dtype as Python's: so there is one way to write them."""
    if all(type(x) is Variable for x in inputs):
        return inputs
    dtypes = {x.dtype for x in inputs if type(x) is Variable and x.dtype.kind in "fiu"}
    if len(dtypes) != 1:
        return inputs
    (dtype,) = dtypes

    def plain(operand: Any) -> Any:
        if type(operand) is Array and operand.dtype == dtype:
            return host(operand).item()
        return float(operand) if type(operand) is int and dtype.kind == "f" else operand

    return tuple(map(plain, inputs))


def form_of(operand: Any) -> Abstract:
    """Return shape, dtype and place of a variable or an Array."""
    return operand.form if type(operand) is Variable else abstract_like(operand)


def number_in(operand: Any) -> Any:
    """Return a literal's number; None for a variable."""
    if type(operand) is Variable:
        return None
    return host(operand).item() if type(operand) is Array else operand
