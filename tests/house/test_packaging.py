"""What is shipped, and what importing it brings along."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BACKENDS = sorted(path.parent.name for path in (ROOT / "backends").glob("*/__init__.py"))


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def modules_after(code: str) -> set[str]:
    """Return the names of the modules that a new process has imported after running `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_wheel_has_gradkit_and_every_backend_with_their_types(wheel_names: set[str]) -> None:
    for package in ["gradkit", *BACKENDS]:
        assert {f"{package}/__init__.py", f"{package}/py.typed"} <= wheel_names
    assert "pytest_gradkit.py" in wheel_names


def test_wheel_has_every_module_and_nothing_else(wheel_names: set[str]) -> None:
    roots = [ROOT / "gradkit", *(ROOT / "backends" / name for name in BACKENDS)]
    modules = [path for root in roots for path in root.rglob("*") if path.suffix in (".py", ".pyi")]
    sources = {path.relative_to(ROOT).as_posix().removeprefix("backends/") for path in modules}
    shipped = {name for name in wheel_names if ".dist-info/" not in name}
    assert shipped - {name for name in shipped if name.endswith("/py.typed")} == sources | {"pytest_gradkit.py"}


BUILT = {
    ".whl",
    ".egg",
    ".tar",
    ".gz",
    ".bz2",
    ".xz",
    ".zip",
    ".pyc",
    ".pyo",
    ".so",
    ".pyd",
    ".dll",
    ".dylib",
    ".o",
    ".a",
}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout of git")
def test_nothing_that_was_built_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = [Path(name) for name in listed.split("\0") if name]
    assert Path("pyproject.toml") in tracked
    assert [str(path) for path in tracked if path.suffix in BUILT or {"build", "dist"} & {*path.parts}] == []


def test_core_depends_on_three_packages() -> None:
    core = [line for line in requires("gradkit") or [] if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in core) == ["array-api-compat", "numpy", "optree"]


def test_every_backend_package_is_published() -> None:
    published = entry_points(group="gradkit.backends")
    assert sorted(entry.module for entry in published if entry.dist and entry.dist.name == "gradkit") == BACKENDS


def test_importing_gradkit_brings_no_array_library_but_numpy() -> None:
    libraries = set("array_api_compat array_api_strict cupy jax sklearn torch".split())
    assert not modules_after("import gradkit") & libraries


def test_computing_on_numpy_brings_no_other_array_library() -> None:
    modules = modules_after("import gradkit.numpy as jnp\njnp.sum(jnp.ones(3) * 2)")
    assert not modules & {"array_api_strict", "cupy", "jax", "torch"}


@pytest.mark.parametrize("package", BACKENDS)
def test_a_backend_package_is_light_until_it_is_asked_for_something(package: str) -> None:
    assert not modules_after(f"import {package}") & {"array_api_strict", "cupy", "jax", "torch"}
