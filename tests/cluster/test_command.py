"""`kubectl pantograph` at a cluster: what a person types who has a kubeconfig and no files."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cluster.images import ROOT
from tests.cluster.mirrors import Mirror
from tests.servers import TestDatabase
from tests.support.comparison import wait_until

pytestmark = pytest.mark.full

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def mirror(mirrors: Callable[..., Mirror], pg_db: Callable[..., TestDatabase]) -> Mirror:
    return mirrors(pg_db(), pg_db())


@pytest.fixture
def kubectl(mirror: Mirror, tmp_path: pathlib.Path) -> Call:
    """`kubectl("status")` is `kubectl pantograph status` in the mirror's namespace."""
    plugin = tmp_path / "kubectl-pantograph"
    plugin.write_text(f'#!/bin/sh\nexec {sys.executable} -m pantograph "$@"\n', encoding="ascii")
    plugin.chmod(0o755)
    found = {"KUBECONFIG": str(mirror.cluster.kubeconfig), "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(mirror.cluster.kubectl_program), "pantograph", *words, "--namespace", mirror.namespace],
            env={**os.environ, **found, "PYTHONPATH": str(ROOT / "operator")}, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip

    return call


def test_a_person_looks_pauses_and_compares_without_a_file(mirror: Mirror, kubectl: Call) -> None:
    nothing = kubectl("status")
    assert nothing.returncode == 2
    assert f"there is no Database, SourceTable or Reflection in namespace {mirror.namespace}" in nothing.stderr
    mirror.apply()
    for kind, name in (("database", "shop"), ("database", "warehouse"), ("sourcetable", "orders")):
        mirror.cluster.wait("Ready", f"{kind}/{name}", mirror.namespace)

    shown = kubectl("status", "-o", "wide")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Replicating" in shown.stdout
    whole = json.loads(kubectl("status", "-o", "json").stdout)
    assert [one["kind"] for one in whole["items"]] == ["Database", "Database", "SourceTable", "Reflection"]
    assert mirror.source.url("source")["password"] not in json.dumps(whole)
    assert kubectl("status", "--selector", "team=sales").returncode == 2

    planned = kubectl("plan")
    assert (planned.returncode, planned.stderr) == (0, ""), planned.stdout

    assert "paused" in kubectl("pause", "orders").stdout
    wait_until(lambda: mirror.reason("reflection", "orders") == "Paused", "it to be paused")
    told = kubectl("status")
    assert (told.returncode, "Paused" in told.stdout) == (3, True)
    assert "is paused already" in kubectl("pause", "orders").stdout
    assert "resumed" in kubectl("resume", "orders").stdout
    mirror.ready()
    assert "is copied again" in kubectl("resync", "orders").stdout
    mirror.follows()
    mirror.ready()

    compared = kubectl("verify")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "no row waits" in kubectl("retry", "orders").stdout
    unknown = kubectl("pause", "order")
    assert unknown.returncode == 2
    assert "there is no Reflection order" in unknown.stderr
