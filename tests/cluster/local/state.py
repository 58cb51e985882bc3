"""Where the cluster's files lie, what is remembered about it, and to which checkout it belongs."""

import fcntl
import ipaddress
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.cluster.local.console import Problem, say

CHECKOUT = Path(__file__).resolve().parents[3]
NAME = "inventory-on-kubernetes"


@dataclass(frozen=True)
class Layout:
    """The folders of one cache. `run` is thrown away by `down`, the rest is kept."""

    cache: Path

    @property
    def bin(self) -> Path:
        return self.cache / "bin"

    @property
    def run(self) -> Path:
        return self.cache / "run"

    @property
    def logs(self) -> Path:
        return self.run / "log"

    @property
    def audit(self) -> Path:
        """What pods asked of the API server, a JSON object a line; a node of our own alone has it."""
        return self.logs / "audit.log"

    @property
    def record(self) -> Path:
        return self.run / "cluster.json"


def layout() -> Layout:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Layout(Path(base).resolve() / NAME)


@dataclass(frozen=True)
class Cluster:
    """What `up` has chosen; other programs read it from run/cluster.json."""

    kind: str  # own | kind | given
    checkout: str
    kubeconfig: str
    bin: str
    registry: str = ""
    ingress_http: str = ""
    ingress_https: str = ""
    node_ip: str = ""
    pod_network: str = ""
    service_network: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    context: str = ""

    @property
    def dns(self) -> str:
        """The address of the DNS service: by custom the tenth of the services' network."""
        return str(ipaddress.ip_network(self.service_network)[10])

    @property
    def kubectl(self) -> list[str]:
        """How kubectl reaches the cluster, whatever the caller's own settings are."""
        words = [str(Path(self.bin) / "kubectl"), "--kubeconfig", self.kubeconfig]
        return [*words, "--context", self.context] if self.context else words

    def save(self, where: Layout) -> None:
        where.run.mkdir(parents=True, exist_ok=True)
        write(where.record, json.dumps(asdict(self), indent=2) + "\n")


def load(where: Layout) -> Cluster | None:
    try:
        return Cluster(**json.loads(where.record.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # no cluster, or the rest of a crash: `up` and `down` both start from what really runs


def current(where: Layout) -> Cluster:
    cluster = load(where)
    if cluster is None:
        raise Problem("No cluster is up. Start one: make up")
    if objection := foreign(Owner(cluster.checkout, str(where.cache)), CHECKOUT, where.cache):
        raise Problem(objection)
    return cluster


@dataclass(frozen=True)
class Owner:
    checkout: str
    cache: str


def foreign(owner: Owner, checkout: Path, cache: Path) -> str:
    """One sentence on whose cluster is in the way; empty if it is the caller's own."""
    setting = "" if owner.cache == str(cache) else f"XDG_CACHE_HOME={Path(owner.cache).parent} "
    if owner.checkout == str(checkout):
        return setting and (
            f"The cluster of this checkout is up with its files in {owner.cache}: "
            f"go on with that one, or take it down first: {setting}make down"
        )
    if not Path(owner.checkout).is_dir():
        return f"The cluster that is up belonged to {owner.checkout}, which is gone: take it away by {setting}make down"
    return (
        f"The cluster that is up on this machine belongs to the checkout {owner.checkout}: "
        f"work there, or take it down first: {setting}make -C {owner.checkout} down"
    )


def machine_folder(where: Layout) -> Path:
    """For what there is one of on a machine; a person who is not root has the cache alone."""
    return Path("/run") / NAME if os.geteuid() == 0 and Path("/run").is_dir() else where.cache


def remember_owner(where: Layout) -> None:
    write(machine_folder(where) / "owner.json", json.dumps(asdict(Owner(str(CHECKOUT), str(where.cache)))) + "\n")


def owner(where: Layout) -> Owner | None:
    try:
        return Owner(**json.loads((machine_folder(where) / "owner.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextmanager
def lock(where: Layout, verb: str) -> Iterator[None]:
    """One change of the cluster at a time on a machine."""
    path = machine_folder(where) / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder, _, rest = file.read().partition("\n")
            if holder and holder != str(CHECKOUT):
                raise Problem(
                    f"The checkout {holder} is changing the cluster of this machine ({rest.strip()}): "
                    "try again when it has ended."
                ) from None
            say(f"  waiting for another run of this checkout ({rest.strip()})")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"{CHECKOUT}\n{verb}, process {os.getpid()}\n")
        file.flush()
        yield


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.replace(path)
