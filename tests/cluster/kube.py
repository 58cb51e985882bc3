"""The API server, spoken to in plain objects."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from kubernetes import config
from kubernetes.client import ApiException
from urllib3 import HTTPResponse

MERGE = "application/merge-patch+json"
TIMEOUT_SECONDS = 30

Object = dict[str, Any]


class Kube:
    """Requests by path, through the official client; every object is a dict as the API has it."""

    def __init__(self, kubeconfig: str, context: str = "") -> None:
        self._api = config.new_client_from_config(config_file=kubeconfig, context=context or None)

    def close(self) -> None:
        self._api.close()

    def request(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json", **query: str
    ) -> Object:
        """The parsed answer. Raises ApiException."""
        found: Object = json.loads(self._send(method, path, body, kind, query))
        return found

    def get(self, path: str) -> Object | None:
        """The object, or None if there is none."""
        try:
            return self.request("GET", path)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def items(self, path: str, selector: str = "") -> list[Object]:
        """All objects that the label selector matches, oldest first."""
        found = self.request("GET", path, labelSelector=selector)["items"]
        return sorted(found, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))

    def merge(self, path: str, body: Object) -> Object:
        return self.request("PATCH", path, body, MERGE)

    def delete(self, path: str, *, at_once: bool = False) -> None:
        """`at_once` kills a pod without letting it end; an object that is gone already is fine."""
        options: Object = {"propagationPolicy": "Background"}
        if at_once:
            options["gracePeriodSeconds"] = 0
        try:
            self.request("DELETE", path, options)
        except ApiException as error:
            if error.status != 404:
                raise

    def log(self, pod: str) -> str:
        """What the pod at this path has printed."""
        return self._send("GET", f"{pod}/log", None, "application/json", {})

    def recorder(self, path: str, seconds: int) -> Callable[[], list[Object]]:
        """A watch from now on; called, it returns the events of so many seconds."""
        since = self.request("GET", path, limit="1")["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": since, "timeoutSeconds": str(seconds)}

        def record() -> list[Object]:
            text = self._send("GET", path, None, "application/json", query, seconds + TIMEOUT_SECONDS)
            return [json.loads(line) for line in text.splitlines()]

        return record

    def watch(self, path: str, since: str, seconds: int) -> Iterator[Object]:
        """Each event as it comes, from a resource version on, for so many seconds."""
        query = {"watch": "1", "resourceVersion": since, "timeoutSeconds": str(seconds), "allowWatchBookmarks": "true"}
        rest = b""
        for chunk in self._open("GET", path, None, "application/json", query, seconds + TIMEOUT_SECONDS).stream():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in whole if line)

    def _send(
        self,
        method: str,
        path: str,
        body: Object | None,
        kind: str,
        query: dict[str, str],
        timeout: float = TIMEOUT_SECONDS,
    ) -> str:
        content: bytes = self._open(method, path, body, kind, query, timeout).data
        return content.decode()

    def _open(
        self, method: str, path: str, body: Object | None, kind: str, query: dict[str, str], timeout: float
    ) -> HTTPResponse:
        """The answer, whose body is not read yet. Raises ApiException."""
        parts = self._api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Content-Type": kind, "Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        response: HTTPResponse = self._api.call_api(*parts, _request_timeout=timeout).response
        if not 200 <= response.status < 300:
            raise ApiException(status=response.status, reason=response.data.decode())
        return response
