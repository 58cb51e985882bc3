"""One pass over one app: observe, plan, apply, say so in the status."""

import logging
from datetime import UTC, datetime

from . import metrics, status
from .apply import OutdatedError, apply, write_status
from .kube import ApiError, Kube, UnreachableError
from .model import Emit, Phase
from .observe import observe
from .plan import plan
from .queue import Key

log = logging.getLogger(__name__)

RESYNC_SECONDS = 300.0
"""At rest everything is looked at this often, whatever events say: a watch may have gone silent."""
FOLLOW_UP_SECONDS = 5.0
"""The same while a release is under way."""
CONFLICT_SECONDS = 0.2


async def reconcile(kube: Kube, key: Key) -> float | None:
    """The seconds until the next look, None if the app is gone.

    Raises ApiError and UnreachableError, after which the caller tries again with growing pauses.
    """
    namespace, name = key
    with metrics.RECONCILE_SECONDS.time():
        try:
            return await _reconcile(kube, namespace, name)
        except (ApiError, UnreachableError) as error:
            metrics.RECONCILE_ERRORS.inc()
            log.warning("%s/%s: %s", namespace, name, error)
            raise
        except Exception:
            metrics.RECONCILE_ERRORS.inc()
            log.exception("%s/%s: an error of the operator itself", namespace, name)
            raise


async def _reconcile(kube: Kube, namespace: str, name: str) -> float | None:
    observed = await observe(kube, namespace, name)
    if observed is None:
        metrics.forget(namespace, name)
        return None
    app, now = observed.app, datetime.now(UTC)
    if app.deleting:
        return None  # its children go with it, by ownerReferences
    decided = plan(observed, now)
    try:
        await apply(kube, app, decided.actions, now)
    except OutdatedError as error:
        log.debug("%s/%s: %s", namespace, name, error)
        return CONFLICT_SECONDS
    except ApiError as error:
        if error.status in (400, 422):
            # What CEL in the CRD can't say: the API server refuses the pod template, the user has to change it.
            await write_status(kube, app, status.failed(app, "InvalidSpec", f"The spec was refused: {error}", now))
        raise
    for action in decided.actions:
        if isinstance(action, Emit):
            log.info("%s/%s: %s: %s", namespace, name, action.reason, action.message)
        else:
            log.debug("%s/%s: %s", namespace, name, action)
    await write_status(kube, app, status.status(observed, decided, now))
    metrics.observe_app(observed, decided)
    at_rest = decided.outcome.phase in (Phase.HEALTHY, Phase.PAUSED, Phase.FAILED) and not decided.actions
    pause = RESYNC_SECONDS if at_rest else FOLLOW_UP_SECONDS
    return min(pause, decided.check_after) if decided.check_after is not None else pause
