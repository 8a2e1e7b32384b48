"""NumPy's files: .npy, one array, and .npz, a zip archive of them.

NumPy parses the header; the numbers are read here, so that there is no path on which a pickle could be loaded, and
what a damaged header promises is held against the file's length before memory is asked for.
"""

from __future__ import annotations

import errno
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, cast, overload

import numpy as np
from numpy.lib import format as npy_format

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
    place,
)
from gradkit.errors import FileFormatError

__all__ = ["load_npy", "load_npz"]

Header = tuple[tuple[int, ...], bool, np.dtype[Any]]

HEADER_READERS: dict[tuple[int, int], Callable[[BinaryIO], Header]] = {
    (1, 0): cast("Callable[[BinaryIO], Header]", npy_format.read_array_header_1_0),
    (2, 0): cast("Callable[[BinaryIO], Header]", npy_format.read_array_header_2_0),
}
"""By the format's version. Version 3 differs in the names of a structured dtype's fields, and those are not read."""

BAD_HEADER = (ValueError, TypeError, SyntaxError, RecursionError, tokenize.TokenError)
"""What NumPy raises for headers that are none, since it evaluates them as Python literals."""

BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What reading a damaged or encrypted zip archive raises; and an OSError where it is sent to before the beginning."""


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
        with open(path, "rb") as file:
            begin, (shape, fortran_order, dtype) = _read_header(file, os.fstat(file.fileno()).st_size, name)
        return np.memmap(path, dtype, "r", begin, shape, "F" if fortran_order else "C")
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
    with open(path, "rb") as file:
        start = file.read(8)
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    values = _read_member(archive, member, name)
                    arrays[member.filename.removesuffix(".npy")] = place(values)
        except (*BAD_ARCHIVE, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise FileFormatError(
                f"{name}: expected an .npz file, a zip archive of arrays, but after {len(arrays)} arrays it cannot be "
                f"read: {error}. It begins with {describe_start(start)}. If it was one, it is truncated or damaged: "
                f"fetch it again."
            ) from error
    return arrays


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
        version = npy_format.read_magic(stream)
        if version not in HEADER_READERS:
            raise ValueError(f"version {version} of the format, known are {', '.join(map(str, HEADER_READERS))}")
        header = HEADER_READERS[version](stream)
    except BAD_HEADER as error:
        stream.seek(0)
        raise FileFormatError(
            f"{name}: expected an .npy file, but there is no header of one at byte 0 ({error}). It begins with "
            f"{describe_start(stream.read(8))}."
        ) from error
    shape, _, dtype = header
    begin = stream.tell()
    if dtype.kind not in "biufc":
        raise FileFormatError(
            f"{name}: expected numbers, got an array of dtype {dtype}"
            + (", which would need a pickle; none is loaded" if dtype.hasobject else "")
            + ". Save it as one array of numbers for each field."
        )
    end = begin + math.prod(shape) * dtype.itemsize
    if end > limit or min(shape, default=0) < 0:
        raise FileFormatError(
            f"{name}: its header promises an array of shape {shape} and dtype {dtype}, which ends at byte {end:,}, but "
            f"there are at most {limit:,} bytes: it is truncated, or the header is damaged. Fetch the file again."
        )
    return begin, header


def _read(stream: BinaryIO, limit: int, name: str) -> HostArray:
    """Read one array from a stream that holds `limit` bytes at most."""
    begin, (shape, fortran_order, dtype) = _read_header(stream, limit, name)
    try:
        values = np.empty(shape, dtype, "F" if fortran_order else "C")
    except ValueError as error:  # more axes than NumPy has, or lengths beyond its indices
        raise FileFormatError(f"{name}: its header (bytes 0 to {begin}) is damaged: {error}.") from error
    filled = fill(values.T if fortran_order else values, stream)
    if filled < values.nbytes:
        raise FileFormatError(
            f"{name}: truncated at byte {begin + filled:,}; its header promises {begin + values.nbytes:,} bytes."
        )
    if stream.read(1):
        raise FileFormatError(
            f"{name}: its header promises an array of shape {shape} and dtype {dtype}, which ends at byte "
            f"{begin + filled:,}, and the file goes on after that: the header is damaged, or something was appended."
        )
    return values.astype(dtype.newbyteorder("="), copy=False)
