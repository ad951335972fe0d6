"""The pages say what the program does: metrics as declared, commands and options as they are, valid manifests."""

from __future__ import annotations

import pathlib
import re

import pytest
import typer

from pantograph import metrics
from pantograph.api import acting, manifests
from pantograph.cli import commands

ROOT = pathlib.Path(__file__).parents[3]
DOCS = ROOT / "docs"
COMMAND = (DOCS / "reference" / "command.md").read_text(encoding="utf-8")
PROGRAM = typer.main.get_command(commands.app)


def section(name: str) -> str:
    return COMMAND.partition(f"\n## pantograph {name}\n")[2].partition("\n## ")[0]


def options(name: str) -> set[str]:
    return {word for option in PROGRAM.commands[name].params for word in option.opts if word.startswith("-")}


def test_the_metrics_page_has_the_declarations_as_they_are():
    assert metrics.reference() in (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")


def test_every_metric_that_the_page_s_rules_use_is_declared():
    page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\bpantograph_\w+", page))
    assert used == {metric.name for metric in metrics.ALL}


def test_names_and_labels_are_as_prometheus_wants_them():
    for metric in metrics.ALL:
        assert re.fullmatch(r"pantograph_[a-z_]+", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert metric.kind == "histogram" or not metric.buckets
        assert metric.help.endswith(".")


def test_every_command_has_its_section_and_there_is_no_other():
    told = set(re.findall(r"^## pantograph ([\w-]+)$", COMMAND, re.MULTILINE))
    assert told == set(PROGRAM.commands)


@pytest.mark.parametrize("name", sorted(PROGRAM.commands))
def test_every_option_is_told_and_no_other(name):
    told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", section(name)))
    common = {"-f", "--file", "-n", "--namespace", "--installation", "-h", "--help"}
    cluster = COMMAND.partition("\n## Of a cluster\n")[2].partition("\n## ")[0]
    common |= set(re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", cluster))
    assert told - common <= options(name)
    assert options(name) - common <= told


@pytest.mark.parametrize("name", sorted(PROGRAM.commands))
def test_every_option_says_what_it_does(name):
    for option in PROGRAM.commands[name].params:
        assert option.help, f"{name} {option.opts}"


def yaml_of(path: pathlib.Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [
        block for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "apiVersion" in block
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-mirror.md"])
def test_the_manifests_in_a_page_are_valid_and_act(page):
    for block in yaml_of(ROOT / page):
        assert acting.unsupported(manifests.from_text(block, page)) == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/manifests.yaml")), ids=lambda path: path.parent.name)
def test_the_manifests_of_an_example_are_valid_and_act(path):
    assert acting.unsupported(manifests.load([path])) == []


def test_the_readme_of_an_example_is_read_in_a_minute():
    for folder in (ROOT / "examples").iterdir():
        assert len((folder / "README.md").read_text(encoding="utf-8").splitlines()) <= 14
