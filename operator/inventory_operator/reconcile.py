"""One pass over one app: observe, plan, apply, say so in the status."""

import logging
from contextlib import suppress
from datetime import UTC, datetime

from . import metrics, status
from .actions import (
    Action,
    ApplyService,
    CreateDeployment,
    Emit,
    EndTraffic,
    Outcome,
    Phase,
    Plan,
    SetTraffic,
    UpdateDeployment,
)
from .apply import Guard, OutdatedError, apply, tell, unguarded, write_status
from .kube import ApiError, Kube, UnreachableError
from .lease import LostLeaseError
from .model import App, Observed, Work
from .observe import app_path, observe, parse_app, with_changes
from .plan import plan
from .queue import Key
from .webhook import Webhook

log = logging.getLogger(__name__)

RESYNC_SECONDS = 300.0
"""At rest an app is looked at this often, whatever events say: a watch may have gone silent, a Secret was rotated."""
FOLLOW_UP_SECONDS = 5.0
"""The same while a release is under way."""
MOST_RESYNCS_PER_SECOND = 10
"""Of all apps at rest: of more than 3,000 each is looked at less often, so that what looking costs has a bound."""
AT_REST = (Phase.HEALTHY, Phase.PAUSED, Phase.FAILED)
NEEDS_SOMEBODY = frozenset({"InvalidSpec", "Refused"})
"""What CEL in the CRD can't say, as of a pod template: the user changes it. A quota, a policy, a right that the
operator lacks: somebody else does. All is tried again, but who waits for it may go."""
PASS_ENDS_WITH = frozenset({"CommandRefused", "InvalidSpec", *(work.begun for work in Work)})
"""Events that the next step waits for: whom a contract shuts out is told before anything is done, and what is refused
is told again until the status has it."""
MOST_STEPS = 5
"""In a pass; a release has fewer before it waits for something."""


class Reconciler:
    """Passes over apps, with what they need besides the app: the API server, the Lease, and whom to tell."""

    def __init__(self, kube: Kube, guard: Guard = unguarded, webhook: Webhook | None = None) -> None:
        self._kube, self._guard, self._webhook = kube, guard, webhook

    async def reconcile(self, key: Key) -> float | None:
        """The seconds until the next look, None if the app is gone.

        Raises OutdatedError, ApiError and UnreachableError, after which the caller tries again with growing pauses, and
        LostLeaseError, after which it has nothing to try any more.
        """
        namespace, name = key
        with metrics.RECONCILE_SECONDS.time():
            try:
                return await self._pass(namespace, name)
            except (OutdatedError, LostLeaseError) as error:
                log.debug("%s/%s: %s", namespace, name, error)
                raise
            except (ApiError, UnreachableError) as error:
                metrics.RECONCILE_ERRORS.inc()
                log.warning("%s/%s: %s", namespace, name, error)
                raise
            except Exception:
                metrics.RECONCILE_ERRORS.inc()
                log.exception("%s/%s: an error of the operator itself", namespace, name)
                raise

    async def _pass(self, namespace: str, name: str) -> float | None:
        now, told = datetime.now(UTC), _Told()
        try:
            observed = await observe(self._kube, namespace, name)
        except UnreachableError:
            raise
        except Exception as error:
            if found := await self._kube.get(app_path(namespace, name)):
                app = parse_app(found)
                await self._say(Observed(app), error, now, told)
                await self._tell(app, now, told)
            raise
        if observed is None:
            metrics.APPS.forget(namespace, name)
            return None
        if observed.app.deleting:
            return None  # its children go with it, by ownerReferences
        try:
            return await self._go(observed, now, told)
        except (OutdatedError, UnreachableError, LostLeaseError):
            raise
        except Exception as error:
            await self._say(observed, error, now, told)
            raise
        finally:
            await self._tell(observed.app, now, told)

    async def _go(self, observed: Observed, now: datetime, told: "_Told") -> float:
        """Step after step, as far as the API server's answers tell what has become of them; then the status.

        Where it takes another look to go on, that comes at once, and tells the status if this one has come to no rest.
        """
        app, decided, cut_short = observed.app, plan(observed, now), False
        for left in reversed(range(MOST_STEPS)):
            changed = await apply(self._kube, app, decided.actions, now, told.by(observed, decided), self._guard)
            log.debug("%s/%s: %s", app.namespace, app.name, decided.actions)
            if not decided.actions or not all(map(is_answered, decided.actions)):
                break
            seen = with_changes(observed, changed)
            following = plan(seen, now)
            cut_short = not left or not is_founded(following, observed, seen)
            if cut_short:
                break
            observed, decided = seen, following
            for each in changed:
                self._kube.take(each)
        at_rest = decided.outcome.phase in AT_REST
        if cut_short and not at_rest:
            return 0.0
        await write_status(self._kube, app, status.status(observed, decided, now), self._guard)
        metrics.APPS.note(observed, decided)
        if cut_short or any(isinstance(action, SetTraffic | EndTraffic) for action in decided.actions):
            return 0.0  # of a weight no watch tells
        # What a canary Ingress is derived from isn't watched either, and it is to be kept in step.
        routed = observed.traffic is not None and observed.traffic.present
        at_rest = at_rest and not decided.actions and not routed
        pause = resync_seconds(len(metrics.APPS)) if at_rest else FOLLOW_UP_SECONDS
        return min(pause, decided.check_after) if decided.check_after is not None else pause

    async def _say(self, observed: Observed, error: Exception, now: datetime, told: "_Told") -> None:
        """In the status, and once by an Event: the same pass may be tried a thousand times."""
        app, (reason, message) = observed.app, reason_and_message(error)
        fails = reason in NEEDS_SOMEBODY
        if fails:
            metrics.APPS.note(observed, Plan(Outcome(Phase.FAILED, reason, message)))
        if app.status.get("message") != message:
            told.parts[-1][0].append(Emit("Warning", reason, message))
        with suppress(ApiError, UnreachableError):  # what it is about is raised anyway
            await write_status(self._kube, app, status.in_trouble(app, reason, message, now, fails=fails), self._guard)

    async def _tell(self, app: App, now: datetime, told: "_Told") -> None:
        """Events, log and webhook tell the same: what was done before something failed, too."""
        for events, revisions in told.parts:
            for event in events:
                log.info("%s/%s: %s: %s", app.namespace, app.name, event.reason, event.message)
                if self._webhook:
                    self._webhook.tell(app, event, revisions)
        # Whoever may not tell any more ends for what ended the pass: it may be told to, by its Lease.
        with suppress(LostLeaseError):
            await tell(self._kube, app, [event for events, _ in told.parts for event in events], now, self._guard)


class _Told:
    """What a pass has to tell, plan by plan, and which revisions each is about."""

    def __init__(self) -> None:
        self.parts: list[tuple[list[Emit], dict[str, int | None]]] = [([], {})]

    def by(self, observed: Observed, decided: Plan) -> list[Emit]:
        """Of this plan, as far as it is carried out."""
        releases = {"stableRevision": observed.stable, "candidateRevision": decided.candidate}
        revisions = {role: found.record.revision if found else None for role, found in releases.items()}
        self.parts.append(([], revisions))
        return self.parts[-1][0]


def reason_and_message(error: Exception) -> tuple[str, str]:
    """Of the condition that a pass ends with."""
    if not isinstance(error, ApiError):
        said = f"{type(error).__name__}: {error}".rstrip(".: ")
        return "OperatorError", f"The operator can't go on, and tries again: {said}. Its log has more."
    if error.status in (400, 422):
        return "InvalidSpec", f"The spec was refused: {error}"
    if error.status == 403:
        return "Refused", f"The cluster refuses it: {error}"
    return "ApiError", f"The API server can't do it, and is asked again: {error}"


def resync_seconds(apps: int) -> float:
    """How long an app at rest is left alone, where there are so many."""
    return max(RESYNC_SECONDS, apps / MOST_RESYNCS_PER_SECOND)


def is_founded(following: Plan, looked: Observed, seen: Observed) -> bool:
    """What follows from the answers may be done without a look of its own.

    A Job may not. Nor may what starts pods, if Secrets weren't looked at because nothing could start any.
    """
    return all(map(is_answered, following.actions)) and (looked.may_start_pods or not seen.may_start_pods)


def is_answered(action: Action) -> bool:
    """The answer to it tells all that a plan looks at."""
    if isinstance(action, Emit):
        return action.reason not in PASS_ENDS_WITH
    return isinstance(action, CreateDeployment | UpdateDeployment | ApplyService)
