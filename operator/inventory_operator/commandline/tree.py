"""`status`: an app as a tree. Pure: values in, text out."""

from datetime import datetime

from inventory_api.migrations.rule import abbreviated

from ..model import Object
from .apps import App, Job, Pod, Release, strategy
from .text import Paper, ago, clean, shown

_PHASES = {"Healthy": "good", "Failed": "bad", "Paused": "notice"}
_STATES = {"ready": "good", "done": "good", "failed": "bad", "waiting": "notice", "running": "notice"}


def tree(app: App, paper: Paper, now: datetime) -> str:
    """The sentence that matters, releases with their pods, and what is done to the database."""
    status = app.status
    phase = str(status.get("phase", "not yet seen by an operator"))
    lines = [f"{paper.paint('bold', app.name)} in {app.namespace}: {paper.paint(_PHASES.get(phase, 'notice'), phase)}"]
    lines += paper.paragraph(_sentence(app))
    lines += [line for each in status.get("commands", ()) for line in _command(each, paper)]
    parts = [_release(app, each, paper, now) for each in _shown(app)]
    parts.append(_database(app, paper, now))
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        lines.append(paper.fit(paper.branch(last) + part[0]))
        lines += [paper.fit(paper.trunk(last) + line) for line in part[1:]]
    return "\n".join(lines)


def step_text(step: Object) -> str:
    """A step of a strategy in words."""
    if "weight" in step:
        return f"weight {step['weight']} %"
    if "pause" in step:
        seconds = (step["pause"] or {}).get("seconds")
        return f"pause of {seconds} s" if seconds is not None else "pause until promoted"
    if "analysis" in step:
        return "analysis"
    if "gate" in step:
        image = (step["gate"] or {}).get("image")
        return f"gate ({image})" if image else "gate"
    return "step"


def place_in_steps(app: App, release: Release) -> str:
    """Where a candidate is on its way: `step 2 of 4: pause until promoted`."""
    steps = app.steps_of()
    if not steps or release.step >= len(steps) or release.stage == "failed":
        return ""
    return f"step {release.step + 1} of {len(steps)}: {step_text(steps[release.step])}"


def _sentence(app: App) -> str:
    said = str(app.status.get("message") or "No operator has looked at this app yet: does one watch its namespace?")
    return said if app.seen or not app.status.get("message") else f"{said} (The operator has not seen the last change.)"


def _command(each: Object, paper: Paper) -> list[str]:
    """One that was carried out is past; one that waits or was refused is news."""
    state = str(each.get("state", ""))
    if state in ("Done", "Taken", "Stale"):
        return []
    how = "bad" if state == "Refused" else "notice"
    said = paper.paragraph(f"{each['command']} {each['value']}: {state.lower()}. {each.get('message', '')}")
    return [paper.paint(how, line) for line in said]


def _shown(app: App) -> list[Release]:
    """What serves, is on its way, or still has pods."""
    roles = (app.stable, app.candidate)
    return [each for each in app.releases if each in roles or each.replicas or app.pods_of(each)]


def _release(app: App, release: Release, paper: Paper, now: datetime) -> list[str]:
    role, how = _role(app, release)
    weight = _weight(app, release)
    pods = app.pods_of(release)
    head = f"revision {release.revision}  {paper.paint(how, role)}"
    head += f"  {weight}" if weight else ""
    head += f"  {release.ready}/{release.replicas} ready"
    room = paper.width - 3 - shown(head) - 2
    head += f"  {paper.image(release.image, room)}" if room >= 12 else ""
    under: list[list[str]] = []
    if release is app.candidate:
        if place := place_in_steps(app, release):
            under.append([place])
        under += [[_metric(each)] for each in app.status.get("analysis", ())]
    under += [_job(app, job, paper, now) for job in app.jobs if job.revision == release.revision and _matters(job, app)]
    under += [[_pod(pod, paper, now), *_why(pod, paper)] for pod in pods]
    lines = [head]
    for position, part in enumerate(under):
        last = position == len(under) - 1
        lines.append(paper.branch(last) + part[0])
        lines += [paper.trunk(last) + line for line in part[1:]]
    return lines


def _role(app: App, release: Release) -> tuple[str, str]:
    if release is app.stable:
        return "stable", "good"
    if release is app.candidate:
        return ("failed", "bad") if release.stage == "failed" else ("candidate", "notice")
    return "former", "dim"


def _weight(app: App, release: Release) -> str:
    weight = app.status.get("weight")
    if weight is None or app.candidate is None or strategy(app.spec)[0] == "rolling":
        return ""
    if release is app.candidate:
        return f"{weight} %"
    return f"{100 - int(weight)} %" if release is app.stable else ""


def _metric(each: Object) -> str:
    counts = ", ".join(f"{each.get(kind, 0)} {kind}" for kind in ("good", "bad", "unclear") if each.get(kind))
    said = f": {clean(str(each['said']))}" if each.get("said") else ""
    return f"analysis {each['name']}  {counts or 'not measured yet'}{said}"


def _matters(job: Job, app: App) -> bool:
    """Of a Job that has succeeded only the candidate's tells anything new."""
    candidate = app.candidate
    return job.state != "done" or (candidate is not None and job.revision == candidate.revision)


def _job(app: App, job: Job, paper: Paper, now: datetime) -> list[str]:
    took = ago(job.created, job.ended or now)
    state = paper.paint(_STATES.get(job.state, "dim"), job.state)
    lines = [f"{job.step} job {job.name}  {state}  {took}"]
    pods = [pod for pod in app.pods if pod.job == job.name]
    return lines + (_why(pods[-1], paper) if pods and job.state == "running" else [])


def _pod(pod: Pod, paper: Paper, now: datetime) -> str:
    state = paper.paint(_STATES.get(pod.state, "dim"), pod.state)
    return f"pod {pod.name}  {state}  {ago(pod.created, now)}"


def _why(pod: Pod, paper: Paper) -> list[str]:
    if not pod.said or pod.state in ("ready", "done", "ending"):
        return []
    return [paper.cut(clean(pod.said), paper.width - 9)]


def _database(app: App, paper: Paper, now: datetime) -> list[str]:
    if not app.spec.get("migrations"):
        return ["schema  this app has no migrations"]
    known = app.database
    if known is None:
        return ["schema  no migration Job has reported yet"]
    seen, schema = known
    contract = f", contract {abbreviated(schema.contract)}" if schema.contract else ", no contract"
    lines = [f"schema  expand {abbreviated(schema.expand) or 'none'}{contract}  seen {ago(seen, now)} ago"]
    operation = app.status.get("operation") or {}
    stage = str(operation.get("stage", "done")).lower()
    if stage != "done":
        how = "bad" if stage == "failed" else "notice"
        said = f": {clean(str(operation['message']))}" if operation.get("message") else ""
        head = f"{operation['kind']} {operation['number']}"
        lines.append(paper.branch(True) + f"{head}  {paper.paint(how, stage)}{said}")
    return lines
