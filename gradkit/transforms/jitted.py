"""`Jitted`: a function that is captured once for each signature of its arguments, and then runs as a program.

A signature is the structure of the arguments, shape, dtype and place of each leaf, the static arguments, and the
settings. Looking one up has to be fast, so there are two tables: `_fast` by what a call shows at once, the types,
dtypes and shapes of what its Arrays hold; and that of the programs by the signature, for calls that are new to `_fast`.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

import optree

from gradkit.backend import backend_of
from gradkit.config import config
from gradkit.core.array import Array, weak_type
from gradkit.core.node import Leaf
from gradkit.core.operands import note_weakness
from gradkit.core.promotion import PYTHON_NUMBERS, promote
from gradkit.pytrees.containers import NAMESPACE
from gradkit.transforms.abstract import ShapeDtypeStruct
from gradkit.transforms.arguments import array_among, as_array, named_like
from gradkit.transforms.call_arguments import Fixed, Places, static_argument
from gradkit.transforms.compile_log import tracing
from gradkit.transforms.float0 import is_float0
from gradkit.transforms.programs import Program, capture_program
from gradkit.transforms.signatures import Call, Signature, form_of, name_of_leaf, what_is_new, where_defined
from gradkit.transforms.surroundings import surroundings
from gradkit.tree import flatten, leaves_with_path

if TYPE_CHECKING:
    from gradkit.transforms.stages import Lowered, Traced

__all__ = ["Jitted", "Options", "clear_programs"]

LARGEST = 4096
"""How many signatures of one function are kept, and how many calls that they are known by."""

_flatten = optree.tree_flatten
_dtype_of_number = {kind: promote([], [kind]) for kind in PYTHON_NUMBERS}


@dataclass(frozen=True)
class Options:
    """What `jit` was asked for: which arguments are static or donated, and whether graphs take the call apart."""

    static: Places
    donated: Places
    inline: bool


class Programs:
    """The programs of one function, shared by all that `jit` made of it with the same options."""

    def __init__(self) -> None:
        self.fast: dict[Hashable, Program] = {}
        self.for_strong: dict[Signature, Program] = {}
        self.structures: dict[Any, int] = {}
        self.latest: tuple[Any, ...] | None = None
        """`Program.latest` of the last one that was run."""
        self.by_signature: dict[Signature, Program] = {}
        self.locks: defaultdict[Signature, threading.RLock] = defaultdict(threading.RLock)

    def forget_calls(self) -> None:
        """Forget what calls are known by. A structure that is met again gets another number."""
        self.fast.clear()
        self.structures.clear()

    def clear(self) -> None:
        """Forget all of them."""
        self.latest = None
        self.forget_calls()
        self.by_signature.clear()
        self.for_strong.clear()
        self.locks.clear()

    def keep(self, signature: Signature, program: Program) -> None:
        """Keep a program; of too many the first are forgotten."""
        if len(self.by_signature) >= LARGEST:
            self.by_signature.pop(next(iter(self.by_signature)), None)
            self.for_strong.clear()
            self.forget_calls()
        self.by_signature[signature] = program
        if program.is_for_strong:
            # What a step gives for a Python number is an Array, which the next step is given.
            forms = tuple(form._replace(kind=None) if type(form.kind) is type else form for form in signature.forms)
            self.for_strong[signature._replace(forms=forms)] = program


_of_functions: weakref.WeakKeyDictionary[Any, dict[Options, Programs]] = weakref.WeakKeyDictionary()
_all: weakref.WeakSet[Programs] = weakref.WeakSet()
_lock = threading.Lock()
_numbers = itertools.count(-1, -1)
"""Of structures, below 0: what a call of Arrays alone is known by begins with their number."""


def _unlocked() -> None:
    """Let a child that was made while another thread captured capture too: that thread is not in it."""
    global _lock
    _lock = threading.Lock()
    for programs in list(_all):
        programs.locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)


def clear_programs() -> None:
    """Forget the programs of all functions."""
    for programs in list(_all):
        programs.clear()


def _programs_of(fun: Callable[..., Any], options: Options) -> Programs:
    with _lock:
        known: dict[Options, Programs] = {}
        equals: Any = type(fun).__eq__
        # Objects that are equal by a rule of their own may yet compute something else.
        if equals is object.__eq__:
            with suppress(TypeError):  # it does not hash, or nothing can refer to it weakly
                known = _of_functions.setdefault(fun, known)
        found = known.get(options)
        if found is None:
            found = known[options] = Programs()
            _all.add(found)
        return found


class Jitted:
    """What `jit` returns.

    Attributes
    ----------
    __wrapped__ : callable
        The function.
    """

    def __init__(self, fun: Callable[..., Any], options: Options) -> None:
        named_like(fun)(self)
        self.__wrapped__ = fun
        self._options = options
        self._has_no_static = not options.static
        self._programs = _programs_of(fun, options)
        self._fast = self._programs.fast
        self._structure: tuple[Any, int] = None, 0

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the function: captured at the first call with a signature, as a program from then on."""
        leaves: Any
        latest = self._programs.latest
        if latest is not None:
            take, settings, run, build = latest
            if (
                (leaves := take((args, kwargs))) is not None
                and surroundings() == settings
                and (outs := run(leaves)) is not None
            ):
                return build(outs)
        key: list[Any] | None = None
        if self._has_no_static and not kwargs:
            # Arguments that are Arrays all of them need no taking apart.
            key = [len(args), surroundings()]
            append = key.append
            kind = None
            for x in args:
                if type(x) is not Array or x._node is not None:
                    key = None
                    break
                value = x._value
                if type(value) is not kind:
                    kind = type(value)
                    append(kind)
                append(value.dtype)
                append(value.shape)
            value = None  # it would count as held by somebody, and not be donated
            if key is not None:
                program = self._fast.get(tuple(key))
                if program is not None:
                    return self._ran(program, [*args])
        if key is None and (self._has_no_static or not config.jax_disable_jit):
            leaves, key, has_parameters = self._key(args, kwargs)
            if key is not None:
                program = self._fast.get(tuple(key))
                if program is not None:
                    return program.run_on_parameters(leaves) if has_parameters else self._ran(program, leaves)
        return self._call(args, kwargs, key)

    def _ran(self, program: Program, leaves: list[Any]) -> Any:
        is_new = program.is_new
        result = program.run(leaves)
        if self._has_no_static and not is_new:
            self._programs.latest = program.latest
        return result

    def _key(self, args: Any, kwargs: Any) -> tuple[list[Any], list[Any] | None, bool]:
        """Return the leaves of arguments, what they are known by in `_fast`, and whether parameters are among them.

        It is None where they are not plain: where a transform follows one, or the tape one that is no parameter.
        """
        leaves: list[Any]
        fixed: Fixed = ()
        if not self._has_no_static:
            args, kwargs, fixed = self._without_static(args, kwargs)
        # A call with arguments by name may have the structure of one without: `named` tells them apart.
        named = bool(kwargs)
        given: Any = (args, kwargs) if named else args
        leaves, spec = _flatten(given, None, namespace=NAMESPACE)
        latest, number = self._structure
        if spec != latest:  # which takes half the time of a hash
            number = self._programs.structures.setdefault(spec, next(_numbers))
            self._structure = spec, number
        key: list[Any] = [number, named, surroundings(), *fixed]
        append = key.append
        kind = None
        has_parameters = False
        for x in leaves:
            if type(x) is Array:
                node = x._node
                if node is not None:
                    if type(node) is not Leaf or not node.is_parameter or node.trace.level:
                        return leaves, None, False
                    has_parameters = True
                value = x._value
                if type(value) is not kind:
                    kind = type(value)
                    append(kind)
                append(value.dtype)
                append(value.shape)
            elif type(x) in PYTHON_NUMBERS:
                append(type(x))
                kind = None
            else:
                return leaves, None, False
        return leaves, key, has_parameters

    def _without_static(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any, Fixed]:
        """Return the arguments that are not static, and of the others where they are, their types and values."""
        static = self._options.static
        positions, names = sorted(static.among(len(args))), sorted(static.names & kwargs.keys())
        static_ones = [static_argument(i, args[i]) for i in positions] + [
            static_argument(name, kwargs[name]) for name in names
        ]
        if names:
            kwargs = {name: arg for name, arg in kwargs.items() if name not in names}
        return tuple(arg for i, arg in enumerate(args) if i not in positions), kwargs, tuple(static_ones)

    def _call(self, args: Any, kwargs: Any, key: list[Any] | None) -> Any:
        if config.jax_disable_jit:
            return self.__wrapped__(*args, **kwargs)
        call = self.take_apart(args, kwargs)
        program = self.program(call)
        if not program.is_for_strong and any(weak_type(leaf) for leaf in call.leaves if type(leaf) is Array):
            note_weakness()  # to the capture in progress
        if program.limits:
            program.check(call.leaves)
        # On one of several devices an array has to be asked for its place, which `_fast` does not do.
        if (
            key is not None
            and program.is_for_all
            and not any(form.backend is not None and len(form.backend.devices) > 1 for form in call.signature.forms)
        ):
            if len(self._fast) >= LARGEST:
                self._programs.forget_calls()
            self._fast[tuple(key)] = program
        if any(type(leaf) is Array and leaf._node is not None for leaf in call.leaves):
            return program.call([array for array in call.arrays if array is not None])
        return self._ran(
            program,
            [
                leaf if form.kind is not None else array
                for leaf, array, form in zip(call.leaves, call.arrays, call.signature.forms, strict=True)
            ],
        )

    # Signatures and programs

    def take_apart(self, args: Sequence[Any], kwargs: Mapping[str, Any], abstract: bool = False) -> Call:
        """Take the arguments of a call apart; in the place of arrays there may be their shapes, if `abstract`."""
        given, named, fixed = self._without_static(args, kwargs)
        leaves, tree = flatten((given, dict(named)))
        like = None if all(type(leaf) is Array for leaf in leaves) else array_among(leaves)
        arrays = [self._array(leaf, like, abstract, fixed, given, named) for leaf in leaves]
        forms = tuple(map(form_of, leaves, arrays))
        return Call(Signature(tree, forms, fixed, surroundings()), leaves, arrays)

    def _array(
        self, leaf: Any, like: Array | None, abstract: bool, fixed: Fixed, args: Any, kwargs: Any
    ) -> Array | None:
        """Return a leaf as an Array; None for what has no values."""
        if type(leaf) is Array:
            return leaf
        if is_float0(leaf) or (abstract and isinstance(leaf, ShapeDtypeStruct)):
            return None
        try:
            return as_array(leaf, like)
        except TypeError as error:
            if backend_of(leaf) is not None:  # the library has said what is wrong with it
                raise
            path = next(path for path, value in leaves_with_path((args, dict(kwargs))) if value is leaf)
            place = name_of_leaf(self.__wrapped__, path, fixed)
            raise TypeError(
                f"Error interpreting argument to {self.__wrapped__} as an abstract array. The problematic value is of "
                f"type {type(leaf)} and was passed to the function at path {place}.\n"
                f"This typically means that a jit-wrapped function was called with a non-array argument, and this "
                f"argument was not marked as static using the static_argnums or static_argnames parameters of jit."
            ) from error

    def program(self, call: Call) -> Program:
        """Return the program for a signature, captured where it is new: by one of several threads."""
        programs, signature = self._programs, call.signature
        program = programs.by_signature.get(signature) or programs.for_strong.get(signature)
        if program is not None:
            return program
        with _lock:  # to find one and to put one there is two steps
            lock = programs.locks[signature]
        with lock:
            program = programs.by_signature.get(signature) or programs.for_strong.get(signature)
            if program is None:
                program = self._captured(call)
                if program.is_for_all:
                    programs.keep(signature, program)
        programs.locks.pop(signature, None)
        return program

    def _captured(self, call: Call) -> Program:
        signature = call.signature

        def rebuilt(tree: Any) -> tuple[Any, Any]:
            given, named = tree
            args, kwargs = list(given), dict(named)
            for place, _, value in signature.fixed:
                if isinstance(place, int):
                    args.insert(place, value)
                else:
                    kwargs[place] = value
            return args, kwargs

        with tracing(self._name, lambda: what_is_new(self.__wrapped__, signature, list(self._programs.by_signature))):
            return capture_program(
                self.__wrapped__,
                rebuilt,
                signature.tree,
                signature.forms,
                self._name,
                where_defined(self.__wrapped__),
                call.leaves,
                self._options.inline,
                signature.leaves_of(self._options.donated),
            )

    @property
    def _name(self) -> str:
        name = getattr(self.__wrapped__, "__name__", None)
        return name if isinstance(name, str) else "<unnamed function>"

    # What JAX's have

    def trace(self, /, *args: Any, **kwargs: Any) -> Traced:
        """Capture the function for these arguments, or for anything with their shapes and dtypes."""
        from gradkit.transforms.stages import Traced  # late: a call takes none of it

        call = self.take_apart(args, kwargs, abstract=True)
        return Traced(
            self.program(call), call.signature.leaves_of(self._options.donated), partial(self._label, call.signature)
        )

    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        """Return ``trace(...).lower()``."""
        return self.trace(*args, **kwargs).lower()

    def eval_shape(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the shapes and dtypes of the results for these arguments."""
        return self.trace(*args, **kwargs).out_info

    def _label(self, signature: Signature, leaf: int) -> str:
        return name_of_leaf(self.__wrapped__, signature.paths[leaf], signature.fixed)

    def clear_cache(self) -> None:
        """Forget what was captured."""
        self._programs.clear()

    def _cache_size(self) -> int:
        return len(self._programs.by_signature)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<PjitFunction of {self.__wrapped__!r}>"

    def __reduce__(self) -> Any:
        # What decorates a function of a module is found there by name, as the function itself would be.
        module, name = getattr(self, "__module__", None), getattr(self, "__qualname__", None)
        found: Any = sys.modules.get(module or "")
        for part in (name or "").split("."):
            found = getattr(found, part, None)
        return name if found is self else (Jitted, (self.__wrapped__, self._options))
