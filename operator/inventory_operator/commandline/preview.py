"""`plan -f`: what applying a manifest would do, before anything is done. Pure: values in, text out."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ..model import RELEASE_FIELDS, Object, release_content, release_hash
from .apps import App, Release, strategy
from .ownership import Path, difference
from .plan_job import Found, Migration
from .text import Paper, clean, joined
from .tree import step_text

NEW, SAME, ABORT, ROLLBACK, AGAIN, INSTALL = "release", "nothing", "abort", "rollback", "retry", "install"


@dataclass(frozen=True)
class Preview:
    """What would come of it."""

    kind: str
    """install, release, nothing, abort, rollback, retry."""
    said: str
    revision: int
    """That the release would get, or has."""
    changes: tuple[str, ...]
    """Fields that make it another release."""
    settings: tuple[str, ...]
    """Fields that change without a release."""
    pods: tuple[str, ...] = ()
    found: Found | None = None
    lost: tuple[int, ...] = ()
    """Revisions that can't come back after its contract migrations."""
    contract_said: str = ""

    def document(self) -> Object:
        """For --output."""
        found = self.found
        return {
            "kind": self.kind,
            "message": self.said,
            "revision": self.revision,
            "changes": list(self.changes),
            "settings": list(self.settings),
            "rollout": list(self.pods),
            "migrations": [asdict(each) | {"findings": list(each.findings)} for each in found.pending]
            if found
            else None,
            "lostAfterContract": list(self.lost),
            "contract": self.contract_said,
        }


def needs_migrations(app: App | None, manifest: Object) -> bool:
    """Whether an image has to be asked. One that is kept has told what it needs, and so has one that serves."""
    if not manifest["spec"].get("migrations"):
        return False
    known = app.by_hash(release_hash(release_content(manifest["spec"]))) if app else None
    return known is None or known.schema is None or bool(known.against(app.schema if app else None))


def preview(app: App | None, manifest: Object, found: Found | None) -> Preview:
    """Decided by the same hash by which the operator decides."""
    spec = manifest["spec"]
    content = release_content(spec)
    release = release_hash(content)
    before = app.spec if app else {}
    changes = tuple(_fields(release_content(before), content)) if app else ()
    settings = tuple(_fields(_rest(before), _rest(spec), _without_default)) if app else ()
    kind, said, revision = _kind(app, release, changes)
    served = app is not None and (known := app.by_hash(release)) is not None and known.served
    pods = tuple(_rollout(spec, app, revision, served=served)) if kind not in (SAME, ABORT) else ()
    lost, contract = _contract(app, spec, revision, release, found) if found else ((), "")
    return Preview(kind, said, revision, changes, settings, pods, found, lost, contract)


def render(plan: Preview, name: str, paper: Paper, *, sql: bool = True) -> str:
    """The plan for a person."""
    lines = paper.paragraph(f"{name}: {plan.said}")
    lines += _list(paper, "Makes the release", plan.changes)
    lines += _list(paper, "Changes at once, without a release", plan.settings)
    lines += _numbered(paper, "Pods and requests", plan.pods)
    if plan.found:
        lines += _migrations(plan.found, paper, sql=sql)
    lines += ["", *paper.paragraph(plan.contract_said)] if plan.contract_said else []
    return "\n".join(lines)


def _kind(app: App | None, release: str, changes: tuple[str, ...]) -> tuple[str, str, int]:
    if app is None:
        return INSTALL, "the first release, revision 1.", 1
    known, stable, candidate, following = app.by_hash(release), app.stable, app.candidate, app.next_revision
    given_up = f" Revision {candidate.revision}, which is on its way, is given up." if candidate else ""
    if known is not None and known is stable:
        if candidate and candidate.stage != "failed":
            return (
                ABORT,
                f"aborts revision {candidate.revision}: revision {stable.revision} serves on.",
                stable.revision,
            )
        return SAME, f"no release: revision {stable.revision} has this content and serves.", stable.revision
    if known is not None and known is candidate:
        if known.stage == "failed":
            said = f"no release: revision {known.revision} has this content and failed. `retry` tries it again."
            return SAME, said, known.revision
        return SAME, f"no new release: revision {known.revision}, on its way, has this content.", known.revision
    if known is not None:
        again = known.stage == "failed"
        served = known.served and not again
        said = f"{'tries revision' if again else 'goes back to what revision'} {known.revision} "
        said += "again" if again else "was"
        said += f", as revision {following}. It has served before: steps and analyses are skipped." if served else ""
        said += "" if served else f", as revision {following}."
        return (AGAIN if again else ROLLBACK), said + _fits(app, known) + given_up, following
    alone = bool(changes) and not any(each.startswith("image:") for each in changes)
    what = "of configuration alone" if alone else "of a new image"
    return NEW, f"a release {what}, revision {following}.{given_up}", following


def _fits(app: App, release: Release) -> str:
    against = release.against(app.schema)
    if against:
        return f" It would be refused: {against[0]}"
    return " It runs on the schema that the database has: no migration is needed." if release.schema else ""


def _rollout(spec: Object, app: App | None, revision: int, *, served: bool) -> list[str]:
    kind, settings = strategy(spec)
    replicas = int(spec.get("replicas") or (app.replicas if app else 1))
    if app is None or app.stable is None:
        return [f"{replicas} pods of revision {revision} start; they serve as soon as they are ready."]
    steps = (
        [] if served else [step_text(step) + _share(step, replicas, settings) for step in settings.get("steps") or ()]
    )
    if kind == "blueGreen":
        steps = [f"{replicas} pods of revision {revision} start beside the {app.stable.replicas} that serve.", *steps]
        if not served and settings.get("autoPromote") is False:
            steps.append("pause until promoted")
        warm = settings.get("warmSeconds", 300)
        return [*steps, f"All requests go to revision {revision} at once; the former pods stay warm for {warm} s."]
    surge, unavailable = _amounts(settings, replicas)
    if kind == "canary":
        return [*steps, f"Revision {revision} gets all requests and {replicas} pods; the former ones go."]
    return [
        f"{replicas} pods are replaced, with at most {replicas + surge} at once and at least "
        f"{max(0, replicas - unavailable)} ready."
    ]


def _share(step: Object, replicas: int, settings: Object) -> str:
    if "weight" not in step:
        return ""
    if settings.get("ingress"):
        return f", by Ingress {settings['ingress']['name']}"
    if settings.get("httpRoute"):
        return f", by HTTPRoute {settings['httpRoute']['name']}"
    return f", by pods: {math.ceil(step['weight'] * replicas / 100)} of {replicas}"


def _amounts(settings: Object, replicas: int) -> tuple[int, int]:
    surge = math.ceil(_amount(settings.get("maxSurge", "25%"), replicas))
    unavailable = math.floor(_amount(settings.get("maxUnavailable", 0), replicas))
    return (surge, unavailable) if surge or unavailable else (1, 0)


def _amount(value: int | str, replicas: int) -> float:
    return value if isinstance(value, int) else int(value.rstrip("%")) * replicas / 100


def _contract(app: App | None, spec: Object, revision: int, release: str, found: Found) -> tuple[tuple[int, ...], str]:
    """Who can't come back once the contract migrations that are pending have run, and when they run."""
    pending = [each.revision for each in found.pending if each.history == "contract"]
    if not pending:
        return (), "No contract migration is pending: every release that can come back now still can after it."
    if app is None and not found.database.expand:
        return (), "On an empty database the contract migrations follow at once: there is no older release."
    kept = [each for each in (app.releases if app else ()) if each.hash != release]
    lost = sorted(each.revision for each in kept if each.schema and not set(pending) <= set(each.schema.contract))
    knowing = [each.revision for each in kept if each.schema and set(pending) <= set(each.schema.contract)]
    settings = ((spec.get("migrations") or {}).get("contract")) or {}
    when = "on command only (`kubectl inventory contract`)"
    if settings.get("mode") == "Automatic":
        when = f"by itself, {settings.get('soakSeconds', 3600)} s after revision {revision} was promoted"
    said = f"Point of no return: contract {joined(pending)} runs {when}. "
    said += f"After it nothing before revision {min([revision, *knowing])} can come back"
    said += f" (kept now: {joined(lost)})." if lost else "."
    return tuple(lost), said


def _migrations(found: Found, paper: Paper, *, sql: bool) -> list[str]:
    if not found.pending:
        return ["", "No migration is pending."]
    lines = ["", "Migrations"]
    for each in found.pending:
        lines.append(
            paper.fit(f"  {paper.paint('bold', each.revision)}  {each.history}  {clean(each.summary)}".rstrip())
        )
        lines += [paper.paint("dim", f"        {note}") for note in _notes(each)]
        for finding in each.findings:
            lines += [paper.paint("bad", line) for line in paper.paragraph(f"lint: {finding}", "        ")]
        if sql and each.sql.strip():
            lines += [f"      | {clean(line)}".rstrip() for line in each.sql.strip().splitlines()]
    return lines


def _notes(each: Migration) -> list[str]:
    notes = []
    if each.requires_expand:
        notes.append(f"needs expand {each.requires_expand}")
    if not each.transactional:
        notes.append("not in a transaction")
    if each.history == "contract":
        notes.append("can be downgraded: it declares itself lossless" if each.lossless else "can't be downgraded")
    return notes


def _list(paper: Paper, title: str, entries: tuple[str, ...]) -> list[str]:
    return ["", title, *(line for each in entries for line in paper.paragraph(each, "  "))] if entries else []


def _numbered(paper: Paper, title: str, entries: tuple[str, ...]) -> list[str]:
    lines = [line for i, each in enumerate(entries, 1) for line in paper.paragraph(f"{i}. {each}", "  ")]
    return ["", title, *lines] if entries else []


def _rest(spec: Object) -> Object:
    return {name: value for name, value in spec.items() if name not in RELEASE_FIELDS}


def _fields(before: Object, after: Object, counts: Callable[[Path], bool] = lambda _: True) -> list[str]:
    """Each field that differs, with both values where they are short; of those that go only the ones that count."""
    change = difference(before, after)
    said = []
    for path in change.paths:
        name, old, new = ".".join(path), _value(before, path), _value(after, path)
        if new is not None:
            short = _steps if path[-1] == "steps" else _short
            said.append(f"{name}: {short(new)}" if old is None else f"{name}: {short(old)} -> {short(new)}")
        elif counts(path):
            said.append(f"{name}: removed")
    return sorted(set(said))


def _without_default(path: Path) -> bool:
    """Fields that the API server doesn't fill in where a manifest leaves them out."""
    return path in {(name,) for name in ("analysis", "migrations", "paused", "strategy")} or (
        len(path) == 2 and path[0] == "strategy"
    )


def _value(fields: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        fields = fields.get(name) if isinstance(fields, dict) else None
    return fields


def _short(value: Any) -> str:
    text = clean(str(value))
    return text if len(text) <= 60 else f"{text[:59]}…"


def _steps(steps: Any) -> str:
    return ", ".join(map(step_text, steps or ())) or "none"
