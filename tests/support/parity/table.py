"""Write docs/parity.md: for each differentiable function, whether its results are JAX's."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

# A third of JAX's time here is that of LLVM's optimizations, of code that runs once.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
from parity.cases import CASES, DIFFERENT, WITHOUT_JAX
from parity.measure import MEASURES, TOLERANCE, difference

import gradkit

PAGE = Path(__file__).resolve().parents[3] / "docs" / "parity.md"


def main() -> None:
    """Compute the table and write it."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows, equal, total = [], 0, 0
    for case in CASES:
        cells = []
        for measure in MEASURES:
            if (case.name, measure) in WITHOUT_JAX:
                cells.append("not in JAX")
                continue
            total += 1
            found = difference(case, measure)
            equal += found is None
            if found is not None:
                print(f"{case.name}, {measure}: {found}", flush=True)
            cells.append("equal" if found is None else "**different**")
        rows.append(f"| `{case.name}` | {' | '.join(cells)} |")
    reasons = [f"- `{name}`, {measure}: {why}." for (name, measure), why in (DIFFERENT | WITHOUT_JAX).items()]
    PAGE.write_text(
        "\n".join(
            [
                "# Parity with JAX",
                "",
                f"{equal} of {total} results of {len(CASES)} calls are JAX's, to {TOLERANCE:g} in float64: gradkit "
                f"{gradkit.__version__} on NumPy against JAX {jax.__version__} on the CPU.",
                "`tests/jax/test_parity.py` computes "
                "them anew at every run; `python tests/support/parity/table.py` writes this page.",
                "",
                '"second order" is the gradient of half the squared gradient; "vmap" runs the function on a batch.',
                "",
                f"| function | {' | '.join(MEASURES)} |",
                f"| :-- |{' :-- |' * len(MEASURES)}",
                *rows,
                *(["", "What differs, and why:", "", *reasons] if reasons else []),
                "",
            ]
        )
    )
    print(f"{equal} of {total} equal")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
