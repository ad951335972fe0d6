"""An API server and its etcd alone, on free ports: for what asks for objects and rights and runs no pod."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.cluster import programs
from tests.cluster.certificates import Authority
from tests.servers import processes


class Control:
    """tokens: of persons, by name; what each may do is for the test to say (`grant`)."""

    def __init__(self, folder: pathlib.Path, persons: Iterable[str]) -> None:
        self.folder, self.programs = folder, programs.build()
        self.tokens = {person: f"token-of-{person}" for person in persons}
        self.port = processes.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kubeconfig = pathlib.Path()

    def start(self) -> None:
        """Until it is ready, in 5 to 15 s."""
        pki = self.folder / "pki"
        self.authority = authority = Authority(pki)
        authority.server("apiserver", "127.0.0.1")
        authority.client("admin", "admin", "system:masters")
        authority.token_key("tokens")
        self.kubeconfig = authority.kubeconfig("admin", self.url)
        listed = "".join(f"{token},{person},{person}\n" for person, token in self.tokens.items())
        (pki / "tokens.csv").write_text(listed)
        etcd, peers = (f"http://127.0.0.1:{processes.free_port()}" for _ in range(2))
        self._launch(
            "etcd", f"--data-dir={self.folder}/etcd", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}", "--log-level=warn", "--unsafe-no-fsync",
        )  # fmt: skip
        self._launch(
            "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={self.port}",
            "--service-cluster-ip-range=10.96.0.0/16", f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key", f"--client-ca-file={pki}/ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={pki}/tokens.key", f"--service-account-key-file={pki}/tokens.pub",
            "--authorization-mode=RBAC", f"--token-auth-file={pki}/tokens.csv", "--profiling=false",
            "--disable-admission-plugins=ServiceAccount",
        )  # fmt: skip
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(subprocess.SubprocessError):
                if self.kubectl("get", "--raw", "/readyz") == "ok" and self.kubectl("get", "namespace", "default"):
                    return
            assert time.monotonic() < deadline, (self.folder / "kube-apiserver.log").read_text()[-3000:]
            assert all(one.poll() is None for one in self._processes), (self.folder / "kube-apiserver.log").read_text()
            time.sleep(0.1)

    def _launch(self, name: str, *options: str) -> None:
        log = self.folder / f"{name}.log"
        self._processes.append(processes.start([str(self.programs / name), *options], log, None, signal.SIGKILL))

    def kubectl(self, *words: str, input: str | None = None) -> str:
        """What kubectl prints, as the administrator."""
        command = [str(self.programs / "kubectl"), "--kubeconfig", str(self.kubeconfig), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, input=input).stdout

    def apply(self, objects: Iterable[Mapping[str, Any]], namespace: str = "default") -> None:
        """`kubectl apply` of all of them."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--namespace", namespace, "--filename", "-", input=text)

    def grant(self, person: str, *rules: Mapping[str, Any]) -> None:
        """Rights of a person in all namespaces."""
        metadata = {"name": person}
        named = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": person}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": person}
        version = "rbac.authorization.k8s.io/v1"
        self.apply(
            [
                {"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": list(rules)},
                {
                    "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": metadata, "roleRef": named,
                    "subjects": [subject],
                },
            ]
        )  # fmt: skip

    def stop(self) -> None:
        """Nothing of it stays."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()


@contextlib.contextmanager
def running(folder: pathlib.Path, *persons: str) -> Iterator[Control]:
    """An API server that knows these persons by their tokens."""
    control = Control(folder, persons)
    try:
        control.start()
        yield control
    finally:
        control.stop()


def environment(kubeconfig: pathlib.Path) -> dict[str, str]:
    """For a process that finds the API server by this kubeconfig."""
    return {**os.environ, "KUBECONFIG": str(kubeconfig)}
