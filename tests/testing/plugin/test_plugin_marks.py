"""The marks of the plugin."""

from __future__ import annotations

import pytest
from plugin_runs import RECORDS_BACKEND, run


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
        ('skip_backend(reason="?")', "mark skip_backend: expected the names of backends, got (). Write *"),
        ('skip_backend(1, reason="?")', "mark skip_backend: expected the names of backends, got (1,). Write *"),
        ("backends()", 'mark backends: expected the names of backends, got (). Write @pytest.mark.backends("cupy").'),
        ('backends("numpy", because="?")', "mark backends: unknown argument because. Known: reason."),
        ('on_gpu("cupy")', "mark on_gpu: expected no names, got ('cupy',). Write @pytest.mark.on_gpu."),
        (
            'xfail_backend("numppy", reason="?")',
            "mark xfail_backend: Unknown backend 'numppy'. Known: *numpy*. Did you mean 'numpy'?",
        ),
        (
            'skip_backend("on_gpus", reason="?")',
            "mark skip_backend: Unknown backend 'on_gpus'. Known: *on_cpu, on_gpu*. Did you mean 'on_gpu'?",
        ),
        (
            'xfail_backend("strict", reason="?", strict="no")',
            "mark xfail_backend: expected strict to be True or False, got 'no'.",
        ),
        (
            'xfail_backend("strict", reason="?", raises="ValueError")',
            "mark xfail_backend: expected raises to be an exception's class, or a tuple of them, got 'ValueError'. *",
        ),
        (
            'xfail_backend("strict", reason="?", raises=(ValueError, 3))',
            "mark xfail_backend: expected raises to be an exception's class, or a tuple of them, got (<class*, 3). *",
        ),
        ('no_transfer("log")', "mark no_transfer: expected no names, got ('log',). Write @pytest.mark.no_transfer."),
        ('no_transfer(level="log")', "mark no_transfer: unknown argument level. Known: none."),
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
        [
            "@pytest.mark.backends([*]names*",
            "@pytest.mark.skip_backend([*]names, reason)*",
            "@pytest.mark.xfail_backend(*reason*",
        ]
    )


def test_names_variants_and_groups_in_marks(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.backends("numpy", "broken", reason="it counts CPUs")
        def test_only(backend):
            assert backend.name == "numpy"

        @pytest.mark.backends("strict:1")
        def test_variant(device):
            assert device.id == 1

        @pytest.mark.skip_backend("numpy", "strict:1", reason="?")
        def test_several(backend, device):
            assert (backend.name, device.id) == ("strict", 0)

        @pytest.mark.skip_backend("on_cpu", reason="?")
        def test_group(backend):
            raise AssertionError

        @pytest.mark.on_gpu
        def test_on_gpu(backend):
            raise AssertionError

        @pytest.mark.on_cpu
        def test_on_cpu(backend):
            assert backend.platform == "cpu"

        @pytest.mark.xfail_backend("strict", "on_gpu", reason="?", strict=True)
        def test_expected(backend):
            assert backend.name != "strict"
        """,
        "--backend=numpy,strict,strict:1",
        "-rs",
    )
    result.assert_outcomes(passed=1 + 1 + 1 + 0 + 0 + 3 + 1, skipped=2 + 2 + 2 + 3 + 3, xfailed=2)
    result.stdout.fnmatch_lines(["SKIPPED*runs on numpy, broken alone: it counts CPUs"])
    result.stdout.fnmatch_lines(["SKIPPED*runs on on_gpu alone"])


def test_marks_of_another_project_on_tests_without_our_fixtures_are_its_own(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.skip_backend("duckdb")
        @pytest.mark.xfail_backend("duckdb", "sqlite", when="always")
        @pytest.mark.backends({"their": "own"})
        @pytest.mark.on_gpu("with", n=3)
        def test_it():
            pass

        @pytest.fixture
        def backend():
            return "duckdb"

        @pytest.mark.skip_backend("duckdb")
        def test_theirs(backend):
            pass
        """,
    )
    result.assert_outcomes(passed=2)
