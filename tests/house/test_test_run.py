"""The run of this suite: what its conftest.py gives every test, by running pytest on small test files."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jax
import pytest
import references

import gradkit.lax  # all primitives: what is loaded while a Pytester runs is forgotten, and declared once more
import gradkit.numpy
import gradkit.testing.variants  # noqa: F401

TESTS = Path(__file__).parents[1]
CONFTEST = TESTS.parent / "conftest.py"

SHORT_AND_LONG = """
    import pytest

    def test_a(): pass

    @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)])
    def test_b(n): pass
"""


@pytest.fixture(autouse=True)
def as_in_this_suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GRADKIT_REFERENCES", "read")
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini(f"[pytest]\nmarkers =\n  long\n  dealt\npythonpath = {TESTS / 'support'}\n")
    before = hypothesis.settings.get_current_profile_name()
    yield
    hypothesis.settings.load_profile(before)  # a run in this process loads its own


BOTH = ("--backend=numpy,strict",)


@pytest.mark.parametrize(
    "options, passed, left_out",
    [
        ((), 2, 2),
        (("--long",), 4, 0),
        (("--long", "-m", "long"), 2, 0),
        (("test_it.py::test_b[2]",), 1, 0),
        (("-n1",), 2, 2),
        (("-n1", "--long"), 4, 0),
    ],
)
def test_long_tests_run_where_they_are_asked_for(
    options: tuple[str, ...], passed: int, left_out: int, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_it=SHORT_AND_LONG)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=passed)
    said = "*long tests were left out*"
    if left_out:
        result.stdout.fnmatch_lines([f"{left_out} long tests were left out: --long runs them as well"])
    else:
        result.stdout.no_fnmatch_line(said)


DEALT = """
    import pytest

    @pytest.mark.dealt("name", "dtype")
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("name, kind", [("a", 1), ("a", 2), ("b", 1)])
    def test_it(name, kind, dtype, backend): print(f"{name}, {dtype}, {backend.name};")
"""


@pytest.mark.parametrize(
    "options, passed, left_out",
    [
        ((), 12, 6),
        (("-m", "long", "--long", *BOTH), 6, 0),
        (("--long", *BOTH), 18, 0),
        (("--backend=strict",), 9, 0),
    ],
)
def test_cases_are_dealt_to_the_backends(
    options: tuple[str, ...], passed: int, left_out: int, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_it=DEALT)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-s", *(options or BOTH))
    result.assert_outcomes(passed=passed)
    said = result.stdout.str()
    assert (f"{left_out} long tests were left out" in said) == bool(left_out)
    if not options:
        cases = re.findall(r"(\w), (\w+), (\w+);", said)
        for backend in ("numpy", "strict"):
            assert {name for name, _, its in cases if its == backend} == {"a", "b"}
            assert {dtype for _, dtype, its in cases if its == backend} == {"float16", "float32", "float64"}


DEALT_WITHOUT_BACKENDS = """
    import pytest

    @pytest.mark.dealt("name", "dtype", "way")
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("name", ["a", "b", "c"])
    @pytest.mark.parametrize("way", [1, 2])
    def test_it(name, dtype, way): print(f"{name}, {dtype}, {way};")
"""


@pytest.mark.parametrize("options, passed", [((), 6), (("--backend=strict",), 6), (("--long",), 12)])
def test_of_cases_that_take_no_backend_every_other_one_is_long(
    options: tuple[str, ...], passed: int, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_it=DEALT_WITHOUT_BACKENDS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-s", *options)
    result.assert_outcomes(passed=passed)
    cases = re.findall(r"(\w), (\w+), (\d);", result.stdout.str())
    for one, other in ((0, 1), (0, 2)):
        assert len({(case[one], case[other]) for case in cases}) == 6


EXAMPLES = """
    from hypothesis import given, strategies

    calls = []

    @given(strategies.integers())
    def test_a(n): calls.append(n)

    def test_b(): print(f"{len(calls)} inputs")
"""


@pytest.mark.parametrize("options, number", [((), 20), (("--long",), 100)])
def test_random_inputs_are_more_in_a_long_run(options: tuple[str, ...], number: int, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(EXAMPLES)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-s", *options)
    result.stdout.fnmatch_lines([f"*{number} inputs*"])


INTERRUPTS = """
    import signal, subprocess, sys
    import pytest

    def test_it():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    def test_a_child():
        code = "import signal; signal.raise_signal(signal.SIGINT); print('went on')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "KeyboardInterrupt" in done.stderr and not done.stdout
"""


@pytest.mark.parametrize("processes", [(), ("-n1",)])
def test_tests_of_ctrl_c_pass_in_the_background(processes: tuple[str, ...], pytester: pytest.Pytester) -> None:
    pytester.makepyfile(INTERRUPTS)
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts `pytest &`
    try:
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *processes)
    finally:
        signal.signal(signal.SIGINT, previous)
    result.assert_outcomes(passed=2)


REFERENCES = """
    import pytest
    from references import kept

    def result(n): return [n]

    @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.long)])
    def test_it(n): kept(result, n)
"""


@pytest.mark.parametrize(
    "options, whole", [((), False), (("--long",), True), (("--long", "test_it.py::test_it"), False)]
)
def test_references_of_a_part_of_a_file_leave_the_others_in_place(
    options: tuple[str, ...], whole: bool, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(test_it=REFERENCES)
    asked: list[bool] = []
    for name in ("_asked", "_missing"):
        monkeypatch.setattr(references, name, {})
    monkeypatch.setattr(references, "write", lambda is_whole: asked.append(is_whole("test_it")))
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "--keep-references", *options)
    assert asked == [whole]


def test_files_that_are_imported_by_their_bare_names_have_different_names() -> None:
    """Tests, what they share and the benchmarks that they import stand in one process, which has a module of a name."""
    files = [*(TESTS.parent / "benchmarks").glob("*.py"), *TESTS.rglob("*.py")]
    apart = {"foreign", "cuda_on_cpu", "parity", "others"}  # packages, and what runs as a process
    names = [file.stem for file in files if not apart & set(file.parts)]
    twice = {name for name, count in Counter(names).items() if count > 1}
    assert twice <= {"conftest", "__init__"}


@pytest.mark.skipif(not jax.__version__.startswith("0.10."), reason="another version of JAX may not have it")
def test_programs_of_jax_have_one_context_but_for_those_that_are_needed_to_make_others() -> None:
    def context_of(function: Callable[..., Any]) -> Any:
        return jax.jit(function).lower(1.0).compiler_ir().context

    shared = context_of(lambda x: x + 1)
    assert context_of(lambda x: x * 2) is shared
    with shared:
        assert context_of(lambda x: x - 3) is not shared
