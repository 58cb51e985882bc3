"""What each pending migration is going to do, for people and programs that look before anything is done."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from inventory_api.migrations.apply import downgrade_sql_of, sql_of
from inventory_api.migrations.decision import Facts, pending_revisions
from inventory_api.migrations.lint import company_of_what_runs_alone, harm_of, removed_by, runs_in_transaction
from inventory_api.migrations.revisions import HISTORIES, History, Revision

When = Literal["before the first pod", "after promotion"]


@dataclass(frozen=True)
class PlannedRevision:
    """A pending migration: what it is, when it is due, the SQL that it runs, and what running code may notice of it.

    `requires_expand` and `lossless` say something about a contract migration only. Of what is found, the reason why it
    does no harm is part.
    """

    revision: str
    history: History
    when: When
    summary: str
    transactional: bool
    requires_expand: str | None
    lossless: bool | None
    sql: str
    findings: tuple[str, ...]

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def planned_revisions(facts: Facts) -> tuple[PlannedRevision, ...]:
    """Everything pending, in the order in which it is due."""
    return tuple(_planned(revision, facts) for history in HISTORIES for revision in pending_revisions(facts, history))


def _planned(revision: Revision, facts: Facts) -> PlannedRevision:
    sql = sql_of([revision])
    is_contract = revision.history == "contract"
    return PlannedRevision(
        revision=revision.identifier,
        history=revision.history,
        # On a fresh database nothing has run yet that a contract could break.
        when="after promotion" if is_contract and not facts.contract_follows else "before the first pod",
        summary=revision.summary,
        transactional=runs_in_transaction(sql),
        requires_expand=revision.requires_expand if is_contract else None,
        lossless=revision.lossless_downgrade if is_contract else None,
        sql=sql,
        findings=_findings(revision, sql),
    )


def _findings(revision: Revision, sql: str) -> tuple[str, ...]:
    """The reason in a contract migration is about its downgrade, in which it may excuse everything."""
    excuse = f" ({revision.running_code_is_unharmed})" if revision.running_code_is_unharmed else ""
    removed, harm = removed_by(sql), harm_of(sql)
    company = [f"`{each}` is beside what can't run in a transaction" for each in company_of_what_runs_alone(sql)]
    if revision.history == "expand":
        return (*removed, *(f"{what}{excuse}" for what in harm), *company)
    back = downgrade_sql_of(revision) if revision.lossless_downgrade else ""
    return (
        *removed,
        *harm,
        *company,
        *(f"its downgrade {what}{excuse}" for what in (*removed_by(back), *harm_of(back))),
    )
