"""Read, watch and write objects of the cluster. Every call has a time limit; every failure is a `ClusterError`.

Objects are mappings here, as the API server sends them: `api.reading` makes typed ones of ours. Written is by
server-side apply, with a field manager of one's own: a merge patch would replace the other writer's conditions.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from pantograph import errors
from pantograph.api.base import GROUP, VERSION, Resource

Object = dict[str, Any]
TIMEOUT = (5.0, 20.0)
"""Seconds to connect and to answer."""
WATCH_SECONDS = 240
"""A watch ends by itself after so long, and begins anew: one that has gone silent behind a load balancer is noticed."""
CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object and where the API server keeps it."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """The path of one object, or of all in a namespace, or of all."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [root + self.api_version]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, *filter(None, (name, sub))]
        return "/".join(parts)


def kind_of(resource: type[Resource] | Resource) -> Kind:
    """One of our three kinds."""
    return Kind(f"{GROUP}/{VERSION}", resource.KIND, resource.PLURAL)


SECRET = Kind("v1", "Secret", "secrets")
EVENT = Kind("v1", "Event", "events")
NAMESPACE = Kind("v1", "Namespace", "namespaces")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
POD = Kind("v1", "Pod", "pods")
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK, and the object as it is then."""

    type: str
    body: Object


class Cluster:
    """The API server, with the rights of whoever we are. May be used by several threads."""

    def __init__(self, api: client.ApiClient, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.api, self._headers = api, tuple(headers)

    @staticmethod
    def connect(context: str = "") -> Cluster:
        """As the pod's ServiceAccount, or as the user of the kubeconfig (in this context of it, if one is named).
        Raises `ClusterError` without either."""
        try:
            if context:
                raise config.ConfigException("a context is asked for")
            config.load_incluster_config()  # type: ignore[no-untyped-call]  # it has no types
        except config.ConfigException:
            try:
                config.load_kube_config(context=context or None)  # type: ignore[no-untyped-call]  # nor this
            except config.ConfigException as error:
                raise errors.ClusterError(
                    f"no cluster is known: no ServiceAccount and no kubeconfig ({error})"
                ) from error
        settings = client.Configuration.get_default_copy()
        settings.connection_pool_maxsize = CONNECTIONS
        settings.retries = urllib3.Retry(total=0)
        return Cluster(client.ApiClient(settings))

    def as_bearer(self, token: str) -> Cluster:
        """The same API server with the rights of whoever holds this token, and none of our own."""
        ours = self.api.configuration
        settings = client.Configuration()
        for name in (
            "host",
            "proxy",
            "ssl_ca_cert",
            "ca_cert_data",
            "verify_ssl",
            "assert_hostname",
            "tls_server_name",
        ):
            setattr(settings, name, getattr(ours, name))
        settings.connection_pool_maxsize, settings.retries = CONNECTIONS, ours.retries
        settings.api_key = {"BearerToken": token}
        settings.api_key_prefix = {"BearerToken": "Bearer"}
        return Cluster(client.ApiClient(settings))

    def as_person(self, user: str, groups: Sequence[str]) -> Cluster:
        """The same API server with the rights of this person, and none of our own, which need but let us impersonate.
        Their groups are these and `system:authenticated`."""
        return Cluster(self.api, [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)])

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object, or None when it is not there."""
        try:
            return self._call("GET", kind.path(namespace, name))
        except errors.ClusterError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: Kind, namespace: str = "", **selectors: str) -> tuple[list[Object], str]:
        """All objects, and the version to watch from."""
        found: list[Object] = []
        query = {**selectors, "limit": "500"}
        while True:
            page = self._call("GET", kind.path(namespace), query)
            # Items of a list come without what they are.
            found += [{**item, "apiVersion": kind.api_version, "kind": kind.kind} for item in page.get("items") or []]
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return found, str(metadata.get("resourceVersion", ""))
            query["continue"] = metadata["continue"]

    def watch(self, kind: Kind, namespace: str, version: str, seconds: int = WATCH_SECONDS) -> Iterator[Change]:
        """What happens from a version on; ends by itself. A `ClusterError` with status 410 asks to list again."""
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = self._send("GET", kind.path(namespace), query, timeout=(TIMEOUT[0], seconds + 30.0))
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    said = event["object"]
                    raise errors.ClusterError(
                        f"watching {kind.plural}: {said.get('message', '')}", status=int(said.get("code", 500))
                    )
                yield Change(event["type"], event["object"])
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise errors.ClusterError(f"watching {kind.plural}: {_told(error)}") from error
        finally:
            with contextlib.suppress(Exception):
                response.close()

    # -- writing -----------------------------------------------------------------------------------------------------

    def apply(self, kind: Kind, body: Object, manager: str, *, sub: str = "") -> Object:
        """Server-side apply; what another manager wrote into the same fields is overwritten."""
        metadata = body["metadata"]
        return self._call(
            "PATCH",
            kind.path(metadata["namespace"], metadata["name"], sub),
            {"fieldManager": manager, "force": "true"},
            body=body,
            content_type="application/apply-patch+yaml",
        )

    def patch(self, kind: Kind, namespace: str, name: str, operations: Sequence[Object]) -> Object:
        """A JSON patch; status 422 when one of its tests does not hold."""
        return self._call(
            "PATCH", kind.path(namespace, name), body=list(operations), content_type="application/json-patch+json"
        )

    def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """A new object."""
        return self._call("POST", kind.path(namespace), body=body)

    def delete(self, kind: Kind, namespace: str, name: str) -> bool:
        """Have an object go; False when it was not there."""
        try:
            self._call("DELETE", kind.path(namespace, name))
        except errors.ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        response = self._send(method, path, query, body=body, content_type=content_type)
        try:
            return dict(json.loads(response.data))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise errors.ClusterError(f"{method} {path}: {_told(error)}") from error

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Any = None,
        content_type: str = "application/json",
        timeout: tuple[float, float] = TIMEOUT,
    ) -> urllib3.BaseHTTPResponse:
        try:
            serialized = self.api.param_serialize(
                method, path, query_params=list((query or {}).items()), auth_settings=["BearerToken"],
                header_params={"Accept": "application/json", "Content-Type": content_type},
            )  # fmt: skip
            sent = urllib3.HTTPHeaderDict(serialized[2])
            for name, value in self._headers:
                sent.add(name, value)
            answer = self.api.call_api(
                serialized[0],
                serialized[1],
                header_params=sent,
                body=body,
                _request_timeout=timeout,
            )
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise errors.ClusterError(f"{method} {path}: {_told(error)}") from error
        response: urllib3.BaseHTTPResponse = answer.response
        if not 200 <= response.status <= 299:
            raise errors.ClusterError(f"{method} {path}: {_message(response)}", status=response.status)
        return response


def _told(error: Exception) -> str:
    """What went wrong, at a bearable length; no header is in it."""
    return f"{type(error).__name__}: {error}"[:300]


def _message(response: urllib3.BaseHTTPResponse) -> str:
    with contextlib.suppress(Exception):
        said = json.loads(response.data)
        return str(said.get("message", ""))[:2000]
    return f"status {response.status}"


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    left = b""
    for part in response.stream(65536, decode_content=False):
        *whole, left = (left + part).split(b"\n")
        yield from (line for line in whole if line)


def timestamp(seconds: float | None = None) -> str:
    """A moment as the API server writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
