"""A release of the packaged chart in a cluster, as its user has it: installed, upgraded and rolled back by Helm."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
from typing import Any

from tests.chart.conftest import built
from tests.cluster.cluster import Cluster, KubectlFailed


class Release:
    """One release of the packaged chart in a namespace of its own. values: beside image and installation."""

    def __init__(
        self, cluster: Cluster, package: pathlib.Path, namespace: str, home: pathlib.Path, **values: Any
    ) -> None:
        self.cluster, self.namespace, self.home = cluster, namespace, home
        self.values: dict[str, Any] = {"installation": f"chart-{namespace}", **values}
        self.take(package, cluster.image)

    def take(self, package: pathlib.Path, image: str) -> None:
        """Be of another chart, and of another image, from the next `bring` on."""
        repository, _, tag = image.rpartition(":")
        self.package = package
        self.values["image"] = {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}

    def helm(self, *words: str | pathlib.Path) -> str:
        """What Helm prints, in the release's namespace."""
        places = {f"HELM_{name}_HOME": str(self.home / name) for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [built("helm"), *map(str, words), "--namespace", self.namespace],
            env={**os.environ, **places, "KUBECONFIG": str(self.cluster.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"helm {' '.join(map(str, words))}: {done.stdout}{done.stderr}\n{self.seen()}"
        return done.stdout

    def seen(self) -> str:
        """What a person would look at first."""
        with contextlib.suppress(KubectlFailed):
            words = ("--namespace", self.namespace, "--selector", "app.kubernetes.io/name=pantograph")
            logs = self.cluster.kubectl("logs", *words, "--tail=30", "--prefix")
            return self.cluster.kubectl("get", "pods,events", "--namespace", self.namespace) + logs
        return ""

    def bring(self, verb: str, **values: Any) -> str:
        """`helm install` or `helm upgrade`, with more values."""
        path = self.home / "values.json"
        path.write_text(json.dumps(self.values | values))
        waits = ("--wait", "--timeout", "120s")
        # The CRDs may be those of another installation of the same run.
        return self.helm(verb, "mirror", self.package, "--values", path, "--take-ownership", *waits)
