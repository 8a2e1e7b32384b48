"""Loops and choices as passes see them: which operand and which result belongs to which argument of their functions.

The operations themselves are declared in `lax`. Their parameters are JAX's, and so is the order of their operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradkit.compiler.passes import new_variable
from gradkit.core.graph import Equation, Graph, Params

__all__ = ["CONTROL", "Choice", "Control", "Scan", "While", "control_of"]

Operands = tuple[Any, ...]


@dataclass(frozen=True)
class Scan:
    """A `scan`: ``body(*constants, *carry, *elements of xs) -> (*carry, *elements of ys)``."""

    params: Params
    body: Graph
    constants: Operands
    carry: Operands
    xs: Operands

    @classmethod
    def of(cls, operands: Operands, params: Params) -> Scan:
        """Read an operation."""
        first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
        return cls(params, params["jaxpr"], operands[:first], operands[first:last], operands[last:])

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Its functions."""
        return (self.body,)

    def with_constants(self, extra: Sequence[tuple[Graph, Operands]]) -> Scan:
        """Return the loop with what its functions have as constants among the operands; one entry a function."""
        ((body, constants),) = extra
        return replace(self, body=body, constants=(*constants, *self.constants))

    def written(self) -> tuple[Operands, Params]:
        """Return the operands and parameters of the operation."""
        counts = {"num_consts": len(self.constants), "num_carry": len(self.carry)}
        return (*self.constants, *self.carry, *self.xs), Params({**self.params, "jaxpr": self.body, **counts})


@dataclass(frozen=True)
class While:
    """A `while`: ``test(*test_constants, *carry) -> (bool,)`` and ``body(*constants, *carry) -> carry``."""

    params: Params
    test: Graph
    body: Graph
    test_constants: Operands
    constants: Operands
    carry: Operands

    @classmethod
    def of(cls, operands: Operands, params: Params) -> While:
        """Read an operation."""
        first, last = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
        graphs = params["cond_jaxpr"], params["body_jaxpr"]
        return cls(params, *graphs, operands[:first], operands[first:last], operands[last:])

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Its functions."""
        return self.test, self.body

    def with_constants(self, extra: Sequence[tuple[Graph, Operands]]) -> While:
        """Return the loop with what its functions have as constants among the operands; one entry a function."""
        (test, of_test), (body, of_body) = extra
        return replace(
            self,
            test=test,
            body=body,
            test_constants=(*of_test, *self.test_constants),
            constants=(*of_body, *self.constants),
        )

    def written(self) -> tuple[Operands, Params]:
        """Return the operands and parameters of the operation."""
        graphs = {"cond_jaxpr": self.test, "body_jaxpr": self.body}
        counts = {"cond_nconsts": len(self.test_constants), "body_nconsts": len(self.constants)}
        operands = (*self.test_constants, *self.constants, *self.carry)
        return operands, Params({**self.params, **graphs, **counts})


@dataclass(frozen=True)
class Choice:
    """A `cond`: ``branches[index](*operands)``."""

    params: Params
    branches: tuple[Graph, ...]
    index: Any
    operands: Operands

    @classmethod
    def of(cls, operands: Operands, params: Params) -> Choice:
        """Read an operation."""
        return cls(params, params["branches"], operands[0], operands[1:])

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Its functions."""
        return self.branches

    def with_constants(self, extra: Sequence[tuple[Graph, Operands]]) -> Choice:
        """Return the choice with what its functions have as constants among the operands; one entry a function."""
        joint = [v for branch, own in extra for v in branch.inputs[: len(own)]]
        branches = []
        start = 0
        for branch, own in extra:
            pads = [new_variable(v.form) for v in joint]
            pads[start : start + len(own)] = branch.inputs[: len(own)]
            start += len(own)
            branches.append(replace(branch, inputs=[*pads, *branch.inputs[len(own) :]]))
        operands = (*(x for _, own in extra for x in own), *self.operands)
        return replace(self, branches=tuple(branches), operands=operands)

    def written(self) -> tuple[Operands, Params]:
        """Return the operands and parameters of the operation."""
        return (self.index, *self.operands), Params({**self.params, "branches": self.branches})


Control = Scan | While | Choice
CONTROL: dict[str, type[Scan] | type[While] | type[Choice]] = {"scan": Scan, "while": While, "cond": Choice}
"""By the name of the operation."""


def control_of(equation: Equation) -> Control | None:
    """Return the loop or choice that an operation is."""
    kind = CONTROL.get(equation.primitive.name)
    return None if kind is None else kind.of(equation.inputs, equation.params)
