"""The machine: its packages, addresses, processes, mounts, links and cgroups."""

import ipaddress
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.local.console import Problem, last_lines, say, step

BRIDGE = "inventory0"
CGROUP = "inventory-on-kubernetes"
# kube-proxy's table has a fixed name; the masquerading of the pods' traffic has one of its own.
NFT_TABLE = ("ip", "inventory-on-kubernetes")
NFT_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"), NFT_TABLE)
CNI_RESULTS = Path("/var/lib/cni/results")

# What must be there, and the Debian package that brings it.
PACKAGES = {
    "runc": "runc",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

# The dashboard is tested in it where it is there or can be.
BROWSER = {"chromium": "chromium"}

SYSTEM_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def program(name: str) -> str | None:
    """The path of a program, or None. The folders of the system's own programs are looked into whatever PATH says."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_PATHS]))


def run(
    argv: Sequence[str | Path],
    what: str,
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """The program's stdout. Raises a Problem that says what failed, with the end of what the program printed."""
    command = [str(word) for word in argv]
    command[0] = program(command[0]) or command[0]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=cwd,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except FileNotFoundError as error:
        raise Problem(f"{what} failed: the program {command[0]} is not there.") from error
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}")
    if done.returncode == 0:
        return done.stdout
    printed = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    end = "\n".join(f"    {line[:400]}" for line in printed[-12:])
    where = f"\n  The whole log: {log}" if log else ""
    raise Problem(f"{what} failed: {Path(command[0]).name} ended with code {done.returncode}.\n{end}{where}")


# Packages


def missing_packages(packages: Mapping[str, str]) -> list[str]:
    return [
        package
        for needed, package in packages.items()
        if not (Path(needed).exists() if needed.startswith("/") else program(needed))
    ]


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_packages(packages: Mapping[str, str] = PACKAGES) -> None:
    missing = missing_packages(packages)
    if not missing:
        return
    command = f"apt-get install -y --no-install-recommends {' '.join(missing)}"
    if not may_install():
        raise Problem(f"This needs what these packages of Debian or Ubuntu bring. As root: {command}")
    say(f"  installing packages of the system: {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step("system packages"):
        run(["apt-get", "update", "-q"], "Reading the package lists", env=quiet)
        run(command.split(), "Installing packages", env=quiet)


# Addresses


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def choose_ports(wanted: Mapping[str, int], free: Callable[[int], bool] = is_free) -> dict[str, int]:
    """A free port for each name: the wanted one, or the next above it; no port twice."""
    chosen: dict[str, int] = {}
    for name, first in wanted.items():
        for port in range(first, min(first + 1000, 65536)):
            if port not in chosen.values() and (port == first or port not in wanted.values()) and free(port):
                chosen[name] = port
                break
        else:
            raise Problem(f"No port is free for {name} from {first} on.")
    return chosen


def choose_network(candidates: Iterable[str], occupied: Collection[str]) -> str:
    """The first candidate that overlaps no network that the host reaches by a route of its own."""
    taken = [ipaddress.ip_network(network, strict=False) for network in occupied]
    for candidate in candidates:
        network = ipaddress.ip_network(candidate)
        if not any(network.overlaps(other) for other in taken):
            return candidate
    raise Problem(f"Each of the private networks that the cluster could use is in use: {', '.join(sorted(occupied))}")


def occupied_networks() -> set[str]:
    """IPv4 networks of the host's routes and name servers, the default route aside."""
    routes = json.loads(run(["ip", "-4", "-json", "route", "show"], "Reading the routes") or "[]")
    networks = {route["dst"] for route in routes if route["dst"] != "default" and route.get("dev") != BRIDGE}
    return networks | {server for server in name_servers() if "." in server}


def name_servers() -> list[str]:
    """Those that a pod can use: a resolver on the host's loopback is not among them."""
    for file in ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"):
        try:
            lines = [line.split() for line in Path(file).read_text().splitlines()]
        except OSError:
            continue
        found = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
        usable = [server for server in found if not ipaddress.ip_address(server.partition("%")[0]).is_loopback]
        if usable:
            return usable
    return []


def node_address() -> str:
    """The address by which this machine reaches others; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            pass
    addresses = json.loads(run(["ip", "-4", "-json", "addr", "show", "scope", "global"], "Reading the addresses"))
    for link in addresses:
        for address in link.get("addr_info", []):
            if link["ifname"] != BRIDGE:
                return str(address["local"])
    raise Problem("This machine has no IPv4 address besides loopback, and a node needs one: bring a network up.")


# Processes: known by the file that they run, so a number that somebody else has by now is never taken for ours.


@dataclass(frozen=True)
class Process:
    pid: int
    name: str
    outdated: bool  # its program has been replaced by a newer one


def identify(pid: int, executable: str, folder: Path, names: Collection[str]) -> Process | None:
    """The process as one of ours, if its executable is one of `names` in `folder`."""
    path, outdated = executable.removesuffix(" (deleted)"), executable.endswith(" (deleted)")
    file = Path(path)
    if file.parent != folder:
        return None
    name = file.name.removeprefix(".").removesuffix(".new")
    return Process(pid, name, outdated) if name in names else None


def processes(folder: Path, names: Collection[str]) -> list[Process]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            executable = os.readlink(entry / "exe")
        except OSError:
            continue  # it has ended, or it belongs to the kernel
        if process := identify(int(entry.name), executable, folder, names):
            found.append(process)
    return found


def kill(pids: Iterable[int], still_ours: Callable[[int], bool], patience: float = 0) -> None:
    """Ends the processes and waits until they are gone; with patience (seconds) they are asked first."""
    handles: dict[int, int] = {}
    try:
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            if still_ours(pid):  # asked after the handle is there, so the number can't have passed on since
                handles[pid] = handle
            else:
                os.close(handle)
        waiting = set(handles.values())
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 20.0)):
            if seconds and waiting:
                for handle in waiting:
                    try:
                        signal.pidfd_send_signal(handle, number)
                    except ProcessLookupError:
                        continue
                waiting = _wait(waiting, seconds)
        if waiting:
            stuck = sorted(pid for pid, handle in handles.items() if handle in waiting)
            raise Problem(f"The processes {stuck} do not end, even when killed: look at their state with ps.")
    finally:
        for handle in handles.values():
            os.close(handle)


def _wait(handles: set[int], seconds: float) -> set[int]:
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    left, end = set(handles), time.monotonic() + seconds
    while left and (now := time.monotonic()) < end:
        for handle, _ in poll.poll((end - now) * 1000):
            poll.unregister(handle)
            left.discard(handle)
    return left


def start(argv: Sequence[str | Path], log: Path) -> None:
    """A daemon: its own session, so it survives the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in {"HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"} or name.lower().endswith("_proxy")
    }
    environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with log.open("ab") as output:
        subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=log.parent,
            start_new_session=True,
        )


def wait_for(what: str, ready: Callable[[], bool], alive: Callable[[], bool], log: Path, seconds: float = 60) -> None:
    """Returns when it is ready; raises a Problem when its process has ended or the time is over."""
    end = time.monotonic() + seconds
    while not ready():
        ended = not alive()
        if ended or time.monotonic() > end:
            why = "has ended" if ended else f"is not ready after {seconds:.0f} s"
            raise Problem(f"{what} {why}. The end of its log {log}:\n{last_lines(log)}")
        time.sleep(0.1)


# Mounts, links, tables, cgroups


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Mount points in or below the folder, those mounted last first."""
    points = [
        re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split()[4]) for line in mountinfo.splitlines()
    ]
    return [point for point in reversed(points) if Path(point).is_relative_to(folder)]


def unmount_below(folder: Path) -> None:
    for point in mounts_below(folder, Path("/proc/self/mountinfo").read_text()):
        if subprocess.run(["umount", point], capture_output=True, check=False).returncode:
            run(["umount", "--lazy", point], f"Unmounting {point}")


def links() -> list[str]:
    """The bridge and what hangs on it: none on a machine that has no program yet to make any."""
    if not program("ip"):
        return []
    shown = json.loads(run(["ip", "-json", "link", "show"], "Reading the network links") or "[]")
    return [link["ifname"] for link in shown if link["ifname"] == BRIDGE or link.get("master") == BRIDGE]


def delete_links() -> None:
    for name in sorted(links(), key=lambda name: name == BRIDGE):  # the bridge last
        # A pod's end of a veth may go with its namespace while we look.
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def tables() -> list[tuple[str, str]]:
    """The node's tables that are there: none on a machine that has no program yet to make any."""
    if not program("nft"):
        return []
    listed = run(["nft", "list", "tables"], "Reading the nftables tables").splitlines()
    there = {tuple(line.split()[1:3]) for line in listed}
    return [table for table in NFT_TABLES if table in there]


def delete_tables() -> None:
    for family, name in tables():
        run(["nft", "delete", "table", family, name], f"Deleting the nftables table {name}")


def cgroup_roots() -> list[Path]:
    """Our folder in each hierarchy of the machine: one on cgroup v2, one a controller on v1."""
    mounted = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {"cgroup", "cgroup2"}
    return [Path(words[4]) / CGROUP for words in mounted if words[words.index("-") + 1] in kinds]


def create_cgroups() -> None:
    for root in cgroup_roots():
        root.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # on v1 a new cpuset is empty and takes no process
            inherited = root.parent / name
            if inherited.exists() and not (root / name).read_text().strip():
                (root / name).write_text(inherited.read_text())


def cgroup_processes() -> set[int]:
    found: set[int] = set()
    for root in cgroup_roots():
        for file in root.rglob("cgroup.procs"):
            try:
                found.update(int(line) for line in file.read_text().split())
            except OSError:
                continue  # the cgroup has just gone
    return found - {0}


def delete_cgroups() -> None:
    for root in cgroup_roots():
        if root.is_dir():
            for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
                folder.rmdir()
            root.rmdir()


def default_node_paths(run_folder: Path) -> list[Path]:
    """What a node leaves outside its own folder, because the path can't be set."""
    found = list(CNI_RESULTS.glob(f"{CGROUP}-*-eth0"))
    pods = {path.name.removeprefix(f"{CGROUP}-").removesuffix("-eth0") for path in found}
    found += [path for path in CNI_RESULTS.glob("cni-loopback-*-lo") if path.name.split("-")[2] in pods]
    logs = Path("/var/log/containers")
    if logs.is_dir():
        found += [path for path in logs.iterdir() if path.is_symlink() and path.readlink().is_relative_to(run_folder)]
    return found
