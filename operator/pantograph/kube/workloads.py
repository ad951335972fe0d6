"""The reflector's objects of one source Database: Deployment, ServiceAccount, Role and RoleBinding, owned by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pantograph.api.base import API_VERSION, GROUP
from pantograph.api.databases import Database, Reflector
from pantograph.kube import objects
from pantograph.kube.objects import Kind, Object

PORT = 8080
USER = 10001
GRACE = 30
DATABASE_LABEL = f"{GROUP}/database"
SPEC_HASH = f"{GROUP}/spec-hash"


@dataclass(frozen=True, slots=True)
class Template:
    """What all reflectors have in common. defaults: fields of `spec.reflector`, for Databases that do not say them."""

    installation: str
    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)


def name_of(database: str) -> str:
    """What a Database's reflector, and all that belongs to it, is called."""
    return f"{database}-reflector"


def labels_of(installation: str, database: str) -> dict[str, str]:
    """The labels of a Database's reflector."""
    return {
        "app.kubernetes.io/name": "pantograph",
        "app.kubernetes.io/component": "reflector",
        "app.kubernetes.io/managed-by": "pantograph",
        "app.kubernetes.io/instance": installation,
        DATABASE_LABEL: database,
    }


def render(database: Database, secret_names: Collection[str], template: Template) -> list[tuple[Kind, Object]]:
    """The objects, in the order in which they are to be made. secret_names: all that the reflector may read."""
    name, labels = name_of(database.name), labels_of(template.installation, database.name)
    metadata = {
        "name": name,
        "namespace": database.namespace,
        "labels": labels,
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": Database.KIND,
                "name": database.name,
                "uid": database.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }

    def made(kind: Kind, **content: Any) -> tuple[Kind, Object]:
        return kind, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}

    subject = {"kind": "ServiceAccount", "name": name, "namespace": database.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    return [
        made(objects.SERVICE_ACCOUNT, automountServiceAccountToken=False),
        made(objects.ROLE, rules=_rules(secret_names)),
        made(objects.ROLE_BINDING, roleRef=role, subjects=[subject]),
        made(objects.DEPLOYMENT, spec=_deployment(database, template, name, labels)),
    ]


def fingerprint(rendered: list[tuple[Kind, Object]]) -> str:
    """Changes when any of the objects does."""
    text = json.dumps([body for _, body in rendered], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rules(secret_names: Collection[str]) -> list[Object]:
    rules: list[Object] = [
        {
            "apiGroups": [GROUP],
            "resources": ["databases", "sourcetables", "reflections"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "apiGroups": [GROUP],
            "resources": ["sourcetables/status", "reflections/status"],
            "verbs": ["get", "patch"],
        },
    ]
    if secret_names:  # without names the rule would be for all of them
        rules.append(
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": sorted(secret_names), "verbs": ["get"]}
        )
    return rules


def _deployment(database: Database, template: Template, name: str, labels: Mapping[str, str]) -> Object:
    asked = _shape(database.spec.reflector, template.defaults)
    pod_labels = {**asked["podLabels"], **labels}
    return {
        "replicas": 1,
        "revisionHistoryLimit": 3,
        # Two at once are safe, but one that waits for the other's locks helps nobody.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {key: labels[key] for key in ("app.kubernetes.io/component", DATABASE_LABEL)}},
        "template": {
            "metadata": {"labels": pod_labels, "annotations": asked["podAnnotations"]},
            "spec": {
                "serviceAccountName": name,
                "automountServiceAccountToken": True,
                "terminationGracePeriodSeconds": GRACE,
                "enableServiceLinks": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "runAsGroup": USER,
                    "fsGroup": USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                # A node that fails is left within 30 s, and not after the five minutes that are usual.
                "tolerations": [*_leaves_failed_nodes(), *asked["tolerations"]],
                "nodeSelector": asked["nodeSelector"],
                "affinity": asked["affinity"],
                "topologySpreadConstraints": asked["topologySpreadConstraints"],
                **({"priorityClassName": asked["priorityClassName"]} if asked["priorityClassName"] else {}),
                "imagePullSecrets": [{"name": one} for one in template.pull_secrets],
                "containers": [_container(database, template, asked)],
                "volumes": [{"name": "tmp", "emptyDir": {}}, *asked["volumes"]],
            },
        },
    }


def _container(database: Database, template: Template, asked: Mapping[str, Any]) -> Object:
    def probe(path: str, **times: int) -> Object:
        return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 5, **times}

    return {
        "name": "reflector",
        "image": template.image,
        "imagePullPolicy": template.pull_policy,
        "args": [
            "reflector",
            *("--namespace", database.namespace),
            *("--database", database.name),
            *("--installation", template.installation),
            *("--port", str(PORT)),
        ],
        "env": asked["env"],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "livenessProbe": probe("/healthz", periodSeconds=10, failureThreshold=3, initialDelaySeconds=5),
        "readinessProbe": probe("/readyz", periodSeconds=5, failureThreshold=2),
        "resources": asked["resources"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *asked["volumeMounts"]],
    }


def _leaves_failed_nodes() -> list[Object]:
    return [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
        for what in ("not-ready", "unreachable")
    ]


def _shape(asked: Reflector, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that shape the pod, in camelCase: what the Database says, else what the operator was given."""
    said = asked.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {**Reflector().model_dump(mode="json", by_alias=True), **defaults, **said}
