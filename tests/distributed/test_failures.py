"""Runs of several processes that fail, are killed or asked to stop: all end, the checkpoint is whole, they go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest
from launched import finish, launch, needs_mpi, start

from gradkit import io

PROGRAM = Path(__file__).with_name("interrupted_program.py")
CHECKPOINT = "checkpoint.safetensors"
COUNT = 2
KILLED_RUNS = int(os.environ.get("GRADKIT_KILLED_RUNS", "6"))
"""How many runs are killed at a random moment, each way; more find rarer faults, at some ten seconds each."""

pytestmark = [needs_mpi, pytest.mark.long]


@pytest.fixture(scope="module", params=["eager", "compiled"])
def how(request):
    """Return how steps are taken, and so what comes out."""
    return request.param


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, how):
    return end_of_a_run(tmp_path_factory.mktemp("undisturbed"), 8, how)


def end_of_a_run(folder, epochs, how):
    ended = launch(COUNT, PROGRAM, folder, "nothing", epochs, how)
    assert ended.status == 0, ended.err
    return (folder / CHECKPOINT).read_bytes()


@pytest.mark.parametrize(
    "what, words",
    [
        ("raise", "RuntimeError: process 1 has a reason of its own"),
        ("kill", "signal 9"),
        ("nan", "NonFiniteLossError: the loss is nan at step 0: data[0][77, 7] is nan"),
    ],
)
def test_all_end_with_the_error_of_the_one_that_failed(what, words, tmp_path, undisturbed, how):
    ended = launch(COUNT, PROGRAM, tmp_path, what, 8, how, timeout=100)
    assert ended.status != 0
    assert words in ended.err
    assert ended.err.count(words) == 1
    assert isinstance(io.load(tmp_path / CHECKPOINT), dict)
    if what != "nan":
        assert end_of_a_run(tmp_path, 8, how) == undisturbed


@pytest.mark.parametrize("what", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_to_one_process_ends_all_after_the_same_step(what, tmp_path, undisturbed, how):
    ended = launch(COUNT, PROGRAM, tmp_path, what, 8, how)
    assert ended.status == 0, ended.err
    assert ended.out.strip() == "interrupted [3, 3]"
    assert launch(COUNT, PROGRAM, tmp_path, "nothing", 8, how).out.strip() == "finished [8, 8]"
    assert (tmp_path / CHECKPOINT).read_bytes() == undisturbed


EPOCHS = 100


@pytest.fixture(scope="module")
def long_undisturbed(tmp_path_factory, how):
    return end_of_a_run(tmp_path_factory.mktemp("long"), EPOCHS, how)


@pytest.mark.parametrize("whom", ["mpiexec", "its group"])
def test_ctrl_c_at_mpiexec_ends_all_after_the_same_step_and_the_run_goes_on(whom, tmp_path, long_undisturbed, how):
    """A terminal sends it to the group of processes in front; mpiexec sends SIGTERM 0.25 s later, and SIGKILL again."""
    run = start(COUNT, PROGRAM, tmp_path, "nothing", EPOCHS, how)
    log = tmp_path / "log.jsonl"
    while run.poll() is None and not (log.exists() and len(log.read_text().splitlines()) >= 3):
        time.sleep(0.01)
    if whom == "mpiexec":
        run.send_signal(signal.SIGINT)
    else:
        os.killpg(run.pid, signal.SIGINT)
    begun = time.monotonic()
    ended = finish(run, timeout=30)
    assert time.monotonic() - begun < 10
    assert ended.status != 0
    last = json.loads(log.read_text().splitlines()[-1])
    assert last["event"] == "interrupted"
    saved = io.load(tmp_path / CHECKPOINT)
    assert saved["optimizer.step"] == last["at_step"] < EPOCHS * 10
    assert end_of_a_run(tmp_path, EPOCHS, how) == long_undisturbed


def test_runs_of_which_one_process_is_killed_go_on_to_the_same_end(tmp_path, undisturbed, how):
    rng = random.Random(0)
    seconds, hung, differ = [], [], []
    for number in range(KILLED_RUNS):
        folder = tmp_path / str(number)
        run = start(COUNT, PROGRAM, folder, "nothing", 8, how)
        if number % 5 == 0:  # while it starts
            victims = wait_for_processes(run)
            time.sleep(rng.uniform(0, 1))
        else:
            wait_for_saves(run, folder / CHECKPOINT, 0)
            victims = processes_of(run.pid)
            wait_for_saves(run, folder / CHECKPOINT, rng.randrange(40))
            time.sleep(rng.uniform(0, 0.01))
        is_killed = run.poll() is None
        if is_killed:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(victims), signal.SIGKILL)
        begin = time.monotonic()
        try:
            ended = finish(run, timeout=30)
        except pytest.fail.Exception as reason:
            hung.append(f"run {number}: {reason}")
            continue
        if is_killed:
            seconds.append(time.monotonic() - begin)
        assert ended.status != 0 or "finished" in ended.out
        again = launch(COUNT, PROGRAM, folder, "nothing", 8, how)
        if again.status != 0 or (folder / CHECKPOINT).read_bytes() != undisturbed:
            differ.append(f"run {number}: {again.status}, {again.err}")
    print(
        f"of {KILLED_RUNS} runs {len(seconds) + len(hung)} had a process killed, {len(hung)} hung, "
        f"{KILLED_RUNS - len(hung) - len(differ)} went on and ended bit for bit; all processes had ended "
        f"{max(seconds):.2f} s after a kill at the latest, {median(seconds):.2f} s in the median"
    )
    assert not hung, "\n".join(hung)
    assert not differ, "\n".join(differ)
    assert max(seconds) < 10
    assert len(seconds) > KILLED_RUNS / 2


def wait_for_processes(run):
    """Wait until all processes of a run are there, and return them."""
    while len(found := processes_of(run.pid)) < COUNT and run.poll() is None:
        time.sleep(0.01)
    return found


def wait_for_saves(run, path, count):
    """Wait until the checkpoint has been written so many times more, or the run is over."""
    seen = set()
    while len(seen) < count + 1 and run.poll() is None:
        with suppress(FileNotFoundError):
            seen.add(path.stat().st_mtime_ns)
        time.sleep(0.001)


def processes_of(pid):
    """Return the processes that mpiexec has started."""
    found = subprocess.run(
        ["ps", "-e", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in found.splitlines()]
    family = {pid}
    for _ in range(3):  # mpiexec may be a process of its own above the one that starts them
        family |= {int(row[0]) for row in rows if int(row[1]) in family}
    return [int(row[0]) for row in rows if int(row[0]) in family and PROGRAM.name in row[2] and "-n " not in row[2]]


def test_a_run_goes_on_with_another_number_of_processes(tmp_path, how):
    assert launch(COUNT, PROGRAM, tmp_path, "SIGUSR1", 8, how).status == 0
    ended = launch(3, PROGRAM, tmp_path, "nothing", 8, how)
    assert ended.out.strip() == "finished [8, 8, 8]", ended.err


def test_the_command_line_trains_in_several_processes_and_one_tells(tmp_path):
    words = ("-m", "gradkit", "train", "digits", "--out", tmp_path / "run", "--epochs", 2, "--hidden", 8)
    ended = launch(COUNT, *words)
    assert ended.status == 0, ended.err
    assert ended.out.count("test accuracy") == 1
    assert "examples/s" in ended.out
    assert (tmp_path / "run" / "model.safetensors").exists()
    wrong = launch(COUNT, *words)
    assert wrong.status != 0
    assert wrong.err.count("holds a finished run") == 1
