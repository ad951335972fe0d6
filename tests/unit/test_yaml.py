"""Every YAML in docs/ and examples/ is what it claims to be: of our kinds, of the API server's, or part of one."""

from __future__ import annotations

import json
import re

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pantograph.api import manifests, reading, schema
from pantograph.api.base import API_VERSION
from pantograph.api.reading import Findings, Origin
from tests.unit.test_house import ROOT

FOREIGN = (
    "argoproj.io/", "bitnami.com/", "external-secrets.io/", "helm.toolkit.fluxcd.io/", "kustomize.config.k8s.io/",
    "kustomize.toolkit.fluxcd.io/", "source.toolkit.fluxcd.io/",
)  # fmt: skip
"""Groups whose schemas are other tools'; of these objects only the frame is looked at."""


def texts():
    pages = [*sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("examples/**/*.md"))]
    for path in (*pages, *sorted(ROOT.glob("charts/*/*.md"))):
        blocks = re.findall(r"^```ya?ml\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks, 1):
            yield pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
    for path in sorted([*ROOT.glob("examples/**/*.yaml"), *ROOT.glob("examples/**/*.yml")]):
        yield pytest.param(path.read_text(encoding="utf-8"), id=str(path.relative_to(ROOT)))


def closed(node):
    """The schema, with no field but those it names."""
    if isinstance(node, dict):
        found = {key: closed(value) for key, value in node.items()}
        return found | {"additionalProperties": False} if isinstance(node.get("properties"), dict) else found
    return [closed(one) for one in node] if isinstance(node, list) else node


def specs():
    for name in schema.crds():
        body = yaml.safe_load(schema.render(name))
        yield closed(body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])


SPECS = list(specs())
VALUES = json.loads((ROOT / "charts" / "pantograph" / "values.schema.json").read_text(encoding="utf-8"))


def problem(body):
    """What is wrong with one document; "" when nothing is."""
    if "kind" not in body:
        return problem_of_part(body)
    version = body.get("apiVersion", API_VERSION)
    if version.startswith(FOREIGN):
        framed = body["kind"] == "Kustomization" or body.get("metadata", {}).get("name")
        return "" if framed and version.count("/") == 1 else "no apiVersion, kind and metadata.name"
    if version == API_VERSION:
        # A page may show an object without its name.
        whole = {"apiVersion": version, "metadata": {"name": "shown"}, **body}
        if "apiVersion" not in body:
            return problem_of_part(body["spec"])
        findings = Findings()
        reading.read(manifests.KINDS[body["kind"]], whole, findings, Origin(""))
        return "; ".join(map(str, findings.errors))
    try:
        kubernetes_validate.validate(body, "1.34", strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


def problem_of_part(part):
    """Fields of a spec, values of the chart, or what Prometheus reads (which is tried with promtool)."""
    if part.keys() <= {"groups", "scrape_configs", "rule_files"}:
        return ""
    if part.keys() == {"spec"}:
        return problem_of_part(part["spec"])
    for whole in (*SPECS, VALUES):
        loose = {key: value for key, value in whole.items() if key != "required"}
        if part.keys() <= loose["properties"].keys() and jsonschema.Draft7Validator(loose).is_valid(part):
            return ""
    return f"no kind has these fields, or not with these values: {', '.join(part)}"


@pytest.mark.parametrize("text", list(texts()))
def test_what_a_reader_copies_is_taken(text):
    documents = [one for one in yaml.safe_load_all(text) if one is not None]
    assert documents
    for body in documents:
        assert problem(body) == ""


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: pantograph.dev/v1alpha1\nkind: Database\nmetadata: {name: a}\nspec: {dialect: postgres}",
        "kind: Reflection\nspec: {verfy: {every: 24h}}",
        "spec: {verify: {evry: 24h}}",
        "onDelete: Never",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndat: {}",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {}",
        "watch: {namespace: [sales]}",
    ],
)
def test_what_is_wrong_is_seen(text):
    assert problem(yaml.safe_load(text)) != ""
