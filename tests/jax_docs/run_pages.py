"""Run the pages of JAX's documentation under JAX and under gradkit, and compare what every cell prints.

    git clone https://github.com/jax-ml/jax
    python tests/jax_docs/run_pages.py jax

reads the pages from that checkout's history, prints the table of docs/jax-docs.md, and says where a cell differs that
is not in differences.py, or is there and does not differ: the exit status is then 1. `--write` puts the table into the
page.
`--page TITLE` runs one page, and `--show` shows what the cells that differ print.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from differences import DIFFERENT
from pages import PAGES, Cell, Page, cells_of

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "docs" / "jax-docs.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
TOLERANCE = 1e-4
KINDS = ["same output", "runs", "same error", "no result", "differs"]
"""What can be said of a cell: both print the same; both run and print nothing; the page shows an error, and both raise
it; both raise an error that the page does not show (a package is missing, a cell before it failed); anything else."""

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?(?=j\b|\b|\W|$)")
NOT_ABOUT_NUMBERS = [
    (re.compile(r"0x[0-9a-f]+"), "ADDRESS"),
    (re.compile(r",? ?weak_type=True"), ""),
    (re.compile(r"\bgradkit\b"), "jax"),
    (re.compile(r" ?(?:out_sharding=None|keepdims=False)"), ""),
    (re.compile(r"\s+"), ""),
]


def results(cells: list[Cell], module: str) -> list[dict[str, Any]]:
    """Return what each cell printed and raised, run in order in a process of its own."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "GRADKIT_BACKEND": "numpy"}
    command = [sys.executable, str(HERE / "cells.py"), module]
    sources = json.dumps([cell.source for cell in cells])
    done = subprocess.run(command, input=sources, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{module}: {done.stderr[-2000:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def same_text(one: str, other: str) -> bool:
    """Tell whether two outputs are equal up to rounding, and to words that are not about numbers."""
    for pattern, replacement in NOT_ABOUT_NUMBERS[:-1]:
        one, other = pattern.sub(replacement, one), pattern.sub(replacement, other)
    ours, theirs = ([float(number) for number in NUMBER.findall(text)] for text in (one, other))
    blank, by = NOT_ABOUT_NUMBERS[-1]
    if blank.sub(by, NUMBER.sub("#", one)) != blank.sub(by, NUMBER.sub("#", other)) or len(ours) != len(theirs):
        return False
    return all(abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 1e-3) for a, b in zip(ours, theirs, strict=True))


def same_error(ours: Any, theirs: Any) -> bool:
    """Tell whether both raised, and code that catches JAX's error catches gradkit's."""
    return bool(ours and theirs) and theirs[0][0] in ours[0]


def kind_of(cell: Cell, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return which of KINDS a cell is."""
    if ours["error"] or theirs["error"]:
        if not same_error(ours["error"], theirs["error"]) or not same_text(ours["printed"], theirs["printed"]):
            return "differs"
        return "same error" if cell.intends_error else "no result"
    if not same_text(ours["printed"], theirs["printed"]):
        return "differs"
    return "same output" if ours["printed"] else "runs"


def run_page(page: Page, repository: Path, show: bool) -> list[str]:
    """Return the kind of each cell."""
    cells = cells_of(page, repository)
    ours, theirs = results(cells, "gradkit"), results(cells, "jax")
    kinds = [kind_of(*of_cell) for of_cell in zip(cells, ours, theirs, strict=True)]
    if show:
        for number, (cell, kind, our, their) in enumerate(zip(cells, kinds, ours, theirs, strict=True)):
            if kind in ("differs", "no result"):
                print(f"--- cell {number}: {kind}\n{cell.source}\n    gradkit: {our}\n    JAX:     {their}")
    return kinds


def row(title: str, kinds: Counter[str], why: str) -> str:
    return f"| {title} | {kinds.total()} | {' | '.join(str(kinds[kind]) for kind in KINDS)} | {why} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path, help="a checkout of JAX's repository, with its tags")
    parser.add_argument("--write", action="store_true", help="write the table into docs/jax-docs.md")
    parser.add_argument("--page", help="run this page alone")
    parser.add_argument("--show", action="store_true", help="show the cells that differ")
    options = parser.parse_args()
    rows = [f"| page | cells | {' | '.join(KINDS)} | why |", f"| --- |{' ---: |' * (1 + len(KINDS))} --- |"]
    total: Counter[str] = Counter()
    as_listed = True
    for page in PAGES:
        if options.page not in (None, page.title):
            continue
        kinds = run_page(page, options.repository, options.show)
        reasons = DIFFERENT.get(page.title, {})
        different = {number for number, kind in enumerate(kinds) if kind == "differs"}
        for number in sorted(different ^ set(reasons)):
            as_listed = False
            print(f"{page.title}, cell {number}: {kinds[number]}, {'not ' * (number not in reasons)}in differences.py")
        total.update(kinds)
        why = ", ".join(str(reason) for reason in sorted({reasons[number] for number in different & set(reasons)}))
        rows.append(row(page.title, Counter(kinds), why))
        print(rows[-1], flush=True)
    rows.append(row("all", total, ""))
    print(rows[-1])
    if options.write and options.page is None:
        text = DOCUMENT.read_text()
        before, rest = text.split(BEGIN)
        DOCUMENT.write_text(before + BEGIN + "\n".join(rows) + "\n" + END + rest.split(END)[1])
    return 0 if as_listed else 1


if __name__ == "__main__":
    sys.exit(main())
