"""`make chaos`: the operator dies before and after each of its calls, and the end must be the same."""

import argparse
import queue
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from tests.cluster.chaos.matrix import Lane, Outcome
from tests.cluster.chaos.process import ALWAYS, Death
from tests.cluster.chaos.report import Run, Told, command, page
from tests.cluster.chaos.scenarios import SCENARIOS, Scenario
from tests.cluster.cluster import CHECKOUT, Cluster

PAGE = CHECKOUT / "docs" / "chaos.md"


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing is left behind then either
    chosen = [each for each in SCENARIOS if each.name in (options.scenario or [one.name for one in SCENARIOS])]
    whole = not (options.scenario or options.point or options.sample)
    began, commit = time.monotonic(), _commit()  # of now: the checkout may go on while it runs
    cluster = Cluster.current()

    def write_page(told: Sequence[Told]) -> None:
        """After each scenario: a run that is stopped leaves what it has."""
        minutes, when = (time.monotonic() - began) / 60, f"{datetime.now(UTC):%-d %B %Y}"
        PAGE.write_text(page(Run(when, commit, options.lanes, minutes, told, len(SCENARIOS))))

    try:
        told = _run(cluster, chosen, options, write_page if whole else lambda _: None)
    finally:
        cluster.close()
    outcomes = [each for scenario in told for each in scenario.outcomes]
    failed = [each for each in outcomes if each.problem]
    minutes = (time.monotonic() - began) / 60
    print(f"{len(outcomes)} runs in {minutes:.0f} minutes, {len(failed)} of them did not end as they must")
    for each in failed:
        print(command(each))
    return int(bool(failed) or len(told) < len(chosen))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=[each.name for each in SCENARIOS])
    parser.add_argument("--point", action="append", type=_death, help="as in 'before Event Promoted' or 'after every'")
    parser.add_argument("--sample", type=int, help="so many points of each scenario, by chance")
    parser.add_argument("--seed", type=int, default=1, help="of that chance")
    parser.add_argument("--lanes", type=int, default=2, help="installations side by side (default %(default)s)")
    return parser


def _death(text: str) -> Death:
    when, _, said = text.partition(" ")
    said, _, nth = said.partition(" #")
    if when not in ("before", "after") or not said:
        raise argparse.ArgumentTypeError("it begins with before or after")
    return Death(when, said, int(nth or 1))


def _run(
    cluster: Cluster,
    scenarios: Sequence[Scenario],
    options: argparse.Namespace,
    when_told: Callable[[Sequence[Told]], None],
) -> list[Told]:
    """In the order of the scenarios, and so is what `when_told` gets after each."""
    order = [each.name for each in scenarios]
    lock = threading.Lock()
    waiting: queue.SimpleQueue[Scenario] = queue.SimpleQueue()
    for each in scenarios:
        waiting.put(each)
    told: list[Told] = []

    def work(lane: Lane) -> None:
        with suppress(queue.Empty):
            while True:
                scenario = waiting.get_nowait()
                try:
                    found = _tell(lane, scenario, options)
                    with lock:
                        told.append(found)
                        told.sort(key=lambda each: order.index(each.name))
                        when_told(told)
                except Exception:
                    print(f"{scenario.name}: its undisturbed run failed", flush=True)
                    traceback.print_exc()
                    lane.close()

    lanes = [Lane(cluster) for _ in range(min(options.lanes, len(scenarios)))]
    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in lanes]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for lane in lanes:
            lane.close()
    return told


def _tell(lane: Lane, scenario: Scenario, options: argparse.Namespace) -> Told:
    undisturbed = lane.undisturbed(scenario)
    deaths = [*undisturbed.deaths, ALWAYS]
    print(
        f"{scenario.name}: {undisturbed.seconds:.0f} s, {len(undisturbed.writes)} writes, {len(deaths)} points",
        flush=True,
    )
    if options.sample:
        deaths = random.Random(options.seed).sample(deaths, min(options.sample, len(deaths)))
    outcomes = [_told(lane.killed(scenario, death)) for death in options.point or deaths]
    return Told(scenario.name, undisturbed, outcomes)


def _told(outcome: Outcome) -> Outcome:
    said = f"{outcome.scenario}, {outcome.death}"
    if outcome.problem:
        print(f"{said}: NOT THE SAME\n{outcome.problem}\nAgain: {command(outcome)}", flush=True)
    else:
        print(f"{said}: the same, {outcome.deaths} deaths, {outcome.seconds:.0f} s", flush=True)
    return outcome


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "operator", "api", "chart", "tests")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


if __name__ == "__main__":
    sys.exit(main())
