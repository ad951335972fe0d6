"""The chart's PodMonitor and PrometheusRule in the hands of Prometheus's own operator, and what comes out of them."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import pathlib
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART, Rendered, helm, rendered
from tests.cluster import beside, node
from tests.cluster.charts import Release
from tests.cluster.cluster import Cluster, KubectlFailed
from tests.cluster.mirrors import Mirror, clear
from tests.monitoring.prometheus import RULES, Prometheus
from tests.servers import TestDatabase
from tests.support.comparison import wait_until

__all__ = ["helm", "rendered"]
pytestmark = pytest.mark.night

CHOSEN = {"release": "prometheus"}
MONITORED = {
    "podMonitor": {"enabled": True, "labels": CHOSEN, "interval": "1s", "scrapeTimeout": "1s"},
    "rules": {"enabled": True, "labels": CHOSEN},
}


@pytest.fixture(scope="module")
def monitored(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the operator of Prometheus in it."""
    if cluster.node is None:
        pytest.skip("the cluster is not ours, and may have no operator of Prometheus")
    with beside.prometheus_operator(cluster.node):
        yield cluster


def prometheus(cluster: Cluster, namespace: str) -> None:
    """A Prometheus as people ask for one: everything with a label, wherever it is. No pod runs: there is no image."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "prometheus"}}
    cluster.apply([account], namespace)
    # As the operator's manual has it.
    rule = ("--verb=get,list,watch", "--resource=pods")
    cluster.kubectl("create", "clusterrole", f"{namespace}-prometheus", *rule)
    account_ = f"--serviceaccount={namespace}:prometheus"
    words = (f"--clusterrole={namespace}-prometheus", account_)
    cluster.kubectl("create", "clusterrolebinding", f"{namespace}-prometheus", *words)
    token = cluster.kubectl("create", "token", "prometheus", "--namespace", namespace).strip()
    chosen: dict[str, Any] = {"matchLabels": CHOSEN}
    found = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Prometheus",
        "metadata": {"name": "main"},
        "spec": {
            "version": "v2.42.0",  # Debian's
            "replicas": 0,
            "serviceAccountName": "prometheus",
            "evaluationInterval": "1s",
            "podMonitorSelector": chosen, "podMonitorNamespaceSelector": {},
            "ruleSelector": chosen, "ruleNamespaceSelector": {},
            # For one that runs outside, as ours does.
            "apiserverConfig": {
                "host": node.SERVER,
                "authorization": {"credentialsFile": "/etc/prometheus/token"},
                "tlsConfig": {"caFile": "/etc/prometheus/ca.crt"},
            },
        },
    }  # fmt: skip
    cluster.apply([found], namespace)
    (node.STATE / "prometheus-token").write_text(token)


def generated(cluster: Cluster, namespace: str) -> tuple[str, dict[str, str]]:
    """The configuration and the files of rules that the operator made. It makes one before it knows of anything."""

    def config() -> str:
        try:
            data = cluster.get("secret", "prometheus-main", namespace)["data"]
        except KubectlFailed:
            return ""
        text = gzip.decompress(base64.b64decode(data["prometheus.yaml.gz"])).decode()
        return text if "podMonitor/" in text else ""

    text = wait_until(config, "the configuration of Prometheus", 60)
    rules = wait_until(
        lambda: cluster.get("configmap", "prometheus-main-rulefiles-0", namespace).get("data", {}), "its rules", 60
    )
    return text, rules


def with_files(config: dict[str, Any], found: Callable[[str], pathlib.Path]) -> dict[str, Any]:
    """The configuration for Debian's Prometheus, which cannot look for pods: `found` has what there is for each job."""
    for job in config["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        job["file_sd_configs"] = [{"files": [str(found(job["job_name"]))], "refresh_interval": "1s"}]
    return config


@pytest.fixture
def configured(monitored: Cluster, tmp_path: pathlib.Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """What the operator of Prometheus made of everything with the label, read from this machine's files."""
    with monitored.namespace() as namespace:
        prometheus(monitored, namespace)

        with contextlib.ExitStack() as kept:

            def read() -> dict[str, Any]:
                text, rules = generated(monitored, namespace)
                for name, there in (("ca.crt", "pki/ca.crt"), ("token", "prometheus-token")):
                    (tmp_path / name).write_bytes((node.STATE / there).read_bytes())
                folder = tmp_path / "rules" / "prometheus-main-rulefiles-0"
                folder.mkdir(parents=True)
                for name, content in rules.items():
                    (folder / name).write_text(content)
                config = tmp_path / "generated.yaml"
                # As the reloader beside a Prometheus writes it, but for where things are.
                for before, after in (
                    ("$(SHARD)", "0"), ("$(POD_NAME)", "prometheus-main-0"), ("/etc/prometheus/", f"{tmp_path}/")
                ):  # fmt: skip
                    text = text.replace(before, after)
                config.write_text(text)
                found = kept.enter_context(beside.discovery(config, tmp_path))
                return with_files(yaml.safe_load(config.read_text()), found)

            yield read
        monitored.kubectl("delete", "prometheus", "main", "--namespace", namespace)
        for kind in ("clusterrolebinding", "clusterrole"):
            monitored.kubectl("delete", kind, f"{namespace}-prometheus")


def test_the_operator_of_prometheus_has_operator_and_reflectors_scraped_with_the_rules(
    monitored: Cluster, release: Callable[..., Release], pg_db: Callable[..., TestDatabase],
    configured: Callable[[], dict[str, Any]], tmp_path: pathlib.Path,
) -> None:  # fmt: skip
    ours = release(metrics=MONITORED)
    ours.bring("install")
    with monitored.namespace() as namespace:
        mirror = Mirror(monitored, namespace, pg_db(), pg_db())
        mirror.apply()
        config = configured()
        (tmp_path / "checked.yaml").write_text(yaml.safe_dump(config))
        done = subprocess.run(
            ["promtool", "check", "config", tmp_path / "checked.yaml"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with Prometheus(tmp_path, config) as running:

            def components() -> set[str]:
                return {one["metric"]["container"] for one in running.query("up == 1")}

            wait_until(lambda: components() == {"operator", "reflector"}, "operator and reflector to be scraped", 60)
            asked = f'pantograph_reflection_lag_seconds{{namespace="{namespace}",name="orders"}}'
            wait_until(lambda: running.query(asked), "the lag of the Reflection", 60)
            # What a metric says of itself stands, and is not put aside for what is known of the pod.
            assert running.query('{exported_namespace!=""}') == []
            assert names(running) == named(yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"])
        clear(mirror)


@pytest.mark.parametrize("values", sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").iterdir()))
def test_an_api_server_takes_every_object_of_the_chart(monitored: Cluster, rendered: Rendered, values: str) -> None:
    # The pod of `helm test` needs an account that is there, and real installs run it.
    objects = [one for one in rendered(values) if "helm.sh/hook" not in one["metadata"].get("annotations", {})]
    for name in sorted({one["metadata"].get("namespace", "default") for one in objects} - {"default"}):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        monitored.apply([namespace])
    told = monitored.apply(objects, "", "--dry-run=server", "--validate=strict").splitlines()
    assert len(told) == len(objects)
    assert all(line.endswith("(server dry run)") for line in told)


def names(running: Prometheus) -> set[str]:
    """The rules that a Prometheus works with."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/api/v1/rules", timeout=10) as answer:
        groups = json.load(answer)["data"]["groups"]
    return {rule["name"] for group in groups for rule in group["rules"]}


def named(groups: list[dict[str, Any]]) -> set[str]:
    """The same of a file."""
    return {rule.get("alert") or rule["record"] for group in groups for rule in group["rules"]}


def test_a_monitor_that_its_crd_does_not_know_is_refused(monitored: Cluster) -> None:
    """So that a PodMonitor of ours which was taken is a right one."""
    wrong = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "wrong"}}
    spec = {"selector": {}, "podMetricsEndpoints": [{"port": "http", "interval": "soon"}]}
    with pytest.raises(KubectlFailed, match="interval"):
        monitored.apply([{**wrong, "spec": spec}], "default")
