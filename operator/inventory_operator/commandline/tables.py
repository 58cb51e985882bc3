"""`history` and `schema`. Pure: values in, text out."""

from datetime import datetime

from inventory_api.migrations.rule import abbreviated

from ..model import Object
from .apps import App, Release
from .text import Paper, ago, clean, lasting

_OUTCOMES = {"Stable": "good", "Failed": "bad"}


def history(app: App, paper: Paper, now: datetime) -> str:
    """Newest first. BACK tells whether the release can run on the schema that the database has."""
    rows, reasons = [], []
    for entry in app.history:
        outcome = str(entry.get("outcome", ""))
        rows.append(
            [
                str(entry["revision"]),
                paper.paint(_OUTCOMES.get(outcome, "dim"), outcome),
                back(app, entry),
                " ".join(str(entry[key]) for key in ("schema", "contract") if entry.get(key)) or "-",
                ago(datetime.fromisoformat(entry["startedAt"]), now) if entry.get("startedAt") else "-",
                _took(entry),
                str(entry.get("image", "")),
            ]
        )
        under = []
        if entry.get("message"):
            reason = f"{entry['reason']}: " if entry.get("reason") else ""
            under += paper.paragraph(f"{reason}{entry['message']}", "    ")
        if entry.get("backup"):
            under += paper.paragraph(f"backup before its contract: {entry['backup']}", "    ")
        reasons.append(under)
    if not rows:
        return f"{app.name} has no history yet."
    head, *table = paper.columns(("REV", "OUTCOME", "BACK", "SCHEMA", "AGE", "TOOK", "IMAGE"), rows, images=True)
    lines = [paper.paint("dim", head)]
    for line, under in zip(table, reasons, strict=True):
        lines += [line, *under]
    return "\n".join(lines)


def back(app: App, entry: Object) -> str:
    """Whether what this entry of the history tells of can serve again: yes, no, or ? where nobody knows."""
    release = app.by_hash(str(entry.get("release", "")))
    if release is None:
        return "gone"
    if app.spec.get("migrations") and (release.schema is None or app.schema is None):
        return "?"
    return "no" if release.against(app.schema) else "yes"


def schema(app: App, paper: Paper, now: datetime) -> str:
    """What the database has, and which releases can run on it."""
    if not app.spec.get("migrations"):
        return f"{app.name} has no migrations."
    if app.database is None:
        return f"No migration Job of {app.name} has reported yet what its database has."
    seen, found = app.database
    lines = [
        f"The database of {app.name}, as a migration Job saw it {ago(seen, now)} ago:",
        *paper.paragraph(f"expand    {abbreviated(found.expand) or 'none'}", "  "),
        *paper.paragraph(f"contract  {abbreviated(found.contract) or 'none'}", "  "),
        "",
    ]
    rows = [
        [_named(app, each), _newest(each, "expand"), _newest(each, "contract"), _runs(app, each)]
        for each in app.releases
    ]
    head, *table = paper.columns(("REVISION", "EXPAND", "CONTRACT", "RUNS ON IT"), rows)
    lines.append(paper.paint("dim", head))
    for line, release in zip(table, app.releases, strict=True):
        lines.append(line)
        for objection in release.against(found):
            lines += paper.paragraph(objection, "    ")
    return "\n".join(lines)


def _took(entry: Object) -> str:
    if not entry.get("startedAt") or not entry.get("endedAt"):
        return "-"
    started, ended = (datetime.fromisoformat(entry[key]) for key in ("startedAt", "endedAt"))
    return lasting((ended - started).total_seconds())


def _named(app: App, release: Release) -> str:
    role = " stable" if release is app.stable else " candidate" if release is app.candidate else ""
    return f"{release.revision}{role}"


def _newest(release: Release, kind: str) -> str:
    if release.schema is None:
        return "?"
    known: tuple[str, ...] = getattr(release.schema, kind)
    return clean(known[-1]) if known else "none"


def _runs(app: App, release: Release) -> str:
    if release.schema is None:
        return "not known: its migration Job has not reported"
    return "no" if release.against(app.schema) else "yes"
