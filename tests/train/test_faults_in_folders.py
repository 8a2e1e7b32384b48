"""What is said where a folder is in the place of a file, a run's file says too little, or a run is in progress."""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradkit
from gradkit import cli, data, nn
from gradkit.errors import FileFormatError, ResumeError
from gradkit.train.checkpoints import BEST, LAST, LOG
from gradkit.train.locks import LOCK, locked

X = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
Y = (X[:, 0] > 0).astype(np.int32)
MODEL, CURVES = "model.safetensors", "curves.png"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradkit.cli.train._draw", lambda *_: "")


def fit(folder: Path, **options: Any) -> Any:
    return gradkit.fit(nn.MLP(1, [2]), (X, Y), epochs=2, batch_size=16, checkpoint=folder, **options)


def trained(folder: Path, *more: str) -> int:
    """Train by the command line, in the folder's ``run``."""
    np.savez(folder / "data.npz", x=X, y=Y)
    words = ["train", folder / "data.npz", "--out", folder / "run", "--epochs", "2", "--hidden", "2", *more]
    return cli.main([*map(str, words)])


# A folder in the place of a file


FILES: dict[str, Callable[[Path], Any]] = {
    "load": gradkit.load,
    "save": lambda path: gradkit.save(path, {"w": X}),
    "load_csv": data.load_csv,
    "load_npy": data.load_npy,
    "load_npy, mapped": lambda path: data.load_npy(path, mmap=True),
    "load_npz": data.load_npz,
    "load_idx": data.load_idx,
    "read_table": lambda path: data.tables.read_table(path),
}


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_the_place_of_a_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=re.escape(f"{tmp_path} is a folder, where a file is expected.")):
        FILES[name](tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("resume", ["auto", False])
@pytest.mark.parametrize("name", [LAST, BEST, LOG, LOCK])
def test_fit_takes_nothing_away_where_a_folder_is_in_the_place_of_its_files(
    name: str, resume: Any, tmp_path: Path
) -> None:
    fit(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    before = {path.name: path.is_dir() or path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(IsADirectoryError, match=f"{re.escape(name)} is a folder, where a file is expected"):
        fit(tmp_path, resume=resume)
    assert {path.name: path.is_dir() or path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("way", ["--resume", "--overwrite"])
@pytest.mark.parametrize("name", [LAST, BEST, LOG, LOCK, MODEL, CURVES])
def test_the_command_line_takes_nothing_away_either(name: str, way: str, tmp_path: Path, capsys: Captured) -> None:
    run = tmp_path / "run"
    assert trained(tmp_path) == 0
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    before = {path.name: path.is_dir() or path.read_bytes() for path in run.iterdir()}
    capsys.readouterr()
    assert trained(tmp_path, way) == 2
    told = capsys.readouterr().err
    assert f"argument --out: {run / name} is a folder, where a run writes a file of that name." in told
    assert {path.name: path.is_dir() or path.read_bytes() for path in run.iterdir()} == before


def test_predictions_are_not_written_into_a_folder(tmp_path: Path, capsys: Captured) -> None:
    trained(tmp_path)
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "data.npz"), "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "is a folder, where a file is expected" in told
    assert f"Errno {errno.EISDIR}" not in told


# What is missing in a checkpoint


def without(path: Path, *names: str) -> None:
    """Take something out of a checkpoint: a part of it, or a field of what it says of its run."""
    stored = gradkit.load(path)
    for name in names:
        if name in ("settings.seed", "fit.batch_size"):
            group, field = name.split(".")
            run = json.loads(stored["run"])
            del run[group][field]
            stored["run"] = json.dumps(run)
        elif name in stored or name in ("model", "optimizer"):
            stored = {key: value for key, value in stored.items() if not re.match(rf"{name}\b", key)}
        else:
            run = json.loads(stored["run"])
            del run[name]
            stored["run"] = json.dumps(run)
    gradkit.save(path, stored)


FIELDS = json.loads(
    '["version", "settings", "fit", "epoch", "batch", "sums", "history", "best", "callbacks", "stopped"]'
)


@pytest.mark.parametrize("name", ["run", "key", "model", "optimizer", "fit.batch_size", *FIELDS])
def test_fit_says_what_is_missing_in_a_checkpoint(name: str, tmp_path: Path) -> None:
    fit(tmp_path)
    without(tmp_path / LAST, name)
    with pytest.raises((FileFormatError, ResumeError)) as caught:
        fit(tmp_path)
    told = str(caught.value)
    assert name.rpartition(".")[2] in told
    assert "None, this one" not in told  # nothing is not another value
    assert told.endswith(("begin anew with resume=False.", "or resume=False to begin anew."))


@pytest.mark.parametrize("name", ["run", "key", "model", "optimizer", "settings.seed", "fit.batch_size", *FIELDS])
def test_the_command_line_says_it_in_its_own_words(name: str, tmp_path: Path, capsys: Captured) -> None:
    trained(tmp_path)
    without(tmp_path / "run" / LAST, name)
    capsys.readouterr()
    assert trained(tmp_path, "--resume") == 2
    told = capsys.readouterr().err
    assert "--overwrite in the place of --resume" in told
    for word in ("resume=", "`like`", "load(", "None, this one", "--seed None"):
        assert word not in told
    shown = {"settings.seed": "--seed", "fit.batch_size": "--batch-size"}.get(name, name)
    assert shown in told


def test_the_command_line_says_in_its_words_that_the_best_model_is_missing(tmp_path: Path, capsys: Captured) -> None:
    trained(tmp_path)
    (tmp_path / "run" / BEST).unlink()
    assert trained(tmp_path, "--resume") == 2
    told = capsys.readouterr().err
    assert f"it has {LAST} and no {BEST}" in told
    assert "--overwrite in the place of --resume" in told
    assert "resume=" not in told


# A run in progress


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Let another thread have a run in the folder."""
    began, stop = threading.Event(), threading.Event()

    def run() -> None:
        with locked(folder):
            began.set()
            stop.wait()

    thread = threading.Thread(target=run)
    thread.start()
    began.wait()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("command", ["evaluate", "predict", "draw"])
@pytest.mark.parametrize("has_model", [True, False])
def test_a_model_of_a_folder_with_a_run_in_progress(
    command: str, has_model: bool, tmp_path: Path, capsys: Captured
) -> None:
    trained(tmp_path)
    if not has_model:
        (tmp_path / "run" / MODEL).unlink()
    words = [command, str(tmp_path / "run"), str(tmp_path / "data.npz")][: 2 if command == "draw" else 3]
    words += ["--out", str(tmp_path / "graph.dot")] if command == "draw" else []
    capsys.readouterr()
    with running(tmp_path / "run"):
        assert cli.main(words) == (0 if has_model else 2)
        told = capsys.readouterr().err
        assert re.search(r"a run is in progress in \S+ \(process \d+\)", told)
        assert ("this is the model of the run before it" if has_model else "Wait until then") in told
        assert "was stopped" not in told
    assert cli.main(words) == (0 if has_model else 2)
    assert "in progress" not in capsys.readouterr().err


# Truth values that are none


@pytest.mark.parametrize("byte", [2, 5, 128, 255])
@pytest.mark.parametrize("kind", ["npy", "mapped", "fortran", "npz", "safetensors", "ours"])
def test_truth_values_are_the_bytes_0_and_1(kind: str, byte: int, tmp_path: Path, xp: Any) -> None:
    path = tmp_path / "file"
    values = np.asarray([[1, 0, byte], [0, 1, 1]], np.uint8).view(np.bool_)
    loads: dict[str, Callable[[Path], Any]] = {
        "npz": data.load_npz,
        "npy": data.load_npy,
        "fortran": data.load_npy,
        "mapped": lambda path: data.load_npy(path, mmap=True),
    }
    if kind == "npz":
        np.savez(path.with_suffix(".npz"), a=values)
        path = path.with_suffix(".npz")
    elif kind in loads:
        stream = io.BytesIO()
        np.save(stream, np.asfortranarray(values) if kind == "fortran" else values)
        path.write_bytes(stream.getvalue())
    elif kind == "safetensors":
        header = b'{"a":{"dtype":"BOOL","shape":[2,3],"data_offsets":[0,6]}}'
        path.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    else:
        gradkit.save(path, {"a": values})
    with pytest.raises(FileFormatError, match=rf"its element \d is the byte {byte}, and truth values are 0 and 1"):
        loads.get(kind, gradkit.load)(path)


# Scripts


ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if not path.name.startswith("test_")
    and {"argparse", "__main__"} <= set(re.findall(r"\w+", path.read_text(encoding="utf-8")))
)


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_tells_how_it_is_called(script: str) -> None:
    told = subprocess.run(
        [sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True, timeout=300, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("usage: ")


def test_the_script_that_damages_files_tells_how_it_is_called() -> None:
    path = ROOT / "tests" / "support" / "fuzz_files.py"
    told = subprocess.run(
        [sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=300, check=False
    )
    assert told.returncode == 0, told.stderr
    assert "how many files" in told.stdout
