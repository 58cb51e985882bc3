"""What Helm remembers of a release of its own, read from its Secrets: which number brought which content."""

import json
import zlib
from base64 import b64decode

import yaml

from ..kube import ApiError
from ..model import KIND, Object
from .apps import hash_of
from .client import Client

_LIMIT_BYTES = 32 * 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS


async def revision_of(client: Client, namespace: str, release: str, app: str, wanted: str) -> tuple[int, Object] | None:
    """Helm's newest number whose InventoryApp has this hash, and its spec; None also if the caller may not look."""
    try:
        found = await client.list(f"/api/v1/namespaces/{namespace}/secrets", f"owner=helm,name={release}")
    except ApiError:
        return None
    known = sorted(found, key=lambda secret: -int(secret["metadata"]["labels"].get("version", "0")))
    for secret in known:
        spec = spec_of(secret, app)
        if spec and hash_of(spec) == wanted:
            return int(secret["metadata"]["labels"]["version"]), spec
    return None


def spec_of(secret: Object, app: str) -> Object | None:
    """The spec of an InventoryApp in the manifest that Helm keeps, or None."""
    try:
        packed = b64decode(b64decode(secret["data"]["release"]))
        text = zlib.decompressobj(_GZIP).decompress(packed, _LIMIT_BYTES)
        for document in yaml.safe_load_all(json.loads(text)["manifest"]):
            if isinstance(document, dict) and document.get("kind") == KIND and document["metadata"]["name"] == app:
                spec: Object = document["spec"]
                return spec
    except (ValueError, KeyError, TypeError, zlib.error, yaml.YAMLError):
        pass
    return None
