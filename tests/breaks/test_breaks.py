"""Every patch still says what it takes away, and at night: the tests of its promise notice."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.breaks import run
from tests.cluster import node

BREAKS = run.load()


def test_every_patch_is_in_the_table_and_every_line_has_its_patch() -> None:
    assert {path.stem for path in run.HERE.glob("*.patch")} == set(BREAKS)


@pytest.mark.parametrize("name", BREAKS)
def test_a_patch_applies_and_is_of_the_program_alone(name: str) -> None:
    patch = BREAKS[name].patch
    files = re.findall(r"^(?:---|\+\+\+) (\S+)", patch.read_text(encoding="utf-8"), re.MULTILINE)
    assert files
    assert all(file.split("/")[1] == "operator" for file in files)
    assert run.apply(patch, run.ROOT, "--dry-run") == ""


@pytest.mark.parametrize("name", BREAKS)
def test_a_patch_has_tests_that_fail_and_tests_that_pass(name: str) -> None:
    assert BREAKS[name].promise
    assert BREAKS[name].fails
    assert BREAKS[name].passes
    assert not set(BREAKS[name].fails) & set(BREAKS[name].passes)


def test_every_test_that_is_named_exists() -> None:
    named = {each for one in BREAKS.values() for each in (*one.fails, *one.passes)}
    files = sorted({each.partition("::")[0] for each in named})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "--tier", "night", *files],
        cwd=run.ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(run.ROOT / "operator"), str(run.ROOT)))},
    )  # fmt: skip
    there = set(done.stdout.splitlines())
    assert sorted(named - there) == [], done.stdout[-1000:]


@pytest.mark.night
@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_promise_is_noticed(name: str) -> None:
    if BREAKS[name].in_cluster and (reason := node.cannot_run()):
        pytest.skip(f"this machine cannot run a node: {reason}")
    assert run.attempt(BREAKS[name]).wrong == []
