"""benchmarks/consistency.py trains the same on every backend, and says where something is not the same."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TINY = ["--epochs", "2", "--examples", "80"]


@pytest.fixture
def consistency(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("consistency")


def test_a_training_is_the_same_on_a_backend_as_on_numpy(
    consistency: Any, backend: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    consistency.main([*TINY, "--only", backend.name, "--out", str(tmp_path)])
    results = json.loads((tmp_path / "consistency.json").read_text())
    assert results["missing"] == {}
    rows = results["backends"]
    assert {label.rpartition(", ")[2] for label in rows} == {"eager", "jit"}
    for found in rows.values():
        assert found["difference"]["losses"] <= 1e-4
        assert all(found["equal"][name] for name in ("random bits", "a permutation", "batches", "initial weights"))
        first, last = found["losses"]
        assert 0 < last < first
    assert "## The same numbers everywhere" in (tmp_path / "README.md").read_text()


@pytest.mark.dealt
def test_what_differs_ends_the_run_with_its_name(
    consistency: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: Any
) -> None:
    right = {name: np.ones(3, np.float32) for name in (*consistency.DRAWN, "batches", "initial weights", "losses")}
    off = right | {"losses": np.asarray([1, 1, 1.001], np.float32), "batches": np.asarray([1, 1, 2], np.float32)}
    runs = iter([right, right, off])
    monkeypatch.setattr(consistency, "train", lambda *_: next(runs))
    with pytest.raises(SystemExit) as end:
        consistency.main([*TINY, "--only", "numpy", "--out", str(tmp_path)])
    said = str(end.value).splitlines()
    assert said == [
        "numpy, jit: the losses differ by 1.0e-03, more than 0.0001",
        "numpy, jit: batches not the same bits",
    ]
    assert json.loads((tmp_path / "consistency.json").read_text())["backends"].keys() == {"numpy, eager", "numpy, jit"}


@pytest.mark.dealt
def test_a_backend_that_fails_or_has_no_axes_is_told_of_with_its_reason(
    consistency: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: Any
) -> None:
    train, count = consistency.train, iter(range(3))

    def train_once(*arguments: Any) -> Any:
        if next(count):
            raise RuntimeError("no more memory")
        return train(*arguments)

    monkeypatch.setattr(consistency, "train", train_once)
    consistency.main(["--epochs", "1", "--examples", "32", "--only", "strict", "python", "--out", str(tmp_path)])
    missing = json.loads((tmp_path / "consistency.json").read_text())["missing"]
    assert missing["strict, eager"] == missing["strict, jit"] == "RuntimeError: no more memory"
    assert "single numbers" in missing["python"]
    with pytest.raises(SystemExit):
        consistency.main(["--only", "nunpy"])
