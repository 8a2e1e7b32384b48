"""Commands that run in the tests' own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gradkit import cli
from gradkit.backend import switch
from gradkit.train.history import History

Captured = pytest.CaptureFixture[str]

PICTURE = b"\x89PNG, of which most tests see only that it is there"


@pytest.fixture
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no backend have been chosen, by the environment or by a command before."""
    monkeypatch.setattr(switch, "_process_default", None)
    monkeypatch.delenv(switch.ENVIRONMENT_VARIABLE, raising=False)


@pytest.fixture
def curves(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write another file for the picture of the curves, whose drawing takes longer than the training in most tests.

    It gives what draws them.
    """
    drawing = History.plot
    monkeypatch.setattr(History, "plot", lambda self, path, **_: Path(path).write_bytes(PICTURE))
    return drawing


@pytest.fixture
def command(capsys: Captured) -> Any:
    """Run a command in this process, which has to succeed, and return what it printed."""

    def run(*words: object) -> str:
        status = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        assert not captured.err
        return captured.out

    return run


@pytest.fixture
def refusal(capsys: Captured) -> Any:
    """Run a command in this process, which has to refuse what it is given in a line, and return the line."""

    def run(*words: object) -> str:
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as end:  # argparse's own
            status = end.code  # type: ignore[assignment]
        captured = capsys.readouterr()
        assert status == 2, captured.out
        assert "Traceback" not in captured.err
        return captured.err.splitlines()[-1]

    return run
