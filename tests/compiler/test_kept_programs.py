"""Programs that another process has compiled: found by their graphs, and never where anything of them has changed."""

from __future__ import annotations

import itertools
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradkit_numpy import NumpyBackend
from gradkit_numpy.native import object_code, printer
from gradkit_numpy.native.machine import why_unusable
from gradkit_numpy.native.program import NativePrinter

import gradkit
import gradkit.numpy as jnp
from gradkit import lax
from gradkit.backend import get_backend
from gradkit.compiler import kept
from gradkit.compiler.boxes import box_of_arrays
from gradkit.compiler.executables import executable_of
from gradkit.compiler.keys import key_of
from gradkit.core.families import Elementwise
from gradkit.core.namespace import PRIMITIVES
from gradkit.core.values import host

pytestmark = pytest.mark.skipif(why_unusable() is not None, reason="needs the extra jit")

PROGRAMS = """
import os, sys
import numpy as np
import gradkit, gradkit.numpy as jnp
from gradkit import lax

X = jnp.asarray(np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4))
TABLE = np.arange(12, dtype=np.float32).reshape(3, 4) ** 2

def loops(x):
    total, rows = lax.scan(lambda c, r: (c + r @ r, jnp.sin(r)), 0.0, x)
    total = lax.while_loop(lambda c: c < 100, lambda c: c * 1.5 + 1, total)
    return total, rows, lax.cond(total > 1, jnp.cos, jnp.exp, x)

def folded(x):  # with numbers that passes compute, and what it closes over
    return x[:, jnp.arange(4)[::-1]] + jnp.linspace(0, 1, 4) * TABLE, jnp.tril(x @ x.T)

def handed_on(x):  # a result is an argument, another one there twice
    return x, jnp.tanh(x), x.sum(), x

def updated(x, y):
    return x - 0.1 * (y.T @ y @ x.T).T, y.max()

found = [gradkit.jit(f)(X) for f in (loops, folded, handed_on, gradkit.grad(lambda x: (x ** 3 * x[:, ::-1]).sum()))]
found.append(gradkit.jit(updated, donate_argnums=0)(X + 0, X + 1))
with gradkit.enable_x64():
    found.append(gradkit.jit(lambda x: x * 0.1)(jnp.asarray(3.0)))
print([np.asarray(leaf).tobytes().hex() for leaf in gradkit.tree.leaves(found)])
print(*sorted({"gradkit.compiler.planning", "gradkit_numpy.native.printer", "gradkit.backend.plan"} & {*sys.modules}))
"""


def in_a_new_process(folder: Path) -> list[str]:
    """Return the lines that the programs print, without warnings, in a process that keeps programs in a folder."""
    environment = {**os.environ, "GRADKIT_CACHE_DIR": str(folder), "GRADKIT_CACHE": ""}
    command = [sys.executable, "-W", "error", "-c", PROGRAMS]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()


def test_a_second_process_neither_plans_nor_prints_and_gives_the_same_bits(tmp_path: Path) -> None:
    first = in_a_new_process(tmp_path)
    assert first[1].split() == ["gradkit.backend.plan", "gradkit.compiler.planning", "gradkit_numpy.native.printer"]
    assert in_a_new_process(tmp_path) == [first[0], ""]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep programs in a folder, and forget those of this process before and after."""
    monkeypatch.setenv("GRADKIT_CACHE", "")
    monkeypatch.setenv("GRADKIT_COMPILER", "native")
    chosen, decided = object_code._Place.chosen, object_code._Place.decided
    object_code.keep_in(tmp_path)
    gradkit.clear_caches()
    with gradkit.use_backend("numpy"):
        yield tmp_path
    gradkit.clear_caches()
    object_code.keep_in(chosen)
    object_code._Place.decided = decided


@pytest.fixture
def printings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with each plan that is printed."""
    made: list[Any] = []
    printed = printer.printed
    monkeypatch.setattr(printer, "printed", lambda *args: (made.append(args), printed(*args))[1])
    return made


X = np.linspace(-1, 1, 6, dtype=np.float32)
(OTHER_NAN,) = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))


def anew(function: Callable[..., Any]) -> Any:
    """Return what a function gives that is captured and compiled as if in another process."""
    gradkit.clear_caches()
    return np.asarray(gradkit.jit(function)(jnp.asarray(X)))


def records(place: Path) -> list[Path]:
    return sorted(place.glob("*.program"))


def test_a_graph_that_is_known_is_not_printed_again(place: Path, printings: list[Any]) -> None:
    def function(x: Any) -> Any:
        return jnp.sin(x) * 2

    for _ in range(3):
        np.testing.assert_allclose(anew(function), np.sin(X) * 2, 1e-6)
    assert len(printings) == 1
    assert len(records(place)) == 1


def test_object_code_alone_is_kept_where_that_is_asked_for(
    place: Path, printings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_CACHE", "code")
    for _ in range(2):
        anew(lambda x: x + 11)
    assert len(printings) == 2
    assert not records(place)


def test_arrays_that_are_closed_over_are_no_part_of_a_program_but_those_of_each_process(
    place: Path, printings: list[Any]
) -> None:
    for closed_over in (X, X[::-1].copy(), X * 3):
        array = jnp.asarray(closed_over)
        found = anew(lambda x: lax.fori_loop(0, 2, lambda i, c: c + array, x))  # noqa: B023
        np.testing.assert_allclose(found, X + 2 * closed_over, 1e-6)
    assert len(printings) == 1


def test_a_known_program_has_its_plan_when_it_is_asked_for(place: Path) -> None:
    texts = []
    for _ in range(2):
        gradkit.clear_caches()
        compiled = gradkit.jit(lambda x: x @ x + x.sum()).lower(jnp.asarray(X)).compile()
        texts.append((compiled.as_text(), compiled.memory_analysis().generated_code_size_in_bytes))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("harm", ["truncated", "changed", "foreign", "empty"])
def test_a_damaged_record_is_compiled_anew(place: Path, printings: list[Any], harm: str) -> None:
    anew(lambda x: x * 3 + 1)
    anew(lambda x: x * 5 + 1)
    assert len(printings) == 2
    first, second = records(place)
    whole = first.read_bytes(), second.read_bytes()
    for file, content, other in ((first, *whole), (second, *reversed(whole))):
        changed = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        file.write_bytes({"truncated": content[:-3], "changed": changed, "foreign": other, "empty": b""}[harm])
    np.testing.assert_allclose(anew(lambda x: x * 3 + 1), X * 3 + 1, 1e-6, 1e-6)
    np.testing.assert_allclose(anew(lambda x: x * 5 + 1), X * 5 + 1, 1e-6, 1e-6)
    assert len(printings) == 4
    assert (first.read_bytes(), second.read_bytes()) == whole


def test_a_record_without_its_object_code_is_compiled_anew(place: Path, printings: list[Any]) -> None:
    anew(lambda x: x - 7)
    for file in place.glob("*.object"):
        file.unlink()
    np.testing.assert_allclose(anew(lambda x: x - 7), X - 7, 1e-6)
    assert len(printings) == 2


def test_what_calls_python_is_compiled_in_each_process(place: Path, printings: list[Any]) -> None:
    factors = iter((2, 3))

    def function(x: Any) -> Any:
        factor = next(factors)
        shape = gradkit.ShapeDtypeStruct(x.shape, x.dtype)
        return gradkit.pure_callback(lambda value: np.asarray(value) * np.float32(factor), shape, x)

    np.testing.assert_allclose(anew(function), X * 2, 1e-6)
    np.testing.assert_allclose(anew(function), X * 3, 1e-6)
    assert not records(place)
    np.testing.assert_allclose(anew(lambda x: jnp.fft.rfft(x).real), np.fft.rfft(X).real, 1e-5, 1e-6)  # NumPy's
    assert not records(place)


# What a program depends on


def facts(function: Callable[..., Any], *args: Any, donated: Any = (), printer: Any = None, box: Any = None) -> Any:
    graph = gradkit.make_jaxpr(function)(*args).jaxpr
    form, arrays = key_of(graph)
    literals = tuple(host(array).tobytes() for array in arrays[len(graph.constants) :])
    return kept.facts_of(form, literals, donated, printer or NativePrinter(), box or box_of_arrays())


def variants() -> Iterator[tuple[str, Any]]:
    """Yield programs that have to have different names, and what each is."""
    x, y = jnp.asarray(X), jnp.asarray(X[:3])

    def loop(steps: int, factor: float, reverse: bool = False) -> Callable[[Any], Any]:
        return lambda x: lax.scan(lambda c, r: (c * factor + r, c), x[0] * 0, x[:steps], reverse=reverse)

    yield "x + 1", facts(lambda x: x + 1, x)
    yield "x + 1.5", facts(lambda x: x + 1.5, x)
    yield "x + 0.0", facts(lambda x: x + 0.0, x)
    yield "x + -0.0", facts(lambda x: x + -0.0, x)
    yield "a number in an array", facts(lambda x: lax.while_loop(lambda c: c < 9, lambda c: c + x[0], 1.0), x)
    yield "another one", facts(lambda x: lax.while_loop(lambda c: c < 9, lambda c: c + x[0], 2.0), x)
    yield "x + nan", facts(lambda x: x + math.nan, x)
    yield "x + -nan", facts(lambda x: x + -math.nan, x)
    yield "x + nan of other bits", facts(lambda x: x + OTHER_NAN, x)
    yield "x + nan j", facts(lambda x: x + complex(0, math.nan), x)
    yield "x + -nan j", facts(lambda x: x + complex(0, -math.nan), x)
    yield "x - 1", facts(lambda x: x - 1, x)
    yield "1 - x", facts(lambda x: 1 - x, x)
    yield "shape", facts(lambda x: x + 1, y)
    yield "dtype", facts(lambda x: x + 1, x.astype("int32"))
    yield "two results", facts(lambda x: (x + 1, x + 1), x)
    yield "a result that is an argument", facts(lambda x: (x + 1, x), x)
    yield "the same in another order", facts(lambda x: (x, x + 1), x)
    yield "two arguments", facts(lambda x, y: x + 1, x, x)
    yield "the other one", facts(lambda x, y: y + 1, x, x)
    yield "donated", facts(lambda x: x + 1, x, donated=(0,))
    yield "a slice", facts(lambda x: x[1:], x)
    yield "from elsewhere", facts(lambda x: x[:5], x)
    yield "a loop", facts(loop(3, 2.0), x)
    yield "of more steps", facts(loop(4, 2.0), x)
    yield "with another number inside", facts(loop(3, 2.5), x)
    yield "backwards", facts(loop(3, 2.0, True), x)
    yield "a choice", facts(lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), x)
    yield "the other way round", facts(lambda x: lax.cond(x[0] > 0, jnp.cos, jnp.sin, x), x)
    with gradkit.enable_x64():
        yield "64 bits", facts(lambda x: x + 1, x)
    with gradkit.default_matmul_precision("float32"):
        yield "precision", facts(lambda x: x + 1, x)
    other = type("Printer", (NativePrinter,), {"name": "other", "__module__": NativePrinter.__module__})
    yield "another printer", facts(lambda x: x + 1, x, printer=other())
    yield "another layout of objects", facts(lambda x: x + 1, x, box=box_of_arrays()._replace(value=1))


def test_no_two_programs_have_one_name_and_one_has_always_the_same() -> None:
    with gradkit.use_backend("numpy"):
        found, again = dict(variants()), dict(variants())
    assert None not in found.values()
    assert found == again
    for (a, one), (b, other) in itertools.combinations(found.items(), 2):
        assert one != other, (a, b)


@pytest.mark.parametrize(
    "place_of_it", ["sys.version", "numpy.__version__", "gradkit.config.config._others", "sources"]
)
def test_another_version_setting_or_source_is_another_name(
    place_of_it: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def name() -> Any:
        with gradkit.use_backend("numpy"):
            return facts(lambda x: x + 1, jnp.asarray(X))

    before = name()
    if place_of_it == "sources":
        (folder,) = sys.modules["gradkit_numpy"].__path__
        monkeypatch.setitem(kept._known, "gradkit_numpy", b"another state of " + folder.encode())
    elif place_of_it.endswith("_others"):
        monkeypatch.setitem(gradkit.config._others, "jax_numpy_rank_promotion", "raise")
    else:
        monkeypatch.setattr(place_of_it, "0.0")
    assert name() != before


def test_settings_without_meaning_are_no_part_of_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with gradkit.use_backend("numpy"):
        x = jnp.asarray(X)
        before = facts(lambda x: x + 1, x)
        for name, value in (("jax_compilation_cache_dir", tmp_path), ("jax_logging_level", "DEBUG")):
            monkeypatch.setitem(gradkit.config._others, name, value)
            assert facts(lambda x: x + 1, x) == before


def test_object_code_is_asked_for_by_processor_and_versions_too(
    place: Path, printings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradkit_numpy.native import records as files

    anew(lambda x: x + 9)
    monkeypatch.setattr(files, "made_for", lambda: ("another processor", "", "0.45", "20.1", "x86_64"))
    anew(lambda x: x + 9)
    assert len(printings) == 2
    monkeypatch.setattr(files, "_libraries", lambda: ("another scipy", "", ""))
    anew(lambda x: x + 9)
    assert len(printings) == 3


def test_the_state_of_sources_is_that_of_each_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    files = [tmp_path / "a.py", tmp_path / "inner" / "b.py"]

    def state() -> Any:
        return kept._state_of([str(tmp_path)], latest=1 << 62)

    assert state() is None  # a package without files says nothing of itself
    for file in files:
        file.write_text("x = 1")
        os.utime(file, ns=(10**18, 10**18))
    before = state()
    assert before is not None
    assert before == state()
    for file in files:
        os.utime(file, ns=(10**18, 10**18 + 1000))
        assert state() != before
        os.utime(file, ns=(10**18, 10**18))
        assert state() == before
        file.write_text("x = 10")
        os.utime(file, ns=(10**18, 10**18))
        assert state() != before
        file.write_text("x = 1")
        os.utime(file, ns=(10**18, 10**18))
    (tmp_path / "inner" / "c.py").write_text("")
    assert state() != before


def test_sources_that_changed_since_the_process_began_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    os.utime(tmp_path / "a.py", ns=(10**18, 10**18))  # its time of change is set back, but not that of its entry
    assert kept._state_of([str(tmp_path)]) is None


def test_what_others_declare_has_no_name() -> None:
    with gradkit.use_backend("numpy"):
        x = jnp.asarray(X)
        twice = Elementwise("twice_as_much", lambda xp, x: 2 * x, (lambda xp, y, x: 2,))
        try:
            assert facts(lambda x: twice(x), x) is None
            assert facts(lambda x: lax.fori_loop(0, 3, lambda i, c: twice(c), x), x) is None
        finally:
            del PRIMITIVES["twice_as_much"]
        assert facts(lambda x: x + 1, x) is not None


def test_what_others_declare_has_no_name_in_a_module_of_gradkit_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with gradkit.use_backend("numpy"):
        x = jnp.asarray(X)
        thrice = Elementwise("three_times_as_much", lambda xp, x: 3 * x, (lambda xp, y, x: 3,))
        monkeypatch.setattr(jnp, "three_times_as_much", thrice, raising=False)
        try:
            assert facts(lambda x: jnp.three_times_as_much(x), x) is None
        finally:
            del PRIMITIVES["three_times_as_much"]


def test_every_primitive_of_gradkit_has_a_name() -> None:
    PRIMITIVES.load_all()
    ours = [x for x in PRIMITIVES.values() if (x.forward or len).__module__.split(".")[0] in ("gradkit", "builtins")]
    assert len(ours) > 200
    without = [primitive.name for primitive in ours if not kept._is_ours(primitive)]
    assert not without


def test_a_backend_is_named_with_the_sources_of_its_package() -> None:
    writer = kept._Writer(set())
    writer.write(get_backend("numpy"))
    assert writer.packages == {"gradkit_numpy"}


class _Mine(NumpyBackend):
    """A backend that is no package's."""


def test_a_backend_of_a_module_alone_has_no_name() -> None:
    assert kept.facts_of((_Mine(),), (), (), NativePrinter(), box_of_arrays()) is None


def test_names_and_folders_may_be_any_text(tmp_path: Path) -> None:
    writer = kept._Writer(set())
    writer.write(("\ud800", "\ud801"))
    assert len(set(writer.parts)) == 3
    if sys.platform != "linux":
        pytest.skip("other systems have names of files that are text")
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    (Path(os.fsdecode(folder)) / "a.py").write_text("")
    assert b"\xff/a.py" in (kept._state_of([os.fsdecode(folder)], latest=1 << 62) or b"")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")  # of Python, of JAX
def test_a_child_that_is_made_while_another_thread_looks_at_sources_looks_too() -> None:
    with kept._lock:
        child = os.fork()
        if not child:
            code = 1
            try:
                code = int(not kept._lock.acquire(timeout=5))
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0


def test_a_printer_or_backend_of_no_package_has_no_name() -> None:
    with gradkit.use_backend("numpy"):
        x = jnp.asarray(X)
        for module in (__name__, "__main__", "nowhere"):
            printer = type("Printer", (NativePrinter,), {"__module__": module})()
            assert facts(lambda x: x + 1, x, printer=printer) is None


def test_executables_that_are_recalled_take_memory_of_donated_arguments(place: Path, printings: list[Any]) -> None:
    graph = gradkit.make_jaxpr(lambda x, y: (x * y, y + 1))(jnp.asarray(X), jnp.asarray(X)).jaxpr
    donated = []
    for _ in range(2):
        gradkit.clear_caches()
        run = executable_of(graph, [0])
        found = run([jnp.asarray(X.copy()), jnp.asarray(X)])
        np.testing.assert_array_equal(np.asarray(found[0]), X * X)
        donated.append(run.donated)
    assert donated == [(0,), (0,)]
    assert len(printings) == 1
