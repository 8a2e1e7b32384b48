"""What a program is called on disk, so that a second process finds it compiled without planning and printing it again.

A graph's key (`keys.key_of`) is turned into bytes that say the same in every process: primitives, dtypes and backends
by name, numbers as they are written. With them goes all else that a program depends on: the arrays that stand in it,
the arguments that it may write, the settings, and the versions and sources of what compiles. What has no name that
holds in another process, such as a function of the user's or a primitive that is declared elsewhere, makes no name:
such a program is compiled in each process.
"""

from __future__ import annotations

import enum
import os
import sys
import threading
from collections.abc import Hashable, Sequence
from dataclasses import fields, is_dataclass
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from gradkit.backend import Backend
from gradkit.backend.printers import Box, Printer
from gradkit.compiler.keys import exact_text
from gradkit.config import LOADED, WITHOUT_MEANING, config
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.primitive import Primitive
from gradkit.primitives import OWN

__all__ = ["facts_of"]

PACKAGE = "gradkit"
PREFIX = "gradkit."
PLAIN = frozenset({type(None), bool, int, float, complex, str})
KNOWN = frozenset({"builtins", PACKAGE, "numpy"})
"""The packages whose types are known by their names: the versions of all of them are among the facts."""


class _NamelessError(Exception):
    """Something has no name that other processes know."""


def facts_of(
    key: Hashable, literals: Sequence[bytes], donated: Sequence[int], printer: Printer, box: Box
) -> bytes | None:
    """Return all that a program depends on, as bytes; None where something has no name that other processes know.

    Parameters
    ----------
    key : hashable
        The graph's, by `keys.key_of`.
    literals : sequence of bytes
        The elements of the arrays in it, whose shapes and dtypes the key has.
    donated : sequence of int
        The inputs whose memory the results may take.
    printer : Printer
        What compiles it: its package's sources are among the facts.
    box : Box
        Where an Array has its slots.
    """
    settings = tuple(sorted((name, value) for name, value in config.values.items() if name not in WITHOUT_MEANING))
    writer = _Writer({PACKAGE, _package(type(printer))})
    try:
        writer.write((key, tuple(literals), tuple(donated), printer.name, (box.value, box.node), settings))
    except _NamelessError:
        return None
    sources = tuple(sources_in(name) for name in sorted(writer.packages))
    if None in sources:
        return None
    writer.write((sys.version, np.__version__, sources))
    return b"".join(writer.parts)


class _Writer:
    """Writes values down; each begins with its kind and length, so no two different ones give the same bytes.

    Attributes
    ----------
    parts : list of bytes
        What is written.
    packages : set of str
        Those whose sources say what the names mean.
    """

    def __init__(self, packages: set[str]) -> None:
        self.parts: list[bytes] = []
        self.packages = packages
        self._known: dict[int, bytes] = {}
        self._alive: list[Any] = []  # so that no identity comes again

    def write(self, value: Any) -> None:
        """Write a value down."""
        kind = type(value)
        if kind is tuple:
            self.parts.append(b"tuple %d " % len(value))
            for part in value:
                self.write(part)
        elif kind in PLAIN:
            content = (value if kind is str else exact_text(value)).encode(errors="surrogatepass")
            self.parts.append(b"%s %d %s" % (kind.__name__.encode(), len(content), content))
        elif kind is bytes:
            self.parts += (b"bytes %d " % len(value), value)
        else:
            found = self._known.get(id(value))
            if found is None:
                found = self._known[id(value)] = self._of_one(value)
                self._alive.append(value)
            self.parts.append(found)

    def _of_one(self, value: Any) -> bytes:
        """Return what is written for an object, of which there may be many mentions."""
        kind = type(value)
        if kind is frozenset:
            return self._apart(("frozenset", *sorted(value, key=repr)))
        if _package(kind) == PACKAGE and is_dataclass(value):
            return self._apart((kind, *(getattr(value, field.name) for field in fields(value))))
        if _package(kind) == PACKAGE and isinstance(value, tuple):
            return self._apart((kind, *value))
        if isinstance(value, Backend):
            self.packages.add(_package(kind))
        name = _name_of(value).encode(errors="surrogatepass")
        return b"name %d %s" % (len(name), name)

    def _apart(self, parts: tuple[Any, ...]) -> bytes:
        before, self.parts = self.parts, []
        self.write(parts)
        written, self.parts = b"".join(self.parts), before
        return written


def _name_of(value: Any) -> str:
    """Return a name that tells what is not made of other things, in every process."""
    kind = type(value)
    if isinstance(value, type) and (value in PLAIN or _is_in_its_module(value)):
        return f"type {value.__module__}.{value.__qualname__}"
    if isinstance(value, np.dtype) and value.isbuiltin and value.isnative and value.metadata is None:
        return f"dtype {value.str} {value.name}"
    if isinstance(value, Backend):
        return f"backend {kind.__module__}.{kind.__qualname__} {value.name}"
    if isinstance(value, Primitive) and _is_ours(value):
        return f"primitive {kind.__module__}.{kind.__qualname__} {value.name}"
    if isinstance(value, enum.Enum) and _package(kind) == PACKAGE:
        return f"member {kind.__module__}.{kind.__qualname__} {value.name}"
    raise _NamelessError(f"{kind.__name__}: {value!r}")


def _is_in_its_module(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return _package(kind) in KNOWN and module is not None and vars(module).get(kind.__qualname__) is kind


def _package(kind: Any) -> str:
    """Return the package that a type or a function is of."""
    return str(getattr(kind, "__module__", None)).partition(".")[0]


def _is_ours(primitive: Primitive) -> bool:
    """Return whether a primitive is declared in gradkit's own files, whose state the name of a program has."""
    text = primitive.forward
    if _package(type(primitive)) != PACKAGE or (text is not None and _package(text) != PACKAGE):
        return False  # also where a module of gradkit has been given somebody else's
    if primitive.name in OWN:
        return PRIMITIVES.get(primitive.name) is primitive
    module = sys.modules.get(PRIMITIVES.late.get(primitive.name, type(primitive).__module__))
    if module is not None and _has(module, primitive):
        return True
    return any(_has(module, primitive) for name, module in list(sys.modules.items()) if name.startswith(PREFIX))


def _has(module: ModuleType, primitive: Primitive) -> bool:
    """Return whether a module has a primitive, or a function that calls it plainly (`core.calls`)."""
    return any(
        value is primitive or (type(value) is FunctionType and vars(value).get("primitive") is primitive)
        for value in list(vars(module).values())
    )


# Sources

MARGIN = 50_000_000
"""Nanoseconds: a system's clock for files may be behind by some milliseconds."""
_lock = threading.Lock()
_known: dict[str, bytes | None] = {}


def sources_in(name: str) -> bytes | None:
    """Return what tells the state of a package's sources: the name, size and time of change of each, as Python's own.

    None where they are no files of a package, or one has changed since this process began. It is looked at once in a
    process, which does not load a module twice either.
    """
    folders = list(getattr(sys.modules.get(name), "__path__", ()))
    with _lock:
        if name not in _known:
            _known[name] = _state_of(folders)
        return _known[name]


def _state_of(folders: list[str], latest: int = LOADED - MARGIN) -> bytes | None:
    lines: list[str] = []
    try:
        for folder in folders:
            _walk(folder, latest, lines)
    except (OSError, _NewerError):
        return None
    return os.fsencode("\n".join(sorted(lines))) if lines else None


class _NewerError(Exception):
    """A file has changed since this process began, which may have loaded what it was before."""


def _walk(folder: str, latest: int, lines: list[str]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                facts = entry.stat()
                if facts.st_mtime_ns > latest or facts.st_ctime_ns > latest:
                    raise _NewerError
                lines.append(f"{entry.path} {facts.st_size} {facts.st_mtime_ns}")
            elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                _walk(entry.path, latest, lines)


def _unlocked() -> None:
    """Let a child that was made while another thread looked at sources look too: that thread is not in it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)
