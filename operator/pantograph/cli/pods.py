"""`pantograph operator` and `pantograph reflector`: the two processes of the image, from their pods' environment."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from pantograph import errors
from pantograph.cli import terminal

DEFAULTS = {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}}


def operator(namespaces: Sequence[str], installation: str, port: int, image: str) -> None:
    """Run the operator."""
    from pantograph.handlers import startup
    from pantograph.kube.workloads import Template

    environment = os.environ
    template = Template(
        installation=installation,
        image=image,
        pull_policy=environment.get("PANTOGRAPH_REFLECTOR_PULL_POLICY") or "IfNotPresent",
        pull_secrets=_words(environment.get("PANTOGRAPH_REFLECTOR_PULL_SECRETS", "")),
        defaults={**DEFAULTS, **_defaults(environment.get("PANTOGRAPH_REFLECTOR_DEFAULTS") or "{}")},
    )
    settings = startup.Settings(
        template=template,
        namespaces=tuple(dict.fromkeys(word for one in namespaces for word in _words(one))),
        port=port,
        own_namespace=environment.get("POD_NAMESPACE") or "default",
        identity=environment.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
    )
    startup.run(settings, terminal.Log().event)


def reflector(namespace: str, database: str, installation: str, port: int) -> None:
    """Run a reflector."""
    from pantograph.cli.running import Stopping, Telling
    from pantograph.reflector import pod

    log = terminal.Log()
    with Stopping() as stopping:
        settings = pod.Settings(namespace, database, installation, port)
        pod.run(settings, Telling(log), log.event, lambda: stopping.asked)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _defaults(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise errors.SpecError(f"no JSON: {error}", path="PANTOGRAPH_REFLECTOR_DEFAULTS") from error
    if not isinstance(given, dict):
        raise errors.SpecError("found something else, expected an object", path="PANTOGRAPH_REFLECTOR_DEFAULTS")
    return given
