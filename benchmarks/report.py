"""Writes results: one JSON file a measurement, and a README.md that has a section on each (`sections.py`).

The tables are also in docs/benchmarks.md, and the project's README has a picture and a line on each (`summary.py`).
``python report.py`` writes the pages anew from the JSON files, and the pictures (`pictures.py`) that show others.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pictures
import summary
from distributed_page import distributed_table
from machine import REPOSITORY
from sections import IMAGES, SECTIONS, consistency_table

RESULTS = REPOSITORY / "benchmarks" / "results"
README = REPOSITORY / "README.md"
PAGE = REPOSITORY / "docs" / "benchmarks.md"
BACKENDS = REPOSITORY / "docs" / "backends.md"
DISTRIBUTED = REPOSITORY / "docs" / "distributed.md"
QUOTED = ("<!-- benchmarks/results -->\n", "<!-- end of results -->")
"""What stands around what is written from results in the project's README and in docs/benchmarks.md."""
INTRODUCTION = """\
# Results

Written by the scripts in `benchmarks/`; the JSON files beside this page have every measured time.
"""


def write(folder: Path, name: str, results: dict[str, Any]) -> None:
    """Write one measurement as JSON, and the page of all measurements in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    write_page(folder)
    if folder == RESULTS:
        write_quotes()


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the measurements in a folder by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def write_page(folder: Path) -> None:
    """Write the page of all measurements in a folder."""
    sections = [SECTIONS[name.partition("-")[0]](results) for name, results in read(folder).items()]
    (folder / "README.md").write_text("\n".join([INTRODUCTION, *sections]))


def write_quotes() -> None:
    """Write what the project's README and docs/benchmarks.md have of the results, and the pictures that are old."""
    PAGE.write_text(quoted(PAGE.read_text(), sections_of((RESULTS / "README.md").read_text())))
    README.write_text(quoted(README.read_text(), summary.lines(read(RESULTS))))
    if "consistency" in (measured := read(RESULTS)):
        BACKENDS.write_text(quoted(BACKENDS.read_text(), consistency_table(measured["consistency"]).strip()))
    if "distributed" in measured:
        DISTRIBUTED.write_text(quoted(DISTRIBUTED.read_text(), distributed_table(measured["distributed"]).strip()))
    for name, results in measured.items():
        if name in pictures.PICTURES and not pictures.drawn_from(pictures.FOLDER / f"{name}.png", results):
            if importlib.util.find_spec("matplotlib") is None:
                print(f"docs/images/{name}.png shows other results: run `pip install matplotlib`, then report.py")
            else:
                pictures.draw(name, results)


def sections_of(results: str) -> str:
    """Return the sections of the results' page as docs/benchmarks.md has them."""
    return "## " + results.partition("\n## ")[2].replace(f"{IMAGES}/", "images/").strip()


def quoted(page: str, text: str) -> str:
    """Return a page with a text between its two marks."""
    begin, end = QUOTED
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{text}\n\n{end}{after}"


if __name__ == "__main__":
    write_page(RESULTS)
    write_quotes()
