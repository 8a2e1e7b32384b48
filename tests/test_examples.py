"""The examples, each run as a process, as a person runs it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MNIST = Path(os.environ.get("GRADKIT_MNIST", ROOT.parent / "shared" / "data"))

BACKENDS = ("numpy", "strict")
"""A GPU runs the same text; `python examples/digits.py --backend cupy` is for a person who has one."""


def command(example: str, *options: object) -> list[str]:
    return [sys.executable, str(ROOT / "examples" / example), *map(str, options)]


def run(example: str, *options: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(example, *options), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loop_of_the_lecture_falls_below_a_hundredth(backend: str) -> None:
    last = run("lecture.py", "--backend", backend).stdout.splitlines()[-1]
    assert float(last.split("loss")[1].split()[0]) <= 0.01


def test_the_lecture_says_so_when_the_steps_do_not_suffice() -> None:
    assert "not below 0.01 after 3 steps" in run("lecture.py", "--steps", 3, status=1).stderr


def test_digits_reaches_97_percent_and_the_same_accuracy_on_every_backend(tmp_path: Path) -> None:
    last = {}
    for backend in BACKENDS:
        out = tmp_path / backend
        last[backend] = run("digits.py", "--backend", backend, "--out", out).stdout.splitlines()[-1]
        assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
        assert (out / "checkpoint.safetensors").is_file()
    assert len(set(last.values())) == 1
    accuracy = float(last["numpy"].removeprefix("test accuracy ").split("%")[0])
    assert accuracy >= 97


def test_digits_killed_and_resumed_ends_bit_for_bit_where_an_undisturbed_run_does(tmp_path: Path) -> None:
    options = ("--epochs", 8, "--save-every", 5)
    run("digits.py", *options, "--out", tmp_path / "whole")
    interrupted = (*options, "--out", tmp_path / "interrupted", "--resume")
    checkpoint = tmp_path / "interrupted" / "checkpoint.safetensors"
    choose = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            command("digits.py", *interrupted), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Not before it has written something new, so that every round gets further.
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.001)
        time.sleep(choose.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    run("digits.py", *interrupted)
    assert checkpoint.read_bytes() == (tmp_path / "whole" / "checkpoint.safetensors").read_bytes()


def test_a_run_is_not_resumed_with_other_options(tmp_path: Path) -> None:
    run("digits.py", "--epochs", 1, "--out", tmp_path)
    done = run("digits.py", "--epochs", 2, "--out", tmp_path, "--resume", status=1)
    assert "--epochs 1, this one has --epochs 2" in done.stderr


def test_a_loss_that_is_nan_stops_with_the_step_and_the_checkpoint(tmp_path: Path) -> None:
    done = run("digits.py", "--learning-rate", "1e30", "--epochs", 1, "--out", tmp_path, "--save-every", 1, status=1)
    message = done.stderr.splitlines()[-1]
    assert "NonFiniteLossError" in message
    assert "at step" in message
    assert str(tmp_path / "checkpoint.safetensors") in message


def test_an_unknown_backend_lists_the_known_ones(tmp_path: Path) -> None:
    message = run("digits.py", "--backend", "nunpy", "--out", tmp_path, status=1).stderr.splitlines()[-1]
    assert "Unknown backend 'nunpy'" in message
    assert "Did you mean 'numpy'?" in message


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.is_dir(), reason=f"MNIST's files are not in {MNIST} (GRADKIT_MNIST says where)")
def test_mnist_trains_and_resumes(tmp_path: Path) -> None:
    done = run("mnist.py", MNIST, "--epochs", 1, "--hidden", 100, "--out", tmp_path)
    assert float(done.stdout.split("test error ")[1].split("%")[0]) < 6
    assert "test error" in run("mnist.py", MNIST, "--epochs", 1, "--hidden", 100, "--out", tmp_path, "--resume").stdout


def test_a_folder_without_mnist_names_what_is_missing(tmp_path: Path) -> None:
    message = run("mnist.py", tmp_path, "--out", tmp_path / "out", status=1).stderr.splitlines()[-1]
    assert "train-images-idx3-ubyte" in message
