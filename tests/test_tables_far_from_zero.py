"""The command line on tables whose numbers are far from 0: float32 would not hold how their rows differ."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
        "40",
        "--batch-size",
        "64",
        "--learning-rate",
        "0.1",
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
