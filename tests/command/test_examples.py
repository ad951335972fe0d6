"""Every folder of `examples/` works as its README says."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from tests.command.conftest import ROOT, environment
from tests.servers.sqlite import SQLiteDatabase

FOLDER = ROOT / "examples" / "sqlite-to-sqlite"


@pytest.fixture
def folder(tmp_path):
    return pathlib.Path(shutil.copytree(FOLDER, tmp_path / "example"))


def shell(line, folder):
    """A line as a reader would type it, with the python and the pantograph of this run."""
    line = re.sub(r"^python ", f"{sys.executable} ", line)
    line = re.sub(r"^pantograph ", f"{sys.executable} -m pantograph ", line)
    return subprocess.run(line, shell=True, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)


def test_sqlite_to_sqlite(folder):
    lines = re.findall(r"^    (\S.*?)(?:   +#.*)?$", (folder / "README.md").read_text(), re.MULTILINE)
    make, plan, run = lines
    assert shell(make, folder).returncode == 0
    assert shell(plan, folder).returncode == 3
    assert shell(f"{run} --once", folder).returncode == 0
    copy = SQLiteDatabase(folder / "copy.db")
    assert copy.execute("select customer from orders order by id") == [("Ada",), ("Chidi",)]
    SQLiteDatabase(folder / "shop.db").execute("update orders set status = 'draft' where customer = 'Ada'")
    assert shell(f"{run} --once", folder).returncode == 0
    assert copy.execute("select customer from orders order by id") == [("Chidi",)]
    for also in ("pantograph status -f manifests.yaml", "pantograph remove -f manifests.yaml"):
        assert f"`{also}`" in re.sub(r"\s+", " ", (folder / "README.md").read_text())
    assert shell("pantograph status -f manifests.yaml", folder).returncode == 0
    assert shell("pantograph remove -f manifests.yaml --yes", folder).returncode == 0
