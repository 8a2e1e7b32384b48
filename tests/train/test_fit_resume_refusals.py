"""Runs of `gradkit.fit` that are not resumed: another run's, and folders that are not what they should be."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_fit_resume import BEST, LAST, LOG, break_off, entries, fit, moons, new_model, stopping_loss

import gradkit
from gradkit import nn, optim, random
from gradkit.errors import FileFormatError, ResumeError
from gradkit.train import Callback, Checkpoint, ClipGradients


def test_resume_true_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"resume=True, but there is no .*checkpoint\.safetensors"):
        fit(tmp_path, resume=True)


class Other(Callback):
    """A callback that changes nothing."""


@pytest.mark.parametrize(
    "options, name",
    [
        ({"batch_size": 11}, "batch_size"),
        ({"optimizer": optim.SGD(0.1)}, "optimizer"),
        ({"optimizer": optim.SGD(optim.cosine_decay(0.3, 61), momentum=0.9)}, "optimizer"),
        ({"key": random.key(3)}, "key"),
        ({"loss": lambda p, t: nn.softmax_cross_entropy(p, t)}, "loss"),
        ({"validation": 0.5}, "validation"),
        ({"metrics": ()}, "metrics"),
        ({"callbacks": [Other()]}, "callbacks"),
    ],
)
def test_a_run_is_not_resumed_as_another(options: dict[str, Any], name: str, tmp_path: Path) -> None:
    fit(tmp_path)
    with pytest.raises(ResumeError, match=f"{LAST} is of a run with {name} ") as caught:
        fit(tmp_path, **options)
    assert caught.value.name == name
    assert str(caught.value).endswith("Give the same to resume it, another folder, or resume=False to begin anew.")


def test_a_run_is_not_resumed_with_other_data_to_validate_with(tmp_path: Path) -> None:
    x, y = moons()
    fit(tmp_path, validation=(x, y))
    with pytest.raises(ResumeError, match=r"is of a run with validation 'float32\[60, 2\] and int32\[60\], "):
        fit(tmp_path, validation=(x + 1, y))


def test_a_run_is_not_resumed_with_a_callback_that_changes_the_steps(tmp_path: Path) -> None:
    fit(tmp_path, callbacks=[ClipGradients(1.0)])
    with pytest.raises(ResumeError, match=f"{LAST} is of a run with optimizer .*'max_norm': 1.0"):
        fit(tmp_path, callbacks=[ClipGradients(2.0)])


def test_a_run_is_not_resumed_with_other_data_another_model_or_other_settings(tmp_path: Path) -> None:
    fit(Checkpoint(tmp_path, settings={"seed": 1}))
    options: dict[str, Any] = {
        "optimizer": optim.SGD(optim.cosine_decay(0.3, 60), momentum=0.9),
        "batch_size": 10,
        "validation": 0.25,
        "progress": False,
        "checkpoint": tmp_path,
    }
    x, y = moons()
    with pytest.raises(ResumeError, match=r"with data 'float32\[60, 2\] and int32\[60\], [0-9a-f]{8}', this one has"):
        gradkit.fit(new_model(), (x + 1, y), **options)
    with pytest.raises(ResumeError, match=r"layers\[0\]\.weight is an array float32\[2, 9\] in `like`"):
        gradkit.fit(new_model(9), (x, y), **options)
    with pytest.raises(ResumeError, match="is of a run with seed 1, this one has 2"):
        fit(Checkpoint(tmp_path, settings={"seed": 2}))


def test_a_folder_without_its_best_model_is_incomplete(tmp_path: Path) -> None:
    fit(tmp_path)
    (tmp_path / BEST).unlink()
    with pytest.raises(FileFormatError, match=f"it has {LAST} and no {BEST}, so it is incomplete"):
        fit(tmp_path, epochs=7)


def test_a_folder_of_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("gradkit.train.checkpoints.VERSION", 2)
        fit(tmp_path)
    with pytest.raises(FileFormatError, match=r"written by a newer gradkit \(version 2 of a run, this one knows 1\)"):
        fit(tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    fit(tmp_path)
    contents = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(contents[:-7])
    with pytest.raises(FileFormatError, match=f"{LAST}: truncated at byte"):
        fit(tmp_path)


def test_a_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    gradkit.save(tmp_path / LAST, {"weights": np.ones(3)})
    with pytest.raises(ResumeError, match=r"says nothing of a run \('run' is missing\)"):
        fit(tmp_path)


def test_a_log_with_a_torn_line_does_not_stop_a_run(tmp_path: Path) -> None:
    fit(tmp_path, epochs=2)
    with (tmp_path / LOG).open("a") as log:
        log.write('{"epoch": 3, "st')
    fit(tmp_path, epochs=3)
    assert [entry["epoch"] for entry in entries(tmp_path) if "epoch" in entry] == [1, 2, 3]


def test_a_folder_that_cannot_be_made_is_an_error_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        fit(tmp_path / "file" / "run", loss=stopping_loss(0, break_off))


def test_a_folder_that_cannot_be_written_is_an_error_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any, contents: bytes) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(importlib.import_module("gradkit.io"), "replace", refuse)  # as the system does to a user
    with pytest.raises(PermissionError, match=LAST):
        fit(tmp_path, loss=stopping_loss(0, break_off))


def test_checkpoint_refuses_a_number_of_steps_below_1() -> None:
    with pytest.raises(ValueError, match="every_steps must be a whole number of at least 1, or None, got 0"):
        Checkpoint("run", every_steps=0)
