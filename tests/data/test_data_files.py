"""The readers of files: right contents come back, wrong ones are named by place, and nothing is executed."""

from __future__ import annotations

import gzip
import io
import math
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from random_inputs import examples

import gradkit
from gradkit.data import datasets, load_csv, load_digits, load_idx, load_mnist, load_npy, load_npz, moons
from gradkit.errors import FileFormatError, MissingDependencyError

IDX_TYPES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}
NUMBERS = ["bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64"]
in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(40))


def host(x: Any) -> np.ndarray:
    return np.asarray(gradkit.device_get(x))


def idx(array: np.ndarray) -> bytes:
    """Write an array as an IDX file: two zero bytes, type, number of axes, sizes and numbers, all big-endian."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return (
        bytes([0, 0, IDX_TYPES[array.dtype.name], array.ndim])
        + sizes
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def arrays(dtypes: list[str]) -> Any:
    return st.sampled_from(dtypes).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=3, min_side=0)))


# What is right


@in_a_folder
@given(arrays(sorted(IDX_TYPES)), st.booleans())
def test_idx_files_come_back_plain_and_compressed(tmp_path: Path, array: np.ndarray, compressed: bool) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(idx(array)) if compressed else idx(array))
    loaded = host(load_idx(path))
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)


@in_a_folder
@given(arrays(NUMBERS), st.booleans())
def test_npy_and_npz_files_come_back(tmp_path: Path, array: np.ndarray, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    path = tmp_path / "x"
    path.write_bytes(npy(array))
    for loaded in (load_npy(path), load_npy(path, mmap=True) if array.size else load_npy(path)):
        assert loaded.dtype == array.dtype
        np.testing.assert_array_equal(host(loaded), array)
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", a=array, b=np.arange(3))
        loaded = load_npz(tmp_path / "x.npz")
        np.testing.assert_array_equal(host(loaded["a"]), array)
        assert loaded["b"].tolist() == [0, 1, 2]


def test_files_go_to_the_current_backend_in_their_dtype(tmp_path: Path, backend: Any, xp: Any) -> None:
    path = tmp_path / "x"
    for contents, load in [(idx(np.ones(2, "int16")), load_idx), (npy(np.ones(2, ">i2")), load_npy)]:
        path.write_bytes(contents)
        loaded = load(path)
        assert loaded.device == gradkit.devices()[0]
        assert (loaded.dtype.name, loaded.tolist()) == ("int16", [1, 1])
    path.write_text("a,b\n1,2\n3,4\n")
    x, y = load_csv(path, target="b", target_dtype="int32")
    assert x.device == gradkit.devices()[0]
    assert (x.tolist(), y.tolist(), x.dtype.name, y.dtype.name) == ([[1.0], [3.0]], [2, 4], "float32", "int32")


@in_a_folder
@given(
    hnp.arrays("float64", hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(allow_nan=False)), st.booleans()
)
def test_csv_files_come_back(tmp_path: Path, table: np.ndarray, header: bool) -> None:
    path = tmp_path / "x.csv"
    lines = [",".join(map(repr, row)) for row in table.tolist()]
    names = [",".join(f"c{i}" for i in range(table.shape[1]))] if header else []
    path.write_text("\n".join([*names, *lines]))
    np.testing.assert_array_equal(host(load_csv(path, dtype="float64")), table)


@pytest.mark.parametrize(
    "text, options, x, y",
    [
        ("a,b,y\n1,2,0\n3,4,1\n", {"target": "y"}, [[1, 2], [3, 4]], [0, 1]),
        ("a,b,y\n1,2,0\n3,4,1\n", {"target": -1}, [[1, 2], [3, 4]], [0, 1]),
        ("1;2\n3;4\n", {"delimiter": ";", "target": 0}, [[2], [4]], [1, 3]),
        ("0,1\n1,2\n", {"header": True, "target": "1"}, [[1]], [2]),
        ('"a","b"\r\n"1","2"\r\n\r\n3,4\r\n', {"target": "b"}, [[1], [3]], [2, 4]),
        ("\ufeffa,b\n1,2\n", {"target": "a"}, [[2]], [1]),
        ("a,b\nnan,2\n", {"target": "b"}, [[math.nan]], [2]),
    ],
)
def test_csv_headers_targets_and_delimiters(text: str, options: Any, x: Any, y: Any, tmp_path: Path, xp: Any) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8", newline="")
    found_x, found_y = load_csv(path, **options)
    np.testing.assert_array_equal(host(found_x), np.asarray(x, "float32"))
    np.testing.assert_array_equal(host(found_y), np.asarray(y, "float32"))


def mnist(folder: Path, parts: tuple[str, ...] = ("train", "t10k")) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    for part in parts:
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(5, dtype=np.uint8)))
    return images


def test_mnist_is_scaled_and_flat(tmp_path: Path, xp: Any) -> None:
    images = mnist(tmp_path)
    (x, y), (_, y_test) = load_mnist(tmp_path)
    np.testing.assert_allclose(host(x), images.reshape(5, 784) / 255, rtol=1e-6)
    assert (x.dtype.name, y.dtype.name, y.tolist(), y_test.tolist()) == ("float32", "int32", [*range(5)], [*range(5)])


def test_digits_are_those_of_scikit_learn(xp: Any) -> None:
    x, y = load_digits()
    assert (x.shape, x.dtype.name, y.dtype.name) == ((1797, 64), "float32", "int32")
    assert float(x.min()) == 0
    assert float(x.max()) == 1
    assert np.bincount(host(y)).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]  # as its description says


def test_moons_lie_on_two_half_circles_and_depend_on_the_key_alone(xp: Any) -> None:
    key = gradkit.random.key(3)
    x, y = moons(101, noise=0.0, key=key)
    points, labels = host(x), host(y)
    assert np.bincount(labels).tolist() == [50, 51]
    outer, inner = points[labels == 0], points[labels == 1]
    np.testing.assert_allclose(np.hypot(outer[:, 0], outer[:, 1]), 1, rtol=1e-5)
    np.testing.assert_allclose(np.hypot(inner[:, 0] - 1, inner[:, 1] - 0.5), 1, rtol=1e-5)
    assert outer[:, 1].min() >= -1e-6
    assert inner[:, 1].max() <= 0.5 + 1e-6
    with gradkit.use_backend("numpy"):
        np.testing.assert_array_equal(host(moons(101, 0.0, gradkit.random.key(3))[0]), points)


# What is wrong


GOOD: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "idx": (idx(np.arange(6, dtype=np.int32).reshape(2, 3)), load_idx),
    "idx.gz": (gzip.compress(idx(np.arange(600, dtype=np.int32))), load_idx),
    "npy": (npy(np.arange(6.0)), load_npy),
    "npz": (npz(a=np.arange(6.0), b=np.ones((2, 2))), load_npz),
}


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_file_that_is_truncated_anywhere_is_named(kind: str, tmp_path: Path) -> None:
    contents, load = GOOD[kind]
    path = tmp_path / f"x.{kind}"
    for length in range(0, len(contents), 1 if len(contents) < 400 else 7):
        path.write_bytes(contents[:length])
        with pytest.raises(FileFormatError, match=str(path)):
            load(path)


@pytest.mark.parametrize("kind", sorted(GOOD))
@in_a_folder
@given(data=st.data())
def test_a_damaged_byte_is_an_error_of_the_file_or_another_number(
    kind: str, tmp_path: Path, data: st.DataObject
) -> None:
    contents, load = GOOD[kind]
    damaged = bytearray(contents)
    damaged[data.draw(st.integers(0, len(contents) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "x"
    path.write_bytes(damaged)
    try:
        load(path)
    except FileFormatError as error:
        assert str(path) in str(error)  # noqa: PT017 - most damage is found, and that in a number cannot be


@pytest.mark.parametrize("load", [load_idx, load_npy, load_npz], ids=lambda load: load.__name__)
@pytest.mark.parametrize(
    "start, kind",
    [
        (b"\x80\x04\x95\0\0\0\0", "pickle"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"hello there", "hello"),
        (b"", "b''"),
    ],
)
def test_foreign_files_are_named_by_their_kind(load: Any, start: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(start)
    with pytest.raises(FileFormatError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert kind in str(caught.value)


class Trap:
    """What a pickle would run."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def test_no_pickle_is_run(tmp_path: Path) -> None:
    trap = np.asarray([Trap(tmp_path / "owned")], dtype=object)
    np.save(tmp_path / "x.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=trap, allow_pickle=True)
    for load, name in [(load_npy, "x.npy"), (load_npz, "x.npz"), (lambda path: load_npy(path, mmap=True), "x.npy")]:
        with pytest.raises(FileFormatError, match="pickle; none is loaded"):
            load(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_an_archive_with_something_else_in_it_is_no_npz(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("data.pkl", b"\x80\x04N.")
    with pytest.raises(FileFormatError, match=r"member 'data.pkl'.*no .npy file"):
        load_npz(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "contents, words",
    [
        (b"\0\0\x08\x01\xff\xff\xff\xff", ["promises", "4,294,967,303", "at most 8 bytes"]),
        (b"\0\0\x08\x01\0\0\0\2abc", ["goes on after that"]),
        (b"\0\0\x08\x01\0\0\0\3ab", ["ends at byte 11", "10 bytes"]),
        (b"\0\0\x07\x01\0\0\0\1a", ["types", "0x08", "byte 2"]),
        (b"\0\0\x08\x03\0\0", ["truncated at byte 6", "header"]),
    ],
)
def test_wrong_idx_headers_name_the_position(contents: bytes, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(contents)
    with pytest.raises(FileFormatError) as caught:
        load_idx(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "text, options, kind, words",
    [
        ("a,b\n1,2\n3\n", {}, FileFormatError, ["line 3", "1 fields", "have 2"]),
        ("a,b\n1,2\n3,4,5\n", {}, FileFormatError, ["line 3", "3 fields", "have 2"]),
        ("a,b\n1,\n", {}, FileFormatError, ["line 2, column 2 ('b')", "missing"]),
        ("a,b\n1,2\n\n3,x\n", {}, FileFormatError, ["line 4, column 2 ('b')", "'x'"]),
        ("1,2\n3,x\n", {}, FileFormatError, ["line 2, column 2", "'x'"]),
        ("1,2\na,b\n", {}, FileFormatError, ["line 2, column 1", "'a'"]),
        ("1;2\n3;4\n", {}, FileFormatError, ["delimiter=';'"]),
        ("0,a\n1,2\n", {}, FileFormatError, ["line 1", "header=True"]),
        ("a,b,c\n1,2\n", {}, FileFormatError, ["names 3 columns", "have 2"]),
        ("a,b\n", {}, FileFormatError, ["no rows", "only a header"]),
        ("", {}, FileFormatError, ["no rows"]),
        ("a,b\n1,2.5\n", {"dtype": "int32"}, FileFormatError, ["line 2, column 2 ('b')", "int32", "2.5", "exactly"]),
        ("a,b\n1,1e60\n", {}, FileFormatError, ["line 2, column 2 ('b')", "float32", "1e+60"]),
        ("a,price\n1,2\n", {"target": "prize"}, ValueError, ["target", "'prize'", "'a', 'price'", "'price'?"]),
        ("1,2\n", {"target": "a"}, ValueError, ["target", "no header", "0 to 1"]),
        ("1,2\n", {"target": 2}, ValueError, ["target", "2 columns", "2"]),
        ("1,2\n", {"delimiter": ",,"}, ValueError, ["delimiter", "one character"]),
        ("1,2\n", {"header": "yes"}, ValueError, ["header", "'auto'", "'yes'"]),
        ("1,2\n", {"dtype": "complex64"}, TypeError, ["dtype", "complex64"]),
    ],
)
def test_wrong_csv_files_and_arguments(text: str, options: Any, kind: type, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(kind) as caught:
        load_csv(path, **options)
    for word in words:
        assert word in str(caught.value)


def test_text_of_another_encoding_names_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("größe,b\n1,2\n".encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"line 1, at byte 2 of the file.*encoding="):
        load_csv(path)
    assert load_csv(path, encoding="latin-1").tolist() == [[1.0, 2.0]]


def test_a_folder_without_mnist_and_files_of_two_sets(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        load_mnist(tmp_path)
    mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(4, dtype=np.uint8)))
    with pytest.raises(FileFormatError, match=r"5 images.*4 labels"):
        load_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.ones((2, 2), dtype=np.uint8)))
    with pytest.raises(FileFormatError, match=r"labels.*one axis.*2 axes"):
        load_mnist(tmp_path)


def test_digits_are_read_without_scikit_learn_s_own_import_and_are_what_it_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = "import sys, gradkit.data; gradkit.data.load_digits(); assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
    x, y = map(host, load_digits())
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    np.testing.assert_array_equal(x, (theirs.data / 16).astype("float32"))
    np.testing.assert_array_equal(y, theirs.target)
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)  # as if its file were somewhere else
    for own, other in zip(load_digits(), (x, y), strict=True):
        np.testing.assert_array_equal(host(own), other)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gradkit\[sklearn\]'"):
        load_digits()


@pytest.mark.parametrize("arguments, words", [((1,), ["n", "at least 2", "1"]), ((10, -0.1), ["noise", "-0.1"])])
def test_moons_check_their_arguments(arguments: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match="moons") as caught:
        moons(*arguments)
    for word in words:
        assert word in str(caught.value)
