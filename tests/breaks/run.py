"""Break one promise at a time, and see that its tests notice: `python -m tests.breaks.run [--unbroken] [name …]`.

Each patch of this folder takes one thing out of the program that a promise rests on. It is applied to a copy, in a
temporary folder; of the tests that breaks.toml names for it, those under `fails` must fail and those under `passes`
must pass: so the first did not fail for a reason that has nothing to do with the promise. `--unbroken` runs all those
tests in a copy without any patch, where all must pass as impatiently.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COPIED = ("operator", "tests", "scripts", "crds", "examples", "charts")
CLUSTER = "tests/cluster/"
"""Tests there are run with an image of the copy: it takes a minute to be made, and a machine that can run a node."""
PATIENCE = "25"
"""Seconds that a test waits for what never comes; with less, some would fail without a patch."""
LONGEST = 1800.0


@dataclass(frozen=True)
class Break:
    """A patch. seen: how it showed when it was last tried by hand."""

    name: str
    promise: str
    fails: tuple[str, ...]
    passes: tuple[str, ...]
    seen: str = ""

    @property
    def in_cluster(self) -> bool:
        return any(each.startswith(CLUSTER) for each in (*self.fails, *self.passes))

    @property
    def patch(self) -> pathlib.Path:
        return HERE / f"{self.name}.patch"


@dataclass
class Result:
    """What came of a patch; `wrong` is empty when its tests noticed it, and no others did."""

    name: str
    wrong: list[str] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)


def load() -> dict[str, Break]:
    found = tomllib.loads((HERE / "breaks.toml").read_text(encoding="utf-8"))
    return {
        name: Break(name, one["promise"], tuple(one["fails"]), tuple(one["passes"]), one.get("seen", ""))
        for name, one in found.items()
    }


def apply(patch: pathlib.Path, to: pathlib.Path, *more: str) -> str:
    """Apply a patch, without a guess at where; what went wrong, or ""."""
    done = subprocess.run(
        ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "--batch", "--forward", *more, "-i", str(patch)],
        cwd=to, capture_output=True, text=True,
    )  # fmt: skip
    return "" if done.returncode == 0 else f"{patch.name} does not apply:\n{done.stdout}{done.stderr}"


def copy(to: pathlib.Path) -> None:
    """The program and its tests, what an image is made of and what a cluster is given; of the rest only names."""
    for path in ROOT.iterdir():
        if path.name in COPIED:
            shutil.copytree(path, to / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.rej", "*.orig"))
        elif path.is_file() and (path.name == ".dockerignore" or not path.name.startswith(".")):
            shutil.copy(path, to)
        elif not path.name.startswith("."):
            (to / path.name).symlink_to(path)


def outcomes(folder: pathlib.Path, ids: Sequence[str]) -> tuple[dict[str, str], dict[str, str], str]:
    """Run tests in a copy: how each ended (passed, failed or error), what it said, and pytest's own last words."""
    results = folder / "results.jsonl"
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "tests.breaks.results",
            "--tier", "night", *ids,
        ],
        cwd=folder, capture_output=True, text=True, timeout=LONGEST,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(folder / "operator"), str(folder))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PANTOGRAPH_TEST_PATIENCE": PATIENCE,
            "RESULTS": str(results),
        },
    )  # fmt: skip
    ended: dict[str, str] = {}
    said: dict[str, str] = {}
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else []:
        one = json.loads(line)
        if one["when"] == "call":
            ended[one["id"]] = one["outcome"]
        elif one["outcome"] != "passed" and ended.get(one["id"]) != "failed":
            ended[one["id"]] = "error"
        if one["outcome"] != "passed":
            said.setdefault(one["id"], one["said"])
    return ended, said, (done.stdout + done.stderr)[-2000:]


def unbroken(breaks: Sequence[Break]) -> Break:
    """All the tests of some patches, and no patch."""
    ids = dict.fromkeys(each for one in breaks for each in (*one.fails, *one.passes))
    return Break("unbroken", "all hold", (), tuple(sorted(ids)))


def attempt(one: Break) -> Result:
    """Apply one patch to a copy, and run its tests."""
    result = Result(one.name)
    with tempfile.TemporaryDirectory(prefix="pantograph-break-") as name:
        folder = pathlib.Path(name)
        copy(folder)
        problem = apply(one.patch, folder) if one.fails else ""
        if problem:
            result.wrong.append(problem)
            return result
        ended, result.said, last = outcomes(folder, (*one.fails, *one.passes))
    for wanted, ids in (("failed", one.fails), ("passed", one.passes)):
        for each in ids:
            if ended.get(each) != wanted:
                said = result.said.get(each) or ("" if each in ended else last)
                result.wrong.append(f"{each} should have {wanted}: {ended.get(each, 'it did not run')} {said}".rstrip())
    return result


def main(names: Sequence[str]) -> int:
    breaks = load()
    whole = "--unbroken" in names
    names = [name for name in names if name != "--unbroken"]
    unknown = set(names) - set(breaks)
    if unknown:
        print(f"no such patch: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(breaks))}")
        return 2
    chosen = [breaks[name] for name in names] or list(breaks.values())
    failed = 0
    for one in [unbroken(chosen)] if whole else chosen:
        result = attempt(one)
        failed += bool(result.wrong)
        print(f"{'NOT AS SAID' if result.wrong else 'as said':<13}{one.name}: {one.promise}", flush=True)
        for text in result.wrong:
            print("    " + text.replace("\n", "\n    "))
        for each in one.fails:
            said = " ".join(result.said.get(each, "").split())
            print(f"    {each}\n        {said[:300]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
