"""The release before this one, built from its tag; where nothing is tagged yet, a changed copy of this checkout.

A release is a commit with a tag `vX.Y.Z` (CONTRIBUTING.md). Its image and its chart are made by its own scripts.
"""

from __future__ import annotations

import io
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass

from tests.cluster import images

WORDS = "-- of another version"
"""What the triggers of a changed copy say beside what ours do."""

CHANGED = "a changed copy, for no release is tagged"

_CHART = ("charts", "crds", "scripts")


@dataclass(frozen=True)
class Release:
    """what: its tag, or CHANGED. image: its name. chart: the package."""

    what: str
    image: str
    archive: pathlib.Path
    chart: pathlib.Path


def newest() -> str:
    """The tag of the newest release before this commit; "" when there is none, or no history to look into.

    A release candidate is no release, and neither is a tag of this very commit.
    """
    command = ["git", "tag", "--list", "v*", "--merged", "HEAD^", "--sort=-version:refname"]
    done = subprocess.run(command, cwd=images.ROOT, capture_output=True, text=True)
    tags = [tag for tag in done.stdout.split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    return tags[0] if done.returncode == 0 and tags else ""


def before() -> str:
    """What `build` makes, for the names of tests: it is to be seen that no release was there."""
    return newest() or CHANGED


def build(what: str, folder: pathlib.Path) -> Release:
    """Image and chart of what `before` said, in a folder that is empty."""
    if what == CHANGED:
        changed(folder)
    else:
        command = ["git", "archive", "--format=tar", what]
        done = subprocess.run(command, cwd=images.ROOT, capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="tar")
    image, archive_ = images.of(folder)
    package = [sys.executable, str(folder / "scripts" / "build-chart"), str(folder / "dist")]
    chart = subprocess.run(package, capture_output=True, text=True, check=True).stdout.strip()
    return Release(what, image, archive_, pathlib.Path(chart))


def changed(folder: pathlib.Path) -> None:
    """A copy of this checkout of another version, with other words in PostgreSQL's triggers and in the chart's CRDs."""
    for name in (*images.CONTEXT, *_CHART):
        there = images.ROOT / name
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if there.is_dir():
            shutil.copytree(there, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(there, folder / name)
    _change(folder / "operator/pantograph/__init__.py", r'__version__ = ".*"', '__version__ = "0.0.1"')
    _change(folder / "charts/pantograph/Chart.yaml", r"version: .*", "version: 0.0.1")
    _change(folder / "charts/pantograph/Chart.yaml", r"appVersion: .*", 'appVersion: "0.0.1"')
    for crd in (folder / "charts/pantograph/files/crds").glob("*.yaml"):
        _change(crd, r"( +)description: (?=\w)", r"\1description: Once ")
    capture = folder / "operator/pantograph/dialects/postgresql/capture.py"
    _change(capture, r"  return null;", rf"  {WORDS}\n  return null;")


def _change(file: pathlib.Path, before_: str, after: str) -> None:
    text, count = re.subn(f"^{before_}", after, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count, f"{file} has no {before_}"
    file.write_text(text, encoding="utf-8")
