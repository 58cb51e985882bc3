"""Where an app's pods and requests are, and where they go next. One rule serves every way there and back.

Requests move before pods, by what those that get them bear: pods that are missing come at once; a Service or a router
leads requests only to pods that are ready for them; and pods go when no requests are led to them any more. So neither a
candidate that supersedes another, nor a rollback right after a promotion, nor a new strategy in between is a case of
its own.

With a router or a preview each release has the pods for its own share. Without, pods are the traffic: the Service
selects those of all, and `counts.balance` shares them out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from . import steps
from .actions import Action, ApplyService, EndTraffic, SetTraffic, UpdateDeployment
from .counts import amounts, balance, bearable, routed_share, stable_share
from .model import App, Deployment, Observed, Record, Router, Service, Stage

ALL = 100
HEARD_SECONDS = 2
"""A router hears of a ready pod by way of the Service's endpoints, and might hear of its weight sooner: whoever is led
to a Service of which it knows no pod is answered with 503. Kubernetes tells such times in whole seconds.
"""


@dataclass(frozen=True)
class Shift:
    """What this pass moves, by what was observed."""

    observed: Observed
    now: datetime

    @property
    def app(self) -> App:
        return self.observed.app

    @property
    def router(self) -> Router | None:
        """What divides the requests; a first release has nobody to share them with."""
        return self.app.strategy.router if self.observed.stable else None

    @property
    def weight(self) -> int:
        """The candidate's share of the requests, in percent, as the router has it now."""
        traffic = self.observed.traffic
        return traffic.weight if traffic and not traffic.trouble else 0

    # --- where to -------------------------------------------------------------------------------------------------

    def settle(self, keep: Deployment, *, alone: bool = False) -> Iterable[Action]:
        """All requests and all pods to one release; the former one is kept warm, unless it is to be alone."""
        app, warm = self.app, None if alone else self.warm(keep)
        yield from self._serve(keep)
        if app.strategy.apart:
            # A router that reads what changes now and then, as ingress-nginx, learns of the requests first.
            yield from self.take_back(keep)
        yield from self._serve_candidate(keep)
        if app.strategy.apart:
            spare = {warm.release: min(warm.replicas, app.replicas)} if warm else {}
            yield from self._scale({keep.release: app.replicas, **spare})
        else:
            yield from self._share_out(keep, [d for d in self._others(keep) if d is not warm], ALL)

    def carry(self, target: Deployment, weight: int) -> Iterable[Action]:
        """The candidate's share of pods and requests to it, what is left to the stable release."""
        app, stable = self.app, self.observed.stable
        if not app.strategy.apart:
            weight = weight if stable else ALL
            served = (*self._serve({0: stable, ALL: target}.get(weight)), *self._serve_candidate(target))
            shared = self._share_out(target, self._others(target), weight)
            # A Service that leads to every ready pod can wait for the pods that are to come: they take longest.
            wait = self._ready(self.observed.service) == sum(d.serving for d in self.observed.releases)
            yield from (*shared, *served) if wait else (*served, *shared)
            return
        yield from self._serve(stable or target)
        yield from self._serve_candidate(target, weight)
        yield from self._route(target, weight)
        wanted = {target.release: steps.pods(app, weight)}
        if stable:
            wanted[stable.release] = self._stable_pods(min(self.weight, weight))
        yield from self._scale(wanted)

    def hold(self, held: Deployment | None) -> Iterable[Action]:
        """A release on its way keeps the pods and requests that it has; the stable one follows `replicas`."""
        app, stable = self.app, self.observed.stable
        if stable is None:
            return
        if held is None or not held.replicas:
            yield from self.settle(stable)
        elif app.strategy.apart:
            yield from self._serve(stable)
            yield from self._kept_in_step()
            kept = self._stable_pods(self.weight)
            kept = max(kept, min(stable.replicas, app.replicas))
            yield from self._scale({stable.release: kept, held.release: min(held.replicas, app.replicas)})
        else:
            yield from self._complement(stable, held)

    def heard_of_at(self, target: Deployment) -> datetime | None:
        """When the router knows all its ready pods; None if it does."""
        return max(self._unheard_of(target), default=None) if self.router else None

    def take_back(self, keep: Deployment) -> Iterable[Action]:
        """No requests by the router any more, as far as the release behind the Service bears them."""
        traffic = self.observed.traffic
        yield from self._less(keep, 0)
        if traffic and not traffic.trouble and traffic.present and not traffic.weight:
            yield EndTraffic()

    def warm_until(self, keep: Deployment) -> datetime | None:
        """How long the former release keeps its pods; None if it does not, or not any more."""
        record, warm = keep.record, self.app.strategy.warm
        if not warm or record.stage is not Stage.PROMOTED or record.ended is None:
            return None
        until = record.ended + timedelta(seconds=warm)
        return until if self.now < until else None

    def warm(self, keep: Deployment) -> Deployment | None:
        """The former release, while it keeps its pods."""
        return self._former(keep) if self.warm_until(keep) else None

    # --- what is seen of it ---------------------------------------------------------------------------------------

    def carries(self, target: Deployment, weight: int) -> bool:
        """The candidate has the pods for its weight, and its requests."""
        wanted = steps.pods(self.app, weight)
        if not (target.settled and target.replicas == wanted and target.serving >= wanted):
            return False
        if self.app.strategy.apart:
            return self.router is None or self._routed(target, weight)
        others = self._others(target)
        shared = balance(self.app, target, others, weight)
        return weight == ALL or all(d.replicas == shared[d.release] for d in others)

    def as_routed(self, record: Record) -> Record:
        """Keeps what the router was seen to have from us: anything else later is somebody else's doing."""
        traffic = self.observed.traffic
        wanted = steps.weight(self.app.strategy, record.step)
        if traffic and not traffic.trouble and traffic.weight == wanted != record.routed:
            return replace(record, routed=traffic.weight)
        return record

    @property
    def trouble(self) -> str:
        """For a sentence: why the router can't be used; empty if it can."""
        traffic, router = self.observed.traffic, self.app.strategy.router
        if traffic is None or router is None:
            return ""
        if traffic.trouble:
            return f"; {traffic.trouble}"
        if self._third_party:
            name, weight = router.name, traffic.weight
            return f"; somebody else has set the weight in HTTPRoute {name} to {weight}, and it is left so"
        return ""

    def _routed(self, target: Deployment, weight: int) -> bool:
        traffic, service = self.observed.traffic, self.observed.candidate_service
        if service is None or service.release != target.release:
            return False
        if traffic is None or traffic.trouble or traffic.weight != weight or not traffic.as_wanted:
            return False
        by_header = self.router is not None and bool(self.router.options)
        return traffic.present or not by_header  # a header leads to the candidate at any weight

    @property
    def _third_party(self) -> bool:
        """A user's own route that has a weight which is neither ours of before nor the one that we want."""
        router = self.app.strategy.router
        if router is None or router.kind != "httpRoute":
            return False
        ours = {0, ALL}
        for record in (d.record for d in self.observed.releases):
            if record.stage in (Stage.ROLLING, Stage.FAILED, Stage.LEFT):
                ours |= {record.routed, steps.weight(self.app.strategy, record.step)}
        return self.weight not in ours

    # --- requests -------------------------------------------------------------------------------------------------

    def _serve(self, main: Deployment | None) -> Iterable[Action]:
        """The Service goes over to a release whose ready pods bear its requests, or are no fewer than those before.

        Until then it leads where it did, or, where pods are the traffic, to those of all (None).
        """
        service, weight = self.observed.service, self.weight
        release = None if service is None or not self.app.strategy.apart else service.release
        if main:
            share = ALL - weight + (weight if self._leads(self.observed.candidate_service, main) else 0)
            fits = bearable(self.app, main.serving) >= share or main.serving >= self._ready(service)
            if service is None or service.release == main.release or fits:
                release = main.release
        if service is None or not service.as_wanted or service.release != release:
            yield ApplyService(release)

    def _serve_candidate(self, to: Deployment, weight: int = 0) -> Iterable[Action]:
        """Only with a strategy that needs it, or when it is there from one that did.

        While a router leads requests by it, it goes over only to a release that is to have, and bears, as many.
        """
        service, led = self.observed.candidate_service, self.weight
        if service is None:
            if self.app.strategy.kind != "rolling":
                yield ApplyService(to.release, candidate=True)
            return
        whole = self._leads(self.observed.service, to)  # whatever the router says, all requests are then for it
        bears = (whole or led <= weight) and bearable(self.app, to.serving) >= (ALL if whole else led)
        goes = not led or bears or not self._ready(service)
        release = to.release if goes else service.release
        if not service.as_wanted or service.release != release:
            yield ApplyService(release, candidate=True)

    def _route(self, target: Deployment, weight: int) -> Iterable[Action]:
        """The router gets a weight only when the pods that are to carry it are ready."""
        service, stable = self.observed.candidate_service, self.observed.stable
        if self.router is None or stable is None or self._hands_off:
            return
        if self.weight > weight:
            yield from self._less(stable, weight)
            return
        led = service is not None and service.release == target.release
        known = target.serving - len(self._unheard_of(target))
        if led and known >= routed_share(weight, self.app.replicas) and not self._routed(target, weight):
            yield SetTraffic(weight)

    def _kept_in_step(self) -> Iterable[Action]:
        """What was derived from the user's own is derived anew when that changes; the weight stays."""
        traffic = self.observed.traffic
        if self.router and traffic and traffic.present and not (traffic.as_wanted or self._hands_off):
            yield SetTraffic(traffic.weight)

    def _less(self, main: Deployment, wanted: int) -> Iterable[Action]:
        """The candidate's weight goes down to `wanted`, as far as the release behind the Service bears what is left.

        In a user's own route a weight between those of the steps could not be told from somebody else's: all or
        nothing.
        """
        service, candidate, router = self.observed.service, self.observed.candidate_service, self.app.strategy.router
        if self._hands_off or service is None or service.release != main.release:
            return
        same = candidate is not None and candidate.release == main.release
        weight = wanted if same else max(wanted, ALL - bearable(self.app, main.serving))
        if weight < self.weight and (weight == wanted or (router is not None and router.kind != "httpRoute")):
            yield SetTraffic(weight)

    def _unheard_of(self, target: Deployment) -> list[datetime]:
        """Of each pod that a router may not know yet: when it does."""
        known = (
            p.ready_since + timedelta(seconds=HEARD_SECONDS) for p in self.observed.pods_of(target) if p.ready_since
        )
        return [at for at in known if self.now < at]

    @property
    def _hands_off(self) -> bool:
        traffic = self.observed.traffic
        return traffic is None or bool(traffic.trouble) or self._third_party

    def _leads(self, service: Service | None, to: Deployment) -> bool:
        return service is not None and service.release in (None, to.release)

    def _ready(self, service: Service | None) -> int:
        """Ready pods that a Service leads to."""
        return sum(d.serving for d in self.observed.releases if self._leads(service, d))

    # --- pods -----------------------------------------------------------------------------------------------------

    def _others(self, keep: Deployment) -> list[Deployment]:
        return [d for d in self.observed.releases if d is not keep]

    def _former(self, keep: Deployment) -> Deployment | None:
        promoted = (d for d in self._others(keep) if d.record.stage is Stage.PROMOTED)
        return max(promoted, key=lambda d: d.record.revision, default=None)

    def _scale(self, wanted: Mapping[str, int]) -> Iterable[Action]:
        """To what is wanted, none if nothing is said; but nobody loses the pods for requests that are led to it."""
        for deployment in self.observed.releases:
            pods = max(wanted.get(deployment.release, 0), min(deployment.replicas, self._needed(deployment)))
            if pods != deployment.replicas:
                yield UpdateDeployment(deployment, replicas=pods)

    def _needed(self, deployment: Deployment) -> int:
        """Pods for the requests that are led to it now."""
        weight, replicas = self.weight, self.app.replicas
        pods = stable_share(weight, replicas) if self._leads(self.observed.service, deployment) else 0
        if weight and self._leads(self.observed.candidate_service, deployment):
            pods += routed_share(weight, replicas)
        return min(pods, replicas)

    def _stable_pods(self, weight: int) -> int:
        """Of the stable release beside a candidate with a weight."""
        strategy, replicas = self.app.strategy, self.app.replicas
        return stable_share(weight, replicas) if strategy.dynamic_stable_scale and strategy.router else replicas

    def _share_out(self, keep: Deployment, others: list[Deployment], weight: int) -> Iterable[Action]:
        """First those that lose pods: an operator that dies in between leaves no more than the surge allows."""
        wanted = balance(self.app, keep, others, weight)
        for deployment in sorted((*others, keep), key=lambda d: wanted[d.release] - d.replicas):
            if wanted[deployment.release] != deployment.replicas:
                yield UpdateDeployment(deployment, replicas=wanted[deployment.release])

    def _complement(self, stable: Deployment, held: Deployment) -> Iterable[Action]:
        """Stable pods for what the held release's ready ones leave of `replicas`; only the surge takes any away."""
        app = self.app
        surge, _ = amounts(app)
        # Before its first weight it has no requests, nor while it is not known to run on the schema.
        none = held.record.stage is Stage.MIGRATING or steps.weight(app.strategy, held.record.step) == 0
        yield from self._serve(stable if none else None)
        if held.replicas > app.replicas:
            yield UpdateDeployment(held, replicas=app.replicas)
        others = sum(min(d.replicas, app.replicas) if d is held else d.replicas for d in self._others(stable))
        room = max(0, app.replicas + surge - others)
        missing = app.replicas if none else max(0, app.replicas - held.serving)
        kept = max(min(missing, max(stable.replicas, room)), min(stable.replicas, room, app.replicas))
        if kept != stable.replicas:
            yield UpdateDeployment(stable, replicas=kept)
