"""Damaged files of every kind: an error of the file, or what was there before; never another error, and never wrong."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import damage
import numpy as np
import pytest
from damage import ESCAPED, WRONG, Kind, comparable, npy_with, safetensors, stamped, zipped

import gradkit
from gradkit import data
from gradkit.data.tables import read_table
from gradkit.errors import FileFormatError

KINDS = "array|checkpoint|checkpoint, like|csv|csv.gz|idx|idx.gz|npy|npy, mapped|npy.gz|npz|npz, compressed".split("|")
KINDS += ["scalar", "table", "table.gz"]


def sweep(kind: Kind, folder: Path, damaged: Iterable[bytes]) -> Counter[str]:
    """Load all of these files; those that should not have come as they did are the failure's text."""
    path = folder / "x"
    path.write_bytes(kind.contents)
    expected = comparable(kind.load(path))
    counts: Counter[str] = Counter()
    bad: list[str] = []
    for contents in damaged:
        what, error = damage.outcome(path, kind, expected, contents)
        counts[what] += 1
        if what in (WRONG, ESCAPED):
            bad.append(f"{what} {error!r:.100}: {contents!r:.300}")
    assert not bad, f"{len(bad)} of {counts.total()}:\n" + "\n".join(bad[:5])
    return counts


def test_every_kind_is_swept(tmp_path: Path) -> None:
    assert sorted(damage.kinds(tmp_path)) == KINDS


@pytest.mark.parametrize("name", KINDS)
def test_every_flipped_bit_is_found_or_does_not_matter(name: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    kind = damage.kinds(tmp_path)[name]
    # All of those of a checkpoint; of the larger files every fifth, a different one of each byte.
    every = 1 if "checkpoint" in name or pytestconfig.getoption("--long") or len(kind.contents) < 100 else 5
    sweep(kind, tmp_path, itertools.islice(damage.bit_flips(kind.contents), None, None, every))


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_ends_anywhere_is_no_other_error(name: str, tmp_path: Path) -> None:
    kind = damage.kinds(tmp_path)[name]
    counts = sweep(kind, tmp_path, damage.truncations(kind.contents))
    if kind.checked:
        assert counts[damage.SAME] == 0


@pytest.mark.parametrize("name", KINDS)
def test_other_damage_is_no_other_error(name: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    kind = damage.kinds(tmp_path)[name]
    source = random.Random(0)
    count = 3000 if pytestconfig.getoption("--long") else 150
    sweep(kind, tmp_path, (damage.random_damage(kind.contents, source) for _ in range(count)))


def test_headers_of_another_structure_are_errors_of_the_file(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    found = damage.kinds(tmp_path)
    source = random.Random(0)
    count = 5000 if pytestconfig.getoption("--long") else 300
    for name in ("checkpoint", "array"):
        # Not "wrong": some of these are right files with other contents.
        kind = found[name]._replace(checked=False)
        sweep(kind, tmp_path, (damage.mutated_checkpoint(kind.contents, source) for _ in range(count)))
    for name in ("npy", "npy, mapped"):
        sweep(found[name], tmp_path, (damage.mutated_npy(source) for _ in range(count)))
    archive = found["npz"]._replace(checked=False)
    sweep(archive, tmp_path, (zipped([("a.npy", damage.mutated_npy(source))]) for _ in range(count)))


W = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
OWN = {"version": 2, "scalars": {"n": ["int", "1"]}, "complex128": [], "crc32": {}}

HEADERS = {
    "no offsets": '{"a":{"dtype":"F32","shape":[0],"data_offsets":[]}}',
    "metadata null": '{"__metadata__":null}',
    "metadata list": '{"__metadata__":[]}',
    "metadata number": '{"__metadata__":{"gradkit":1}}',
    "metadata nested": '{"__metadata__":{"gradkit":{}}}',
    "list": "{[]}",
    "deep objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "deep lists": '{"a":' + damage.nested(100_000) + "}",
    "deep shape": '{"a":{"dtype":"F32","shape":' + damage.nested(3000) + ',"data_offsets":[0,0]}}',
    "float shape": '{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}',
    "bool shape": '{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}',
    "text shape": '{"a":{"dtype":"F32","shape":"1","data_offsets":[0,4]}}',
    "negative shape": '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    "bool offsets": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[false,4]}}',
    "float offsets": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.0,4.0]}}',
    "offsets back": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}',
    "a gap": '{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"b":'
    '{"dtype":"I8","shape":[1],"data_offsets":[3,4]}}',
    "overlap": '{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]},"b":'
    '{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}',
    "overflow": '{"a":{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,4]}}',
    "empty and huge": '{"a":{"dtype":"I8","shape":[0,9223372036854775807,9],"data_offsets":[0,0]},"b":'
    '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "axes": '{"a":{"dtype":"F32","shape":[' + "1," * 70 + '1],"data_offsets":[0,4]}}',
    "unknown dtype": '{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}',
    "dtype list": '{"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}',
    "twice": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":'
    '{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}',
    "shape twice": '{"a":{"dtype":"F32","shape":[1],"shape":[1,1],"data_offsets":[0,4]}}',
    "unknown field": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"order":"F"}}',
    "huge number": '{"a":{"dtype":"F32","shape":[' + "9" * 5000 + '],"data_offsets":[0,4]}}',
    "NaN": '{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}',
    "UTF-16": '{"a":1}'.encode("utf-16-le"),
    "not UTF-8": b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
}

METADATA: dict[str, Any] = {
    "list": [],
    "null": None,
    "text": '"text"',
    "no JSON": "{",
    "deep": damage.nested(100_000),
    "nothing": {},
    **{f"version {value!r}": {**OWN, "version": value} for value in ("2", None, True, 2.0, 0, -1, [], {}, 10**400)},
    **{f"scalars {value!r}": {**OWN, "scalars": value} for value in (None, [], "n", 1, True)},
    **{
        f"scalar {value!r}": {**OWN, "scalars": {"n": value}}
        for value in (
            *(
                None,
                1,
                "int",
                [],
                ["int"],
                ["int", 1],
                ["int", "x"],
                ["int", "1_0"],
                ["int", " 1"],
                ["int", "1", "2"],
                {},
            ),
            *(["float", "x"], ["float", "1"], ["float", "0x1p99999"], ["bool", "true"], ["bool", "1"], ["list", "[]"]),
            *(
                ["complex", "0x1p+0"],
                ["complex", "x", "y"],
                ["complex", "0x1.0000000000000p+0", "1", "2"],
                ["none", "None"],
            ),
        )
    },
    **{
        f"complex128 {value!r}": {**OWN, "complex128": value}
        for value in (None, 1, {}, "w", ["w"], [["w"]], [1], [None])
    },
    **{
        f"crc32 {value!r}": {**OWN, "crc32": value}
        for value in (None, [], 1, {"w": "1"}, {"w": None}, {"w": 1.0}, {"v": 1})
    },
    "unknown field": {**OWN, "more": 1},
    "scalar and tensor": {**OWN, "scalars": {"w": ["int", "1"]}},
    "no checksums": OWN,
}


@pytest.mark.parametrize("name", HEADERS)
def test_bad_headers_are_errors_of_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(HEADERS[name], bytes(4)))
    for like in (None, {"a": np.zeros(1, np.float32)}):
        with pytest.raises(FileFormatError, match=r"x\.safetensors: "):
            gradkit.load(path, like=like)


@pytest.mark.parametrize("name", METADATA)
def test_bad_metadata_are_errors_of_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(stamped(METADATA[name], {"w": W}, bytes(4)))
    for like in (None, {"w": np.zeros(1, np.float32), "n": 1}):
        with pytest.raises(FileFormatError, match=r"x\.safetensors: "):
            gradkit.load(path, like=like)


@pytest.mark.parametrize("dtype, shape", [("F32", [2]), ("F64", []), ("F64", [3]), ("C64", [2]), ("F64", [2, 1])])
def test_pairs_that_are_none_are_no_complex_numbers(dtype: str, shape: list[int], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    names = {"F32": "float32", "F64": "float64", "C64": "complex64"}
    values = np.zeros(shape, names[dtype])
    gradkit.save(path, {"w": values})
    contents = path.read_bytes()
    length = int.from_bytes(contents[:8], "little")
    header = json.loads(contents[8 : 8 + length])
    own = json.loads(header.pop("__metadata__")["gradkit"].partition(" ")[2])
    path.write_bytes(stamped({**own, "complex128": ["w"]}, header, contents[8 + length :]))
    with pytest.raises(FileFormatError, match="w should be complex128"):
        gradkit.load(path)


@pytest.mark.parametrize("name", ["gradkiu", "Gradkit", "gradki", "gradkit2", "x"])
def test_metadata_under_another_name_are_damaged_and_not_another_programs(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    gradkit.save(path, damage.saved())
    contents = path.read_bytes().replace(b'"gradkit"', f'"{name}"'.encode())
    length = len(contents) - len(path.read_bytes()) + int.from_bytes(contents[:8], "little")
    path.write_bytes(length.to_bytes(8, "little") + contents[8:])
    with pytest.raises(FileFormatError, match=f"expected them under the name gradkit, got {name}"):
        gradkit.load(path)


@pytest.mark.parametrize(
    "metadata", [{}, {"format": "pt"}, {"version": "1", "crc32": "no"}, {"ss_network_args": '{"scalars": 1}'}, {"": ""}]
)
def test_metadata_of_other_programs_are_passed_over(metadata: dict[str, str], tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"w": np.arange(3.0)}, tmp_path / "x.safetensors", metadata=metadata)
    assert gradkit.load(tmp_path / "x.safetensors", like={"w": np.zeros(3)})["w"].tolist() == [0.0, 1.0, 2.0]


# Readers of data

NPY = {
    "minus signs": "{'descr': '<f8', 'fortran_order': False, 'shape': " + "-" * 9000 + "1, }",
    "open": "(" * 9000,
    "nested": "{'descr': '<f8', 'fortran_order': False, 'shape': " + damage.nested(4000, "(", ",)") + ", }",
    "too long": "{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }" + " " * 10_000,
    "empty": "",
    "twice": "{'descr': '<f8', 'descr': '<i8', 'fortran_order': False, 'shape': (6,), }",
    "calls": "{'descr': dict(), 'fortran_order': False, 'shape': (6,), }",
    "order": "{'descr': '<f8', 'fortran_order': 1, 'shape': (6,), }",
    "no tuple": "{'descr': '<f8', 'fortran_order': False, 'shape': (6), }",
    "list": "{'descr': '<f8', 'fortran_order': False, 'shape': [6], }",
    **{
        f"dtype {value}": f"{{'descr': {value}, 'fortran_order': False, 'shape': (6,), }}"
        for value in damage.NPY_DTYPES
    },
    **{
        f"shape {value}": f"{{'descr': '<f8', 'fortran_order': False, 'shape': {value}, }}"
        for value in damage.NPY_SHAPES
    },
}


@pytest.mark.parametrize("name", NPY)
def test_bad_headers_of_npy_files_are_errors_of_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy_with(NPY[name]))
    (tmp_path / "x.npz").write_bytes(zipped([("a.npy", npy_with(NPY[name]))]))
    for load in (data.load_npy, lambda path: data.load_npy(path, mmap=True)):
        with pytest.raises(FileFormatError, match=r"x\.npy: "):
            load(tmp_path / "x.npy")
    with pytest.raises(FileFormatError, match=r"x\.npz, member 'a\.npy': "):
        data.load_npz(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "header, shape",
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }", (6,)),
        ('{"shape": (2, 3), "fortran_order": True, "descr": "<f8"}', (2, 3)),
        ("{'descr':'<f8','fortran_order':False,'shape':(2,3)}", (2, 3)),
        (" { 'descr' : 'f8' , 'shape' : ( 6L , ) , 'fortran_order' : False } \n", (6,)),
        ("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 6, 1,), }", (1, 6, 1)),
        ("{'descr': '|b1', 'fortran_order': False, 'shape': (48,), }", (48,)),
        ("{'descr': '<c16', 'fortran_order': False, 'shape': (3,), }", (3,)),
    ],
)
def test_headers_of_npy_files_may_be_written_in_any_way(header: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy_with(header))
    assert data.load_npy(tmp_path / "x.npy").shape == shape
    found = data.load_npy(tmp_path / "x.npy", mmap=True)
    expected = np.load(tmp_path / "x.npy") if "L" not in header else found
    assert (found.shape, found.dtype, found.flags.f_contiguous) == (shape, expected.dtype, expected.flags.f_contiguous)


def test_a_mapped_file_with_something_after_its_numbers_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(damage.npy(np.arange(3.0)) + b"more")
    with pytest.raises(FileFormatError, match="goes on after that"):
        data.load_npy(tmp_path / "x.npy", mmap=True)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_none_are_errors_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    good, other = damage.npy(np.arange(3.0)), damage.npy(np.arange(4))
    whole = zipped([("a.npy", good), ("b.npy", other)])
    end = whole.rindex(b"PK\5\6")
    cases = {
        "is there 2 times": zipped([("a.npy", good), ("a.npy", other)]),
        "cannot be read: .*utf-8": zipped([("\xe9.npy", good)]).replace("\xe9".encode(), b"\xff\xff"),
        "its end promises 3": whole[: end + 8] + b"\3\0\3\0" + whole[end + 12 :],
        "its directory ends at byte 0": whole[: end + 4] + bytes(18),
        "does not begin as the directory": whole[:6] + b"\0\x08" + whole[8:],
        "more than there can be": _lying(zipped([("a.npy", good)])),
    }
    for words, contents in cases.items():
        path.write_bytes(contents)
        with pytest.raises(FileFormatError, match=words):
            data.load_npz(path)


def _lying(contents: bytes) -> bytes:
    """Return an archive whose directory promises more of its member than there can be."""
    place = contents.rindex(b"PK\1\2") + 24
    return contents[:place] + b"\xff\xff\xff\x7f" + contents[place + 4 :]


@pytest.mark.parametrize("text", ["a,y\n1,z\0\n2,z\n", "a,y\n1,z\n2,\0z\n", "a,y\n1\0,z\n2,y\n", "a\0,y\n1,z\n2,y\n"])
def test_a_nul_in_a_table_is_damage_and_no_class(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(FileFormatError, match=r"in (the header|line [23]) is a character NUL"):
        read_table(tmp_path / "x.csv", "y")
    header, rows = text.split("\n", 1)
    (tmp_path / "x.csv").write_text(f"{header}\n{rows.replace('y', '3').replace('z', '2')}")
    with pytest.raises(FileFormatError, match=r"in the line .* is a character NUL"):
        data.load_csv(tmp_path / "x.csv")


def test_a_truncated_csv_gz_is_an_error_of_the_file_wherever_the_text_ends(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i * i},{i % 3}" for i in range(20_000))
    for text, load in (("a,b,c\n" + rows, lambda path: read_table(path, "c")), (rows, data.load_csv)):
        contents = gzip.compress(text.encode())
        for length in (30, 1000, 20_000, len(contents) - 9, len(contents) - 1):
            (tmp_path / "x.csv.gz").write_bytes(contents[:length])
            with pytest.raises(FileFormatError, match=r"its gzip data is truncated or damaged after byte"):
                load(tmp_path / "x.csv.gz")
