"""Tests that let nothing cross between host and device."""

from __future__ import annotations

import pytest
from plugin_runs import run

CROSSES = """
    import threading

    import numpy as np
    import pytest

    import gradkit

    @pytest.fixture
    def x(xp):
        return xp.asarray([1.0, 2.0])

    @pytest.mark.no_transfer
    def test_marked(x):
        float(x[0])

    def test_fixture(x, no_transfer):
        np.asarray(x)

    def test_neither(x):
        float(x[0])

    def test_after_it(x):
        x.tolist()

    @pytest.mark.no_transfer
    def test_asked_for(x):
        assert gradkit.device_get(2 * x).tolist() == [2.0, 4.0]
        with gradkit.transfer_guard("allow"):
            assert float(x[0]) == 1.0

    @pytest.mark.no_transfer
    def test_in_a_thread(x):
        errors = []

        def run():
            try:
                print(x)
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert not errors, errors
"""


def test_what_crosses_fails_on_a_device_that_counts_as_a_gpu(pytester: pytest.Pytester) -> None:
    result = run(pytester, CROSSES, "--backend=numpy,strict,strict:1")
    result.assert_outcomes(passed=6 + 6 + 3, failed=3)
    result.stdout.fnmatch_lines(
        ["*Disallowed device-to-host transfer: float32?? on strict:1, for the `float` function, at *.py:14.*"]
    )
    result.stdout.fnmatch_lines(
        ["*Disallowed device-to-host transfer: float32?2? on strict:1, for the __array__() method, at *.py:17.*"]
    )


def test_the_mark_of_a_test_without_our_fixtures_means_nothing(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        import gradkit

        @pytest.mark.no_transfer
        def test_it():
            x = gradkit.device_put([1.0], gradkit.devices("strict")[1])
            float(x[0])
        """,
    )
    result.assert_outcomes(passed=1)
