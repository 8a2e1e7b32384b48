"""``gradkit train``, ``predict``, ``evaluate`` and ``draw`` on each kind of data; runs that go on; what is noted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_tables import SHORT, flowers, prices

import gradkit
from gradkit import cli
from gradkit.backend import Backend, switch
from gradkit.train.history import History

Captured = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("nothing_chosen", "curves")

WRITTEN = {"best.safetensors", "checkpoint.safetensors", "curves.png", "log.jsonl", "model.safetensors"}


def test_share(printed: str) -> float:
    """Return the accuracy that a command printed."""
    (percent,) = re.findall(r"accuracy ([\d.]+)% \(", printed)
    return float(percent)


test_share.__test__ = False  # type: ignore[attr-defined]


# Training, predicting, evaluating and drawing


def test_a_table_of_classes_is_learned_predicted_evaluated_and_drawn(
    command: Any, curves: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    monkeypatch.setattr(History, "plot", curves)
    data, out = flowers(tmp_path / "flowers.csv"), tmp_path / "run"
    options = ("--target", "kind", "--hidden", "8", "--epochs", "15", "--out", out, "--backend", backend.name)
    printed = command("train", data, *options)
    assert f" by {backend.name}; model in {out / 'model.safetensors'}, curves in {out / 'curves.png'}" in printed
    assert test_share(printed) == 100
    assert {path.name for path in out.iterdir()} == WRITTEN
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if "epoch" in row] == [*range(1, 16)]

    evaluated = command("evaluate", out, flowers(tmp_path / "new.csv", 60, seed=5), "--backend", backend.name)
    assert re.fullmatch(r"accuracy 100\.00% \(60 of 60\), cross-entropy [\d.e-]+\n", evaluated)
    # Other columns, another order, and no target.
    new = tmp_path / "few.csv"
    new.write_text("note,width,length,always\nx,0.01,1010,7\ny,0,1000,7\nz,0,1020,7\n")
    assert command("predict", out, new, "--backend", backend.name) == "kind\nlily\nrose\niris\n"
    to_file = tmp_path / "predicted.csv"
    assert not command("predict", out, new, "--probabilities", "--out", to_file, "--backend", backend.name)
    head, *lines = to_file.read_text().splitlines()
    assert head == "kind,probability of iris,probability of lily,probability of rose"
    shares = np.asarray([line.split(",")[1:] for line in lines], float)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert shares.argmax(axis=1).tolist() == [1, 2, 0]

    assert "graph.svg" in command("draw", out)
    assert "<svg" in (out / "graph.svg").read_text()
    assert "plan.svg" in command("draw", out, "--plan")
    assert "loops" in (out / "plan.svg").read_text()


def test_fields_may_have_tabs_between_them(command: Any, tmp_path: Path) -> None:
    data = flowers(tmp_path / "flowers.tsv")
    data.write_text(data.read_text().replace(",", "\t"))
    for delimiter in ("\t", r"\t"):
        words = ("train", data, "--target", "kind", "--delimiter", delimiter, "--out", tmp_path / "run", *SHORT)
        assert " of 18)" in command(*words, "--overwrite")


def test_numbers_are_learned_in_their_own_units(command: Any, tmp_path: Path) -> None:
    data, out = prices(tmp_path / "prices.csv"), tmp_path / "run"
    printed = command("train", data, "--target", "price", "--out", out, "--epochs", 100, "--backend", "numpy")
    (r2,) = re.findall(r"^test R2 ([\d.]+), root mean squared error", printed, re.MULTILINE)
    assert float(r2) > 0.99
    evaluated = command("evaluate", out, data, "--backend", "numpy")
    found = re.fullmatch(
        r"R2 ([\d.]+), root mean squared error ([\d.]+), mean absolute error ([\d.]+) \(200 rows\)\n", evaluated
    )
    assert found
    predicted = np.asarray(command("predict", out, data, "--backend", "numpy").split()[1:], float)
    x = np.loadtxt(data, delimiter=",", skiprows=1)
    wanted = x[:, 2]
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    expected = [
        r2_score(wanted, predicted),
        mean_squared_error(wanted, predicted) ** 0.5,
        mean_absolute_error(wanted, predicted),
    ]
    np.testing.assert_allclose([float(number) for number in found.groups()], expected, rtol=1e-3)


def test_what_is_standardized_is_standardized_by_the_training_part(command: Any, tmp_path: Path) -> None:
    data, out = flowers(tmp_path / "flowers.csv"), tmp_path / "run"
    command("train", data, "--target", "kind", "--out", out, "--test-share", 0.5, *SHORT)
    stored = gradkit.load(out / "model.safetensors")
    x = np.loadtxt(data, delimiter=",", skiprows=1, usecols=(0, 1, 2))
    order = np.asarray(gradkit.random.permutation(gradkit.random.split(gradkit.random.key(0), 3)[1], 90))
    train = x[order[:45]]  # less an origin they are rounded to float32: by 6e-8 of how they vary
    np.testing.assert_allclose(stored["inputs['mean']"].tolist(), train.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(stored["inputs['scale']"].tolist(), [*train.std(axis=0)[:2], 1.0], rtol=1e-7)


@pytest.mark.parametrize("data", ["digits", "moons"])
def test_data_that_come_with_gradkit_are_learned(data: str, command: Any, tmp_path: Path) -> None:
    printed = command("train", data, "--out", tmp_path, "--epochs", 10, "--backend", "numpy")
    assert test_share(printed) > 90
    assert test_share(command("evaluate", tmp_path, data, "--backend", "numpy")) > 90
    assert len(command("predict", tmp_path, data, "--backend", "numpy").splitlines()) == (
        1798 if data == "digits" else 1001
    )


def idx_folder(folder: Path) -> Path:
    """Write images of 2 x 2 pixels, of which one is bright: its place is the label."""
    folder.mkdir()
    for part, n in (("train", 80), ("t10k", 40)):
        labels = np.arange(n, dtype=np.uint8) % 4
        images = np.where(np.arange(4) == labels[:, None], 200, 10).astype(np.uint8)
        head = bytes([0, 0, 8, 3]) + np.asarray([n, 2, 2], ">u4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = bytes([0, 0, 8, 1]) + np.asarray([n], ">u4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return folder


def test_a_folder_of_idx_files_is_learned_and_tested_on_its_own_test_part(command: Any, tmp_path: Path) -> None:
    data, out = idx_folder(tmp_path / "images"), tmp_path / "run"
    printed = command("train", data, "--out", out, "--epochs", 40, "--hidden", "", "--backend", "numpy")
    assert "test accuracy 100.00% (40 of 40)" in printed
    assert "(40 of 40)" in command("evaluate", out, data, "--backend", "numpy")
    assert command("predict", out, data, "--backend", "numpy").splitlines()[1:6] == ["0", "1", "2", "3", "0"]


def test_data_are_called_by_the_name_of_their_folder(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(idx_folder(tmp_path / "images"))
    command("train", ".", "--out", tmp_path / "run", *SHORT)
    assert command("draw", tmp_path / "run").startswith("images: ")


def test_npz_files_are_learned(command: Any, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 2, 2))
    labels = np.where(x[:, 0, 0] > 0, 5, -3)
    np.savez(tmp_path / "classes.npz", x=x, y=labels, x_test=x[:20], y_test=labels[:20])
    printed = command("train", tmp_path / "classes.npz", "--out", tmp_path / "a", "--epochs", 20, "--backend", "numpy")
    assert "(20 of 20)" in printed
    assert set(command("predict", tmp_path / "a", tmp_path / "classes.npz", "--backend", "numpy").split()[1:]) == {
        "-3",
        "5",
    }
    np.savez(tmp_path / "numbers.npz", x=x, y=x[:, 0] * 3 + 1)
    printed = command("train", tmp_path / "numbers.npz", "--out", tmp_path / "b", "--epochs", 40, "--backend", "numpy")
    assert float(re.findall(r"^test R2 ([\d.]+)", printed, re.M)[0]) > 0.95
    assert command("predict", tmp_path / "b", tmp_path / "numbers.npz", "--backend", "numpy").startswith("y[0],y[1]\n")


def test_a_graph_is_drawn_in_the_format_of_the_suffix(command: Any, tmp_path: Path) -> None:
    command("train", "moons", "--out", tmp_path, *SHORT)
    command("draw", tmp_path, "--out", tmp_path / "graph.png")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


# Resuming


def test_a_run_is_resumed_and_a_finished_one_stays_as_it_is(command: Any, refusal: Any, tmp_path: Path) -> None:
    words = ("train", "moons", "--out", tmp_path, *SHORT)
    first = command(*words)
    contents = {name: (tmp_path / name).read_bytes() for name in WRITTEN - {"curves.png"}}
    again = command(*words, "--resume")
    assert again.splitlines()[-1] == first.splitlines()[-1]
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
    line = refusal(*words, "--resume", "--learning-rate", 0.5)
    assert (
        "checkpoint.safetensors is of a run with --learning-rate 0.05, this one has --learning-rate 0.5. Give" in line
    )
    line = refusal("train", "digits", "--out", tmp_path, *SHORT, "--resume")
    assert "is of a run with another data (float32[800, 2] and int32[800], " in line
    assert "; this one has float32[1438, 64] and int32[1438], " in line


def test_a_run_is_not_resumed_on_a_table_that_has_changed(command: Any, refusal: Any, tmp_path: Path) -> None:
    words = ("train", flowers(tmp_path / "flowers.csv"), "--target", "kind", "--out", tmp_path / "run", *SHORT)
    command(*words)
    flowers(tmp_path / "flowers.csv", seed=9)
    assert "is of a run with another data (float32[72, 3] and int32[72], " in refusal(*words, "--resume")


def started(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gradkit", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_with_130_and_the_run_goes_on_from_there(tmp_path: Path, command: Any, refusal: Any) -> None:
    data = flowers(tmp_path / "flowers.csv", 600)
    words = ("train", data, "--target", "kind", "--epochs", 400, "--batch-size", 4, "--backend", "numpy")
    out = tmp_path / "run"
    with started(*words, "--out", out) as process:
        while process.poll() is None and not (out / "log.jsonl").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert errors == f"gradkit train: interrupted; --resume goes on from {out}\n"
    assert "is incomplete: it has checkpoint.safetensors and no model.safetensors" in refusal("predict", out, data)
    epoch = json.loads(gradkit.load(out / "checkpoint.safetensors")["run"])["epoch"]
    assert epoch < 400


# As processes


SEVERAL = """
import json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv = ["gradkit", *words]
    try:
        runpy.run_module("gradkit", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("status", end.code)
"""


def test_each_command_runs_as_a_process_and_helps(tmp_path: Path) -> None:
    with started("train", "moons", "--out", tmp_path / "run", *SHORT) as process:
        out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "test accuracy" in out
    assert not errors
    # The others one after another, as `python -m gradkit` runs them: most of a process is its imports.
    words = [["predict", str(tmp_path / "run"), "moons"], ["evaluate", str(tmp_path / "run"), "moons"]]
    words.append(["draw", str(tmp_path / "run")])
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps(words)], capture_output=True, text=True, check=False
    )
    assert not done.stderr
    predicted, evaluated, drawn, rest = done.stdout.split("status 0\n")
    assert "class\n" in predicted
    assert "accuracy" in evaluated
    assert "graph in" in drawn
    assert not rest
    with started("evaluate", tmp_path / "run", "digits") as process:
        out, errors = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert errors.startswith("gradkit evaluate: error: ")
    assert errors.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")
def test_a_reader_that_goes_away_is_no_error(command: Any, tmp_path: Path) -> None:
    command("train", "moons", "--out", tmp_path, *SHORT)
    with started("predict", tmp_path, "moons") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("name", ["info", "train", "predict", "evaluate", "draw"])
def test_help_says_how_to_use_a_command(name: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: gradkit {name} ")
    assert "Exit status: 0 when done, 2 where" in text
    if name != "info":
        assert re.search(rf"examples?:\n  gradkit {name} ", text)
    assert "==SUPPRESS==" not in text


MEASURED = """
import resource, sys
import gradkit.train, gradkit.data.tables, matplotlib.figure
from gradkit.cli import main
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
status = main(sys.argv[1:])
print(peak() - before)
sys.exit(status)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is counted in other units elsewhere")
def test_a_large_table_is_learned_with_little_more_memory_than_its_numbers_take(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(5000, 19))
    block = "".join(",".join(f"{value:.5f}" for value in row) + f",{'no yes'.split()[int(row[0] > 0)]}\n" for row in x)
    with (tmp_path / "large.csv").open("w") as file:
        file.write(",".join(f"x{i}" for i in range(19)) + ",answer\n")
        for _ in range(60):
            file.write(block)
    words = ["train", str(tmp_path / "large.csv"), "--target", "answer", "--out", str(tmp_path / "run")]
    options = ["--epochs", "1", "--batch-size", "1000", "--hidden", "8", "--backend", "numpy"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    numbers = 300_000 * 20 * 4
    # While the rows are put in their order there are two copies; then there are blocks, keys and the program's own.
    assert int(done.stdout.splitlines()[-1]) < 2 * numbers + 40e6
    assert test_share(done.stdout) > 95


def test_many_whole_numbers_are_learned_as_classes_with_a_hint(capsys: Captured, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    age = draw.integers(0, 105, 2000)
    (tmp_path / "ages.csv").write_text("a,age\n" + "".join(f"{a + draw.normal():.3f},{a}\n" for a in age))
    np.savez(tmp_path / "ages.npz", x=age[:, None] + draw.normal(size=(2000, 1)), y=age)
    for words in (("ages.csv", "--target", "age"), ("ages.npz",)):
        out = tmp_path / words[0][-3:]
        argv = ["train", str(tmp_path / words[0]), *words[1:], "--out", str(out), *SHORT]
        assert cli.main(argv) == 0
        name = words[-1] if len(words) > 1 else "y"
        assert f"note: the target '{name}' of {words[0]} has 105 different whole numbers" in capsys.readouterr().err
        for task in ("classification", "regression"):
            assert cli.main([*argv, "--task", task, "--overwrite"]) == 0
            assert not capsys.readouterr().err


FEW = {
    # Few different numbers, and whether they look like classes.
    "0.0 and 1.0": ([0.0, 1.0], True),
    "-1.0 and 1.0": ([-1.0, 1.0], True),
    "1.0 to 4.0": ([1.0, 2.0, 3.0, 4.0], True),
    "two with a fraction": ([0.5, 1.5], True),
    "three with a fraction": ([0.5, 1.5, 2.0], False),
    "eleven": ([float(n) for n in range(11)], False),
    "a number for each row": (None, False),
}


@pytest.mark.parametrize("kind", ["csv", "npz"])
@pytest.mark.parametrize("values, like_classes", FEW.values(), ids=FEW)
def test_few_different_numbers_are_learned_as_numbers_with_a_hint(
    values: list[float] | None,
    like_classes: bool,
    kind: str,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gradkit.cli.train._draw", lambda *_: "")
    draw = np.random.default_rng(0)
    y = draw.normal(size=400) if values is None else draw.choice(values, 400)
    x = y[:, None] + draw.normal(size=(400, 1))
    path = tmp_path / f"data.{kind}"
    if kind == "csv":
        path.write_text("a,y\n" + "".join(f"{a},{b}\n" for a, b in zip(x[:, 0].tolist(), y.tolist(), strict=True)))
    else:
        np.savez(path, x=x, y=y)
    argv = ["train", str(path), "--out", str(tmp_path / "run"), *(("--target", "y") if kind == "csv" else ()), *SHORT]
    assert cli.main(argv) == 0
    told = capsys.readouterr().err
    assert (f"target 'y' of data.{kind} has only" in told and "learned as numbers. If they are" in told) == like_classes
    assert cli.main([*argv, "--task", "regression", "--overwrite"]) == 0
    assert not capsys.readouterr().err
    if like_classes and not np.mod(values, 1).any():
        assert "--task classification" in told
        assert cli.main([*argv, "--task", "classification", "--overwrite"]) == 0
        printed = capsys.readouterr()
        assert "accuracy" in printed.out
        assert not printed.err


def test_truth_values_are_two_classes(capsys: Captured, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 1))
    np.savez(tmp_path / "a.npz", x=x, y=x[:, 0] > 0)
    (tmp_path / "b.csv").write_text("x,y\n" + "".join(f"{a},{a > 0}\n" for a in x[:, 0].tolist()))
    for words in (("a.npz",), ("b.csv", "--target", "y")):
        argv = ["train", str(tmp_path / words[0]), *words[1:], "--out", str(tmp_path / words[0][:1]), *SHORT]
        assert cli.main(argv) == 0
        assert "test accuracy" in capsys.readouterr().out


def test_an_npy_file_is_predicted_from_and_not_trained_on(capsys: Captured, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 2))
    np.savez(tmp_path / "a.npz", x=x, y=x[:, 0] > 0)
    np.save(tmp_path / "x.npy", x)
    run = str(tmp_path / "run")
    assert cli.main(["train", str(tmp_path / "a.npz"), "--out", run, *SHORT]) == 0
    capsys.readouterr()
    assert cli.main(["predict", run, str(tmp_path / "a.npz")]) == 0
    expected = capsys.readouterr().out
    assert cli.main(["predict", run, str(tmp_path / "x.npy")]) == 0
    assert capsys.readouterr().out == expected
    for argv in (
        ["train", str(tmp_path / "x.npy"), "--out", run, "--overwrite"],
        ["evaluate", run, str(tmp_path / "x.npy")],
    ):
        assert cli.main(argv) == 2
        assert "x.npy holds one array, and there must be two" in capsys.readouterr().err


def test_a_graph_is_drawn_whatever_backend_the_environment_asks_for(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("train", "moons", "--out", tmp_path, *SHORT)
    for name in ("python", "cupy", "no such backend"):
        monkeypatch.setenv(switch.ENVIRONMENT_VARIABLE, name)
        monkeypatch.setattr(switch, "_process_default", None)
        assert "graph in" in command("draw", tmp_path)


def test_a_plan_can_be_drawn_where_there_is_one_alone(
    command: Any, refusal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("train", prices(tmp_path / "prices.csv"), "--target", "price", "--out", tmp_path / "run", *SHORT)
    monkeypatch.setenv("GRADKIT_COMPILER", "interpreter")
    assert "argument --plan: draw_plan: the function is interpreted" in refusal("draw", tmp_path / "run", "--plan")
