"""Damaged files: small files of every kind that is read, ways to damage them, and what may come of it.

`outcome` loads a damaged file and says which of these it is: the same contents as before, an error of gradkit's own for
files, other contents ("wrong" where the format has checksums), or an error of another kind.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gradkit
from gradkit import data
from gradkit.data.tables import read_table
from gradkit.errors import FileFormatError, TreeMismatchError

SAME, REFUSED, OTHER, WRONG, ESCAPED = "same", "refused", "other", "wrong", "escaped"


class Kind(NamedTuple):
    """A kind of file: an example, what loads it, and whether the format has checksums of all that is loaded."""

    contents: bytes
    load: Callable[[Path], Any]
    checked: bool


def saved() -> dict[str, Any]:
    """Return a tree with a leaf of every sort."""
    return {"w": np.arange(4, dtype=np.float32), "n": 12345, "c": np.ones(1, complex), "t": "text"}


def safetensors(header: str | bytes, contents: bytes = b"") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(text)) + text + contents


def stamped(own: Any, tensors: dict[str, Any] | None = None, contents: bytes = b"") -> bytes:
    """Return a checkpoint with these metadata of gradkit's, whose checksum is right."""
    text = own if isinstance(own, str) else json.dumps(own)
    metadata = {"gradkit": f"{zlib.crc32(text.encode()):08x} {text}"}
    return safetensors(json.dumps({"__metadata__": metadata, **(tensors or {})}), contents)


def checkpoint(tree: Any, folder: Path) -> bytes:
    path = folder / "example.safetensors"
    gradkit.save(path, tree)
    return path.read_bytes()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_with(header: str | bytes, contents: bytes = bytes(48)) -> bytes:
    text = header.encode("latin-1") if isinstance(header, str) else header
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + contents


def npz(compressed: bool) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, a=np.arange(3.0), b=np.ones((2, 2), "int16"))
    return stream.getvalue()


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, contents in members:
            archive.writestr(name, contents)
    return stream.getvalue()


def kinds(folder: Path) -> dict[str, Kind]:
    """Return an example of each kind of file."""
    images = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6))
    table = b"a,b,label\n1,2.5,x\n3,-4,y\n5,6,x\n"
    return {
        "checkpoint": Kind(checkpoint(saved(), folder), gradkit.load, checked=True),
        "checkpoint, like": Kind(
            checkpoint(saved(), folder), lambda path: gradkit.load(path, like=saved()), checked=True
        ),
        "array": Kind(checkpoint(np.ones(2), folder), gradkit.load, checked=True),
        "scalar": Kind(checkpoint([True], folder), gradkit.load, checked=True),
        "npy": Kind(npy(np.arange(6.0).reshape(2, 3)), data.load_npy, checked=False),
        "npy, mapped": Kind(npy(np.arange(6.0)), lambda path: np.array(data.load_npy(path, mmap=True)), checked=False),
        "npy.gz": Kind(gzip.compress(npy(np.arange(6.0)), mtime=0), data.load_npy, checked=True),
        "npz": Kind(npz(compressed=False), data.load_npz, checked=True),
        "npz, compressed": Kind(npz(compressed=True), data.load_npz, checked=True),
        "idx": Kind(images, data.load_idx, checked=False),
        "idx.gz": Kind(gzip.compress(images, mtime=0), data.load_idx, checked=True),
        "csv": Kind(b"a,b\n1,2.5\n3,-4\n", data.load_csv, checked=False),
        "csv.gz": Kind(gzip.compress(b"a,b\n1,2.5\n3,-4\n", mtime=0), data.load_csv, checked=True),
        "table": Kind(table, lambda path: read_table(path, "label"), checked=False),
        "table.gz": Kind(gzip.compress(table, mtime=0), lambda path: read_table(path, "label"), checked=True),
    }


def comparable(value: Any) -> Any:
    """Return contents as what can be compared, to the bit."""
    if isinstance(value, dict):
        return {name: comparable(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [comparable(part) for part in value]
    if isinstance(value, np.ndarray | gradkit.Array):
        array = np.asarray(gradkit.device_get(value))
        return (array.dtype.name, array.shape, array.tobytes())
    return (type(value).__name__, repr(value))


def outcome(path: Path, kind: Kind, expected: Any, damaged: bytes) -> tuple[str, BaseException | None]:
    """Say what came of loading a damaged file."""
    path.write_bytes(damaged)
    try:
        found = comparable(kind.load(path))
    except (FileFormatError, TreeMismatchError) as error:
        # It says of which file it speaks, whatever else is damaged.
        return (REFUSED, None) if str(path) in str(error) else (ESCAPED, error)
    except (Exception, SystemError) as error:  # noqa: BLE001 - which kinds come is the question
        return ESCAPED, error
    if found == expected:
        return SAME, None
    return (WRONG if kind.checked else OTHER), None


# Ways to damage


def bit_flips(contents: bytes) -> Iterator[bytes]:
    for position in range(len(contents)):
        for bit in range(8):
            damaged = bytearray(contents)
            damaged[position] ^= 1 << bit
            yield bytes(damaged)


def truncations(contents: bytes) -> Iterator[bytes]:
    for length in range(len(contents)):
        yield contents[:length]


def random_damage(contents: bytes, source: random.Random) -> bytes:
    """Damage a file as disks and transfers do: some bits, bytes or blocks, a cut, a piece taken from elsewhere."""
    damaged = bytearray(contents)
    for _ in range(source.choice([1, 1, 1, 2, 3])):
        at = source.randrange(len(damaged)) if damaged else 0
        length = min(source.choice([1, 2, 4, 16, 64]), len(damaged) - at)
        match source.randrange(8):
            case 0 if damaged:
                damaged[at] ^= 1 << source.randrange(8)
            case 1 if damaged:
                damaged[at] = source.randrange(256)
            case 2:
                damaged[at : at + length] = bytes(length)
            case 3:
                damaged[at : at + length] = source.randbytes(length)
            case 4:
                del damaged[at:]
            case 5:
                del damaged[at : at + length]
            case 6:
                damaged[at:at] = source.randbytes(length)
            case _ if damaged:
                other = source.randrange(len(damaged))
                damaged[at : at + length] = damaged[other : other + length]
    return bytes(damaged)


PIECES = [
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        1.5,
        2**31,
        2**40,
        2**63,
        2**64,
        10**30,
        "",
        "x",
        "F32",
        "I64",
        "F64",
        "U8",
        "é",
        "\0",
    ),
    *([], [[]], {}, {"a": 1}, [0], [0, 0], [0, 16], [True], [1.0], [-1], [2**62, 4], [2**63], [0] * 70),
]


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


def mutated(value: Any, source: random.Random) -> Any:
    """Return JSON with one of its parts replaced, taken away or doubled."""
    if isinstance(value, dict) and value and source.random() < 0.8:
        name = source.choice(sorted(value))
        match source.randrange(8):
            case 0:
                return {key: part for key, part in value.items() if key != name}
            case 1:
                new = source.choice(["", "__metadata__", "gradkit", "w", "dtype", name + "s", name[:-1]])
                return {(new if key == name else key): part for key, part in value.items()}
            case 2:
                return {**value, source.choice(["extra", "shape", "w2"]): source.choice([*PIECES, value[name]])}
        return {key: mutated(part, source) if key == name else part for key, part in value.items()}
    if isinstance(value, list) and value and source.random() < 0.8:
        at = source.randrange(len(value))
        match source.randrange(6):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, source.choice(PIECES)]
        return [mutated(part, source) if i == at else part for i, part in enumerate(value)]
    return source.choice(PIECES)


def mutated_checkpoint(contents: bytes, source: random.Random) -> bytes:
    """Return a checkpoint whose header, or whose metadata under a right checksum, are of another structure."""
    (length,) = struct.unpack("<Q", contents[:8])
    header, numbers = json.loads(contents[8 : 8 + length]), contents[8 + length :]
    if source.random() < 0.5:
        own = json.loads(header["__metadata__"]["gradkit"].partition(" ")[2])
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        return stamped(mutated(own, source), tensors, numbers)
    return safetensors(json.dumps(mutated(header, source)), numbers)


NPY_DTYPES = [
    *(
        "'|O'",
        "'<f16'",
        "'<U3'",
        "'V8'",
        "'<i3'",
        "'f4,f4'",
        "'(2,)f4'",
        "[('a', '<f4')]",
        "'<M8[s]'",
        "'\\ud800'",
        "''",
    ),
    *("b'<f8'", "('<f8',)", "'<f8' '<f8'", "None", "8", "'float64'", "[]", "'<c8,'", "'>b4'"),
]
NPY_SHAPES = [
    *("(True,)", "(1.0,)", "(-1,)", "(2**3,)", "(10**30,)", "[3]", "3", "(0, 99999999999999999999999)", "(False, 6)"),
    *(
        "(0, 9223372036854775807, 9)",
        "(" + "1," * 70 + ")",
        "(1j,)",
        "(0x6,)",
        "(,)",
        "(6,,)",
        "(6 6,)",
        "('6',)",
        "None",
    ),
    *("(" + "9" * 5000 + ",)", "(7,)", "(5,)"),
]
NPY_PIECES = [
    *(*NPY_DTYPES, *NPY_SHAPES, "True", "False", "()", "(6,)", "(2, 3)", "'<f8'", "(6L,)", "(0,)", "x", "f()", "{}"),
    *("-" * 9000 + "1", "(" * 300, nested(150), "1 if 1 else 2"),
]


def mutated_npy(source: random.Random) -> bytes:
    """Return an .npy file with another header."""
    fields = {"descr": "'<f8'", "fortran_order": "False", "shape": "(6,)"}
    for _ in range(source.choice([1, 1, 2])):
        name = source.choice(sorted(fields))
        match source.randrange(8):
            case 0:
                fields.pop(name)
            case 1:
                fields[source.choice(["", "shape2", "descr "])] = fields.pop(name)
            case _:
                fields[name] = source.choice(NPY_PIECES)
        if not fields:
            break
    text = (
        "{" + ", ".join(f"{name!r}: {value}" for name, value in fields.items()) + source.choice([", }", "}", "", "}}"])
    )
    return npy_with(text.encode("latin-1", "replace") + b" " * source.randrange(20) + b"\n")
