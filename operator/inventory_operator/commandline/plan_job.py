"""The short-lived Job that asks an image what it would migrate: `inventory-api migrate plan`, which changes nothing.

Made by the caller's own rights, with no label that the operator looks for.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from inventory_api.migrations.rule import DatabaseSchema, ImageSchema, spelled_out

from ..kube import ApiError
from ..model import PULL_TROUBLE, Object
from .apps import parse_pod
from .client import Client
from .exits import Ended, Exit
from .ownership import MANAGER

INTERVAL_SECONDS = 0.5
SETTINGS = ("INVENTORY_SERVICE_ROLE",)
"""Of the service's configuration, what the migration command reads."""
_BLOCKED = PULL_TROUBLE | {"CreateContainerConfigError"}


@dataclass(frozen=True)
class Migration:
    """A migration that is not applied yet."""

    revision: str
    history: str
    """expand or contract."""
    summary: str = ""
    sql: str = ""
    findings: tuple[str, ...] = ()
    transactional: bool = True
    lossless: bool = False
    requires_expand: str = ""


@dataclass(frozen=True)
class Found:
    """What the image and the database say."""

    image: ImageSchema
    database: DatabaseSchema
    pending: tuple[Migration, ...] = field(default=())


async def ask(client: Client, app: Object, seconds: float, say: Callable[[str], None]) -> Found:
    """What applying this manifest would migrate.

    Raises Ended if the Job can't be made, doesn't end in time, or the command refuses or fails.
    """
    job = manifest(app, client.namespace, secrets.token_hex(4), int(seconds))
    jobs = f"/apis/batch/v1/namespaces/{client.namespace}/jobs"
    try:
        made = await client.request("POST", jobs, job, fieldManager=MANAGER)
    except ApiError as error:
        said = f"the migrations can't be looked at: {error} (--no-migrations leaves them out)"
        raise Ended(Exit.ERROR, said) from error
    name = made["metadata"]["name"]
    say(f"asks the image for its migrations (Job {name})")
    try:
        return parse(await _log_of(client, name, seconds))
    finally:
        await client.delete(f"{jobs}/{name}", uid=made["metadata"]["uid"])


def manifest(app: Object, namespace: str, token: str, seconds: int) -> Object:
    """It deletes itself, should this program be gone. `app` is an InventoryApp as somebody wrote it."""
    spec, name = app["spec"], app["metadata"]["name"]
    template, config = spec.get("template") or {}, spec.get("config") or {}
    labels = {
        "app.kubernetes.io/name": "inventory",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "plan",
        "app.kubernetes.io/managed-by": MANAGER,
    }
    settings = {key: config[key] for key in SETTINGS if key in config}
    policy = {"imagePullPolicy": spec["imagePullPolicy"]} if spec.get("imagePullPolicy") else {}
    where = ("nodeSelector", "tolerations", "priorityClassName")
    nodes = (template.get("affinity") or {}).get("nodeAffinity")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{name}-plan-{token}", "namespace": namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": 300,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "imagePullSecrets": [{"name": each} for each in spec.get("imagePullSecrets") or ()],
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    **{key: template[key] for key in where if key in template},
                    **({"affinity": {"nodeAffinity": nodes}} if nodes else {}),
                    "containers": [
                        {
                            "name": "plan",
                            "image": spec["image"],
                            **policy,
                            "args": ["migrate", "plan"],
                            "env": [{"name": key, "value": value} for key, value in sorted(settings.items())],
                            "envFrom": [{"secretRef": {"name": spec["migrations"]["secret"]}}],
                            "resources": template.get("resources") or {},
                            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - in the pod
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def parse(lines: Iterable[str]) -> Found:
    """A line of JSON for each pending migration, the result as the last; the command's own log is in between.

    An image that only tells the result still names what is pending. Raises Ended for a result that is none.
    """
    told: dict[str, Migration] = {}
    result: Object | None = None
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and "revision" in said and "sql" in said:
            told[str(said["revision"])] = _migration(said)
        elif isinstance(said, dict) and "result" in said and "expand" in said:
            result = said
    if result is None:
        raise Ended(Exit.ERROR, "the image's migration command ended without a result")
    if result["result"] != "plan":
        raise Ended(Exit.REFUSED, f"the migration command: {result['result']}: {result.get('error', '')}".rstrip(": "))
    expand, contract = result["expand"], result["contract"]
    required = spelled_out(contract.get("required", ""))
    image = ImageSchema(spelled_out(expand["image"]), spelled_out(contract["image"]), required)
    database = DatabaseSchema(spelled_out(expand["schema"]), spelled_out(contract["schema"]))
    pending = [
        told.get(each, Migration(each, history))
        for history, known, applied in (
            ("expand", image.expand, database.expand),
            ("contract", image.contract, database.contract),
        )
        for each in known
        if each not in applied
    ]
    return Found(image, database, tuple(pending))


def _migration(said: Object) -> Migration:
    return Migration(
        revision=str(said["revision"]),
        history=str(said.get("history", "expand")),
        summary=str(said.get("summary") or ""),
        sql=str(said.get("sql") or ""),
        findings=tuple(map(_finding, said.get("findings") or ())),
        transactional=bool(said.get("transactional", True)),
        lossless=bool(said.get("lossless")),
        requires_expand=str(said.get("requires_expand") or ""),
    )


def _finding(found: object) -> str:
    if isinstance(found, dict):
        return ": ".join(str(found[key]) for key in ("rule", "message", "said") if found.get(key)) or json.dumps(found)
    return str(found)


async def _log_of(client: Client, job: str, seconds: float) -> list[str]:
    """All that the Job's pod has printed, once it has ended."""
    pods = f"/api/v1/namespaces/{client.namespace}/pods"
    until, said = time.monotonic() + seconds, "it got no pod"
    while time.monotonic() < until:
        for found in await client.list(pods, f"job-name={job}"):
            pod = parse_pod(found)
            if pod.state in ("done", "failed"):
                return [line async for line in client.lines(f"{pods}/{pod.name}/log")]
            said = pod.said or f"its pod is {pod.state}"
            container: Object = next(iter(found.get("status", {}).get("containerStatuses") or ()), {})
            reason = ((container.get("state") or {}).get("waiting") or {}).get("reason", "")
            if reason in _BLOCKED:
                raise Ended(Exit.REFUSED, f"the image can't tell its migrations: {reason}: {pod.said}")
        await asyncio.sleep(INTERVAL_SECONDS)
    raise Ended(Exit.TIME_LIMIT, f"the image did not tell its migrations within {seconds:g} s: {said}")
