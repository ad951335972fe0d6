"""A pytest plugin: how each test ended, one JSON object a line, in the file that RESULTS names."""

from __future__ import annotations

import json
import os

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    crash = getattr(report.longrepr, "reprcrash", None)
    said = crash.message if crash else str(report.longrepr or "")
    with open(os.environ["RESULTS"], "a", encoding="utf-8") as file:
        line = {"id": report.nodeid, "when": report.when, "outcome": report.outcome, "said": said[:2000]}
        file.write(json.dumps(line) + "\n")
