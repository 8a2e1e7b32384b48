"""Folders of runs: what is in them is checked before it is used, and one run at a time is in them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit import data, nn, optim, random
from gradkit.cli import main
from gradkit.errors import FileFormatError, FolderInUseError
from gradkit.train import Callback, EarlyStopping
from gradkit.train.locks import LOCK, locked

LAST, BEST, LOG, MODEL = "checkpoint.safetensors", "best.safetensors", "log.jsonl", "model.safetensors"


def fit(folder: Path, epochs: int = 3, **options: Any) -> Any:
    model = nn.MLP(2, [4, 2], key=random.key(1))
    x, y = data.moons(40, key=random.key(7))
    chosen = {"callbacks": [EarlyStopping(50)], "validation": 0.25, "key": random.key(2), **options}
    return gradkit.fit(
        model,
        (x, y),
        epochs=epochs,
        batch_size=10,
        optimizer=optim.SGD(0.1),
        progress=False,
        checkpoint=folder,
        **chosen,
    )


class StopAt(Callback):
    """Break a run off after so many epochs."""

    def epoch_end(self, training: Any) -> None:
        raise KeyboardInterrupt


def edited(path: Path, key: str, change: Any) -> None:
    """Change the JSON in a checkpoint, and save it anew, its checksums right."""
    tree = gradkit.load(path)
    found = json.loads(tree[key])
    tree[key] = json.dumps(change(found))
    # The names are paths from the second step on, so that they are names of entries here.
    gradkit.save(path, tree)


WRONG = (None, True, -1, 1.5, 2**40, 10**30, "x", [], {}, [None], float("nan"))
RUN_FIELDS = ("version", "epoch", "batch", "sums", "history", "best", "callbacks", "stopped", "settings", "fit")


@pytest.mark.parametrize("field", RUN_FIELDS)
def test_an_edited_field_of_a_run_is_an_error_of_the_file(field: str, tmp_path: Path) -> None:
    fit(tmp_path)
    whole = (tmp_path / LAST).read_bytes()
    for value in WRONG:
        (tmp_path / LAST).write_bytes(whole)
        edited(tmp_path / LAST, "run", lambda run, value=value: {**run, field: value})
        if (field, value) in (("stopped", "x"), ("settings", {})) or (field == "fit" and value == {}):
            continue  # a reason to stop, no settings; without those of fit, it is another run
        with pytest.raises(FileFormatError, match=LAST):
            fit(tmp_path, epochs=5)


EDITS = {
    "a batch that an epoch has not": lambda run: {**run, "batch": 3},
    "a batch later": lambda run: {**run, "batch": run["batch"] + 1},
    "an epoch later": lambda run: {**run, "epoch": run["epoch"] + 1},
    "an epoch less": lambda run: {**run, "epoch": run["epoch"] - 1, "history": run["history"][1:]},
    "a sum less": lambda run: {**run, "sums": run["sums"][1:]},
    "a row twice": lambda run: {**run, "history": [run["history"][0], run["history"][0], run["history"][2]]},
    "a row of text": lambda run: {**run, "history": [dict.fromkeys(row, "x") for row in run["history"]]},
    "another column": lambda run: {**run, "history": [{**row, "more": 1.0} for row in run["history"]]},
    "no column": lambda run: {**run, "history": [{} for _ in run["history"]]},
    "no best": lambda run: {**run, "best": None},
    "a best of later": lambda run: {**run, "best": [0.1, 9]},
    "a best of text": lambda run: {**run, "best": ["x", 1]},
    "callbacks of another kind": lambda run: {**run, "callbacks": [{"best": "x", "waited": 0}]},
    "callbacks without a field": lambda run: {**run, "callbacks": [{}]},
    "callbacks that count back": lambda run: {**run, "callbacks": [{"best": 1.0, "waited": -1}]},
    "an unknown field": lambda run: {**run, "more": 1},
    "no field": lambda run: {name: value for name, value in run.items() if name != "batch"},
    "a list": lambda run: [run],
}


@pytest.mark.parametrize("name", EDITS)
def test_a_run_that_cannot_be_where_it_says_is_an_error_of_the_file(name: str, tmp_path: Path) -> None:
    fit(tmp_path)
    edited(tmp_path / LAST, "run", EDITS[name])
    with pytest.raises(FileFormatError, match=f"{LAST}: what it says of the run is damaged: "):
        fit(tmp_path, epochs=5)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"epoch": 1, "epoch": 2}', "x"])
def test_a_run_without_a_description_is_an_error_of_the_file(text: str, tmp_path: Path) -> None:
    fit(tmp_path)
    gradkit.save(tmp_path / LAST, {**gradkit.load(tmp_path / LAST), "run": text})
    with pytest.raises(FileFormatError, match=f"{LAST}: what it says of the run is damaged: "):
        fit(tmp_path, epochs=5)


@pytest.mark.parametrize("key", ["x", 1, np.zeros(2), np.zeros(3, "uint32")])
def test_a_key_that_is_none_is_an_error_of_the_file(key: Any, tmp_path: Path) -> None:
    fit(tmp_path)
    gradkit.save(tmp_path / LAST, {**gradkit.load(tmp_path / LAST), "key": key})
    with pytest.raises(FileFormatError, match=f"{LAST}: the random key of the run is missing, or is none"):
        fit(tmp_path, epochs=5)


@pytest.mark.parametrize("step", [-1, 0, 8, 10, 2**70])
def test_an_optimizer_that_has_not_made_the_runs_steps_is_an_error_of_the_file(step: int, tmp_path: Path) -> None:
    fit(tmp_path)
    gradkit.save(tmp_path / LAST, {**gradkit.load(tmp_path / LAST), "optimizer.step": step})
    with pytest.raises(FileFormatError, match=f"{LAST}: what it says of the run is damaged: the optimizer's step"):
        fit(tmp_path, epochs=5)


def test_the_command_line_says_which_leaf_a_checkpoint_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "moons", "--out", str(tmp_path), "--hidden", "4", "--epochs", "1"]
    assert main(words) == 0
    tree = gradkit.load(tmp_path / LAST)
    del tree["model.layers[0].bias"]
    gradkit.save(tmp_path / LAST, tree)
    assert main([*words, "--resume"]) == 2
    error = capsys.readouterr().err
    assert "None" not in error
    assert "model.layers[0].bias" in error


def test_only_a_callback_can_have_stopped_a_run(tmp_path: Path) -> None:
    fit(tmp_path, callbacks=[])
    edited(tmp_path / LAST, "run", lambda run: {**run, "stopped": "x"})
    with pytest.raises(FileFormatError, match=f"{LAST}: what it says of the run is damaged: it was stopped"):
        fit(tmp_path, epochs=5, callbacks=[])


def test_a_best_model_of_another_run_is_an_error_of_the_file(tmp_path: Path) -> None:
    fit(tmp_path)
    gradkit.save(tmp_path / BEST, nn.MLP(2, [5, 2]))
    with pytest.raises(FileFormatError, match=f"{BEST}: .* It is no model of the run in {LAST}"):
        fit(tmp_path, epochs=5)


@pytest.mark.parametrize(
    "line",
    [
        *(
            '{"epoch": "x"}',
            '{"epoch": true}',
            '{"epoch": 1.5}',
            '{"epoch": -1}',
            '{"epoch": []}',
            '{"epoch": null}',
            "[]",
        ),
        *(
            '{"event": "learning rate"}',
            '{"event": "learning rate", "at_step": "x"}',
            '{"event": []}',
            "{",
            "1",
            "\0\xff",
        ),
        *(
            '{"epoch": 1, "seconds": "x"}',
            '{"epoch": 1, "seconds": 1e999}',
            "[" * 100_000,
            '{"epoch": 1, "epoch": "x"}',
        ),
    ],
    ids=lambda line: line[:30],
)
def test_a_line_of_the_log_that_is_none_does_not_stop_a_run(line: str, tmp_path: Path) -> None:
    expected, history = fit(tmp_path / "whole", epochs=5)
    fit(tmp_path / "run")
    log = (tmp_path / "run" / LOG).read_text()
    (tmp_path / "run" / LOG).write_text(line + "\n" + log + line)
    model, found = fit(tmp_path / "run", epochs=5)
    assert found["loss"] == history["loss"]
    for a, b in zip(gradkit.tree.leaves(model), gradkit.tree.leaves(expected), strict=True):
        assert a.tolist() == b.tolist()


# Models of the command line

WIDTHS: dict[str, Any] = {
    "huge": [2, 2**40, 2],
    "huge input": [2**40, 4, 2],
    "huge output": [2, 4, 2**62],
    "bool": [2, True, 2],
    "float": [2, 4.0, 2],
    "negative": [2, -4, 2],
    "zero": [2, 0, 2],
    "text": "242",
    "short": [2],
    "empty": [],
    "long": [2, 4, 2, 2],
    "none": None,
    "shorter": [2, 4],
}
ABOUT: dict[str, Any] = {
    **{f"widths {name}": {"widths": value} for name, value in WIDTHS.items()},
    **{
        f"{name} {value!r}": {name: value}
        for name in ("title", "activation", "target")
        for value in (None, 1, [], True)
    },
    **{f"task {value!r}": {"task": value} for value in (None, 1, [], "", "regression", "Classification")},
    **{
        f"names {value!r}": {"names": value} for value in ("ab", [], ["a"], [1, 2], ["a", None], {"a": 1}, ["x0", "x0"])
    },
    **{
        f"classes {value!r}": {"classes": value}
        for value in (None, "01", [], ["0"], [0, 1], ["0", "0"], ["0", "1", "2"])
    },
    **{f"version {value!r}": {"version": value} for value in (None, "1", True, 0, 1.0, 2)},
    "activation of no name": {"activation": "rleu"},
    "unknown field": {"more": 1},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "run"
    words = ["train", "moons", "--out", str(folder), "--hidden", "4", "--epochs", "1"]
    assert main(words) == 0
    return folder


@pytest.mark.parametrize("name", ABOUT)
def test_a_model_that_is_not_what_it_says_is_told(
    name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / MODEL).write_bytes((model / MODEL).read_bytes())
    edited(tmp_path / MODEL, "about", lambda about: {**about, **ABOUT[name]})
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path), "moons"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gradkit evaluate: error: {tmp_path / MODEL}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scaling_that_is_none_is_told(
    scale: float, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = gradkit.load(model / MODEL)
    gradkit.save(tmp_path / MODEL, {**tree, "inputs['scale']": tree["inputs['scale']"] * 0 + scale})
    assert main(["evaluate", str(tmp_path), "moons"]) == 2
    assert "the scaling of the inputs is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_network_of_other_numbers_than_finite_ones_is_told(
    number: float, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = gradkit.load(model / MODEL)
    gradkit.save(tmp_path / MODEL, {**tree, "network.layers[0].weight": tree["network.layers[0].weight"] + number})
    assert main(["evaluate", str(tmp_path), "moons"]) == 2
    assert "the network is damaged" in capsys.readouterr().err


# One run at a time

HOLDING = """
import sys, time
from gradkit.train.locks import locked
with locked(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Start a process that is in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def test_a_second_run_in_a_folder_is_refused_while_the_first_lives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path)
    before = (tmp_path / LAST).read_bytes()
    process = holder(tmp_path)
    for resume in ("auto", False):
        with pytest.raises(FolderInUseError, match=rf"in the folder {tmp_path} \(process {process.pid}\)\. Wait until"):
            fit(tmp_path, epochs=5, resume=resume)
    for word in ("--resume", "--overwrite"):
        assert main(["train", "moons", "--out", str(tmp_path), "--epochs", "1", word]) == 2
        assert f"another run is in progress in the folder {tmp_path}" in capsys.readouterr().err
    assert (tmp_path / LAST).read_bytes() == before
    end(process)
    assert (tmp_path / LOCK).exists()
    fit(tmp_path, epochs=5)
    assert not (tmp_path / LOCK).exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_children_of_a_run_do_not_keep_its_folder(tmp_path: Path) -> None:
    program = (
        "import os, sys, time\n"
        "from gradkit.train.locks import locked\n"
        "with locked(sys.argv[1]):\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(60)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        with pytest.raises(FolderInUseError), locked(tmp_path):
            pass
        end(process)
        with locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_two_runs_of_one_process_are_not_in_one_folder(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path):
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(60)
    try:
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()}"):
            fit(tmp_path)
    finally:
        leave.set()
        thread.join()
    fit(tmp_path)


def test_a_run_that_breaks_off_lets_its_folder_go(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, callbacks=[StopAt()])
    assert LOCK not in os.listdir(tmp_path)
    with locked(tmp_path), locked(tmp_path):
        assert LOCK in os.listdir(tmp_path)
    assert LOCK not in os.listdir(tmp_path)


def test_what_killed_runs_left_half_written_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    fit(tmp_path)
    left = [f".{name}.0123abcd.partial" for name in (LAST, BEST, LOG)]
    others = [".mine.0123abcd.partial", f".{LAST}.partial", f"{LAST}.0123abcd.partial", "notes.tmp"]
    for name in (*left, *others):
        (tmp_path / name).write_text("half")
    fit(tmp_path, epochs=4)
    assert sorted(os.listdir(tmp_path)) == sorted([LAST, BEST, LOG, *others])
