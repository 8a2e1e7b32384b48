"""``gradkit train``, ``predict``, ``evaluate`` and ``draw`` on each kind of bad data, options and folders."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_tables import SHORT, flowers, prices

import gradkit
from gradkit import cli

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("nothing_chosen", "curves")

TABLE = "a,b,kind\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n9,1,x\n"


@pytest.mark.parametrize(
    "text, options, message",
    [
        (TABLE, (), "argument --target: say which column of"),
        (TABLE, ("--target", "knid"), "there is no target 'knid'. Its columns: 'a', 'b', 'kind'. Did you mean 'kind'?"),
        (TABLE + "1,2\n", ("--target", "kind"), "line 7 has 2 fields, but the header names 3 columns"),
        (TABLE + "1,no,x\n", ("--target", "kind"), "line 7, column 'b': expected a number, got 'no'"),
        (TABLE + "1,,x\n", ("--target", "kind"), "line 7, column 'b': the value is missing"),
        (TABLE + "1,2,\n", ("--target", "kind"), "line 7, column 'kind': the value is missing"),
        (
            "a,kind\n1,x\n2,x\n3,x\n",
            ("--target", "kind"),
            "the target 'kind' of data.csv is 'x' in every row: there is one class",
        ),
        ("a,kind\n1,x\n2,y\n3,z\n", ("--target", "kind"), "has 3 classes in 3 rows"),
        (TABLE, ("--target", "kind", "--task", "regression"), "line 2, column 'kind': expected a number, got 'x'"),
        ("a,kind\n", ("--target", "kind"), "there are no rows in it"),
        ("a,n\n1,2.5\n", ("--target", "n"), "data.csv has 1 row; to train and to test there must be two at least"),
        (TABLE, ("--target", "kind", "--test-share", "0.01"), "argument --test-share: 0.01 of 5 rows is 0"),
        (TABLE, ("--target", "kind", "--delimiter", ""), "argument --delimiter: expected one character"),
        (TABLE, ("--target", "kind", "--activation", "rleu"), "argument --activation: Unknown activation 'rleu'."),
        (TABLE, ("--target", "kind", "--backend", "nunpy"), "Did you mean 'numpy'?"),
        (TABLE, ("--target", "kind", "--backend", "python"), "'python' holds single numbers, and tables need arrays"),
    ],
)
def test_train_refuses_a_bad_table_or_option(
    text: str, options: tuple[str, ...], message: str, refusal: Any, tmp_path: Path
) -> None:
    (tmp_path / "data.csv").write_text(text)
    line = refusal("train", tmp_path / "data.csv", "--out", tmp_path / "run", *options)
    assert line.startswith("gradkit train: error: ")
    assert message in line


@pytest.mark.parametrize(
    "option, value, expected",
    [
        ("--batch-size", "0", "expected an integer of at least 1, got '0'"),
        ("--epochs", "0", "expected an integer of at least 1, got '0'"),
        ("--hidden", "64,x", "expected an integer of at least 1, got 'x'"),
        ("--learning-rate", "nan", "expected a number of at least 0, got 'nan'"),
        ("--momentum", "1", "expected a number of at least 0 and at most 0.999999, got '1'"),
        ("--seed", f"{2**64}", f"expected an integer of at least {-(2**63)} and at most {2**64 - 1}, got"),
        ("--decay", "cosin", "invalid choice: 'cosin'"),
        ("--task", "clustering", "invalid choice: 'clustering'"),
    ],
)
def test_train_refuses_a_wrong_option(option: str, value: str, expected: str, refusal: Any, tmp_path: Path) -> None:
    line = refusal("train", "moons", "--out", tmp_path / "run", option, value)
    assert line.startswith(f"gradkit train: error: argument {option}: {expected}")
    assert not list(tmp_path.iterdir())


def test_train_refuses_data_that_are_not_there(refusal: Any, tmp_path: Path) -> None:
    line = refusal("train", tmp_path / "no.csv", "--out", tmp_path / "run")
    assert "there is no " in line
    assert "DATA is 'digits', 'moons', a CSV file, an .npz file, or a folder of IDX files." in line
    assert "has no file train-images-idx3-ubyte" in refusal("train", tmp_path, "--out", tmp_path / "run")
    assert "leave the option out" in refusal("train", "moons", "--target", "kind", "--out", tmp_path / "run")
    assert "the targets of moons are classes" in refusal(
        "train", "moons", "--task", "regression", "--out", tmp_path / "run"
    )


@pytest.mark.parametrize(
    "arrays, options, message",
    [
        ({"x": np.ones((4, 2))}, (), "there is no array 'y'. Its arrays: 'x'."),
        ({"x": np.ones((4, 2)), "y": np.ones(3)}, (), "x has 4 rows and y 3"),
        ({"x": np.ones((0, 2)), "y": np.ones(0)}, (), "the array 'x' of shape (0, 2) has no rows"),
        ({"x": np.asarray([[1.0, np.nan], [1, 2]]), "y": np.arange(2)}, (), "x[0, 1] is nan"),
        (
            {"x": np.ones((4, 2)), "y": np.asarray([0.5, 1, 2, 3])},
            ("--task", "classification"),
            "y must be whole numbers",
        ),
        ({"x": np.ones((4, 2)), "y": np.zeros(4, int)}, (), "there is one class only"),
        ({"x": np.ones((4, 2)), "y": np.full(4, 0.5)}, (), "the target 'y' of data.npz is 0.5 in every row"),
        ({"x": np.ones((2, 2)), "y": np.asarray([0.5, np.inf])}, (), "y[1, 0] is inf"),
        ({"x": np.asarray([[0.0], [1e39]]), "y": np.arange(2)}, (), "finite in float32"),
        (
            {"x": np.ones((2, 2)), "y": np.asarray([0.5, 1]), "x_test": np.ones((1, 2)), "y_test": np.full(1, np.nan)},
            (),
            "y_test[0, 0] is nan",
        ),
        (
            {"x": np.ones((2, 2)), "y": np.arange(2), "x_test": np.full((1, 2), np.inf), "y_test": np.ones(1)},
            (),
            "x_test[0, 0] is inf",
        ),
        ({"x": np.ones((4, 2)), "y": np.arange(4)}, (), "has 4 classes in 4 rows"),
        ({"x": np.ones((4, 2), complex), "y": np.arange(4)}, (), "must be of real numbers, got complex128"),
        (
            {"x": np.ones((4, 2)), "y": np.ones(4), "x_test": np.ones((3, 1)), "y_test": np.ones(3)},
            (),
            "x has 2 columns and x_test 1",
        ),
        (
            {"x": np.ones((4, 2)), "y": np.ones((4, 2)), "x_test": np.ones((3, 2)), "y_test": np.ones(3)},
            (),
            "y has 2 columns and y_test 1",
        ),
    ],
)
def test_train_refuses_bad_arrays(
    arrays: dict[str, Any], options: tuple[str, ...], message: str, refusal: Any, tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    assert message in refusal("train", tmp_path / "data.npz", "--out", tmp_path / "run", *options)


def test_train_refuses_a_folder_that_cannot_be_made_or_written(
    refusal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    line = refusal("train", "moons", "--out", tmp_path / "file" / "run")
    assert f"argument --out: {tmp_path / 'file'} is no folder" in line
    monkeypatch.setattr(os, "access", lambda *_: False)  # what the system says to a user who may not
    assert f"argument --out: the folder {tmp_path} cannot be written" in refusal("train", "moons", "--out", tmp_path)


def test_train_ends_with_2_where_the_loss_is_no_number(refusal: Any, tmp_path: Path) -> None:
    line = refusal("train", "digits", "--out", tmp_path, "--learning-rate", 1e6, *SHORT)
    told = r"the loss is (nan|inf) at step \d+\. Begin anew \(--overwrite\) with a smaller --learning-rate than 1e6\."
    assert re.fullmatch(told, line.split("error: ")[-1].replace("1000000.0", "1e6"))


def test_a_run_that_is_begun_anew_leaves_no_model_of_the_one_before(command: Any, refusal: Any, tmp_path: Path) -> None:
    command("train", "digits", "--out", tmp_path, *SHORT)
    refusal("train", "digits", "--out", tmp_path, "--learning-rate", 1e6, "--overwrite", *SHORT)
    assert not {"model.safetensors", "curves.png"} & {each.name for each in tmp_path.iterdir()}
    assert "is incomplete: it has checkpoint.safetensors and no model.safetensors" in refusal("draw", tmp_path)


def test_a_run_is_replaced_only_where_it_is_asked_for(command: Any, refusal: Any, tmp_path: Path) -> None:
    words = ("train", "moons", "--out", tmp_path, *SHORT)
    first = command(*words)
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    line = refusal(*words, "--seed", 1)
    assert f"argument --out: {tmp_path} holds a finished run (model.safetensors). --resume goes on with it, " in line
    assert "--overwrite replaces it, or give another folder" in line
    assert "not allowed with argument --resume" in refusal(*words, "--resume", "--overwrite")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents
    other = command(*words, "--seed", 1, "--overwrite")
    assert other.splitlines()[-1] != first.splitlines()[-1]
    (tmp_path / "model.safetensors").unlink()  # as where it was stopped: hours of training may be in it
    assert "holds a run that was stopped (checkpoint.safetensors)" in refusal(*words)
    command(*words, "--seed", 1, "--resume")


@pytest.mark.parametrize(
    "data, words",
    [
        ("no.csv", ()),
        ("bad.csv", ("--target", "kind")),
        ("bad.csv", ("--target", "no such column")),
        ("good.csv", ()),
        ("good.csv", ("--target", "kind", "--test-share", "0")),
        ("good.csv", ("--target", "kind", "--task", "regression")),
        ("one.csv", ("--target", "kind")),
        ("x.npz", ()),
        ("digits", ("--task", "regression")),
        ("digits", ("--target", "digit")),
    ],
)
def test_a_run_that_fails_on_its_data_leaves_no_folder(
    data: str, words: tuple[str, ...], refusal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(TABLE)
    (tmp_path / "bad.csv").write_text(TABLE + "1,no,x\n")
    (tmp_path / "one.csv").write_text("a,kind\n1,x\n2,x\n")
    np.savez(tmp_path / "x.npz", x=np.ones((3, 2)))
    refusal("train", data, "--out", tmp_path / "new" / "run", *words, *SHORT)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name, shape", [("x", (300, 0)), ("x", (300, 2, 0)), ("y", (300, 0)), ("x", (0, 3)), ("x", ())]
)
def test_an_array_without_rows_or_columns_is_said_to_be_one(
    name: str, shape: tuple[int, ...], capsys: Captured, tmp_path: Path
) -> None:
    arrays = {"x": np.ones((300, 2)), "y": np.arange(300) % 2, name: np.zeros(shape)}
    np.savez(tmp_path / "a.npz", **arrays)
    assert cli.main(["train", str(tmp_path / "a.npz"), "--out", str(tmp_path / "run")]) == 2
    lack = "columns" if shape[:1] == (300,) else "rows"
    assert f"the array '{name}' of shape {shape} has no {lack}." in capsys.readouterr().err


def test_a_model_folder_that_is_none_or_incomplete_is_refused(command: Any, refusal: Any, tmp_path: Path) -> None:
    for name in ("predict", "evaluate"):
        assert f"there is no folder {tmp_path / 'no'}" in refusal(name, tmp_path / "no", "moons")
    assert "is incomplete: there is no model.safetensors in it" in refusal("draw", tmp_path)
    command("train", "moons", "--out", tmp_path, *SHORT)
    model = tmp_path / "model.safetensors"
    contents = model.read_bytes()
    model.write_bytes(contents[:-9])
    assert "model.safetensors: truncated at byte" in refusal("predict", tmp_path, "moons")
    model.write_bytes((tmp_path / "best.safetensors").read_bytes())
    assert "no model that 'gradkit train' wrote" in refusal("predict", tmp_path, "moons")


def test_a_model_of_a_newer_version_is_refused(command: Any, refusal: Any, tmp_path: Path) -> None:
    command("train", "moons", "--out", tmp_path, *SHORT)
    path = tmp_path / "model.safetensors"
    stored = gradkit.load(path)
    about = json.loads(stored["about"])
    gradkit.save(path, {"about": json.dumps({**about, "version": 2, "new": True})})
    assert "written by a newer gradkit (version 2 of a model, this one knows 1). Upgrade" in refusal("draw", tmp_path)


def test_data_that_do_not_fit_the_model_are_refused(command: Any, refusal: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command("train", flowers(tmp_path / "flowers.csv"), "--target", "kind", "--out", run, *SHORT)
    narrow = tmp_path / "narrow.csv"
    narrow.write_text("length,always\n1,2\n")
    assert "there is no column 'width'. Its columns: 'length', 'always'." in refusal("predict", run, narrow)
    assert "there is no target 'kind'" in refusal("evaluate", run, narrow)
    other = tmp_path / "other.csv"
    other.write_text("length,width,always,kind\n1,2,7,rose\n1,2,7,tulip\n")
    assert "has the class 'tulip', which the model has not seen. Its classes: iris, lily, rose." in refusal(
        "evaluate", run, other
    )
    assert "the data have 64 columns, but the model takes 3: it was trained on flowers.csv" in refusal(
        "predict", run, "digits"
    )
    x, run = np.arange(60.0).reshape(20, 3), tmp_path / "two"
    np.savez(tmp_path / "two.npz", x=x, y=x[:, :2])
    np.savez(tmp_path / "one.npz", x=x, y=x[:, :1])
    command("train", tmp_path / "two.npz", "--task", "regression", "--out", run, *SHORT)
    line = refusal("evaluate", run, tmp_path / "one.npz")
    assert "the target of one.npz has 1 columns, but the model predicts 2: it was trained on two.npz." in line
    assert "predicts numbers, not classes" in refusal_of_probabilities(command, refusal, tmp_path)
    assert "argument --out: " in refusal("draw", run, "--out", tmp_path / "graph.gif")


def refusal_of_probabilities(command: Any, refusal: Any, folder: Path) -> str:
    data = prices(folder / "prices.csv")
    command("train", data, "--target", "price", "--out", folder / "numbers", *SHORT)
    line: str = refusal("predict", folder / "numbers", data, "--probabilities")
    return line
