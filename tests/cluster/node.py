"""A Kubernetes of one node on this machine: started from nothing, broken at will, taken down without a trace.

Everything it writes is below STATE, but for what the kernel holds: a bridge, network namespaces, mounts, cgroups,
firewall rules and four settings of the machine. Those are put back by `stop`, or by the next `start` when a run died.

Pods reach this machine at HOST, each other and the services of the cluster; nothing outside.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from tests.cluster import images, programs
from tests.cluster.certificates import Authority
from tests.servers import processes

STATE = pathlib.Path("/var/lib/pantograph-cluster")  # short: a socket's path must fit in 107 bytes
LOCK = STATE.with_suffix(".lock")
LEFT = "left.json"  # what the machine was like before, for whoever takes it down
SOCKET = STATE / "containerd.sock"

BRIDGE = "pantograph0"
HOST = "10.85.0.1"
PODS = "10.85.0.0/24"
SERVICES = "10.96.0.0/16"
SERVICE = "10.96.0.1"  # of the API server, inside
SERVER = f"https://{HOST}:6443"
NAME = "node1"

# In the table mangle: what `queue_packets` makes, and what leads to it but for root's own connections.
QUEUED = "PANTOGRAPH-QUEUED"
FROM_OTHERS = ("-m", "owner", "!", "--uid-owner", "0")

CGROUPS = pathlib.Path("/sys/fs/cgroup")
# The kubelet and the bridge plugin set these for the whole machine.
SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}


def cannot_run() -> str | None:
    """Why this machine cannot run a node, if so. What can be installed is no reason."""
    if os.geteuid() != 0:
        return "not root"
    if subprocess.run(["unshare", "-mn", "true"], capture_output=True).returncode:
        return "may not make namespaces"
    if not os.access(CGROUPS / "memory" if (CGROUPS / "memory").is_dir() else CGROUPS / "cgroup.procs", os.W_OK):
        return "no cgroups to write to"
    return None


@contextlib.contextmanager
def running() -> Iterator[Node]:
    """A node that is Ready, for as long as the block lasts."""
    node = Node.start()
    try:
        yield node
    finally:
        node.stop()


class NodeFailed(Exception):
    """A part of the cluster ended or never became ready; its last words follow."""


class Node:
    """The cluster's processes, by name: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, containerd,
    kubelet, kube-proxy and dns."""

    def __init__(self) -> None:
        self.programs = programs.build()
        self.kubeconfig = STATE / "pki" / "admin.kubeconfig"
        self.etcd = f"http://127.0.0.1:{processes.free_port()}"
        self.etcd_peers = f"http://127.0.0.1:{processes.free_port()}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = open(LOCK, "w")  # noqa: SIM115 - held as long as the node lives

    @classmethod
    def start(cls) -> Self:
        """A node that is Ready, in 15 to 30 s. It waits for another run's on this machine to end."""
        if missing := sorted(package for name, package in NEEDED.items() if not shutil.which(name)):
            raise RuntimeError(f"cannot run a node: on Debian, apt-get install {' '.join(missing)}")
        node = cls()
        fcntl.flock(node._lock, fcntl.LOCK_EX)
        if STATE.exists():  # of a run that died
            take_down(node.programs)
        try:
            node._start()
        except BaseException:
            node.stop()
            raise
        return node

    def _start(self) -> None:
        STATE.mkdir(mode=0o711)
        (STATE / "logs").mkdir()
        settings = {name: _setting(name).read_text().strip() for name in SETTINGS}
        (STATE / LEFT).write_text(json.dumps({"settings": settings, "namespaces": _network_namespaces()}))
        _bridge()
        self._certificates()
        self._configure()
        self.launch("etcd")
        self.launch("containerd")
        self.launch("kube-apiserver")
        self.wait("the API server", lambda: self.kubectl("get", "--raw", "/readyz") == "ok")
        for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "dns"):
            self.launch(name)
        self.wait("containerd", lambda: self._ctr("version"))
        self.add_image(images.pause(self.programs))
        self.wait("cluster DNS", lambda: urllib.request.urlopen("http://127.0.0.1:8181/ready", timeout=1).status == 200)
        self.wait("the node", lambda: self.kubectl("wait", "--for=condition=Ready", f"node/{NAME}", "--timeout=1s"))
        # Made by the controller manager; before it, pods are refused.
        self.wait("ServiceAccounts", lambda: self.kubectl("get", "serviceaccount", "default"))
        self.kubectl("label", "namespace", "kube-system", "pantograph.dev/disposable=true")

    # What it is told.

    def kubectl(self, *words: str, timeout: float = 20) -> str:
        command = [str(self.programs / "kubectl"), "--kubeconfig", str(self.kubeconfig), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout).stdout

    def _ctr(self, *words: str) -> str:
        command = ["ctr", "--address", str(SOCKET), "--namespace", "k8s.io", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def add_image(self, archive: pathlib.Path) -> None:
        """Make an image known to the node, so that pods with `imagePullPolicy: Never` find it."""
        self._ctr("images", "import", str(archive))

    def launch(self, name: str) -> None:
        """Start a part, at first or after `kill`."""
        self._processes[name] = processes.start(
            self._command(name), STATE / "logs" / f"{name}.log", None, signal.SIGKILL
        )

    def kill(self, name: str) -> None:
        """SIGKILL to a part. The containers of a killed kubelet or containerd go on."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def container_pid(self, container_id: str) -> int:
        """The process on this machine that is number 1 in a container; `container_id` as a pod's status has it."""
        wanted = container_id.rpartition("/")[2]
        for line in self._ctr("tasks", "ls").splitlines()[1:]:
            task, pid, _ = line.split()
            if task == wanted:
                return int(pid)
        raise LookupError(f"no container {container_id} runs on this node")

    def wait(self, what: str, ready: Callable[[], Any], patience: float = 90) -> None:
        """Until `ready` returns something true and raises nothing."""
        deadline = time.monotonic() + patience
        while True:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                if ready():
                    return
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise NodeFailed(f"{name} ended with status {process.returncode}:\n{self.last_words(name)}")
            if time.monotonic() > deadline:
                words = "\n".join(f"-- {name}:\n{self.last_words(name, 5)}" for name in self._processes)
                raise NodeFailed(f"{what} not ready after {patience:.0f} s\n{words}")
            time.sleep(0.1)

    def last_words(self, name: str, lines: int = 20) -> str:
        """The end of a part's log."""
        return "\n".join((STATE / "logs" / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Kill everything and put the machine back as it was."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        take_down(self.programs)
        self._lock.close()

    # What its parts are given.

    def _certificates(self) -> None:
        authority = Authority(STATE / "pki")
        inside = "kubernetes.default.svc"
        authority.server(
            "apiserver", HOST, SERVICE, "kubernetes", "kubernetes.default", inside, f"{inside}.cluster.local"
        )
        authority.server("kubelet-server", HOST, NAME)
        authority.client("apiserver-kubelet", "apiserver", "system:masters")
        authority.client("admin", "admin", "system:masters")
        authority.client("kube-controller-manager", "system:kube-controller-manager")
        authority.client("kube-scheduler", "system:kube-scheduler")
        authority.client("kube-proxy", "system:kube-proxy")
        authority.client("kubelet", f"system:node:{NAME}", "system:nodes")
        authority.token_key("tokens")
        for name in ("admin", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"):
            authority.kubeconfig(name, SERVER)

    def _configure(self) -> None:
        network = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": BRIDGE,
                    "isGateway": True,
                    "isDefaultGateway": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(STATE / "addresses"),
                        "ranges": [[{"subnet": PODS, "rangeStart": "10.85.0.10", "gateway": HOST}]],
                    },
                }
            ],
        }
        (STATE / "network").mkdir()
        (STATE / "network" / "pods.conflist").write_text(json.dumps(network))
        (STATE / "resolv.conf").touch()
        pki = STATE / "pki"
        (STATE / "containerd.toml").write_text(f"""
version = 2
root = "{STATE}/containerd/root"
state = "{STATE}/containerd/state"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{STATE}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  restrict_oom_score_adj = true  # a machine without CAP_SYS_RESOURCE may not lower it, and runc would die
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{STATE}/network"
""")
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": HOST,
            "healthzPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{pki}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{pki}/kubelet-server.crt",
            "tlsPrivateKeyFile": f"{pki}/kubelet-server.key",
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            "failSwapOn": False,
            "resolvConf": str(STATE / "resolv.conf"),
            "clusterDNS": [HOST],
            "clusterDomain": "cluster.local",
            "podLogsDir": str(STATE / "podlogs"),
            "syncFrequency": "5s",
            "nodeStatusUpdateFrequency": "3s",
            # What is killed again and again comes back within seconds, and not after five minutes.
            "featureGates": {"KubeletCrashLoopBackOffMax": True},
            "crashLoopBackOff": {"maxContainerRestartPeriod": "3s"},
            "imageGCHighThresholdPercent": 100,  # nothing could pull an image again
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        }
        proxy = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": f"{pki}/kube-proxy.kubeconfig"},
            "clusterCIDR": PODS,
            "hostnameOverride": NAME,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "nodePortAddresses": ["127.0.0.0/8"],
            "conntrack": {"maxPerCore": 0},
        }
        (STATE / "kubelet.json").write_text(json.dumps(kubelet))
        (STATE / "kube-proxy.json").write_text(json.dumps(proxy))
        # A process of the host. Operators log in at https://kubernetes.default.svc, so there is none without it.
        (STATE / "Corefile").write_text(f"""
.:53 {{
    bind {HOST}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {self.kubeconfig} tests
        ttl 1
    }}
}}
""")

    def _command(self, name: str) -> list[str]:
        if name == "containerd":
            return ["containerd", "--config", str(STATE / "containerd.toml")]
        pki = STATE / "pki"
        identity = f"{pki}/{name}.kubeconfig"
        flags: dict[str, Sequence[str]] = {
            "etcd": (
                f"--data-dir={STATE}/etcd",
                f"--listen-client-urls={self.etcd}",
                f"--advertise-client-urls={self.etcd}",
                f"--listen-peer-urls={self.etcd_peers}",
                f"--initial-advertise-peer-urls={self.etcd_peers}",
                f"--initial-cluster=default={self.etcd_peers}",
                "--log-level=warn",
                "--unsafe-no-fsync",  # the disk is not what is tested
            ),
            "kube-apiserver": (
                f"--etcd-servers={self.etcd}",
                f"--bind-address={HOST}",
                f"--advertise-address={HOST}",
                f"--service-cluster-ip-range={SERVICES}",
                f"--tls-cert-file={pki}/apiserver.crt",
                f"--tls-private-key-file={pki}/apiserver.key",
                f"--client-ca-file={pki}/ca.crt",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-signing-key-file={pki}/tokens.key",
                f"--service-account-key-file={pki}/tokens.pub",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
                f"--kubelet-client-key={pki}/apiserver-kubelet.key",
                f"--kubelet-certificate-authority={pki}/ca.crt",
                "--kubelet-preferred-address-types=InternalIP",
                "--profiling=false",
            ),
            "kube-controller-manager": (
                f"--kubeconfig={identity}",
                f"--service-account-private-key-file={pki}/tokens.key",
                f"--root-ca-file={pki}/ca.crt",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                "--secure-port=0",
                "--node-monitor-period=2s",
                "--node-monitor-grace-period=20s",
            ),
            "kube-scheduler": (f"--kubeconfig={identity}", "--leader-elect=false", "--secure-port=0"),
            "kubelet": (
                f"--config={STATE}/kubelet.json",
                f"--kubeconfig={identity}",
                f"--hostname-override={NAME}",
                f"--node-ip={HOST}",
                f"--root-dir={STATE}/kubelet",
                f"--cert-dir={STATE}/kubelet/pki",
            ),
            "kube-proxy": (f"--config={STATE}/kube-proxy.json",),
            "dns": ("-conf", f"{STATE}/Corefile"),
        }
        return [str(self.programs / name), *flags[name]]


def _bridge() -> None:
    """Before the API server, which listens on its address."""
    for words in (
        ("link", "add", BRIDGE, "type", "bridge"),
        ("addr", "add", f"{HOST}/{PODS.rpartition('/')[2]}", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
    ):
        processes.run(["ip", *words], None)


def queue_packets(queue: str) -> None:
    """Have a program decide on the first packet of each connection from or to a pod; without one they all pass."""
    first = ("-m", "conntrack", "--ctstate", "NEW", "-j", "NFQUEUE", "--queue-num", queue, "--queue-bypass")
    for words in (
        ("-N", QUEUED),
        ("-A", QUEUED, "-s", PODS, *first),
        ("-A", QUEUED, "-d", PODS, *first),
        # What goes to pods, and to elsewhere; a packet that comes through this machine is nobody's here.
        ("-A", "POSTROUTING", *FROM_OTHERS, "-j", QUEUED),
        # What pods send to this machine, where API server, DNS and databases are.
        ("-A", "INPUT", "-i", BRIDGE, "-j", QUEUED),
    ):
        processes.run(["iptables", "-w", "-t", "mangle", *words], None)


def unqueue_packets() -> None:
    """Undo that, whatever of it is there."""
    _try("iptables", "-w", "-t", "mangle", "-D", "INPUT", "-i", BRIDGE, "-j", QUEUED)
    _try("iptables", "-w", "-t", "mangle", "-D", "POSTROUTING", *FROM_OTHERS, "-j", QUEUED)
    _try("iptables", "-w", "-t", "mangle", "-F", QUEUED) and _try("iptables", "-w", "-t", "mangle", "-X", QUEUED)


def _setting(name: str) -> pathlib.Path:
    return pathlib.Path("/proc/sys") / name


def _network_namespaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines()]


def take_down(built: pathlib.Path) -> None:
    """End what a node left: what runs, then what the kernel holds, then the files. Whatever is missing is fine."""
    _kill_containers()
    for line in reversed(pathlib.Path("/proc/self/mounts").read_text().splitlines()):
        path = line.split()[1]
        if path.startswith(f"{STATE}/"):
            _try("umount", "-l", path)
    left = STATE / LEFT
    nothing: dict[str, Any] = {"settings": {}, "namespaces": _network_namespaces()}
    before = json.loads(left.read_text()) if left.exists() else nothing
    for name in set(_network_namespaces()) - set(before["namespaces"]):
        _try("ip", "netns", "delete", name)
    if (STATE / "kube-proxy.json").exists():
        _try(str(built / "kube-proxy"), f"--config={STATE}/kube-proxy.json", "--cleanup")
    for tables in ("iptables", "ip6tables"):  # marks of the kubelet
        for table in ("mangle", "nat", "filter"):
            for chain in ("KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT"):
                _try(tables, "-t", table, "-F", chain) and _try(tables, "-t", table, "-X", chain)
        for chain in ("INPUT", "OUTPUT"):
            _try(tables, "-D", chain, "-j", "KUBE-FIREWALL")
        _try(tables, "-F", "KUBE-FIREWALL") and _try(tables, "-X", "KUBE-FIREWALL")
    unqueue_packets()
    _try("ip", "link", "delete", BRIDGE)
    for pods in _pod_cgroups():
        for folder, _, _ in os.walk(pods, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
    for name, value in before["settings"].items():
        _setting(name).write_text(value)
    for link in pathlib.Path("/var/log/containers").glob("*"):  # the kubelet's, for collectors of logs
        if link.is_symlink() and str(link.readlink()).startswith(f"{STATE}/"):
            link.unlink()
    shutil.rmtree(STATE, ignore_errors=True)


def _try(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def _pod_cgroups() -> list[pathlib.Path]:
    return [path for path in (*CGROUPS.glob("*/kubepods"), CGROUPS / "kubepods") if path.is_dir()]


def _kill_containers() -> None:
    """Kill the shims, which would tell nobody any more, and all that is in a pod."""
    for command in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(SOCKET).encode() in command.read_bytes().split(b"\0"):
                os.kill(int(command.parent.name), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        inside = [file for pods in _pod_cgroups() for file in pods.rglob("cgroup.procs")]
        pids = {int(word) for file in inside for word in _words(file)}
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _words(file: pathlib.Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # its cgroup went meanwhile
        return []
