"""The pages of JAX's documentation that are run, and how their cells are read from a checkout of JAX's repository."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "Cell", "Page", "cells_of"]

NEWEST = "jax-v0.10.2"


@dataclass(frozen=True)
class Page:
    """A page: its title, its file under docs/, and the tag of the version that is read."""

    title: str
    path: str
    tag: str = NEWEST


@dataclass(frozen=True)
class Cell:
    """A cell of code; `intends_error` where the page marks it as one that raises."""

    source: str
    intends_error: bool


PAGES = [
    Page("Automatic differentiation", "automatic-differentiation.md"),
    Page("Autodiff cookbook", "notebooks/autodiff_cookbook.ipynb"),
    Page("Custom derivative rules", "notebooks/Custom_derivative_rules_for_Python_code.ipynb"),
    Page("Jacobian-vector products", "jacobian-vector-products.md"),
    Page("Higher-order derivatives", "higher-order.md"),
    Page("Advanced autodiff (0.5.0)", "advanced-autodiff.md", "jax-v0.5.0"),
    Page("Complex differentiation", "complex-differentiation.md"),
    Page("Automatic vectorization", "automatic-vectorization.md"),
    Page("Random numbers", "random-numbers.md"),
    Page("Pytrees", "pytrees.md"),
    Page("Working with pytrees (0.4.30)", "working-with-pytrees.md", "jax-v0.4.30"),
    Page("Custom pytrees", "custom_pytrees.md"),
    Page("Control flow", "control-flow.md"),
    Page("Stateful computations", "stateful-computations.md"),
    Page("Key concepts", "key-concepts.md"),
    Page("Thinking in JAX", "notebooks/thinking_in_jax.ipynb"),
    Page("Quickstart (0.4.30)", "quickstart.md", "jax-v0.4.30"),
    Page("Common gotchas", "notebooks/Common_Gotchas_in_JAX.ipynb"),
    Page("Gradient checkpointing", "gradient-checkpointing.md"),
    Page("jax.checkpoint (remat)", "notebooks/autodiff_remat.ipynb"),
    Page("Just-in-time compilation", "jit-compilation.md"),
    Page("Jaxprs", "jaxpr.md"),
    Page("Batched log-probabilities", "notebooks/vmapped_log_probs.ipynb"),
    Page("Convolutions", "notebooks/convolutions.ipynb"),
]

FENCED = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONS = re.compile(r"\A(?:---\n(.*?)^---\n|((?:^:[^\n]*\n)*))", re.MULTILINE | re.DOTALL)
RAISES = "raises-exception"


def cells_of(page: Page, repository: Path) -> list[Cell]:
    """Return the cells of Python of a page; what is a shell command or does not parse is left out."""
    text = subprocess.run(
        ["git", "show", f"{page.tag}:docs/{page.path}"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    cells = from_notebook(text) if page.path.endswith(".ipynb") else from_markdown(text)
    return [cell for cell in map(with_statements_alone, cells) if parses(cell.source)]


def from_notebook(text: str) -> list[Cell]:
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return [Cell("".join(cell["source"]), RAISES in cell["metadata"].get("tags", ())) for cell in code]


def from_markdown(text: str) -> list[Cell]:
    cells = []
    for match in FENCED.finditer(text):
        options = OPTIONS.match(match[1])
        assert options is not None
        cells.append(Cell(match[1][options.end() :], RAISES in options[0]))
    return cells


def with_statements_alone(cell: Cell) -> Cell:
    """Return the cell with what `%timeit` times as a statement, which runs once."""
    return Cell(
        re.sub(r"^(\s*)%%?(?:timeit|time)\b(?: -\w+ ?\d*)*[ \n]?", r"\1", cell.source, flags=re.MULTILINE),
        cell.intends_error,
    )


def parses(source: str) -> bool:
    try:
        return bool(compile(source, "cell", "exec", dont_inherit=True).co_code) and bool(source.strip())
    except SyntaxError:
        return False
