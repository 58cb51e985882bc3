"""What Kopf watches. Every event is only a hint that an app wants a look: it adds the app's key to the queue."""

from collections.abc import Mapping
from typing import Any

import kopf
from kopf._cogs.structs.bodies import BodyEssence

from .kube import PAGE, Kube
from .model import GROUP, LABEL_APP, PLURAL, VERSION
from .queue import Key, Queue


class Asked:
    """What people want of each app, as it was heard last: that the operator has written a status is no news to it."""

    def __init__(self) -> None:
        self._asked: dict[Key, int] = {}

    def is_news(self, event: str | None, key: Key, meta: Mapping[str, Any]) -> bool:
        """`event` is None for what was there at the start, or at a new start of the watch."""
        if event == "DELETED":
            self._asked.pop(key, None)
            return True
        annotations = sorted((meta.get("annotations") or {}).items())
        asked = hash((meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), *annotations))
        if event == "MODIFIED" and self._asked.get(key) == asked:
            return False
        self._asked[key] = asked
        return True


def register(registry: kopf.OperatorRegistry, queue: Queue, kube: Kube) -> None:
    """Watch the apps and, by label, what belongs to them. Whoever looks because of an event sees what it told."""

    asked = Asked()

    # Coroutines, or Kopf would call them in threads, and the queue belongs to the event loop.
    async def app_event(type: str | None, namespace: str | None, name: str | None, meta: kopf.Meta, **_: Any) -> None:
        key = (namespace or "", name or "")
        if asked.is_news(type, key, meta):
            queue.add(key)

    async def child_event(
        resource: kopf.Resource, namespace: str | None, labels: kopf.Labels, body: kopf.Body, **_: Any
    ) -> None:
        kube.heard(resource.get_url(namespace=body.metadata.namespace), body)
        if kube.is_news(body):
            queue.add((namespace or "", labels[LABEL_APP]))

    kopf.on.login(registry=registry)(login)
    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(app_event)
    for group, plural in (("apps", "deployments"), ("batch", "jobs"), ("", "services")):
        kopf.on.event(group, "v1", plural, labels={LABEL_APP: kopf.PRESENT}, registry=registry)(child_event)


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The pod's ServiceAccount, or the kubeconfig outside of a cluster."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


class _NothingToCompare(kopf.AnnotationsDiffBaseStorage):
    """Only events are heard here, whatever has changed. Kopf would copy each object three times to find out what."""

    def build(self, **_: Any) -> BodyEssence:
        return BodyEssence()


def settings() -> kopf.OperatorSettings:
    """No peering, no finalizer, no CRD or namespace watch, nothing written by Kopf itself."""
    found = kopf.OperatorSettings()
    found.peering.standalone = True
    found.posting.enabled = False
    found.scanning.disabled = True
    found.persistence.diffbase_storage = _NothingToCompare()
    found.watching.chunk_size = PAGE
    found.queueing.idle_timeout = 0.1  # so long a whole object is held after each event; at the start, of all of them
    found.watching.server_timeout = 300
    found.watching.client_timeout = 330
    return found
