"""docs/chaos.md: what was killed where in the latest whole run, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.cluster.chaos.matrix import Outcome, Undisturbed
from tests.cluster.chaos.process import ALWAYS, Death

PROBLEM_LINES = 12
INTRODUCTION = """\
# An operator that dies

For people who change the operator. `make chaos` wrote this page.

Each scenario runs on a real cluster: once undisturbed, and then once for each point at which its operator can die. The
operator is this checkout's own, with the rights of the chart's ServiceAccount; it ends without a word (`os._exit`)
before a call goes out, or once the API server has answered it and before it has read the answer. It is started again
at once, as Kubernetes would. Meanwhile requests go through the ingress. Then must hold:

- the end is that of the undisturbed run: the InventoryApp with its status and history, each Deployment with its record
  and pods, the Jobs with the pods that they took, Services, Ingress, and the database: its tables and constraints, and
  `schema_history` row by row, so that no migration ran twice. Times, UIDs and resource versions are left out;
- no request failed, and each loan was made once.

What may differ is what only tells: an Event, or what is posted to the webhook, gets lost if the operator dies between
the deed and the word for it; a status of in between may never be seen.

A read changes nothing in the cluster. So a death anywhere between two writes is either the one right after the first or
the one right before the second, some seconds later; those two are run. Where the operator reads nothing in between,
they are the same moment, and it is run once ("see above"). Kopf's own calls are reads. "Every write" is one run in
which no operator lives to write twice.
"""


@dataclass(frozen=True)
class Told:
    """A scenario: how it went undisturbed, and what became of it with each death."""

    name: str
    undisturbed: Undisturbed
    outcomes: Sequence[Outcome]


@dataclass(frozen=True)
class Run:
    when: str
    commit: str
    lanes: int
    minutes: float
    told: Sequence[Told]
    scenarios: int
    """All that there are; a run that was stopped has told fewer."""


def page(run: Run) -> str:
    outcomes = [each for told in run.told for each in told.outcomes]
    failed = [each for each in outcomes if each.problem]
    deaths = sum(each.deaths for each in outcomes)
    missed = sum(not each.deaths and not each.problem for each in outcomes)
    requests = sum(each.requests for each in outcomes)
    lost, twice = sum(each.lost for each in outcomes), sum(each.twice for each in outcomes)
    count = len(run.told)
    stopped = f" It was stopped after {count} of {run.scenarios} scenarios." if count < run.scenarios else ""
    parts = [
        INTRODUCTION,
        "## The latest run\n",
        f"{run.when}, at {run.commit}, {run.lanes} installations side by side, {run.minutes:.0f} minutes: "
        f"{len(outcomes)} runs, {deaths} deaths, {requests:,} requests answered, {len(failed)} runs that did not "
        f"end as they must, {missed} in which the operator did not come to the call. {lost} Events got lost, {twice} "
        f"came twice.{stopped}\n",
        _summary(run.told),
        *(_failures(failed) if failed else ()),
        *map(_details, run.told),
    ]
    return "\n".join(parts)


def command(outcome: Outcome) -> str:
    """What runs this one again."""
    return f"""make chaos ARGUMENTS="--scenario '{outcome.scenario}' --point '{outcome.death}'\""""


def _summary(told: Sequence[Told]) -> str:
    lines = [
        "| scenario | undisturbed | reads | writes | runs | as undisturbed | requests |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in told:
        good = sum(not outcome.problem for outcome in each.outcomes)
        undisturbed, requests = each.undisturbed, sum(outcome.requests for outcome in each.outcomes)
        lines.append(
            f"| {each.name} | {undisturbed.seconds:.0f} s | {undisturbed.reads} | {len(undisturbed.writes)} "
            f"| {len(each.outcomes)} | {good} | {requests:,} |"
        )
    return "\n".join([*lines, ""])


def _failures(failed: Sequence[Outcome]) -> list[str]:
    parts = ["## What did not end as it must\n"]
    for each in failed:
        said = "\n".join(each.problem.splitlines()[:PROBLEM_LINES])
        parts.append(f"{each.scenario}, {each.death}: `{command(each)}`\n\n```\n{said}\n```\n")
    return parts


def _details(told: Told) -> str:
    by_death = {str(each.death): each for each in told.outcomes}
    lines = [f"## {told.name}\n", "| call | died before | died after |", "|---|---|---|"]
    for write in told.undisturbed.writes:
        before, after = (_result(by_death.get(str(Death(when, write.said, write.nth)))) for when in ("before", "after"))
        call = write.said + (f" #{write.nth}" if write.nth > 1 else "")
        lines.append(f"| {call} | {before if write.read_before else 'see above'} | {after} |")
    if always := by_death.get(str(ALWAYS)):
        lines.append(f"| every write | | {_result(always)}, {always.deaths} deaths |")
    return "\n".join([*lines, ""])


def _result(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not run"
    if outcome.problem:
        return "**differs**"
    return "same" if outcome.deaths else "not come to"
