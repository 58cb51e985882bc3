"""The API server by the caller's own rights, found as kubectl finds it."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from ..kube import APPLY, MERGE, ApiError, Kube, UnreachableError
from ..model import Object
from .exits import Ended, Exit
from .ownership import MANAGER

LOG_SECONDS = 3600
"""A log is followed for so long at most."""
IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Client(Kube):
    """Requests by path, as the operator's; what it writes bears its own field manager."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        super().__init__(api)
        self.namespace = namespace
        """The one that was asked for, else the context's."""

    @classmethod
    async def open(cls, kubeconfig: str, context: str, namespace: str) -> "Client":
        """By --kubeconfig, $KUBECONFIG or ~/.kube/config; in a pod without any by its ServiceAccount.

        Raises Ended if there is no way to a cluster.
        """
        configuration = client.Configuration()
        configuration.retries = 0
        files = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        try:
            if _any_exists(files):
                loader = await config.load_kube_config(
                    config_file=files, context=context or None, client_configuration=configuration, persist_config=False
                )
                found = loader.current_context["context"].get("namespace", "")
            elif kubeconfig or context:
                raise Ended(Exit.ERROR, f"there is no kubeconfig {files}")
            else:
                config.load_incluster_config(client_configuration=configuration)
                found = _own_namespace()
        except (config.ConfigException, OSError) as error:
            raise Ended(Exit.ERROR, f"no cluster to talk to: {error}") from error
        return cls(client.ApiClient(configuration), namespace or found or "default")

    def at(self, namespace: str) -> "Client":
        """The same way to the cluster, for another namespace."""
        return Client(self._api, namespace)

    async def annotate(self, path: str, annotations: dict[str, str]) -> Object:
        body = {"metadata": {"annotations": annotations}}
        return await self.request("PATCH", path, body, MERGE, fieldManager=MANAGER)

    async def set_fields(self, path: str, body: Object, *, force: bool = False) -> Object:
        """Server-side apply under our name; a 409 names who else has a field."""
        query = {"force": "true"} if force else {}
        return await self.request("PATCH", path, body, APPLY, fieldManager=MANAGER, **query)

    async def try_out(self, method: str, path: str, body: Object) -> Object:
        """What the API server would make of an object, new (POST) or changed (PUT); nothing is written."""
        return await self.request(method, path, body, dryRun="All", fieldManager=MANAGER)

    async def replace_fields(self, path: str, body: Object) -> Object:
        """A merge patch, which can take away (null) what others have set; it asks nobody."""
        return await self.request("PATCH", path, body, MERGE, fieldManager=MANAGER)

    async def lines(self, path: str, **query: str) -> AsyncIterator[str]:
        """Of a text, as a pod's log, as they come."""
        where = f"{path}?{urlencode(query)}" if query else path
        try:
            parts = await self._api.param_serialize(
                "GET", where, header_params={"Accept": "*/*"}, auth_settings=["BearerToken"]
            )
            response = (await self._api.call_api(*parts, _request_timeout=LOG_SECONDS)).response
            if response.status != 200:
                raise ApiError(response.status, (await response.text())[:500])
            async for line in response.content:
                yield line.decode(errors="replace").rstrip("\n")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"the API server does not answer: {error or type(error).__name__}") from error


def _any_exists(files: str) -> bool:
    return any(Path(each).expanduser().exists() for each in files.split(os.pathsep) if each)


def _own_namespace() -> str:
    return IN_CLUSTER_NAMESPACE.read_text().strip() if IN_CLUSTER_NAMESPACE.exists() else ""
