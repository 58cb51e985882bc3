"""What a role lets do, and what was done with it, as the API server's audit log tells.

Those that a whole run of the tests on a cluster has used are in `used-rights.txt`: the chart may grant no others.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.cluster.kube import Object
from tests.unit.chart.render import SCENARIOS, render

USED = Path(__file__).parent / "used-rights.txt"
ACCOUNT = "system:serviceaccount:"
CREATED = 201


@dataclass(frozen=True, order=True)
class Right:
    """A verb on a resource, for one of the chart's components: the operator, or the Job that prepares its way."""

    component: str
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.component}: {self.verb} {self.resource}{'.' if self.group else ''}{self.group}"


NEVER_SEEN = {
    # Where the cluster has no CRD. Taking it away from this one would take all apps with it.
    Right("prepare", "apiextensions.k8s.io", "customresourcedefinitions", "create"),
}
WAYS_TO_INSTALL = (
    *(("--values", str(path)) for path in SCENARIOS),
    *(
        ("--set", setting)
        for setting in ("operator.watch.scope=cluster", "operator.replicas=2", "ingress.enabled=true")
    ),
)


def held() -> set[Right]:
    """All that the chart grants, in one namespace, in some, or in the whole cluster."""
    return {right for options in WAYS_TO_INSTALL for right in granted(render(*options))}


def written(rights: Iterable[Right]) -> str:
    """One a line, as in `used-rights.txt`."""
    return "".join(f"{right}\n" for right in sorted(rights))


def granted(objects: Iterable[Object]) -> set[Right]:
    """All that the roles among these objects allow."""
    return {
        Right(role["metadata"]["labels"]["app.kubernetes.io/component"], group, resource, verb)
        for role in objects
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(log: Path, namespaces: tuple[str, ...], since: datetime) -> set[Right]:
    """What the accounts of apps in these namespaces, given by how they begin, were let do."""
    return {right for event in _events(log) for right in _rights(event, namespaces, since)}


def _rights(event: Object, namespaces: tuple[str, ...], since: datetime) -> Iterator[Right]:
    namespace, _, account = event["user"]["username"].removeprefix(ACCOUNT).partition(":")
    asked = event.get("objectRef")
    allowed = event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow"
    if not (asked and allowed and namespace.startswith(namespaces)):
        return
    if datetime.fromisoformat(event["requestReceivedTimestamp"]) < since:
        return
    resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
    verbs = {event["verb"]}
    if event["verb"] == "patch" and event.get("responseStatus", {}).get("code") == CREATED:
        verbs.add("create")  # server-side apply of what was not there: the API server has asked for both
    for verb in verbs:
        yield Right(account.rpartition("-")[2], asked.get("apiGroup", ""), resource, verb)


def _events(log: Path) -> Iterator[Object]:
    """Of the file and of those that it was before it grew too large; the last line may still be on its way."""
    for path in log.parent.glob(f"{log.stem}*{log.suffix}"):
        with path.open() as lines:
            yield from (json.loads(line) for line in lines if line.endswith("\n"))
