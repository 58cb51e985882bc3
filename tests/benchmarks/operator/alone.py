"""What is measured of our operator alone."""

import contextlib
import itertools
import statistics
import time

from tests.benchmarks.operator import fleet
from tests.benchmarks.operator.objects import APP, Object, bad_after, canary_app, ingress
from tests.benchmarks.operator.stage import NAMESPACE, RELEASE_SECONDS, Bench, Lines
from tests.cluster.waiting import wait_for
from tests.integration.operator.prometheus import running_prometheus

_CANARY = "canary"
_BAD_AFTER_SECONDS = 8
"""By then the candidate has its share of the requests, and has been found good a few times."""
_GOAL_SECONDS = 2.0
_WEIGHT = "nginx.ingress.kubernetes.io/canary-weight"
_INGRESSES = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses"


def analysis(bench: Bench) -> Lines:
    """From when a real Prometheus finds the candidate bad until the router gives it nothing any more."""
    with bench.our_operator(), bench.seen(APP) as apps, running_prometheus() as prometheus:
        bench.kube.request("POST", _INGRESSES, ingress(_CANARY))
        bench.kube.request("POST", APP.collection(NAMESPACE), canary_app(_CANARY, 2, prometheus.url))
        apps.complete(_CANARY, 1, RELEASE_SECONDS)
        taken = [_taken_back(bench) for _ in range(bench.rounds)]
    line = f"a bad answer to no requests for the candidate: {statistics.median(taken):.2f} s"
    line += f" (from {min(taken):.2f} to {max(taken):.2f}), up to 1 s of it until Prometheus is asked"
    yield f"{line} (goal: at most {_GOAL_SECONDS:g})", max(taken) <= _GOAL_SECONDS


def _taken_back(bench: Bench) -> float:
    bad = time.time() + _BAD_AFTER_SECONDS
    change: Object = APP.change(bench.content())
    change["spec"]["analysis"] = {"metrics": [bad_after(bad)]}
    bench.kube.merge(f"{APP.collection(NAMESPACE)}/{_CANARY}", change)
    wait_for("the candidate has half of the requests", lambda: _weight(bench) == 50, _BAD_AFTER_SECONDS - 1)
    while _weight(bench):
        if time.time() > bad + RELEASE_SECONDS:
            raise TimeoutError("the candidate keeps its requests")
        time.sleep(0.02)
    return time.time() - bad


def _weight(bench: Bench) -> int:
    found = bench.kube.get(f"{_INGRESSES}/{_CANARY}-canary")
    return int(found["metadata"]["annotations"][_WEIGHT]) if found else 0


def many(bench: Bench) -> Lines:
    """Apps that have no pods, a hundred times as many as there are at first."""
    found: dict[int, fleet.Size] = {}
    with contextlib.ExitStack() as stack:
        our, apps = stack.enter_context(bench.our_operator()), stack.enter_context(bench.seen(APP))
        for before, size in itertools.pairwise([0, bench.many // 100, bench.many // 10, bench.many]):
            found[size] = fleet.grow(bench, our, APP, apps, range(before, size), replicas=0)
            yield f"{size:>6,} apps without pods: {found[size]}", True
        yield f"{bench.many:>6,} apps, memory for each: {fleet.memory_for_each(found):.0f} KiB", True
        yield from fleet.linear(our.name, found, judged=True)
        yield from fleet.idle(bench, bench.many, our)
        yield from fleet.restart(bench.many, our, fleet.RESTART_GOAL_SECONDS)
