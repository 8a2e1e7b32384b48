"""What the README says beyond its doctests: its commands, links and tables."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_quick_start_has_two_commands_that_do_all_set_up() -> None:
    section = README.split("## Quick start")[1].split("\n## ")[0]
    examples, tests = re.findall(r"```sh\n(.*?)```", section, re.S)
    for command in (examples, tests):
        assert "python3 -m venv" in command
        assert "pip install" in command
    assert "examples/digits.py" in examples
    assert "pytest" in tests


def test_tables_are_those_of_the_results() -> None:
    specification = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    assert specification is not None
    assert specification.loader is not None
    report = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(report)
    results = (ROOT / "benchmarks" / "results" / "README.md").read_text()
    assert report.quoted(README, results) == README, "run python benchmarks/report.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            assert heading in {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}, target
