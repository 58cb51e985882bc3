"""What Kopf watches. Every event is only a hint that an app wants a look: it adds the app's key to the queue."""

from typing import Any

import kopf

from .model import GROUP, LABEL_APP, PLURAL, VERSION
from .queue import Queue


def register(registry: kopf.OperatorRegistry, queue: Queue) -> None:
    """Watch the apps and, by label, what belongs to them."""

    # Coroutines, or Kopf would call them in threads, and the queue belongs to the event loop.
    async def app_event(namespace: str | None, name: str | None, **_: Any) -> None:
        queue.add((namespace or "", name or ""))

    async def child_event(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        queue.add((namespace or "", labels[LABEL_APP]))

    kopf.on.login(registry=registry)(login)
    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(app_event)
    for group, plural in (("apps", "deployments"), ("batch", "jobs"), ("", "services")):
        kopf.on.event(group, "v1", plural, labels={LABEL_APP: kopf.PRESENT}, registry=registry)(child_event)


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The pod's ServiceAccount, or the kubeconfig outside of a cluster."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def settings() -> kopf.OperatorSettings:
    """No peering, no finalizer, no CRD or namespace watch, nothing written by Kopf itself."""
    found = kopf.OperatorSettings()
    found.peering.standalone = True
    found.posting.enabled = False
    found.scanning.disabled = True
    found.watching.server_timeout = 300
    found.watching.client_timeout = 330
    return found
