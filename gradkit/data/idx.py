"""IDX files, the format of MNIST.

The format is from the MNIST page of LeCun, Cortes and Burges ("The IDX file format"): two zero bytes, one byte for
the type, one for the number of axes, the length of each axis as a big-endian 32-bit number, then the elements,
big-endian, the last axis fastest.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gradkit.core.array import Array
from gradkit.data.files import DAMAGED_GZIP, HostArray, PathLike, damaged_gzip, describe_start, fill, open_binary, place
from gradkit.errors import FileFormatError

__all__ = ["load_idx", "load_mnist"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load_idx(path: PathLike) -> Array:
    """Load an IDX file, plain or gzip.

    Parameters
    ----------
    path : str or path
        The file. Whether it is gzipped is told by its content, not its name.

    Returns
    -------
    Array
        The elements on the current backend, in the file's own shape and dtype (``uint8``, ``int8``, ``int16``,
        ``int32``, ``float32`` or ``float64``).

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged or no IDX file; the message names the position.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    >>> load_idx(path)
    Array([5, 0, 4], dtype=uint8)
    """
    return place(read_idx(path))


def read_idx(path: PathLike) -> HostArray:
    """Read an IDX file into a NumPy array."""
    try:
        with open_binary(path) as (stream, limit):
            return _read(stream, limit, os.fspath(path))
    except DAMAGED_GZIP as error:
        raise damaged_gzip(path, error) from error


def _read(stream: BinaryIO, limit: int, name: str) -> HostArray:
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in DTYPES:
        types = ", ".join(f"0x{code:02X}" for code in DTYPES)
        raise FileFormatError(
            f"{name}: expected an IDX file, with two zero bytes at byte 0 and one of the types {types} at byte 2, "
            f"but it begins with {describe_start(start + stream.read(4))}."
        )
    dtype, n_axes = np.dtype(DTYPES[start[2]]), start[3]
    begin = 4 + 4 * n_axes
    lengths = stream.read(4 * n_axes)
    if len(lengths) < 4 * n_axes:
        raise FileFormatError(
            f"{name}: truncated at byte {4 + len(lengths)}, in the header, which goes to byte {begin} for an array "
            f"of {n_axes} axes. Fetch the file again."
        )
    shape = tuple(np.frombuffer(lengths, ">u4").tolist())
    end = begin + math.prod(shape) * dtype.itemsize
    promise = f"its header promises an array of shape {shape} and type {dtype.name}, which ends at byte {end:,}"
    if end > limit:
        raise FileFormatError(
            f"{name}: {promise}, but the file holds at most {limit:,} bytes: it is truncated, or its header (bytes 0 "
            f"to {begin}) is damaged. Fetch the file again."
        )
    try:
        values = np.empty(shape, dtype)
    except ValueError as error:  # more axes than NumPy has, or lengths beyond its indices
        raise FileFormatError(f"{name}: {promise}: its header (bytes 0 to {begin}) is damaged ({error}).") from error
    filled = fill(values, stream)
    if begin + filled < end:
        raise FileFormatError(f"{name}: truncated at byte {begin + filled:,}; {promise}. Fetch the file again.")
    if stream.read(1):
        raise FileFormatError(
            f"{name}: {promise}, and the file goes on after that: the header is damaged, or something was appended."
        )
    return values.astype(dtype.newbyteorder("="), copy=False)


ImagesAndLabels = tuple[Array, Array]

IMAGES = ("{part}-images-idx3-ubyte", "{part}-images.idx3-ubyte")
LABELS = ("{part}-labels-idx1-ubyte", "{part}-labels.idx1-ubyte")
"""The published names, and those that some archives unpack them to; either may end in ``.gz``."""


def load_mnist(folder: PathLike) -> tuple[ImagesAndLabels, ImagesAndLabels]:
    """Load MNIST, or a data set of its format (Fashion-MNIST, KMNIST), from its four IDX files.

    Parameters
    ----------
    folder : str or path
        Where the files are, under their published names (``train-images-idx3-ubyte`` and so on), plain or gzip.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : pairs of Array
        Images as ``float32`` in [0, 1], of shape ``(n, height * width)``, one row an image (``(n, 784)`` for MNIST),
        and labels as ``int32``, of shape ``(n,)``; on the current backend.

    Raises
    ------
    FileNotFoundError
        If one of the four files is not there.
    FileFormatError
        If a file is truncated or damaged, is not of images or labels, or images and labels differ in number.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = load_mnist("data/mnist")  # doctest: +SKIP
    >>> x_train.shape, y_train.dtype  # doctest: +SKIP
    ((60000, 784), dtype('int32'))
    """
    return _load_part(Path(folder), "train"), _load_part(Path(folder), "t10k")


def _load_part(folder: Path, part: str) -> ImagesAndLabels:
    image_path = _find(folder, [name.format(part=part) for name in IMAGES])
    label_path = _find(folder, [name.format(part=part) for name in LABELS])
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise FileFormatError(
            f"{image_path}: expected images, an array of three axes of uint8, got {images.ndim} axes of "
            f"{images.dtype.name} (bytes 2 and 3)."
        )
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise FileFormatError(
            f"{label_path}: expected labels, an array of one axis of uint8, got {labels.ndim} axes of "
            f"{labels.dtype.name} (bytes 2 and 3)."
        )
    if len(images) != len(labels):
        raise FileFormatError(
            f"{image_path} has {len(images):,} images, but {label_path} has {len(labels):,} labels: they are not of "
            f"one set."
        )
    # The bytes cross to the device, where they become four times as many.
    pixels = place(images.reshape(len(images), images.shape[1] * images.shape[2]))
    return pixels.astype("float32") / 255, place(labels).astype("int32")


def _find(folder: Path, names: list[str]) -> Path:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise FileNotFoundError(
        f"load_mnist: the folder {folder} has no file {names[0]} or {names[0]}.gz. It must hold MNIST's four files: "
        f"the images and the labels of train and of t10k."
    )
