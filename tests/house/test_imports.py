"""Who imports whom: no circles, and no import inside a function without a reason."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "gradkit", *sorted((ROOT / "backends").glob("gradkit_*"))]
REASON = re.compile(r"# (optional\b|late: \w)")
"""What the line of an import inside a function says, or the line before it: that the package is an optional one, or why
it is loaded late on purpose."""


@dataclass(frozen=True)
class Import:
    """One import of a file: of which names, where, whether inside a function, and whether as a statement."""

    names: tuple[str, ...]
    line: int
    inside: bool
    statement: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "backends" if "backends" in path.parts else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for package in PACKAGES for path in sorted(package.rglob("*.py"))}


def last_name(node: ast.expr) -> str:
    """Return the ``c`` of ``a.b.c``, or of ``c``."""
    return getattr(node, "attr", getattr(node, "id", ""))


def imports_of(tree: ast.AST, inside: bool = False) -> Iterator[Import]:
    """Yield the imports that are run, those of `importlib.import_module` by a constant name among them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and last_name(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield Import(tuple(alias.name for alias in node.names), node.lineno, inside, True)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield Import(tuple(f"{node.module}.{alias.name}" for alias in node.names), node.lineno, inside, True)
        elif (
            isinstance(node, ast.Call)
            and last_name(node.func) == "import_module"
            and isinstance(node.args[0], ast.Constant)
        ):
            yield Import((str(node.args[0].value),), node.lineno, inside, False)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports_of(node, inside or function)


@cache
def imports_in(module: str) -> tuple[Import, ...]:
    return tuple(imports_of(ast.parse(FILES[module].read_text())))


def file_of(name: str) -> str | None:
    """Return the file that an imported name is found in: a module, or the module or package that has the name."""
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name or None


@cache
def graph() -> dict[str, set[str]]:
    """Return, by file, the files that it imports, inside functions or not."""
    return {
        module: {
            file
            for found in imports_in(module)
            for name in found.names
            if (file := file_of(name)) not in (None, module)
        }
        for module in FILES
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of files that all reach each other (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(file: str) -> None:
        order[file] = low[file] = len(order)
        stack.append(file)
        for other in sorted(graph[file]):
            if other not in order:
                visit(other)
                low[file] = min(low[file], low[other])
            elif other in stack:
                low[file] = min(low[file], order[other])
        if low[file] == order[file]:
            at = stack.index(file)
            groups.append(sorted(stack[at:]))
            del stack[at:]

    for file in graph:
        if file not in order:
            visit(file)
    return [group for group in groups if len(group) > 1]


def test_no_files_import_each_other():
    # In core neither.
    assert circles(graph()) == []


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


@pytest.mark.parametrize("module", FILES)
def test_an_import_inside_a_function_says_why(module):
    lines = FILES[module].read_text().splitlines()
    silent = [
        f"{FILES[module]}:{found.line}: {lines[found.line - 1].strip()}"
        for found in imports_in(module)
        if found.inside
        and found.statement
        and not any(REASON.search(line) for line in lines[max(found.line - 2, 0) : found.line])
    ]
    assert not silent, "\n".join(silent)


def test_the_floors_stand_in_the_order_of_jax():
    floors = ["gradkit.core", "gradkit.primitives", "gradkit.lax", "gradkit.numpy"]

    def floor(module: str) -> int | None:
        return next((i for i, name in enumerate(floors) if module == name or module.startswith(f"{name}.")), None)

    up = [
        (module, other)
        for module, others in graph().items()
        for other in others
        if (here := floor(module)) is not None and (there := floor(other)) is not None and there > here
    ]
    assert up == []


def test_importing_gradkit_takes_no_namespace_and_no_pytrees():
    program = "import sys, gradkit; print(*[name for name in sys.modules if name.startswith(('gradkit', 'optree'))])"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    above = ("gradkit.numpy", "gradkit.lax", "gradkit.random", "gradkit.transforms", "gradkit.tree", "optree")
    assert not [name for name in loaded if name.startswith(above)]


def test_taking_a_gradient_loads_no_compiler():
    program = "import sys, gradkit, gradkit.numpy as np; gradkit.grad(np.sum)(np.ones(2)); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "gradkit.transforms.reverse" in loaded
    assert not {"gradkit.compiler.executables", "gradkit.backend.plan", "gradkit.transforms.jitted"} & set(loaded)


# The tests

TESTS = ROOT / "tests"
ROOMS = [path for path in TESTS.iterdir() if any(path.glob("test_*.py"))]


def test_every_test_is_in_a_room_and_takes_nothing_from_another_room():
    assert not [*TESTS.glob("*.py")], "tests are in folders, and what they share is in tests/support"
    for room in ROOMS:
        inside = {path.stem for path in room.glob("test_*.py")}
        for path in sorted(room.glob("*.py")):
            names = {
                name.partition(".")[0] for found in imports_of(ast.parse(path.read_text())) for name in found.names
            }
            others = {name for name in names if name.startswith("test_")} - inside
            assert not others, f"{path}: what {others} shares belongs in tests/support"


def test_what_numpy_loads_late_is_not_loaded_for_an_operation_and_is_itself_afterwards() -> None:
    program = """if True:
        import sys
        import gradkit.numpy as jnp
        late = [f"numpy.{name}" for name in ("f2py", "ma", "polynomial", "random", "testing")]
        assert float(jnp.sum(jnp.ones(3))) == 3
        assert not [name for name in late if name in sys.modules]
        import array_api_compat.numpy as compat
        import numpy as np
        np.testing.assert_array_equal(compat.polynomial.Polynomial([1, 2])(2), 5)
        assert np.ma.array([1.0], mask=[True]).mask.all() and compat.ma.masked is np.ma.masked
        assert np.polynomial is sys.modules["numpy.polynomial"] and "assert_allclose" in dir(compat.testing)
    """
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
