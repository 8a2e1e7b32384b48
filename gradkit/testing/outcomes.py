"""What came of tests on each backend, and why, for the pytest plugin's closing table and its file."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gradkit.testing.variants import Variant

__all__ = ["told", "write_report"]

MOST_REASONS = 3
"""How many reasons the table tells of a backend; the file of ``--backend-report`` has all."""
Outcomes = dict[str, dict[str, list[Any]]]
"""The reports by backend and category."""


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


def write_report(
    path: Path, outcomes: Outcomes, headings: Mapping[str, str], reasons: Mapping[Variant, str | None]
) -> None:
    """Write what came of the tests on each backend, with the reasons, as JSON.

    Parameters
    ----------
    path : Path
        The file.
    outcomes : dict
        The reports by backend and category.
    headings : dict
        By category: the word for it.
    reasons : dict
        By backend: why it cannot run, or None.
    """
    backends = {
        variant.name: {
            "can run": reason is None,
            "reason": reason,
            "versions": variant.backend.versions() if reason is None else {},
            **{
                heading: len(outcomes.get(variant.name, {}).get(category, ())) for category, heading in headings.items()
            },
            "tests": [
                {"test": report.nodeid, "outcome": category, "reason": reason_of(report)}
                for category in headings
                if category != "passed"
                for report in outcomes.get(variant.name, {}).get(category, ())
            ],
        }
        for variant, reason in reasons.items()
    }
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps({"backends": backends}, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
