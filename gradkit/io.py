"""Checkpoints: any pytree of arrays and numbers in one file, in the safetensors format.

The format (a JSON header and raw numbers, https://github.com/huggingface/safetensors) executes nothing when it is
read, and other libraries read it too: every array is a tensor under the path of its leaf, in which a key of a
dictionary at the top stands as it is. Numbers and strings are in the header's metadata, with a checksum of each tensor.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradkit import tree
from gradkit.backend import as_numpy_dtype, backend_of, current_backend, current_device, get_backend
from gradkit.core import Array
from gradkit.core.array import raw, wrap
from gradkit.core.node import Leaf
from gradkit.core.reverse import TAPE
from gradkit.core.values import host
from gradkit.data.checked_json import Check, each, keyed, parse, record, text, whole
from gradkit.data.files import HostArray, PathLike, open_file, refuse_other_bytes
from gradkit.data.replacing import replace
from gradkit.data.safetensors import DTYPES, Header, read_header
from gradkit.data.safetensors import METADATA as RESERVED
from gradkit.errors import FileFormatError, MissingDependencyError, TreeMismatchError
from gradkit.pytrees.keys import DictKey, KeyPath

__all__ = ["load", "replace", "save"]

METADATA = "gradkit"
"""The key in the header's metadata under which this module keeps what is its own."""
PATHS, NAMES = 1, 2
"""The versions of the format: the leaves' names are paths, ``['w'][0]``; or begin with a key of a dictionary as it is,
``w[0]``, as other programs' names do."""
VERSION = NAMES
ROOT = "value"
"""The name of the leaf of a tree that is a leaf itself."""

Scalar = bool | int | float | complex | str


class _Contents(NamedTuple):
    """What a checkpoint holds, and which version says how its leaves are named."""

    tensors: Mapping[str, HostArray]
    scalars: Mapping[str, Scalar]
    version: int


# Writing


def save(path: PathLike, tree_: Any) -> None:
    """Write a pytree of arrays and numbers to a file, completely or not at all.

    Parameters
    ----------
    path : str or path
        The file; by convention it ends in ``.safetensors``. Its folder must exist.
    tree_ : pytree
        A model, an optimizer's state, or any nest of dicts, lists, tuples and modules of them. Its leaves are arrays of
        any backend, Python numbers (kept exactly) and strings.

    Raises
    ------
    MissingDependencyError
        If safetensors is not installed.
    TypeError
        If a leaf is nothing that can be stored; the message names it.
    OSError
        If the file cannot be written, because the disk is full for example. An older file of that name is then as it
        was.

    Notes
    -----
    The file is written under another name in the same folder, forced to the disk, and then renamed. A process that is
    killed at any moment leaves the previous file or the new one, complete (and perhaps a file ``.name.*.partial``).

    Examples
    --------
    >>> import pathlib, tempfile, gradkit
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.safetensors"
    >>> model = gradkit.nn.Linear(2, 1, key=gradkit.random.key(0))
    >>> gradkit.save(path, {"model": model, "step": 7})
    >>> gradkit.load(path, like={"model": model, "step": 0})["step"]
    7
    >>> sorted(gradkit.load(path))
    ['model.bias', 'model.weight', 'step']
    """
    library = _library()
    tensors: dict[str, HostArray] = {}
    scalars: dict[str, list[str]] = {}
    pairs: list[str] = []
    paths, leaves = _paths_and_leaves(tree_)
    names = _name_leaves(paths, NAMES)
    # Paths are the names where others would be none: of {"a": {"b": 0}, "a['b']": 1}, for example.
    version = NAMES if all(map(_can_be_written, names)) and len({*names}) == len(names) else PATHS
    for name, leaf in zip(_name_leaves(paths, version), leaves, strict=True):
        if name in tensors or name in scalars:
            raise ValueError(f"save: two leaves have the path {name}. Rename a key of the tree.")
        if isinstance(leaf, bool | int | float | complex | str) and not isinstance(leaf, np.generic):
            scalars[name] = _written(leaf)
            continue
        values = _values(leaf, name)
        if values.dtype == np.complex128:
            pairs.append(name)
            values = np.stack([values.real, values.imag], axis=-1)
        if values.dtype.name not in NAMES_OF_DTYPES:
            raise TypeError(f"save: {name} has dtype {values.dtype}, which the format does not have. Convert it first.")
        # The format has little-endian numbers in row-major order.
        tensors[name] = np.array(values, dtype=values.dtype.newbyteorder("<"), order="C", copy=None)
    own = {
        "version": version,
        "scalars": scalars,
        "complex128": pairs,
        "crc32": {name: _checksum(values) for name, values in tensors.items()},
    }
    described = json.dumps(own)
    # In one entry: the library writes several in any order, and the same tree should give the same file.
    replace(path, library.save(tensors, {METADATA: f"{zlib.crc32(described.encode()):08x} {described}"}))


NAMES_OF_DTYPES = frozenset(DTYPES.values())


def _checksum(values: HostArray) -> int:
    """Return the checksum of a tensor's numbers, shape and dtype."""
    return zlib.crc32(f"{values.dtype.name}{values.shape}".encode(), zlib.crc32(values.tobytes()))


def _library() -> Any:
    try:
        return importlib.import_module("safetensors.numpy")
    except ImportError as error:
        raise MissingDependencyError(
            f"Checkpoints need safetensors, which cannot be imported ({error}). Install it with: "
            f"pip install 'gradkit[io]'"
        ) from error


def _paths_and_leaves(tree_: Any) -> tuple[list[KeyPath], list[Any]]:
    found = tree.leaves_with_path(tree_)
    return [path for path, _ in found], [leaf for _, leaf in found]


def _name_leaves(paths: Sequence[KeyPath], version: int) -> list[str]:
    """Return what leaves with these paths are called in a file."""
    names = []
    for first, *rest in (path or (None,) for path in paths):
        if version >= NAMES and isinstance(first, DictKey) and isinstance(first.key, str):
            names.append(first.key + tree.keystr(tuple(rest)))
        else:
            names.append(tree.keystr((first, *rest)).removeprefix(".") if first is not None else ROOT)
    return names


def _can_be_written(name: str) -> bool:
    """Tell whether the format takes a name: it has one of its own, and is UTF-8, which half a surrogate pair is not."""
    return name not in ("", RESERVED) and not any("\ud800" <= letter <= "\udfff" for letter in name)


TOP = re.compile(r"""\[('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\]""")
"""How a path begins that goes through a dictionary's entry first."""


def _as_name(path: str) -> str:
    """Return what a leaf is called now whose name is a path.

    Examples
    --------
    >>> _as_name("['model'].layers[0].weight"), _as_name("[0]['a']")
    ('model.layers[0].weight', "[0]['a']")
    """
    top = TOP.match(path)
    return path if top is None else ast.literal_eval(top[1]) + path[top.end() :]


def _values(leaf: Any, name: str) -> HostArray:
    """Return an array leaf's elements on the host."""
    if type(leaf) is Array:
        return host(leaf)
    owner = backend_of(leaf)
    if owner is None:
        raise TypeError(
            f"save: {name} is {leaf!r} of type {type(leaf).__name__}, but leaves must be arrays, numbers or strings."
        )
    return owner.to_host(leaf)


def _written(value: Scalar) -> list[str]:
    """Return a number's or string's type and text, which give it back exactly."""
    if isinstance(value, float):
        return ["float", float(value).hex()]
    if isinstance(value, complex):
        return ["complex", value.real.hex(), value.imag.hex()]
    return [type(value).__name__, str(value)]


def _read(key: str, written: list[str]) -> Scalar:
    """Return the number or string that was written so, or raise ValueError."""
    kind, *texts = written
    parts = 2 if kind == "complex" else 1
    if kind not in READERS or len(texts) != parts:
        raise ValueError(f"the leaf {key} is written as {written!r:.80}")
    try:
        value = READERS[kind](*texts)
    except OverflowError as error:  # a float beyond the largest
        raise ValueError(str(error)) from error
    if _written(value) != written:
        raise ValueError(f"the leaf {key} is written as {written!r:.80}")
    return value


READERS: dict[str, Callable[..., Scalar]] = {
    "bool": lambda text: text == "True",
    "complex": lambda real, imag: complex(float.fromhex(real), float.fromhex(imag)),
    "int": int,
    "float": float.fromhex,
    "str": str,
}


# Reading


def load(path: PathLike, like: Any = None) -> Any:
    """Read a file that `save` wrote, from any backend to any other.

    Parameters
    ----------
    path : str or path
        The file.
    like : pytree, optional
        A tree of the same structure, such as a new model. Its values are not used: its arrays say which shapes and
        dtypes are expected, on which device each array goes, and which follow the tape (``requires_grad``).

    Returns
    -------
    pytree
        Of the structure of `like`; without it a flat dictionary from paths to Arrays on the current backend and to
        numbers.

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged or of another format; the message names the position.
    TreeMismatchError
        If the leaves differ from those of `like`; the message names the first that does.
    MissingDependencyError
        If safetensors is not installed.

    Examples
    --------
    See `save`.
    """
    name = os.fspath(path)
    contents = _contents(name)
    if like is None:
        backend, device = current_backend(), current_device()
        arrays = {key: wrap(backend.from_host(values, device)) for key, values in contents.tensors.items()}
        return _with_names({**arrays, **contents.scalars}, contents.version)
    paths, leaves = _paths_and_leaves(like)
    names = _name_leaves(paths, contents.version)
    expected = {*names}
    if len(expected) < len(names):
        twice = next(key for key in names if names.count(key) > 1)
        raise TreeMismatchError(
            f"{name}: two leaves of `like` are called {twice} in the file. Rename a key of the tree."
        )
    restored = [_restore(name, key, leaf, contents) for key, leaf in zip(names, leaves, strict=True)]
    for key in (*contents.tensors, *contents.scalars):
        if key not in expected:
            raise TreeMismatchError(
                f"{name}: the file has a leaf {key}, which `like` has not. `like` must have the structure of what was "
                f"saved; load(path) without it shows all leaves."
            )
    return tree.unflatten(tree.structure(like), restored)


def _with_names(leaves: dict[str, Any], version: int) -> dict[str, Any]:
    """Return the leaves of a file by the names that they have now."""
    if version >= NAMES:
        return leaves
    names = [*map(_as_name, leaves)]
    return dict(zip(names, leaves.values(), strict=True)) if len({*names}) == len(names) else leaves


def _restore(file: str, key: str, leaf: Any, contents: _Contents) -> Any:
    """Return the value of one leaf, beside the leaf of `like`."""
    found = contents.tensors.get(key, contents.scalars.get(key))
    if found is None:
        raise TreeMismatchError(
            f"{file}: `like` has a leaf {key}, which the file has not. `like` must have the structure of what was "
            f"saved; load(path) without it shows all leaves."
        )
    if isinstance(leaf, bool | int | float | complex | str) and not isinstance(leaf, np.generic):
        if type(found) is not type(leaf):
            raise TreeMismatchError(f"{file}: {key} is {_kind(leaf)} in `like`, but {_kind(found)} in the file.")
        return found
    expected = leaf if type(leaf) is Array else wrap(leaf)
    # What is read is in this machine's byte order.
    dtype = expected.dtype.newbyteorder("=")
    if not isinstance(found, np.ndarray) or found.shape != expected.shape or found.dtype != dtype:
        raise TreeMismatchError(f"{file}: {key} is {_kind(expected)} in `like`, but {_kind(found)} in the file.")
    device = expected.device
    value = wrap(get_backend(device.backend).from_host(found, device.raw))
    node = expected._node
    if type(node) is Leaf and node.trace is TAPE:
        new = Leaf(TAPE, value._value.shape, value._value.dtype)
        new.is_parameter = node.is_parameter
        value._node = new
    return value if type(leaf) is Array else raw(value)


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray) or type(value) is Array:
        return f"an array {value.dtype.name}{list(value.shape)}"
    return f"of type {type(value).__name__} ({value!r})"


def _contents(name: str) -> _Contents:
    """Read a file, and check all of it."""
    _library()
    library = importlib.import_module("safetensors")
    with open_file(name) as file:
        contents = file.read()
    header = read_header(contents, name)
    own = _own(name, header)
    try:
        described = library.deserialize(contents)
        loaded: dict[str, HostArray] = {key: _as_array(part) for key, part in described}
    except (library.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"{name}: the header (bytes 8 to {header.end:,}) is damaged: expected a checkpoint in the safetensors "
            f"format ({error})."
        ) from error
    for key, read in loaded.items():
        refuse_other_bytes(read, f"{name}: {key}")
    if own is None:
        return _Contents(loaded, {}, NAMES)
    for key, checksum in own.checksums.items():
        if key not in loaded or _checksum(loaded[key]) != checksum:
            _, _, begin, end = header.tensors.get(key, (0, 0, header.end, len(contents)))
            raise FileFormatError(
                f"{name}: the numbers of {key} (bytes {begin:,} to {end:,}) are damaged: their checksum differs. Use "
                f"an older checkpoint."
            )
    for key in loaded:
        if key not in own.checksums or key in own.scalars:
            raise FileFormatError(
                f"{name}: the leaf {key} has no checksum: the header is damaged. Use an older checkpoint."
            )
    for key in own.pairs:
        values = loaded.get(key)
        if values is None or values.dtype != np.float64 or values.shape[-1:] != (2,):
            raise FileFormatError(
                f"{name}: {key} should be complex128, but it is {_kind(values)}: no pairs of float64."
            )
        loaded[key] = np.ascontiguousarray(values).view(np.complex128).reshape(values.shape[:-1])
    return _Contents(loaded, own.scalars, own.version)


def _as_array(part: Any) -> HostArray:
    """Return a tensor as the library describes it: its dtype, its shape, its bytes."""
    return np.frombuffer(part["data"], as_numpy_dtype(DTYPES[part["dtype"]])).reshape(part["shape"])


class _Own(NamedTuple):
    """What this module keeps in a file's metadata."""

    version: int
    scalars: dict[str, Scalar]
    checksums: dict[str, int]
    pairs: list[str]


VERSION_ALONE: Check = whole(1)
FIELDS: Check = record(
    {
        "version": whole(1),
        "scalars": keyed(each(text, 1, 3)),
        "complex128": each(text),
        "crc32": keyed(whole(0, 2**32 - 1)),
    }
)
MARKS = (
    re.compile("gra?d?kit|gradk?i?t", re.IGNORECASE),
    re.compile("^[0-9a-f]{8} {"),
    *map(re.compile, ('"scalars"', '"complex128"', '"crc32"')),
)
"""What is in the metadata of files of this module: two of these without its key, and the key is damaged."""


def _own(name: str, header: Header) -> _Own | None:
    """Return what this module wrote into the metadata, checked; None where another program wrote the file."""
    stamped = header.metadata.get(METADATA)
    damage = f"{name}: the metadata (in the header, bytes 8 to {header.end:,}) are damaged"
    if stamped is None:
        parts = [part for item in header.metadata.items() for part in item]
        if sum(any(mark.search(part) for part in parts) for mark in MARKS) >= 2:
            raise FileFormatError(
                f"{damage}: expected them under the name {METADATA}, got {', '.join(header.metadata)}."
            )
        return None
    stamp, _, described = stamped.partition(" ")
    try:
        if f"{zlib.crc32(described.encode()):08x}" != stamp:
            raise ValueError("their checksum differs")
        own = parse(described)
        version: Any = own.get("version") if isinstance(own, dict) else None
        VERSION_ALONE(version, "version")
        if version > VERSION:
            raise FileFormatError(
                f"{name}: it was written by a newer gradkit (format {version}, this one knows {VERSION}). Upgrade "
                f"gradkit."
            )
        FIELDS(own, "")
        scalars = {key: _read(key, written) for key, written in own["scalars"].items()}
    except FileFormatError:
        raise
    except ValueError as error:
        raise FileFormatError(f"{damage}: {error}.") from error
    return _Own(version, scalars, own["crc32"], own["complex128"])
