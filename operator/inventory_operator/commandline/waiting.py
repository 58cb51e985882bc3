"""`--wait`: until a release is complete, has failed, or waits for a person. The judgement is pure."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from ..kube import UnreachableError
from ..model import Object
from .apps import App, hash_of
from .exits import Exit

T = TypeVar("T")

INTERVAL_SECONDS = 0.5
ANSWER_SECONDS = 5
"""Without --wait an order gets so long to be answered."""


@dataclass(frozen=True)
class Awaited:
    """What has been asked for."""

    release: str = ""
    """Hash of what the spec asks for; empty where the spec was not changed."""
    generation: int = 0
    command: str = ""
    value: str = ""
    revision: int = 0
    """Whom the command names."""
    step: int = 0
    operation: int = 0


@dataclass(frozen=True)
class Verdict:
    """How it stands; no code: it goes on."""

    code: Exit | None
    said: str


def answer(app: App, awaited: Awaited) -> Verdict:
    """What the operator says of an order."""
    status = app.status
    if _moved(status, awaited):
        return Verdict(Exit.DONE, str(status.get("message", "")))
    for each in status.get("commands") or ():
        if (each["command"], each["value"]) == (awaited.command, awaited.value):
            said = str(each.get("message") or each["state"])
            if each["state"] in ("Stale", "Refused", "Failed"):
                return Verdict(Exit.REFUSED, said)
            return Verdict(Exit.DONE if each["state"] in ("Taken", "Done") else None, said)
    return Verdict(None, "the operator has not answered yet")


def judge(app: App, awaited: Awaited) -> Verdict:
    """How far it has come with what was asked for. Of a restart only the app's releases tell that."""
    status = app.status
    message = str(status.get("message", ""))
    if awaited.command:
        answered = answer(app, awaited)
        if answered.code is not Exit.DONE:
            return answered
        operation = status.get("operation") or {}
        if awaited.operation and operation.get("number") == awaited.operation and operation.get("stage") != "done":
            return Verdict(None, str(operation.get("message") or message))
        if awaited.command == "abort":
            given_up = _moved(status, awaited) or status.get("phase") == "Failed"
            return Verdict(Exit.DONE if given_up and not _is(status, "Reconciling") else None, message)
    if awaited.release and hash_of(app.spec) != awaited.release:
        return Verdict(Exit.REFUSED, "somebody has asked for another release meanwhile")
    if status.get("observedGeneration", -1) < max(app.found["metadata"]["generation"], awaited.generation):
        return Verdict(None, "the operator has not seen the change yet")
    if awaited.command == "restart" and app.stable and (old := app.stable.old_pods):
        return Verdict(None, f"pods of revision {awaited.revision} that are still to be replaced: {old}")
    if _is(status, "Stalled"):
        return Verdict(Exit.REFUSED, message)
    if status.get("phase") == "Paused":
        return Verdict(Exit.WAITS, message)
    if _serves(status, awaited) and _is(status, "Ready") and not _is(status, "Reconciling"):
        return Verdict(Exit.DONE, message)
    return Verdict(None, message)


def _serves(status: Object, awaited: Awaited) -> bool:
    """Whether what was asked for, or promoted, is what serves."""
    if awaited.release:
        return bool(status.get("stableRelease") == awaited.release)
    stable = status.get("stableRevision", 0)
    match awaited.command:
        case "promote" | "promote-full":
            return bool(stable == awaited.revision)
        case "retry":
            return bool(stable > awaited.revision)
    return True


def _moved(status: Object, awaited: Awaited) -> bool:
    """Whether an order was carried out, by the facts: once it was, it is a stale one, and maybe nobody saw it taken."""
    stable, candidate = status.get("stableRevision", 0), status.get("candidateRevision", 0)
    match awaited.command:
        case "promote":
            further = candidate == awaited.revision and status.get("step", 0) > awaited.step
            return bool(further or stable == awaited.revision)
        case "promote-full":
            return bool(stable == awaited.revision)
        case "abort":
            return bool(candidate != awaited.revision)
        case "retry":
            return bool(max(stable, candidate) > awaited.revision)
    return False


async def wait(
    look: Callable[[], Awaitable[T | None]],
    judge: Callable[[T], Verdict],
    say: Callable[[str], None],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Verdict:
    """The verdict that ends it, or what was said last when the time is over. A new sentence on the way is said once."""
    began, before = clock(), ""
    while True:
        try:
            found = await look()
            verdict = judge(found) if found is not None else Verdict(Exit.ERROR, "the InventoryApp is gone")
        except UnreachableError as error:
            verdict = Verdict(None, str(error))  # it may be back in a moment
        if verdict.code is not None:
            return verdict
        if verdict.said != before:
            say(verdict.said)
            before = verdict.said
        if clock() - began >= seconds:
            return Verdict(Exit.TIME_LIMIT, verdict.said)
        await pause(INTERVAL_SECONDS)


def _is(status: Object, condition: str) -> bool:
    return any(c["type"] == condition and c["status"] == "True" for c in status.get("conditions") or ())
