"""A program of LLVM in the making: its functions, the constants and calls that they share, and what they declare."""

from __future__ import annotations

import re

from gradkit.backend.plan import Call
from gradkit_numpy.native import statements
from gradkit_numpy.native.interpreter import Costs, interpreter_functions
from gradkit_numpy.native.symbols import declared_once
from gradkit_numpy.native.text import METADATA

__all__ = ["Module"]

APART = 100_000
"""Characters of a program from which on its functions are not put into each other.

LLVM puts a function that is called once into its caller, and its time for a function grows with the square of the
length: a step of a network of 80 layers took 17 seconds, and takes 1.4.
"""


class Module:
    """One program.

    Attributes
    ----------
    functions : list of str
        Their texts.
    calls : list of Call
        The calls of Python in them, by number.
    costs : Costs
        About how many operations its plans take.
    """

    def __init__(self) -> None:
        self.functions: list[str] = []
        self.calls: list[Call] = []
        self.costs = Costs()
        self._constants: dict[tuple[str, str], str] = {}
        self._names = 0

    def name(self, kind: str) -> str:
        """Return a new name of a function."""
        self._names += 1
        return f"@{kind}{self._names}"

    def constant(self, kind: str, value: str) -> str:
        """Return the name of a number in memory, as BLAS takes them."""
        return self._constants.setdefault((kind, value), f"@c{len(self._constants)}")

    def text(self) -> str:
        """Return all of it."""
        body = "\n\n".join(self.functions)
        constants = [f"{name} = private constant {kind} {value}" for (kind, value), name in self._constants.items()]
        # Objects of Python, of which the address alone is asked.
        constants += [f"declare void @{name}()" for name in sorted(set(re.findall(r"@(object_\w+)", body)))]
        own = "\n".join([*statements.definitions(body), *interpreter_functions(body)])
        body = "\n\n".join([*constants, own, body])
        attributes = "nounwind noinline" if len(body) >= APART else "nounwind"
        text = f"{body}\n\n{_declarations(body)}\n\nattributes #0 = {{ {attributes} }}\n\n{METADATA}"
        return declared_once(text)


def _declarations(body: str) -> str:
    """Declare every function that is called and not defined."""
    defined = set(re.findall(r"define [^@]*@([\w.]+)\(", body))
    declared = {}
    for kind, name, given in re.findall(r"call ([\w]+) @([\w.]+)\(([^)]*)\)", body):
        if name not in defined:
            types = ", ".join(part.split()[0] for part in given.split(", ") if part)
            declared[name] = f"declare {kind} @{name}({types})"
    return "\n".join(declared.values())
