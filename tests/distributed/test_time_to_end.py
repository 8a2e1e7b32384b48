"""One process fails at some moment: how long it takes until all have ended, and whether they say why."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from launched import launch, needs_mpi

from gradkit import io

PROGRAM = Path(__file__).with_name("failing_program.py")
MOMENTS = [("step", 1), ("step", 0), ("collective", 1), ("loading", 1), ("saving", 0)]
"""Moments at which a process fails, and which process does; process 0 alone saves."""
RARER = [("writing", 0), ("callback", 1), ("loop", 1)]
CASES = [
    *((way, *moment, how) for way in ("raise", "kill", "exit") for moment in MOMENTS for how in ("eager", "compiled")),
    *(("kill", *moment, how) for moment in RARER for how in ("eager", "compiled")),
    *((way, *moment, "compiled") for way in ("raise", "exit") for moment in RARER),
    *((way, "compiling", 1, "compiled") for way in ("kill", "exit")),  # after an error steps are interpreted
    *(("nan", moment, 0, how) for moment in ("step", "validating") for how in ("eager", "compiled")),
]
WORDS = {
    "raise": ["gradkit: process {process} of 2 has failed", "a reason of its own"],
    "kill": ["signal 9"],
    "exit": ["process {process} of 2 has ended, while process"],
    "nan": ["NonFiniteLossError: the", "loss is nan at step"],
}

pytestmark = [needs_mpi, pytest.mark.long]


@pytest.mark.parametrize("way, moment, process, how", CASES)
def test_all_have_ended_ten_seconds_after_one_failed_and_say_why(way, moment, process, how, tmp_path):
    ended = launch(2, PROGRAM, tmp_path, way, moment, process, how)
    seconds = time.time() - float((tmp_path / "failed").read_text())
    print(f"{way} in {moment}, process {process}, {how}: {seconds:.2f} s")
    assert seconds < 10
    assert ended.status != 0
    if (tmp_path / "run" / "checkpoint.safetensors").exists():
        assert isinstance(io.load(tmp_path / "run" / "checkpoint.safetensors"), dict)
    for words in WORDS[way]:
        assert words.format(process=process) in ended.err
    assert ended.err.count("Traceback") <= (1 if way == "nan" else 2)  # an error of all is told by one
