"""One pass over one app: observe, plan, apply, say so in the status."""

import logging
from contextlib import suppress
from datetime import UTC, datetime

from . import metrics, status
from .apply import Guard, OutdatedError, apply, tell, unguarded, write_status
from .kube import ApiError, Kube, Object, UnreachableError
from .lease import LostLeaseError
from .model import (
    Action,
    App,
    ApplyService,
    CreateDeployment,
    Emit,
    EndTraffic,
    Observed,
    Phase,
    Plan,
    SetTraffic,
    UpdateDeployment,
    Work,
)
from .observe import observe, with_changes
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
PASS_ENDS_WITH = frozenset({"CommandRefused", *(work.begun for work in Work)})
"""Events that the next step waits for: whom a contract shuts out is told before anything is done, and a refused command
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
        observed = await observe(self._kube, namespace, name)
        if observed is None:
            metrics.APPS.forget(namespace, name)
            return None
        if observed.app.deleting:
            return None  # its children go with it, by ownerReferences
        now, telling = datetime.now(UTC), list[Emit]()
        try:
            return await self._go(observed, now, telling)
        finally:
            # Whoever may not tell any more ends for what ended the pass: it may be told to, by its Lease.
            with suppress(LostLeaseError):
                await tell(self._kube, observed.app, telling, now, self._guard)

    async def _go(self, observed: Observed, now: datetime, telling: list[Emit]) -> float:
        """Step after step, as far as the API server's answers tell what has become of them; then the status.

        Where it takes another look to go on, that comes at once, and tells the status if this one has come to no rest.
        """
        app, decided, cut_short = observed.app, plan(observed, now), False
        for left in reversed(range(MOST_STEPS)):
            changed = await self._apply(app, decided, now, telling)
            self._tell(observed, decided)
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
        pause = resync_seconds(len(metrics.APPS)) if at_rest and not decided.actions else FOLLOW_UP_SECONDS
        return min(pause, decided.check_after) if decided.check_after is not None else pause

    async def _apply(self, app: App, decided: Plan, now: datetime, telling: list[Emit]) -> list[Object]:
        try:
            return await apply(self._kube, app, decided.actions, now, telling, self._guard)
        except ApiError as error:
            if error.status in (400, 422):
                # What CEL in the CRD can't say: the API server refuses the pod template, the user has to change it.
                said = status.failed(app, "InvalidSpec", f"The spec was refused: {error}", now)
                await write_status(self._kube, app, said, self._guard)
            elif error.status == 403:
                # A quota, a policy, or a right that the operator lacks; it is tried again.
                said = status.failed(app, "Refused", f"The cluster refuses it: {error}", now)
                await write_status(self._kube, app, said, self._guard)
            raise

    def _tell(self, observed: Observed, decided: Plan) -> None:
        app = observed.app
        releases = {"stableRevision": observed.stable, "candidateRevision": decided.candidate}
        roles = {role: release.record.revision if release else None for role, release in releases.items()}
        for action in decided.actions:
            if isinstance(action, Emit):
                log.info("%s/%s: %s: %s", app.namespace, app.name, action.reason, action.message)
                if self._webhook:
                    self._webhook.tell(app, action, roles)
            else:
                log.debug("%s/%s: %s", app.namespace, app.name, action)


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
