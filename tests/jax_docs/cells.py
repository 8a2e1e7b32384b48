"""Run the cells of a page in this process and print, as JSON, what each one printed or raised.

    python cells.py MODULE < cells

MODULE is `jax`, or `gradkit` for gradkit in JAX's place: what a cell imports from JAX is imported from gradkit.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import sys
import warnings
from typing import Any

ROOT = "jax"


class InPlaceOfJax(ast.NodeTransformer):
    """Imports of JAX become imports of another package, under the names that the cell gives them."""

    def __init__(self, module: str) -> None:
        self.module = module

    def replaced(self, name: str) -> str:
        return self.module + name[len(ROOT) :] if name.split(".")[0] == ROOT else name

    def visit_Import(self, node: ast.Import) -> ast.Import:
        names = []
        for alias in node.names:
            new = self.replaced(alias.name)
            names.append(ast.alias(new, alias.asname))
            if new != alias.name and alias.asname is None:
                names.append(ast.alias(self.module, ROOT))
        return ast.copy_location(ast.Import(names), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        return ast.copy_location(ast.ImportFrom(self.replaced(node.module or ""), node.names, node.level), node)


def run_cell(source: str, names: dict[str, Any], module: str) -> dict[str, Any]:
    """Run a cell as a notebook does: its last expression is printed, unless it is None."""
    tree = ast.fix_missing_locations(InPlaceOfJax(module).visit(ast.parse(source)))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    error = None
    # A cell may raise anything, and the next one runs all the same.
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(tree, "cell", "exec", dont_inherit=True), names)
            if isinstance(last, ast.Expr):
                result = eval(compile(ast.Expression(last.value), "cell", "eval", dont_inherit=True), names)
                if result is not None and not source.rstrip().endswith(";"):
                    print(repr(result))
            if module == ROOT and ROOT in sys.modules:
                sys.modules[ROOT].effects_barrier()
        except Exception as raised:  # noqa: BLE001
            error = [[kind.__name__ for kind in type(raised).__mro__], str(raised)]
    return {"printed": printed.getvalue(), "error": error}


def main() -> None:
    os.environ.setdefault("MPLBACKEND", "Agg")
    warnings.simplefilter("ignore")
    module = sys.argv[1]
    names: dict[str, Any] = {"__name__": "__main__"}
    results = [run_cell(source, names, module) for source in json.load(sys.stdin)]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
