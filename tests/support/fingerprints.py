"""A fingerprint of a function and its arguments: it changes where the text of what would run changes.

That text is the function's own, of the functions and classes of the tests that it names, and the values that it closes
over. Of other libraries' functions the name is enough. White space does not count, nor does the place in the file.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from gradkit.errors import UnexpectedTracerError

__all__ = ["NoFingerprint", "fingerprint"]

TESTS = str(Path(__file__).parents[1])
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented), slice, range)


class NoFingerprint(TypeError):
    """A value is of another kind than those whose text is known."""


def fingerprint(*values: Any) -> str:
    """Return 16 letters for the values: numbers, arrays, containers, functions, and objects of the tests' classes.

    Raises
    ------
    NoFingerprint
        If a value is none of these.
    """
    digest = hashlib.sha256()
    seen: dict[int, tuple[int, Any]] = {}
    for part in _parts(values, seen):
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _parts(value: Any, seen: dict[int, tuple[int, Any]]) -> Iterator[str | bytes]:
    """Yield what distinguishes a value; one that was met before (in a cycle, too) by its number."""
    if isinstance(value, PLAIN):
        yield f"{type(value).__name__} {value!r}"
        return
    if id(value) in seen:
        yield f"again {seen[id(value)][0]}"
        return
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "O":
        yield f"array {value.dtype.name} {value.shape}"
        yield value.tobytes()
        return
    seen[id(value)] = len(seen), value  # which keeps it alive: another would get its number
    if isinstance(value, tuple | list):
        yield f"{type(value).__name__} {len(value)}"
        for item in value:
            yield from _parts(item, seen)
    elif isinstance(value, dict):
        yield f"dict {len(value)}"
        for key, item in value.items():
            yield from _parts(key, seen)
            yield from _parts(item, seen)
    elif isinstance(value, set | frozenset):
        yield f"set {sorted(map(repr, value))}"
    elif isinstance(value, functools.partial):
        yield "partial"
        yield from _parts((value.func, value.args, value.keywords), seen)
    elif isinstance(value, MethodType):
        yield f"method {value.__name__}"
        yield from _parts(value.__self__, seen)
    elif isinstance(value, FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, ModuleType):
        file = getattr(value, "__file__", None) or ""
        yield f"module {value.__name__}"
        if file.startswith(TESTS):
            yield "".join(Path(file).read_text().split())
    elif isinstance(value, type):
        yield f"class {value.__module__}.{value.__qualname__}"
        if _is_ours(value.__module__):
            yield _definition(value)
    elif hasattr(value, "__wrapped__"):
        yield type(value).__name__
        yield from _parts(value.__wrapped__, seen)
    elif _is_ours(type(value).__module__):
        yield from _parts(type(value), seen)
        yield from _parts(vars(value), seen)
    elif type(value).__module__.startswith("mpmath."):  # a number, or a context: its text has how many digits it has
        yield f"{type(value).__name__} {value}"
    elif name := getattr(value, "__qualname__", getattr(value, "__name__", None)):
        yield f"named {getattr(value, '__module__', '')}.{name}"
    elif isinstance(value, np.dtype):
        yield f"dtype {value.name}"
    elif hasattr(value, "__array__"):
        yield f"array of {type(value).__module__}"
        try:
            host = np.asarray(value)
        except UnexpectedTracerError as error:  # a program has left it in a list
            raise NoFingerprint(f"an array of a transform that has ended: {error}") from error
        yield from _parts(host, seen)
    else:
        raise NoFingerprint(f"{value!r} of {type(value)} has no text")


def _is_ours(module: str | None) -> bool:
    return (getattr(sys.modules.get(module or ""), "__file__", None) or "").startswith(TESTS)


def _function(function: FunctionType, seen: dict[int, tuple[int, Any]]) -> Iterator[str | bytes]:
    if not function.__code__.co_filename.startswith(TESTS):
        yield f"function {function.__module__}.{function.__qualname__}"
        return
    yield _text(function.__code__)
    for cell in function.__closure__ or ():
        yield from _parts(cell.cell_contents, seen)
    yield from _parts((function.__defaults__, function.__kwdefaults__), seen)
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield name
            yield from _parts(function.__globals__[name], seen)


@functools.cache
def _names(code: CodeType) -> tuple[str, ...]:
    """Return the names that the code and the functions inside it look up."""
    inner = (name for part in code.co_consts if isinstance(part, CodeType) for name in _names(part))
    return tuple(dict.fromkeys([*code.co_names, *inner]))


@functools.cache
def _source(file: str) -> tuple[list[bytes], dict[int, list[Any]]]:
    """Return a file's lines, and its functions by the lines in which they begin."""
    text = Path(file).read_bytes()
    functions: dict[int, list[Any]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            functions.setdefault(first, []).append(node)
    return text.splitlines(keepends=True), functions


def _segment(lines: list[bytes], node: Any) -> str:
    part = lines[node.lineno - 1 : node.end_lineno]
    part[-1] = part[-1][: node.end_col_offset]
    part[0] = part[0][node.col_offset :]
    return "".join(b"".join(part).decode().split())


@functools.cache
def _text(code: CodeType) -> str:
    lines, functions = _source(code.co_filename)
    found = [
        node for node in functions.get(code.co_firstlineno, ()) if getattr(node, "name", "<lambda>") == code.co_name
    ]
    if len(found) > 1:  # lambdas in one line: the innermost whose body has all of the code
        places = [place for place in code.co_positions() if None not in place and place[2:] != (0, 0)]
        begin = min((line, column) for line, _, column, _ in places)
        end = max((line, column) for _, line, _, column in places)
        bodies = [(node, node.body) for node in found]
        inside = [
            node
            for node, body in bodies
            if (body.lineno, body.col_offset) <= begin and end <= (body.end_lineno, body.end_col_offset)
        ]
        found = sorted(inside, key=lambda node: (node.lineno, node.col_offset))[-1:]
    if len(found) != 1:
        raise NoFingerprint(f"{code} is not in its file")
    return _segment(lines, found[0])


@functools.cache
def _definition(cls: type) -> str:
    file = sys.modules[cls.__module__].__file__ or ""
    tree = ast.parse(Path(file).read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == cls.__name__]
    return "".join(_segment(_source(file)[0], node) for node in found)
