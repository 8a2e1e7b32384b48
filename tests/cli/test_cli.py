"""The command line: what `gradkit info` says, and with which status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest

from gradkit import cli
from gradkit.backend import backend_names, load_backend, switch, why_not

pytestmark = pytest.mark.usefixtures("nothing_chosen")


def info(capsys: pytest.CaptureFixture[str], status: int = 0) -> Any:
    assert cli.main(["info"]) == status
    return capsys.readouterr()


def test_info_tells_of_each_backend_whether_it_runs_or_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    out = info(capsys).out
    for name in backend_names():
        backend = load_backend(name)
        reason = why_not(backend)
        if reason is None:
            assert f"{name}: can run here\n" in out
            for device in backend.devices:
                assert re.search(rf"  device    {device}  {device.platform}  \S", out)
            for library, number in backend.versions().items():
                assert f"  version   {library} {number}\n" in out
        else:
            assert f"{name}: cannot run here\n  reason    {reason}\n" in out


def test_info_tells_the_versions_of_gradkit_and_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    out = info(capsys).out
    assert out.startswith(f"gradkit {version('gradkit')}, Python {sys.version.split()[0]}, ")
    for name in ("numpy", "optree", "array-api-compat"):
        assert f"{name} {version(name)}" in out


def test_info_tells_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert info(capsys).out.endswith(
        "in use: numpy (the default; GRADKIT_BACKEND=auto takes a GPU where one can be used)\n"
    )


def test_info_tells_what_the_environment_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_BACKEND", "strict")
    assert info(capsys).out.endswith("in use: strict (GRADKIT_BACKEND=strict)\n")


def test_info_tells_what_auto_took(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADKIT_BACKEND", "auto")
    taken = switch.get_backend("auto").name
    assert info(capsys).out.endswith(
        f"in use: {taken} (GRADKIT_BACKEND=auto: the first backend with a usable GPU, else numpy)\n"
    )


def test_info_fails_where_the_environment_asks_for_what_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADKIT_BACKEND", "nunpy")
    captured = info(capsys, status=2)
    assert "numpy: can run here" in captured.out
    assert captured.err == (
        f"in use: none. GRADKIT_BACKEND=nunpy: Unknown backend 'nunpy'. Known: auto, {', '.join(backend_names())}. "
        f"Did you mean 'numpy'?\n"
    )


@pytest.mark.parametrize("words, message", [([], "required"), (["inof"], "invalid choice: 'inof'")])
def test_wrong_words_end_with_status_2_and_the_usage(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: gradkit")
    assert message in error


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"gradkit {version('gradkit')}\n"


def test_python_m_gradkit_is_the_same_command() -> None:
    environment = {**os.environ, "GRADKIT_BACKEND": "strict"}
    done = subprocess.run(
        [sys.executable, "-m", "gradkit", "info"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("in use: strict (GRADKIT_BACKEND=strict)\n")
