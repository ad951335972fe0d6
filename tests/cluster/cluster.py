"""A cluster as a test holds it: ours, or one of somebody else that is marked as one to throw away."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tests.cluster.node import Node
from tests.support.comparison import wait_until

MARK = "pantograph.dev/disposable"
"""The label of the namespace kube-system without which nothing is touched: the tests delete and break things."""

Object = dict[str, Any]

_numbers = itertools.count(1)


class NotDisposable(Exception):
    """The cluster does not carry the mark of one that was made to be thrown away."""


class KubectlFailed(Exception):
    """kubectl ended with another status than 0; what it said is the message."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """host: where pods reach the machine of the tests. node: the parts that may be killed, if the cluster is ours."""

    kubectl_program: pathlib.Path
    kubeconfig: pathlib.Path
    image: str
    host: str
    node: Node | None = None

    def kubectl(self, *words: str, input: str | None = None, timeout: float = 120) -> str:
        """What kubectl prints; raises KubectlFailed."""
        done = subprocess.run(
            [str(self.kubectl_program), *words], input=input, capture_output=True, text=True, timeout=timeout,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )  # fmt: skip
        if done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, objects: Iterable[Mapping[str, Any]], namespace: str = "", *words: str) -> str:
        """`kubectl apply` of all of them at once, in this order; without a namespace each goes where it says."""
        where = ("--namespace", namespace) if namespace else ()
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", *where, "--filename", "-", *words, input=text)

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        """One object; raises KubectlFailed when it is not there."""
        return dict(json.loads(self.kubectl("get", kind, name, "--namespace", namespace, "--output", "json")))

    def objects(self, kind: str, namespace: str = "default", selector: str = "") -> list[Object]:
        """All objects of a kind in a namespace, or those that a label selector names."""
        words = ("get", kind, "--namespace", namespace, "--selector", selector, "--output", "json")
        return list(json.loads(self.kubectl(*words))["items"])

    def wait(self, condition: str, what: str, namespace: str = "default", patience: int = 60) -> None:
        """`kubectl wait` for a condition, as in wait("Ready", "reflection/orders")."""
        words = ("wait", f"--for=condition={condition}", what, "--namespace", namespace, f"--timeout={patience}s")
        self.kubectl(*words, timeout=patience + 30)

    def wait_gone(self, kind: str, name: str, namespace: str = "default", patience: float = 60) -> None:
        """Until there is no such object."""

        def gone() -> bool:
            return not self.kubectl("get", kind, name, "--namespace", namespace, "--ignore-not-found")

        wait_until(gone, f"{kind} {name} to be gone", patience)

    @contextlib.contextmanager
    def namespace(self, **labels: str) -> Iterator[str]:
        """A fresh namespace, restricted as a careful administrator would, and deleted at the end.

        It is not waited for: what is in it may take its time, and a test that minds waits itself.
        """
        name = f"test-{os.getpid()}-{next(_numbers)}"
        restricted = {"pod-security.kubernetes.io/enforce": "restricted", **labels}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}}
        self.apply([made])

        def has_its_account() -> str:
            return self.kubectl("get", "serviceaccount", "default", "--namespace", name, "--ignore-not-found")

        wait_until(has_its_account, f"the ServiceAccount of {name}")
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def run(self, namespace: str, *words: str, name: str = "job", **spec: Any) -> tuple[int, str]:
        """Run our image once, as the operator's pods run; the exit status and what was printed.

        words: the arguments of `pantograph`, or with `command=[...]` among spec those of another program.
        """
        self.apply([self.pod(name, [*words], **spec)], namespace)

        def ended() -> Object | None:
            status: Object = self.get("pod", name, namespace)["status"]
            return status if status.get("phase") in ("Succeeded", "Failed") else None

        status = wait_until(ended, f"pod {name} to end; {self.kubectl('get', 'pod', name, '-n', namespace)}", 90)
        output = self.kubectl("logs", name, "--namespace", namespace)
        self.kubectl("delete", "pod", name, "--namespace", namespace, "--grace-period=0", "--force")
        return int(status["containerStatuses"][0]["state"]["terminated"]["exitCode"]), output

    def pod(self, name: str, args: list[str], **container: Any) -> Object:
        """A Pod of our image under the restrictions that its own pods have."""
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "pantograph",
                        "image": self.image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": args,
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                        **container,
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        }


def refuse_unless_disposable(kubectl: Callable[..., str]) -> None:
    """Raise unless the cluster that kubectl talks to carries the mark."""
    labels = json.loads(kubectl("get", "namespace", "kube-system", "--output", "json"))["metadata"].get("labels", {})
    if labels.get(MARK) != "true":
        raise NotDisposable(
            f"the cluster is not marked as one to throw away, and nothing is touched there; if it is: "
            f"kubectl label namespace kube-system {MARK}=true"
        )
