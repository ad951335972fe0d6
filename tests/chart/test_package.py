"""The chart beside the rest: one version, one place for each thing it repeats, and a package that Helm takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile

import jsonschema
import pytest
import yaml

import pantograph
from tests.chart.conftest import CHART, KUBERNETES, ROOT, script

SCRIPT = script()
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def test_what_the_chart_has_from_elsewhere_is_as_it_is_there():
    """`scripts/build-chart --write` mends it."""
    for name, text in SCRIPT.generated().items():
        assert (CHART / name).read_text(encoding="utf-8") == text, name
    assert {path.name for path in (CHART / "files" / "crds").iterdir()} == {
        path.name for path in (ROOT / "crds").iterdir()
    }


def test_chart_and_program_have_one_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == pantograph.__version__ == SCRIPT.version()
    assert chart["version"] == SCRIPT.semantic(pantograph.__version__)


@pytest.mark.parametrize(
    ("version", "semantic"),
    [("1.2.3", "1.2.3"), ("0.1.0.dev0", "0.1.0-dev.0"), ("1.0.0rc1", "1.0.0-rc.1"), ("1.0.0b2", "1.0.0-beta.2")],
)
def test_a_version_of_python_s_is_one_of_helm_s(version, semantic):
    assert SCRIPT.semantic(version) == semantic


def keys(values, path=()):
    for key, value in values.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys(value, (*path, key))


def known(schema, path=()):
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    for key, value in schema.get("properties", {}).items():
        yield (*path, key)
        yield from known(value, (*path, key))


def test_every_value_has_a_schema_and_every_schema_a_value():
    there, told = set(keys(VALUES)), set(known(SCHEMA))
    open_ended = {("metrics", "dashboard", "labels", "grafana_dashboard")} | {
        path for path in there if path[-2:-1] in (("requests",), ("limits",))
    }
    assert there - told == open_ended
    # Not in values.yaml: Helm's own, and what is below a default that is empty.
    below = {path for path in told - there if path[:2] == ("reflector", "defaults") or path[-1] == "claims"}
    assert told - there - below == {("global",)}


def test_the_schema_is_one_and_takes_the_defaults():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(VALUES)


def test_the_values_in_the_gitops_example_are_taken():
    example = yaml.safe_load((ROOT / "examples" / "gitops" / "values.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(SCHEMA).validate(example)


def test_every_link_of_the_readme_leads_somewhere():
    page = (CHART / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", page)
    assert links
    for link in links:
        assert (CHART / link).resolve().exists(), link


def test_one_command_packages_the_chart_and_twice_the_same(tmp_path):
    packages = []
    for folder in ("a", "b"):
        done = subprocess.run(
            [sys.executable, ROOT / "scripts" / "build-chart", tmp_path / folder], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        packages.append(tmp_path / folder / f"pantograph-{SCRIPT.semantic(pantograph.__version__)}.tgz")
        assert done.stdout == f"{packages[-1]}\n"
    assert packages[0].read_bytes() == packages[1].read_bytes()
    with tarfile.open(packages[0]) as archive:
        names = archive.getnames()
    assert names[0] == "pantograph/Chart.yaml"
    assert "pantograph/files/crds/databases.yaml" in names
    assert not any("/ci/" in name for name in names)


@pytest.mark.full
def test_helm_takes_the_package(helm, tmp_path):
    path = SCRIPT.package(tmp_path)
    shown = helm("show", "chart", path)
    assert yaml.safe_load(shown.stdout)["version"] == SCRIPT.semantic(pantograph.__version__), shown.stderr
    assert helm("template", "mirror", path, *KUBERNETES).returncode == 0
