"""What came of tests on each backend, and why, for the pytest plugin's closing table and its file."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gradkit.testing.variants import Variant

__all__ = ["table", "write_report"]

COLUMNS = {
    "passed": "passed",
    "failed": "failed",
    "error": "errors",
    "skipped": "skipped",
    "xfailed": "xfailed",
    "xpassed": "xpassed",
}
"""The categories of pytest's terminal reporter, and their headings here."""

MOST_REASONS = 3
"""How many reasons the table tells of a backend; the file of ``--backend-report`` has all."""
Outcomes = dict[str, dict[str, list[Any]]]
"""The reports by backend and category."""


def table(outcomes: Outcomes, reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a table of what came of the tests on each backend.

    Parameters
    ----------
    outcomes : dict
        The reports by backend and category.
    reasons : dict
        Why the backends that cannot run cannot.
    """
    width = max(map(len, ["backend", *reasons, *outcomes]))
    yield "  ".join(["backend".ljust(width), *COLUMNS.values()])
    for name in sorted(outcomes):
        cells = (
            str(len(outcomes[name].get(category, ()))).rjust(len(heading)) for category, heading in COLUMNS.items()
        )
        yield "  ".join([name.ljust(width), *cells])
    for name, reason in sorted(reasons.items()):
        yield f"{name.ljust(width)}  {'skipped' if name in outcomes else 'not run'}: {reason}"
    for name in sorted(outcomes.keys() - reasons.keys()):
        for line in told(outcomes[name]):
            yield f"{name.ljust(width)}  {line}"


def told(outcomes: dict[str, list[Any]]) -> Iterator[str]:
    """Yield the most frequent reasons for which tests were skipped, or expected to fail."""
    for category, heading in {"skipped": "skipped", "xfailed": "xfailed"}.items():
        reasons = Counter(reason_of(report) for report in outcomes.get(category, ()))
        for reason, number in reasons.most_common(MOST_REASONS):
            yield f"{heading} {number}: {reason}"
        if len(reasons) > MOST_REASONS:
            rest = sum(reasons.values()) - sum(number for _, number in reasons.most_common(MOST_REASONS))
            yield f"{heading} {rest}: {len(reasons) - MOST_REASONS} other reasons (-rs lists them)"


def reason_of(report: Any) -> str:
    """Return why a test was skipped, expected to fail, or failed, on one line."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if isinstance(report.longrepr, tuple):  # of what was skipped: the file, the line and the reason
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(report.longrepr if crash is None else crash.message).strip().splitlines()
    return lines[0] if lines else ""


def write_report(path: Path, outcomes: Outcomes, reasons: Mapping[Variant, str | None]) -> None:
    """Write what came of the tests on each backend, with the reasons, as JSON.

    Parameters
    ----------
    path : Path
        The file.
    outcomes : dict
        The reports by backend and category.
    reasons : dict
        By backend: why it cannot run, or None.
    """
    backends = {
        variant.name: {
            "can run": reason is None,
            "reason": reason,
            "versions": variant.backend.versions() if reason is None else {},
            **{heading: len(outcomes.get(variant.name, {}).get(category, ())) for category, heading in COLUMNS.items()},
            "tests": [
                {"test": report.nodeid, "outcome": category, "reason": reason_of(report)}
                for category in COLUMNS
                if category != "passed"
                for report in outcomes.get(variant.name, {}).get(category, ())
            ],
        }
        for variant, reason in reasons.items()
    }
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps({"backends": backends}, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
