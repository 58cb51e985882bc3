"""What tells that an app wants a look: Kopf's watches, and a list now and then of what those did not tell.

Either is only a hint: it adds the app's key to the queue.
"""

import logging
from collections.abc import Mapping
from typing import Any

import kopf
from kopf._cogs.structs.bodies import BodyEssence

from .actions import Phase
from .kube import PAGE, ApiError, Kube, UnreachableError, version
from .model import GROUP, LABEL_APP, PLURAL, VERSION
from .observe import apps_path
from .queue import Key, Queue

log = logging.getLogger(__name__)

ROUNDUP_SECONDS = 30.0


class Asked:
    """What people want of each app, as it was told last: that the operator has written a status is no news to it."""

    def __init__(self) -> None:
        self._asked: dict[Key, tuple[int, int]] = {}
        """Hash of the wish, and the resource version that it was told with."""

    def is_news(self, key: Key, meta: Mapping[str, Any]) -> bool:
        """Whether this metadata tells of a new wish, or of a cluster that went back; from now on it is known."""
        annotations = sorted((meta.get("annotations") or {}).items())
        asked = hash((meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), *annotations))
        told = version({"metadata": meta})
        known, newest = self._asked.get(key, (None, 0))
        self._asked[key] = (asked, told)
        return asked != known or told < newest

    def forget(self, key: Key) -> None:
        """The app is gone: if it comes back it is news, even as a backup has it."""
        self._asked.pop(key, None)


class Roundup:
    """Lists the apps now and then, and adds those of which no watch has told: watches are hints that may stay away.

    Kopf looks for the CRD once, at its start, and a watcher that meets an error it doesn't know ends for good.
    """

    def __init__(self, kube: Kube, namespaces: list[str], queue: Queue, asked: Asked) -> None:
        """No namespaces: all of them."""
        self._kube, self._namespaces, self._queue, self._asked = kube, namespaces, queue, asked
        self.succeeded = False
        """Once, in part at least: the API server answers, and the CRD is there."""

    async def look(self) -> None:
        """A namespace that can't be read, as one that is gone, keeps none of the others from being looked at."""
        for namespace in self._namespaces or [""]:
            try:
                async for meta in self._kube.metadata(apps_path(namespace)):
                    self.succeeded = True
                    key = meta["namespace"], meta["name"]
                    if self._asked.is_news(key, meta):
                        self._queue.add(key, may_wait=True)
            except ApiError as error:
                log.warning("the InventoryApps of %s can't be listed: %s", namespace or "all namespaces", error)
            except UnreachableError as error:
                log.warning("the InventoryApps can't be listed: %s", error)
                return  # nor can the next namespace's, and each would wait as long
            else:
                self.succeeded = True


def register(registry: kopf.OperatorRegistry, queue: Queue, kube: Kube, asked: Asked) -> None:
    """Watch the apps and, by label, what belongs to them. Whoever looks because of an event sees what it told."""

    # Coroutines, or Kopf would call them in threads, and the queue belongs to the event loop.
    async def app_event(
        type: str | None, namespace: str | None, name: str | None, meta: kopf.Meta, status: kopf.Status, **_: Any
    ) -> None:
        key = (namespace or "", name or "")
        # Without a type it was there when the watch began, maybe anew: it may have missed something, of others too.
        if asked.is_news(key, meta) or type in (None, "DELETED"):
            serves = status.get("phase") == Phase.HEALTHY and status.get("observedGeneration") == meta.get("generation")
            queue.add(key, may_wait=type is None and serves)
        if type == "DELETED":
            asked.forget(key)

    async def child_event(
        type: str | None,
        resource: kopf.Resource,
        namespace: str | None,
        labels: kopf.Labels,
        body: kopf.Body,
        **_: Any,
    ) -> None:
        kube.heard(resource.get_url(namespace=body.metadata.namespace), body)
        if kube.is_news(body):
            queue.add((namespace or "", labels[LABEL_APP]), may_wait=type is None)

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
