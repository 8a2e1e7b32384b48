"""The command line on tables whose numbers are far from 0: float32 would not hold how their rows differ."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit import cli
from gradkit.backend import Backend
from gradkit.cli import train
from gradkit.data.origins import difference, origin_of
from gradkit.data.tables import read_table

ROWS = 240

SHIFTS = {
    # Where numbers lie, and how wide a range of them. Half of the range tells the classes apart.
    "milliseconds since 1970, within a minute": (1_700_000_000_000, 60_000),
    "seconds since 1970, within a minute": (1_700_000_000, 60),
    "microseconds since 1970, within a second": (1_700_000_000_000_000, 1_000_000),
    "nanoseconds since 1970, within a minute": (1_700_000_000_000_000_000, 60_000_000_000),
    "Julian days, within an hour": (2_460_000, 0.04),
    "numbers of accounts": (-40_000_000_000, 1000),
    "kelvins, within a millikelvin": (300, 0.001),
    "small": (0, 1e-20),
    "large": (0, 1e30),
}


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the picture out, which takes longer than all else."""
    monkeypatch.setattr(train, "_draw", lambda *_: "")


def command(*words: object) -> str:
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        status = cli.main([str(word) for word in words])
    assert status == 0, errors.getvalue()
    return printed.getvalue()


def failure(*words: object) -> str:
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        assert cli.main([str(word) for word in words]) == 2
    return errors.getvalue()


def written(path: Path, x: Any, y: Any, kind: str, target: str) -> tuple[Any, ...]:
    """Write a table, and return the words that name it."""
    if kind == "npz":
        np.savez(path.with_suffix(".npz"), x=x, y=y)
        return (path.with_suffix(".npz"),)
    names = [*(f"x{i}" for i in range(x.shape[1])), target]
    rows = [[repr(value) for value in (*row, t)] for row, t in zip(x.tolist(), y.tolist(), strict=True)]
    path.with_suffix(".csv").write_text("\n".join(map(",".join, [names, *rows])) + "\n")
    return (path.with_suffix(".csv"), "--target", target)


def accuracy(printed: str) -> float:
    return float(re.findall(r"accuracy ([\d.]+)%", printed)[-1])


@pytest.mark.parametrize("kind", ["csv", "npz"])
@pytest.mark.parametrize("shift, width", SHIFTS.values(), ids=SHIFTS)
def test_classes_are_told_apart_wherever_the_numbers_lie(shift: Any, width: Any, kind: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    inside = draw.uniform(0, width, size=(ROWS, 2))
    x = shift + (inside.round().astype(np.int64) if isinstance(width, int) else inside)
    y = (inside[:, 0] > width / 2).astype(int)
    new = written(tmp_path / "new", x, y, kind, "y")[:1]  # the target is among the columns, and is not looked at
    out = tmp_path / "run"
    options = ("--hidden", "16", "--epochs", "30", "--batch-size", "64", "--learning-rate", "0.5", "--backend", "numpy")
    printed = command("train", *written(tmp_path / "data", x, y, kind, "y"), "--out", out, *options)
    assert accuracy(printed) > 93
    assert accuracy(command("evaluate", out, *new, "--backend", "numpy")) > 95
    predicted = np.asarray(command("predict", out, *new, "--backend", "numpy").split()[1:], int)
    assert (predicted == y).mean() > 0.95


@pytest.mark.dealt("shift", "kind")
@pytest.mark.parametrize("kind", ["csv", "npz"])
@pytest.mark.parametrize("shift, width", SHIFTS.values(), ids=SHIFTS)
def test_numbers_are_predicted_wherever_they_lie(
    shift: Any, width: Any, kind: str, tmp_path: Path, backend: Backend
) -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(ROWS, 2))
    y = shift + width * (0.5 + 0.1 * x @ [1.0, -0.5])
    new = written(tmp_path / "new", x, y, kind, "y")[:1]
    out = tmp_path / "run"
    options = (
        "--hidden",
        "8",
        "--epochs",
        "20",
        "--batch-size",
        "64",
        "--learning-rate",
        "0.2",
        "--task",
        "regression",
    )
    options += ("--backend", backend.name)
    printed = command("train", *written(tmp_path / "data", x, y, kind, "y"), "--out", out, *options)
    (r2,) = re.findall(r"test R2 (\S+),", printed)
    assert float(r2) > 0.97
    found = re.findall(r"R2 (\S+), root mean squared error (\S+), mean", command("evaluate", out, *new))
    r2, root = map(float, found[0])
    assert r2 > 0.97
    assert 0 < root < 0.05 * width
    predicted = np.asarray(command("predict", out, *new).split()[1:], float)
    np.testing.assert_allclose(predicted, y, atol=0.2 * width, rtol=0)
    np.testing.assert_allclose(np.sqrt(np.mean((predicted - y) ** 2)), root, rtol=1e-3)


FAR = {
    # Whole numbers that float64 rounds, and within how many of them the table lies.
    "nanoseconds since 1970, within a microsecond": (1_700_000_000_000_000_001, 1000),
    "nanoseconds since 1970, within ten": (1_700_000_000_000_000_000, 12_000),
    "just beyond 2**53": (2**53 + 1, 8),
    "around 2**53": (2**53 - 10, 20),
    "negative": (-(2**62) - 3, 900),
    "around 2**62": (2**62 - 500, 1000),
    "the largest of 64 bits": (2**63 - 3000, 2999),
    "unsigned": (2**64 - 9001, 9000),
    "numbers of accounts": (98_765_432_109_876_543, 100),
}
OPTIONS = ("--hidden", "16", "--epochs", "40", "--batch-size", "32", "--learning-rate", "0.3", "--backend", "numpy")


@pytest.mark.parametrize("kind", ["csv", "npz"])
@pytest.mark.parametrize("shift, width", FAR.values(), ids=FAR)
def test_whole_numbers_that_float64_rounds_are_told_apart(shift: int, width: int, kind: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    inside = draw.integers(0, width + 1, size=(ROWS, 2))
    x = np.asarray((shift + inside.astype(object)).tolist(), np.uint64 if shift >= 2**63 else np.int64)
    y = (inside[:, 0] > width / 2).astype(int)
    new, out = written(tmp_path / "new", x, y, kind, "y")[:1], tmp_path / "run"
    printed = command("train", *written(tmp_path / "data", x, y, kind, "y"), "--out", out, *OPTIONS)
    assert accuracy(printed) > 90
    assert accuracy(command("evaluate", out, *new, "--backend", "numpy")) > 93
    predicted = np.asarray(command("predict", out, *new, "--backend", "numpy").split()[1:], int)
    assert (predicted == y).mean() > 0.93
    # As numbers to predict they must fit float64, or be refused.
    words = written(tmp_path / "target", inside / width, x[:, 0], kind, "y")
    told = failure("train", *words, "--out", tmp_path / "other", *OPTIONS, "--task", "regression")
    assert "float64, in which it is learned, does not hold how these numbers differ. Subtract" in told
    assert f"from {min(x[:, 0].tolist())} to {max(x[:, 0].tolist())}" in told
    assert not (tmp_path / "other").exists()


def test_where_no_mean_of_float64_is_near_a_column_that_is_an_error(tmp_path: Path) -> None:
    x = 2**62 + np.random.default_rng(0).integers(100, 104, size=(ROWS, 1))
    words = written(tmp_path / "data", x, x[:, 0] % 2, "npz", "y")
    assert "column 1 of what is learned from lies at 4.61168601842738" in failure(
        "train", *words, "--out", tmp_path / "run"
    )


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_differences_of_whole_numbers_are_exact(kind: str, tmp_path: Path) -> None:
    ends = [(-(2**63), -(2**63) + 50), (2**63 - 50, 2**63), (2**63 - 20, 2**63 + 20), (2**64 - 70, 2**64)]
    ends += [(2**e - 9, 2**e + 9) for e in range(50, 63)] + [(-(2**e) - 9, 9 - 2**e) for e in range(50, 63)]
    for low, high in ends:
        whole = range(low, high)
        if kind == "csv":
            path = tmp_path / "data.csv"
            path.write_text("a,b\n" + "".join(f"{n},{-n}\n" for n in whole))
            table = read_table(path, origin=None)
            x, origin, signs = table.x, table.origin, (1, -1)
        else:
            column = np.asarray([*whole], np.uint64 if high > 2**63 else np.int64)[:, None]
            origin, signs = origin_of(column), (1,)
            x = difference(column, origin)
        for i, sign in enumerate(signs):
            assert x[:, i].tolist() == [sign * n - int(origin[i]) for n in whole]


def test_numbers_are_not_rounded_before_they_are_subtracted_however_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(
        'a\n1700000000000000001\n"1.700000000000000002e18"\n 1700000000000000003.25\n+1700000000000000004\n'
    )
    table = read_table(path, origin=np.asarray([1.7e18]))
    assert table.x[:, 0].tolist() == [1, 2, 3.25, 4]


def test_whole_numbers_of_two_kinds_of_targets_stay_whole(tmp_path: Path) -> None:
    """int64 beside uint64 is float64 in NumPy, where two classes would be one."""
    x = np.random.default_rng(0).normal(size=(ROWS, 1))
    base = 2**53
    y = base + (x[:, 0] > 0)
    path = tmp_path / "data.npz"
    np.savez(path, x=x, y=y, x_test=x, y_test=y.astype(np.uint64))
    assert accuracy(command("train", path, "--out", tmp_path / "run", *OPTIONS)) > 95
    assert {*command("predict", tmp_path / "run", path).split()[1:]} == {str(base), str(base + 1)}


def test_classes_that_are_large_numbers_are_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "".join(f"{n % 7},{2**53 + n % 3}\n" for n in range(20, -1, -1)))
    assert read_table(path, "y").classes == tuple(str(2**53 + n) for n in range(3))


@pytest.mark.parametrize(
    "one, other", [("1", "+1"), ("1", "01"), ("1", "1.0"), ("-0", "0"), ("1e3", "1000"), ("7", "7.")]
)
def test_two_ways_to_write_a_number_are_not_two_classes(one: str, other: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + f"1,{one}\n2,{other}\n3,5\n" * 5)
    with pytest.raises(
        gradkit.errors.FileFormatError, match=r"has the classes '.*' and '.*', which are one number, .*"
    ):
        read_table(path, "y", classify=True)
    path.write_text("x,y\n" + f"1,a{one}\n2,a{other}\n3,5\n" * 5)
    assert len(read_table(path, "y").classes or ()) == 3


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_load_csv_reads_integers_to_their_last_digit(dtype: str, tmp_path: Path, xp: Any) -> None:
    path = tmp_path / "data.csv"
    numbers = [2**53 + 1, 2**63 - 1, 1, *([2**64 - 1] if dtype == "uint64" else [-(2**63)])]
    path.write_text("a,b\n" + "".join(f"{n},1\n" for n in numbers))
    assert gradkit.data.load_csv(path, dtype=dtype)[:, 0].tolist() == numbers
    for wrong in (str(2**64), "9007199254740993.5"):
        path.write_text(f"a,b\n{wrong},1\n")
        with pytest.raises(gradkit.errors.FileFormatError, match=rf"line 2, column 1 \('a'\): {dtype} cannot hold"):
            gradkit.data.load_csv(path, dtype=dtype)


def test_a_time_that_is_not_known_does_not_hide_how_the_others_differ(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = 1.7e12 + draw.uniform(0, 60_000, size=(20_000, 1)).round()
    x[::5000] = 0
    path = written(tmp_path / "data", x, x[:, 0] > 0, "csv", "known")[0]
    table = read_table(path, classify=False, names=["x0"], origin=None)
    found = table.x.astype(np.float64) + table.origin
    np.testing.assert_allclose(found[x > 0], x[x > 0], atol=0.01, rtol=0)


def test_the_origin_is_a_value_of_the_column_and_differences_are_rounded_last() -> None:
    rows = np.asarray([[2**60 + 512, -1], [2**60 + 256, 3], [0, 2]], np.int64)
    origin = origin_of(rows)
    assert origin.tolist() == [2**60 + 256, 2]
    found = difference(rows, origin)
    assert found.dtype == np.float32
    assert found[:2].tolist() == [[256, -3], [0, 1]]


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_measures_are_finite_where_squares_are_not(scale: float, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 1))
    plain, scaled = [
        command("train", *written(tmp_path / name, x, y, "npz", "y"), "--out", tmp_path / f"run {name}")
        for name, y in (("a", x[:, 0]), ("b", x[:, 0] * scale))
    ]
    expected, found = [
        [float(number) for number in re.findall(r"(?:R2|error) ([-\d.e+naif]+)", printed)[-3:]]
        for printed in (plain, scaled)
    ]
    np.testing.assert_allclose(found, np.asarray(expected) * [1, scale, scale], rtol=2e-3)


def test_a_target_that_is_the_same_everywhere_is_measured_as_by_scikit_learn(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 1))
    command("train", *written(tmp_path / "a", x, 2 * x[:, 0] + 0.5, "csv", "y"), "--out", tmp_path / "run")
    constant = written(tmp_path / "b", x, np.full(ROWS, 0.1), "csv", "y")[0]
    assert command("evaluate", tmp_path / "run", constant).startswith("R2 0.0000, ")


@pytest.mark.parametrize("kind", ["csv", "npz"])
@pytest.mark.parametrize("scale", [1e-310, 1e-60, 1e-40])
def test_a_column_of_which_float32_holds_nothing_is_an_error(scale: float, kind: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 3)) * [1.0, scale, 0.0]
    words = written(tmp_path / "data", x, np.where(x[:, 1] > 0, "yes", "no") if kind == "csv" else x[:, 0], kind, "y")
    error = failure("train", *words, "--out", tmp_path / "run")
    assert ("'x1'" if kind == "csv" else "x[:, 1]") in error
    assert "Multiply the column by a power of ten" in error
    assert not (tmp_path / "run").exists()


def test_a_row_next_to_the_origin_is_predicted_whatever_is_left_of_it(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(ROWS, 1))
    words = written(tmp_path / "data", x, 2 * x[:, 0], "csv", "y")
    command("train", *words, "--out", tmp_path / "run", "--epochs", 2)
    origin = sorted(x[:, 0].tolist())[len(x) // 2]
    (tmp_path / "next.csv").write_text(f"x0\n{origin!r}\n{np.nextafter(origin, 9).item()!r}\n")
    assert len(command("predict", tmp_path / "run", tmp_path / "next.csv").split()) >= 2
