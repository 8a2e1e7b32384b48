"""The stages of a jitted function, under JAX's names: `Traced`, `Lowered` and `Compiled`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradkit.backend.plan import Buffer
from gradkit.compiler.plan_text import plan_text
from gradkit.core.array import Array, innermost, is_followed
from gradkit.core.graph import Graph
from gradkit.core.promotion import PYTHON_NUMBERS
from gradkit.core.stand_in import Abstract
from gradkit.transforms.abstract import ClosedJaxpr, ShapedArray, ShapeDtypeStruct, typeof
from gradkit.transforms.arguments import as_array
from gradkit.transforms.costs import MemoryStats, costs_of, memory_of
from gradkit.transforms.float0 import FLOAT0
from gradkit.transforms.printing import jaxpr_text
from gradkit.transforms.programs import Program, number_at
from gradkit.tree import PyTreeDef, flatten, unflatten

__all__ = ["ArgInfo", "Compiled", "Lowered", "Traced"]


@dataclass(frozen=True)
class ArgInfo:
    """A leaf of the arguments: its type, and whether it is donated."""

    shape: tuple[int, ...]
    dtype: Any
    donated: bool


class Stage:
    """What all stages say of the function.

    Attributes
    ----------
    in_tree, out_tree : PyTreeDef
        The structures of its arguments, those that are static left out, and of its result.
    """

    def __init__(self, program: Program, donated: Sequence[int], label: Callable[[int], str]) -> None:
        self._program = program
        self._donated = donated
        self._label = label
        self.in_tree: PyTreeDef = program.in_tree
        self.out_tree: PyTreeDef = program.out_tree

    @property
    def fun_name(self) -> str:
        """The function's name."""
        return self._program.name

    @property
    def argument_names(self) -> list[str]:
        """What the leaves of its arguments are called: the parameter and the path to the leaf."""
        return list(map(self._label, range(len(self._program.forms))))

    @property
    def args_info(self) -> Any:
        """The arguments' tree with an `ArgInfo` for each leaf."""
        forms = self._program.forms
        return unflatten(
            self.in_tree, [ArgInfo(form.shape, form.dtype, i in self._donated) for i, form in enumerate(forms)]
        )

    @property
    def in_avals(self) -> Any:
        """The arguments' tree with a `ShapeDtypeStruct` for each leaf."""
        return unflatten(self.in_tree, [ShapeDtypeStruct(form.shape, form.dtype) for form in self._program.forms])

    @property
    def out_info(self) -> Any:
        """The result's tree with a `ShapeDtypeStruct` for each leaf."""
        outs = [ShapeDtypeStruct(tuple(out.shape), out.dtype) for out in self._program.graph.outputs]
        for i, value in self._program.float0.items():
            outs.insert(i, ShapeDtypeStruct(value.shape, FLOAT0))
        return unflatten(self.out_tree, outs)

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        """Which leaves are donated."""
        return tuple(self._donated)


class Traced(Stage):
    """A function that was captured for some arguments."""

    @property
    def jaxpr(self) -> ClosedJaxpr:
        """Its graph."""
        graph, count = self._program.graph, len(self._program.constants)
        constants = list(zip(graph.inputs[:count], self._program.constants, strict=True))
        opened = Graph(graph.inputs[count:], constants, graph.equations, graph.outputs)
        return ClosedJaxpr(opened, self.in_tree, self.out_tree)

    @property
    def out_avals(self) -> Any:
        """Return `out_info`."""
        return self.out_info

    def lower(self, **_: Any) -> Lowered:
        """Return the stage before the compiler."""
        return Lowered(self._program, self._donated, self._label)


class Lowered(Stage):
    """A function that was captured, before it is compiled."""

    def as_text(self, dialect: str | None = None, *, debug_info: bool = False) -> str:
        """Return the graph as text: in JAX's form of a jaxpr, whatever `dialect` asks for."""
        return f"module @jit_{self._program.name}\n{jaxpr_text(self._program.graph)}\n"

    def cost_analysis(self) -> dict[str, float]:
        """Return the numbers of operations, of transcendental functions, and of bytes read and written."""
        return costs_of(self._program.graph)

    def compile(self, compiler_options: Any = None) -> Compiled:
        """Compile it."""
        return Compiled(self._program, self._donated, self._label)


class Compiled(Stage):
    """A function that is compiled for some arguments, and takes no others; static ones are left out."""

    def __init__(self, program: Program, donated: Sequence[int], label: Callable[[int], str]) -> None:
        super().__init__(program, donated, label)
        self._executable = program.executable

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        leaves, tree = flatten((args, kwargs))
        if tree != self.in_tree:
            raise TypeError(
                f"Function compiled with input pytree does not match the input pytree it was called with: it was "
                f"compiled for {self.in_tree}, and called with {tree}."
            )
        arrays = [
            number_at(leaf, form) if type(leaf) in PYTHON_NUMBERS else leaf if form.kind == "float0" else as_array(leaf)
            for leaf, form in self._pairs(leaves)
        ]
        for array in arrays:
            if type(array) is Array and (is_followed(array) or type(innermost(array)) is Abstract):
                raise TypeError(
                    "Cannot apply JAX transformations to a function lowered and compiled for a particular signature. "
                    f"Detected argument of Tracer type {array!r}."
                )
        self._check(arrays)
        return self._program.run(
            [leaf if form.kind is not None else a for (leaf, form), a in zip(self._pairs(leaves), arrays, strict=True)]
        )

    call = __call__

    def _pairs(self, leaves: Sequence[Any]) -> list[tuple[Any, Any]]:
        return list(zip(leaves, self._program.forms, strict=True))

    def _check(self, arrays: Sequence[Any]) -> None:
        wrong = [
            f"Argument '{self._label(i)}' compiled with {ShapedArray(form.shape, form.dtype)} and called with "
            f"{typeof(array)}"
            for i, (array, form) in enumerate(self._pairs(arrays))
            if form.kind != "float0" and (array.shape, array.dtype) != (form.shape, form.dtype)
        ]
        if wrong:
            raise TypeError(
                "Argument types differ from the types for which this computation was compiled. Perhaps you are calling "
                "the compiled executable with a different enable_x64 mode than when it was AOT compiled? The "
                "mismatches are:\n" + "\n".join(wrong)
            )

    def as_text(self) -> str:
        """Return what runs, as text: the plan, or the graph where that is interpreted."""
        plan = self._executable.plan
        return jaxpr_text(self._program.graph) if plan is None else plan_text(plan)

    def cost_analysis(self) -> dict[str, float]:
        """Return the numbers of operations, of transcendental functions, and of bytes read and written."""
        return costs_of(self._program.graph)

    def memory_analysis(self) -> MemoryStats:
        """Return the memory that arguments, results, and what is in between take."""
        found = memory_of(self._program.graph, self._program.donated)
        plan = self._executable.plan
        if plan is not None:
            found.temp_size_in_bytes = plan.arena
            found.alias_size_in_bytes = sum(b.size for b in plan.results if isinstance(plan.memory.get(b), Buffer))
            found.generated_code_size_in_bytes = self._executable.code_size
        return found

    def runtime_executable(self) -> Any:
        """Return what runs it."""
        return self._executable
