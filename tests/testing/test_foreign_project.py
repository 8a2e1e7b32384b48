"""A project that is not gradkit's, tests/foreign, whose suite runs as its owner would run it: as a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1] / "foreign"
ROOT = PROJECT.parents[1]
TABLE = {"numpy": (14, 0, 0), "strict": (11, 1, 0), "strict:1": (9, 1, 1)}
"""What passes, is skipped and is expected to fail on each backend."""


def run(folder: Path, python: str | Path, *options: str, **environment: str) -> tuple[int, str, dict[str, object]]:
    """Run the suite, and return its exit status, what it wrote, and its report."""
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join(map(str, (ROOT, ROOT / "backends")))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "GRADKIT_TEST"))}
    done = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "--backend-report=report.json", *options],
        cwd=folder,
        env=clean | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    report = folder / "report.json"
    return done.returncode, done.stdout + done.stderr, json.loads(report.read_text()) if report.exists() else {}


def counts(report: dict[str, object]) -> dict[str, tuple[int, int, int]]:
    """Return what passed, was skipped and expected to fail, by backend, where nothing failed."""
    backends: dict[str, dict[str, int]] = report["backends"]  # type: ignore[assignment]
    assert not any(facts["failed"] + facts["errors"] + facts["xpassed"] for facts in backends.values())
    return {name: (facts["passed"], facts["skipped"], facts["xfailed"]) for name, facts in backends.items()}


@pytest.mark.parametrize(
    "options",
    [(), pytest.param(("-n2",), marks=pytest.mark.long("processes of processes"))],
    ids=["one process", "xdist"],
)
def test_the_suite_on_the_backends_of_its_ini_file(tmp_path: Path, options: tuple[str, ...]) -> None:
    status, output, report = run(tmp_path, sys.executable, *options)
    assert status == 0, output
    assert counts(report) == TABLE
    for line in (
        "gradkit: numpy (numpy ",
        "strict    skipped 1: runs on numpy alone",
        "strict:1  xfailed 1: it asks for a number",
    ):
        assert line in output


def test_the_environment_and_the_command_line(tmp_path: Path) -> None:
    status, output, report = run(tmp_path, sys.executable, GRADKIT_TEST_BACKENDS="strict:1")
    assert status == 0, output
    assert counts(report)["strict:1"] == TABLE["strict:1"]
    status, output, _ = run(tmp_path, sys.executable, "--require-backend=strict:9")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "--require-backend=strict:9: The backend 'strict' has no device 9 on this machine" in output


@pytest.mark.long("it makes environments with other versions of pytest, and plugins")
@pytest.mark.parametrize("version", ["8", "9"])
def test_the_suite_under_other_pytests_and_plugins(tmp_path: Path, version: str) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True, system_site_packages=False)
    python = environment / "bin" / "python"
    path = next(environment.glob("lib/python*/site-packages"))
    # gradkit and what it needs are those of this environment; pytest and its plugins are new.
    wanted = [f"pytest=={version}.*", "pytest-xdist", "pytest-run-parallel", "pytest-randomly", "pytest-cov"]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted, "hypothesis"]
    needed = ["numpy", "ml-dtypes", "optree", "array-api-compat", "array-api-strict", "typing-extensions"]
    done = subprocess.run([*install, *needed], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the package registry does not answer: {done.stderr.strip().splitlines()[-1]}")
    metadata = path / "gradkit-0.dist-info"
    metadata.mkdir()
    shown = subprocess.run(
        [sys.executable, "-c", "import importlib.metadata as m; print(m.distribution('gradkit')._path)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for file in ("METADATA", "entry_points.txt"):
        shutil.copy(Path(shown.stdout.strip()) / file, metadata)
    for options in (
        ("-p", "no:randomly"),
        ("-p", "randomly", "--randomly-seed=1"),
        ("-n2", "--randomly-seed=2"),
        ("--parallel-threads=3", "-p", "no:randomly"),
        ("--cov=rowwise", "-p", "no:randomly"),
    ):
        status, output, report = run(tmp_path / "project", python, *options)
        assert status == 0, f"{options}\n{output}"
        assert counts(report) == TABLE, options
        assert f"pytest-{version}." in output
