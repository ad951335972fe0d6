"""What Helm makes of the chart: objects that an API server takes, for every set of values in ci/."""

from __future__ import annotations

import functools
import json
import re
import shutil

import kubernetes_validate
import pytest
import yaml

from pantograph.api import schema
from tests.chart.conftest import CHART, KUBERNETES, ROOT

pytestmark = pytest.mark.full  # Helm is built from its Go module, once, where it is not here

SETS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
FOREIGN = {"PodMonitor", "PrometheusRule"}
"""Kinds whose schemas are another operator's."""


def kinds(objects, kind):
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def only(objects, kind, name=""):
    (found,) = (one for one in objects if one["kind"] == kind and (not name or one["metadata"]["name"] == name))
    return found


def container(objects, name="mirror-pantograph"):
    (found,) = only(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    return found


def environment(objects):
    return {one["name"]: one.get("value") for one in container(objects)["env"]}


@pytest.mark.parametrize("values", SETS)
def test_every_object_is_what_the_api_server_s_schema_says(rendered, values):
    objects = rendered(values)
    assert {one["kind"] for one in objects} >= {"Deployment", "Service", "ConfigMap"}
    for one in objects:
        if one["kind"] not in FOREIGN:
            kubernetes_validate.validate(one, "1.34", strict=True)


@pytest.mark.parametrize("values", SETS)
def test_no_two_objects_are_one(rendered, values):
    keys = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in rendered(values)]
    assert len(keys) == len(set(keys))


def test_the_chart_is_linted_without_a_complaint(helm):
    for values in SETS:
        done = helm("lint", "--strict", "--quiet", CHART, "-f", CHART / "ci" / f"{values}-values.yaml")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("operatr.replicas=2", "'operatr' not allowed"),
        ("operator.replica=2", "'replica' not allowed"),
        ("image.digest=latest", "/image/digest"),
        ("reflector.defaults.pollInterval=1s", "'pollInterval' not allowed"),
        ("watch.namespaces={Sales}", "/watch/namespaces/0"),
        ("installation=Production", "/installation"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(helm, value, where):
    done = helm("template", "mirror", CHART, "--set", value)
    assert done.returncode != 0
    assert where in done.stderr


@pytest.mark.parametrize("values", SETS)
def test_every_pod_is_as_a_restricted_namespace_wants_it(rendered, values):
    objects = rendered(values)
    pods = [one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"]
    pods += [one["spec"] for one in objects if one["kind"] == "Pod"]
    assert len(pods) >= 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert all(volume.keys() <= {"name", "emptyDir", "configMap"} for volume in pod.get("volumes", []))
        for one in pod["containers"]:
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert one["resources"]["requests"]["memory"]
            assert one["resources"]["limits"]["memory"]


# CRDs.


def test_the_crds_are_those_of_the_models_and_stay_when_the_chart_goes(rendered):
    crds = kinds(rendered(), "CustomResourceDefinition")
    wanted = {body["metadata"]["name"]: body for body in map(yaml.safe_load, map(schema.render, schema.crds()))}
    assert crds.keys() == wanted.keys()
    for name, body in wanted.items():
        assert crds[name]["spec"] == body["spec"]
        assert crds[name]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    loose = kinds(rendered({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert all("annotations" not in one["metadata"] for one in loose.values())
    assert not kinds(rendered({"crds": {"install": False}}), "CustomResourceDefinition")


# Rights.


def documented():
    """Group, resource and verb of each right of the operator's, as docs/explanation/operator.md has them."""
    page = (ROOT / "docs" / "explanation" / "operator.md").read_text(encoding="utf-8")
    table = page.partition("Of the operator, in every namespace")[2].partition("For the whole cluster")[0]
    found = set()
    for group, resources, verbs in re.findall(r"^\| (core|`.+?`) \| (.+?) \| (.+?) \|$", table, re.MULTILINE):
        names = re.findall(r"`([\w/]+)`", resources)
        if resources.startswith("their "):
            names = [f"{name}{names[0]}" for name in ("databases", "sourcetables", "reflections")]
        named = "" if group == "core" else group.strip("`")
        found |= {(named, name, verb) for name in names for verb in verbs.split(", ")}
    return found


def granted(role):
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_operator_has_the_rights_that_its_page_lists_and_no_other(rendered):
    objects = rendered()
    wanted = documented()
    assert len(wanted) > 40
    everywhere = {("", "namespaces", verb) for verb in ("get", "list", "watch")}
    assert granted(only(objects, "ClusterRole", "ours-mirror-pantograph")) == wanted | everywhere
    leases = {("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update", "patch")}
    assert granted(only(objects, "Role")) == leases
    subject = {"kind": "ServiceAccount", "name": "mirror-pantograph", "namespace": "ours"}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        assert only(objects, kind)["subjects"] == [subject]


def test_with_namespaces_named_there_is_no_right_in_the_rest_of_the_cluster(rendered):
    objects = rendered("namespaced")
    assert not {one["kind"] for one in objects} & {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    roles = {(one["metadata"]["namespace"]): one for one in objects if one["kind"] == "Role"}
    assert roles.keys() == {"ours", "sales", "stock"}
    assert granted(roles["sales"]) == granted(roles["stock"]) == documented()
    assert {one["metadata"]["namespace"] for one in objects if one["kind"] == "RoleBinding"} == roles.keys()
    assert environment(objects)["PANTOGRAPH_NAMESPACES"] == "sales,stock"
    assert only(objects, "PodMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["ours", "sales", "stock"]}


def test_view_and_edit_of_the_cluster_take_in_the_three_kinds_and_no_secret(rendered):
    objects = rendered()
    view, edit = (only(objects, "ClusterRole", f"ours-mirror-pantograph-{name}") for name in ("view", "edit"))
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in edit["metadata"]["labels"]
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert {verb for _, _, verb in granted(view)} == {"get", "list", "watch"}
    assert {group for role in (view, edit) for group, _, _ in granted(role)} == {"pantograph.dev"}


def test_by_hand_means_no_role_and_no_account(rendered):
    objects = rendered("bare")
    assert not {one["kind"] for one in objects} & {
        "Role",
        "ClusterRole",
        "RoleBinding",
        "ClusterRoleBinding",
        "ServiceAccount",
    }
    assert only(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "pantograph-operator"


# The operator.


def test_the_operator_is_told_what_its_page_says(rendered):
    page = (ROOT / "docs" / "explanation" / "operator.md").read_text(encoding="utf-8")
    told = environment(rendered("whole"))
    known = set(re.findall(r"`(PANTOGRAPH_\w+|POD_\w+)`", page))
    assert {name for name in told if name.startswith(("PANTOGRAPH_", "POD_"))} <= known
    assert told["PANTOGRAPH_INSTALLATION"] == "production"
    assert told["PANTOGRAPH_REFLECTOR_IMAGE"] == container(rendered("whole"))["image"]
    assert told["PANTOGRAPH_REFLECTOR_PULL_SECRETS"] == "registry"
    assert json.loads(environment(rendered())["PANTOGRAPH_REFLECTOR_DEFAULTS"]) == {}


def test_defaults_of_reflectors_are_what_a_database_may_say(rendered):
    said = json.loads(environment(rendered("whole"))["PANTOGRAPH_REFLECTOR_DEFAULTS"])
    assert said["podAnnotations"] == {
        "example.com/note": "b", "prometheus.io/scrape": "true", "prometheus.io/port": "8080"
    }  # fmt: skip
    crd = yaml.safe_load(schema.render("databases"))
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    known = spec["properties"]["reflector"]["properties"]
    allowed = json.loads((CHART / "values.schema.json").read_text())["properties"]["reflector"]["properties"][
        "defaults"
    ]
    assert said.keys() <= allowed["properties"].keys() <= known.keys()


def test_the_installation_is_the_release_s_name_unless_said_and_is_remembered(rendered):
    for values, name in (({}, "mirror"), ({"installation": "north"}, "north")):
        objects = rendered(values)
        assert environment(objects)["PANTOGRAPH_INSTALLATION"] == name
        remembered = only(objects, "ConfigMap", "mirror-pantograph-installation")
        assert remembered["data"] == {"installation": name}
        assert remembered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == name


def test_a_digest_is_the_image_whatever_the_tag(rendered):
    digest = f"sha256:{'0' * 64}"
    image = container(rendered({"image": {"repository": "here/pantograph", "tag": "1", "digest": digest}}))["image"]
    assert image == f"here/pantograph@{digest}"
    assert container(rendered({"image": {"tag": "7"}}))["image"] == "pantograph:7"


def test_services_and_disruption_budgets_and_policies_find_the_pods(rendered):
    objects = rendered("whole")
    pods = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in kinds(objects, "Deployment").items()}
    assert pods.keys() == {"mirror-pantograph", "mirror-pantograph-console"}
    reflector = pods["mirror-pantograph"] | {"app.kubernetes.io/component": "reflector"}
    finding = {
        "Service": ("selector",),
        "PodDisruptionBudget": ("selector", "matchLabels"),
        "NetworkPolicy": ("podSelector", "matchLabels"),
        "PodMonitor": ("selector", "matchLabels"),
    }
    assert finding.keys() <= {one["kind"] for one in objects}
    for one in objects:
        if one["kind"] in finding:
            wanted = functools.reduce(lambda found, step: found[step], finding[one["kind"]], one["spec"]).items()
            assert any(wanted <= labels.items() for labels in (*pods.values(), reflector)), one["metadata"]["name"]


def test_the_console_is_off_unless_asked_for_and_changes_nothing_by_itself(rendered):
    assert "mirror-pantograph-console" not in kinds(rendered(), "Deployment")
    objects = rendered("whole")
    told = container(objects, "mirror-pantograph-console")["args"]
    assert told == ["console", "--address=0.0.0.0:8090", "--installation=production"]
    rights = granted(only(objects, "ClusterRole", "ours-mirror-pantograph-console"))
    assert {verb for _, _, verb in rights} == {"get", "list", "watch"}
    assert {resource for _, resource, _ in rights} == {"databases", "sourcetables", "reflections", "events"}
    objects = rendered({"console": {"enabled": True, "readByPortForward": False}})
    bound = {subject["name"] for one in objects if one["kind"].endswith("RoleBinding") for subject in one["subjects"]}
    assert bound == {"mirror-pantograph"}


def test_the_console_reads_in_the_namespaces_named_and_nowhere_else(rendered):
    objects = rendered({"console": {"enabled": True}, "watch": {"namespaces": ["sales"]}})
    assert "--namespace=sales" in container(objects, "mirror-pantograph-console")["args"]
    assert only(objects, "Role", "ours-mirror-pantograph-console")["metadata"]["namespace"] == "sales"
    assert "ours-mirror-pantograph-console" not in kinds(objects, "ClusterRole")


def test_the_console_acts_as_those_who_are_named_and_nobody_else(rendered):
    proxies = {"enabled": True, "trustedProxies": ["10.1.2.3/32"]}
    assert not [one for one in rendered("whole") if one["metadata"]["name"].endswith("-impersonates")]
    objects = rendered({"console": {**proxies, "impersonate": {"users": ["maria"], "groups": ["*"]}}})
    assert "--trusted-proxy=10.1.2.3/32" in container(objects, "mirror-pantograph-console")["args"]
    role = only(objects, "ClusterRole", "ours-mirror-pantograph-console-impersonates")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["groups"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "resourceNames": ["maria"]},
    ]
    objects = rendered({"console": proxies})
    assert only(objects, "ClusterRole", "ours-mirror-pantograph-console-impersonates")["rules"] in (None, [])


def test_extra_objects_are_templates(rendered):
    more = only(rendered("whole"), "ConfigMap", "mirror-more")
    assert more["data"] == {"installation": "production"}


# To be seen.


def test_a_rule_comes_out_as_it_stands_in_the_plain_file(rendered):
    plain = yaml.safe_load((CHART / "files" / "rules.yaml").read_text(encoding="utf-8"))
    assert only(rendered("whole"), "PrometheusRule")["spec"] == plain


def test_the_dashboard_comes_out_as_it_stands_in_the_plain_file(rendered):
    shown = only(rendered("whole"), "ConfigMap", "mirror-pantograph-dashboard")["data"]["pantograph.json"]
    assert json.loads(shown) == json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))


def test_a_metric_keeps_the_namespace_of_its_reflection(rendered):
    (endpoint,) = only(rendered("whole"), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["honorLabels"] is True
    assert endpoint["port"] in {port["name"] for port in container(rendered("whole"))["ports"]}


# What is said after an install.


@pytest.fixture
def notes(helm, tmp_path):
    """What NOTES.txt says: `helm template` leaves it out, so a ConfigMap takes it in."""
    chart = shutil.copytree(CHART, tmp_path / "pantograph")
    (chart / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
        'data: {notes: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}}\n'
    )

    def said(*values):
        done = helm(
            "template", "mirror", chart, "--namespace", "ours", *KUBERNETES, "-s", "templates/notes.yaml", *values
        )
        assert done.returncode == 0, done.stderr
        return yaml.safe_load(done.stdout)["data"]["notes"]

    return said


def test_the_notes_say_what_to_do_next(notes):
    said = notes()
    assert "looks after the whole cluster" in said
    assert "helm -n ours test mirror" in said
    assert "installation: mirror" in said
    assert "Before you uninstall" in said
    assert "console" not in said
    again = notes("-f", CHART / "ci" / "whole-values.yaml")
    assert "Keep this in your values" not in again
    assert "port-forward service/mirror-pantograph-console" in again
    assert "the namespaces sales, stock" in notes("-f", CHART / "ci" / "namespaced-values.yaml")


def test_the_rules_and_the_dashboard_are_the_files_as_they_are(rendered):
    objects = rendered({"metrics": {"rules": {"enabled": True}, "dashboard": {"enabled": True}}})
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text(encoding="utf-8"))
    assert only(objects, "PrometheusRule")["spec"] == rules
    board = only(objects, "ConfigMap", "mirror-pantograph-dashboard")["data"]["pantograph.json"]
    assert board == (CHART / "files" / "dashboard.json").read_text(encoding="utf-8")
