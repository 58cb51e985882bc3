"""What has to be there before the chart's objects: generated Secrets, once, and a CRD that knows their fields.

A Secret made in a template would change with each render; made here it is the cluster's, and each render is the same.
"""

import re
import secrets
from base64 import b64decode
from importlib.resources import files
from pathlib import Path

import yaml

from .kube import ApiError, Kube
from .model import Object

CRD_VERSION = "inventory.dev/crd-version"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PLACEHOLDER = re.compile(r"\{(random|ref):([^{}]+)\}")


async def upgrade_crd(kube: Kube) -> str:
    """Apply the CRD that this version brings, unless the cluster has the same one or a newer one."""
    wanted = shipped_crd()
    name, version = wanted["metadata"]["name"], int(wanted["metadata"]["annotations"][CRD_VERSION])
    present = await kube.get(f"{CRD_PATH}/{name}")
    if present:
        found = int((present["metadata"].get("annotations") or {}).get(CRD_VERSION, "0"))
        if found >= version:
            return f"CRD {name}: the cluster has version {found}, this release brings {version}: left as it is"
    await kube.apply(f"{CRD_PATH}/{name}", wanted)
    return f"CRD {name}: version {version} applied"


async def ensure_secret(kube: Kube, namespace: str, wanted: Object) -> str:
    """Create a Secret if there is none of that name. One that is there is never touched.

    In a value, `{random:N}` is N fresh URL-safe characters, `{ref:SECRET/KEY}` what another Secret holds.
    """
    name = wanted["name"]
    path = f"/api/v1/namespaces/{namespace}/secrets"
    if await kube.get(f"{path}/{name}"):
        return f"Secret {name}: there already, left as it is"
    values = {key: await _filled(kube, path, text) for key, text in wanted["values"].items()}
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": wanted.get("labels", {})},
        "type": "Opaque",
        "stringData": values,
    }
    try:
        await kube.create(path, body)
    except ApiError as error:
        if error.status != 409:
            raise
        return f"Secret {name}: created by somebody else meanwhile"
    return f"Secret {name}: created"


def shipped_crd() -> Object:
    """The CRD of this version: beside the package in the image, from its one source in a checkout."""
    packaged = files("inventory_operator") / "crd.yaml"
    source = Path(__file__).parents[2] / "manifests" / "crd.yaml"
    text = packaged.read_text() if packaged.is_file() else source.read_text()
    found: Object = yaml.safe_load(text)
    return found


async def _filled(kube: Kube, path: str, text: str) -> str:
    parts, end = [], 0
    for match in PLACEHOLDER.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        if match[1] == "random":
            length = int(match[2])
            parts.append(secrets.token_urlsafe(length)[:length])
        else:
            secret, _, key = match[2].partition("/")
            found = await kube.get(f"{path}/{secret}")
            if not found or key not in (found.get("data") or {}):
                raise ValueError(f"Secret {secret} has no key {key}, which another Secret is to be made from")
            parts.append(b64decode(found["data"][key]).decode())
    return "".join([*parts, text[end:]])
