"""What the readers of files share: where the numbers go, and what to say about a file of another kind."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np

from gradkit.backend import current_backend, current_device
from gradkit.core.array import Array
from gradkit.errors import FileFormatError

__all__ = [
    "DAMAGED_GZIP", "DEFLATE_RATIO", "HostArray", "PathLike", "damaged_gzip", "describe_start", "fill", "open_binary",
    "open_file", "place", "refuse_folder", "refuse_other_bytes",
]  # fmt: skip

HostArray = np.ndarray[Any, np.dtype[Any]]
PathLike = str | os.PathLike[str]

DEFLATE_RATIO = 1032
"""No deflate stream expands by more than this factor (zlib's technical notes): a file that promises more is damaged."""

DAMAGED_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading from `open_binary` raises where a gzip file is truncated or damaged."""

GZIP = b"\x1f\x8b"

SIGNATURES = {
    GZIP: "gzip-compressed data",
    b"PK\x03\x04": "a zip archive, as .npz files and PyTorch's checkpoints are",
    b"\x93NUMPY": "a NumPy .npy file",
    b"\x80": "a Python pickle, which is never read here, since reading one runs what it says",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF document",
    b"<": "an HTML or XML page; perhaps a download went wrong",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def describe_start(start: bytes) -> str:
    """Say what the first bytes of a file show, and what kind of file begins so.

    Examples
    --------
    >>> print(describe_start(b"%PDF-1.7"))
    b'%PDF-1.7' (a PDF document)
    >>> print(describe_start(b"hello"))
    b'hello'
    """
    kinds = [kind for signature, kind in SIGNATURES.items() if start.startswith(signature)]
    return f"{start[:8]!r} ({kinds[0]})" if kinds else repr(start[:8])


def refuse_folder(path: PathLike) -> None:
    """Raise IsADirectoryError where a file is to be and a folder is."""
    if os.path.isdir(path):
        raise IsADirectoryError(
            f"{os.fspath(path)} is a folder, where a file is expected. Give the name of a file; or, if one is to be "
            f"made there, take the folder away."
        )


def open_file(path: PathLike) -> BinaryIO:
    """Open a file to read it."""
    refuse_folder(path)
    return open(path, "rb")


def refuse_other_bytes(values: HostArray, where: str) -> None:
    """Raise FileFormatError where a truth value is a byte other than 0 and 1: nothing is right about it afterwards."""
    if values.dtype == np.bool_ and (wrong := values.view(np.uint8).reshape(-1) > 1).any():
        i = int(wrong.argmax())
        raise FileFormatError(
            f"{where} is damaged: its element {i:,} is the byte {values.view(np.uint8).reshape(-1)[i]}, and truth "
            f"values are 0 and 1. Fetch or write the file again."
        )


@contextmanager
def open_binary(path: PathLike) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file, plain or gzip (told by its content), and say how many bytes it can hold at most."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        compressed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if not compressed:
            yield file, size
            return
        with gzip.GzipFile(fileobj=file) as stream:
            yield cast(BinaryIO, stream), size * DEFLATE_RATIO


def damaged_gzip(path: PathLike, error: Exception) -> FileFormatError:
    """Say up to where a gzip file can be read that was found truncated or damaged."""
    good = 0
    try:
        with open_binary(path) as (stream, _):
            while block := stream.read(1024):
                good += len(block)
    except DAMAGED_GZIP:
        pass
    return FileFormatError(
        f"{os.fspath(path)}: its gzip data is truncated or damaged after byte {good:,} of the text or numbers in it "
        f"({error}). Fetch the file again."
    )


def fill(values: HostArray, stream: BinaryIO) -> int:
    """Read into a contiguous array as far as the stream goes, and return the number of bytes read."""
    buffer = values.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])  # type: ignore[attr-defined]
        if not count:
            break
        filled += count
    return filled


def place(values: HostArray) -> Array:
    """Put numbers that were read on the host on the current backend and device, in their own dtype."""
    return Array(current_backend().from_host(values, current_device()))
