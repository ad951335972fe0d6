"""Kubernetes, CoreDNS, etcd and helm, built from their Go modules: once, and kept by what they are built from."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable

from tests.servers import processes

SOURCES = pathlib.Path(__file__).with_name("go")
KEPT = processes.CACHE / "cluster"

# Each is a program of its own; "kubernetes" is six, by the name it is called under.
PACKAGES = ("./kubernetes", "./dns", "./pause", "helm.sh/helm/v3/cmd/helm", "go.etcd.io/etcd/server/v3")
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
    sources = [path for path in SOURCES.rglob("*") if path.is_file()]
    folder = KEPT / f"programs-{content(sources, *PACKAGES)}"
    with processes.made_once(folder) as part:
        if part is not None:
            _compile(part)
    return folder


def _compile(folder: pathlib.Path) -> None:
    if not shutil.which("go"):
        raise RuntimeError("cannot build Kubernetes for the tests: there is no `go` here; install Go 1.26 or later")
    print("building Kubernetes, CoreDNS, etcd and helm from their Go modules, once", file=sys.stderr, flush=True)
    done = subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", _flags(), "-o", f"{folder}/", *PACKAGES],
        cwd=SOURCES, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"cannot build Kubernetes for the tests: go build failed:\n{done.stderr[-4000:]}")
    (folder / "server").rename(folder / "etcd")
    for name in KUBERNETES:
        (folder / name).symlink_to("kubernetes")


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
