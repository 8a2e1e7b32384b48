"""data-apis/array-api-tests on gradkit.numpy on each backend, and beside it on NumPy, with the same list of failures.

    git clone --recurse-submodules https://github.com/data-apis/array-api-tests
    pip install -r array-api-tests/requirements.txt
    python tests/array_api/run.py array-api-tests

The exit status is 1 if a test fails that is not in xfails.txt. New numbers are 64-bit in these runs, as the standard's
examples have them, and items are assignable, since the standard's arrays are mutable (`gradkit.item_assignment`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

XFAILS = Path(__file__).with_name("xfails.txt")
GRADKIT = {"ARRAY_API_TESTS_MODULE": "gradkit.numpy", "GRADKIT_ENABLE_X64": "1", "GRADKIT_ITEM_ASSIGNMENT": "1"}
RUNS = {
    "gradkit.numpy on numpy": {**GRADKIT, "GRADKIT_BACKEND": "numpy"},
    "gradkit.numpy on strict": {**GRADKIT, "GRADKIT_BACKEND": "strict"},
    "array_api_compat.numpy": {"ARRAY_API_TESTS_MODULE": "array_api_compat.numpy"},
}


def run(suite: Path, environment: dict[str, str], options: list[str]) -> tuple[bool, str]:
    """Run the suite, and return whether all is as expected, and its output."""
    command = [sys.executable, "-m", "pytest", "array_api_tests", "-q", "-W", "ignore", "-p", "no:cacheprovider"]
    command += ["--disable-deadline", f"--xfails-file={XFAILS}", *options]
    done = subprocess.run(command, cwd=suite, env={**os.environ, **environment}, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path, help="a checkout of array-api-tests, with its submodule")
    parser.add_argument("--max-examples", default="100", help="how many arguments each test tries")
    arguments, options = parser.parse_known_args()
    well = True
    for name, environment in RUNS.items():
        passed, output = run(arguments.suite, environment, [f"--max-examples={arguments.max_examples}", *options])
        if name.startswith("gradkit"):
            well &= passed
        lines = output.rstrip().splitlines()
        print(f"{name}: {lines[-1] if lines else 'no output'}")
        print("".join(f"    {line}\n" for line in lines if line.startswith("FAILED")), end="", flush=True)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
