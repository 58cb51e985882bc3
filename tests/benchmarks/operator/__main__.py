"""`make bench-operator`: how fast and how large the operator is, beside Argo Rollouts and bare Deployments."""

import argparse
import contextlib
import sys
from collections.abc import Callable

from kubernetes.client import ApiException

from tests.benchmarks.operator.alone import analysis, many
from tests.benchmarks.operator.beside import beside
from tests.benchmarks.operator.stage import Bench, Lines, clean, namespaces, stage
from tests.cluster.cluster import CRD_PATH, Cluster
from tests.cluster.local import state
from tests.ending import clean_up_on_sigterm

_BENCHMARKS: dict[str, Callable[[Bench], Lines]] = {"analysis": analysis, "beside": beside, "many": many}
_IDLE = "seconds of nothing; each of up to 3,000 apps at rest is looked at every 300, and of more ten a second"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench-operator", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"of {', '.join(_BENCHMARKS)}; all but many if left out")
    parser.add_argument("--apps", type=int, nargs="+", default=[1, 100, 1000], help="sizes of the fleet, for beside")
    parser.add_argument("--many", type=int, default=10_000, help="apps without pods, for many")
    parser.add_argument("--namespaces", type=int, default=1, help="for many: each gets as many of the apps")
    parser.add_argument("--rounds", type=int, default=7, help="of single releases")
    parser.add_argument("--burst", type=int, default=100, help="releases at once")
    parser.add_argument("--idle", type=int, default=330, help=_IDLE)
    options = parser.parse_args()
    if options.namespaces > 1 and options.only != ["many"]:
        parser.error("only many can be spread over --namespaces")
    clean_up_on_sigterm()
    missed = 0
    with contextlib.closing(Cluster(state.current(state.layout()), {"api": ""})) as cluster:
        if not cluster.kube.get(CRD_PATH):
            raise SystemExit("There is no InventoryApp in this cluster: make up")
        clean(cluster)
        for name in options.only or [name for name in _BENCHMARKS if name != "many"]:
            with stage(cluster, namespaces(options.namespaces)) as (kubeconfig, folder):
                for line, met in _BENCHMARKS[name](Bench(cluster, kubeconfig, folder, options)):
                    missed += not met
                    print(("  " if met else "! ") + line, flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ApiException, TimeoutError) as error:
        sys.exit(f"bench-operator: {error}")
