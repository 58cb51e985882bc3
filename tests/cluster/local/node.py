"""One node of Kubernetes on this machine: a Linux where the caller is root, without Docker."""

import ipaddress
import os
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.cluster.local import addons, build, state, system
from tests.cluster.local.console import Problem, step
from tests.cluster.local.state import CHECKOUT, Cluster, Layout, write
from tests.cluster.local.system import BRIDGE, CGROUP

DAEMONS = (
    "kubelet",  # first when the node goes down, so that it starts nothing anew
    "kube-proxy",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
    "containerd-shim-runc-v2",
    "containerd",
    "registry",
)
PROGRAMS = ("kubernetes", "etcd", "containerd", "containerd-shim-runc-v2", "registry", "helm")
# A port that is taken makes way for the next free one above it.
PORTS = {
    "apiserver": 6443,
    "etcd": 2379,
    "etcd-peer": 2380,
    "registry": 5000,
    "ingress-http": 8080,
    "ingress-https": 8443,
    "ingress-health": 10254,
    "ingress-status": 10246,
    "ingress-stream": 10247,
    "ingress-profiler": 10245,
    "ingress-default": 8181,
    "controller-manager": 10257,
    "scheduler": 10259,
    "kubelet": 10250,
    "kubelet-health": 10248,
    "proxy-health": 10256,
    "proxy-metrics": 10249,
}
POD_NETWORKS = [*(f"10.{second}.0.0/16" for second in range(244, 224, -1)), "172.30.0.0/16", "192.168.128.0/17"]
SERVICE_NETWORKS = [*(f"10.{second}.0.0/16" for second in range(96, 116)), "172.29.0.0/16", "192.168.64.0/18"]
NODE = "node"


def up(where: Layout) -> Cluster:
    """The running node. What of it runs already is left alone, what is missing is started."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Problem(
            "There is no Docker daemon to run kind with, and a cluster without Docker needs Linux and root: "
            "start Docker, or run make up as root, or name a cluster with CLUSTER=given."
        )
    refuse_foreign(where, "up")
    system.install_packages()
    running = alive(where)
    cluster = state.load(where)
    if not running or cluster is None:
        sweep(where)  # the rest of a crash
        cluster = None
    for program in PROGRAMS:
        build.build(where, program)
    if cluster is None:
        if "kube-proxy" in {name for _, name in system.tables()}:
            raise Problem(
                "Another Kubernetes seems to run on this machine: there is an nftables table kube-proxy that is not of "
                "this cluster. Stop it, or use it with CLUSTER=given; if it has crashed: nft delete table ip kube-proxy"
            )
        cluster = choose(where)
        state.remember_owner(where)
        cluster.save(where)
    node = Node(where, cluster)
    node.start_registry()
    addon_images = addons.publish(where, cluster)
    node.start(addon_images["pause"])
    addons.install(where, cluster, addon_images)
    return cluster


def choose(where: Layout) -> Cluster:
    ports = system.choose_ports(PORTS)
    occupied = system.occupied_networks()
    return Cluster(
        kind="own",
        checkout=str(CHECKOUT),
        kubeconfig=str(where.run / "kubeconfig"),
        bin=str(where.bin),
        registry=f"127.0.0.1:{ports['registry']}",
        ingress_http=f"http://127.0.0.1:{ports['ingress-http']}",
        ingress_https=f"https://127.0.0.1:{ports['ingress-https']}",
        node_ip=system.node_address(),
        pod_network=system.choose_network(POD_NETWORKS, occupied),
        service_network=system.choose_network(SERVICE_NETWORKS, occupied),
        ports=ports,
    )


def alive(where: Layout) -> list[system.Process]:
    return system.processes(where.bin, DAEMONS)


def refuse_foreign(where: Layout, verb: str) -> None:
    """Raises a Problem if a cluster that runs here is another checkout's, or has its files elsewhere."""
    owner = state.owner(where)
    if owner is None or not alive(Layout(Path(owner.cache))):
        return
    objection = state.foreign(owner, CHECKOUT, where.cache)
    gone = not Path(owner.checkout).is_dir() and owner.cache == str(where.cache)
    if objection and not (verb == "down" and gone):
        raise Problem(objection)


def down(where: Layout) -> None:
    refuse_foreign(where, "down")
    with step("taking the node down"):
        sweep(where)
    (state.machine_folder(where) / "owner.json").unlink(missing_ok=True)


def sweep(where: Layout) -> None:
    """Removes whatever there is of a node of ours, whole or half. Nothing else on the machine is touched."""
    owner = state.owner(where)
    places = {where.cache, Path(owner.cache) if owner else where.cache}
    for place in (Layout(path) for path in places):
        _stop(place, [name for name in DAEMONS if name not in ("registry", "containerd-shim-runc-v2")])
    for _ in range(10):  # a container may just be starting
        if not (pids := system.cgroup_processes()):
            break
        system.kill(pids, lambda pid: pid in system.cgroup_processes())
    for place in (Layout(path) for path in places):
        _stop(place, DAEMONS)
    system.delete_links()
    if _has_own_table():  # which is made before kube-proxy starts: without it, kube-proxy's tables are another's
        system.delete_tables()
    for path in places:
        system.unmount_below(path)
        for file in system.default_node_paths(path / "run"):
            file.unlink(missing_ok=True)
    system.delete_cgroups()
    for path in places:
        _remove_shim_sockets(path / "run")
        shutil.rmtree(path / "run", ignore_errors=True)
    if rest := leftovers(where):
        raise Problem("Not everything of the node could be removed: " + "; ".join(rest))


def _has_own_table() -> bool:
    return system.NFT_TABLE in system.tables()


def _stop(where: Layout, names: Sequence[str]) -> None:
    def ours(pid: int) -> bool:
        try:
            return system.identify(pid, os.readlink(f"/proc/{pid}/exe"), where.bin, names) is not None
        except OSError:
            return False

    # Killed at once: nothing of what they know is kept.
    system.kill([process.pid for process in system.processes(where.bin, names)], ours)


def _remove_shim_sockets(run_folder: Path) -> None:
    """The shims' sockets lie in a folder that can't be set; each one's address is noted in the state folder."""
    for note in run_folder.glob("containerd/state/*/*/*/bootstrap.json"):
        for word in note.read_text(errors="replace").split('"'):
            if word.startswith("unix:///run/containerd/s/"):
                Path(word.removeprefix("unix://")).unlink(missing_ok=True)


def leftovers(where: Layout) -> list[str]:
    """What of a node is there though none should be."""
    rest = [f"process {process.pid} ({process.name})" for process in alive(where)]
    rest += [f"container process {pid}" for pid in sorted(system.cgroup_processes())]
    rest += [f"mount {point}" for point in system.mounts_below(where.run, Path("/proc/self/mountinfo").read_text())]
    rest += [f"network link {name}" for name in system.links()]
    rest += [f"cgroup {root}" for root in system.cgroup_roots() if root.exists()]
    if _has_own_table():
        rest += [f"nftables table {family} {name}" for family, name in system.tables()]
    return rest


class Node:
    """The daemons of one node. Each start is skipped if the daemon runs."""

    def __init__(self, where: Layout, cluster: Cluster) -> None:
        self.where, self.cluster, self.ports = where, cluster, cluster.ports
        self.pki = where.run / "pki"
        self.configs = where.run / "kubeconfigs"
        self.socket = where.run / "containerd" / "containerd.sock"

    def start_registry(self) -> None:
        config = write_file(
            self.where.run / "registry.yaml", REGISTRY, data=self.where.cache / "registry", **self._ports()
        )
        self._daemon("registry", ["registry", "serve", config])
        address = f"http://{self.cluster.registry}/v2/"
        self._ready("registry", lambda: _answers(address))

    def start(self, pause: str) -> None:
        with step("node"):
            self._start(pause)

    def _start(self, pause: str) -> None:
        self._certificates()
        etcd, peer = (f"http://127.0.0.1:{self.ports[name]}" for name in ("etcd", "etcd-peer"))
        self._daemon(
            "etcd",
            [
                *(
                    "etcd",
                    "--name=node",
                    f"--data-dir={self.where.run / 'etcd'}",
                    "--unsafe-no-fsync",
                    "--log-level=warn",
                ),
                *(f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}"),
                *(f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=node={peer}"),
            ],
        )
        self._daemon("kube-apiserver", self._apiserver(etcd))
        self._network(pause)
        self._daemon("containerd", ["containerd", "--config", self.where.run / "containerd" / "config.toml"])
        authority = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        address = f"https://127.0.0.1:{self.ports['apiserver']}/readyz"
        self._ready("kube-apiserver", lambda: _answers(address, authority))
        kubectl = self.cluster.kubectl
        self._daemon("kube-controller-manager", self._controller_manager())
        self._daemon(
            "kube-scheduler",
            [
                *("kube-scheduler", "--leader-elect=false", f"--secure-port={self.ports['scheduler']}"),
                *("--bind-address=127.0.0.1", "--kube-api-qps=100", "--kube-api-burst=200"),
                *self._identity("scheduler"),
            ],
        )
        self._ready("containerd", self.socket.exists)
        self._kubelet()
        self._proxy()
        system.run([*kubectl, "wait", "--for=create", f"node/{NODE}", "--timeout=60s"], "Registering the node")
        system.run(
            [*kubectl, "wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s"],
            f"Waiting for the node (log: {self.where.logs / 'kubelet.log'})",
        )

    def _ports(self) -> dict[str, int]:
        return {name.replace("-", "_"): port for name, port in self.ports.items()}

    def _daemon(self, name: str, argv: Sequence[str | Path]) -> None:
        there = system.processes(self.where.bin, [name])
        if there and not any(process.outdated for process in there):
            return
        if there:
            _stop(self.where, [name])
        if name == "containerd":
            self.socket.unlink(missing_ok=True)
        system.start([self.where.bin / str(argv[0]), *argv[1:]], self._log(name))

    def _log(self, name: str) -> Path:
        return self.where.logs / f"{name}.log"

    def _ready(self, name: str, ready: Callable[[], bool]) -> None:
        system.wait_for(
            name, ready, lambda: bool(system.processes(self.where.bin, [name])), self._log(name), seconds=90
        )

    def _identity(self, name: str) -> list[str]:
        file = self.configs / f"{name}.conf"
        return [f"--{kind}kubeconfig={file}" for kind in ("", "authentication-", "authorization-")]

    def _certificates(self) -> None:
        config = write_file(
            self.where.run / "kubeadm.yaml",
            KUBEADM,
            cluster=self.cluster,
            pki=self.pki,
            socket=self.socket,
            kubernetes=build.KUBERNETES_VERSION,
            **self._ports(),
        )
        kubeadm = self.where.bin / "kubeadm"
        log = self._log("kubeadm")
        if not (self.pki / "sa.key").exists():
            system.run([kubeadm, "init", "phase", "certs", "all", "--config", config], "Making certificates", log=log)
        if not Path(self.cluster.kubeconfig).exists():
            system.run(
                [kubeadm, "init", "phase", "kubeconfig", "all", "--config", config, "--kubeconfig-dir", self.configs],
                "Making kubeconfigs",
                log=log,
            )
            # This one is a member of system:masters: it works before there is any role in the cluster.
            write(Path(self.cluster.kubeconfig), (self.configs / "super-admin.conf").read_text(), 0o600)

    def _apiserver(self, etcd: str) -> list[str]:
        pki = self.pki
        policy = write_file(self.where.run / "audit.yaml", AUDIT)
        return [
            "kube-apiserver",
            f"--advertise-address={self.cluster.node_ip}",
            f"--secure-port={self.ports['apiserver']}",
            f"--etcd-servers={etcd}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--service-cluster-ip-range={self.cluster.service_network}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.where.audit}",
            *("--audit-log-maxsize=100", "--audit-log-maxbackup=2"),
        ]

    def _controller_manager(self) -> list[str]:
        pki = self.pki
        return [
            "kube-controller-manager",
            *self._identity("controller-manager"),
            f"--secure-port={self.ports['controller-manager']}",
            "--bind-address=127.0.0.1",
            f"--service-account-private-key-file={pki}/sa.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--use-service-account-credentials",
            "--allocate-node-cidrs",
            f"--cluster-cidr={self.cluster.pod_network}",
            f"--service-cluster-ip-range={self.cluster.service_network}",
            "--leader-elect=false",
            "--kube-api-qps=100",
            "--kube-api-burst=200",
        ]

    def _network(self, pause: str) -> None:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
        pods = next(
            ipaddress.ip_network(self.cluster.pod_network).subnets(new_prefix=24)
        )  # what the one node gets of it
        write_file(
            self.where.run / "cni" / "10-bridge.conflist",
            CNI,
            bridge=BRIDGE,
            name=CGROUP,
            pods=pods,
            data=self.where.run / "cni-addresses",
        )
        # One table of our own instead of the plugin's ipMasq, which leaves iptables chains behind.
        system.run(
            ["nft", "-f", "-"],
            "Masquerading the pods' traffic",
            stdin=MASQUERADE.format(table=" ".join(system.NFT_TABLE), pods=self.cluster.pod_network),
        )
        write_file(
            self.where.run / "containerd" / "config.toml",
            CONTAINERD,
            run=self.where.run,
            socket=self.socket,
            pause=pause,
            runc=system.program("runc"),
        )

    def _kubelet(self) -> None:
        system.create_cgroups()
        servers = system.name_servers()
        resolver = write_file(
            self.where.run / "resolv.conf", "{lines}", lines="".join(f"nameserver {server}\n" for server in servers)
        )
        config = write_file(
            self.where.run / "kubelet.yaml",
            KUBELET,
            run=self.where.run,
            pki=self.pki,
            socket=self.socket,
            cgroup=CGROUP,
            resolver=resolver,
            dns=self.cluster.dns,
            **self._ports(),
        )
        self._daemon(
            "kubelet",
            [
                *("kubelet", f"--config={config}", f"--kubeconfig={self.configs / 'kubelet.conf'}"),
                *(f"--hostname-override={NODE}", f"--node-ip={self.cluster.node_ip}"),
                *(f"--root-dir={self.where.run / 'kubelet'}", f"--cert-dir={self.where.run / 'kubelet' / 'pki'}"),
            ],
        )

    def _proxy(self) -> None:
        config = write_file(
            self.where.run / "kube-proxy.yaml",
            PROXY,
            pods=self.cluster.pod_network,
            kubeconfig=self.cluster.kubeconfig,
            node=NODE,
            **self._ports(),
        )
        self._daemon("kube-proxy", ["kube-proxy", f"--config={config}"])


def write_file(path: Path, template: str, **values: object) -> Path:
    write(path, template.format(**values))
    return path


def _answers(address: str, authority: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5, context=authority) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


REGISTRY = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: "{data}"}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{registry}"}}
"""

# Who asked for what, of the pods that apps bring: what an operator really uses of its rights can be told from it.
AUDIT = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: ["system:serviceaccounts:kube-system", "system:serviceaccounts:ingress-nginx"]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
"""

KUBEADM = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: "{cluster.node_ip}", bindPort: {apiserver}}}
nodeRegistration: {{name: node, criSocket: "unix://{socket}"}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: inventory-on-kubernetes
kubernetesVersion: {kubernetes}
certificatesDir: "{pki}"
encryptionAlgorithm: ECDSA-P256
networking: {{serviceSubnet: "{cluster.service_network}", podSubnet: "{cluster.pod_network}"}}
apiServer: {{certSANs: ["127.0.0.1", localhost]}}
"""

# restrict_oom_score_adj: where root lacks CAP_SYS_RESOURCE, runc can't lower an OOM score, and each sandbox would fail.
# netns_mounts_under_state_dir: in /run/netns, the first `ip netns add` would mount the folder over itself, and pods
# that were there before could never be deleted.
CONTAINERD = """\
version = 3
root = "{run}/containerd/root"
state = "{run}/containerd/state"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs"]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_cdi = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{run}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = false
  Root = "{run}/runc"
"""

CNI = """\
{{"cniVersion": "0.4.0", "name": "{name}", "plugins": [
  {{"type": "bridge", "bridge": "{bridge}", "isGateway": true, "hairpinMode": true,
    "ipam": {{"type": "host-local", "dataDir": "{data}", "ranges": [[{{"subnet": "{pods}"}}]],
             "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}
"""

MASQUERADE = """\
table {table} {{}}
delete table {table}
table {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {pods} ip daddr != {pods} masquerade
  }}
}}
"""

# failCgroupV1: kubelet refuses a machine with cgroup v1 unless told. oomScoreAdj: see restrict_oom_score_adj above.
KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /{cgroup}
oomScoreAdj: 0
port: {kubelet}
healthzPort: {kubelet_health}
makeIPTablesUtilChains: false
containerRuntimeEndpoint: "unix://{socket}"
podLogsDir: "{run}/pod-logs"
volumePluginDir: "{run}/kubelet/volume-plugins"
resolvConf: "{resolver}"
clusterDNS: ["{dns}"]
clusterDomain: cluster.local
authentication: {{anonymous: {{enabled: false}}, webhook: {{enabled: true}}, x509: {{clientCAFile: "{pki}/ca.crt"}}}}
authorization: {{mode: Webhook}}
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
registryPullQPS: 0
"""

PROXY = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: "{pods}"
hostnameOverride: {node}
healthzBindAddress: "127.0.0.1:{proxy_health}"
metricsBindAddress: "127.0.0.1:{proxy_metrics}"
clientConnection: {{kubeconfig: "{kubeconfig}"}}
conntrack: {{maxPerCore: 0}}
"""
