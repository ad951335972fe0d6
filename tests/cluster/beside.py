"""What stands beside us in other people's clusters: who enforces NetworkPolicies, and the operator of Prometheus.

All run as processes of the node, for as long as a block lasts.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tests.cluster import node, programs
from tests.servers import processes

QUEUE = "100"
MONITORING = ("prometheuses", "podmonitors", "servicemonitors", "probes", "scrapeconfigs", "prometheusrules")


@contextlib.contextmanager
def policies(on: node.Node) -> Iterator[None]:
    """NetworkPolicies hold: the first packet of each connection from or to a pod is asked for.

    Not for what root sends from this machine, such as the kubelet's probes: all enforcers let a node reach its pods.
    """
    node.queue_packets(QUEUE)
    try:
        with _process("policies", f"--kubeconfig={on.kubeconfig}", f"--node={node.NAME}", f"--queue={QUEUE}"):
            on.wait("the enforcer", _queue_is_read)
            yield
    finally:
        node.unqueue_packets()


def _queue_is_read() -> bool:
    """The kernel lists each queue with the process that reads it."""
    with open("/proc/net/netfilter/nfnetlink_queue", encoding="ascii") as listed:
        return any(line.split()[0] == QUEUE for line in listed)


@contextlib.contextmanager
def prometheus_operator(on: node.Node) -> Iterator[None]:
    """It reconciles Prometheus objects; the CRDs of its version that it needs for that are there before, and stay."""
    folder = programs.module("github.com/prometheus-operator/prometheus-operator") / "example/prometheus-operator-crd"
    files = [f"--filename={folder}/monitoring.coreos.com_{kind}.yaml" for kind in MONITORING]
    # They are too large for the annotation of an ordinary apply, and take their time.
    on.kubectl("apply", "--server-side", *files, timeout=180)
    named = [f"crd/{kind}.monitoring.coreos.com" for kind in MONITORING]
    on.kubectl("wait", "--for=condition=Established", *named, "--timeout=60s", timeout=90)
    pki = node.STATE / "pki"
    options = [
        f"--apiserver={node.SERVER}", f"--ca-file={pki}/ca.crt", f"--cert-file={pki}/admin.crt",
        f"--key-file={pki}/admin.key", f"--web.listen-address=127.0.0.1:{processes.free_port()}",
    ]  # fmt: skip
    with _process("prometheus-operator", *options):
        yield


@contextlib.contextmanager
def discovery(config: pathlib.Path, folder: pathlib.Path) -> Iterator[Callable[[str], pathlib.Path]]:
    """What Prometheus's own code finds in the cluster by a configuration: the file of a job, by the job's name.

    Such a file is there when something was found.
    """
    with _process("discovery", str(config), str(folder)):
        yield lambda job: folder / f"{job.replace('/', '-')}.json"


@contextlib.contextmanager
def _process(name: str, *options: str) -> Iterator[None]:
    log = node.STATE / "logs" / f"{name}.log"
    process = processes.start([str(programs.neighbours() / name), *options], log, None, signal.SIGKILL)
    try:
        yield
    finally:
        ended = process.poll()
        process.kill()
        process.wait()
        assert ended is None, f"{name} ended with status {ended}:\n{log.read_text(errors='replace')[-2000:]}"


def kstatus(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """What Flux makes of each of the objects: the word that its own code says."""
    program = programs.neighbours() / "kstatus"
    done = subprocess.run([program], input=json.dumps(list(objects)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
