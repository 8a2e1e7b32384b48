"""The pytest plugin, by running pytest on small test files."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

import gradkit.backend
from gradkit.backend import Backend

REASON = "the driver is on holiday"


class Broken(Backend):
    """A backend that every machine has and none can run."""

    name: ClassVar[str] = "broken"
    library: ClassVar[str] = "math"
    install: ClassVar[str] = "pip install holiday"

    @property
    def array_types(self) -> tuple[type, ...]:
        return ()

    def why_unusable(self) -> str | None:
        return REASON


@pytest.fixture(autouse=True)
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs inside this process find the broken backend, and no real one that may or may not run here."""
    known = gradkit.backend.registry._entry_points()
    entries = {name: entry for name, entry in known.items() if name in ("numpy", "strict")}
    for name in known.keys() - entries.keys():
        monkeypatch.delitem(gradkit.backend.registry._loaded, name, raising=False)
    monkeypatch.setattr(gradkit.backend.registry, "_entry_points", lambda: entries)
    monkeypatch.setitem(gradkit.backend.registry._loaded, "broken", Broken())


def run(pytester: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


RECORDS_BACKEND = """
    from gradkit.backend import current_backend

    def test_it(backend):
        assert current_backend() is backend
"""


# Which backends run


def test_default_is_every_backend_that_can_run(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it?numpy? PASSED*", "*test_it?strict? PASSED*"])
    result.stdout.fnmatch_lines(["broken *not run:*the driver is on holiday*"])


def test_all_skips_what_cannot_run_with_its_own_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--backend=all", "-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*{REASON}*"])


class Numbers(Broken):
    """A backend whose arrays have no axes."""

    name: ClassVar[str] = "numbers"
    has_axes: ClassVar[bool] = False

    def why_unusable(self) -> None:
        return None


@pytest.mark.parametrize(
    "options, passed", [((), 2), (("--backend=available",), 2), (("--backend=all",), 2), (("--backend=numbers",), 1)]
)
def test_a_backend_without_axes_runs_where_it_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], passed: int
) -> None:
    monkeypatch.setitem(gradkit.backend.registry._loaded, "numbers", Numbers())
    assert run(pytester, RECORDS_BACKEND, *options).parseoutcomes()["passed"] == passed


@pytest.mark.parametrize(
    "option, names",
    [("numpy", ["numpy"]), ("strict,numpy", ["strict", "numpy"]), (" numpy , numpy,", ["numpy"])],
)
def test_named_backends_run_once_each_in_their_order(pytester: pytest.Pytester, option: str, names: list[str]) -> None:
    result = run(pytester, RECORDS_BACKEND, f"--backend={option}", "-v")
    result.assert_outcomes(passed=len(names))
    result.stdout.fnmatch_lines([f"*test_it?{name}? PASSED*" for name in names])


def test_named_backend_that_cannot_run_is_skipped_with_its_own_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--backend=broken", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*The backend 'broken' cannot run on this machine: {REASON}*"])


def test_unknown_backend_is_a_usage_error_with_the_nearest_name(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_without_arrays(): pass", "--backend=strct")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--backend: Unknown backend 'strct'. Known: *numpy*. Did you mean 'strict'?"])


def test_no_backend_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--backend=,")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--backend=,: no backend is named. Give names*"])


# The fixtures


def test_xp_is_gradkit_numpy_on_each_backend(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import gradkit.numpy

        def test_it(xp, backend):
            assert xp is gradkit.numpy
            assert xp.ones(2).device.backend == backend.name
        """,
    )
    result.assert_outcomes(passed=2)


def test_backend_is_current_in_fixtures_of_module_scope_and_not_after_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from gradkit.backend import current_backend

        @pytest.fixture(scope="module")
        def made_with(backend):
            return current_backend()

        def test_with(backend, made_with):
            assert made_with is backend

        def test_without():
            assert current_backend().name == "numpy"
        """,
        "--backend=strict",
    )
    result.assert_outcomes(passed=2)


def test_hypothesis_accepts_the_fixtures(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from hypothesis import given, strategies as st

        @given(n=st.integers())
        def test_it(n, backend):
            assert isinstance(n, int)
        """,
        "-p",
        "no:hypothesispytest.statistics",
    )
    result.assert_outcomes(passed=2)


def test_a_projects_own_fixture_wins(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.fixture
        def backend():
            return "theirs"

        def test_fixture(backend):
            assert backend == "theirs"

        @pytest.mark.parametrize("xp", ["theirs"])
        def test_parameter(xp):
            assert xp == "theirs"
        """,
        "-v",
    )
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("=* backends =*")


def test_a_projects_own_option_wins(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser): parser.addoption('--backend', default='theirs')")
    result = run(
        pytester,
        """
        def test_it(request, backend):
            assert request.config.getoption("--backend") == "their own"
        """,
        "--backend=their own",
    )
    result.assert_outcomes(passed=2)


def test_a_projects_own_option_in_a_group_wins(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser): parser.getgroup('theirs').addoption('--backend')")
    run(
        pytester, "def test_it(request): assert request.config.getoption('--backend') == 'x'", "--backend=x"
    ).assert_outcomes(passed=1)


# The marks


def test_skip_backend_skips_that_backend_alone(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.skip_backend("strict", reason="not in the standard")
        def test_it(backend):
            assert backend.name == "numpy"
        """,
        "-rs",
    )
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*not in the standard"])


def test_xfail_backend_expects_the_failure_on_that_backend_alone(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.xfail_backend("strict", reason="a known bug", raises=AssertionError, strict=True)
        def test_it(backend):
            assert backend.name == "numpy"

        @pytest.mark.xfail_backend("strict", reason="mended by now", strict=True)
        def test_mended(backend):
            pass
        """,
        "-rx",
    )
    result.assert_outcomes(passed=2, xfailed=1, failed=1)
    result.stdout.fnmatch_lines(["XFAIL*a known bug*"])


def test_marks_on_a_parameter_and_on_a_class_count(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.skip_backend("numpy", reason="of the class")
        class TestIt:
            @pytest.mark.parametrize(
                "n", [1, pytest.param(2, marks=pytest.mark.skip_backend("strict", reason="of the parameter"))]
            )
            def test_it(self, backend, n):
                assert (backend.name, n) == ("strict", 1)
        """,
    )
    result.assert_outcomes(passed=1, skipped=3)


@pytest.mark.parametrize(
    "mark, complaint",
    [
        ('skip_backend("strict")', "mark skip_backend: expected a reason, got None. Say why: *"),
        ('skip_backend("strict", reason="  ")', "mark skip_backend: expected a reason, got '  '. Say why: *"),
        ('xfail_backend("strict", strict=True)', "mark xfail_backend: expected a reason, got None. Say why: *"),
        ('skip_backend(reason="?")', "mark skip_backend: expected the name of one backend, got (). Write *"),
        ('skip_backend("strict", "numpy", reason="?")', "mark skip_backend: expected the name of one backend, got *"),
        (
            'xfail_backend("numppy", reason="?")',
            "mark xfail_backend: Unknown backend 'numppy'. Known: broken, numpy, strict. Did you mean 'numpy'?",
        ),
        (
            'skip_backend("strict", reason="?", strict=True)',
            "mark skip_backend: unknown argument strict. Known: reason.",
        ),
    ],
)
def test_a_mark_that_is_not_complete_is_a_usage_error(pytester: pytest.Pytester, mark: str, complaint: str) -> None:
    result = run(pytester, f"import pytest\n\n@pytest.mark.{mark}\ndef test_it(backend): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *.py::test_it*: {complaint.replace('[', '[[]')}"])


def test_marks_are_declared(pytester: pytest.Pytester) -> None:
    result = run(pytester, RECORDS_BACKEND, "--markers")
    result.stdout.fnmatch_lines(
        ["@pytest.mark.skip_backend(name, [*], reason)*", "@pytest.mark.xfail_backend(*reason*"]
    )


# The closing table

EVERY_OUTCOME = """
    import pytest

    def test_passes(backend):
        pass

    def test_fails_on_strict(backend):
        assert backend.name == "numpy"

    @pytest.fixture
    def breaks(backend):
        assert backend.name == "numpy"

    def test_cannot_start_on_strict(breaks):
        pass

    @pytest.mark.skip_backend("numpy", reason="?")
    def test_skipped(backend):
        pass

    @pytest.mark.xfail_backend("strict", reason="?")
    @pytest.mark.xfail_backend("numpy", reason="?", strict=False)
    def test_expected(backend):
        assert backend.name == "numpy"

    def test_without_arrays():
        pass
"""
TABLE = [
    "backend  passed  failed  errors  skipped  xfailed  xpassed",
    "numpy         3       0       0        1        0        1",
    "strict        2       1       1        0        1        0",
    "broken   not run: The backend 'broken' cannot run on this machine: the driver is on holiday*",
]


def test_table_counts_outcomes_by_backend(pytester: pytest.Pytester) -> None:
    result = run(pytester, EVERY_OUTCOME)
    result.assert_outcomes(passed=6, failed=1, errors=1, skipped=1, xfailed=1, xpassed=1)
    result.stdout.fnmatch_lines(TABLE, consecutive=True)


def test_table_is_the_same_under_xdist(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(EVERY_OUTCOME)
    # The workers are processes of their own, with the real backends.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n2", "--backend=numpy,strict")
    result.assert_outcomes(passed=6, failed=1, errors=1, skipped=1, xfailed=1, xpassed=1)
    result.stdout.fnmatch_lines(TABLE[:3], consecutive=True)


def test_usage_error_in_a_mark_reaches_the_reader_under_xdist(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile("import pytest\n\n@pytest.mark.skip_backend('strict')\ndef test_it(backend): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*test_it*: mark skip_backend: expected a reason, got None. Say why: *"])


def test_no_table_without_tests_on_backends(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_without_arrays(): pass")
    result.stdout.no_fnmatch_line("=* backends =*")


# What it costs


def test_projects_without_the_fixtures_do_not_import_an_array_library(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert not {"numpy", "cupy", "array_api_compat", "optree", "gradkit.backend"} & sys.modules.keys()
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_numpy_arrays_of_the_host_reach_each_backend(backend: Backend) -> None:
    host = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(backend.to_host(backend.from_host(host)), host)
