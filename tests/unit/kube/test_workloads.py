"""The reflector's objects."""

from __future__ import annotations

from typing import Any

from pantograph.api import reading
from pantograph.api.databases import Database
from pantograph.kube import workloads
from pantograph.kube.workloads import Template

TEMPLATE = Template("prod", "registry.example/pantograph:1", defaults={"nodeSelector": {"disk": "fast"}})


def rendered(secrets: tuple[str, ...] = ("shop",), **reflector: Any) -> dict[str, dict[str, Any]]:
    body = {
        "apiVersion": "pantograph.dev/v1alpha1",
        "kind": "Database",
        "metadata": {"name": "shop", "namespace": "ns", "uid": "u"},
        "spec": {
            "dialect": "postgresql", "host": "h", "credentials": {"secretName": "shop"}, "reflector": reflector
        },
    }  # fmt: skip
    database = reading.parse(Database, body)
    return {kind.kind: made for kind, made in workloads.render(database, secrets, TEMPLATE)}


def test_all_are_owned_by_the_database_so_that_they_go_with_it():
    for made in rendered().values():
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("Database", "shop", "u")


def test_it_may_read_the_secrets_that_are_named_and_no_others():
    rules = rendered(("shop", "warehouse"))["Role"]["rules"]
    (secrets,) = [rule for rule in rules if "secrets" in rule["resources"]]
    assert secrets["resourceNames"] == ["shop", "warehouse"]
    assert secrets["verbs"] == ["get"]
    assert not [rule for rule in rendered(())["Role"]["rules"] if "secrets" in rule["resources"]]


def test_the_pod_meets_the_restricted_pod_security_standard():
    pod = rendered()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip


def test_two_never_run_at_once_and_a_failed_node_is_left_within_half_a_minute():
    spec = rendered()["Deployment"]["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert {one["tolerationSeconds"] for one in spec["template"]["spec"]["tolerations"]} == {30}


def test_what_a_database_says_of_its_reflector_goes_before_what_is_said_of_all():
    assert rendered()["Deployment"]["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "fast"}
    own = rendered(nodeSelector={"disk": "slow"}, podLabels={"team": "a"})["Deployment"]["spec"]["template"]
    assert own["spec"]["nodeSelector"] == {"disk": "slow"}
    assert own["metadata"]["labels"]["team"] == "a"


def test_the_fingerprint_changes_with_any_of_it():
    def of(**reflector: Any) -> str:
        return workloads.fingerprint([(workloads.objects.DEPLOYMENT, rendered(**reflector)["Deployment"])])

    assert of() == of()
    assert of() != of(nodeSelector={"disk": "slow"})
