"""What a former release was made of, so that exactly it can be asked for again. Pure."""

import json
from collections.abc import Iterator

from ..model import ANNOTATION_CONTENT, Object, release_hash
from .apps import App, Release, hash_of

_OPERATORS = ("INVENTORY_RELEASE", "INVENTORY_REVISION")
"""Variables that the operator adds."""


def content_of(app: App, release: Release) -> Object | None:
    """The content as it was written, proved by the release's hash; None if it can't be had from the cluster."""
    notes = release.deployment["metadata"].get("annotations") or {}
    try:
        found = json.loads(notes.get(ANNOTATION_CONTENT, ""))
    except ValueError:
        found = None
    guesses = [found] if isinstance(found, dict) else []
    return next((each for each in (*guesses, *_rebuilt(app, release)) if release_hash(each) == release.hash), None)


def target(app: App, revision: int | None) -> Release:
    """Where a rollback leads. Without a number: to what serves, if something else is asked for; else one further back.

    Raises LookupError with the reason.
    """
    if revision is not None:
        if found := app.by_revision(revision):
            return found
        kept = ", ".join(str(each.revision) for each in app.releases)
        raise LookupError(f"revision {revision} is not kept any more (kept: {kept or 'none'}): apply its manifest")
    stable = app.stable
    if stable and hash_of(app.spec) != stable.hash:
        return stable
    former = [each for each in app.releases if each.served and each is not stable and each is not app.candidate]
    if not former:
        raise LookupError("no former release is kept that has served: apply its manifest")
    return former[0]


def _rebuilt(app: App, release: Release) -> Iterator[Object]:
    """From the Deployment of a release that began under an operator that did not keep the content yet.

    What the API server adds to a pod template can't be told from what was written, so these are guesses.
    """
    pod = release.deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    config = {each["name"]: each["value"] for each in container.get("env") or () if "value" in each}
    secrets = [each["secretRef"]["name"] for each in container.get("envFrom") or () if "secretRef" in each]
    pulls = [each["name"] for each in pod.get("imagePullSecrets") or ()]
    base: Object = {"image": release.image}
    base |= {"config": kept} if (kept := {k: v for k, v in config.items() if k not in _OPERATORS}) else {}
    base |= {"secrets": secrets} if secrets else {}
    base |= {"imagePullSecrets": pulls} if pulls else {}
    policy = container.get("imagePullPolicy")
    templates = [app.content["template"]] if "template" in app.content else []
    for guess in (base, *([base | {"imagePullPolicy": policy}] if policy else [])):
        yield guess
        for template in templates:
            yield guess | {"template": template}
