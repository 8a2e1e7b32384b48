"""Benchmarks say where their figures cannot be trusted: where the same step, timed twice, took two times."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("eager")


def run(eager: Any, monkeypatch: pytest.MonkeyPatch, out: Path, size: str, ratio: float) -> None:
    """Run the comparison of the hand-written step with itself, as if it had taken so much longer the second time."""
    times = {"by-hand": [1e-6, 2e-6], "by-hand-again": [ratio * 1e-6, ratio * 2e-6]}
    for name in eager.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")  # what the run sets is taken back
    monkeypatch.setattr(eager, "measure", lambda *_: times)
    eager.main(["--only", "by-hand-again", "--sizes", size, "--rounds", "2", "--out", str(out)])


@pytest.mark.parametrize("ratio", [0.91, 1.0, 1.09])
def test_a_row_whose_control_is_near_1_has_no_mark(
    ratio: float, eager: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(eager, monkeypatch, tmp_path, "3-4-4-1", ratio)
    assert "†" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("ratio", [0.89, 1.11])
def test_a_large_network_whose_control_is_off_is_marked(
    ratio: float, eager: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(eager, monkeypatch, tmp_path, "784-128-10", ratio)
    page = (tmp_path / "README.md").read_text()
    assert "| 784-128-10, batch 128 † |" in page
    assert '\n\n† "By hand, again" is outside 0.9 to 1.1: ' in page


@pytest.mark.parametrize("ratio", [0.89, 1.11])
def test_a_small_network_whose_control_is_off_is_refused_and_the_run_fails(
    ratio: float, eager: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=r"2-16-16-1: 'by hand, again' is outside \(0\.9, 1\.1\).* nothing is written"):
        run(eager, monkeypatch, tmp_path, "2-16-16-1", ratio)
    assert list(tmp_path.iterdir()) == []
