"""Verbs that change the spec: release, rollback, pause, resume. What belongs to another tool is left to it."""

import argparse

from ..kube import ApiError
from ..model import Object, release_content
from . import helm
from .act import follow
from .apps import App, Release, find, hash_of
from .client import Client
from .console import Console
from .content import content_of, target
from .exits import Ended, Exit
from .ownership import (
    MANAGER,
    Change,
    Way,
    apply_body,
    conflicts,
    consequence,
    difference,
    handed_back,
    holder,
    needs_patch,
    others,
    patch_body,
    refusal,
)
from .waiting import Awaited


async def release(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    app = await find(client, args.name)
    if app.spec["image"] == args.image:
        raise Ended(Exit.DONE, f"{app.name} asks for {args.image} already: `status` tells how it stands")
    repository, _, tag = args.image.rpartition(":")
    values = f"--set image.repository={repository},image.tag={tag}"
    if "@" in args.image or not repository or "/" in tag:
        values = f"--set image.repository={args.image.partition('@')[0]},image.digest={args.image.partition('@')[2]}"
    way = Way(
        helm=f"helm upgrade {{release}} CHART -n {{namespace}} --reuse-values {values}",
        git=f"commit {args.image} as the image, and let it sync",
        manifest=f"set spec.image to {args.image} and apply it",
    )
    return await _change(client, console, args, app, Change({"image": args.image}), way, f"Release {args.image}")


async def rollback(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    app = await find(client, args.name)
    try:
        wanted = target(app, args.to)
    except LookupError as error:
        raise Ended(Exit.REFUSED, str(error)) from error
    return await back_to(client, console, args, app, wanted)


async def back_to(client: Client, console: Console, args: argparse.Namespace, app: App, wanted: Release) -> Exit:
    """Exactly the content of a release that is kept."""
    if wanted.hash == hash_of(app.spec):
        raise Ended(Exit.DONE, f"{app.name} asks for the content of revision {wanted.revision} already")
    against = wanted.against(app.schema)
    if against and not args.unchecked:
        raise Ended(Exit.REFUSED, _no_way_back(app, wanted, against[0]))
    remembered = await _helm_revision(client, app, wanted)
    content = content_of(app, wanted)
    if content is None and remembered:
        content = release_content(remembered[1])
    number = str(remembered[0]) if remembered else "NUMBER"
    hint = "" if remembered else "\n  (helm history {release} -n {namespace} has the number)"
    way = Way(
        helm=f"helm rollback {{release}} {number} -n {{namespace}}{hint}",
        git=f"revert the commits since revision {wanted.revision} ({wanted.image}), and let it sync",
        manifest=f"apply the manifest of revision {wanted.revision} ({wanted.image})",
    )
    if content is None:
        said = (
            f"what revision {wanted.revision} was made of isn't kept in the cluster, and can't be told exactly from "
            f"its Deployment: apply its manifest ({wanted.image}), or roll back with the tool that brought it"
        )
        raise Ended(Exit.REFUSED, said)
    said = f"Back to what revision {wanted.revision} was: {wanted.image}"
    return await _change(client, console, args, app, difference(app.content, content), way, said)


async def pause(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    return await _set_paused(client, console, args, paused=True)


async def resume(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    return await _set_paused(client, console, args, paused=False)


async def hand_back(client: Client, console: Console, args: argparse.Namespace) -> Exit:
    app = await find(client, args.name)
    found = handed_back(app.found)
    if found is None:
        raise Ended(Exit.DONE, f"nothing of {app.name} was taken over")
    manager, entries = found
    meta = {"resourceVersion": app.found["metadata"]["resourceVersion"], "managedFields": entries or [{}]}
    await client.replace_fields(app.path, {"metadata": meta})
    said = f"The fields are those of {manager} again." if manager else "The fields are nobody's: any tool may set them."
    console.show(said, {"namespace": app.namespace, "name": app.name, "manager": manager, "message": said})
    return Exit.DONE


async def _set_paused(client: Client, console: Console, args: argparse.Namespace, *, paused: bool) -> Exit:
    app = await find(client, args.name)
    if bool(app.spec.get("paused")) is paused:
        raise Ended(Exit.DONE, f"{app.name} is {'' if paused else 'not '}paused already")
    value = str(paused).lower()
    way = Way(
        helm=f"helm upgrade {{release}} CHART -n {{namespace}} --reuse-values --set app.paused={value}",
        git=f"commit spec.paused: {value}, and let it sync",
        manifest=f"set spec.paused to {value} and apply it",
    )
    said = "Releases pause" if paused else "Releases go on"
    return await _change(client, console, args, app, Change({"paused": paused}), way, said)


async def _change(
    client: Client, console: Console, args: argparse.Namespace, app: App, change: Change, way: Way, said: str
) -> Exit:
    """By server-side apply; by one merge patch where fields go that an apply could not take away."""
    theirs = others(app.found, change)
    if theirs and not args.take_over:
        raise Ended(Exit.REFUSED, refusal(app.found, theirs, way))
    if theirs:
        console.say(f"Taken over: {consequence(holder(app.found, theirs))}")
    try:
        if needs_patch(app.found, change):
            changed = await client.replace_fields(app.path, patch_body(app.found, change))
        else:
            changed = await _apply(client, app, change, force=bool(theirs))
    except ApiError as error:
        if error.status == 409 and (found := conflicts(str(error))):
            raise Ended(Exit.REFUSED, refusal(app.found, found, way)) from error
        if error.status == 409:
            raise Ended(Exit.ERROR, f"somebody changed {app.name} at the same time: try again ({error})") from error
        if error.status == 422:
            raise Ended(Exit.REFUSED, f"the API server refuses it: {error}") from error
        raise
    console.say(said)
    awaited = Awaited(release=hash_of(changed["spec"]), generation=changed["metadata"]["generation"])
    return await follow(client, console, args, app, awaited, {"release": awaited.release})


async def _apply(client: Client, app: App, change: Change, *, force: bool) -> Object:
    body = apply_body(app.found, change)
    try:
        return await client.set_fields(app.path, body, force=force)
    except ApiError as error:
        if error.status == 409 and set(conflicts(str(error))) == {MANAGER}:
            return await client.set_fields(app.path, body, force=True)  # what a patch of ours has set
        raise


async def _helm_revision(client: Client, app: App, wanted: Release) -> tuple[int, Object] | None:
    tool = holder(app.found, [each["manager"] for each in app.found["metadata"].get("managedFields") or ()])
    if tool.tool != "Helm" or not tool.name:
        return None
    return await helm.revision_of(client, tool.namespace, tool.name, app.name, wanted.hash)


def _no_way_back(app: App, wanted: Release, why: str) -> str:
    """The ways out, in the order of what they cost."""
    fit = [each for each in app.releases if each is not wanted and each.served and not each.against(app.schema)]
    newest = next((each for each in fit if each is not app.stable and each.schema), None)
    ways = [f"`rollback --to {newest.revision}` goes back to {newest.image}, which runs on it"] if newest else []
    ways.append(f"`downgrade --to {wanted.revision}` undoes contract migrations that lose nothing")
    backups = [int(each["revision"]) for each in app.history if each.get("backup")]
    ways += [f"`restore --revision {min(backups)}` brings back a backup"] if backups else []
    said = f"revision {wanted.revision} can't run on the schema that the database has. {why} "
    return f"{said}{'; '.join(ways)}. (--unchecked lets the operator look at the database itself.)"
