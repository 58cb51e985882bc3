"""The API server, spoken to in plain objects: one small client over the official one, which brings the credentials."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client, config

from .model import MANAGER, Object

TIMEOUT_SECONDS = 15
PAGE = 100
"""Objects that are read at a time where there may be thousands: what is held of them at once stays small."""

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json"
ONLY_METADATA = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class ApiError(Exception):
    """The API server refused a request. `status` is its HTTP status, the text its own message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def no_such_kind(self) -> bool:
        """The cluster doesn't have the kind at all, as while its CRD isn't installed."""
        return self.status == 404 and "page not found" in str(self)


class UnreachableError(Exception):
    """The API server did not answer."""


class Kube:
    """Requests by path; every object is a dict as the API has it."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self.calls: Counter[str] = Counter()
        """By method."""
        self._seen: dict[str, int] = {}
        """The newest resource version of each collection that was listed, heard of, or written here."""
        self._taken: dict[str, int] = {}
        """By UID, the version of an answer that a plan went on from, until the watch has told of it."""

    @classmethod
    async def connect(cls) -> "Kube":
        """By the pod's ServiceAccount, or by the kubeconfig outside of a cluster."""
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=configuration)
        # Else the environment's proxy, and a netrc, would be looked for at each request, each by a thread.
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        await self._api.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = JSON,
        accept: str = JSON,
        **query: str,
    ) -> Object:
        """The parsed answer.

        Raises ApiError for an answer that isn't 2xx, UnreachableError for none within 15 seconds.
        """
        url = f"{path}?{urlencode(query)}" if query else path
        headers = {"Content-Type": kind, "Accept": accept}
        self.calls[method] += 1
        try:
            parts = await self._api.param_serialize(
                method, url, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response = await self._api.call_api(*parts, _request_timeout=TIMEOUT_SECONDS)
            text = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnreachableError(f"the API server does not answer: {error or type(error).__name__}") from error
        answer = _parsed(text)
        if not 200 <= response.status < 300:
            raise ApiError(response.status, str(answer.get("message") or response.reason))
        if method != "GET":
            self.heard(path if method == "POST" else path.rpartition("/")[0], answer)
        return answer

    def heard(self, path: str, found: Mapping[str, Any]) -> None:
        """Of an object, or a list, of the collection at `path`: no later list of it is older than this."""
        if path in self._seen:
            self._seen[path] = max(self._seen[path], version(found))

    def take(self, answer: Object) -> None:
        """A plan goes on from what a write has answered: that the watch tells of it is no news."""
        self._taken[answer["metadata"]["uid"]] = version(answer)

    def is_news(self, told: Mapping[str, Any]) -> bool:
        """Whether a watch tells more of an object than the answer that was taken last."""
        uid, now = told["metadata"]["uid"], version(told)
        taken = self._taken.get(uid, 0)
        if now >= taken:
            self._taken.pop(uid, None)
        return now > taken or not now

    async def get(self, path: str) -> Object | None:
        """The object, or None if there is none."""
        try:
            return await self.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, path: str, selector: str = "", *, consistent: bool = False) -> list[Object]:
        """All objects that the label selector matches, never older than what was seen of the collection before.

        Where `consistent`, and the first time: as they were when it was asked. The API server answers that from its
        cache once etcd has told it that nothing newer is on its way, which takes up to 100 ms where other collections
        change and this one doesn't.
        """
        known = 0 if consistent else self._seen.get(path, 0)
        least: dict[str, Any] = {"resourceVersion": known, "resourceVersionMatch": "NotOlderThan"} if known else {}
        try:
            answer = await self.request("GET", path, labelSelector=selector, **least)
        except ApiError as error:
            if error.status != 504 or not known:
                raise
            # Too large a version for it: etcd was restored from a backup, or its cache lags behind by seconds.
            self._seen.pop(path, None)
            self._taken.clear()
            answer = await self.request("GET", path, labelSelector=selector)
        self._seen.setdefault(path, 0)
        self.heard(path, answer)
        return cast(list[Object], answer.get("items") or [])

    async def metadata(self, path: str) -> AsyncIterator[Object]:
        """Of each object there; from the first page on, while the later ones aren't there yet."""
        query = {"limit": str(PAGE)}
        while True:
            answer = await self.request("GET", f"{path}?{urlencode(query)}", accept=ONLY_METADATA)
            for found in answer.get("items") or ():
                yield found["metadata"]
            query["continue"] = answer["metadata"].get("continue", "")
            if not query["continue"]:
                return

    async def create(self, path: str, body: Object) -> Object:
        return await self.request("POST", path, body, fieldManager=MANAGER)

    async def merge(self, path: str, body: Object) -> Object:
        return await self.request("PATCH", path, body, MERGE, fieldManager=MANAGER)

    async def patch(self, path: str, body: Object) -> Object:
        """Strategic merge, which knows containers by name; for built-in kinds only."""
        return await self.request("PATCH", path, body, STRATEGIC, fieldManager=MANAGER)

    async def apply(self, path: str, body: Object) -> Object:
        """Server-side apply: takes over fields that others have set."""
        return await self.request("PATCH", path, body, APPLY, fieldManager=MANAGER, force="true")

    async def delete(self, path: str, uid: str | None = None) -> None:
        """In the background; an object that is gone already is fine."""
        body: Object = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self.request("DELETE", path, body)
        except ApiError as error:
            if error.status != 404:
                raise


def _proxy(address: str) -> str | None:
    """The environment's, if it has one for this address."""
    parts = urlsplit(address)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def version(found: Mapping[str, Any]) -> int:
    """Resource versions of the same kind can be compared (KEP-5504); 0 where one can't, or there is none."""
    written = str((found.get("metadata") or {}).get("resourceVersion", ""))
    return int(written) if written.isdigit() else 0


def _parsed(text: bytes) -> Object:
    try:
        answer = json.loads(text)
    except ValueError:
        return {"message": text[:500].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {}
