"""The README and the pages in docs/: their examples on every backend, their commands, links, tables and pictures."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from abilities import needs_changes_in_place

import gradkit
import gradkit.lax  # all primitives: what is loaded while a Pytester runs is forgotten, and declared once more
import gradkit.numpy
import gradkit.random
from gradkit.backend import Backend

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
QUOTED_RESULTS = {"backends.md": "consistency", "distributed.md": "distributed"}
"""By a page: the results whose table it has."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def fenced(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.skip_backend("numpy", reason="pytest collects the pages as well, and runs them there")
@pytest.mark.parametrize(
    "page",
    # A picture is matplotlib's whatever the backend, and takes most of the time.
    [
        pytest.param(page, marks=pytest.mark.long if page.name == "pictures.md" else ())
        for page in PAGES
        if ">>> " in page.read_text()
    ],
    ids=lambda page: page.name,
)
def test_examples_run_on_every_backend(page: Path, backend: Backend) -> None:
    if "modified by an inplace operation" in page.read_text():
        needs_changes_in_place()
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    results = doctest.testfile(str(page), module_relative=False, optionflags=options)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_example_is_left_out(page: Path) -> None:
    for block in fenced(page.read_text(), "python"):
        # CONTRIBUTING.md and what needs PyTorch have tests of their own, and the file of tests is run below.
        is_run_elsewhere = page.name == "CONTRIBUTING.md" or block.startswith(('"""test_', "import torch\n"))
        assert ">>> " in block or is_run_elsewhere, block


@pytest.mark.parametrize(
    "page, passed, xfailed, table",
    [
        ("getting-started.md", 4, 0, [r"numpy +2 +0 ", r"strict +2 +0 "]),
        ("testing.md", 11, 1, [r"numpy +7 +0 ", r"strict +4 +0 +0 +0 +1 "]),
    ],
)
def test_pages_have_tests_that_run_on_every_backend(
    pytester: pytest.Pytester, page: str, passed: int, xfailed: int, table: list[str]
) -> None:
    (module,) = (block for block in fenced((ROOT / "docs" / page).read_text(), "python") if ">>> " not in block)
    name = module.split('"')[3]
    pytester.makepyfile(**{name.removesuffix(".py"): module})
    result = pytester.runpytest_inprocess("--backend=numpy,strict", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=passed, xfailed=xfailed)
    result.stdout.re_match_lines([r"backend +passed +failed ", *table])


def test_what_is_said_to_be_missing_is_missing() -> None:
    section = (ROOT / "docs" / "differences-from-jax.md").read_text().split("## What is not there yet\n")[1]
    transforms, modules, names, of_lax, *_ = re.findall(r"^- ((?:.|\n(?!-|\n))*)", section, re.MULTILINE)
    for name in re.findall(r"`(\w+)`", transforms.split("(")[0]):
        assert not hasattr(gradkit, name), name
    for name in re.findall(r"`([\w.]+)`", modules):
        with pytest.raises((ImportError, AttributeError)):
            importlib.import_module(f"gradkit.{name}")
    missing = re.findall(r"`(\w+)`", names)
    assert len(missing) > 10
    for name in missing:
        assert not hasattr(gradkit.numpy, name), name
    for name in re.findall(r"`(\w+)`", of_lax):
        assert not hasattr(gradkit.lax, name), name


@pytest.mark.parametrize("module", ["random", "scipy.special", "scipy.stats", "scipy.linalg"])
def test_the_list_of_what_is_missing_is_complete(module: str) -> None:
    section = (ROOT / "docs" / "differences-from-jax.md").read_text().split("## What is not there yet\n")[1]
    found = re.search(rf"^- Of `jax\.{re.escape(module)}`((?:.|\n(?!-|\n))*)", section, re.MULTILINE)
    assert found
    theirs, ours = (importlib.import_module(f"{library}.{module}") for library in ("jax", "gradkit"))
    missing = {name for name in dir(theirs) if not name.startswith("_") and not hasattr(ours, name)}
    assert set(re.findall(r"`(\w+)`", found[1])) == missing


def test_quick_start_has_two_commands_that_do_all_set_up() -> None:
    section = README.split("## Quick start")[1].split("\n## ")[0]
    assert section.count("\n```") == 4
    examples, tests = fenced(section, "sh")
    for command in (examples, tests):
        assert "python3 -m venv" in command
        assert "pip install" in command
    assert "examples/digits.py" in examples
    assert "pytest" in tests


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("report")


def test_tables_and_lines_are_those_of_the_results(report: Any) -> None:
    to_write = "to write the new ones: python benchmarks/report.py"
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    results = (ROOT / "benchmarks" / "results" / "README.md").read_text()
    assert report.quoted(page, report.sections_of(results)) == page, to_write
    found = report.read(report.RESULTS)
    assert report.quoted(README, report.summary.lines(found)) == README, to_write
    tables = {report.BACKENDS: report.consistency_table, report.DISTRIBUTED: report.distributed_table}
    for path, table in tables.items():
        text = path.read_text()
        assert report.quoted(text, table(found[QUOTED_RESULTS[path.name]]).strip()) == text, to_write


def test_pictures_of_results_are_drawn_from_those_that_are_there(report: Any) -> None:
    found = report.read(report.RESULTS)
    for name in found.keys() & report.pictures.PICTURES.keys():
        path = ROOT / "docs" / "images" / f"{name}.png"
        assert report.pictures.drawn_from(path, found[name]), "to draw it anew: python benchmarks/report.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
            assert heading in {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}, target


def test_pictures_are_small() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert pictures
    for name in pictures:
        contents = (ROOT / name).read_bytes()
        assert contents.startswith((b"\x89PNG\r\n", b"<?xml"))
        assert len(contents) < 100_000
