"""An InventoryApp with all that belongs to it, as values for people. `read` fetches, `parse` is pure.

Records are read here with fewer demands than the operator makes: this program may be older or newer than the operator.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, objections

from ..model import (
    ANNOTATION_RECORD,
    GROUP,
    KIND,
    LABEL_APP,
    LABEL_ATTEMPT,
    LABEL_RELEASE,
    LABEL_REVISION,
    LABEL_STEP,
    PLURAL,
    VERSION,
    Object,
    release_content,
    release_hash,
)
from .client import Client
from .exits import Ended, Exit


@dataclass(frozen=True)
class Pod:
    """A pod of a release or of a Job."""

    name: str
    release: str
    job: str
    """Name of the Job that made it, empty for a pod of the service."""
    state: str
    """ready, starting, ending, waiting, done, failed."""
    said: str
    """Why it isn't ready, as far as the cluster says."""
    created: datetime


@dataclass(frozen=True)
class Job:
    """A Job of a release or of an operation."""

    name: str
    revision: int
    step: str
    attempt: int
    state: str
    """running, done, failed, suspended."""
    created: datetime
    ended: datetime | None


@dataclass(frozen=True)
class Release:
    """A release that is kept: its Deployment."""

    name: str
    hash: str
    revision: int
    stage: str
    image: str
    """As it was written, by tag if it was."""
    message: str
    replicas: int
    ready: int
    step: int
    """Steps of its strategy that are behind it."""
    served: bool
    schema: ImageSchema | None
    """None: its migration Job has not reported yet."""
    seen: tuple[datetime, DatabaseSchema] | None
    """What its Job found in the database, and when."""
    deployment: Object

    @property
    def old_pods(self) -> int:
        """Pods that are to be replaced by ones of its present template, or whose replacements aren't available yet."""
        status = self.deployment.get("status") or {}
        if status.get("observedGeneration", 0) < self.deployment["metadata"].get("generation", 0):
            return self.replicas
        new = min(int(status.get("updatedReplicas", 0)), int(status.get("availableReplicas", 0)))
        return max(self.replicas, int(status.get("replicas", 0))) - new

    def against(self, database: DatabaseSchema | None) -> tuple[str, ...]:
        """Why it can't run on this schema; empty also where that isn't known."""
        return objections(self.schema, database) if self.schema and database else ()


@dataclass(frozen=True)
class App:
    """All that a person can be shown of an app."""

    found: Object
    releases: tuple[Release, ...] = ()
    """Newest first."""
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()

    @property
    def name(self) -> str:
        return str(self.found["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.found["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        return str(self.found["metadata"]["uid"])

    @property
    def path(self) -> str:
        return app_path(self.namespace, self.name)

    @property
    def spec(self) -> Object:
        found: Object = self.found["spec"]
        return found

    @property
    def status(self) -> Object:
        found: Object = self.found.get("status") or {}
        return found

    @property
    def content(self) -> Object:
        return release_content(self.spec)

    @property
    def replicas(self) -> int:
        return int(self.spec.get("replicas", 1))

    @property
    def seen(self) -> bool:
        """Whether the operator has seen the present spec."""
        return bool(self.status.get("observedGeneration", -1) >= self.found["metadata"]["generation"])

    @property
    def stable(self) -> Release | None:
        return self.by_hash(self.status.get("stableRelease", ""))

    @property
    def candidate(self) -> Release | None:
        return self.by_hash(self.status.get("candidateRelease", ""))

    @property
    def database(self) -> tuple[datetime, DatabaseSchema] | None:
        """When and what the newest report said that the database has."""
        return max((r.seen for r in self.releases if r.seen), key=lambda seen: seen[0], default=None)

    @property
    def schema(self) -> DatabaseSchema | None:
        return self.database[1] if self.database else None

    @property
    def history(self) -> list[Object]:
        """Newest first."""
        entries = [dict(entry) for entry in self.status.get("history", ())]
        return sorted(entries, key=lambda entry: -int(entry["revision"]))

    @property
    def next_revision(self) -> int:
        numbers = [release.revision for release in self.releases]
        return max([*numbers, *(int(entry["revision"]) for entry in self.history)], default=0) + 1

    def by_hash(self, release: str) -> Release | None:
        return next((each for each in self.releases if release and each.hash == release), None)

    def by_revision(self, revision: int) -> Release | None:
        """The release of this revision, also where its content came back under a newer number."""
        exact = next((each for each in self.releases if each.revision == revision), None)
        entry = next((entry for entry in self.history if int(entry["revision"]) == revision), None)
        return exact or (self.by_hash(entry.get("release", "")) if entry else None)

    def pods_of(self, release: Release) -> list[Pod]:
        return [pod for pod in self.pods if not pod.job and pod.release == release.hash]

    def steps_of(self) -> list[Object]:
        """Of the spec's strategy; empty for rolling."""
        return strategy(self.spec)[1].get("steps") or []


def strategy(spec: Object) -> tuple[str, Object]:
    """Which one, and its settings."""
    found = spec.get("strategy") or {}
    for kind in ("canary", "blueGreen"):
        if kind in found:
            return kind, found[kind] or {}
    return "rolling", found.get("rolling") or {}


def app_path(namespace: str, name: str = "") -> str:
    """Of one app or, without a name, of all in the namespace; without a namespace of all in the cluster."""
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{place}/{PLURAL}" + (f"/{name}" if name else "")


async def find(client: Client, name: str) -> App:
    """The app of this name or, without one, the only one in the namespace. Raises Ended."""
    if not name:
        names = sorted(found["metadata"]["name"] for found in await client.list(app_path(client.namespace)))
        if len(names) != 1:
            said = f"say which: {', '.join(names)}" if names else "there is none"
            raise Ended(Exit.USAGE, f"InventoryApps in namespace {client.namespace}: {said}")
        name = names[0]
    app = await read(client, client.namespace, name)
    if app is None:
        raise Ended(Exit.ERROR, f"there is no InventoryApp {name} in namespace {client.namespace}")
    return app


async def find_all(client: Client, *, everywhere: bool) -> list[App]:
    """All apps of the namespace or of the cluster, by namespace and name; four requests, however many they are."""
    place = "" if everywhere else f"/namespaces/{client.namespace}"
    found, deployments, jobs, pods = await asyncio.gather(
        client.list(app_path("" if everywhere else client.namespace)),
        client.list(f"/apis/apps/v1{place}/deployments", LABEL_APP),
        client.list(f"/apis/batch/v1{place}/jobs", LABEL_APP),
        client.list(f"/api/v1{place}/pods", LABEL_APP),
    )
    parts = [_by_app(each) for each in (deployments, jobs, pods)]
    apps = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in found}
    # A list has each object without what the list as a whole says.
    kind = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND}
    return [parse(kind | apps[key], *(part.get(key, []) for part in parts)) for key in sorted(apps)]


async def read(client: Client, namespace: str, name: str) -> App | None:
    """None if there is no such app."""
    selector = f"{LABEL_APP}={name}"
    found, deployments, jobs, pods = await asyncio.gather(
        client.get(app_path(namespace, name)),
        client.list(f"/apis/apps/v1/namespaces/{namespace}/deployments", selector),
        client.list(f"/apis/batch/v1/namespaces/{namespace}/jobs", selector),
        client.list(f"/api/v1/namespaces/{namespace}/pods", selector),
    )
    return parse(found, deployments, jobs, pods) if found else None


def parse(found: Object, deployments: list[Object], jobs: list[Object], pods: list[Object]) -> App:
    """What the API server returned, as values; what isn't this app's own is left out."""
    uid = found["metadata"]["uid"]
    releases = [parse_release(each) for each in deployments if _owned(each, uid)]
    known = [each for each in jobs if _owned(each, uid) and LABEL_REVISION in (each["metadata"].get("labels") or {})]
    return App(
        found,
        tuple(sorted(releases, key=lambda release: -release.revision)),
        tuple(sorted(map(parse_job, known), key=lambda job: job.created)),
        tuple(sorted(map(parse_pod, pods), key=lambda pod: (pod.created, pod.name))),
    )


def parse_release(found: Object) -> Release:
    meta, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    record = _record((meta.get("annotations") or {}).get(ANNOTATION_RECORD, ""))
    image, database, seen = record.get("image_schema"), record.get("database_schema"), record.get("schema_seen")
    return Release(
        name=meta["name"],
        hash=meta["labels"].get(LABEL_RELEASE, ""),
        revision=int(record.get("revision", 0)),
        stage=str(record.get("stage", "")),
        image=str(record.get("image") or spec["template"]["spec"]["containers"][0]["image"]),
        message=str(record.get("message", "")),
        replicas=int(spec.get("replicas", 1)),
        ready=min(int(status.get("readyReplicas", 0)), int(spec.get("replicas", 1))),
        step=int(record.get("step", 0)),
        served=bool(record.get("served")) or record.get("stage") == "promoted",
        schema=image
        and ImageSchema(tuple(image["expand"]), tuple(image["contract"]), tuple(image.get("required_contract", ()))),
        seen=(datetime.fromisoformat(seen), DatabaseSchema(tuple(database["expand"]), tuple(database["contract"])))
        if database and seen
        else None,
        deployment=found,
    )


def parse_job(found: Object) -> Job:
    meta, spec, status = found["metadata"], found["spec"], found.get("status") or {}
    labels = meta["labels"]
    conditions = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    ended = conditions.get("Complete") or conditions.get("Failed")
    state = "suspended" if spec.get("suspend") else "running"
    if ended:
        state = "done" if "Complete" in conditions else "failed"
    return Job(
        name=meta["name"],
        revision=int(labels[LABEL_REVISION]),
        step=labels.get(LABEL_STEP, "expand"),
        attempt=int(labels.get(LABEL_ATTEMPT, "1")),
        state=state,
        created=datetime.fromisoformat(meta["creationTimestamp"]),
        ended=datetime.fromisoformat(ended["lastTransitionTime"]) if ended else None,
    )


def parse_pod(found: Object) -> Pod:
    meta, status = found["metadata"], found.get("status") or {}
    labels = meta.get("labels") or {}
    controller: Object = next(iter(meta.get("ownerReferences") or ()), {})
    container: Object = next(iter(status.get("containerStatuses") or ()), {})
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    waiting = (container.get("state") or {}).get("waiting") or {}
    ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get("terminated")
    said = waiting.get("message") or waiting.get("reason") or ""
    if scheduled.get("status") == "False":
        said = scheduled.get("message", "")
    return Pod(
        name=meta["name"],
        release=labels.get(LABEL_RELEASE, ""),
        job=controller.get("name", "") if controller.get("kind") == "Job" else "",
        state=_pod_state(found, conditions, bool(waiting or scheduled.get("status") == "False")),
        said=_last_line((ended or {}).get("message", "")) or said,
        created=datetime.fromisoformat(meta["creationTimestamp"]),
    )


def _pod_state(found: Object, conditions: Object, waiting: bool) -> str:
    phase = found.get("status", {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        return "done" if phase == "Succeeded" else "failed"
    if "deletionTimestamp" in found["metadata"]:
        return "ending"
    if conditions.get("Ready", {}).get("status") == "True":
        return "ready"
    return "waiting" if waiting else "starting"


def hash_of(spec: Object) -> str:
    """Of the release that a spec asks for."""
    return release_hash(release_content(spec))


def _by_app(objects: list[Object]) -> dict[tuple[str, str], list[Object]]:
    found: dict[tuple[str, str], list[Object]] = {}
    for each in objects:
        meta = each["metadata"]
        found.setdefault((meta["namespace"], meta["labels"][LABEL_APP]), []).append(each)
    return found


def _record(text: str) -> Object:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _owned(found: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in found["metadata"].get("ownerReferences") or ())
