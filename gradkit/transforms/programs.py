"""A function that was captured for one signature of its arguments, and how it runs on leaves like them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from gradkit.backend import backend_of
from gradkit.compiler.executables import Executable, row_by_row
from gradkit.compiler.passes import differentiable
from gradkit.core.array import Array, belongs_to_a_call, renewed, wrap
from gradkit.core.assignment import keeping_arguments
from gradkit.core.capture import GraphTrace
from gradkit.core.graph import Graph, Variable
from gradkit.core.lending import copied, is_lent, snapshot
from gradkit.core.node import NO_PARAMS, Node, recording
from gradkit.core.operands import new_array, note_fit, noting_weakness
from gradkit.core.promotion import PYTHON_NUMBERS, is_inexact, require_room_for
from gradkit.core.reverse import TAPE
from gradkit.core.several_results import CALL
from gradkit.core.sources import levels_to_user
from gradkit.core.stand_in import Abstract, Deleted
from gradkit.errors import JAXTypeError
from gradkit.pytrees.apart import taker
from gradkit.transforms.arguments import array_among, as_array
from gradkit.transforms.call_rules import JIT, executable_for, runs_over_an_axis
from gradkit.transforms.float0 import is_float0
from gradkit.transforms.printing import type_text
from gradkit.transforms.surroundings import surroundings
from gradkit.transforms.tape_marks import as_the_tape_sees, without_marks
from gradkit.transforms.vectorize import noting_axes
from gradkit.tree import PyTreeDef, flatten, unflatten

__all__ = ["Form", "Program", "capture_program", "number_at"]


class Form(NamedTuple):
    """What a captured function knows of a leaf of its arguments.

    Attributes
    ----------
    shape, dtype, backend, device
        Of the array.
    kind : type, str or None
        The type of a Python number; ``"float0"`` for what has no elements; ``"tape"`` for an array that the tape
        follows and that is no module's parameter; else None.
    """

    shape: tuple[int, ...]
    dtype: Any
    backend: Any
    device: Any
    kind: Any = None

    def __str__(self) -> str:
        number = f" (a Python {self.kind.__name__})" if isinstance(self.kind, type) else ""
        return f"{type_text(self)}{number}"


def number_at(value: Any, form: Form) -> Array:
    """Return a Python number as the array that a function was captured for."""
    return new_array(value, place=(form.backend, form.device.raw))


class Program:
    """A captured function.

    Attributes
    ----------
    name : str
        The function's name.
    graph : Graph
        Its graph, whose first inputs are what it closes over.
    constants : list of Array
        That.
    forms : tuple of Form
        The leaves of its arguments.
    in_tree, out_tree : PyTreeDef
        The structures of its arguments and result.
    float0 : dict of int to array
        The results that have no elements to speak of, by their place.
    donated : list of int
        Inputs of the graph whose memory the results may take.
    is_for_strong : bool
        Whether it would be the same for arrays in the place of Python numbers.
    limits : dict of int to list of str
        The dtypes of integers that have to hold the leaves that are Python integers, by the leaf's position.
    is_for_all : bool
        Whether it closes over nothing that belongs to a transform in progress, so that other calls may use it.
    """

    def __init__(
        self,
        name: str,
        graph: Graph,
        constants: list[Array],
        forms: tuple[Form, ...],
        trees: tuple[PyTreeDef, PyTreeDef],
        float0: dict[int, Any],
        inline: bool,
        donated: Sequence[int],
    ) -> None:
        self.name = name
        self.graph = graph
        self.constants = constants
        self.forms = forms
        self.in_tree, self.out_tree = trees
        self.inline = inline
        self.is_for_strong = False
        self.limits: dict[int, list[str]] = {}
        self.is_for_all = not any(map(belongs_to_a_call, constants)) and not runs_over_an_axis(graph)
        self._numbers = [i for i, form in enumerate(forms) if type(form.kind) is type]
        self._left_out = {i for i, form in enumerate(forms) if form.kind == "float0"}
        self.float0 = float0
        self._taped: dict[tuple[bool, ...], bool] = {}
        self._shared = _shared_outputs(graph, len(constants))
        self._build = self.out_tree.spec.unflatten
        self._run: Executable | None = None
        self.donated = self._usable(donated)

    # On values

    def run(self, leaves: list[Any]) -> Any:
        """Run it on leaves that no transform follows, and give the result."""
        if self.limits:
            self.check(leaves)
        for i in self._numbers:
            if type(leaves[i]) is not Array:
                leaves[i] = number_at(leaves[i], self.forms[i])
        if self._left_out:
            leaves = [leaf for i, leaf in enumerate(leaves) if i not in self._left_out]
        if self.constants:
            if any(constant._node is not None for constant in self.constants):
                return self.call(leaves)
            leaves = [*self.constants, *leaves]
        return self._run_on(leaves)

    def check(self, leaves: Sequence[Any]) -> None:
        """Raise OverflowError for a Python integer that a dtype which it meets does not hold.

        Of what stands for one it is noted, for the function that is captured.
        """
        for i, dtypes in self.limits.items():
            for dtype in dtypes:
                if type(leaves[i]) is Array:
                    note_fit(leaves[i], dtype)
                else:
                    require_room_for(dtype, leaves[i], self.name)

    def run_on_parameters(self, leaves: list[Any]) -> Any:
        """Run it on leaves some of which are parameters of modules, and no other transform follows one."""
        if self.limits:
            self.check(leaves)
        arrays = [
            leaf if type(leaf) is Array else number_at(leaf, form)
            for leaf, form in zip(leaves, self.forms, strict=True)
        ]
        if recording():
            return self.call(arrays)
        return self.run([leaf if leaf._node is None else wrap(leaf._value) for leaf in arrays])

    def _run_on(self, arrays: list[Array]) -> Any:
        if self.donated:
            return self._donating(arrays, lambda given: self._result(self.executable(given)))
        return self._result((self._run or self.executable)(arrays))

    @cached_property
    def latest(self) -> tuple[Any, ...] | None:
        """What runs it on leaves without a look at them in Python, where nothing else is to be done.

        That is a function that takes the leaves out of arguments, the settings, a function that gives None where leaves
        do not fit, and one that makes the result.
        """
        special = self._left_out or self.float0 or self._shared or not self.is_for_all
        fitting = self.executable.if_it_fits
        if special or fitting is None:
            return None
        run = fitting
        constants = list(map(row_by_row, self.constants))
        if constants:
            run = lambda leaves: fitting([*constants, *leaves])  # noqa: E731
        takes_all = not self._numbers or self.is_for_strong

        def donating(leaves: list[Any]) -> list[Array] | None:
            # A number, or a copy of what lies otherwise in memory, is no argument that can be deleted.
            all_are_arrays = takes_all and all(type(leaf) is Array for leaf in leaves)
            return self._donating([*constants, *leaves], fitting) if all_are_arrays else None

        def on_leaves(leaves: list[Any]) -> list[Array] | None:
            outs = run(leaves) if takes_all else None
            if outs is None and (fitted := self._fitted(leaves)) is not None:
                outs = run(fitted)
            return outs

        return taker(self.in_tree.spec), surroundings(), donating if self.donated else on_leaves, self._build

    def _fitted(self, leaves: list[Any]) -> list[Array] | None:
        """Return leaves as Arrays whose elements lie row by row; None if some are not what this was captured for."""
        fitted = []
        if self.limits:
            self.check(leaves)
        for leaf, form in zip(leaves, self.forms, strict=True):
            kind = type(leaf)
            if kind is not Array:
                if kind is form.kind:
                    fitted.append(number_at(leaf, form))
                    continue
                if kind in PYTHON_NUMBERS or form.kind is not None:
                    return None
                try:
                    leaf = as_array(leaf)
                except TypeError:  # the other way has a message that says where it is
                    return None
            elif form.kind is not None and not self.is_for_strong:
                return None
            if leaf._node is not None or backend_of(leaf._value) is not form.backend:
                return None
            if leaf.shape != form.shape or leaf.dtype != form.dtype:
                return None
            fitted.append(row_by_row(leaf))
        return fitted

    @property
    def is_new(self) -> bool:
        """Whether it has never run: what runs it faster is made for those that run again."""
        return self._run is None

    @property
    def executable(self) -> Executable:
        """What runs the graph; it may take the memory of donated arguments."""
        if self._run is None:
            self._run = executable_for(self.graph, self.name, self.donated)
        return self._run

    def call(self, arrays: list[Array]) -> Any:
        """Run it on Arrays that transforms may follow."""
        args = [*self.constants, *arrays]
        if all(arg._node is None or not arg._node.trace.level for arg in args) and not self._is_taped(args):
            return self._run_on([wrap(arg._value) for arg in args])
        return self._result(JIT.run(args, name=self.name, jaxpr=self.graph, inline=self.inline))

    def _is_taped(self, args: list[Array]) -> bool:
        """Return whether the tape has to record a call: not if all that it would follow goes into modules.

        They keep values alone. So the first step of a training, whose model has parameters, is the others' program.
        """
        tracked = tuple(arg._node is not None for arg in args)
        found = self._taped.get(tracked)
        if found is None:
            wanted = differentiable(as_the_tape_sees(self.graph), tracked)
            found = any(w and keeps for w, keeps in zip(wanted, self._keeping, strict=True))
            self._taped[tracked] = found
        return found

    @cached_property
    def _keeping(self) -> list[bool]:
        """Which results keep their history where they stand in the result's tree."""
        nodes = [Node(TAPE, (), None, CALL, (), None, NO_PARAMS, False) for _ in range(self.out_tree.num_leaves)]
        kept = flatten(self._build([wrap(None, node) for node in nodes]))[0]
        return [type(leaf) is Array and leaf._node is not None for i, leaf in enumerate(kept) if i not in self.float0]

    def _result(self, outs: list[Any]) -> Any:
        for i, is_kept in self._shared:
            outs[i] = _copy(outs[i]) if is_kept else renewed(outs[i])
        for i, value in self.float0.items():
            outs.insert(i, value)
        return self._build(outs)

    # Donated arguments

    def _usable(self, donated: Sequence[int]) -> list[int]:
        """Return the inputs of the graph, of those that are donated, that have the shape and dtype of a result."""
        left = [_type_of(out) for out in self.graph.outputs]
        usable, others = [], []
        for i in donated:
            if self.forms[i].kind is not None:
                continue
            form = self.forms[i].shape, self.forms[i].dtype
            if form in left:
                left.remove(form)
                usable.append(i + len(self.constants) - sum(j < i for j in self._left_out))
            else:
                others.append(type_text(self.forms[i]))
        if others:
            said = f"Some donated buffers were not usable: {', '.join(others)}."
            warnings.warn(said, UserWarning, stacklevel=levels_to_user())
        return usable

    def _donating(self, arrays: list[Array], run: Callable[[list[Array]], Any]) -> Any:
        """Run on Arrays, of which those that are donated are deleted: unless it gives None, and nothing has run."""
        values = [id(array._value) for array in arrays]
        if len(set(values)) < len(values) and any(values.count(values[i]) > 1 for i in self.donated):
            raise ValueError(
                "Attempt to use a buffer that was previously donated in the same call. Toy example for this bug: "
                "`f(donate(a), a)`."
            )
        given = [arrays[i] for i in self.donated]
        # First nobody can begin to read them, then who already does is looked for: other threads may.
        taken = [wrap(array._value, array._node) for array in given]
        for array, gone in zip(given, self._gone, strict=True):
            array._value = gone
        for i, array in zip(self.donated, taken, strict=True):
            arrays[i] = copied(array) if is_lent(array) else array
        found: Any = self  # where a run is interrupted the memory holds neither the old numbers nor the new ones
        try:
            found = run(arrays)
            return found
        finally:
            if found is None:
                for array, before in zip(given, taken, strict=True):
                    array._value = before._value

    @cached_property
    def _gone(self) -> list[Deleted]:
        inputs = [self.graph.inputs[i].form for i in self.donated]
        return [Deleted(form.shape, form.dtype) for form in inputs]


def _type_of(output: Any) -> tuple[Any, Any]:
    return tuple(output.shape), output.dtype


def _shared_outputs(graph: Graph, constants: int) -> list[tuple[int, bool]]:
    """Return the results that another result or an input is as well, and whether they are copied.

    What is closed over is kept from call to call, and nobody may change it in place.
    """
    kept = set(graph.inputs[:constants])
    # One number everywhere: an interpreter gives a view that repeats one element.
    kept |= {
        equation.outputs[0]
        for equation in graph.equations
        if equation.primitive.name == "broadcast_to" and type(equation.inputs[0]) is not Variable
    }
    seen = set(graph.inputs[constants:])
    shared = []
    for i, out in enumerate(graph.outputs):
        if type(out) is not Variable or out in kept:
            shared.append((i, True))
        elif out in seen:
            shared.append((i, False))
        else:
            seen.add(out)
    return shared


def _copy(array: Any) -> Array:
    return copied(array) if type(array) is Array else new_array(array)


# Capturing


def capture_program(
    fun: Callable[..., Any],
    rebuilt: Callable[[Any], tuple[Any, Any]],
    tree: PyTreeDef,
    forms: tuple[Form, ...],
    name: str,
    where: str,
    leaves: Sequence[Any],
    inline: bool,
    donated: Sequence[int],
) -> Program:
    """Run a function once on arrays without values, and return what it did.

    Parameters
    ----------
    fun : callable
        The function.
    rebuilt : callable
        Gives its arguments, positional ones and those by name, from the tree of those that are not static.
    tree, forms, leaves
        That tree's structure, and of its leaves what is known, and themselves.
    name, where : str
        The function's name, and where it is defined.
    inline, donated
        As in `Program`.
    """
    trees: list[PyTreeDef] = []
    float0: dict[int, Any] = {}
    trace = GraphTrace()
    trace.notes_tape = True

    def flat_function(*flat: Any) -> list[Any]:
        trace.parameters.update(
            x._node
            for x, form in zip(flat, dynamic, strict=True)
            if form.kind != "tape" and is_inexact(form.dtype.name)
        )
        given = iter(flat)
        args, kwargs = rebuilt(
            unflatten(
                tree, [leaf if f.kind == "float0" else next(given) for leaf, f in zip(leaves, forms, strict=True)]
            )
        )
        outputs, out_tree = flatten(keeping_arguments(fun)(*args, **kwargs))
        trees.append(out_tree)
        float0.update((i, output) for i, output in enumerate(outputs) if is_float0(output))
        like = array_among(flat)
        return [_as_result(output, like, name, where) for output in outputs if not is_float0(output)]

    dynamic = [form for form in forms if form.kind != "float0"]
    inputs = [
        Abstract(form.shape, form.dtype, form.backend, form.device, form.kind if type(form.kind) is type else None)
        for form in dynamic
    ]
    try:
        with noting_axes() as axes, noting_weakness() as weakness:
            captured = trace.run(flat_function, inputs)
    except JAXTypeError as error:
        said = "The error occurred while tracing the function"
        if said not in str(error):  # by a jitted function inside
            error.args = (f"{error}\n{said} {name} at {where} for jit.",)
        raise
    graph = without_marks(captured.closed())
    constants = [snapshot(constant) for _, constant in captured.constants]
    program = Program(name, graph, constants, forms, (tree, trees[0]), float0, inline, donated)
    # The size of a batch that was asked for by its axis's name is in the graph.
    program.is_for_strong = not weakness
    leaves_of_inputs = [i for i, form in enumerate(forms) if form.kind != "float0"]
    for dtype, number in weakness:
        for i, form in zip(leaves_of_inputs, inputs, strict=True):
            if number is form and dtype not in program.limits.get(i, ()):
                program.limits.setdefault(i, []).append(dtype)
    program.is_for_all &= not any(axis.number < trace.number for axis in axes)
    return program


def _as_result(output: Any, like: Array | None, name: str, where: str) -> Array:
    try:
        return as_array(output, like)
    except TypeError as error:
        if backend_of(output) is not None:  # the library has said what is wrong with it
            raise
        raise TypeError(
            f"function {name} at {where} traced for jit returned a value of type {type(output)}, which is not a valid "
            f"JAX type"
        ) from error
