"""Checkpoints: any pytree of arrays and numbers in one file, in the safetensors format.

The format (a JSON header and raw numbers, https://github.com/huggingface/safetensors) executes nothing when it is
read, and other libraries read it too: every array is a tensor under the path of its leaf. Numbers and strings are in
the header's metadata, with a checksum of each tensor.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import struct
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

import numpy as np

from gradkit import tree
from gradkit.backend import backend_of, current_backend, current_device, get_backend
from gradkit.core import Array
from gradkit.core.array import host, raw, wrap
from gradkit.core.node import Leaf
from gradkit.core.reverse import TAPE
from gradkit.data.files import HostArray, PathLike, describe_start
from gradkit.errors import FileFormatError, MissingDependencyError, TreeMismatchError

__all__ = ["load", "save"]

METADATA = "gradkit"
"""The key in the header's metadata under which this module keeps what is its own."""
VERSION = 1
ROOT = "value"
"""The name of the leaf of a tree that is a leaf itself."""

Scalar = bool | int | float | complex | str


class _Contents(NamedTuple):
    """What a checkpoint holds."""

    tensors: Mapping[str, HostArray]
    scalars: Mapping[str, Scalar]


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
    ["['model'].bias", "['model'].weight", "['step']"]
    """
    library = _library()
    tensors: dict[str, HostArray] = {}
    scalars: dict[str, list[str]] = {}
    pairs: list[str] = []
    for name, leaf in _named_leaves(tree_):
        if name in tensors or name in scalars:
            raise ValueError(f"save: two leaves have the path {name}. Rename a key of the tree.")
        if isinstance(leaf, bool | int | float | complex | str) and not isinstance(leaf, np.generic):
            scalars[name] = _written(leaf)
            continue
        values = _values(leaf, name)
        if values.dtype == np.complex128:
            pairs.append(name)
            values = np.stack([values.real, values.imag], axis=-1)
        if values.dtype.name not in DTYPES:
            raise TypeError(f"save: {name} has dtype {values.dtype}, which the format does not have. Convert it first.")
        # The format has little-endian numbers in row-major order.
        tensors[name] = np.array(values, dtype=values.dtype.newbyteorder("<"), order="C", copy=None)
    own = {
        "version": VERSION,
        "scalars": scalars,
        "complex128": pairs,
        "crc32": {name: _checksum(values) for name, values in tensors.items()},
    }
    text = json.dumps(own)
    # In one entry: the library writes several in any order, and the same tree should give the same file.
    replace(path, library.save(tensors, {METADATA: f"{zlib.crc32(text.encode()):08x} {text}"}))


CODES = ("BOOL", "C64", "F16", "F32", "F64", "I16", "I32", "I64", "I8", "U16", "U32", "U64", "U8")
"""What the format calls the dtypes that NumPy has. (It has no complex128.)"""
DTYPES = frozenset("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64".split())


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


def _named_leaves(tree_: Any) -> list[tuple[str, Any]]:
    return [(tree.keystr(path).removeprefix(".") or ROOT, leaf) for path, leaf in tree.leaves_with_path(tree_)]


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


def _read(kind: str, *texts: str) -> Scalar:
    if kind == "complex":
        return complex(float.fromhex(texts[0]), float.fromhex(texts[1]))
    (text,) = texts
    return READERS[kind](text)


READERS: dict[str, Callable[[str], Scalar]] = {
    "bool": lambda text: text == "True",
    "int": int,
    "float": float.fromhex,
    "str": str,
}


def replace(path: PathLike, contents: bytes) -> None:
    """Put a file with these contents in the place of another (if there is one), or leave that one as it is."""
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    partial = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.partial")
    try:
        # Opened as any new file is, so that it has the permissions that the user's umask gives.
        with open(partial, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        # It is gone when it has taken the other's place.
        with suppress(FileNotFoundError):
            os.unlink(partial)
    _force_to_disk(folder)


def _force_to_disk(folder: str) -> None:
    """Wait until the folder's entries are on the disk, where the system can (Windows cannot open a folder)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        return {**arrays, **contents.scalars}
    leaves = _named_leaves(like)
    expected = {key for key, _ in leaves}
    restored = [_restored(name, key, leaf, contents) for key, leaf in leaves]
    for key in (*contents.tensors, *contents.scalars):
        if key not in expected:
            raise TreeMismatchError(
                f"{name}: the file has a leaf {key}, which `like` has not. `like` must have the structure of what was "
                f"saved; load(path) without it shows all leaves."
            )
    return tree.unflatten(tree.structure(like), restored)


def _restored(file: str, key: str, leaf: Any, contents: _Contents) -> Any:
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
    library = _library()
    with open(name, "rb") as file:
        contents = file.read()
    try:
        loaded: dict[str, HostArray] = library.load(contents)
    except (importlib.import_module("safetensors").SafetensorError, KeyError, TypeError, ValueError) as error:
        _explain_damage(name, contents, error)
    (length,) = struct.unpack("<Q", contents[:8])
    header = json.loads(contents[8 : 8 + length])
    metadata = header.get("__metadata__", {})
    stamp, _, text = metadata.get(METADATA, "00000000 {}").partition(" ")
    try:
        if METADATA in metadata and f"{zlib.crc32(text.encode()):08x}" != stamp:
            raise ValueError("their checksum differs")
        own = json.loads(text)
        scalars = {key: _read(*written) for key, written in own.get("scalars", {}).items()}
        checksums, pairs, version = own.get("crc32", {}), own.get("complex128", []), own.get("version", VERSION)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileFormatError(
            f"{name}: the metadata (in the header, bytes 8 to {8 + length}) are damaged: {error}."
        ) from error
    if version > VERSION:
        raise FileFormatError(
            f"{name}: it was written by a newer gradkit (format {version}, this one knows {VERSION}). Upgrade gradkit."
        )
    for key, checksum in checksums.items():
        if key not in loaded or _checksum(loaded[key]) != checksum:
            begin, end = (8 + length + offset for offset in header.get(key, {}).get("data_offsets", (0, 0)))
            raise FileFormatError(
                f"{name}: the numbers of {key} (bytes {begin:,} to {end:,}) are damaged: their checksum differs. Use "
                f"an older checkpoint."
            )
    for key in pairs:
        values = loaded[key]
        loaded[key] = np.ascontiguousarray(values).view(np.complex128).reshape(values.shape[:-1])
    return _Contents(loaded, scalars)


def _explain_damage(name: str, contents: bytes, error: Exception) -> NoReturn:
    """Say where a file that safetensors does not take is damaged."""
    size = len(contents)
    what = f"expected a checkpoint in the safetensors format ({error})"
    if size < 8:
        raise FileFormatError(f"{name}: truncated at byte {size}, in the first 8 bytes: {what}.") from error
    (length,) = struct.unpack("<Q", contents[:8])
    start = f"It begins with {describe_start(contents[:8])}"
    if contents[8:9] != b"{":
        raise FileFormatError(f"{name}: {what}, but there is no header at byte 8. {start}.") from error
    if 8 + length > size:
        raise FileFormatError(
            f"{name}: truncated at byte {size:,}, in the header, which goes to byte {8 + length:,}. {start}."
        ) from error
    try:
        tensors = {key: it for key, it in json.loads(contents[8 : 8 + length]).items() if key != "__metadata__"}
        ends = [entry["data_offsets"][1] for entry in tensors.values()]
        foreign = [(key, entry["dtype"]) for key, entry in tensors.items() if entry["dtype"] not in CODES]
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise FileFormatError(f"{name}: the header (bytes 8 to {8 + length:,}) is damaged: {fault}.") from error
    end = 8 + length + max(ends, default=0)
    if end != size:
        state = f"truncated at byte {size:,}" if size < end else f"too long, at {size:,} bytes"
        raise FileFormatError(f"{name}: {state}; its header promises tensors up to byte {end:,}.") from error
    if foreign:
        key, code = foreign[0]
        dtype = "bfloat16" if code == "BF16" else f"the dtype {code}"
        raise FileFormatError(
            f"{name}: the leaf {key} is of {dtype}, which is not supported. Convert it to float32 with the library "
            f"that wrote the file."
        ) from error
    raise FileFormatError(f"{name}: the header (bytes 8 to {8 + length:,}) is damaged: {what}.") from error
