"""benchmarks/distributed.py: what it measures and writes, and the model of many processes."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launched import needs_mpi

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MACHINE = {"date": "2026-11-30", "commit": "abc", "cpu": "a processor", "cores": 2, "python": "3.11", "versions": {}}
PROGRAMS = ("by_hand", "gradkit_jit", "gradkit_loop", "jax_global", "torch_ddp")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("distributed")


@pytest.fixture
def clusters(script: Any) -> Any:
    return importlib.import_module("clusters")


def program(name: str, title: str, one: float, two: float) -> dict[str, Any]:
    return {"name": name, "title": title, "lines": 9, "seconds": {"1": [one, one], "2": [two, two]}}


def results(again: float = 0.03) -> dict[str, Any]:
    """Return results such as the script has, of a machine of 10 Gflop/s whose links have 1 ms and 1 GB/s."""

    def run(count: int) -> dict[str, Any]:
        seconds = {f"sum {size}": [2 * (count - 1) * (1e-3 + size / count / 1e9)] * 2 for size in (1024, 2**20)}
        seconds |= {f"{what} {rows}": [0.03, 0.05] for what in ("step", "compute") for rows in (64 // count, 64)}
        return {"count": count, "bytes": 7_000_000, "seconds": seconds}

    work = 2 * (3 * (784 * 8 + 64 + 80) - 784 * 8)
    one = {f"step {rows}": [rows * work / 1e10 + 1e-3] * 2 for rows in (64, 32, 16)}
    return {
        "machine": MACHINE,
        "threads": 1,
        "load": 0.1,
        "rounds": 2,
        "hidden": 8,
        "batch": 64,
        "runs": [{"count": 1, "bytes": 0, "seconds": one}, run(2), run(4)],
        "programs": [
            program("gradkit", "gradkit", 0.05, 0.03),
            program("again", "gradkit, again", 0.05, again),
            program("torch", "PyTorch", 0.06, 0.045),
            {"name": "jax", "title": "JAX", "lines": 7, "seconds": {}, "missing": "not installed: pip install jax"},
        ],
        "epochs": {"examples": 60000, "seconds": {"1": [10.0, 12.0], "2": [6.0, 6.0]}},
    }


def row(page: str, begin: str) -> list[str]:
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {begin} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def check_page(page: str) -> None:
    """Whatever was measured, these stand in it."""
    assert page.count("\n| :--") >= 3
    assert all(len(line) <= 125 for line in page.splitlines() if not line.startswith("|"))


def test_a_section_has_medians_ratios_within_rounds_and_what_is_missing(script: Any) -> None:
    page = script.distributed_section(results())
    check_page(page)
    assert row(page, "gradkit")[1:] == [
        "9", "50.0 (50.0 to 50.0)", "30.0 (30.0 to 30.0)", "0.60 (0.60 to 0.60)", "1.00 (1.00 to 1.00)",
    ]  # fmt: skip
    assert row(page, "PyTorch")[4:] == ["0.75 (0.75 to 0.75)", "1.50 (1.50 to 1.50)"]
    assert row(page, "JAX")[2:] == ["missing", "missing", "", ""]
    assert "- JAX: not installed: pip install jax" in page
    assert row(page, "2")[1:] == ["6.0 (6.0 to 6.0)", "0.55 (0.53 to 0.57)", "0.65"]
    assert row(page, "4 (more than cores), 64 each")[1] == "40.0 (35.0 to 45.0)"
    assert "between 2 1000 µs and 1.00 GB/s, between 4 1000 µs and 1.00 GB/s" in page
    assert "10 Gflop/s and 1.0 ms" in page
    assert "†" not in page
    assert "the machine was not quiet" in script.distributed_section(results(again=0.04))


def test_the_readme_tells_of_an_epoch_where_one_was_measured(script: Any) -> None:
    lines = script.report.summary.lines({"distributed": results()})
    assert "take 0.55 of one's time for an epoch of MNIST" in " ".join(lines.split())
    for other in ({"epochs": None}, {"load": 2.5}):
        assert "processes" not in script.report.summary.lines({"distributed": results() | other})


def test_figures_of_a_busy_machine_are_marked(script: Any) -> None:
    assert "busy" not in script.distributed_section(results())
    page = script.distributed_section(results() | {"load": 2.5})
    assert "**The machine was busy** (a load of 2.5 before the run)" in page
    check_page(page)


def test_the_model_is_that_of_its_words(clusters: Any) -> None:
    link = clusters.Link(1e-3, 1e9, moves_alone=False)
    gradients = clusters.gradient_bytes(8)
    assert gradients == 4 * (784 * 8 + 8 + 64 + 8 + 80 + 10)
    assert clusters.least_bytes(4, 8) == 1.5 * gradients
    # two sums, each of two movements with a message of 1 ms to each of three others; the loss is one movement more
    expected = 0.1 + 2 * (2 * 3 * 1e-3) + 1.5 * gradients / 1e9 + 3e-3
    assert clusters.predicted(4, 0.1, 8, link) == pytest.approx(expected)
    hidden = clusters.predicted(4, 0.1, 8, clusters.Link(1e-3, 1e9))
    assert hidden == pytest.approx(expected - 2 * 3 * 1e-3 - 1.5 * 4 * (64 + 8 + 80 + 10) / 1e9)
    assert clusters.predicted(1, 0.1, 8, link) == 0.1


@pytest.mark.parametrize("latency, bandwidth", [(2e-6, 1e9), (1e-3, 5e7)])
def test_a_link_is_found_from_its_sums(latency: float, bandwidth: float, clusters: Any) -> None:
    link = clusters.Link(latency, bandwidth, True)
    for count in (2, 4, 7):
        sums = {size: clusters.sum_seconds(count, size, link) for size in (2**10, 2**16, 2**22)}
        found = clusters.fitted_link(sums, count, True)
        np.testing.assert_allclose([found.latency, found.bandwidth], [latency, bandwidth], rtol=1e-6)


def test_more_processes_are_worth_more_until_latency_is_all(clusters: Any) -> None:
    for machine in clusters.CLUSTERS.values():
        work = [clusters.worth(machine, 2**i, 8192, 1024) for i in range(11)]
        assert all(a < b <= 2 ** (i + 1) for i, (a, b) in enumerate(itertools.pairwise(work)))
        times = [clusters.step_of(machine, 2**i, 1024, 8192 / 2**i) for i in range(11)]
        best = times.index(min(times))
        assert 0 < best < 10
        assert times[:best] == sorted(times[:best], reverse=True)
        assert times[best:] == sorted(times[best:])


def test_a_cluster_may_be_given(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--predict", "--latency", "1000", "--bandwidth", "8", "--speed", "0.01", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"nothing was measured here yet.*, or give --overhead$"):
        script.main(given)
    script.main([*given, "--overhead", "1000", "--hidden", "8", "--batch", "64"])
    table = capsys.readouterr().out
    assert "0.01 Tflop/s, 1 ms a step besides, 1000 µs and 8 Gb/s a link" in table
    assert len(re.findall(r"^\| [\d,]+ \|", table, re.MULTILINE)) == 11
    assert row(table, "1")[1] == "1.17"
    script.report.write(tmp_path, "distributed", results())
    script.main(["--predict", "--latency", "500", "--out", str(tmp_path)])
    assert "0.01 Tflop/s, 1 ms a step besides, 500 µs and 8 Gb/s a link" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["--rounds", "1"], "--rounds: expected at least 2, got 1"),
        (["--processes", "2", "4"], "--processes: 1 has to be among them, got 2 4"),
        (["--batch", "100"], "--batch: expected a multiple of four times the most processes, 16, got 100"),
        (["--hidden", "0"], "argument --hidden: invalid positive int value: '0'"),
        (["--latency", "-1"], "argument --latency: invalid positive float value: '-1'"),
    ],
)
def test_bad_options_are_told_of(
    words: list[str], message: str, script: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script.main(words)
    assert message in capsys.readouterr().err


def test_lines_of_code_leave_out_docstrings_comments_and_blank_lines(script: Any, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        '"""What\n\nit is."""\n\nimport os  # this counts\n\n# this does not\ndef f():\n    """No."""\n    return 1\n'
    )
    assert script.lines_of_code(path) == 3
    assert {file for file, _ in script.PROGRAMS.values()} == set(PROGRAMS)
    assert all(10 < script.lines_of_code(script.program_path(file)) < 50 for file in PROGRAMS)


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="pictures need matplotlib")
def test_the_picture_says_which_results_it_shows(script: Any, tmp_path: Path) -> None:
    pictures = script.report.pictures
    path = pictures.draw("distributed", results(), tmp_path)
    assert pictures.drawn_from(path, results())
    assert not pictures.drawn_from(path, results(again=0.05))


def check_run(script: Any, out: Path, counts: list[int]) -> dict[str, Any]:
    """Run the script on a tiny network, and see that everything that is there was measured."""
    script.main(["--short", "--processes", *map(str, counts), "--out", str(out)])
    found = json.loads((out / "distributed.json").read_text())
    check_page((out / "README.md").read_text())
    assert [run["count"] for run in found["runs"]] == counts
    clusters = importlib.import_module("clusters")
    for run in found["runs"]:
        assert all(len(times) == 2 and min(times) > 0 for times in run["seconds"].values())
        # besides the gradients there are the loss and the number of examples
        assert 0 <= run["bytes"] - clusters.least_bytes(run["count"], found["hidden"]) <= 32 * run["count"]
    for program in found["programs"]:
        is_there = program["name"] in ("again", "jit") or importlib.util.find_spec(program["name"]) is not None
        assert ("missing" in program) != is_there
        assert set(program["seconds"]) == ({str(count) for count in counts} if is_there else set())
    return dict(found)


def test_one_process_is_measured_without_mpi(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The libraries that are compared take seconds to be imported, so here none of them is there."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("jax", "mpi4py", "torch") else find(name)
    )
    check_run(script, tmp_path, [1])
    assert "- PyTorch, DistributedDataParallel: not installed: pip install torch" in capsys.readouterr().out


@needs_mpi
@pytest.mark.long
def test_two_processes_and_the_libraries_that_are_there_are_measured(script: Any, tmp_path: Path) -> None:
    check_run(script, tmp_path, [1, 2])


@needs_mpi
@pytest.mark.long
def test_a_world_that_fails_is_told_of_with_what_it_said(script: Any) -> None:
    worlds = importlib.import_module("worlds")
    arguments = {"name": "no_such_program", "hidden": 4, "batch": 8}
    with pytest.raises(worlds.WorkerError, match=r"^a test, 2 processes ended early: ModuleNotFoundError: .*no_such_"):
        worlds.World("a test, 2", 2, "growing:program", arguments)
    with pytest.raises(worlds.WorkerError, match=r"^a test, 1 process ended early: AttributeError: .*no_such_function"):
        worlds.World("a test, 1", 1, "growing:no_such_function", {})
