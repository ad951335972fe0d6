"""A release, from a clean checkout: one version, one changelog, and one command each for wheel and chart.

The image is made by scripts/build-image in tests/cluster.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import pantograph
from tests.chart.conftest import ROOT

AUTHOR = {f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Checkout:
    """What git has of this checkout, in one of its own with one commit."""

    def __init__(self, folder):
        self.folder = folder
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        changelog = folder / "CHANGELOG.md"
        text = changelog.read_text(encoding="utf-8")
        changelog.write_text(text.replace("## Unreleased\n", "## Unreleased\n\n### Added\n\n- A thing.\n", 1))
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "as it is")

    def does(self, *words, status=0):
        done = subprocess.run(
            [*map(str, words)], cwd=self.folder, capture_output=True, text=True, env=os.environ | AUTHOR
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout.strip() if status == 0 else done.stderr

    def git(self, *words):
        return self.does("git", *words)

    def release(self, version, status=0):
        return self.does(sys.executable, "scripts/release", version, status=status)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / "checkout")


def test_a_released_version_has_its_section_in_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    if "dev" not in pantograph.__version__:
        assert headings[1].startswith(f"{pantograph.__version__} - ")


@pytest.mark.full
def test_wheel_and_chart_of_a_release_are_made_of_a_clean_checkout(checkout, tmp_path):
    assert checkout.release("7.8.9") == "v7.8.9"
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("describe", "--exact-match") == "v7.8.9"
    told = (checkout.folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"## Unreleased\n\n## 7\.8\.9 - \d{4}-\d\d-\d\d\n\n### Added\n\n- A thing\.\n", told)
    assert "### Added\n\n- A thing." in checkout.git("tag", "--list", "--format=%(contents)", "v7.8.9")

    dist = tmp_path / "dist"
    checkout.does("scripts/build-wheel", dist)
    checkout.does("scripts/build-chart", dist)
    assert sorted(path.name for path in dist.iterdir()) == [
        "pantograph-7.8.9-py3-none-any.whl", "pantograph-7.8.9.tar.gz", "pantograph-7.8.9.tgz"
    ]  # fmt: skip
    assert checkout.git("status", "--porcelain") == ""
    with zipfile.ZipFile(dist / "pantograph-7.8.9-py3-none-any.whl") as wheel:
        assert b"Version: 7.8.9" in wheel.read("pantograph-7.8.9.dist-info/METADATA")
    with tarfile.open(dist / "pantograph-7.8.9.tgz") as chart:
        said = chart.extractfile("pantograph/Chart.yaml").read().decode()
    assert 'version: 7.8.9\nappVersion: "7.8.9"' in said

    assert checkout.release("7.9.0.dev0") == "7.9.0.dev0"
    assert checkout.git("tag", "--list") == "v7.8.9"
    assert "nothing under Unreleased" in checkout.release("7.9.0", status=1)


@pytest.mark.full
def test_a_release_that_cannot_be_is_refused_and_changes_nothing(checkout):
    assert "not a version" in checkout.release("7.8", status=1)
    assert "does not come after" in checkout.release("0.0.9", status=1)
    (checkout.folder / "README.md").write_text("changed")
    assert "not committed" in checkout.release("7.8.9", status=1)
    checkout.git("checkout", "--quiet", "README.md")
    checkout.git("tag", "v7.8.9")
    assert "already" in checkout.release("7.8.9", status=1)
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("rev-list", "--count", "HEAD") == "1"
