"""What the plugin tells: header, table, report."""

from __future__ import annotations

import json

import numpy as np
import pytest
from plugin_runs import REASON, run

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
    # A worker is a process of its own, with the real backends.
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n1", "--backend=numpy,strict")
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


def test_the_header_says_what_tests_run_on(pytester: pytest.Pytester) -> None:
    result = run(pytester, EVERY_OUTCOME, "--backend=numpy,strict:1,broken")
    result.stdout.fnmatch_lines(["gradkit: numpy (numpy *), strict:1 (array_api_strict *); broken cannot run"])
    result = run(pytester, EVERY_OUTCOME)
    result.stdout.fnmatch_lines(["gradkit: backends that can run here (--backend names others)"])


def test_the_table_gives_reasons(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.skip_backend("numpy", reason="the most frequent")
        @pytest.mark.parametrize("n", range(3))
        def test_skipped(backend, n):
            pass

        @pytest.mark.parametrize("n", range(4))
        def test_others(backend, n):
            if backend.name == "numpy":
                pytest.skip(f"reason {n}")

        @pytest.mark.xfail_backend("strict", reason="a known bug")
        def test_expected(backend):
            assert backend.name == "numpy"
        """,
    )
    result.stdout.fnmatch_lines(
        [
            "numpy    skipped 3: the most frequent",
            "numpy    skipped 1: reason 0",
            "numpy    skipped 1: reason 1",
            "numpy    skipped 2: 2 other reasons (-rs lists them)",
            "strict   xfailed 1: a known bug",
        ],
        consecutive=True,
    )


def test_the_report_is_a_file(pytester: pytest.Pytester) -> None:
    run(pytester, EVERY_OUTCOME, "--backend-report=report.json", "--backend=numpy,strict,broken")
    (pytester.path / "report.json").rename(pytester.path / "in_one.json")
    in_one = json.loads((pytester.path / "in_one.json").read_text())["backends"]
    assert set(in_one) == {"numpy", "strict", "broken"}
    assert {key: in_one["strict"][key] for key in ("passed", "failed", "errors", "skipped", "xfailed", "xpassed")} == {
        "passed": 2,
        "failed": 1,
        "errors": 1,
        "skipped": 0,
        "xfailed": 1,
        "xpassed": 0,
    }
    assert in_one["broken"]["can run"] is False
    assert REASON in in_one["broken"]["reason"]
    assert in_one["numpy"]["versions"]["numpy"] == np.__version__
    (failed,) = [test for test in in_one["strict"]["tests"] if test["outcome"] == "failed"]
    assert failed["test"].endswith("test_fails_on_strict[strict]")
    assert "AssertionError" in failed["reason"]
    assert not [path for path in pytester.path.iterdir() if path.name.startswith("report.json.")]


def test_a_report_into_a_folder_that_is_not_there_is_refused_before_the_tests(pytester: pytest.Pytester) -> None:
    result = run(pytester, EVERY_OUTCOME, "--backend-report=none/report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--backend-report=none/report.json: the folder is not there. Make it first."])
