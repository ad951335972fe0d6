"""The house: what is shipped, what is where, and what the repository does not speak of."""

import contextlib
import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

import pantograph
from tests import conftest
from tests.servers import grants

ROOT = pathlib.Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    # The build backend itself, not pip, which would fetch it from an index.
    subprocess.run(
        [sys.executable, "-c", f"import hatchling.build; hatchling.build.build_wheel({str(target)!r})"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (path,) = target.iterdir()
    with zipfile.ZipFile(path) as file:
        yield file


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"pantograph", f"pantograph-{pantograph.__version__}.dist-info"}


def test_the_wheel_holds_every_module_of_the_package_and_its_type_marker(wheel):
    source = ROOT / "operator"
    modules = {path.relative_to(source).as_posix() for path in (source / "pantograph").rglob("*.py")}
    assert modules | {"pantograph/py.typed"} <= set(wheel.namelist())


def test_the_wheel_holds_the_pages_of_the_console(wheel):
    folder = ROOT / "operator" / "pantograph" / "console"
    files = {path.relative_to(ROOT / "operator").as_posix() for path in folder.rglob("*") if path.is_file()}
    shipped = {name for name in files if name.endswith((".html", ".css", ".js", ".svg"))}
    assert shipped
    assert shipped <= set(wheel.namelist())


def test_the_wheel_has_both_commands_and_the_licence(wheel):
    about = f"pantograph-{pantograph.__version__}.dist-info"
    entry_points = wheel.read(f"{about}/entry_points.txt").decode()
    assert "pantograph = pantograph.cli:main" in entry_points
    assert "kubectl-pantograph = pantograph.cli:main" in entry_points
    assert "License-Expression: Apache-2.0" in wheel.read(f"{about}/METADATA").decode()
    assert f"{about}/licenses/LICENSE" in wheel.namelist()


def test_operator_is_a_source_root_and_never_a_package():
    # It would shadow the standard library's `operator`, without which the interpreter does not start.
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_the_extra_and_the_group_for_developers_are_one_list():
    assert PROJECT["project"]["optional-dependencies"]["dev"] == PROJECT["dependency-groups"]["dev"]


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text(encoding="utf-8")
    names = [
        re.match(r"[\w-]+", each)[0]
        for each in PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
    ]
    assert [name for name in names if f"`{name}`" not in page] == []


def _names():
    """The files that git tracks, or all that are here where there is no git."""
    with contextlib.suppress(OSError):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
        if listed.returncode == 0:
            return listed.stdout.split("\0")
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
    return [str(path) for path in paths if path.parts[0] not in {".git", ".venv"}]


def _texts():
    for name in _names():
        path = ROOT / name
        if path.is_file() and path != pathlib.Path(__file__):
            with contextlib.suppress(UnicodeDecodeError):
                yield name, path.read_text(encoding="utf-8")


OUTSIDE = re.compile(
    r"(?<![\w./}])/(?:work|opt|root|mnt|srv|home/\w+)(?:/|\b)"  # a path of the machine it was written on
    r"|(?:pypi\.org|pythonhosted\.org|files\.pythonhosted|docker\.io|ghcr\.io|quay\.io|gcr\.io|registry\.npmjs)",
    re.IGNORECASE,
)


def test_the_project_speaks_of_itself_alone():
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in _texts()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := OUTSIDE.search(line))
    ]
    assert found == []


# The rule about skips.

EXPECTED = conftest.expected_skips("# a comment\n\ntests/dialects/test_a.py::*[sqlite*] -- no roles\n")


@pytest.mark.parametrize(
    ("nodeid", "reason", "expected"),
    [
        ("tests/dialects/test_a.py::test_x[sqlite-1]", "Skipped: sqlite has no roles", True),
        ("tests/dialects/test_a.py::test_x[sqlite-1]", "Skipped: could not import 'fdb'", False),
        ("tests/dialects/test_a.py::test_x[mariadb-1]", "Skipped: sqlite has no roles", False),
        ("tests/dialects/test_b.py::test_x[sqlite-1]", "Skipped: sqlite has no roles", False),
    ],
)
def test_a_skip_is_expected_when_both_its_test_and_its_reason_are_listed(nodeid, reason, expected):
    assert conftest.is_expected(nodeid, reason, EXPECTED) is expected


def test_a_listed_skip_needs_a_reason():
    with pytest.raises(pytest.UsageError):
        conftest.expected_skips("tests/unit/test_a.py::*")


def test_a_block_of_the_grants_page_is_cut_before_its_names_are_filled_in():
    names = {
        "database": '"a;b -- c"', "app": '"app"', "role": '"role"', "schema": "public", "password": "p"
    }  # fmt: skip
    assert 'grant connect, create on database "a;b -- c" to "role"' in grants.statements("postgresql source", names)
