"""Who holds the fields of an InventoryApp, what a change of ours may touch, and whose way it goes instead. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..model import Object

Path = tuple[str, ...]

MANAGER = "kubectl-inventory"
_SET_LISTS = ("imagePullSecrets", "secrets")
"""Lists that are merged item by item: an item of somebody else's stays."""


@dataclass(frozen=True)
class Change:
    """What is to be different in a spec."""

    fields: Object
    """Present and new ones with their new values, as a part of a spec."""
    removed: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        return (*_leaves(self.fields), *self.removed)


@dataclass(frozen=True)
class Holder:
    """Who sets fields of an object besides us."""

    tool: str
    """Helm, Argo CD, Flux, kubectl, or the field manager's own name."""
    name: str = ""
    """What the tool calls it: a Helm release, an Argo CD application, a Kustomization, a HelmRelease."""
    namespace: str = ""


def difference(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> Change:
    """From one content to another, in the smallest parts that can be owned one by one."""
    fields: Object = {}
    removed: list[Path] = []
    for name in sorted({*present, *wanted}):
        if name not in wanted:
            removed.append((name,))
        elif isinstance(present.get(name), Mapping) and isinstance(wanted[name], Mapping):
            inner = difference(present[name], wanted[name])
            if inner.fields:
                fields[name] = inner.fields
            removed += [(name, *path) for path in inner.removed]
        elif present.get(name) != wanted[name]:
            fields[name] = wanted[name]
            if name in _SET_LISTS and not set(present.get(name, ())) <= set(wanted[name]):
                removed.append((name,))
    return Change(fields, tuple(removed))


def apply_body(app: Object, change: Change) -> Object:
    """For server-side apply: the change, and what we hold already. What an apply leaves out, it takes away."""
    spec = _without(_held(app), change.removed)
    return _identity(app) | {"spec": _merged(spec, change.fields)}


def patch_body(app: Object, change: Change) -> Object:
    """The same in one merge patch, for what an apply can't do: take away fields that others hold too.

    One write, because one between the two would be a release of its own.
    """
    spec: Object = {}
    for path in change.removed:
        place = spec
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = None
    return {"metadata": {"resourceVersion": app["metadata"]["resourceVersion"]}, "spec": _merged(spec, change.fields)}


def needs_patch(app: Object, change: Change) -> bool:
    """Whether the change takes away what isn't ours alone."""
    return any(_holders(app, path) != {(MANAGER, "Apply")} for path in change.removed)


def others(app: Object, change: Change) -> dict[str, list[str]]:
    """Fields of the change by the other manager who holds them."""
    found: dict[str, list[str]] = {}
    for path in change.paths:
        for manager, _ in sorted(_holders(app, path)):
            if manager != MANAGER:
                found.setdefault(manager, []).append(".".join(("spec", *path)))
    return found


def conflicts(message: str) -> dict[str, list[str]]:
    """Fields by manager, of the API server's answer 409 to an apply.

    `conflict with "helm" using inventory.dev/v1alpha1: .spec.image`, or a list of them under `conflicts with`.
    """
    found: dict[str, list[str]] = {}
    for block in re.split(r"conflicts? with ", message)[1:]:
        manager = re.match(r'"([^"]+)"', block)
        if manager:
            found.setdefault(manager[1], []).extend(re.findall(r"(?<=[ :\n-])\.?(spec\.[\w.\[\]\"=:-]+)", block))
    return found


def handed_back(app: Object) -> tuple[str, list[Object]] | None:
    """To which manager our fields go, and `managedFields` afterwards; None if we hold none.

    It looks then as if that manager had applied them: its next apply may change them, and takes away what it no longer
    has. Nothing else changes, so that no release begins. Without such a manager nobody holds them.
    """
    entries: list[Object] = app["metadata"].get("managedFields") or []
    ours = [each for each in entries if each["manager"] == MANAGER and not each.get("subresource")]
    fields = [each["fieldsV1"]["f:spec"] for each in ours if "f:spec" in (each.get("fieldsV1") or {})]
    if not fields:
        return None
    kept = [each for each in entries if each not in ours]
    heir = next((each for each in kept if each["operation"] == "Apply" and "f:spec" in each["fieldsV1"]), None)
    if heir is None:
        return "", kept
    merged = heir | {"fieldsV1": _merged(heir["fieldsV1"], _merged({"f:spec": fields[0]}, {"f:spec": fields[-1]}))}
    return str(heir["manager"]), [merged if each is heir else each for each in kept]


def holder(app: Object, managers: Iterable[str]) -> Holder:
    """The tool behind field managers, by what it leaves on its objects. GitOps goes before Helm: it may run Helm."""
    names = set(managers)
    meta = app["metadata"]
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    if "argocd-controller" in names or "argocd.argoproj.io/tracking-id" in notes:
        return Holder("Argo CD", notes.get("argocd.argoproj.io/tracking-id", "").partition(":")[0])
    if "helm-controller" in names or "helm.toolkit.fluxcd.io/name" in labels:
        name, place = labels.get("helm.toolkit.fluxcd.io/name", ""), labels.get("helm.toolkit.fluxcd.io/namespace", "")
        return Holder("Flux", f"HelmRelease {name}" if name else "", place)
    if names & {"kustomize-controller", "flux"} or "kustomize.toolkit.fluxcd.io/name" in labels:
        name = labels.get("kustomize.toolkit.fluxcd.io/name", "")
        place = labels.get("kustomize.toolkit.fluxcd.io/namespace", "")
        return Holder("Flux", f"Kustomization {name}" if name else "", place)
    release = notes.get("meta.helm.sh/release-name", "")
    if "helm" in names or (labels.get("app.kubernetes.io/managed-by") == "Helm" and release):
        return Holder("Helm", release, notes.get("meta.helm.sh/release-namespace", "") or meta.get("namespace", ""))
    if any(name.startswith("kubectl") for name in names):
        return Holder("kubectl")
    return Holder(sorted(names)[0] if names else "another tool")


def refusal(app: Object, fields: Mapping[str, list[str]], wanted: "Way") -> str:
    """Why we did not change them, and how it is done with the tool that holds them; a command on a line of its own."""
    tool = holder(app, fields)
    names = sorted({field for each in fields.values() for field in each})
    what = ", ".join(names) or "The spec"
    known = f" ({_called(tool)})" if tool.name else ""
    verb = "belong" if len(names) > 1 else "belongs"
    said = f"{what} {verb} to {tool.tool}{known}: nothing was changed."
    return f"{said}\n{_way(tool, wanted)}\nOr --take-over: {consequence(tool)}"


@dataclass(frozen=True)
class Way:
    """How a tool does what was asked for, as far as we know it."""

    helm: str
    """The command, without release and namespace: `helm rollback {release} 3 -n {namespace}`."""
    git: str
    """What to change in git."""
    manifest: str
    """What to change in the manifest."""


def consequence(tool: Holder) -> str:
    """What follows from a take-over."""
    match tool.tool:
        case "Helm":
            return (
                "`helm upgrade` and `helm rollback` are refused then, until `kubectl inventory hand-back` gives the "
                "fields back, or unless they have --force-conflicts."
            )
        case "Argo CD" | "Flux":
            return f"{tool.tool} sets it back as soon as it syncs, unless it is suspended for as long."
        case "kubectl":
            return (
                "`kubectl apply --server-side` is refused then, until `kubectl inventory hand-back` gives the fields "
                "back, or unless it has --force-conflicts."
            )
    return f"{tool.tool} may set it back, or be refused until it forces its own values."


def _way(tool: Holder, wanted: Way) -> str:
    match tool.tool:
        case "Helm":
            command = wanted.helm.format(release=tool.name or "RELEASE", namespace=tool.namespace)
            return f"With Helm:\n  {command}"
        case "Argo CD" | "Flux":
            return f"With {tool.tool}: {wanted.git}."
        case "kubectl":
            return f"With kubectl: {wanted.manifest}."
    return f"Change it there: {wanted.manifest}."


def _called(tool: Holder) -> str:
    kinds = {"Helm": "release ", "Argo CD": "application "}
    place = f" in namespace {tool.namespace}" if tool.namespace else ""
    return f"{kinds.get(tool.tool, '')}{tool.name}{place}"


def _holders(app: Object, path: Path) -> set[tuple[str, str]]:
    """Manager and operation of each who has set this field of the spec, or a part of it."""
    found = set()
    for entry in app["metadata"].get("managedFields") or ():
        node = entry.get("fieldsV1") or {}
        for name in ("spec", *path):
            node = node.get(f"f:{name}")
            if not node:
                break  # not theirs, or theirs as a whole
        if node is not None and entry.get("subresource") != "status":
            found.add((entry["manager"], entry["operation"]))
    return found


def _held(app: Object) -> Object:
    """The part of the spec that earlier applies of ours have set, with its present values."""
    for entry in app["metadata"].get("managedFields") or ():
        if (entry["manager"], entry["operation"]) == (MANAGER, "Apply") and not entry.get("subresource"):
            fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
            held = _values(fields, app["spec"])
            return held if isinstance(held, dict) else {}
    return {}


def _values(fields: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list):
        items = [json.loads(name[2:]) for name in fields if name.startswith("v:")]
        return [item for item in value if item in items] if items else value
    if not fields or not isinstance(value, dict):
        return value
    names = [name for name in fields if name.startswith("f:") and name[2:] in value]
    return {name[2:]: _values(fields[name], value[name[2:]]) for name in names}


def _without(fields: Object, removed: Iterable[Path]) -> Object:
    paths = set(removed)
    kept: Object = {}
    for name, value in fields.items():
        inner = [path[1:] for path in paths if path[0] == name]
        if () in inner:
            continue
        kept[name] = _without(value, inner) if inner and isinstance(value, dict) else value
    return kept


def _merged(base: Object, changes: Mapping[str, Any]) -> Object:
    result = dict(base)
    for name, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
        result[name] = _merged(result[name], value) if both else value
    return result


def _leaves(fields: Mapping[str, Any], above: Path = ()) -> Iterator[Path]:
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name)


def _identity(app: Object) -> Object:
    meta = app["metadata"]
    return {
        "apiVersion": app["apiVersion"],
        "kind": app["kind"],
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
    }
