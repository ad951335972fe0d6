"""The console as the chart installs it: its own pod, looked at by port-forward, used with the token of a person."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.charts import Release
from tests.cluster.test_chart import Mirror, mirror
from tests.console.conftest import Visitor, chromium, visitor
from tests.support.comparison import wait_until

__all__ = ["chromium", "mirror", "visitor"]
pytestmark = pytest.mark.night


@contextlib.contextmanager
def forwarded(ours: Release) -> Iterator[str]:
    """The console's pages, by `kubectl port-forward`."""
    command = [str(ours.cluster.kubectl_program), "port-forward", "--namespace", ours.namespace]
    with subprocess.Popen(
        [*command, "service/mirror-pantograph-console", ":80"],
        env={**os.environ, "KUBECONFIG": str(ours.cluster.kubeconfig)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        try:
            yield f"http://127.0.0.1:{found[1]}/"
        finally:
            process.terminate()


def token(ours: Release, namespace: str, role: str) -> str:
    """Of somebody who has one of the cluster's own roles in a namespace."""
    cluster = ours.cluster
    cluster.kubectl("create", "serviceaccount", role, "--namespace", namespace)
    words = (f"--clusterrole={role}", f"--serviceaccount={namespace}:{role}", "--namespace", namespace)
    cluster.kubectl("create", "rolebinding", role, *words)
    return cluster.kubectl("create", "token", role, "--namespace", namespace).strip()


def test_the_console_of_the_chart_shows_all_and_does_what_the_person_may(
    release: Callable[..., Release], mirror: Callable[[], Mirror], visitor: Callable[..., Visitor]
) -> None:
    ours, orders = release(console={"enabled": True}), mirror()
    ours.bring("install")
    orders.apply()
    ours.cluster.wait("Ready", "reflection/orders", orders.namespace, 120)
    where = f"reflections/{orders.namespace}/orders"
    with forwarded(ours) as url:
        looking = visitor(url)
        looking.go()
        looking.sees("orders")
        looking.sees(orders.namespace)
        looking.go(where)
        looking.sees("Replicating")
        looking.examine()

        bearer = {"Authorization": f"Bearer {token(ours, orders.namespace, 'edit')}"}
        person = visitor(url, extra_http_headers=bearer)
        person.go(where)
        person.click("Pause")
        person.sees("is paused")

        def spec() -> Any:
            return ours.cluster.get("reflection", "orders", orders.namespace)["spec"]

        wait_until(lambda: spec().get("paused"), "the Reflection to be paused")
        person.click("Resume")
        wait_until(lambda: not spec().get("paused"), "the Reflection to go on")
        orders.follows(1)
    orders.remove()
    assert orders.traces() == []
