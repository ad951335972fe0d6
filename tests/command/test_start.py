"""The command is there at once: what is heavy is imported by the command that needs it."""

import subprocess
import sys

import pytest

from tests.command.conftest import environment

# Not pydantic: typer itself takes it where it is installed.
HEAVY = ("sqlalchemy", "pantograph.api", "yaml", "psycopg2", "pymysql", "prometheus_client", "rich.progress", "sqlite3")


def imported(*arguments):
    """Modules that the command has imported when it ends."""
    code = (
        "import sys\nfrom pantograph.cli import commands\n"
        f"status = commands.main({list(arguments)!r})\nprint(*sys.modules, file=sys.stderr)\nsys.exit(status)"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    return ended, set(ended.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("run", "--help"), ("status", "--help"), ("no",)])
def test_help_and_a_wrong_call_import_nothing_heavy(arguments):
    _, modules = imported(*arguments)
    assert "typer" in modules
    assert [name for name in HEAVY if name in modules] == []


def test_status_imports_no_driver_that_it_does_not_use(shop):
    ended, modules = imported("status", "-f", str(shop.manifests))
    assert ended.returncode == 3
    assert [name for name in ("psycopg2", "pymysql", "prometheus_client", "rich.progress") if name in modules] == []


def test_help_says_what_it_is_for_and_where_to_begin(call):
    shown = call("--help")
    assert shown.returncode == 0
    for words in ("Live copies of SQL tables", "pantograph demo", "run", "plan", "status", "verify", "remove", "crds"):
        assert words in shown.stdout


def test_the_crds_are_printed_as_a_cluster_takes_them(call):
    import yaml

    shown = call("crds")
    assert shown.returncode == 0
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(shown.stdout)]
    assert names == ["databases.pantograph.dev", "sourcetables.pantograph.dev", "reflections.pantograph.dev"]


def test_a_reader_that_goes_away_is_no_failure(tmp_path):
    ended = subprocess.run(
        f"{sys.executable} -m pantograph crds | head -1",
        shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.stderr == ""


def test_a_shell_completes_names_of_reflections(shop):
    asked = subprocess.run(
        [sys.executable, "-m", "pantograph"],
        env=environment() | {
            "_PANTOGRAPH_COMPLETE": "complete_bash",
            "COMP_WORDS": f"pantograph pause -f {shop.manifests} cu",
            "COMP_CWORD": "4",
        },
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert asked.stdout.split() == ["customers"]
