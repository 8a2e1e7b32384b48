"""CSV files with a header: what is read of them, and what is said of a fault."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_inputs import examples

from gradkit.data import tables
from gradkit.data.tables import Table, read_table
from gradkit.errors import FileFormatError


def table_of(folder: Path, text: str | bytes, *args: Any, **options: Any) -> Table:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_table(path, *args, **options)


def test_columns_are_numbers_and_the_target_is_classes(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,kind,b\n1,red,-2.5\n\n3e2,blue,4\n5,red,6\n", "kind")
    assert table.names == ("a", "b")
    np.testing.assert_array_equal(table.x, np.asarray([[1, -2.5], [300, 4], [5, 6]], np.float32))
    assert table.x.dtype == np.float32
    assert table.classes == ("blue", "red")
    assert table.y is not None
    assert table.y.tolist() == [1, 0, 1]


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,kind\n1,10\n2,9\n3,-1\n4,10\n", "kind")
    assert table.classes == ("-1", "9", "10")
    assert table.y is not None
    assert table.y.tolist() == [2, 1, 0, 2]


def test_targets_with_decimals_are_numbers_unless_classes_are_asked_for(tmp_path: Path) -> None:
    text = "a,price\n1,2.5\n2,3\n"
    numbers = table_of(tmp_path, text, "price")
    assert numbers.classes is None
    assert numbers.y is not None
    assert numbers.y.tolist() == [2.5, 3.0]
    assert table_of(tmp_path, text, "price", classify=True).classes == ("2.5", "3")
    whole = table_of(tmp_path, "a,price\n1,2\n2,3\n", "price", classify=False)
    assert whole.classes is None


def test_columns_are_taken_by_their_names_in_the_order_asked_for(tmp_path: Path) -> None:
    table = table_of(tmp_path, "note,b,a\nsome text,1,2\n,3,4\n", names=("a", "b"))
    np.testing.assert_array_equal(table.x, [[2, 1], [4, 3]])
    assert table.names == ("a", "b")
    assert table.y is None


def test_quotes_blank_lines_byte_order_marks_other_delimiters_and_gzip_are_read(tmp_path: Path) -> None:
    expected = np.asarray([[1, 2], [3, 4]], np.float32)
    for text in ('"a";"b; or c"\r\n1;2\r\n"3";4\r\n', "\ufeffa;b\n\n1;2\n \n3;4"):
        np.testing.assert_array_equal(table_of(tmp_path, text, delimiter=";").x, expected)
    np.testing.assert_array_equal(table_of(tmp_path, gzip.compress(b"a,b\n1,2\n3,4\n")).x, expected)
    table = table_of(tmp_path, 'a,kind\n1,"x, or y"\n2,z\n', "kind")
    assert table.classes == ("x, or y", "z")


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 9, 23])
def test_blocks_make_no_difference(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a,kind,b\n" + "".join(f"{i},{'xyz'[i * 7 % 3]},{i / 8}\n" for i in range(rows))
    whole = table_of(tmp_path, text, "kind")
    monkeypatch.setattr(tables, "BLOCK", 4)
    blocks = table_of(tmp_path, text, "kind")
    np.testing.assert_array_equal(blocks.x, whole.x)
    np.testing.assert_array_equal(blocks.x[:, 1], np.arange(rows) / 8)
    assert blocks.classes == whole.classes
    np.testing.assert_array_equal(blocks.y, whole.y)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50))
@given(
    st.lists(
        st.tuples(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.text(
                st.characters(exclude_characters='"\r\n\0', exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1
            ),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_what_pythons_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[float, str]]) -> None:
    import csv

    rows = [(number, f"t{text.strip()}") for number, text in rows]
    file = io.StringIO()
    csv.writer(file).writerows([("number", "kind"), *((repr(number), text) for number, text in rows)])
    table = table_of(tmp_path, file.getvalue(), "kind")
    assert table.x[:, 0].tolist() == [number for number, _ in rows]
    assert table.classes is not None
    assert table.y is not None
    assert [table.classes[i] for i in table.y] == [text for _, text in rows]


HEAD = "height,weight,kind\n1,2,a\n3,4,b\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "it is empty"),
        ("height,weight,kind\n", "there are no rows in it, only a header"),
        ("1,2,3\n4,5,6\n", "expected a header with the columns' names in the first line, got numbers: '1,2,3'"),
        ("a,b,a,kind\n1,2,3,x\n", "the header has 2 columns 'a'"),
        ("a,b\n1,2\n", "there is no target 'kind'. Its columns: 'a', 'b'."),
        ("a,Kind\n1,2\n", "there is no target 'kind'. Its columns: 'a', 'Kind'. Did you mean 'Kind'?"),
        (
            "a;kind\n1;2\n",
            "Its columns: 'a;kind'. If fields are not separated by ',', say by what (delimiter, such as ';').",
        ),
        ("kind\na\nb\n", "there is no column to learn from besides the target"),
        (HEAD + "5,6\n", "line 4 has 2 fields, but the header names 3 columns"),
        (HEAD + "\n5,6,a,7\n", "line 5 has 4 fields, but the header names 3 columns"),
        ('a,b,kind\n1,2,"two\nlines"\n', "in line 2 a quoted text has no end. A quoted text that goes over"),
        # As many delimiters in each line as in any other: the next row would be in the class's name.
        (HEAD + '5,6,"a\n7,8,b"\n', "in line 4 a quoted text has no end."),
        (HEAD + '5,"6\n7",8,b\n', "in line 4 a quoted text has no end."),
        (HEAD + '\n5,6,"a\n', "in line 5 a quoted text has no end."),
        (HEAD + "5,tall,a\n", "line 4, column 'weight': expected a number, got 'tall'"),
        (HEAD + "5,1_000,a\n", "line 4, column 'weight': expected a number, got '1_000'"),
        (HEAD + "5,,a\n", "line 4, column 'weight': the value is missing (it is '')"),
        (HEAD + "NA,6,a\n", "line 4, column 'height': the value is missing (it is 'NA')"),
        (HEAD + "5,nan,a\n", "line 4, column 'weight': the value is missing (it is 'nan')"),
        (HEAD + "5,inf,a\n", "line 4, column 'weight': expected a finite number, got 'inf'"),
        (HEAD + "5,1e39,a\n", "a number is beyond the range of float32"),
        (HEAD + "5,6,\n", "line 4, column 'kind': the value is missing"),
        (HEAD + "5,6, \n", "line 4, column 'kind': the value is missing"),
        ("a,kind\n1,0\n\n2,1\n3,NA\n4,1\n", "line 5, column 'kind': the value is missing (it is 'NA', where others"),
        (HEAD + "5,6," + "x" * 300 + "\n", "a name of more than 255 characters"),
        (HEAD + "5,6," + "x" * 200_000 + "\n", "a line that begins '5,6,xxx"),
        (HEAD.encode() + b"5,6,\xff\n", "it is no UTF-8 text"),
        (gzip.compress(HEAD.encode() * 1000)[:-20], "its gzip data is truncated or damaged"),
    ],
)
def test_a_fault_is_named_by_row_and_column(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=re.escape(message)) as caught:
        table_of(tmp_path, text, "kind")
    assert str(caught.value).startswith(str(tmp_path / "table.csv"))


def test_a_quote_within_a_text_is_a_character_of_it(tmp_path: Path) -> None:
    table = table_of(tmp_path, 'a,kind\n1,5" pipe\n2,rod\n3,"5"" pipe"\n4,rod\n', "kind")
    assert table.classes == ('5" pipe', "rod")
    assert table.y is not None
    assert table.y.tolist() == [0, 1, 0, 1]


def test_a_class_of_numbers_is_not_nan(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"line 3, column 'kind': the value is missing \(it is 'nan', where"):
        table_of(tmp_path, "a,kind\n1,0\n2,nan\n3,1\n", "kind", classify=True)


def test_a_class_may_be_called_none_among_other_words(tmp_path: Path) -> None:
    assert table_of(tmp_path, "a,kind\n1,none\n2,some\n3,none\n", "kind").classes == ("none", "some")


def test_a_fault_is_found_in_a_later_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK", 4)
    text = "a,b\n" + "1,2\n" * 9 + "1,\n" + "1,2\n" * 5
    with pytest.raises(FileFormatError, match=r"line 11, column 'b': the value is missing"):
        table_of(tmp_path, text)


def test_numbers_to_predict_must_be_numbers(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"line 3, column 'price': expected a number, got 'dear'"):
        table_of(tmp_path, "a,price\n1,2.5\n2,dear\n", "price", classify=False)


def test_too_many_classes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_CLASSES", 5)
    with pytest.raises(FileFormatError, match=r"more than 5 different values, too many for classes"):
        table_of(tmp_path, "a,id\n" + "".join(f"1,n{i}\n" for i in range(6)), "id")


def test_a_delimiter_is_one_character(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="delimiter: expected one character"):
        table_of(tmp_path, HEAD, delimiter="::")
