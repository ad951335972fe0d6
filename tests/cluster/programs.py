"""Kubernetes, CoreDNS, etcd and helm, built from their Go modules: once, and kept by what they are built from.

What stands beside us in other people's clusters (NEIGHBOURS) is a module of its own: only the night needs it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator

from tests.servers import processes

SOURCES = pathlib.Path(__file__).with_name("go")
NEIGHBOURS = pathlib.Path(__file__).with_name("neighbours")
KEPT = processes.CACHE / "cluster"

# Each is a program of its own; "kubernetes" is six, by the name it is called under.
PACKAGES = ("./kubernetes", "./dns", "./pause", "helm.sh/helm/v3/cmd/helm", "go.etcd.io/etcd/server/v3")
# Enforces NetworkPolicies, reads objects as Flux does, finds pods as Prometheus does, and the operator of Prometheus.
BESIDE = ("./policies", "./kstatus", "github.com/prometheus-operator/prometheus-operator/cmd/operator")
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")


def content(paths: Iterable[pathlib.Path], *more: str) -> str:
    """A short name for what is in the files, whatever their times."""
    digest = hashlib.sha256()
    for part in (*more, *(each for path in sorted(paths) for each in (path.name, path.read_bytes()))):
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def build() -> pathlib.Path:
    """The folder of the programs; made when it is not there, which takes 5 to 10 minutes and a Go of 1.26."""
    with _made("programs", SOURCES, PACKAGES) as (folder, part):
        if part is not None:
            _compile(part, SOURCES, PACKAGES, "Kubernetes, CoreDNS, etcd and helm", _flags())
            (part / "server").rename(part / "etcd")
            for name in KUBERNETES:
                (part / name).symlink_to("kubernetes")
    return folder


def neighbours() -> pathlib.Path:
    """The folder of BESIDE and `discovery`; made when it is not there, in some minutes."""
    with _made("neighbours", NEIGHBOURS, BESIDE) as (folder, part):
        if part is not None:
            _compile(part, NEIGHBOURS, BESIDE, "what stands beside us in a cluster", "-s -w")
            _compile(part, NEIGHBOURS / "discovery", (".",), "Prometheus's discovery of pods", "-s -w")
            (part / "operator").rename(part / "prometheus-operator")
    return folder


def module(path: str) -> pathlib.Path:
    """Where the Go module `path` of NEIGHBOURS lies; it is fetched when it does not."""
    words = ["go", "mod", "download", "-json", path]
    done = subprocess.run(words, cwd=NEIGHBOURS, check=True, capture_output=True, text=True)
    return pathlib.Path(json.loads(done.stdout)["Dir"])


@contextlib.contextmanager
def _made(
    name: str, sources: pathlib.Path, packages: tuple[str, ...]
) -> Iterator[tuple[pathlib.Path, pathlib.Path | None]]:
    files = [path for path in sources.rglob("*") if path.is_file()]
    folder = KEPT / f"{name}-{content(files, *packages)}"
    with processes.made_once(folder) as part:
        yield folder, part


def _compile(
    folder: pathlib.Path, sources: pathlib.Path, packages: tuple[str, ...], what: str, linked_with: str
) -> None:
    if not shutil.which("go"):
        raise RuntimeError(f"cannot build {what} for the tests: there is no `go` here; install Go 1.26 or later")
    print(f"building {what} from Go modules, once", file=sys.stderr, flush=True)
    done = subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", linked_with, "-o", f"{folder}/", *packages],
        cwd=sources, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"cannot build {what} for the tests: go build failed:\n{done.stderr[-4000:]}")


def _flags() -> str:
    """Without its version an API server says v0.0.0, which no chart's `kubeVersion` accepts."""
    found = re.search(r"^\tk8s\.io/kubernetes v((\d+)\.(\d+)\.\d+)$", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    assert found
    version, major, minor = found.groups()
    values = {
        "k8s.io/component-base/version.gitVersion": f"v{version}",
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/component-base/version.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{version}",
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])
