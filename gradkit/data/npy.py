"""NumPy's files: .npy, one array, and .npz, a zip archive of them.

The header is a Python dictionary as text. It is read by a grammar that has what a header may say and nothing more, and
nothing is evaluated; the numbers are read here, so that there is no path on which a pickle could be loaded, and what a
damaged header promises is held against the file's length before memory is asked for.
"""

from __future__ import annotations

import errno
import math
import os
import re
import struct
import zipfile
import zlib
from collections import Counter
from typing import Any, BinaryIO, Literal, NamedTuple, cast, overload

import numpy as np

from gradkit.core.array import Array
from gradkit.data.files import (
    DAMAGED_GZIP,
    DEFLATE_RATIO,
    HostArray,
    PathLike,
    damaged_gzip,
    describe_start,
    fill,
    open_binary,
    open_file,
    place,
    refuse_other_bytes,
)
from gradkit.errors import FileFormatError

__all__ = ["load_npy", "load_npz"]

SIGNATURE = b"\x93NUMPY"
LENGTHS = {(1, 0): "<H", (2, 0): "<I"}
"""How the header's length is written, by the format's version. (Version 3 differs in the names of records' fields.)"""
LONGEST_HEADER = 10_000
"""Bytes; NumPy refuses longer ones as well. That of an array of numbers has a hundred."""
MOST_AXES = 64
LARGEST = 2**63 - 1

FIELD = re.compile(
    r"""\s*(?P<quote>['"])(?P<name>descr|fortran_order|shape)(?P=quote)\s*:\s*
    (?:"(?P<descr>[^"\\]*)"|'(?P<descr1>[^'\\]*)'|(?P<records>\[.*?\])|(?P<order>True|False)|\((?P<shape>[\d\sL,]*)\))
    \s*(?P<end>,\s*\}|[,}])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
"""A field of the header with its value: the dtype, the order of the numbers, or the lengths of the axes."""
VALUES = {"descr": ("descr", "descr1", "records"), "fortran_order": ("order",), "shape": ("shape",)}
AXES = re.compile(r"\s*(?:\d{1,19}L?\s*,\s*)*(?:\d{1,19}L?\s*)?", re.ASCII)
NUMBERS = re.compile(r"([<>|=]?)(b1|\?|[iu][1248]|f[248]|c(?:8|16))")
OBJECTS = re.compile(r"[<>|=]?O\d?")

BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError)
"""What reading a damaged or encrypted zip archive raises; and an OSError where it is sent to before the beginning."""

MEMBER = struct.Struct("<4s5H3L2H")
"""What stands before a member of a zip archive: signature, version, flags, method, time, checksum, sizes, lengths."""
MEMBER_SIGNATURE, END_SIGNATURE = b"PK\3\4", b"PK\5\6"
END = struct.Struct("<4s4H2LH")
"""What stands at a zip archive's end: signature, disks, numbers of members, the directory's size and place, comment."""
MANY = 0xFFFF
LARGE = 0xFFFFFFFF
"""In the place of a number of members, or of a size or place, that has no room there."""
FLAGS = 0x0800 | 0x0001
"""That a name is UTF-8, and that a member is encrypted."""


class Header(NamedTuple):
    """What a header says."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]


@overload
def load_npy(path: PathLike, mmap: Literal[False] = False) -> Array: ...


@overload
def load_npy(path: PathLike, mmap: Literal[True]) -> np.memmap[Any, np.dtype[Any]]: ...


def load_npy(path: PathLike, mmap: bool = False) -> Array | np.memmap[Any, np.dtype[Any]]:
    """Load an .npy file: whole, or as a view of the file that is read as it is used.

    Parameters
    ----------
    path : str or path
        The file. Without `mmap` it may be gzipped.
    mmap : bool
        Return a read-only `numpy.memmap` and read nothing yet. `sample` and `minibatches` take it and read the rows
        of one batch at a time, so the file may be larger than memory.

    Returns
    -------
    Array or numpy.memmap
        Of the file's shape and dtype; an Array is on the current backend, a memmap on the host.

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged or no .npy file, or holds anything but numbers (Python objects would need a
        pickle, which is never loaded); the message names the position.

    Examples
    --------
    >>> import pathlib, tempfile, numpy
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "x.npy"
    >>> numpy.save(path, numpy.arange(3, dtype="int16"))
    >>> load_npy(path)
    Array([0, 1, 2], dtype=int16)
    >>> load_npy(path, mmap=True)[1:]
    memmap([1, 2], dtype=int16)
    """
    name = os.fspath(path)
    if mmap:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            begin, (shape, fortran_order, dtype) = _read_header(file, size, name)
        _check_end(begin + math.prod(shape) * dtype.itemsize, size, shape, dtype, name)
        mapped = np.memmap(path, dtype, "r", begin, shape, "F" if fortran_order else "C")
        refuse_other_bytes(mapped, name)
        return mapped
    try:
        with open_binary(path) as (stream, limit):
            return place(_read(stream, limit, name))
    except DAMAGED_GZIP as error:
        raise damaged_gzip(path, error) from error


def load_npz(path: PathLike) -> dict[str, Array]:
    """Load the arrays of an .npz file.

    Parameters
    ----------
    path : str or path
        What `numpy.savez` or `numpy.savez_compressed` wrote.

    Returns
    -------
    dict of str to Array
        The arrays by name, each of its own shape and dtype, on the current backend.

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged or no .npz file, or holds anything but numbers (Python objects would need a
        pickle, which is never loaded); the message names the array and the position in it.

    Examples
    --------
    >>> import pathlib, tempfile, numpy
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "data.npz"
    >>> numpy.savez(path, x=numpy.eye(2, dtype="float32"), y=numpy.arange(2, dtype="int32"))
    >>> load_npz(path)["y"]
    Array([0, 1], dtype=int32)
    """
    name = os.fspath(path)
    arrays: dict[str, Array] = {}
    with open_file(path) as file:
        start = file.read(8)
        try:
            with zipfile.ZipFile(file) as archive:
                _check_directory(archive, file)
                for member in archive.infolist():
                    _check_member(member, file)
                    values = _read_member(archive, member, name)
                    arrays[member.filename.removesuffix(".npy")] = place(values)
        except FileFormatError:
            raise
        except (*BAD_ARCHIVE, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise FileFormatError(
                f"{name}: expected an .npz file, a zip archive of arrays, but after {len(arrays)} arrays it cannot be "
                f"read: {error}. It begins with {describe_start(start)}. If it was one, it is truncated or damaged: "
                f"fetch it again."
            ) from error
    return arrays


def _check_directory(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    """Check that the directory has the members that the archive's end promises, each once: `zipfile` does not."""
    position = file.seek(-END.size - len(archive.comment), os.SEEK_END)
    signature, _, _, _, promised, size, begin, _ = END.unpack(file.read(END.size))
    found = len(archive.infolist())
    if signature != END_SIGNATURE or promised not in (found, MANY):
        raise zipfile.BadZipFile(f"its directory has {found:,} arrays, but its end promises {promised:,}")
    if LARGE not in (size, begin) and begin + size != position:
        # So is an end of zeros, which promises nothing: an empty archive is its end alone.
        raise zipfile.BadZipFile(f"its directory ends at byte {begin + size:,}, and its end is at byte {position:,}")
    for member, times in Counter(archive.namelist()).items():
        if times > 1:
            raise zipfile.BadZipFile(f"the array {member!r} is there {times} times")


def _check_member(member: zipfile.ZipInfo, file: BinaryIO) -> None:
    """Check that a member begins where and as the directory says: a flag says how its name is to be read."""
    file.seek(member.header_offset)
    signature, _, flags, method, *_ = MEMBER.unpack(file.read(MEMBER.size))
    same = (flags ^ member.flag_bits) & FLAGS == 0 and method == member.compress_type
    if signature != MEMBER_SIGNATURE or not same:
        raise zipfile.BadZipFile(f"the array {member.filename!r} does not begin as the directory says")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> HostArray:
    name = f"{name}, member {member.filename!r}"
    if not member.filename.endswith(".npy"):
        raise FileFormatError(
            f"{name}: it is no .npy file, so this archive is no .npz file (PyTorch's checkpoints are zip archives too)."
        )
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileFormatError(f"{name}: expected it stored or deflated, as NumPy does, got {member.compress_type}.")
    if member.file_size > member.compress_size * DEFLATE_RATIO:
        raise FileFormatError(
            f"{name}: the archive promises {member.file_size:,} bytes from {member.compress_size:,} compressed ones, "
            f"more than there can be: its directory is damaged."
        )
    with archive.open(member) as stream:
        return _read(cast(BinaryIO, stream), member.file_size, name)


def _read_header(stream: BinaryIO, limit: int, name: str) -> tuple[int, Header]:
    """Return where the numbers begin, and the header, having checked it against the file's length."""
    try:
        begin, text = _header_text(stream)
        shape, fortran_order, descr = _parse(text)
    except ValueError as error:
        stream.seek(0)
        raise FileFormatError(
            f"{name}: expected an .npy file, but there is no header of one at byte 0 ({error}). It begins with "
            f"{describe_start(stream.read(8))}."
        ) from error
    known = NUMBERS.fullmatch(descr)
    if known is None:
        raise FileFormatError(
            f"{name}: expected numbers, got an array of dtype {'object' if OBJECTS.fullmatch(descr) else descr[:60]}"
            + (", which would need a pickle; none is loaded" if OBJECTS.fullmatch(descr) else "")
            + ". Save it as one array of numbers for each field."
        )
    dtype = np.dtype(descr)
    # An array without elements may still have axes that no array can have.
    if len(shape) > MOST_AXES or math.prod(length or 1 for length in shape) * dtype.itemsize > LARGEST:
        raise FileFormatError(
            f"{name}: its header (bytes 0 to {begin}) is damaged: no array has the shape {str(shape)[:100]}."
        )
    end = begin + math.prod(shape) * dtype.itemsize
    if end > limit:
        raise FileFormatError(
            f"{name}: its header promises an array of shape {shape} and dtype {dtype}, which ends at byte {end:,}, but "
            f"there are at most {limit:,} bytes: it is truncated, or the header is damaged. Fetch the file again."
        )
    return begin, Header(shape, fortran_order, dtype)


def _header_text(stream: BinaryIO) -> tuple[int, str]:
    """Return where the numbers begin, and the header's text."""
    start = stream.read(len(SIGNATURE) + 2)
    version = (*start[len(SIGNATURE) :],)
    if not start.startswith(SIGNATURE) or len(version) < 2:
        raise ValueError(f"it should begin with {SIGNATURE!r} and a version")
    if version not in LENGTHS:
        raise ValueError(f"version {version} of the format, known are {', '.join(map(str, LENGTHS))}")
    size = struct.calcsize(LENGTHS[version])
    written = stream.read(size)
    (length,) = struct.unpack(LENGTHS[version], written) if len(written) == size else (0,)
    if length > LONGEST_HEADER:
        raise ValueError(f"a header of {length:,} bytes, more than {LONGEST_HEADER:,}")
    text = stream.read(length)
    if len(text) < max(length, 1):
        raise ValueError(f"it ends at byte {len(start) + len(written) + len(text)}, in the header")
    return len(start) + size + length, text.decode("latin-1")


def _parse(text: str) -> tuple[tuple[int, ...], bool, str]:
    """Return what a header says, or raise ValueError where it is none."""
    found: dict[str, str] = {}
    opened = re.match(r"\s*\{", text)
    position = opened.end() if opened else 0
    closed = False
    while opened and not closed:
        field = FIELD.match(text, position)
        if field is None:
            raise ValueError(f"at byte {position} of it is {text[position : position + 20]!r}")
        name = field["name"]
        value = next((field[part] for part in VALUES[name] if field[part] is not None), None)
        if value is None or name in found:
            raise ValueError(f"{name} is {field[0].strip()[:60]!r}")
        found[name], position, closed = value, field.end(), field["end"] != ","
    if found.keys() != VALUES.keys() or text[position:].strip():
        raise ValueError(f"it is {text.strip()[:60]!r}")
    axes, descr = found["shape"], found["descr"]
    lengths = re.findall(r"\d+", axes, re.ASCII)
    if not AXES.fullmatch(axes) or (len(lengths) == 1 and "," not in axes) or (axes.strip() == ","):
        raise ValueError(f"the shape is ({axes[:60]})")
    return tuple(map(int, lengths)), found["fortran_order"] == "True", descr


def _check_end(end: int, size: int, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    if end < size:
        raise FileFormatError(
            f"{name}: its header promises an array of shape {shape} and dtype {dtype}, which ends at byte {end:,}, and "
            f"the file goes on after that: the header is damaged, or something was appended."
        )


def _read(stream: BinaryIO, limit: int, name: str) -> HostArray:
    """Read one array from a stream that holds `limit` bytes at most."""
    begin, (shape, fortran_order, dtype) = _read_header(stream, limit, name)
    values = np.empty(shape, dtype, "F" if fortran_order else "C")
    filled = fill(values.T if fortran_order else values, stream)
    if filled < values.nbytes:
        raise FileFormatError(
            f"{name}: truncated at byte {begin + filled:,}; its header promises {begin + values.nbytes:,} bytes."
        )
    _check_end(begin + filled, begin + filled + len(stream.read(1)), shape, dtype, name)
    refuse_other_bytes(values.T if fortran_order else values, name)
    return values.astype(dtype.newbyteorder("="), copy=False)
