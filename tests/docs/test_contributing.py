"""CONTRIBUTING.md: its worked examples run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gradkit.backend import ENTRY_POINT_GROUP, Backend

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def blocks(heading: str, language: str) -> list[str]:
    """Return the fenced blocks of a language under a heading."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def run_python(*arguments: str, **environment: str) -> str:
    """Run a new Python process and return its output."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an installed package that is the example of a backend and its entry point."""
    folder = tmp_path_factory.mktemp("site")
    module, _ = blocks("Add a backend", "python")
    (declaration,) = blocks("Add a backend", "toml")
    entries = tomllib.loads(declaration)["project"]["entry-points"][ENTRY_POINT_GROUP]
    (folder / "gradkit_example.py").write_text(module)
    information = folder / "gradkit_example-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: gradkit-example\nVersion: 1.0\n")
    lines = [f"[{ENTRY_POINT_GROUP}]", *(f"{name} = {place}" for name, place in entries.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return str(folder)


# A check of derivatives is in float64, which JAX's arrays have where its x64 is on.
def test_example_of_a_primitive_passes_its_check(backend: Backend) -> None:
    declaration, check, _ = blocks("Add a primitive", "python")
    run_python("-c", declaration + check, GRADKIT_BACKEND=backend.name, JAX_ENABLE_X64="1")


def test_example_of_a_primitive_has_the_graph_that_is_shown(backend: Backend) -> None:
    graph, _ = blocks("Add a primitive", "text")
    assert (
        run_python("-c", "".join(blocks("Add a primitive", "python")), GRADKIT_BACKEND=backend.name, JAX_ENABLE_X64="1")
        == graph
    )


def test_example_of_a_primitive_with_a_wrong_derivative_fails_its_check() -> None:
    declaration, check, _ = blocks("Add a primitive", "python")
    wrong = declaration.replace("xp.cosh(x)", "xp.sinh(x + 2)")
    assert wrong != declaration
    with pytest.raises(AssertionError, match="wrong derivative of order 1"):
        run_python("-c", wrong + check)


def test_example_of_a_pass_gives_the_graph_that_is_shown(backend: Backend) -> None:
    shown = "".join(blocks("Add a pass", "text"))
    assert run_python("-c", "".join(blocks("Add a pass", "python")), GRADKIT_BACKEND=backend.name) == shown


def test_example_of_a_pass_keeps_other_numbers_and_effects_apart(backend: Backend) -> None:
    definition = blocks("Add a pass", "python")[0]
    check = """
import gradkit, gradkit.numpy as jnp

def f(x):
    gradkit.debug.print("{}", x)
    gradkit.debug.print("{}", x)
    return x[:1] + x[:1], x[1:] * x[1:2], x * 0.0, x * -0.0

graph = gradkit.make_jaxpr(f)(jnp.ones(2)).jaxpr
assert len(graph.equations) - len(without_repeats(graph).equations) == 2, without_repeats(graph).equations
"""
    run_python("-c", definition + check, GRADKIT_BACKEND=backend.name)


def test_example_of_a_family_has_every_transform() -> None:
    run_python("-c", "".join(blocks("Add a family", "python")))


def test_example_of_a_printer_runs_the_plan_that_is_shown() -> None:
    (shown,) = blocks("Add a printer", "text")
    assert run_python("-c", "".join(blocks("Add a printer", "python"))) == shown


def test_example_of_a_printer_gives_what_random_programs_give() -> None:
    printer, use = blocks("Add a printer", "python")
    check = """
import sys
import numpy as np
sys.path[:0] = ["tests/compiler", "tests/support"]

class Taking(LoopPrinter):
    seen = 0

    def compiled(self, plan, box):
        Taking.seen += 1
        return super().compiled(plan, box)

Looping.printers = (Taking(),)
from test_plans import X, random_program

with gradkit.use_backend("numpy"):
    x = jnp.asarray(X)
    for seed in range(15):
        program = random_program(seed)
        for one, other in zip(gradkit.jit(program)(x), program(x)):
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), 2e-4, 2e-4)
assert Taking.seen == 15
"""
    run_python("-c", printer + use + check)


def test_example_of_a_backend_is_found_and_used(published: str) -> None:
    _, use = blocks("Add a backend", "python")
    assert run_python("-c", use, PYTHONPATH=published).split() == ["example:0", "jaxlib"]


def test_example_of_a_backend_is_listed_by_info(published: str) -> None:
    output = run_python("-m", "gradkit", "info", PYTHONPATH=published, GRADKIT_BACKEND="example")
    assert "example: can run here\n  device    example:0  cpu  cpu\n" in output
    assert output.endswith("in use: example (GRADKIT_BACKEND=example)\n")


def test_example_of_a_backend_passes_the_suite(published: str) -> None:
    _, command = blocks("Add a backend", "sh")[0].split(" ", 1)
    arguments = command.split()
    assert arguments[0] == "pytest"
    # A part of it, which has products, slices, and choices by index.
    chosen = "tape and (matmul-0 or getitem or take-1 or logsumexp-1)"
    output = run_python(
        "-m", *arguments, "-k", chosen, "-q", "-p", "no:cacheprovider", PYTHONPATH=published, JAX_ENABLE_X64="1"
    )
    assert re.search(r"^example +[1-9]\d* +0 +0 ", output, re.MULTILINE), output
