"""The header of a safetensors file, checked to the last field before anything of it is believed.

The format (https://github.com/huggingface/safetensors): eight bytes with the length of the header, little-endian; the
header, a JSON object with a name for each tensor; the tensors, one after the other without gaps.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np

from gradkit.backend import NARROW_SIZES
from gradkit.data.checked_json import Check, each, keyed, parse, record, text, whole
from gradkit.data.files import describe_start
from gradkit.errors import FileFormatError

__all__ = ["DTYPES", "Entry", "Header", "read_header"]

METADATA = "__metadata__"

DTYPES = {
    "BF16": "bfloat16",
    "BOOL": "bool",
    "C64": "complex64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}
"""The dtypes, by what the format calls them. (It has no complex128.)"""
SIZES = {code: NARROW_SIZES.get(dtype) or np.dtype(dtype).itemsize for code, dtype in DTYPES.items()}
"""The bytes of an element."""

MOST_AXES = 64
"""NumPy's limit."""
LARGEST = 2**63 - 1

ENTRY: Check = record({"dtype": text, "shape": each(whole()), "data_offsets": each(whole(), 2, 2)})
TEXTS: Check = keyed(text)


class Entry(NamedTuple):
    """A tensor: what the format calls its dtype, its shape, and where in the file it is."""

    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """What a header says, and at which byte it ends."""

    end: int
    metadata: dict[str, str]
    tensors: dict[str, Entry]


def read_header(contents: bytes, name: str) -> Header:
    """Read the header of a file of that name.

    Raises
    ------
    FileFormatError
        If it is none, or does not fit the file.
    """
    size = len(contents)
    what = "expected a checkpoint in the safetensors format"
    if size < 8:
        raise FileFormatError(f"{name}: truncated at byte {size}, in the first 8 bytes: {what}.")
    (length,) = struct.unpack("<Q", contents[:8])
    start = f"It begins with {describe_start(contents[:8])}"
    if contents[8:9] != b"{":
        raise FileFormatError(f"{name}: {what}, but there is no header at byte 8. {start}.")
    begin = 8 + length
    if begin > size:
        raise FileFormatError(
            f"{name}: truncated at byte {size:,}, in the header, which goes to byte {begin:,}. {start}."
        )
    try:
        described: Any = parse(str(contents[8:begin], "utf-8"))
        if not isinstance(described, dict):
            raise ValueError("it is no object")
        metadata = described.pop(METADATA, {})
        TEXTS(metadata, METADATA)
        tensors = {key: _entry(key, value, begin) for key, value in described.items()}
    except ValueError as error:
        raise FileFormatError(f"{name}: the header (bytes 8 to {begin:,}) is damaged: {error}.") from error
    _check_places(name, tensors, begin, size)
    for key, entry in tensors.items():
        _check_size(name, key, entry)
    return Header(begin, metadata, tensors)


def _entry(key: str, value: Any, base: int) -> Entry:
    ENTRY(value, f"the entry of {key!r}")
    begin, end = value["data_offsets"]
    return Entry(value["dtype"], tuple(value["shape"]), base + begin, base + end)


def _check_places(name: str, tensors: dict[str, Entry], begin: int, size: int) -> None:
    """Check that the tensors follow each other from the header's end to the file's."""
    end = max((entry.end for entry in tensors.values()), default=begin)
    if end != size:
        state = f"truncated at byte {size:,}" if size < end else f"too long, at {size:,} bytes"
        raise FileFormatError(f"{name}: {state}; its header promises tensors up to byte {end:,}.")
    reached = begin
    for key, entry in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != reached or entry.end < reached:
            raise FileFormatError(
                f"{name}: the header (bytes 8 to {begin:,}) is damaged: {key} goes from byte {entry.begin:,} to "
                f"{entry.end:,}, where the tensors before it end at byte {reached:,}."
            )
        reached = entry.end


def _check_size(name: str, key: str, entry: Entry) -> None:
    if entry.code not in SIZES:
        raise FileFormatError(
            f"{name}: the leaf {key} is of the dtype {entry.code[:20]}, which is not supported. "
            f"Convert it to float32 with the library that wrote the file."
        )
    expected = math.prod(entry.shape) * SIZES[entry.code]
    # An array without elements may still have axes that no array can have.
    largest = math.prod(length or 1 for length in entry.shape) * SIZES[entry.code]
    if expected != entry.end - entry.begin or len(entry.shape) > MOST_AXES or largest > LARGEST:
        shape = f"{list(entry.shape)}" if len(entry.shape) <= MOST_AXES else f"of {len(entry.shape):,} axes"
        raise FileFormatError(
            f"{name}: the header is damaged: {key} is {entry.code} {shape}, which does not fit its "
            f"{entry.end - entry.begin:,} bytes (from byte {entry.begin:,})."
        )
